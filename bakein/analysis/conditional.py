"""Conditional slopes: what is left of two arms' difference in slope at equal pass@1 (metric 4).

Slope and level are tied: a model that solves more at once has less to gain from more attempts. So
the slopes of many nodes (stages, difficulties, seeds) are regressed on their level, with one line
per arm and one tie for both (analysis of covariance), and the lines are compared at equal level.
Only nodes of the range of levels that both arms have are used: the tie is a straight line, slopes
bend, and beyond that range the bend would pass for a difference (of .01 to .05 in the area under
pass@k, where arms of one spread are 3 to 5 logits apart). Interpolating each arm to one matched
pass@1 was not chosen: it uses the two nodes beside it and none of the others. The level is itself a
result of the treatment, so this describes, and explains nothing; it is refused where the arms'
levels do not overlap, for then no level is shared.

Legend: S seeds, P problems, N nodes per seed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bakein.analysis import bootstrap, jackknife

# Slopes and levels of the treated arm's nodes, then of the control's, each [S, N].
Nodes = tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike]


@dataclass(frozen=True)
class Conditional:
    """Treated − control in slope: as it is (`raw`), and at equal level (`difference`).

    `tie` is the slope gained per unit of level within an arm; `residuals_ASN` is fit less data,
    treated first, NaN outside the shared range `shared` (lowest and highest level). Where not
    identified, `reason` says why; difference, tie and range are None then.
    """

    raw: bootstrap.Interval
    difference: bootstrap.Interval | None
    tie: bootstrap.Interval | None
    shared: tuple[float, float] | None
    residuals_ASN: np.ndarray
    identified: bool
    reason: str


def compare(
    treated_slope_SN: ArrayLike,
    treated_level_SN: ArrayLike,
    control_slope_SN: ArrayLike,
    control_level_SN: ArrayLike,
    without: Sequence[Sequence[Nodes]],
    resamples: int,
    level: float,
    rng: np.random.Generator,
) -> Conditional:
    """Compares two arms' slopes at equal level; intervals over seeds and problems, by jackknife.

    Arms of one slope whose problems are a sample were told apart in 18 to 44 % of studies by an
    interval over their seeds alone (nominal 5 %, five seeds, 32 problems a node).

    Args:
        treated_slope_SN: slopes of the treated arm's nodes, the same nodes for every seed.
        treated_level_SN: their levels; take logit(pass@1), which slopes are nearer to linear in.
        control_slope_SN: those of the control, seed by seed.
        control_level_SN: their levels.
        without: the same four arrays with each problem left out in turn, a sequence for each set of
            problems that is a sample of its own: one set, or those of slopes and those of levels.
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
    low, high = level_ASN.min(axis=(1, 2)).max(), level_ASN.max(axis=(1, 2)).min()
    shared_ASN = (level_ASN >= low) & (level_ASN <= high)
    sets = [
        [(np.stack(nodes[::2]), np.stack(nodes[1::2])) for nodes in of_set] for of_set in without
    ]

    def interval(statistic: Callable[..., float]) -> bootstrap.Interval:
        seeds_S = jackknife.scores(
            lambda kept: statistic(slope_ASN[:, kept], level_ASN[:, kept], shared_ASN[:, kept]),
            slope_ASN.shape[1],
        )
        left_out = [[statistic(*both, shared_ASN) for both in of_set] for of_set in sets]
        scores_SP = seeds_S[:, None] + jackknife.deviations(left_out)
        return bootstrap.mean_interval(scores_SP, resamples, level, rng)

    raw = interval(lambda slope, *_: float(np.mean(slope[0] - slope[1])))
    reason = _unidentified(level_ASN, shared_ASN)
    if reason:
        return Conditional(raw, None, None, None, np.full(slope_ASN.shape, np.nan), False, reason)

    difference, tied = (interval(lambda *data, n=n: _covary(*data)[n]) for n in (0, 1))
    _, tie = _covary(slope_ASN, level_ASN, shared_ASN)
    mean_slope, mean_level = _means(slope_ASN, shared_ASN), _means(level_ASN, shared_ASN)
    residuals = mean_slope + tie * (level_ASN - mean_level) - slope_ASN
    residuals[~shared_ASN] = np.nan
    shared = float(low), float(high)
    return Conditional(raw, difference, tied, shared, residuals, True, "")


def _means(values_ASN: np.ndarray, shared_ASN: np.ndarray) -> np.ndarray:
    """Each arm's mean over the nodes of the shared range, with the axes kept."""
    return np.mean(values_ASN, axis=(1, 2), where=shared_ASN, keepdims=True)


def _covary(
    slope_ASN: np.ndarray, level_ASN: np.ndarray, shared_ASN: np.ndarray
) -> tuple[float, float]:
    """The difference of the arms at equal level, and the tie that is common to them."""
    mean_slope, mean_level = _means(slope_ASN, shared_ASN), _means(level_ASN, shared_ASN)
    centred = (level_ASN - mean_level) * shared_ASN
    tie = np.sum(centred * slope_ASN) / np.sum(centred**2)
    at_level = (mean_slope - tie * mean_level).ravel()
    return float(at_level[0] - at_level[1]), float(tie)


def _unidentified(level_ASN: np.ndarray, shared_ASN: np.ndarray) -> str:
    """Why the slopes cannot be compared at equal level; empty where they can."""
    _, seeds, nodes = level_ASN.shape
    if seeds < 2:
        return "one seed: its nodes do not show how the tie varies"
    if nodes < 2:
        return "one node per seed: its level hardly varies within an arm"
    if shared_ASN.sum(axis=(1, 2)).min() < 2:
        return "the arms share no range of pass@1 in which both have two nodes"
    for seed in range(seeds):  # the jackknife leaves each out in turn
        shared, rest = (np.delete(of_all, seed, axis=1) for of_all in (shared_ASN, level_ASN))
        if not np.all(np.any(shared, axis=(1, 2))):
            return "only one seed of an arm is in the range of pass@1 that the arms share"
        if not any(np.ptp(of_arm[here]) for of_arm, here in zip(rest, shared, strict=True)):
            return "the level does not vary within an arm"
    return ""
