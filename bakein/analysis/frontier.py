"""Frontier: which share φ of one budget is best spent before, and which after (metric 10).

The optimum is stated as the set of shares that the data do not rule out: a share is out where some
other is shown to be better. With all comparisons at a corrected level the set holds the true best
share with the probability of its level [multiple comparisons with the best: Hsu 1984].

Legend: F shares, S seeds, P problems, B draws.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bakein.analysis import bootstrap


@dataclass(frozen=True)
class Frontier:
    """The mean score at each share with its interval, the best one, and how sure that is.

    `candidates` are the shares not ruled out, `probability_F` how often each is the best of a
    bootstrap draw (NaN with one seed, which rules nothing out). `gain` is the best share's score
    less that of `end`: of 0 and 1 the better one that is not itself the best. Its interval has the
    level at which any two shares are compared, so where it lies above 0, `end` is ruled out.
    """

    shares_F: np.ndarray
    mean_F: np.ndarray
    interval_F: tuple[bootstrap.Interval, ...]
    probability_F: np.ndarray
    best: float
    end: float
    gain: bootstrap.Interval
    candidates: tuple[float, ...]
    seeds: int


def frontier(
    shares_F: ArrayLike,
    scores_FSP: ArrayLike,
    resamples: int,
    level: float,
    rng: np.random.Generator,
) -> Frontier:
    """The iso-budget frontier and its optimum.

    Args:
        shares_F: φ, the share of the budget spent before: from 0 (all after) to 1 (all before).
        scores_FSP: final scores at each share, of the same seeds and problems.
        resamples: bootstrap draws, at least 100.
        level: of the set of candidates, for instance 0.95.
        rng: the source of draws.

    Raises:
        ValueError: shapes do not match, or shares that do not increase from 0 to 1.
    """
    shares, scores = np.asarray(shares_F, float), np.asarray(scores_FSP, float)
    if shares.ndim != 1 or scores.ndim != 3 or len(scores) != len(shares):
        raise ValueError(
            f"shares have shape {shares.shape}, scores {scores.shape}; "
            "allowed: [shares] and [shares, seeds, problems]"
        )
    if len(shares) < 2 or shares[0] != 0 or shares[-1] != 1 or np.any(np.diff(shares) <= 0):
        raise ValueError(f"shares are {shares.tolist()}; allowed: increasing, from 0 to 1")
    seeds, count = scores.shape[1], len(shares)
    mean_F = scores.mean(axis=(1, 2))
    best = int(np.argmax(mean_F))
    end = max((f for f in (0, count - 1) if f != best), key=lambda f: mean_F[f])
    others = [(f, g) for f in range(count) for g in range(count) if f != g]
    draws = bootstrap.draw([scores[g] - scores[f] for f, g in others], resamples, rng)
    # One-sided: `count − 1` comparisons could rule out the best share, each with half its error.
    at_once = 1 - 2 * (1 - level) / (count - 1)
    gain = draws.interval(at_once, others.index((end, best)))
    own = bootstrap.draw(scores, resamples, rng)
    interval_F = tuple(own.interval(level, f) for f in range(count))
    probability_F, out = np.full(count, np.nan), set()
    if seeds > 1:
        out = {f for i, (f, _) in enumerate(others) if draws.interval(at_once, i).low > 0}
        draws_BF = own.at(level)
        best_BF = draws_BF == draws_BF.max(axis=1, keepdims=True)
        probability_F = np.mean(best_BF / best_BF.sum(axis=1, keepdims=True), axis=0)
    return Frontier(
        shares_F=shares,
        mean_F=mean_F,
        interval_F=interval_F,
        probability_F=probability_F,
        best=float(shares[best]),
        end=float(shares[end]),
        gain=gain,
        candidates=tuple(float(shares[f]) for f in range(count) if f not in out),
        seeds=seeds,
    )
