"""What sharing saved: a study's DAG trains a shared prefix once."""

from collections import Counter
from typing import Any

from bakein.report.records import Study
from bakein.report.text import plural


def sharing(study: Study) -> dict[str, Any]:
    """Stages trained, and those that separate runs would have trained; of what is finished.

    A separate run goes from random parameters to one last stage of one arm and seed, and shares
    nothing. Seconds and FLOPs are those of stages with their evaluations and probes.

    Returns:
        `trained` (stages), `places` (arm × stage × seed that they stand in), `alone` (stages of
        separate runs), `saved` (alone − trained); and `flops`, `seconds`, spent, and
        `flops_saved`, `seconds_saved`.
    """
    finished = [node for node in study.nodes if study.evaluation(node.id) is not None]
    at = {(node.arm, node.seed, node.id): node for node in finished}
    parents = {(node.arm, node.seed, parent) for node in finished for parent in node.parents}
    alone: Counter[str] = Counter()
    for key in at:  # in the study's order, so that sums come out the same every time
        node = at[key] if key not in parents else None
        while node is not None:
            alone[node.id] += 1
            above = (at.get((node.arm, node.seed, parent)) for parent in node.parents)
            node = next(above, None)
    costs = {id: _cost(study, id) for id in alone}
    row: dict[str, Any] = {
        "trained": len(alone),
        "places": len(at),
        "alone": alone.total(),
        "saved": alone.total() - len(alone),
    }
    for key in ("flops", "seconds"):
        row[key] = sum(cost[key] for cost in costs.values())
        row[f"{key}_saved"] = sum((alone[id] - 1) * cost[key] for id, cost in costs.items())
    return row


def _cost(study: Study, id: str) -> dict[str, float]:
    parts = [study.stages[id], study.evaluation(id), *study.probes(id).values()]
    return {key: sum(part.info[key] for part in parts) for key in ("flops", "seconds")}


def sharing_sentence(row: dict[str, Any]) -> str:
    """The same in words."""
    trained = f"{plural(row['trained'], 'stage')} trained for {plural(row['places'], 'place')}"
    if not row["saved"]:
        return f"{trained} (arm × stage × seed); none is shared."
    return (
        f"{trained} (arm × stage × seed); separate runs would have trained {row['alone']:,}. "
        f"Saved: {plural(row['saved'], 'stage')}, {row['flops_saved']:.1e} FLOPs and "
        f"{row['seconds_saved']:,.0f} s with their evaluations."
    )
