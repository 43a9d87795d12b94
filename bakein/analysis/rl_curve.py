"""The RL curve: held-out reward against RL compute C (metric 6).

C is samples, sampled tokens or FLOPs, beginning with the untrained policy at C = 0.

Legend: X points of the curve, P problems.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

from bakein.analysis import passk, slopes

_EXPONENTS = (0.1, 20.0)  # bounds of B; an estimate at a bound is not identified
_SEEN = 0.8  # of the fitted rise: A lies farther beyond what was seen than the data can tell


@dataclass(frozen=True)
class RewardFit:
    """R(C) = R0 + (A − R0)/(1 + (C_mid/C)^B), least squares [arXiv 2510.13786].

    `start` is R0, the first point; `asymptote` A, `exponent` B, `midpoint` C_mid, and `residuals_X`
    (fit less data) are NaN where the curve does not determine them; `reason` then says why.
    """

    start: float
    asymptote: float
    exponent: float
    midpoint: float
    residuals_X: np.ndarray
    identified: bool
    reason: str

    @property
    def steepest_slope(self) -> float:
        """B(A − R0)/4: reward per unit of ln C, at C_mid."""
        return self.exponent * (self.asymptote - self.start) / 4

    def reward(self, compute: ArrayLike) -> np.ndarray:
        """The fitted reward at each C ≥ 0."""
        theta = np.array([self.asymptote, np.log(self.exponent), np.log(self.midpoint)])
        return _rise(theta, self.start, np.asarray(compute, float))


def _rise(theta: np.ndarray, start: float, compute: np.ndarray) -> np.ndarray:
    asymptote, log_exponent, log_midpoint = theta
    positive = compute > 0
    log_ratio = np.log(np.where(positive, compute, 1.0)) - log_midpoint
    share = 1 / (1 + np.exp(np.clip(-np.exp(log_exponent) * log_ratio, -700, 700)))
    return start + (asymptote - start) * np.where(positive, share, 0.0)


def fit(compute_X: ArrayLike, reward_X: ArrayLike) -> RewardFit:
    """Fits the RL curve; R0 is given by the first point, where C = 0.

    Identified only where the data determine it: at least four points after C = 0, a fit that is
    better than a constant (F test, 5 %), C_mid inside the range seen, four fifths of the rise seen,
    B off its bounds.

    Args:
        compute_X: C, beginning with 0, increasing.
        reward_X: held-out reward at each C, in [0, 1].

    Raises:
        ValueError: shapes differ, C does not begin with 0 or increase, reward outside [0, 1].
    """
    compute, reward = check_curve(compute_X, reward_X)
    if reward.min() < 0 or reward.max() > 1:
        raise ValueError(f"reward spans {reward.min()}..{reward.max()}; allowed: 0..1")
    start, x, y = float(reward[0]), compute[1:], reward[1:]

    def unidentified(reason: str) -> RewardFit:
        nan = float("nan")
        return RewardFit(start, nan, nan, nan, np.full(len(reward), nan), False, reason)

    if len(x) < 4:
        return unidentified(f"{len(x)} points after C = 0; three parameters need at least 4")
    if np.ptp(reward) < 1e-9:
        return unidentified("the curve is flat")
    low = np.array([0.0, np.log(_EXPONENTS[0]), np.log(x[0] / 4)])
    high = np.array([1.0, np.log(_EXPONENTS[1]), np.log(x[-1] * 4)])
    best = optimize.least_squares(
        lambda theta: _rise(theta, start, x) - y, _guess(start, x, y, low, high), bounds=(low, high)
    )
    asymptote, log_exponent, log_midpoint = best.x
    squares, flat_squares = 2 * best.cost, float(np.sum((y - y.mean()) ** 2))
    if flat_squares <= squares:
        return unidentified("a constant fits as well")
    gain = ((flat_squares - squares) / 2) / max(squares / (len(x) - 3), 1e-300)
    if stats.f.sf(gain, 2, len(x) - 3) > 0.05:
        return unidentified("no better than a constant (F test at 5 %)")
    exponent, midpoint = float(np.exp(log_exponent)), float(np.exp(log_midpoint))
    if not x[0] <= midpoint <= x[-1]:
        return unidentified("half of the rise lies outside the range of C")
    if min(log_exponent - low[1], high[1] - log_exponent) < 1e-3:
        return unidentified("B is at its bound: the curve is a step or a drift")
    if _rise(np.array([1.0, log_exponent, log_midpoint]), 0.0, x[-1:])[0] < _SEEN:
        return unidentified("the curve is still rising: less than 80 % of the fitted rise is seen")
    residuals = np.concatenate([[0.0], best.fun])
    return RewardFit(start, float(asymptote), exponent, midpoint, residuals, True, "")


def _guess(
    start: float, x: np.ndarray, y: np.ndarray, low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """The best of a grid over ln B and ln C_mid; for each, A is linear least squares."""
    cells = np.array(
        [
            (log_exponent, log_midpoint)
            for log_exponent in np.linspace(low[1], high[1], 12)[1:-1]
            for log_midpoint in np.linspace(low[2], high[2], 22)[1:-1]
        ]
    )
    share_GX = np.array([_rise(np.array([1.0, *cell]), 0.0, x) for cell in cells])
    height_G = share_GX @ (y - start) / np.maximum(np.sum(share_GX**2, axis=1), 1e-300)
    height_G = np.clip(height_G, 0.001 - start, 0.999 - start)  # strictly inside A's bounds
    error_G = np.sum((height_G[:, None] * share_GX - (y - start)) ** 2, axis=1)
    best = int(np.argmin(error_G))
    return np.array([start + height_G[best], *cells[best]])


def aurc(compute_X: ArrayLike, reward: ArrayLike, span: tuple[float, float]) -> np.ndarray:
    """AURC: fit-free area under the reward over log₂ C, per doubling (metrics 6 and 8).

    C = 0 has no place on a logarithmic axis, and the untrained policy's reward does not enter. At
    the ends of the span the curve is interpolated, linearly in log₂ C.

    Args:
        compute_X: C, beginning with 0, increasing.
        reward: held-out reward at each C, [points] or [points, ...], of each problem, say.
        span: lowest and highest C of the area, inside the positive C of the curve. To be compared,
            curves must have one span: who draws more samples has more time to rise.

    Returns:
        The mean height [...] of the curves over log₂ C, in units of reward.

    Raises:
        ValueError: shapes differ, C does not begin with 0 or increase, the span is empty or goes
            beyond the curve.
    """
    compute, _ = check_curve(compute_X, np.zeros(np.shape(reward)[:1]))
    low, high = span
    if len(compute) < 2 or not compute[1] <= low < high <= compute[-1]:
        raise ValueError(f"span is {low:g} to {high:g}; allowed: inside C = {compute[1:].tolist()}")
    inner_X = compute[(compute > low) & (compute < high)]
    x = np.concatenate([[low], inner_X, [high]])
    log_x, log_compute = np.log2(x), np.log2(compute[1:])
    heights = np.apply_along_axis(
        lambda y: np.interp(log_x, log_compute, y), 0, np.asarray(reward, float)[1:]
    )
    return slopes.area_over_log2(x, heights)


@dataclass(frozen=True)
class Reach:
    """Compute until a threshold of reward; `censored`: not reached, `compute` is the last C."""

    compute: float
    censored: bool


def samples_to(compute_X: ArrayLike, reward_X: ArrayLike, threshold: float) -> Reach:
    """The first C at which the reward is at the threshold, linear between points.

    Raises:
        ValueError: shapes differ, or C does not begin with 0 or increase.
    """
    compute, reward = check_curve(compute_X, reward_X)
    reached = np.flatnonzero(reward >= threshold)
    if not len(reached):
        return Reach(float(compute[-1]), True)
    i = int(reached[0])
    if i == 0:
        return Reach(0.0, False)
    part = (threshold - reward[i - 1]) / (reward[i] - reward[i - 1])
    return Reach(float(compute[i - 1] + part * (compute[i] - compute[i - 1])), False)


@dataclass(frozen=True)
class Multiplier:
    """C_control/C_treated at equal reward; `bound` says how much censoring leaves of it."""

    value: float
    bound: Literal["exact", "at least", "at most", "undefined"]


def multiplier(control: Reach, treated: Reach) -> Multiplier:
    """How many times the treated arm's compute the control needs for the same reward.

    A control that never got there makes the ratio a lower bound, a treated arm that never did an
    upper bound; both, or both there at C = 0: undefined (NaN).
    """
    if (control.censored and treated.censored) or control.compute == treated.compute == 0:
        return Multiplier(float("nan"), "undefined")
    bound = "at least" if control.censored else "at most" if treated.censored else "exact"
    value = control.compute / treated.compute if treated.compute > 0 else float("inf")
    return Multiplier(value, bound)


def token_equivalents(prompts: float, rollouts: float, length: float, reference: float) -> float:
    """RL token-equivalents (4/3 + γ/3)·N·r·L: RL in units of pretraining tokens (metric 6).

    Args:
        prompts: N, prompts over the whole run.
        rollouts: r, completions per prompt.
        length: L, mean tokens of a completion.
        reference: γ, 1 with a reference model, 0 without.
    """
    return (4 / 3 + reference / 3) * prompts * rollouts * length


@dataclass(frozen=True)
class Split:
    """Sharpening against expansion, before and after RL on the same problems: scores [P].

    `expansion` is the chance that k samples of the base do not solve the problem and k after do;
    `contraction` the reverse: gain_k = expansion − contraction. Sampling alone gives both, equally,
    and the less so the more alike the random numbers of both evaluations make their samples: what
    may be compared between arms is their difference.
    """

    gain_1_P: np.ndarray
    gain_k_P: np.ndarray
    expansion_P: np.ndarray
    contraction_P: np.ndarray

    @property
    def sharpening_P(self) -> np.ndarray:
        """Δpass@1 − Δpass@k: what became likelier without becoming newly possible."""
        return self.gain_1_P - self.gain_k_P


def split(base_correct_P: ArrayLike, after_correct_P: ArrayLike, n: int, k: int) -> Split:
    """Splits the gain of RL into sharpening and expansion (metric 6).

    Raises:
        ValueError: shapes differ, counts outside 0..n, or n < k.
    """
    base, after = np.asarray(base_correct_P), np.asarray(after_correct_P)
    if base.shape != after.shape:
        raise ValueError(f"shapes {base.shape} and {after.shape} differ; they are one evaluation")
    before_k, after_k = passk.pass_at_k(base, n, k), passk.pass_at_k(after, n, k)
    return Split(
        gain_1_P=(after - base) / n,
        gain_k_P=after_k - before_k,
        expansion_P=(1 - before_k) * after_k,
        contraction_P=before_k * (1 - after_k),
    )


def check_curve(compute_X: ArrayLike, reward_X: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """The curve as arrays: finite, on an axis that begins with 0 and increases; or a ValueError."""
    compute, reward = np.asarray(compute_X, float), np.asarray(reward_X, float)
    if compute.ndim != 1 or compute.shape != reward.shape or not compute.size:
        raise ValueError(
            f"compute has shape {compute.shape}, reward {reward.shape}; allowed: one shape [points]"
        )
    if compute[0] != 0 or np.any(np.diff(compute) <= 0):
        raise ValueError("compute must begin with 0 and increase")
    if not np.all(np.isfinite(reward)):
        raise ValueError("reward must be finite")
    return compute, reward
