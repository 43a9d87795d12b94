"""RL curves: fits recover simulated curves, thresholds are censored, flat curves are no fit."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakein.analysis import rl_curve
from bakein.analysis.rl_curve import Multiplier, Reach

SAMPLES = np.arange(0, 13) * 640.0


def logistic(start, asymptote, exponent, midpoint):
    rise = 1 / (1 + (midpoint / np.maximum(SAMPLES, 1e-9)) ** exponent)
    return start + (asymptote - start) * np.where(SAMPLES > 0, rise, 0)


@pytest.mark.parametrize(
    ("start", "asymptote", "exponent", "midpoint"),
    [(0.1, 0.9, 2.0, 2000), (0.45, 0.95, 1.0, 1500), (0.2, 0.6, 5.0, 4000), (0.5, 0.1, 2.0, 3000)],
)
def test_fit_recovers_a_simulated_curve(start, asymptote, exponent, midpoint):
    reward = logistic(start, asymptote, exponent, midpoint)
    fit = rl_curve.fit(SAMPLES, reward)
    assert fit.identified
    assert fit.start == start
    assert fit.asymptote == pytest.approx(asymptote, abs=1e-3)
    assert fit.exponent == pytest.approx(exponent, rel=1e-2)
    assert fit.midpoint == pytest.approx(midpoint, rel=1e-2)
    np.testing.assert_allclose(fit.reward(SAMPLES) - reward, fit.residuals_X, atol=1e-9)
    assert np.abs(fit.residuals_X).max() < 1e-4


def test_fit_recovers_a_noisy_curve():
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(20):
        reward = logistic(0.1, 0.85, 2.5, 2500)
        reward[1:] += rng.normal(0, 0.01, 12)
        fit = rl_curve.fit(SAMPLES, reward)
        assert fit.identified
        errors.append([fit.asymptote - 0.85, fit.exponent - 2.5, fit.midpoint / 2500 - 1])
    assert np.all(np.abs(np.mean(errors, axis=0)) < [0.02, 0.15, 0.05])


def test_steepest_slope_is_the_derivative_at_the_midpoint():
    fit = rl_curve.fit(SAMPLES, logistic(0.1, 0.9, 2.0, 2000))
    step = 1e-4
    around = fit.reward(fit.midpoint * np.exp([-step, step]))
    assert fit.steepest_slope == pytest.approx((around[1] - around[0]) / (2 * step), rel=1e-5)


@pytest.mark.parametrize(
    ("compute", "reward", "reason"),
    [
        (SAMPLES, np.full(13, 0.3), "flat"),
        (SAMPLES, np.zeros(13), "flat"),
        (SAMPLES[:4], [0.1, 0.2, 0.3, 0.4], "need at least 4"),
        (SAMPLES, np.where(SAMPLES > 0, 0.7, 0.1), "constant"),
        (SAMPLES, 0.1 + 0.02 * np.arange(13), "outside the range"),
        (SAMPLES, np.where(np.arange(13) > 6, 0.9, 0.1), "step or a drift"),
        # No asymptote can be read off what has not begun to level off.
        (SAMPLES, 0.1 + 0.6 * (SAMPLES / SAMPLES[-1]) ** 0.8, "still rising"),
        (SAMPLES, logistic(0.1, 0.8, 1.2, 0.7 * SAMPLES[-1]), "still rising"),
    ],
)
def test_undetermined_curves_are_unidentified(compute, reward, reason):
    fit = rl_curve.fit(compute, reward)
    assert not fit.identified
    assert reason in fit.reason
    assert math.isnan(fit.asymptote)
    assert math.isnan(fit.steepest_slope)
    assert fit.residuals_X.shape == np.shape(compute)


def test_noise_about_a_constant_is_seldom_a_fit():
    rng = np.random.default_rng(1)
    fits = [rl_curve.fit(SAMPLES, 0.3 + rng.normal(0, 0.02, 13)) for _ in range(60)]
    assert sum(fit.identified for fit in fits) <= 6


@pytest.mark.parametrize(
    ("compute", "reward", "message"),
    [
        ([1, 2], [0.1, 0.2], "begin with 0 and increase"),
        ([0, 2, 2], [0.1, 0.2, 0.3], "begin with 0 and increase"),
        ([0, 1], [0.1, np.nan], "finite"),
        ([0, 1], [0.1], "allowed: one shape"),
        ([0, 1], [0.1, 1.1], r"allowed: 0\.\.1"),
    ],
)
def test_fit_refuses(compute, reward, message):
    with pytest.raises(ValueError, match=message):
        rl_curve.fit(compute, reward)


def test_aurc_is_the_mean_height_over_its_span():
    assert rl_curve.aurc([0, 1, 2, 4], [0.9, 0.2, 0.2, 0.2], (1, 4)) == pytest.approx(0.2)
    assert rl_curve.aurc([0, 1, 4], [0.5, 0.0, 1.0], (1, 4)) == pytest.approx(0.5)
    assert rl_curve.aurc([0, 1, 4], [0.5, 0.0, 1.0], (2, 4)) == pytest.approx(0.75)
    for span in ((0, 4), (1, 5), (4, 4), (2, 1)):
        with pytest.raises(ValueError, match=r"allowed: inside C = \[1.0, 4.0\]"):
            rl_curve.aurc([0, 1, 4], [0.5, 0.0, 1.0], span)
    with pytest.raises(ValueError, match="span is 1 to 4"):
        rl_curve.aurc([0], [0.1], (1, 4))


def test_over_one_span_who_draws_more_on_the_same_curve_gains_nothing():
    def curve(compute):
        return np.log2(np.maximum(compute, 1)) / 16

    few, many = np.array([0, 1000, 2000, 4000, 8000]), np.array([0, 3000, 6000, 12000, 24000])
    areas = [rl_curve.aurc(x, curve(x), (3000, 8000)) for x in (few, many)]
    assert areas[0] == pytest.approx(areas[1])
    whole = [rl_curve.aurc(x, curve(x), (x[1], x[-1])) for x in (few, many)]
    assert whole[1] > whole[0] + 0.05


def test_samples_to_a_threshold():
    compute, reward = [0, 100, 200], [0.1, 0.3, 0.7]
    assert rl_curve.samples_to(compute, reward, 0.05) == Reach(0.0, False)
    assert rl_curve.samples_to(compute, reward, 0.5).compute == pytest.approx(150)
    assert rl_curve.samples_to(compute, reward, 0.7).compute == pytest.approx(200)
    assert rl_curve.samples_to(compute, reward, 0.71) == Reach(200.0, True)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=8), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_threshold_is_never_reached_sooner(reward, one, other):
    compute = np.arange(len(reward))
    low, high = (rl_curve.samples_to(compute, reward, t) for t in sorted((one, other)))
    assert low.compute <= high.compute + 1e-9
    assert low.censored <= high.censored


def test_multiplier_carries_the_censoring():
    done, never = Reach(100.0, False), Reach(800.0, True)
    assert rl_curve.multiplier(Reach(400.0, False), done) == Multiplier(4.0, "exact")
    assert rl_curve.multiplier(never, done) == Multiplier(8.0, "at least")
    assert rl_curve.multiplier(done, never) == Multiplier(0.125, "at most")
    assert rl_curve.multiplier(done, Reach(0.0, False)) == Multiplier(math.inf, "exact")
    for pair in ((never, never), (Reach(0.0, False), Reach(0.0, False))):
        assert rl_curve.multiplier(*pair).bound == "undefined"


def test_token_equivalents():
    assert rl_curve.token_equivalents(30 * 32, 8, 21, 1) == pytest.approx(5 / 3 * 960 * 8 * 21)
    assert rl_curve.token_equivalents(3, 1, 1, 0) == pytest.approx(4)


def test_split_counts_problems_when_k_is_n():
    base, after = np.array([0, 0, 4, 8, 2]), np.array([3, 0, 8, 8, 0])
    split = rl_curve.split(base, after, 8, 8)
    assert split.expansion_P.tolist() == [1, 0, 0, 0, 0]
    assert split.contraction_P.tolist() == [0, 0, 0, 0, 1]
    assert split.gain_1_P.mean() == pytest.approx((3 + 4 - 2) / 40)
    assert split.gain_k_P.tolist() == [1, 0, 0, 0, -1]
    assert split.sharpening_P.mean() == pytest.approx(split.gain_1_P.mean())


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 16), st.integers(0, 16)), min_size=1), st.integers(1, 16))
def test_split_adds_up(pairs, k):
    split = rl_curve.split(*np.array(pairs).T, 16, k)
    np.testing.assert_allclose(split.gain_k_P, split.expansion_P - split.contraction_P, atol=1e-12)


def test_split_refuses_different_evaluations():
    with pytest.raises(ValueError, match="one evaluation"):
        rl_curve.split([1, 2], [1, 2, 3], 4, 2)
