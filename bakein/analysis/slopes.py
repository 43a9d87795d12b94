"""Parallel test-time compute: how pass@k climbs with the number of attempts k (metric 4).

A slope is tied to its level: report it beside pass@1 (`BetaFit.pass_at_1`). A fit that the data do
not determine says so (`identified` False, the reason, parameters NaN) instead of giving numbers.

Legend: P problems, K attempts counts.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from bakein.analysis import passk, projection

_BETA_BOUNDS = (1e-3, 1e3)  # of alpha and beta; an estimate at a bound is not identified
_POWER_BOUND = 20.0  # of b; beyond it the curve is a step


@dataclass(frozen=True)
class BetaFit:
    """Per-problem success p ~ Beta(alpha, beta), by beta-binomial maximum likelihood.

    `alpha` is the tail exponent: 1 − pass@k → Γ(α+β)/Γ(β)·k^(−α). `residuals_K` is the model's
    pass@k less the unbiased estimate from the counts, at each k asked for.
    """

    alpha: float
    beta: float
    residuals_K: np.ndarray
    identified: bool
    reason: str

    @property
    def pass_at_1(self) -> float:
        """The model's level α/(α+β), beside which the slope is to be read."""
        return self.alpha / (self.alpha + self.beta)

    def pass_at_k(self, k: ArrayLike) -> np.ndarray:
        """The model's pass@k = 1 − B(α, β+k)/B(α, β), also beyond the samples at hand."""
        return _beta_pass(self.alpha, self.beta, np.asarray(k, float))


@dataclass(frozen=True)
class PowerFit:
    """−ln pass@k = a·k^(−b) by least squares; `residuals_K` is fit less data, in nats."""

    a: float
    b: float
    residuals_K: np.ndarray
    identified: bool
    reason: str


def _beta_pass(alpha: float, beta: float, k: np.ndarray) -> np.ndarray:
    return -np.expm1(special.betaln(alpha, beta + k) - special.betaln(alpha, beta))


def fit_beta(correct_P: ArrayLike, n: int, ks: ArrayLike) -> BetaFit:
    """Fits the spread of success over problems by beta-binomial maximum likelihood.

    Args:
        correct_P: integers in 0..n, right samples of each problem.
        n: samples of each problem.
        ks: attempts at which the residuals are given, each at most n.

    Returns:
        The fit; not identified where all problems have one count, or no more spread than coin
        tosses give (alpha or beta runs away).

    Raises:
        ValueError: counts outside 0..n, or a k outside 1..n.
    """
    ks = np.atleast_1d(np.asarray(ks))
    empirical_K = np.array([passk.pass_at_k(correct_P, n, int(k)).mean() for k in ks])
    counts, weight = np.unique(np.asarray(correct_P), return_counts=True)
    if len(counts) == 1:
        return _no_beta(len(ks), f"every problem has {counts[0]} of {n} samples right")

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        alpha, beta = np.exp(theta)
        right, wrong = counts + alpha, n - counts + beta
        value = special.betaln(right, wrong) - special.betaln(alpha, beta)
        both = special.digamma(n + alpha + beta) - special.digamma(alpha + beta)
        d_alpha = special.digamma(right) - special.digamma(alpha) - both
        d_beta = special.digamma(wrong) - special.digamma(beta) - both
        gradient = np.array([alpha * (weight @ d_alpha), beta * (weight @ d_beta)])
        return -(weight @ value) / weight.sum(), -gradient / weight.sum()

    low, high = np.log(_BETA_BOUNDS)
    mean = float(np.clip(weight @ counts / (weight.sum() * n), 0.01, 0.99))
    start = np.log([mean, 1.0 - mean])
    best = optimize.minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=[(low, high)] * 2, options={"ftol": 1e-14}
    )
    if np.any(best.x > high - 1e-6) or np.any(best.x < low + 1e-6):
        return _no_beta(len(ks), "alpha or beta is at its bound: the spread does not determine it")
    alpha, beta = (float(value) for value in np.exp(best.x))
    return BetaFit(alpha, beta, _beta_pass(alpha, beta, ks) - empirical_K, True, "")


def _no_beta(points: int, reason: str) -> BetaFit:
    return BetaFit(np.nan, np.nan, np.full(points, np.nan), False, reason)


def fit_power(ks: ArrayLike, pass_K: ArrayLike) -> PowerFit:
    """Fits −ln pass@k = a·k^(−b), the form of Best-of-N jailbreaking [arXiv 2412.03556].

    Args:
        ks: attempts, positive and increasing.
        pass_K: pass@k at each, in [0, 1].

    Returns:
        The fit; not identified below three points, where pass@k is 0 somewhere or 1 everywhere,
        or where it does not rise.

    Raises:
        ValueError: the arrays do not match, ks do not increase, or pass@k is outside [0, 1].
    """
    k, y = check_curve(ks, pass_K)
    if y.min() < 0 or y.max() > 1:
        raise ValueError(f"pass@k spans {y.min()}..{y.max()}; allowed: 0..1")

    def unidentified(reason: str) -> PowerFit:
        return PowerFit(np.nan, np.nan, np.full(len(k), np.nan), False, reason)

    if len(k) < 3:
        return unidentified(f"{len(k)} points; a fit of two parameters needs at least 3")
    if y.min() <= 0:
        return unidentified("pass@k is 0 somewhere: its logarithm is not finite")
    if y.max() - y.min() < 1e-9:
        return unidentified("pass@k does not change with k")
    grid = np.concatenate([[0.0], np.geomspace(1e-3, _POWER_BOUND, 200)])
    found = projection.fit(lambda b: k[:, None] ** -b, -np.log(y), grid)
    if found.at_bound:
        return unidentified("b is at its bound: the curve does not rise, or is a step")
    return PowerFit(float(found.coefficients_C[0]), found.parameter, found.residuals_X, True, "")


@dataclass(frozen=True)
class Exponents:
    """Both estimates of how fast pass@k nears 1: the beta tail α, and b by least squares.

    In the limit of many attempts b is α. At the k at hand b describes that stretch of the curve,
    and the tail is the estimate to extrapolate by: it uses the counts, not their means.
    """

    tail: BetaFit
    power: PowerFit


def exponents(correct_P: ArrayLike, n: int, ks: ArrayLike) -> Exponents:
    """The beta-tail estimate beside the least-squares one, from the same counts.

    Raises:
        ValueError: as `fit_beta` and `fit_power`.
    """
    curve_K = np.array([passk.pass_at_k(correct_P, n, int(k)).mean() for k in ks])
    return Exponents(fit_beta(correct_P, n, ks), fit_power(ks, curve_K))


def area_over_log2(x: ArrayLike, y: ArrayLike) -> np.ndarray:
    """Fit-free area under y over log₂ x, divided by the doublings spanned: the mean height of y.

    Args:
        x: positive and increasing: k, samples, tokens or FLOPs; [points].
        y: the curves at each x, [points] or [points, ...]: one for each seed and problem, say. The
            area is linear in y, so the mean of curves has the mean of their areas.

    Returns:
        The areas [...] by the trapezoid rule, in units of y, comparable between grids of one range.

    Raises:
        ValueError: fewer than two points, x not positive and increasing, or y not finite.
    """
    (x, _), y = check_curve(x, x), np.asarray(y, float)
    if y.shape[:1] != x.shape:
        raise ValueError(f"x has shape {x.shape} and y {y.shape}; allowed: [points], [points, ...]")
    if not np.all(np.isfinite(y)):
        raise ValueError("y must be finite")
    if len(x) < 2:
        raise ValueError(f"{len(x)} points; an area needs at least 2")
    return np.trapezoid(y, np.log2(x), axis=0) / np.log2(x[-1] / x[0])


def check_curve(x: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """The curve as arrays: finite, on a positive and increasing axis; or a ValueError."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    if x.ndim != 1 or x.shape != y.shape or not x.size:
        raise ValueError(f"x has shape {x.shape} and y {y.shape}; allowed: one shape [points]")
    if x[0] <= 0 or np.any(np.diff(x) <= 0):
        raise ValueError("x must be positive and increasing")
    if not np.all(np.isfinite(y)):
        raise ValueError("y must be finite")
    return x, y
