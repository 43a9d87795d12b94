"""What an answer shows beside its verdict: tables and charts, as plain data.

The page sets the tables and `plots` draws the charts; a kind of question knows neither.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bakein.report.text import interval, number


@dataclass(frozen=True)
class Table:
    """A table: its name, a head, rows of text of which the first cell names the row, and a note."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def is_text(self, column: int) -> bool:
        """Whether a column holds words, to be set on the left."""
        return any(row[column][:1].isalpha() for row in self.rows)


@dataclass(frozen=True)
class Line:
    """One line of a chart, in the colour of its arm; other names have theirs by their order.

    `ci` has a pair for every point.
    """

    arm: str
    x: Sequence[float]
    y: Sequence[float]
    ci: Sequence[Sequence[float] | None] | None = None
    dashed: bool = False  # tells it from another line of the same arm
    joined: bool = True  # by a line; points alone otherwise
    marked: bool = True  # every point by the arm's marker


@dataclass(frozen=True)
class Chart:
    """A chart of lines.

    Attributes:
        title: its heading.
        caption: what one sees.
        x_label: of the axis, with its unit.
        y_label: of the axis.
        lines: in the order of the arms.
        x_scale: "linear"; or "log2" or "log10", of positive x; or "log2+1", of log₂(1 + x).
        rate: y is a share, on an axis from 0 to 1.
    """

    title: str
    caption: str
    x_label: str
    y_label: str
    lines: Sequence[Line]
    x_scale: str = "linear"
    rate: bool = False


def estimate(value: float | None, ci: Sequence[float] | None, digits: int = 3) -> str:
    """A number with its interval, as a cell."""
    if value is None:
        return "–"
    return (
        number(value, digits) if ci is None else f"{number(value, digits)} {interval(ci, digits)}"
    )
