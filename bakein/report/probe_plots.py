"""Plots of probes: success by variant or by number of attempts, a panel for each stage."""

from collections.abc import Iterator
from typing import Any

from matplotlib.figure import Figure

from bakein.report.layout import arm_legend, grid, legend_height, log_axis, rate_axis, short
from bakein.report.svg import arm_colour, arm_marker

Results = dict[str, Any]
Row = dict[str, Any]  # of the summary: arm, stage, mean, ci
STYLES = ("solid", "dashed")

VARIANTS = """Success of a sample (solid){more} in every variant of the probe, by its number: means
over seeds with {level} intervals."""
ATTEMPTS = """Chance that at least one of k samples of the probe succeeds (unbiased estimate): means
over seeds with {level} intervals."""


def probe_figures(results: Results) -> Iterator[tuple[str, Figure, str]]:
    """Probe, figure and caption, of every probe that has more to show than one number.

    That of several variants is drawn over their numbers, that of one variant and several k over k.
    """
    measured: dict[str, dict[tuple[str, str], list[Row]]] = {}
    for row in results["summary"]:
        if row["metric"].count("/") == 2:
            probe, variant, metric = row["metric"].split("/")
            measured.setdefault(probe, {}).setdefault((variant, metric), []).append(row)
    for probe, found in measured.items():
        variants = dict.fromkeys(variant for variant, _ in found)
        passes = {int(m.removeprefix("pass@")): (v, m) for v, m in found if m.startswith("pass@")}
        most = max(passes, default=1)
        if len(variants) > 1:
            metrics = ["accuracy"] + [f"pass@{most}"] * (most > 1)
            lines = [{float(v): found[v, metric] for v in variants} for metric in metrics]
            more = f" and of at least one of {most} (dashed)" * (most > 1)
            yield probe, _panels(results, lines, "variant"), VARIANTS.replace("{more}", more)
        elif len(passes) > 1:
            lines = [{k: found[place] for k, place in passes.items()}]
            yield probe, _panels(results, lines, "k"), ATTEMPTS


def _panels(results: Results, lines: list[dict[float, list[Row]]], x_label: str) -> Figure:
    """A panel for each stage, an arm's lines in its colour; a line has rows of results by x."""
    places = {row["stage"] for line in lines for rows in line.values() for row in rows}
    stages = [stage for stage in results["stages"] if stage in places]
    panels = grid(len(stages), columns=2, top=legend_height(results["arms"]))
    for stage, axes in zip(stages, panels, strict=True):
        for index, arm in enumerate(results["arms"]):
            for line, style in zip(lines, STYLES, strict=False):
                points = {
                    x: row
                    for x in sorted(line)
                    for row in line[x]
                    if (row["arm"], row["stage"]) == (arm, stage)
                }
                for x, row in points.items():
                    if row["ci"] is not None:
                        axes.plot([x, x], row["ci"], color=arm_colour(index), linewidth=1)
                axes.plot(
                    list(points),
                    [row["mean"] for row in points.values()],
                    color=arm_colour(index),
                    marker=arm_marker(index),
                    markersize=4,
                    linestyle=style,
                    label=short(arm, 14) if line is lines[0] else None,
                )
        log_axis(axes, sorted(lines[0]), from_0=min(lines[0]) < 1)
        axes.set_title(short(stage), loc="left")
        rate_axis(axes, "success" if axes in panels[::2] else "")
    for axes in panels[-2:]:
        axes.set_xlabel(x_label)
    return arm_legend(panels)
