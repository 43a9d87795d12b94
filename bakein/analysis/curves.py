"""Bands: a curve's mean and interval at every x.

Legend: X points of the curve, S seeds, P problems.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bakein.analysis import bootstrap


@dataclass(frozen=True)
class Band:
    """A curve with its pointwise interval; the limits are NaN where only one seed was run."""

    mean_X: np.ndarray
    low_X: np.ndarray
    high_X: np.ndarray
    level: float
    seeds: int


def band(scores_XSP: ArrayLike, resamples: int, level: float, rng: np.random.Generator) -> Band:
    """Mean and pointwise interval over seeds and problems at every x, of rates in 0..1.

    Args:
        scores_XSP: [points, seeds, problems], as pass@k of each problem at each k; or [points,
            seeds] where a score belongs to the seed as a whole, as a point of an RL curve.
        resamples: bootstrap draws, at least 100.
        level: for instance 0.95.
        rng: the source of draws.

    Raises:
        ValueError: as `bootstrap.draw`.
    """
    scores = np.asarray(scores_XSP, float)
    scores = scores[..., None] if scores.ndim == 2 else scores
    draws = bootstrap.draw(scores, resamples, rng)
    cells = scores[0].size
    intervals = [
        bootstrap.bounded(draws.interval(level, x), cells, 0.0, 1.0) for x in range(len(scores))
    ]
    limits = np.array([[interval.low, interval.high] for interval in intervals])
    limits[~np.isfinite(limits)] = np.nan
    return Band(draws.estimate_M, limits[:, 0], limits[:, 1], level, draws.seeds)
