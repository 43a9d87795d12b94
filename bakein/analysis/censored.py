"""Censored amounts: what it took to reach a threshold, over seeds, where some never reached it.

A `Reach` that is censored is a lower bound. Amounts and their ratios are compared in logs, and each
seed's log is kept as the two bounds it lies between; a mean over seeds then has an interval that is
open where the bounds are (multipliers, catch-up budgets, D_A, D_M and Π).

Legend: S seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from bakein.analysis import bootstrap
from bakein.analysis.rl_curve import Reach

Bound = Literal["exact", "at least", "at most", "undefined"]


@dataclass(frozen=True)
class Logs:
    """Per seed, the bounds of the ln of an amount or of a ratio; equal where it is known."""

    low_S: np.ndarray
    high_S: np.ndarray

    def __sub__(self, other: "Logs") -> "Logs":
        """The ln of the ratio, seed by seed."""
        return Logs(self.low_S - other.high_S, self.high_S - other.low_S)

    @property
    def bound(self) -> Bound:
        """What is known of the mean over seeds."""
        below, above = np.all(np.isfinite(self.low_S)), np.all(np.isfinite(self.high_S))
        if below and above:
            return "exact"
        return "at least" if below else "at most" if above else "undefined"


@dataclass(frozen=True)
class Amount:
    """A geometric mean over seeds; `log` is its ln with interval, open where `bound` says so."""

    log: bootstrap.Interval
    bound: Bound

    @property
    def estimate(self) -> float:
        """The amount or ratio, or the bound of it that is known; NaN where none is."""
        return float(np.exp(self.log.estimate))

    @property
    def low(self) -> float:
        """The interval's lower limit."""
        return float(np.exp(self.log.low))

    @property
    def high(self) -> float:
        """The interval's upper limit."""
        return float(np.exp(self.log.high))

    def scaled(self, factor: float) -> "Amount":
        """The same in another unit: times a positive constant."""
        shift = np.log(factor)
        low, high = self.log.low + shift, self.log.high + shift
        log = replace(self.log, estimate=self.log.estimate + shift, low=low, high=high)
        return replace(self, log=log)


def logs(reaches: Sequence[Reach], first: ArrayLike = np.inf) -> Logs:
    """The bounds of each seed's ln amount; open below where it was there at amount 0.

    Args:
        reaches: seed by seed.
        first: the smallest amount above 0 that was looked at, one or for each seed [S]: who was
            there at 0 took no more. Without it that side is open as well.

    Raises:
        ValueError: an amount is negative, or `first` is not positive.
    """
    amount_S = np.array([reach.compute for reach in reaches], float)
    censored_S = np.array([reach.censored for reach in reaches])
    if np.any(amount_S < 0):
        raise ValueError(f"amounts begin at {amount_S.min()}; allowed: 0 or more")
    first_S = np.broadcast_to(np.asarray(first, float), amount_S.shape)
    if not np.all(first_S > 0):
        raise ValueError(f"first is {first}; allowed: above 0")
    known_S = np.log(np.where(amount_S > 0, amount_S, 1.0))
    low_S = np.where(amount_S > 0, known_S, -np.inf)
    high_S = np.where(censored_S, np.inf, np.where(amount_S > 0, known_S, np.log(first_S)))
    return Logs(low_S, high_S)


def mean(known: Logs, resamples: int, level: float, rng: np.random.Generator) -> Amount:
    """The geometric mean over seeds with its interval.

    A limit is that of the bounds on its side: the mean of lower bounds is at most the mean, so its
    lower limit holds for the mean as well. In simulations (nominal 2.5 %) it was above the mean in
    less than 3 % for ratios, in up to 4 % for amounts of five seeds, and in up to 11 % for those of
    three: seeds that are all censored show no spread.

    Args:
        known: bounds per seed, paired seed by seed where they are of a ratio.
        resamples: bootstrap draws, at least 100.
        level: of the interval, for instance 0.95.
        rng: the source of draws.
    """
    sides = [side_S for side_S in (known.low_S, known.high_S) if np.all(np.isfinite(side_S))]
    seeds = len(known.low_S)
    if not sides:
        unknown = (float("nan"), -np.inf, np.inf, level, seeds, np.inf, np.inf)
        return Amount(bootstrap.Interval(*unknown), known.bound)
    draws = bootstrap.draw(np.array(sides)[:, :, None], resamples, rng)
    first, last = draws.interval(level, 0), draws.interval(level, len(sides) - 1)
    interval = bootstrap.Interval(
        estimate=first.estimate,
        low=-np.inf if known.bound == "at most" else first.low,
        high=np.inf if known.bound == "at least" else last.high,
        level=level,
        seeds=seeds,
        seed_se=first.seed_se,
        problem_se=first.problem_se,
    )
    return Amount(interval, known.bound)


def median(reaches: Sequence[Reach]) -> Reach:
    """The median over seeds; censored where it falls among the seeds that never got there."""
    ordered = sorted(reaches, key=lambda reach: (reach.censored, reach.compute))
    middle = [ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]]
    amount = (middle[0].compute + middle[1].compute) / 2
    return Reach(amount, any(reach.censored for reach in middle))
