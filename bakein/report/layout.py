"""Panels of the plots: their size, their scales and the names at their right edge.

Every plot is 360 units wide, which is about a phone: on one its text comes out near 10 px, on a
desk the page scales it up.
"""

from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from bakein.report.svg import arm_colour
from bakein.report.text import quantity, visible

WIDTH = 5.0  # inches; one is 72 units of the view box
_LEGEND_COLUMNS = 3


def one_panel(height: float, right: float = 0.73, below: float = 0.5) -> tuple[Figure, Axes]:
    """One panel; what is right of `right` is for the arms' names, `below` (inches) for the axis."""
    figure = Figure(figsize=(WIDTH, height))
    bottom = below / height
    axes = figure.add_axes((0.13, bottom, right - 0.13, 1 - bottom - 0.12 / height))
    return figure, axes


def grid(count: int, columns: int, top: float = 0.0, bottom: float = 0.0) -> list[Axes]:
    """`count` panels in rows, one height of the y axis; `top`, `bottom` (inches) for a legend."""
    columns = min(columns, count)
    rows = -(-count // columns)
    height = 0.1 + top + bottom + 1.95 * rows
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    share = (0, bottom / height, 1, 1 - (top + bottom) / height)
    figure.get_layout_engine().set(rect=share)
    panels = list(figure.subplots(rows, columns, sharey=True, squeeze=False).flat)
    for axes in panels[count:]:
        axes.set_axis_off()
    return panels[:count]


def rate_axis(axes: Axes, label: str) -> None:
    """A y axis from 0 to 1, never cut."""
    axes.set_ylim(-0.02, 1.02)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])
    axes.set_ylabel(label)


def log_axis(axes: Axes, values: list[float], from_0: bool, base: int = 2) -> None:
    """A logarithmic x axis, of log₂(1 + x) where it shows 0."""
    if from_0:
        axes.set_xscale("function", functions=(lambda x: np.log2(1 + x), lambda y: 2**y - 1))
    else:
        axes.set_xscale("log", base=base)
    ticks = values[:: -(-len(values) // 7)] if values else []
    axes.set_xticks(ticks, [quantity(x) for x in ticks])
    axes.xaxis.set_minor_locator(NullLocator())


def legend_height(arms: list[str]) -> float:
    """Inches that `arm_legend` takes."""
    return 0.1 + 0.2 * -(-len(arms) // _LEGEND_COLUMNS)


def arm_legend(panels: list[Axes]) -> Figure:
    """The arms' names above all panels."""
    panels[0].figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="upper center",
        ncols=_LEGEND_COLUMNS,
        frameon=False,
        handlelength=1.2,
        columnspacing=1.0,
        labelcolor="linecolor",
    )
    return panels[0].figure


def end_labels(axes: Axes, arms: list[str], ends: Iterable[tuple[float, str]]) -> None:
    """Names each arm at the right edge, at the height where its line ends, none on another."""
    low, high = axes.get_ylim()
    ends = sorted(ends)
    places = spread([y for y, _ in ends], gap=(high - low) * 0.085, low=low, high=high)
    for (_, arm), y in zip(ends, places, strict=True):
        colour = arm_colour(arms.index(arm))
        transform = axes.get_yaxis_transform()
        axes.text(
            1.03,
            y,
            short(arm, 15),
            transform=transform,
            va="center",
            color=colour,
            fontweight="bold",
        )


def spread(values: list[float], gap: float, low: float, high: float) -> list[float]:
    """Places for labels: ascending `values` moved as little as keeps them `gap` apart.

    They stay inside [low, high] as long as they fit there.
    """
    places: list[float] = []
    for value in values:
        places.append(max(value, places[-1] + gap if places else low))
    ceiling = high
    for index in reversed(range(len(places))):
        places[index] = min(places[index], ceiling)
        ceiling = places[index] - gap
    return places


def short(name: str, longest: int = 24) -> str:
    """A name that fits into a plot, free of invisible characters."""
    text = visible(name, keep="")
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
