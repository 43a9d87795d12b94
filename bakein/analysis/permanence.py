"""Permanence: what it takes to align a model, and what to undo it (metric 12).

D_A is the samples until a model is aligned, D_M the samples until it is misaligned again, both from
curves of a rate over samples that rises to a threshold; an attacker takes the best of a grid of
learning rates. Π = D_M/D_A. The symmetry law, easy in and easy out, is ln D_M = a + b·ln D_A with
b ≈ 1 for every arm.

Legend: X points of a curve, L learning rates, A arms, S seeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from bakein.analysis import bootstrap, censored, jackknife, projection, rl_curve
from bakein.analysis.rl_curve import Reach


def cost(samples_X: ArrayLike, rate_LX: ArrayLike, threshold: float) -> Reach:
    """Samples until the rate is at the threshold, with the learning rate that gets there first.

    Interpolated in log(1 + samples), as the sizes that are tried grow by factors.

    Args:
        samples_X: sizes of fine-tuning, beginning with 0 (the model as it is), increasing.
        rate_LX: what is to be brought about, at each learning rate: refusals on forbidden topics
            for D_A, attack success for D_M.
        threshold: the rate that counts as there.

    Returns:
        Censored at the largest size where no learning rate gets there; 0 where it was there before.

    Raises:
        ValueError: shapes do not match, or sizes do not begin with 0 and increase.
    """
    samples, rate = np.asarray(samples_X, float), np.asarray(rate_LX, float)
    if rate.ndim != 2 or not len(rate) or samples.shape != rate.shape[1:]:
        raise ValueError(
            f"samples have shape {samples.shape}, rates {rate.shape}; "
            "allowed: [points] and [learning rates, points]"
        )
    found = [rl_curve.samples_to(np.log2(1 + samples), row, threshold) for row in rate]
    first = min(found, key=lambda reach: (reach.censored, reach.compute))
    return Reach(float(2**first.compute - 1), first.censored)


@dataclass(frozen=True)
class Permanence:
    """One arm: the medians of D_A and D_M over seeds, and Π as a geometric mean of its seeds'."""

    align: Reach
    misalign: Reach
    ratio: censored.Amount


def permanence(
    align_S: Sequence[Reach],
    misalign_S: Sequence[Reach],
    resamples: int,
    level: float,
    rng: np.random.Generator,
) -> Permanence:
    """D_A, D_M and Π of one arm from what each took every seed.

    The medians describe; the interval is that of Π's geometric mean, for a median of five seeds
    has no 95 % interval. Compare arms by `contrast`.

    Raises:
        ValueError: the seeds are not the same number.
    """
    ratio = _log_ratio(align_S, misalign_S)
    return Permanence(
        censored.median(align_S),
        censored.median(misalign_S),
        censored.mean(ratio, resamples, level, rng),
    )


def contrast(
    treated: tuple[Sequence[Reach], Sequence[Reach]],
    control: tuple[Sequence[Reach], Sequence[Reach]],
    resamples: int,
    level: float,
    rng: np.random.Generator,
) -> censored.Amount:
    """Π of the treated arm over Π of the control, paired by seed.

    Args:
        treated: what it took each seed to align, and to misalign.
        control: the same of the control.
        resamples: bootstrap draws, at least 100.
        level: of the interval, for instance 0.95.
        rng: the source of draws.

    Raises:
        ValueError: the seeds are not the same number.
    """
    if len(treated[0]) != len(control[0]):
        raise ValueError(f"{len(treated[0])} seeds of treated, {len(control[0])} of control")
    between = _log_ratio(*treated) - _log_ratio(*control)
    return censored.mean(between, resamples, level, rng)


def _log_ratio(align_S: Sequence[Reach], misalign_S: Sequence[Reach]) -> censored.Logs:
    if not align_S or len(align_S) != len(misalign_S):
        raise ValueError(f"{len(align_S)} seeds were aligned, {len(misalign_S)} misaligned")
    return censored.logs(misalign_S) - censored.logs(align_S)


@dataclass(frozen=True)
class Symmetry:
    """ln D_M = a + b·ln D_A over arms: `slope` is b, `intercept` a, `residuals` by arm.

    `left_out` are arms of which some seed never got there, or was there before: they have no
    point. Where not identified, `reason` says why and the slope is None.
    """

    slope: bootstrap.Interval | None
    intercept: float
    residuals: Mapping[str, float]
    left_out: tuple[str, ...]
    identified: bool
    reason: str


def symmetry(
    align: Mapping[str, Sequence[Reach]],
    misalign: Mapping[str, Sequence[Reach]],
    resamples: int,
    level: float,
    rng: np.random.Generator,
) -> Symmetry:
    """The symmetry law over arms, with the slope's interval over seeds; the arms are given.

    D_A is measured with error, as is D_M: ordinary least squares would find b too small, and so a
    broken law. The seeds show how large the errors are and how they go together: what they add to
    the arms' variance and covariance is taken off before dividing [errors in variables by moments:
    Fuller 1987]. Not identified where the arms do not differ in D_A by more than seeds do (F test,
    5 %), with fewer than three arms or three seeds.

    Args:
        align: D_A of each seed, by arm.
        misalign: D_M of the same arms and seeds.
        resamples: bootstrap draws, at least 100.
        level: of the interval, for instance 0.95.
        rng: the source of draws.

    Raises:
        ValueError: arms or numbers of seeds differ.
    """
    sizes = {len(seeds) for table in (align, misalign) for seeds in table.values()}
    if align.keys() != misalign.keys() or len(sizes) != 1:
        raise ValueError("the symmetry law needs D_A and D_M of the same arms and seeds")
    known = {
        arm: (censored.logs(align[arm]).low_S, censored.logs(misalign[arm]).low_S)
        for arm in align
        if all(r.compute > 0 and not r.censored for r in (*align[arm], *misalign[arm]))
    }
    left_out = tuple(arm for arm in align if arm not in known)
    seeds = sizes.pop()

    def unidentified(reason: str) -> Symmetry:
        return Symmetry(None, float("nan"), {}, left_out, False, reason)

    if len(known) < 3:
        return unidentified(f"{len(known)} arms have both costs; a law needs at least 3")
    if seeds < 3:
        return unidentified(f"{seeds} seeds; the errors of D_A and their spread need at least 3")
    x_AS, y_AS = (np.array([both[i] for both in known.values()]) for i in (0, 1))
    noise = x_AS.var(axis=1, ddof=1).mean() / seeds
    differ = stats.f.ppf(0.95, len(known) - 1, len(known) * (seeds - 1))
    if x_AS.mean(axis=1).var(ddof=1) <= max(1e-12, differ * noise):
        return unidentified("the arms do not differ in D_A by more than their seeds do")
    scores_S = jackknife.scores(lambda kept: _moment_slope(x_AS[:, kept], y_AS[:, kept]), seeds)
    slope = bootstrap.mean_interval(scores_S, resamples, level, rng)
    intercept = float(y_AS.mean() - slope.estimate * x_AS.mean())
    residual_A = intercept + slope.estimate * x_AS.mean(axis=1) - y_AS.mean(axis=1)
    residuals = dict(zip(known, residual_A.tolist(), strict=True))
    return Symmetry(slope, intercept, residuals, left_out, True, "")


def _moment_slope(x_AS: np.ndarray, y_AS: np.ndarray) -> float:
    """Covariance over variance of the arms, each less what the seeds' errors add to it."""
    arms, seeds = x_AS.shape
    x_A, y_A = x_AS.mean(axis=1), y_AS.mean(axis=1)
    between = np.cov(x_A, y_A)
    rest = np.stack([x_AS - x_A[:, None], y_AS - y_A[:, None]]).reshape(2, -1)
    within = rest @ rest.T / (arms * (seeds - 1))
    true = between - within / seeds
    return float(true[0, 1] / true[0, 0])


@dataclass(frozen=True)
class HalfLife:
    """rate = floor + start·2^(−samples/half-life), least squares; residuals are fit less data.

    `samples` is the half-life; censored, a lower bound, where it is longer than what was tried.
    `gone`: it is shorter, by far, than the first size that was tried.
    """

    samples: Reach
    start: float
    residuals_X: np.ndarray
    identified: bool
    gone: bool
    reason: str


def half_life(samples_X: ArrayLike, rate_X: ArrayLike, floor: float) -> HalfLife:
    """Samples of benign fine-tuning until half of the alignment is gone, of one seed.

    Args:
        samples_X: sizes of fine-tuning, beginning with 0, increasing.
        rate_X: refusals on forbidden topics at each.
        floor: the rate that is left when it is all gone: the never-aligned twin's.

    Raises:
        ValueError: shapes differ, sizes do not begin with 0 and increase, rates not finite.
    """
    samples, rate = rl_curve.check_curve(samples_X, rate_X)

    def unidentified(reason: str, gone: bool = False) -> HalfLife:
        nan = float("nan")
        return HalfLife(Reach(nan, False), nan, np.full(len(rate), nan), False, gone, reason)

    if len(samples) < 3:
        return unidentified(f"{len(samples)} points; a decay needs at least 3")
    if rate[0] <= floor:
        return unidentified("nothing is above the floor at the start: no alignment to lose")
    last = float(samples[-1])
    lives = np.geomspace(samples[1] / 8, 1000 * last, 240)
    found = projection.fit(lambda life: 2.0 ** (-samples[:, None] / life), rate - floor, lives)
    if found.parameter <= lives[0]:
        return unidentified("it is gone before the first size that was tried", gone=True)
    late = found.parameter > last
    life = Reach(last if late else found.parameter, late)
    return HalfLife(life, float(found.coefficients_C[0]), found.residuals_X, True, False, "")


def median_life(lives: Sequence[HalfLife]) -> Reach | None:
    """The median half-life over seeds; None where less than half of them tell, or it is gone.

    A seed whose alignment is gone at once has the shortest life, if an unknown one: it counts.
    """
    told = [life.samples for life in lives if life.identified]
    gone = sum(life.gone for life in lives)
    count = len(told) + gone
    if 2 * count <= len(lives) or gone > (count - 1) // 2:
        return None
    return censored.median([Reach(0.0, False)] * gone + told)
