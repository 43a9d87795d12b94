"""The rules that turn intervals into verdicts, fixed before any run; they are nowhere else.

A study writes `RULES` into its study.json when it begins, so that a reader can see that the rules
are older than the results.
"""

from collections.abc import Collection, Sequence
from enum import StrEnum

import numpy as np

from bakein.analysis.bootstrap import Interval

RULES = """\
A verdict is read off intervals over seeds and problems alone; epsilon, the smallest effect that
matters, is set in the study file, in the units of the metric.

Comparison (effect = treated − control, in a score, a slope or an area); the first rule that holds
decides, here and below:
  1. underpowered  fewer than two seeds
  2. better        the interval lies above 0
  3. worse         the interval lies below 0
  4. equivalent    the interval lies inside −epsilon..+epsilon
  5. underpowered  none of these; the minimum detectable effect is printed

Persistence of a gain after a stage (Δ = treated − control after the stage, ρ = Δ / Δ after
pretraining; ρ is undefined where the interval of Δ after pretraining includes 0):
  1. underpowered  fewer than two seeds
  2. amplified     the interval of ρ lies above 1, and that of Δ above 0
  3. persists      the interval of Δ lies above 0
  4. washed out    the interval of Δ lies inside −epsilon..+epsilon
  5. reversed      the interval of Δ lies below 0
  6. underpowered  none of these; the minimum detectable effect is printed

Spurious reward (L = gain of RL with it / gain of RL with the true reward; epsilon is a share):
  1. underpowered   fewer than two seeds, or the true reward's gain does not lie above 0
  2. base did it    the interval of L lies above 1 − epsilon
  3. reward did it  the interval of L lies below epsilon
  4. both did it    the interval of L lies inside 0..1
  5. underpowered   none of these

Wrong traces (W = gain from them / gain from correct traces; epsilon is a share):
  1. underpowered     fewer than two seeds, or the correct traces' gain does not lie above 0
  2. good as correct  the interval of W lies above 1 − epsilon
  3. helps            the interval of W lies above 0
  4. does not help    the interval of W lies below epsilon
  5. underpowered     none of these

Permanence (ratio = Π of treated / Π of control, Π = samples to misalign / samples to align; epsilon
is the smallest relative difference that matters):
  1. underpowered   fewer than two seeds
  2. more lasting   the interval of the ratio lies above 1
  3. less lasting   the interval of the ratio lies below 1
  4. as lasting     the interval of the ratio lies inside 1/(1 + epsilon)..1 + epsilon
  5. underpowered   none of these

Symmetry (b of ln D_M = a + b ln D_A over arms):
  1. underpowered  b is not identified
  2. symmetric     the interval of b lies inside 1 − epsilon..1 + epsilon
  3. asymmetric    the interval of b does not include 1
  4. underpowered  none of these

Catch-up (gap = control with a budget − treated, at each budget; the intervals of all budgets hold
at once):
  1. underpowered   fewer than two seeds
  2. caught up      the interval of the gap at some budget lies above −epsilon
  3. not caught up  the intervals of the gap at all budgets lie below 0; m* is then censored
  4. underpowered   none of these

Jailbreak (effect = treated − control in the area under ASR(N) over log₂ N, per doubling):
  1. underpowered  fewer than two seeds
  2. shallower     the interval lies below 0
  3. steeper       the interval lies above 0
  4. equivalent    the interval lies inside −epsilon..+epsilon
  5. underpowered  none of these; the minimum detectable effect is printed

Frontier (candidates = the shares of the budget spent before that are not shown to be worse than
another share):
  1. underpowered      fewer than two seeds
  2. all before        the one candidate is 1
  3. all after         the one candidate is 0
  4. interior optimum  neither 0 nor 1 is a candidate
  5. underpowered      none of these

Slope at equal pass@1 (effect = treated − control, in the slope of a test-time curve):
  1. underpowered  fewer than two seeds, or the arms share no range of pass@1
  2. else the rules of a comparison

RL speed (multiplier = samples that the control takes / those that treated takes, until both have
the same held-out accuracy; epsilon is the smallest relative difference that matters):
  1. underpowered  fewer than two seeds
  2. faster        the interval of the multiplier lies above 1
  3. slower        the interval of the multiplier lies below 1
  4. as fast       the interval of the multiplier lies inside 1/(1 + epsilon)..1 + epsilon
  5. underpowered  none of these

Dose (trend = rise of the least-squares line over the ranks of the doses, from the lowest to the
highest; candidates = the doses that are not shown to be worse than another):
  1. underpowered     fewer than two seeds
  2. rises            the interval of the trend lies above 0
  3. falls            the interval of the trend lies below 0
  4. flat             the interval of every dose less the lowest lies inside −epsilon..+epsilon
  5. best in between  neither the lowest dose nor the highest is a candidate
  6. underpowered     none of these; the minimum detectable trend is printed

Mixture (Q² = share of the variance of the utility between mixtures that a regression on their
weights predicts of mixtures that it has not seen, with an interval over mixtures; epsilon is a
share):
  1. underpowered      fewer than two seeds, or the utility does not vary
  2. predicts          the interval of Q² lies above 0
  3. does not predict  the interval of Q² lies below epsilon
  4. underpowered      none of these
A proposed mixture is judged as a comparison: effect = its utility − the mean utility of held-out
mixtures, both trained anew.

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


class Spurious(StrEnum):
    """Verdict on a reward that does not say what is right."""

    BASE = "base did it"
    REWARD = "reward did it"
    BOTH = "both did it"
    UNDERPOWERED = "underpowered"


class WrongTraces(StrEnum):
    """Verdict on traces that are wrong."""

    AS_CORRECT = "good as correct"
    HELPS = "helps"
    DOES_NOT = "does not help"
    UNDERPOWERED = "underpowered"


class Permanence(StrEnum):
    """Verdict on how an alignment lasts, against another."""

    MORE = "more lasting"
    LESS = "less lasting"
    AS = "as lasting"
    UNDERPOWERED = "underpowered"


class Symmetry(StrEnum):
    """Verdict on "easy in, easy out"."""

    SYMMETRIC = "symmetric"
    ASYMMETRIC = "asymmetric"
    UNDERPOWERED = "underpowered"


class CatchUp(StrEnum):
    """Verdict on whether more of a later stage makes up for what was not front-loaded."""

    CAUGHT_UP = "caught up"
    NOT_CAUGHT_UP = "not caught up"
    UNDERPOWERED = "underpowered"


class Jailbreak(StrEnum):
    """Verdict on how attack success climbs with attempts, against another arm."""

    SHALLOWER = "shallower"
    STEEPER = "steeper"
    EQUIVALENT = "equivalent"
    UNDERPOWERED = "underpowered"


class Mixture(StrEnum):
    """Verdict on whether the weights of a mixture tell what comes of it."""

    PREDICTS = "predicts"
    DOES_NOT = "does not predict"
    UNDERPOWERED = "underpowered"


class Frontier(StrEnum):
    """Verdict on where a budget is best spent."""

    INTERIOR = "interior optimum"
    BEFORE = "all before"
    AFTER = "all after"
    UNDERPOWERED = "underpowered"


class RLSpeed(StrEnum):
    """Verdict on how few samples RL takes, against another base model."""

    FASTER = "faster"
    SLOWER = "slower"
    AS = "as fast"
    UNDERPOWERED = "underpowered"


class Dose(StrEnum):
    """Verdict on what more of something does."""

    RISES = "rises"
    FALLS = "falls"
    FLAT = "flat"
    BETWEEN = "best in between"
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


def spurious(reference: Interval, lift: Interval | None, epsilon: float) -> Spurious:
    """The verdict on a reward: the true one's gain, and this one's lift L (None: undefined).

    Raises:
        ValueError: epsilon is not a share.
    """
    _check_share(epsilon)
    if lift is None or not _gains(reference):
        return Spurious.UNDERPOWERED
    if lift.low > 1 - epsilon:
        return Spurious.BASE
    if lift.high < epsilon:
        return Spurious.REWARD
    return Spurious.BOTH if lift.low > 0 and lift.high < 1 else Spurious.UNDERPOWERED


def wrong_traces(reference: Interval, ratio: Interval | None, epsilon: float) -> WrongTraces:
    """The verdict on wrong traces: the correct ones' gain, and W (None: undefined).

    Raises:
        ValueError: epsilon is not a share.
    """
    _check_share(epsilon)
    if ratio is None or not _gains(reference):
        return WrongTraces.UNDERPOWERED
    if ratio.low > 1 - epsilon:
        return WrongTraces.AS_CORRECT
    if ratio.low > 0:
        return WrongTraces.HELPS
    return WrongTraces.DOES_NOT if ratio.high < epsilon else WrongTraces.UNDERPOWERED


def permanence(log_ratio: Interval, epsilon: float) -> Permanence:
    """The verdict on Π of treated over Π of control, from the interval of its ln.

    Raises:
        ValueError: epsilon is not positive.
    """
    _check(epsilon)
    words = Permanence.MORE, Permanence.LESS, Permanence.AS, Permanence.UNDERPOWERED
    return _in_words(comparison(log_ratio, float(np.log1p(epsilon))), words)


def jailbreak(area: Interval, epsilon: float) -> Jailbreak:
    """The verdict on treated − control in the area under ASR(N), by `RULES`.

    Raises:
        ValueError: epsilon is not positive.
    """
    words = Jailbreak.STEEPER, Jailbreak.SHALLOWER, Jailbreak.EQUIVALENT, Jailbreak.UNDERPOWERED
    return _in_words(comparison(area, epsilon), words)


def slope_at_equal_level(effect: Interval | None, epsilon: float) -> Comparison:
    """The verdict on a difference in slope at equal level (None: no level is shared), by `RULES`.

    Raises:
        ValueError: epsilon is not positive.
    """
    _check(epsilon)
    return Comparison.UNDERPOWERED if effect is None else comparison(effect, epsilon)


def rl_speed(log_multiplier: Interval, epsilon: float) -> RLSpeed:
    """The verdict on samples of control over samples of treated, from the interval of its ln.

    Raises:
        ValueError: epsilon is not positive.
    """
    _check(epsilon)
    words = RLSpeed.FASTER, RLSpeed.SLOWER, RLSpeed.AS, RLSpeed.UNDERPOWERED
    return _in_words(comparison(log_multiplier, float(np.log1p(epsilon))), words)


def symmetry(slope: Interval | None, epsilon: float) -> Symmetry:
    """The verdict on the symmetry law's slope b (None: not identified), by `RULES`.

    Raises:
        ValueError: epsilon is not positive.
    """
    _check(epsilon)
    if slope is None:
        return Symmetry.UNDERPOWERED
    if 1 - epsilon < slope.low and slope.high < 1 + epsilon:
        return Symmetry.SYMMETRIC
    return Symmetry.UNDERPOWERED if slope.low <= 1 <= slope.high else Symmetry.ASYMMETRIC


def catch_up(gaps: Sequence[Interval], epsilon: float) -> CatchUp:
    """The verdict on control − treated at every budget, from intervals that hold at once.

    Raises:
        ValueError: epsilon is not positive.
    """
    _check(epsilon)
    if not gaps or any(gap.seeds < 2 for gap in gaps):
        return CatchUp.UNDERPOWERED
    if any(gap.low > -epsilon for gap in gaps):
        return CatchUp.CAUGHT_UP
    if all(gap.high < 0 for gap in gaps):
        return CatchUp.NOT_CAUGHT_UP
    return CatchUp.UNDERPOWERED


def frontier(candidates: Collection[float], seeds: int) -> Frontier:
    """The verdict on the shares spent before that may be the best, by `RULES`."""
    if seeds < 2:
        return Frontier.UNDERPOWERED
    if set(candidates) == {1.0}:
        return Frontier.BEFORE
    if set(candidates) == {0.0}:
        return Frontier.AFTER
    ends = 0.0 in candidates or 1.0 in candidates
    return Frontier.UNDERPOWERED if ends else Frontier.INTERIOR


def dose(
    trend: Interval, differences: Sequence[Interval], best_in_between: bool, epsilon: float
) -> Dose:
    """The verdict on a trend over doses, and on every dose less the lowest, by `RULES`.

    Raises:
        ValueError: epsilon is not positive.
    """
    _check(epsilon)
    if trend.seeds < 2:
        return Dose.UNDERPOWERED
    if trend.low > 0:
        return Dose.RISES
    if trend.high < 0:
        return Dose.FALLS
    if all(-epsilon < apart.low and apart.high < epsilon for apart in differences):
        return Dose.FLAT
    return Dose.BETWEEN if best_in_between else Dose.UNDERPOWERED


def mixture(explained: Interval | None, seeds: int, epsilon: float) -> Mixture:
    """The verdict on Q², the share of the variance that is predicted (None: it does not vary).

    Args:
        explained: its interval, over mixtures.
        seeds: of every mixture.
        epsilon: share of the variance.

    Raises:
        ValueError: epsilon is not a share.
    """
    _check_share(epsilon)
    if explained is None or seeds < 2:
        return Mixture.UNDERPOWERED
    if explained.low > 0:
        return Mixture.PREDICTS
    return Mixture.DOES_NOT if explained.high < epsilon else Mixture.UNDERPOWERED


def _in_words(found: Comparison, words: Sequence[StrEnum]) -> StrEnum:
    """A comparison in other words: for better, worse, equivalent and underpowered."""
    return dict(zip(Comparison, words, strict=True))[found]


def _gains(reference: Interval) -> bool:
    """Whether there is a gain to take shares of."""
    return reference.seeds > 1 and reference.low > 0


def _check(epsilon: float) -> None:
    if not epsilon > 0:
        raise ValueError(
            f"epsilon is {epsilon}; allowed: above 0 (the smallest effect that matters)"
        )


def _check_share(epsilon: float) -> None:
    if not 0 < epsilon < 1:
        raise ValueError(f"epsilon is {epsilon}; allowed: between 0 and 1 (a share of the gain)")
