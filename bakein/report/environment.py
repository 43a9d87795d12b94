"""The jinja2 environment of all pages: what is printed is escaped, what is missing is an error."""

import jinja2

from bakein.report import text

# Colour of a verdict's badge; the word itself always stands in it.
TONES = {
    "better": "good",
    "amplified": "good",
    "persists": "good",
    "worse": "bad",
    "reversed": "bad",
    "washed out": "bad",
    "good as correct": "good",
    "helps": "good",
    "does not help": "bad",
    "base did it": "good",
    "reward did it": "good",
    "both did it": "good",
    "predicts": "good",
    "does not predict": "bad",
    "more lasting": "good",
    "less lasting": "bad",
    "as lasting": "good",
    "symmetric": "good",
    "asymmetric": "good",
    "faster": "good",
    "slower": "bad",
    "not caught up": "good",
    "caught up": "bad",
    "rises": "good",
    "falls": "bad",
    "best in between": "good",
    "interior optimum": "good",
    "all before": "good",
    "all after": "good",
    "shallower": "good",
    "steeper": "bad",
}

# A comparison's verdict where no question says that more is better: less of an attack is not worse.
BY_SIGN = {"better": "higher", "worse": "lower"}


def make_environment() -> jinja2.Environment:
    """The environment, with the filters and the function `tone` that the templates use."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bakein.report", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "visible": lambda value: text.visible(str(value)),
        "shorten": text.shorten,
        "number": text.number,
        "signed": text.signed,
        "interval": text.interval,
        "quantity": text.quantity,
        "count": lambda value: "–" if value is None else f"{value:,.0f}",
        "percent": _percent,
        "level": text.level,
        "probability": text.probability,
        "epsilon": lambda value: f"{value:g}",
        "by_sign": lambda verdict: BY_SIGN.get(verdict, text.visible(verdict)),
    }
    environment.globals["tone"] = lambda verdict: TONES.get(verdict, "open")
    return environment


def _percent(value: float | None) -> str:
    """A relative difference; exact matches say so, since that is what one looks for."""
    if value is None:
        return "–"
    return "same" if value == 0 else f"{text.signed(100 * value, 2)} %"
