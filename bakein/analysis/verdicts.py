"""The rules that turn intervals into verdicts, fixed before any run; they are nowhere else.

A study writes `RULES` into its study.json when it begins, so that a reader can see that the rules
are older than the results.
"""

from enum import StrEnum

from bakein.analysis.bootstrap import Interval

RULES = """\
A verdict is read off intervals over seeds and problems alone; epsilon, the smallest effect that
matters, is set in the study file, in the units of the metric.

Comparison (effect = treated − control); the first rule that holds decides:
  1. underpowered  fewer than two seeds
  2. better        the interval lies above 0
  3. worse         the interval lies below 0
  4. equivalent    the interval lies inside −epsilon..+epsilon
  5. underpowered  none of these; the minimum detectable effect is printed

Persistence of a gain after a stage (Δ = treated − control after the stage, ρ = Δ / Δ after
pretraining; ρ is undefined where the interval of Δ after pretraining includes 0); the first rule
that holds decides:
  1. underpowered  fewer than two seeds
  2. amplified     the interval of ρ lies above 1, and that of Δ above 0
  3. persists      the interval of Δ lies above 0
  4. washed out    the interval of Δ lies inside −epsilon..+epsilon
  5. reversed      the interval of Δ lies below 0
  6. underpowered  none of these; the minimum detectable effect is printed

Where several contrasts are named, each comparison is judged by the interval of its Holm level, so
that the chance of any false "better" or "worse" in the family is at most 1 − level.
"""


class Comparison(StrEnum):
    """Verdict on one contrast."""

    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "equivalent"
    UNDERPOWERED = "underpowered"


class Persistence(StrEnum):
    """Verdict on a gain of pretraining after a later stage."""

    AMPLIFIED = "amplified"
    PERSISTS = "persists"
    WASHED_OUT = "washed out"
    REVERSED = "reversed"
    UNDERPOWERED = "underpowered"


def comparison(effect: Interval, epsilon: float) -> Comparison:
    """The verdict on treated − control, by `RULES`.

    Raises:
        ValueError: epsilon is not positive.
    """
    _check(epsilon)
    if effect.seeds < 2:
        return Comparison.UNDERPOWERED
    if effect.low > 0:
        return Comparison.BETTER
    if effect.high < 0:
        return Comparison.WORSE
    if -epsilon < effect.low and effect.high < epsilon:
        return Comparison.EQUIVALENT
    return Comparison.UNDERPOWERED


def persistence(gain: Interval, retention: Interval | None, epsilon: float) -> Persistence:
    """The verdict on a stage's gain Δ and retention ρ (None: undefined), by `RULES`.

    Raises:
        ValueError: epsilon is not positive.
    """
    _check(epsilon)
    if gain.seeds < 2:
        return Persistence.UNDERPOWERED
    if gain.low > 0:
        amplified = retention is not None and retention.low > 1
        return Persistence.AMPLIFIED if amplified else Persistence.PERSISTS
    if -epsilon < gain.low and gain.high < epsilon:
        return Persistence.WASHED_OUT
    if gain.high < 0:
        return Persistence.REVERSED
    return Persistence.UNDERPOWERED


def _check(epsilon: float) -> None:
    if not epsilon > 0:
        raise ValueError(
            f"epsilon is {epsilon}; allowed: above 0 (the smallest effect that matters)"
        )
