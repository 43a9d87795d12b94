"""Conditional slopes: what is left of two arms' difference in slope at equal pass@1 (metric 4).

Slope and level are tied: a model that solves more at once has less to gain from more attempts. So
the slopes of many nodes (stages, difficulties, seeds) are regressed on their level, with one line
per arm and one tie for both (analysis of covariance), and the lines are compared at equal level.
Interpolating each arm to one matched pass@1 was not chosen: it uses the two nodes beside it and
none of the others. The level is itself a result of the treatment, so this describes, and explains
nothing; it is refused where the arms' levels do not overlap, for then no level is shared.

Legend: S seeds, N nodes per seed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bakein.analysis import bootstrap, jackknife


@dataclass(frozen=True)
class Conditional:
    """Treated − control in slope: as it is (`raw`), and at equal level (`difference`).

    `tie` is the slope gained per unit of level within an arm; `residuals_ASN` is fit less data,
    treated first. Where not identified, `reason` says why; difference and tie are None then.
    """

    raw: bootstrap.Interval
    difference: bootstrap.Interval | None
    tie: bootstrap.Interval | None
    residuals_ASN: np.ndarray
    identified: bool
    reason: str


def compare(
    treated_slope_SN: ArrayLike,
    treated_level_SN: ArrayLike,
    control_slope_SN: ArrayLike,
    control_level_SN: ArrayLike,
    resamples: int,
    level: float,
    rng: np.random.Generator,
) -> Conditional:
    """Compares two arms' slopes at equal level; intervals over seeds, by the jackknife's scores.

    Args:
        treated_slope_SN: slopes of the treated arm's nodes, the same nodes for every seed.
        treated_level_SN: their levels; take logit(pass@1), which slopes are nearer to linear in.
        control_slope_SN: those of the control, seed by seed.
        control_level_SN: their levels.
        resamples: bootstrap draws, at least 100.
        level: of the intervals, for instance 0.95.
        rng: the source of draws.

    Raises:
        ValueError: shapes differ or are not [seeds, nodes], or a value is not finite.
    """
    arrays = (treated_slope_SN, control_slope_SN, treated_level_SN, control_level_SN)
    four = [np.asarray(array, float) for array in arrays]
    if four[0].ndim != 2 or len({array.shape for array in four}) > 1:
        shapes = ", ".join(str(array.shape) for array in four)
        raise ValueError(f"shapes are {shapes}; allowed: one shape [seeds, nodes]")
    slope_ASN, level_ASN = np.stack(four[:2]), np.stack(four[2:])
    raw = bootstrap.mean_interval((slope_ASN[0] - slope_ASN[1]).mean(axis=1), resamples, level, rng)
    seeds = slope_ASN.shape[1]
    reason = _unidentified(level_ASN)
    if reason:
        return Conditional(raw, None, None, np.full(slope_ASN.shape, np.nan), False, reason)

    def over_seeds(part: int) -> bootstrap.Interval:
        scores_S = jackknife.scores(
            lambda kept: _covary(slope_ASN[:, kept], level_ASN[:, kept])[part], seeds
        )
        return bootstrap.mean_interval(scores_S, resamples, level, rng)

    _, tie = _covary(slope_ASN, level_ASN)
    centred = level_ASN - level_ASN.mean(axis=(1, 2), keepdims=True)
    residuals = slope_ASN.mean(axis=(1, 2), keepdims=True) + tie * centred - slope_ASN
    return Conditional(raw, over_seeds(0), over_seeds(1), residuals, True, "")


def _covary(slope_ASN: np.ndarray, level_ASN: np.ndarray) -> tuple[float, float]:
    """The difference of the arms at equal level, and the tie that is common to them."""
    mean_slope, mean_level = slope_ASN.mean(axis=(1, 2)), level_ASN.mean(axis=(1, 2))
    centred = level_ASN - mean_level[:, None, None]
    tie = float(np.sum(centred * slope_ASN) / np.sum(centred**2))
    difference = mean_slope[0] - mean_slope[1] - tie * (mean_level[0] - mean_level[1])
    return float(difference), tie


def _unidentified(level_ASN: np.ndarray) -> str:
    """Why the slopes cannot be compared at equal level; empty where they can."""
    _, seeds, nodes = level_ASN.shape
    if seeds < 2:
        return "one seed: its nodes do not show how the tie varies"
    if nodes < 2:
        return "one node per seed: its level hardly varies within an arm"
    for seed in range(seeds):  # each is left out in turn
        rest_AN = np.delete(level_ASN, seed, axis=1).reshape(2, -1)
        if np.all(np.ptp(rest_AN, axis=1) == 0):
            return "the level does not vary within an arm"
    low, high = level_ASN.min(axis=(1, 2)).max(), level_ASN.max(axis=(1, 2)).min()
    shared_A = np.sum((level_ASN >= low) & (level_ASN <= high), axis=(1, 2))
    if shared_A.min() < 2:
        return "the arms share no range of pass@1 in which both have two nodes"
    return ""
