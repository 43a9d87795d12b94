"""The report's plots, drawn from results alone. Arms keep their colour and marker everywhere."""

from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from bakein.report import questions
from bakein.report.exhibits import Chart
from bakein.report.layout import (
    arm_legend,
    end_labels,
    grid,
    legend_height,
    log_axis,
    one_panel,
    rate_axis,
    short,
)
from bakein.report.probe_plots import probe_figures
from bakein.report.svg import INK, MUTED, RULE, STYLE, arm_colour, arm_marker, to_svg
from bakein.report.text import level, quantity

Results = dict[str, Any]
STAGES_ABREAST = 5  # with more, their names stand upright
LEVELS_SHOWN = 6  # panels of accuracy by level
LINES = ("dotted", "dashed", "solid", "dashdot")  # by stage, where colour tells the arm

ACCURACY = """Share of sampled answers (T = 1) that are right. Every dot is one seed; the line is
their mean, the bar its {level} interval."""
RECALL = """Share of the pretraining facts that the model still completes: what reasoning tokens
and post-training displace. Dots, line and bar as above."""
EFFECT = """Mean over problems of logit({treated}) − logit({control}), with its {level} interval.
Inside the grey band (±{epsilon:g}) the arms count as equivalent."""
RL = """Accuracy on held-out problems while RL runs. Thick: mean over seeds with its {level} band;
thin: each seed."""
PASS_AT_K = """Chance that at least one of k samples is right (unbiased estimate), with {level}
bands. The thin grey line is what guesses get that are as frequent as the right answers of the other
problems. RL that only sharpens lifts the left end; RL that finds new solutions lifts the right. Of
many stages the first, those that questions ask about, and the last."""
LEVELS = """Mean over seeds at each level of the frozen evaluation; of many stages the first, those
that questions ask about, and the last."""


@dataclass(frozen=True)
class Plot:
    """A drawn plot: file name without ending, heading, caption, standalone SVG."""

    name: str
    title: str
    caption: str
    svg: str


def draw(results: Results) -> list[Plot]:
    """Every plot for which the results hold data, in reading order."""
    with matplotlib.rc_context(STYLE):
        plots = [_by_stage(results, "accuracy", "Accuracy by stage", ACCURACY)]
        for index, (name, answer) in enumerate(results["answers"].items()):
            plots.append(_effect(results, name, answer))
            drawn = enumerate(questions.charts(answer))
            plots += [_chart(results, chart, f"answer_{index}_{part}") for part, chart in drawn]
        stages = dict.fromkeys(c["stage"] for c in results["curves"] if c["name"] == "rl")
        plots += [_rl(results, stage, index) for index, stage in enumerate(stages)]
        plots += [_pass_at_k(results), _by_level(results), *_probes(results)]
        plots.append(_by_stage(results, "recall", "World knowledge by stage", RECALL))
        return [plot for plot in plots if plot is not None]


def _by_stage(results: Results, metric: str, title: str, caption: str) -> Plot | None:
    rows = [row for row in results["summary"] if row["metric"] == metric]
    if not rows:
        return None
    arms = results["arms"]
    stages = [s for s in results["stages"] if any(row["stage"] == s for row in rows)]
    crowded = len(stages) > STAGES_ABREAST
    figure, axes = one_panel(height=3.3 if crowded else 2.8, below=0.78 if crowded else 0.28)
    step = 0.78 / len(arms)
    ends = []
    for row in rows:
        arm = arms.index(row["arm"])
        colour = arm_colour(arm)
        x = stages.index(row["stage"]) + (arm - (len(arms) - 1) / 2) * step
        dots = x + step * (np.linspace(-0.25, 0.25, len(results["seeds"])))
        dots = [dots[results["seeds"].index(seed)] for seed in row["seeds"]]
        if row["ci"] is not None:
            axes.plot([x, x], row["ci"], color=colour, linewidth=1.2)
        axes.plot([x - step * 0.38, x + step * 0.38], [row["mean"]] * 2, color=colour)
        axes.plot(
            dots,
            row["values"],
            color=colour,
            marker=arm_marker(arm),
            markersize=3.6,
            linestyle="none",
            alpha=0.55,
            markeredgewidth=0,
        )
        if row["stage"] == stages[-1]:
            ends.append((row["mean"], row["arm"]))
    axes.set_xticks(range(len(stages)), [short(s) for s in stages], rotation=90 * crowded)
    axes.set_xlim(-0.5, len(stages) - 0.5)
    rate_axis(axes, metric)
    end_labels(axes, arms, ends)
    return _plot(figure, results, f"{metric}_by_stage", title, caption)


def _effect(results: Results, name: str, answer: dict[str, Any]) -> Plot | None:
    """The difference in logits by stage: does it last through post-training?"""
    points = answer["stages"] if answer["kind"] == "persistence" else []
    if not points:
        return None
    figure, axes = one_panel(height=2.8, right=0.96, below=0.28)
    colour = arm_colour(results["arms"].index(answer["treated"]))
    axes.axhspan(-answer["epsilon"], answer["epsilon"], color=RULE, alpha=0.5, linewidth=0)
    axes.axhline(0, color=MUTED, linewidth=0.8)
    axes.plot([p["delta"] for p in points], color=colour, marker="o", markersize=6)
    for index, point in enumerate(points):
        if point["ci"] is not None:
            axes.plot([index, index], point["ci"], color=colour, linewidth=1.4)
        rises = index + 1 < len(points) and points[index + 1]["delta"] > point["delta"]
        axes.annotate(
            f"{point['delta']:+.2f}",
            (index, point["delta"]),
            xytext=(7, -13 if rises else 5),  # beside the line, not on it
            textcoords="offset points",
        )
    axes.set_xticks(range(len(points)), [short(p["stage"]) for p in points])
    axes.set_xlim(-0.3, len(points) - 0.55)
    axes.set_ylabel("difference in logits")
    caption = EFFECT.replace("{treated}", answer["treated"]).replace("{control}", answer["control"])
    caption = caption.replace("{epsilon:g}", f"{answer['epsilon']:g}")
    title = f"{name}: the difference, stage by stage"
    index = list(results["answers"]).index(name)
    return _plot(figure, results, f"difference_{index}", title, caption)


def _chart(results: Results, chart: Chart, name: str) -> Plot:
    """What a question shows of its answer."""
    figure, axes = one_panel(height=2.8)
    names, ends = list(dict.fromkeys(line.arm for line in chart.lines)), {}
    if {*names} <= {*results["arms"]}:
        names = results["arms"]
    for line in chart.lines:
        arm = names.index(line.arm)
        colour, x = arm_colour(arm), np.asarray(line.x, float)
        for place, ci in zip(x, line.ci or (), strict=False):
            if ci is not None:
                axes.plot([place, place], ci, color=colour, linewidth=1.1, alpha=0.7)
        style = ("dashed" if line.dashed else "solid") if line.joined else "none"
        mark = {"marker": arm_marker(arm) if line.marked else "", "markersize": 4}
        axes.plot(x, line.y, color=colour, linestyle=style, linewidth=1.4, **mark)
        ends[line.arm] = line.y[-1]
    _x_axis(axes, chart)
    if chart.rate:
        rate_axis(axes, chart.y_label)
    axes.set_ylabel(chart.y_label)
    axes.set_xlabel(chart.x_label)
    end_labels(axes, names, [(y, arm) for arm, y in ends.items()])
    return _plot(figure, results, name, chart.title, chart.caption)


def _x_axis(axes: Axes, chart: Chart) -> None:
    """The scale of x, with a tick at every value while there is room."""
    if chart.x_scale == "linear":
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: quantity(value)))
        return
    values = sorted({x for line in chart.lines for x in line.x})
    base = 10 if chart.x_scale == "log10" else 2
    log_axis(axes, values, from_0=chart.x_scale == "log2+1", base=base)


def _rl(results: Results, stage: str, index: int) -> Plot:
    figure, axes = one_panel(height=2.6)
    ends = []
    for curve in _curves(results, "rl"):
        if curve["stage"] != stage:
            continue
        arm = results["arms"].index(curve["arm"])
        colour, x = arm_colour(arm), curve["x"]
        _band(axes, curve, colour, alpha=0.15)
        for values in curve["seeds"].values():
            axes.plot(x, values, color=colour, linewidth=0.6, alpha=0.5)
        axes.plot(x, curve["y"], color=colour, marker=arm_marker(arm), markersize=4)
        ends.append((curve["y"][-1], curve["arm"]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: quantity(value)))
    axes.set_xlabel("sampled completions")
    rate_axis(axes, "held-out accuracy")
    end_labels(axes, results["arms"], ends)
    return _plot(figure, results, f"rl_curve_{index}", f"RL curve: {stage}", RL)


def _pass_at_k(results: Results) -> Plot | None:
    curves = _curves(results, "pass@k")
    if not curves:
        return None
    stages = _shown(results, [c["stage"] for c in curves], len(LINES))
    curves = [c for c in curves if c["stage"] in stages]
    arms = [arm for arm in results["arms"] if any(c["arm"] == arm for c in curves)]
    styles = {stage: LINES[index % len(LINES)] for index, stage in enumerate(stages)}
    panels = grid(len(arms), columns=3, bottom=0.3)
    for arm, axes in zip(arms, panels, strict=True):
        colour = arm_colour(results["arms"].index(arm))
        for curve in (c for c in curves if c["arm"] == arm):
            _band(axes, curve, colour, alpha=0.08)
            axes.plot(curve["x"], curve["y"], color=colour, linestyle=styles[curve["stage"]])
        axes.plot(results["k"], results["chance"], color=MUTED, linewidth=0.8)
        axes.set_title(short(arm, 14), color=colour, loc="left", fontweight="bold")
        axes.set_xscale("log", base=2)
        ticks = results["k"][:: max(1, (len(results["k"]) - 1) // 3)]
        axes.set_xticks(ticks, [f"{k}" for k in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("k")
        rate_axis(axes, "pass@k" if axes is panels[0] else "")
    figure = panels[0].figure
    handles = [panels[0].plot([], [], color=INK, linestyle=styles[s])[0] for s in stages]
    figure.legend(
        handles,
        [short(s, 14) for s in stages],
        loc="lower center",
        ncols=4,
        frameon=False,
        handlelength=1.8,
        columnspacing=1.0,
        fontsize=9.5,
    )
    return _plot(figure, results, "pass_at_k", "pass@k by arm and stage", PASS_AT_K)


def _by_level(results: Results) -> Plot | None:
    rows = [row for row in results["summary"] if row["metric"].startswith("accuracy/")]
    stages = _shown(results, [row["stage"] for row in rows], LEVELS_SHOWN)
    if not stages:
        return None
    panels = grid(len(stages), columns=2, top=legend_height(results["arms"]))
    for stage, axes in zip(stages, panels, strict=True):
        for index, arm in enumerate(results["arms"]):
            here = [row for row in rows if (row["stage"], row["arm"]) == (stage, arm)]
            points = sorted((int(row["metric"].partition("/")[2]), row["mean"]) for row in here)
            if points:
                x, y = zip(*points, strict=True)
                axes.plot(
                    x,
                    y,
                    color=arm_colour(index),
                    marker=arm_marker(index),
                    markersize=4,
                    label=short(arm, 14),
                )
                axes.set_xticks(x)
        axes.set_title(short(stage), loc="left")
        rate_axis(axes, "accuracy" if axes in panels[::2] else "")
    for axes in panels[-2:]:
        axes.set_xlabel("level (harder →)")
    figure = arm_legend(panels)
    return _plot(figure, results, "accuracy_by_level", "Accuracy by level of difficulty", LEVELS)


def _probes(results: Results) -> list[Plot]:
    return [
        _plot(figure, results, f"probe_{index}", f"Probe: {short(probe)}", caption)
        for index, (probe, figure, caption) in enumerate(probe_figures(results))
    ]


def _shown(results: Results, measured: list[str], most: int) -> list[str]:
    """At most so many stages: the first, what questions ask about, and then the last ones."""
    stages = [stage for stage in results["stages"] if stage in measured]
    asked = [answer["stage"] for answer in results["answers"].values()]
    wanted = [*stages[:1], *(stage for stage in asked if stage in stages), *reversed(stages)]
    kept = list(dict.fromkeys(wanted))[:most]
    return [stage for stage in stages if stage in kept]


def _curves(results: Results, name: str) -> list[dict[str, Any]]:
    return [curve for curve in results["curves"] if curve["name"] == name]


def _band(axes: Axes, curve: dict[str, Any], colour: str, alpha: float) -> None:
    if curve["ci"] is not None:
        low, high = zip(*curve["ci"], strict=True)
        axes.fill_between(curve["x"], low, high, color=colour, alpha=alpha, linewidth=0)


def _plot(figure: Figure, results: Results, name: str, title: str, caption: str) -> Plot:
    caption = caption.replace("\n", " ")
    caption = caption.replace("{level}", level(results["bootstrap"]["level"]))
    return Plot(name, title, caption, to_svg(figure, name))
