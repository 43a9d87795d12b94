"""How numbers and foreign text are written: in the page, in plots and in the terminal."""

import math
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

LONGEST = 600  # characters of a prompt or completion that the page shows
# Controls, formats (bidirectional overrides, zero width), surrogates, private use, unassigned,
# line and paragraph separators: they may hide or reorder what stands beside them.
HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def visible(text: str, keep: str = "\n") -> str:
    """The text with every invisible or unencodable character spelt out, as in `⟨U+202E⟩`."""
    return "".join(
        c if c in keep or unicodedata.category(c) not in HIDDEN else f"⟨U+{ord(c):04X}⟩"
        for c in text
    )


def shorten(text: str, longest: int = LONGEST) -> str:
    """The first `longest` characters; says how many more there were."""
    if len(text) <= longest:
        return text
    return f"{text[:longest]} … ({len(text) - longest:,} more characters)"


def number(value: float | None, digits: int = 3) -> str:
    """A plain number with `digits` decimals; an en dash for what was not measured."""
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", "−")


def signed(value: float | None, digits: int = 3) -> str:
    """A difference: always with its sign."""
    text = number(value, digits)
    return text if text[0] in "−–" or float(text) == 0 else f"+{text}"


def interval(ci: Sequence[float | None] | None, digits: int = 3) -> str:
    """`[low, high]`; an open end where a side is unbounded; an en dash where there is none."""
    if ci is None:
        return "–"
    low, high = ci
    left = "(−∞" if low is None or math.isinf(low) else f"[{number(low, digits)}"
    right = "∞)" if high is None or math.isinf(high) else f"{number(high, digits)}]"
    return f"{left}, {right}"


def level(value: float | None) -> str:
    """A confidence level: `95 %`, `98.75 %`."""
    return "" if value is None else f"{round(100 * value, 2):g}\N{NO-BREAK SPACE}%"


def seconds(value: float) -> str:
    """Seconds: tenths of few of them."""
    return number(value, 1) if value < 100 else f"{value:,.0f}"


def share(value: float | None) -> str:
    """A share of a whole in per cent: `12 %`, `< 1 %`; an en dash for none."""
    if not value:
        return "–"
    return "<\N{NO-BREAK SPACE}1\N{NO-BREAK SPACE}%" if value < 0.005 else level(round(value, 2))


def probability(value: float | None) -> str:
    """A p value; tiny ones as a bound."""
    return "< 0.001" if value is not None and value < 0.001 else number(value)


def quantity(value: float | None) -> str:
    """A count in three significant digits: 950, 12.3 k, 4.56 M, 7.89 G, then powers of ten."""
    if value is None:
        return "–"
    if abs(value) < 1_000:
        return f"{value:.3g}"
    for scale, unit in ((1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T"), (1e15, "P")):
        if float(f"{abs(value) / scale:.3g}") < 1_000:
            return f"{value / scale:.3g} {unit}"
    return f"{value:.3g}"


def plural(count: int, noun: str) -> str:
    """`1 seed`, `5 seeds`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def function_name(value: Any) -> Any:
    """A function in a configuration by its name, without the digest of its source."""
    return re.sub(r" [0-9a-f]{8}$", "", value) if isinstance(value, str) else value
