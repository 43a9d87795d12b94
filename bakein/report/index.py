"""One page over all studies in a directory: every question's answer at a glance."""

import re
from collections.abc import Mapping
from typing import Any

from bakein.paths import Path, write_text
from bakein.report.build import build_report
from bakein.report.environment import make_environment
from bakein.report.records import RecordError
from bakein.report.text import plural, visible

Results = dict[str, Any]


def studies(folder: Path) -> list[Path]:
    """The work directories in a folder, by name."""
    return sorted(path.parent for path in folder.glob("*/study.json"))


def build_index(folder: Path) -> tuple[dict[str, Results], dict[str, str]]:
    """Rebuilds the report of every study in a folder, and writes index.html beside them.

    Returns:
        the results by the name of the work directory, and of the others what is wrong with their
        records: one broken study does not hide the rest.

    Raises:
        RecordError: there is no study in the folder.
        OSError: as `build_report`.
    """
    found = studies(folder)
    if not found:
        raise RecordError(f"{folder}: no study.json here or in the folders below it")
    results, broken = {}, {}
    for workdir in found:
        try:
            results[workdir.name] = build_report(workdir)
        except ValueError as error:
            broken[workdir.name] = str(error)
    write_text(folder / "index.html", render_index(results, broken))
    return results, broken


def render_index(results: Mapping[str, Results], broken: Mapping[str, str]) -> str:
    """The page. All text in it is escaped; it loads nothing and runs nothing."""
    template = make_environment().get_template("index.html.j2")
    return template.render(rows=answers(results), broken=broken)


def answers(results: Mapping[str, Results]) -> list[dict[str, Any]]:
    """Every question of every study, in the order Q1, Q2, ..., Q10, then by work directory."""
    rows = [
        {
            "workdir": workdir,
            "name": name,
            "study": found["study"],
            "late": name in found["named_late"]["questions"],
            **answer,
        }
        for workdir, found in results.items()
        for name, answer in found["answers"].items()
    ]
    return sorted(rows, key=lambda row: (_natural(row["name"]), row["workdir"]))


def index_summary(results: Mapping[str, Results], page: Path) -> str:
    """The same for a terminal, a line for each question."""
    rows = answers(results)
    widths = [max(len(row[key]) for row in rows) for key in ("name", "workdir")] if rows else []
    lines = [
        visible(
            f"{row['name']:<{widths[0]}}  {row['workdir']:<{widths[1]}}  {row['verdict'].upper()}",
            keep="",
        )
        for row in rows
    ]
    head = f"{plural(len(rows), 'question')} in {len(results)} of {page.parent}"
    return "\n".join([head, "", *lines, "", f"Report: {page}"])


def _natural(name: str) -> list[tuple[int, str]]:
    """Digits by their value: Q2 before Q10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
