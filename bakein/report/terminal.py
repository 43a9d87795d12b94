"""The answers as plain text for a terminal, at most 80 columns wide."""

import textwrap
from pathlib import Path
from typing import Any

from bakein.report.hindsight import late_sentence
from bakein.report.sharing import sharing_sentence
from bakein.report.text import level, number, plural, visible

WIDTH = 80
CELL = 14  # columns of one stage: `0.934 ±0.041` and a gap
Results = dict[str, Any]


def terminal_summary(results: Results, page: Path) -> str:
    """Accuracy by arm and stage, one line per verdict, and where the report lies."""
    label = min(max(len(arm) for arm in results["arms"]), 22) + 2
    per_block = max(1, (WIDTH - label) // CELL)
    stages = results["stages"]
    lines: list[str] = []
    for start in range(0, len(stages), per_block):
        lines += [*_block(results, stages[start : start + per_block], label), ""]
    interval = f"± half of the {level(results['bootstrap']['level'])} interval"
    lines += [f"mean over {plural(len(results['seeds']), 'seed')}; {interval}", ""]
    for name, answer in results["answers"].items():
        lines += _wrap(f"{name}  {answer['verdict'].upper()}: {answer['sentence']}")
    if results["answers"]:
        lines.append("")
    if late := late_sentence(results["named_late"]):
        lines += [*_wrap(late), ""]
    lines += _wrap(sharing_sentence(results["sharing"]))
    if results["missing"]:
        lines += _wrap(f"Unfinished: {len(results['missing'])} stages are missing.")
    return "\n".join([*lines, "", f"Report: {page}"])


def _block(results: Results, stages: list[str], label: int) -> list[str]:
    header = "accuracy".ljust(label) + "".join(_fit(stage, CELL) for stage in stages)
    lines = [header.rstrip()]
    rows = {
        (row["arm"], row["stage"]): row for row in results["summary"] if row["metric"] == "accuracy"
    }
    for arm in results["arms"]:
        cells = (_fit(_cell(rows.get((arm, stage))), CELL) for stage in stages)
        lines.append((_fit(arm, label) + "".join(cells)).rstrip())
    return lines


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return "-"
    half = None if row["ci"] is None else (row["ci"][1] - row["ci"][0]) / 2
    return f"{number(row['mean'])} ±{number(half)}"


def _fit(text: str, width: int) -> str:
    """The text in exactly `width` columns, of which the last is a gap."""
    text = visible(text, keep="")
    return (text if len(text) < width else f"{text[: width - 2]}…").ljust(width)


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(visible(text, keep=""), WIDTH, subsequent_indent="    ")
