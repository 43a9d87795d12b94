"""Dose and response: the trend is the line's, and simulated effects get the verdicts they have."""

import numpy as np
import pytest

from bakein.analysis import verdicts
from bakein.analysis.dose import respond, trend_weights
from bakein.analysis.verdicts import Dose

RISING = [0.1, 0.15, 0.3, 0.4, 0.5, 0.6]


def simulate(rng, means, seeds=5, problems=32, noise=0.05):
    level = rng.normal(0, 0.1, problems) + rng.normal(0, 0.05, (seeds, 1))
    own = rng.normal(0, noise, (len(means), seeds, 1))
    return np.array(means)[:, None, None] + level + own


def judge(means, seeds=5, epsilon=0.05, noise=0.03):
    rng = np.random.default_rng(0)
    found = respond(simulate(rng, means, seeds, noise=noise), (0.0, 1.0), 1000, 0.95, rng)
    apart = [difference.apart for difference in found.differences]
    return found, verdicts.dose(found.trend, apart, found.best_in_between, epsilon)


@pytest.mark.parametrize("count", [2, 3, 6])
def test_the_trend_is_the_rise_of_the_least_squares_line(count):
    values = np.random.default_rng(count).normal(size=count)
    slope, _ = np.polyfit(np.arange(count), values, 1)
    assert trend_weights(count) @ values == pytest.approx(slope * (count - 1))
    # Of two doses it is their difference, whatever lies before it.
    assert trend_weights(2) @ [3.0, 5.0] == pytest.approx(2)


@pytest.mark.parametrize(
    ("means", "noise", "verdict"),
    [
        (RISING, 0.03, Dose.RISES),
        (RISING[::-1], 0.03, Dose.FALLS),
        ([0.3] * 6, 0.005, Dose.FLAT),
        ([0.1, 0.4, 0.7, 0.7, 0.4, 0.1], 0.03, Dose.BETWEEN),
        ([0.3] * 6, 0.2, Dose.UNDERPOWERED),
        # No trend, and yet not flat: the best may be at an end.
        ([0.5, 0.3, 0.3, 0.3, 0.3, 0.5], 0.02, Dose.UNDERPOWERED),
    ],
)
def test_simulated_doses_get_the_verdict_that_is_theirs(means, noise, verdict):
    assert judge(means, noise=noise)[1] is verdict


def test_every_dose_is_compared_with_the_lowest_at_its_holm_level():
    found, _ = judge(RISING)
    assert [m.estimate for m in found.means] == pytest.approx(RISING, abs=0.15)
    for difference, mean in zip(found.differences, found.means[1:], strict=True):
        apart = mean.estimate - found.means[0].estimate
        assert difference.apart.estimate == difference.holm.estimate == pytest.approx(apart)
        assert difference.holm.level >= difference.apart.level
        assert difference.holm.low <= difference.apart.low
    better = [difference.holm.low > 0 for difference in found.differences]
    assert better[-3:] == [True] * 3
    assert found.candidates[-1] == 5
    assert 0 not in found.candidates


def test_a_null_study_shows_no_dose_to_be_better():
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(100):
        scores = simulate(rng, [0.4] * 4, seeds=10, problems=8)
        found = respond(scores, (0.0, np.inf), 200, 0.95, rng)
        wrong += any(d.holm.low > 0 or d.holm.high < 0 for d in found.differences)
    assert wrong <= 10


def test_one_seed_and_scores_that_are_all_equal_are_not_certain():
    found, verdict = judge(RISING, seeds=1)
    assert verdict is Dose.UNDERPOWERED
    assert found.candidates == tuple(range(6))
    same = respond(np.ones((3, 5, 8)), (0.0, 1.0), 200, 0.95, np.random.default_rng(0))
    assert same.trend.low < 0 < same.trend.high
    assert same.means[0].low < 1 == same.means[0].high
    apart = [difference.apart for difference in same.differences]
    assert verdicts.dose(same.trend, apart, same.best_in_between, 0.2) is Dose.FLAT


def test_shapes_that_do_not_fit_are_refused():
    rng = np.random.default_rng(0)
    for wrong in (np.ones((3, 4)), np.ones((1, 3, 4))):
        with pytest.raises(ValueError, match="two doses"):
            respond(wrong, (0.0, 1.0), 200, 0.95, rng)
    with pytest.raises(ValueError, match="epsilon is 0"):
        judge(RISING, epsilon=0)
