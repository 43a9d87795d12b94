"""Frontiers: the optimum is among the candidates, and a flat frontier rules nothing out."""

import numpy as np
import pytest

from bakein.analysis import verdicts
from bakein.analysis.frontier import frontier
from bakein.analysis.verdicts import Frontier

SHARES = [0, 0.1, 0.25, 0.5, 0.75, 1]


def simulate(rng, means, seeds=5, problems=32, noise=0.05):
    level = rng.normal(0, 0.1, problems) + rng.normal(0, 0.05, (seeds, 1))
    between = rng.normal(0, noise, (6, seeds, 1)) + rng.normal(0, noise, (6, seeds, problems))
    return np.asarray(means)[:, None, None] + level + between


@pytest.mark.parametrize(
    ("means", "best", "verdict"),
    [
        ([0.0, 0.3, 0.6, 0.6, 0.4, 0.1], (0.25, 0.5), Frontier.INTERIOR),
        ([0.0, 0.1, 0.2, 0.3, 0.5, 0.9], (1.0,), Frontier.BEFORE),
        ([0.9, 0.5, 0.4, 0.3, 0.2, 0.0], (0.0,), Frontier.AFTER),
        ([0.3] * 6, tuple(SHARES), Frontier.UNDERPOWERED),
    ],
)
def test_a_clear_optimum_is_found_and_no_other(means, best, verdict):
    rng = np.random.default_rng(0)
    found = frontier(SHARES, simulate(rng, means), 1000, 0.95, rng)
    assert found.best in best
    assert set(best) <= set(found.candidates) or verdict is Frontier.UNDERPOWERED
    assert verdicts.frontier(found.candidates, found.seeds) is verdict
    assert found.probability_F.sum() == pytest.approx(1)
    likeliest = SHARES[int(found.probability_F.argmax())]
    assert likeliest in found.candidates
    np.testing.assert_allclose(found.mean_F, means, atol=0.15)


def test_the_candidates_hold_the_best_share_as_often_as_they_promise():
    rng = np.random.default_rng(1)
    held, interior = 0, 0
    for _ in range(100):
        found = frontier(
            SHARES, simulate(rng, [0.0, 0.05, 0.1, 0.14, 0.1, 0.1], noise=0.04), 200, 0.95, rng
        )
        held += 0.5 in found.candidates
        flat = frontier(SHARES, simulate(rng, [0.3] * 6), 200, 0.95, rng)
        interior += verdicts.frontier(flat.candidates, 5) is not Frontier.UNDERPOWERED
    assert held / 100 >= 0.95
    assert interior / 100 <= 0.05


def test_the_gain_is_over_the_better_end_that_is_not_the_best():
    rng = np.random.default_rng(0)
    for means, best, end in (
        ([0.1, 0.3, 0.6, 0.9, 0.4, 0.2], 0.5, 1.0),
        ([0.0, 0.1, 0.2, 0.3, 0.5, 0.9], 1.0, 0.0),
        ([0.9, 0.5, 0.4, 0.3, 0.2, 0.0], 0.0, 1.0),
    ):
        scores = simulate(rng, means)
        found = frontier(SHARES, scores, 1000, 0.95, rng)
        pair = [SHARES.index(best), SHARES.index(end)]
        difference = np.diff(scores.mean(axis=(1, 2))[pair[::-1]])
        assert (found.best, found.end) == (best, end)
        assert found.gain.estimate == pytest.approx(difference)
        assert found.gain.level == pytest.approx(0.98)  # five comparisons, one-sided
        assert found.gain.low < found.gain.estimate < found.gain.high
        assert (found.gain.low > 0) == (end not in found.candidates)
        lows = [interval.low for interval in found.interval_F]
        highs = [interval.high for interval in found.interval_F]
        assert np.all((lows < found.mean_F) & (found.mean_F < highs))


def test_one_seed_rules_nothing_out():
    rng = np.random.default_rng(0)
    found = frontier(SHARES, simulate(rng, [0, 0, 1, 0, 0, 0], seeds=1), 200, 0.95, rng)
    assert found.best == 0.25
    assert found.candidates == tuple(SHARES)
    assert np.all(np.isnan(found.probability_F))
    assert (found.gain.low, found.gain.high) == (-np.inf, np.inf)
    assert verdicts.frontier(found.candidates, 1) is Frontier.UNDERPOWERED


@pytest.mark.parametrize(
    ("shares", "shape", "message"),
    [
        ([0, 0.5, 0.9], (3, 2, 4), "from 0 to 1"),
        ([0.1, 0.5, 1], (3, 2, 4), "from 0 to 1"),
        ([0, 0, 1], (3, 2, 4), "from 0 to 1"),
        ([0, 1], (3, 2, 4), "allowed: \\[shares\\]"),
        ([0, 1], (2, 2), "allowed: \\[shares\\]"),
    ],
)
def test_frontier_refuses(shares, shape, message):
    with pytest.raises(ValueError, match=message):
        frontier(shares, np.zeros(shape), 200, 0.95, np.random.default_rng(0))
