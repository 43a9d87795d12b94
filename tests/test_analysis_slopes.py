"""Test-time slopes: known parameters are recovered, and what is not determined says so."""

import numpy as np
import pytest
from scipy import special, stats

from bakein.analysis import passk, slopes

KS = np.array([1, 2, 4, 8, 16, 32, 64])


@pytest.mark.parametrize(("alpha", "beta"), [(0.3, 3.0), (0.8, 1.5), (2.0, 5.0)])
def test_fit_beta_recovers_simulated_problems(alpha, beta):
    rng = np.random.default_rng(0)
    counts = rng.binomial(64, rng.beta(alpha, beta, 4000))
    fit = slopes.fit_beta(counts, 64, KS)
    assert fit.identified
    assert fit.alpha == pytest.approx(alpha, rel=0.08)
    assert fit.beta == pytest.approx(beta, rel=0.08)
    assert fit.pass_at_1 == pytest.approx(counts.mean() / 64, abs=0.005)
    assert np.abs(fit.residuals_K).max() < 0.01
    empirical = [passk.pass_at_k(counts, 64, k).mean() for k in KS]
    np.testing.assert_allclose(fit.pass_at_k(KS) - empirical, fit.residuals_K, atol=1e-12)


def test_fit_beta_is_at_the_maximum_of_scipys_likelihood():
    rng = np.random.default_rng(1)
    counts = rng.binomial(16, rng.beta(0.5, 2.0, 300))
    fit = slopes.fit_beta(counts, 16, [1])

    def likelihood(alpha, beta):
        return stats.betabinom.logpmf(counts, 16, alpha, beta).sum()

    best = likelihood(fit.alpha, fit.beta)
    for a, b in ((1.01, 1), (0.99, 1), (1, 1.01), (1, 0.99)):
        assert likelihood(fit.alpha * a, fit.beta * b) < best


def test_alpha_is_the_exponent_of_the_tail():
    rng = np.random.default_rng(2)
    fit = slopes.fit_beta(rng.binomial(64, rng.beta(0.4, 2.0, 500)), 64, KS)
    far = np.array([1e4, 1e5])
    fail = 1 - fit.pass_at_k(far)
    assert np.log(fail[0] / fail[1]) / np.log(10) == pytest.approx(fit.alpha, rel=1e-2)
    scale = special.gamma(fit.alpha + fit.beta) / special.gamma(fit.beta)
    np.testing.assert_allclose(fail, scale * far**-fit.alpha, rtol=1e-2)


@pytest.mark.parametrize(
    "counts",
    [
        np.zeros(50, int),
        np.full(50, 64),
        np.full(50, 20),
        # less spread than coin tosses give: no Beta but a spike fits
        np.tile([31, 33], 50),
    ],
)
def test_fit_beta_without_spread_is_unidentified(counts):
    fit = slopes.fit_beta(counts, 64, KS)
    assert not fit.identified
    assert fit.reason
    assert np.isnan(fit.alpha)
    assert np.isnan(fit.pass_at_1)
    assert fit.residuals_K.shape == KS.shape


def test_fit_beta_refuses_k_beyond_n():
    with pytest.raises(ValueError, match="k is 128"):
        slopes.fit_beta([1, 2], 64, [128])


@pytest.mark.parametrize(("a", "b"), [(2.0, 0.3), (0.5, 1.2), (5.0, 0.05)])
def test_fit_power_recovers_its_parameters(a, b):
    fit = slopes.fit_power(KS, np.exp(-a * KS**-b))
    assert fit.identified
    assert fit.a == pytest.approx(a, rel=1e-5)
    assert fit.b == pytest.approx(b, rel=1e-5)
    assert np.abs(fit.residuals_K).max() < 1e-6


@pytest.mark.parametrize(
    ("curve", "reason"),
    [
        ([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6], "is 0 somewhere"),
        ([1, 1, 1, 1, 1, 1, 1], "does not change"),
        ([0.3] * 7, "does not change"),
        ([0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1], "at its bound"),
    ],
)
def test_fit_power_says_what_it_cannot_fit(curve, reason):
    fit = slopes.fit_power(KS, curve)
    assert not fit.identified
    assert reason in fit.reason
    assert np.isnan(fit.b)


def test_fit_power_needs_three_points():
    assert "needs at least 3" in slopes.fit_power([1, 2], [0.1, 0.2]).reason


def test_the_mean_of_curves_has_the_mean_of_their_areas():
    curves = np.random.default_rng(0).random((7, 3, 5))
    areas = slopes.area_over_log2(KS, curves)
    assert areas.shape == (3, 5)
    assert areas[1, 2] == pytest.approx(slopes.area_over_log2(KS, curves[:, 1, 2]))
    assert areas.mean() == pytest.approx(slopes.area_over_log2(KS, curves.mean(axis=(1, 2))))


def test_area_over_log2_is_the_mean_height():
    assert slopes.area_over_log2(KS, np.full(7, 0.3)) == pytest.approx(0.3)
    assert slopes.area_over_log2(KS, np.log2(KS) / 6) == pytest.approx(0.5)
    # a point in the middle of a straight stretch changes nothing
    assert slopes.area_over_log2([1, 4], [0.0, 1.0]) == slopes.area_over_log2(
        [1, 2, 4], [0.0, 0.5, 1.0]
    )


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([1], [1], "needs at least 2"),
        ([0, 1], [0, 1], "positive and increasing"),
        ([2, 1], [0, 1], "positive and increasing"),
        ([1, 2], [0, np.nan], "finite"),
        ([1, 2, 3], [0, 1], r"allowed: \[points\], \[points, ...\]"),
    ],
)
def test_area_refuses(x, y, message):
    with pytest.raises(ValueError, match=message):
        slopes.area_over_log2(x, y)


def test_fit_power_refuses_what_is_no_probability():
    with pytest.raises(ValueError, match=r"allowed: 0\.\.1"):
        slopes.fit_power([1, 2, 4], [0.5, 0.9, 1.2])
