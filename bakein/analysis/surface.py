"""Surface: how outcomes depend on a mixture's weights, and the mixture that it speaks for.

The regression is scikit-learn's Bayesian ridge on the weights and their products: what few mixtures
do not determine is shrunk, and said to be uncertain. Its word counts as far as it predicts mixtures
that it has not seen.

Legend: N mixtures of the swarm, H held-out ones, W weights, M features, Q outcomes.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from sklearn.linear_model import BayesianRidge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from bakein.analysis import bootstrap, jackknife, mixtures

CANDIDATES = 4096  # mixtures among which the proposed one is found


@dataclass(frozen=True)
class Surface:
    """The regression of one outcome, with its posterior."""

    model: Pipeline

    def predict(self, weights_NW: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """The expected outcome [N] of mixtures, and its standard deviation [N] by the posterior.

        The noise of a mixture's own outcome is not part of it.
        """
        return self._along(self._features(weights_NW), self.model[-1].intercept_)

    def change(self, before_NW: ArrayLike, after_NW: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """What the expected outcome [N] changes by from one mixture to another, and its SD [N]."""
        return self._along(self._features(after_NW) - self._features(before_NW), 0.0)

    def _features(self, weights_NW: ArrayLike) -> np.ndarray:
        return self.model[:-1].transform(np.asarray(weights_NW, float))

    def _along(self, x_NM: np.ndarray, start: float) -> tuple[np.ndarray, np.ndarray]:
        ridge = self.model[-1]
        variance_N = np.einsum("nm,mk,nk->n", x_NM, ridge.sigma_, x_NM)
        return start + x_NM @ ridge.coef_, np.sqrt(np.maximum(0.0, variance_N))


def fit_surface(weights_NW: ArrayLike, outcome_N: ArrayLike) -> Surface:
    """Bayesian ridge on the weights and the products of every two, centred.

    How far the coefficients are shrunk, towards an outcome that is the same for all mixtures, is
    estimated with them from the data's evidence.
    """
    model = make_pipeline(
        PolynomialFeatures(degree=2, interaction_only=True, include_bias=False),
        StandardScaler(with_std=False),
        BayesianRidge(),
    )
    return Surface(model.fit(np.asarray(weights_NW, float), np.asarray(outcome_N, float)))


def surface_regression(weights_NW: np.ndarray, outcome_N: np.ndarray) -> mixtures.Predict:
    """`fit_surface` as `mixtures.leave_one_out` takes it."""
    found = fit_surface(weights_NW, outcome_N)
    return lambda weights_NW: found.predict(weights_NW)[0]


@dataclass(frozen=True)
class Unseen:
    """Predictions of mixtures by regressions that have not seen them, against their outcomes.

    Of the swarm, each from the others; of the held-out mixtures, from the swarm. `explained` is the
    share of the variance that is predicted of all of them, Q² = 1 − Σ residual²/Σ baseline², the
    baseline being the mean of the mixtures that a regression has seen; its interval is over
    mixtures, which are its `seeds`. None where the outcome does not vary. `held_out` is the same of
    the held-out mixtures alone, NaN without any.
    """

    swarm_N: np.ndarray
    held_out_H: np.ndarray
    explained: bootstrap.Interval | None
    held_out: float


def unseen(
    weights_NW: ArrayLike,
    outcome_N: ArrayLike,
    held_out_HW: ArrayLike,
    held_out_H: ArrayLike,
    resamples: int,
    level: float,
    rng: np.random.Generator,
) -> Unseen:
    """How well the surface predicts what it has not seen.

    Args:
        weights_NW: of the swarm.
        outcome_N: of each, a mean over seeds.
        held_out_HW: of the held-out mixtures, [0, W] for none.
        held_out_H: their outcomes.
        resamples: bootstrap draws over mixtures, at least 100.
        level: of the interval, for instance 0.95.
        rng: the source of draws.

    Raises:
        ValueError: as `mixtures.leave_one_out`.
    """
    weights, outcome = np.asarray(weights_NW, float), np.asarray(outcome_N, float)
    left, new = mixtures.leave_one_out(surface_regression, weights, outcome), np.asarray(held_out_H)
    predicted_H = np.zeros(0)
    if new.size:
        predicted_H, _ = fit_surface(weights, outcome).predict(held_out_HW)
    others_N = (outcome.sum() - outcome) / (len(outcome) - 1)
    residuals = np.concatenate([left.residuals_N, predicted_H - new])
    baseline = np.concatenate([others_N - outcome, outcome.mean() - new])
    explained = None
    outcomes = np.concatenate([outcome, new])
    # Without any one of them there must be something left to explain.
    if all(np.ptp(np.delete(outcomes, n)) > 0 for n in range(len(outcomes))):
        explained = _explained(residuals, baseline, resamples, level, rng)
    held_out = np.nan
    if np.any(baseline[len(outcome) :]):
        wrong, spread = (np.sum(part[len(outcome) :] ** 2) for part in (residuals, baseline))
        held_out = float(1 - wrong / spread)
    return Unseen(left.predicted_N, predicted_H, explained, held_out)


def _explained(
    residuals_N: np.ndarray,
    baseline_N: np.ndarray,
    resamples: int,
    level: float,
    rng: np.random.Generator,
) -> bootstrap.Interval:
    """Q² with its interval over mixtures, from that of its ln(1 − Q²), which has no bounds."""

    def log_left(kept: np.ndarray) -> float:
        wrong, spread = (np.sum(part[kept] ** 2) for part in (residuals_N, baseline_N))
        return float(np.log(max(wrong, 1e-300) / spread))

    scores_N = jackknife.scores(log_left, len(residuals_N))
    found = bootstrap.mean_interval(scores_N, resamples, level, rng)
    ends = {"low": 1 - np.exp(found.high), "high": 1 - np.exp(found.low)}
    nan = float("nan")  # of a share there is no standard error
    return replace(found, estimate=1 - np.exp(found.estimate), seed_se=nan, problem_se=nan, **ends)


@dataclass(frozen=True)
class Effect:
    """What more of one source changes, with the interval of the surface's posterior."""

    estimate: float
    low: float
    high: float


def effects(surface: Surface, at_W: ArrayLike, more: float, level: float) -> tuple[Effect, ...]:
    """What `more` of each source changes at a mixture, at the cost of the others in proportion.

    Args:
        surface: of an outcome.
        at_W: the mixture, for instance the mean of those that were run.
        more: of the weight, for instance 0.1.
        level: of the intervals, for instance 0.95.

    Raises:
        ValueError: there is not so much room.
    """
    at = np.asarray(at_W, float)
    after_WW = np.stack([more_of(at, part, more) for part in range(len(at))])
    mean_W, sd_W = surface.change(np.broadcast_to(at, after_WW.shape), after_WW)
    width_W = stats.norm.ppf((1 + level) / 2) * sd_W
    return tuple(
        Effect(float(mean), float(mean - width), float(mean + width))
        for mean, width in zip(mean_W, width_W, strict=True)
    )


def more_of(weights_W: ArrayLike, part: int, more: float) -> np.ndarray:
    """The mixture with `more` of one part, at the cost of the others in proportion [Cox 1971].

    Raises:
        ValueError: there is not so much room.
    """
    weights = np.array(weights_W, float)
    own = weights[part]
    if not 0 <= own + more <= 1 or own >= 1:
        raise ValueError(f"more is {more}; part {part} has {own:.4g} of 1")
    changed = weights * (1 - own - more) / (1 - own)
    changed[part] = own + more
    return changed


def utility(
    scores_QN: ArrayLike, signs_Q: ArrayLike, centre_Q: ArrayLike, scale_Q: ArrayLike
) -> np.ndarray:
    """One number of several outcomes: the mean of those with a sign, each in units of its scale.

    Args:
        scores_QN: [outcomes, mixtures], or with further axes.
        signs_Q: 1 where more is better, -1 where less is, 0 for what does not count.
        centre_Q: of each outcome, which becomes 0.
        scale_Q: of each, for instance its standard deviation between mixtures; an outcome whose
            scale is 0 does not vary, and counts as 0.

    Returns:
        float64 [mixtures], or with the further axes.

    Raises:
        ValueError: no outcome counts.
    """
    scores, signs = np.asarray(scores_QN, float), np.asarray(signs_Q, float)
    if not np.any(signs):
        raise ValueError("signs are all 0; at least one outcome must count")
    varies_Q = np.asarray(scale_Q, float) > 1e-12
    unit_Q = np.where(varies_Q, signs / np.where(varies_Q, scale_Q, 1.0), 0.0)
    shifted = np.moveaxis(scores, 0, -1) - np.asarray(centre_Q, float)
    return shifted @ unit_Q / np.count_nonzero(signs)


def propose(surface: Surface, parts: int, least: float, rng: np.random.Generator) -> np.ndarray:
    """The mixture of which the surface promises most, doubt taken off.

    Of `CANDIDATES` mixtures that fill the design's simplex, the one with the highest expected
    outcome less one standard deviation: far from what was run, little is promised.

    Args:
        surface: of the outcome, of which more is better.
        parts: sources.
        least: the smallest weight of a source.
        rng: scrambles the mixtures to choose from.

    Returns:
        float64 [parts].
    """
    weights_NW = mixtures.design(CANDIDATES, parts, least, rng)
    mean_N, sd_N = surface.predict(weights_NW)
    return weights_NW[np.argmax(mean_N - sd_N)]
