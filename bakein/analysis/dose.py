"""Dose and response: what more of something does, from which dose on, and which dose is best.

The trend is the rise of the least-squares line through the scores over the ranks of the doses, from
the lowest to the highest: it asks nothing of the scale of the doses, 0 may be among them, and it is
linear in the scores, so that their bootstrap is its own.

Legend: D doses, S seeds, P problems.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bakein.analysis import bootstrap
from bakein.analysis.bootstrap import Interval
from bakein.analysis.frontier import frontier


@dataclass(frozen=True)
class Difference:
    """A dose against the lowest one.

    Attributes:
        apart: its score less the lowest dose's, with the interval of the level asked for.
        holm: the same with the interval of its Holm level among all doses.
        p_holm: of "no difference", adjusted likewise.
    """

    apart: Interval
    holm: Interval
    p_holm: float


@dataclass(frozen=True)
class Response:
    """What the doses do, lowest first.

    Attributes:
        means: the score at each dose.
        trend: rise of the line from the lowest dose to the highest.
        differences: of every dose but the lowest.
        candidates: indices of the doses that may be the best, see `frontier`.
    """

    means: tuple[Interval, ...]
    trend: Interval
    differences: tuple[Difference, ...]
    candidates: tuple[int, ...]

    @property
    def best_in_between(self) -> bool:
        """Whether neither the lowest dose nor the highest may be the best."""
        return not {0, len(self.means) - 1} & {*self.candidates}


def respond(
    scores_DSP: ArrayLike,
    bounds: tuple[float, float],
    resamples: int,
    level: float,
    rng: np.random.Generator,
) -> Response:
    """Trend, differences from the lowest dose, and the doses that may be the best.

    Args:
        scores_DSP: by rising dose, of the same seeds and problems; more is better.
        bounds: the smallest score that there can be, and the largest.
        resamples: bootstrap draws, at least 100.
        level: of the intervals, of the family of differences, and of the set of candidates.
        rng: the source of draws.

    Raises:
        ValueError: not three axes, or fewer than two doses.
    """
    scores = np.asarray(scores_DSP, float)
    if scores.ndim != 3 or len(scores) < 2:
        raise ValueError(
            f"scores have shape {scores.shape}; allowed: [doses, seeds, problems], two doses or "
            "more"
        )
    count, cells = len(scores), scores[0].size
    weight_D = trend_weights(count)
    trend_SP = np.tensordot(weight_D, scores, axes=1)
    # Of all doses at once, so that they are judged by the same draws.
    draws = bootstrap.draw([trend_SP, *scores, *(scores[1:] - scores[0])], resamples, rng)

    def interval(quantity: int, at: float, least: float, most: float) -> Interval:
        return bootstrap.bounded(draws.interval(at, quantity), cells, least, most)

    least, most = bounds
    widest = most - least
    steepest = widest * np.abs(weight_D).sum() / 2
    plain = {d: interval(count + d, level, -widest, widest) for d in range(1, count)}
    p = {str(d): found.p_value for d, found in plain.items()}
    p_holm, levels = bootstrap.holm(p), bootstrap.holm_levels(p, level)
    differences = tuple(
        Difference(found, interval(count + d, levels[str(d)], -widest, widest), p_holm[str(d)])
        for d, found in plain.items()
    )
    best = frontier(np.linspace(0, 1, count), scores, resamples, level, rng)
    return Response(
        tuple(interval(1 + d, level, least, most) for d in range(count)),
        interval(0, level, -steepest, steepest),
        differences,
        tuple(round(place * (count - 1)) for place in best.candidates),
    )


def trend_weights(count: int) -> np.ndarray:
    """Weights [D] of scores at ranks 0 .. D − 1 that give the rise of their line over all ranks."""
    rank_D = np.arange(count) - (count - 1) / 2
    return (count - 1) * rank_D / np.sum(rank_D**2)
