"""Where the time of a study went: by stage and by what the host was doing; and the traces."""

import os
from typing import Any
from urllib.parse import quote

from bakein.report.exhibits import Table
from bakein.report.records import Study
from bakein.report.text import seconds, share

# In the order in which a stage meets them: part -> heading. Others come after, by their own name.
PARTS = {
    "setup": "Setup",
    "compile": "Compile",
    "data": "Data",
    "sampling": "Sampling",
    "grading": "Grading",
    "compute": "Compute",
    "evaluation": "RL curve",
    "checkpoint": "Checkpoint",
    "records": "Records",
    "profile": "Profile",
    "killed": "Killed sessions",
}


def breakdown(study: Study) -> list[dict[str, Any]]:
    """Seconds by stage, over all its arms and seeds, of what is finished.

    Returns:
        One row per stage: `stage`, `trained` (nodes, shared ones once), `seconds`, `parts` (name ->
        seconds; {} of stages that were not timed), and `evaluations` and `probes`, seconds of
        those made after it.
    """
    rows: dict[str, dict[str, Any]] = {}
    nodes = {node.id: node for node in study.nodes if study.evaluation(node.id) is not None}
    for id, node in nodes.items():
        empty = {"trained": 0, "seconds": 0.0, "parts": {}, "evaluations": 0.0, "probes": 0.0}
        row = rows.setdefault(node.stage, {"stage": node.stage, **empty})
        info = study.stages[id].info
        row["trained"] += 1
        row["seconds"] += info["seconds"]
        for part, spent in info.get("time", {}).items():
            row["parts"][part] = row["parts"].get(part, 0.0) + spent
        row["evaluations"] += study.evaluation(id).info["seconds"]
        row["probes"] += sum(probe.info["seconds"] for probe in study.probes(id).values())
    return [rows[stage] for stage in study.info["stages"] if stage in rows]


def timetable(rows: list[dict[str, Any]]) -> Table | None:
    """One column per stage: its seconds, their shares by part; None where nothing was timed."""
    present = sorted({part for row in rows for part in row["parts"]})
    if not present:
        return None
    table = [
        ["Stages", *(f"{row['trained']:,}" for row in rows)],
        ["Seconds", *(seconds(row["seconds"]) for row in rows)],
    ]
    for part in [*(p for p in PARTS if p in present), *(p for p in present if p not in PARTS)]:
        shares = (row["parts"].get(part, 0.0) / (sum(row["parts"].values()) or 1) for row in rows)
        table.append([PARTS.get(part, part), *map(share, shares)])
    for key, title in (("evaluations", "Evaluations, s"), ("probes", "Probes, s")):
        if any(row[key] for row in rows):
            table.append([title, *(seconds(row[key]) for row in rows)])
    return Table("Where the time went", ["Part", *(row["stage"] for row in rows)], table)


def traces(study: Study) -> list[dict[str, str]]:
    """The XProf traces in the work directory: `name`, `time`, and `link` from the report."""
    found = []
    folder = study.workdir / "tensorboard" / "profile"
    for trace in sorted(folder.glob("*/plugins/profile/*")):
        if any(trace.glob("*.xplane.pb")):
            name = trace.parents[2].name
            path = quote(os.fsencode(trace.relative_to(study.workdir)))
            found.append({"name": name, "time": trace.name, "link": f"../{path}/"})
    return found
