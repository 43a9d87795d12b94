"""Mixtures: a design over the weights of a mixture, and regressions of an outcome on them.

Weights are not negative and sum to 1, so a mixture is a point of the simplex. Regressions are
Scheffé's polynomials, which need no intercept there [Scheffé 1958]. How well one predicts a mixture
that was not run is measured, by leaving each out, not read off its fit. `leave_one_out` takes any
regression: a function of weights and outcomes that returns a function of weights, such as
`lambda w, y: estimator.fit(w, y).predict`. The search's own is in `surface`.

Legend: N mixtures, W weights, M features.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg, stats
from scipy.stats import qmc

Predict = Callable[[np.ndarray], np.ndarray]
Regression = Callable[[np.ndarray, np.ndarray], Predict]


def design(count: int, parts: int, least: float, rng: np.random.Generator) -> np.ndarray:
    """Mixtures that fill the simplex evenly: a scrambled Halton sequence, folded onto it.

    The gaps between sorted uniform numbers are uniform on the simplex; those of a low-discrepancy
    sequence leave no part of it empty.

    Args:
        count: mixtures.
        parts: sources, at least 2.
        least: the smallest weight of a source, at most 1/parts; 0 for the whole simplex.
        rng: scrambles the sequence.

    Returns:
        float64 [count, parts]; rows sum to 1.

    Raises:
        ValueError: fewer than two parts, or a smallest weight that does not fit.
    """
    if parts < 2:
        raise ValueError(f"parts is {parts}; a mixture has at least 2")
    if not 0 <= least * parts <= 1:
        raise ValueError(f"least is {least}; allowed: 0 to 1/parts = {1 / parts:.4g}")
    cuts = np.sort(qmc.Halton(parts - 1, scramble=True, rng=rng).random(count), axis=1)
    return least + (1 - parts * least) * np.diff(cuts, axis=1, prepend=0.0, append=1.0)


def linear(weights_NW: np.ndarray) -> np.ndarray:
    """Features of a linear response: the weights. A coefficient is the outcome of that source."""
    return weights_NW


def quadratic(weights_NW: np.ndarray) -> np.ndarray:
    """Features with synergies: the weights, and the product of every two."""
    pairs = combinations(range(weights_NW.shape[1]), 2)
    products = [weights_NW[:, i] * weights_NW[:, j] for i, j in pairs]
    return np.concatenate([weights_NW, np.stack(products, axis=1)], axis=1)


def regression(features: Callable[[np.ndarray], np.ndarray]) -> Regression:
    """Least squares on these features, such as `linear` or `quadratic`."""

    def fit(weights_NW: np.ndarray, outcome_N: np.ndarray) -> Predict:
        coefficients_M = linalg.lstsq(features(weights_NW), outcome_N)[0]
        return lambda weights_NW: features(weights_NW) @ coefficients_M

    return fit


@dataclass(frozen=True)
class LeftOut:
    """Predictions of each outcome from all others; `residuals_N` is prediction less outcome.

    `error` is their root mean square, `baseline` that of predicting the mean of the others: a
    regression whose error is not below it has learnt nothing about the weights.
    """

    predicted_N: np.ndarray
    residuals_N: np.ndarray
    error: float
    baseline: float

    @property
    def explained(self) -> float:
        """The share of the variance that is predicted, Q² = 1 − (error/baseline)²; may be < 0."""
        return 1 - (self.error / self.baseline) ** 2 if self.baseline > 0 else float("nan")


def leave_one_out(fit: Regression, weights_NW: ArrayLike, outcome_N: ArrayLike) -> LeftOut:
    """Predicts the outcome of each mixture from the others.

    Args:
        fit: the regression.
        weights_NW: the mixtures.
        outcome_N: of each: a slope, a level.

    Raises:
        ValueError: shapes do not match, fewer than three mixtures, or weights that are no mixture.
    """
    weights, outcome = np.asarray(weights_NW, float), np.asarray(outcome_N, float)
    if weights.ndim != 2 or outcome.shape != weights.shape[:1] or len(outcome) < 3:
        raise ValueError(
            f"weights have shape {weights.shape}, outcomes {outcome.shape}; "
            "allowed: [mixtures, sources] and [mixtures], at least 3 mixtures"
        )
    if weights.min() < 0 or not np.allclose(weights.sum(axis=1), 1):
        raise ValueError("weights of a mixture must not be negative and must sum to 1")
    others = [np.arange(len(outcome)) != i for i in range(len(outcome))]
    predicted = np.array(
        [fit(weights[kept], outcome[kept])(weights[i : i + 1])[0] for i, kept in enumerate(others)]
    )
    mean_N = np.array([outcome[kept].mean() for kept in others])
    residuals = predicted - outcome
    error = float(np.sqrt(np.mean(residuals**2)))
    return LeftOut(predicted, residuals, error, float(np.sqrt(np.mean((mean_N - outcome) ** 2))))


@dataclass(frozen=True)
class RankStability:
    """Kendall's τ between the orders of the same mixtures in two sizes of model."""

    tau: float
    low: float
    high: float
    level: float


def rank_stability(small_N: ArrayLike, large_N: ArrayLike, level: float) -> RankStability:
    """Whether the small models order the mixtures as the large ones do.

    The interval is over mixtures, by Fisher's z: atanh τ ± z·√(0.437/(N − 4)) [Fieller, Hartley and
    Pearson 1957]; open with four mixtures or fewer. Noise between seeds pulls τ towards 0.

    Args:
        small_N: the outcome of each mixture, a mean over seeds, in small models.
        large_N: the same in large ones.
        level: of the interval, for instance 0.95.

    Raises:
        ValueError: shapes differ, fewer than two mixtures, or all outcomes of a size are equal.
    """
    small, large = np.asarray(small_N, float), np.asarray(large_N, float)
    if small.ndim != 1 or small.shape != large.shape or len(small) < 2:
        raise ValueError(f"shapes are {small.shape} and {large.shape}; allowed: one [mixtures]")
    if np.ptp(small) == 0 or np.ptp(large) == 0:
        raise ValueError("all outcomes of a size are equal: they have no order")
    tau = float(stats.kendalltau(small, large).statistic)
    if len(small) <= 4:
        return RankStability(tau, -1.0, 1.0, level)
    width = stats.norm.ppf((1 + level) / 2) * np.sqrt(0.437 / (len(small) - 4))
    middle = np.arctanh(np.clip(tau, -1 + 1e-9, 1 - 1e-9))
    low, high = np.tanh([middle - width, middle + width])
    return RankStability(tau, float(low), float(high), level)
