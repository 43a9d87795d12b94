"""Censored amounts: what is known of a mean or ratio over seeds where some never got there."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakein.analysis import censored, rl_curve
from bakein.analysis.rl_curve import Reach


def reached(*amounts):
    return [Reach(float(amount), False) for amount in amounts]


def never(*amounts):
    return [Reach(float(amount), True) for amount in amounts]


def mean(known, level=0.95):
    return censored.mean(known, 1000, level, np.random.default_rng(0))


def test_the_mean_of_known_amounts_is_geometric():
    found = mean(censored.logs(reached(100, 400, 200)))
    assert found.bound == "exact"
    assert found.estimate == pytest.approx(200)
    assert 0 < found.low < 200 < found.high < math.inf


def test_a_ratio_is_paired_by_seed():
    numerators, denominators = reached(10, 100, 1000), reached(1, 10, 100)
    found = mean(censored.logs(numerators) - censored.logs(denominators))
    assert (found.estimate, found.low, found.high) == pytest.approx((10, 10, 10))


def test_the_compute_multiplier_of_simulated_rl_curves_has_an_interval_over_seeds():
    """The control needs 4 times the samples; some of its seeds do not get there in time."""
    rng = np.random.default_rng(0)
    samples = np.arange(0, 33) * 100.0

    def reaches(half, last):
        curves = [0.8 * samples / (samples + half * np.exp(rng.normal(0, 0.2))) for _ in range(5)]
        return [rl_curve.samples_to(samples[:last], curve[:last], 0.4) for curve in curves]

    treated = censored.logs(reaches(200, 33))
    found = mean(censored.logs(reaches(800, 33)) - treated)
    assert found.bound == "exact"
    assert found.low < 4 < found.high < 8
    cut = mean(censored.logs(reaches(800, 9)) - treated)
    assert cut.bound == "at least"
    assert 2 < cut.low < 4
    assert cut.high == math.inf


@pytest.mark.parametrize(
    ("numerators", "denominators", "bound", "closed"),
    [
        (reached(10, 20, 40), reached(1, 2, 5), "exact", (True, True)),
        (reached(10, 20) + never(40), reached(1, 2, 5), "at least", (True, False)),
        (never(10, 20, 40), reached(1, 2, 5), "at least", (True, False)),
        (reached(10, 20, 40), reached(1, 2) + never(5), "at most", (False, True)),
        (never(10, 20, 40), never(1, 2, 5), "undefined", (False, False)),
        (reached(10, 20) + never(40), never(1) + reached(2, 5), "undefined", (False, False)),
        # both never in one seed: of that seed nothing is known
        (reached(10, 20) + never(40), reached(1, 2) + never(5), "undefined", (False, False)),
        # there before anything was spent: the log has no value
        (reached(0, 20, 40), reached(1, 2, 5), "undefined", (False, False)),
        (reached(10, 20, 40), reached(0, 2, 5), "undefined", (False, False)),
    ],
)
def test_censoring_opens_the_interval_on_its_side(numerators, denominators, bound, closed):
    found = mean(censored.logs(numerators) - censored.logs(denominators))
    assert found.bound == bound
    assert (found.low > 0, found.high < math.inf) == closed
    assert math.isnan(found.estimate) == (bound == "undefined")
    assert found.log.seeds == 3


def test_a_censored_amount_is_a_lower_bound_that_covers():
    """Amounts beyond the largest that was tried are cut off; the interval still covers."""
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(600):
        true = np.exp(rng.normal(2.0, 1.0, 5))
        cut = [Reach(float(min(x, 8.0)), bool(x > 8)) for x in true]
        found = censored.mean(censored.logs(cut), 200, 0.95, rng)
        hits += found.low < math.exp(2.0) < found.high
    assert 0.92 <= hits / 600 <= 0.98


def test_one_seed_and_scaling():
    assert mean(censored.logs(reached(8))).high == math.inf
    found = mean(censored.logs(reached(100, 400, 200)))
    in_tokens = found.scaled(1000)
    for name in ("estimate", "low", "high"):
        assert getattr(in_tokens, name) == pytest.approx(1000 * getattr(found, name))


@settings(deadline=None)
@given(st.lists(st.floats(0.1, 1e4), min_size=1, max_size=9), st.floats(0.1, 1e4))
def test_the_median_is_the_usual_one_and_censored_where_it_is_beyond(amounts, limit):
    cut = [Reach(min(amount, limit), amount > limit) for amount in amounts]
    found = censored.median(cut)
    ordered = sorted(amounts)
    upper_middle = ordered[len(ordered) // 2]
    assert found.censored == (upper_middle > limit)
    if not found.censored:
        assert found.compute == pytest.approx(np.median(amounts))
    else:
        assert found.compute <= np.median(amounts) + 1e-9


def test_who_is_there_at_0_took_at_most_the_first_amount():
    """What was never looked at between 0 and the first amount bounds the ratio from one side."""
    there, later = reached(0, 0, 4), reached(80, 80, 80)
    found = mean(censored.logs(later) - censored.logs(there, 8))
    assert found.bound == "at least"
    assert found.estimate == pytest.approx((10 * 10 * 20) ** (1 / 3))
    own = censored.logs(there + never(0), np.array([8, 16, 8, 8]))
    np.testing.assert_allclose(np.exp(own.high_S), [8, 16, 4, math.inf])
    assert own.low_S.tolist() == [-math.inf, -math.inf, math.log(4), -math.inf]
    for first in (0, -1, math.nan):
        with pytest.raises(ValueError, match=r"first is .*; allowed: above 0"):
            censored.logs(there, first)


def test_negative_amounts_are_refused():
    with pytest.raises(ValueError, match="allowed: 0 or more"):
        censored.logs(reached(1, -2))
