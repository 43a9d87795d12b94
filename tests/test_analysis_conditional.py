"""Slopes at equal level: the tie is taken out, and arms that share no level are not compared."""

import numpy as np
import pytest

from bakein.analysis import bootstrap, conditional, jackknife


def simulate(rng, difference, tie=-0.5, ahead=0.8, seeds=5, nodes=8, noise=0.05):
    """Slopes and levels of (treated, control): slope = difference + tie · level + seed + noise."""
    level = rng.normal(0, 0.8, nodes) + rng.normal(0, 0.2, (2, seeds, nodes))
    level[0] += ahead
    slope = tie * level + rng.normal(0, 0.05, (2, seeds, 1)) + rng.normal(0, noise, level.shape)
    slope[0] += difference
    return slope[0], level[0], slope[1], level[1]


def test_what_the_level_explains_is_taken_out():
    rng = np.random.default_rng(0)
    found = conditional.compare(*simulate(rng, 0.0), (), 500, 0.95, rng)
    assert found.identified
    assert found.raw.high < 0  # the treated arm is ahead, so it has less to gain
    assert found.difference.low < 0 < found.difference.high
    assert found.tie.estimate == pytest.approx(-0.5, abs=0.05)
    assert found.residuals_ASN.shape == (2, 5, 8)
    np.testing.assert_allclose(np.nanmean(found.residuals_ASN, axis=(1, 2)), 0, atol=1e-12)
    assert np.nanmax(np.abs(found.residuals_ASN)) < 0.4


def test_the_intervals_cover_difference_and_tie():
    rng = np.random.default_rng(1)
    hits = []
    for _ in range(300):
        found = conditional.compare(*simulate(rng, 0.2), (), 300, 0.95, rng)
        hits.append(
            (found.difference.low < 0.2 < found.difference.high,
             found.tie.low < -0.5 < found.tie.high)
        )  # fmt: skip
    coverage = np.mean(hits, axis=0)
    assert np.all((coverage >= 0.92) & (coverage <= 0.99))


def test_without_noise_the_answer_is_exact():
    found = conditional.compare(
        *simulate(np.random.default_rng(0), 0.3, noise=0.0, seeds=4), (), 200, 0.95,
        np.random.default_rng(0),
    )  # fmt: skip
    assert found.tie.estimate == pytest.approx(-0.5, abs=0.05)
    level = np.random.default_rng(1).normal(size=(2, 3, 6))
    slope = np.array([0.3, 0.0])[:, None, None] - 0.5 * level
    exact = conditional.compare(
        slope[0], level[0], slope[1], level[1], (), 200, 0.95, np.random.default_rng(0)
    )
    assert (exact.difference.low, exact.difference.high) == pytest.approx((0.3, 0.3))
    assert (exact.tie.low, exact.tie.high) == pytest.approx((-0.5, -0.5))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"ahead": 10.0}, "share no range"),
        ({"seeds": 1}, "one seed"),
        ({"nodes": 1}, "one node"),
    ],
)
def test_arms_that_cannot_be_compared_are_not(options, reason):
    rng = np.random.default_rng(0)
    found = conditional.compare(*simulate(rng, 0.2, **options), (), 200, 0.95, rng)
    assert not found.identified
    assert reason in found.reason
    assert found.difference is None
    assert found.tie is None
    assert np.isfinite(found.raw.estimate)
    assert np.all(np.isnan(found.residuals_ASN))


@pytest.mark.parametrize("varying", [0, 1])
def test_where_nothing_is_solved_no_tie_can_be_seen(varying):
    """Levels at the floor do not vary; nor do they where all that varies is one seed's."""
    level = np.full((2, 3, 4), -5.0)
    level[:, :varying] += np.arange(4)
    flat, rng = np.zeros((3, 4)), np.random.default_rng(0)
    found = conditional.compare(flat, level[0], flat, level[1], (), 200, 0.95, rng)
    assert found.reason == "the level does not vary within an arm"
    assert found.difference is None


def test_levels_that_touch_in_one_node_are_no_shared_range():
    rng = np.random.default_rng(0)
    level = np.arange(8.0).reshape(1, 2, 4) + np.array([[[0.0]], [[-7.0]]])
    slope = rng.normal(size=level.shape)
    touching = (slope[0], level[0], slope[1], level[1])
    assert "share no range" in conditional.compare(*touching, (), 200, 0.95, rng).reason
    one_more = (slope[0], level[0] - 1, slope[1], level[1])
    assert "only one seed" in conditional.compare(*one_more, (), 200, 0.95, rng).reason
    more = (slope[0], level[0] - 4, slope[1], level[1])
    found = conditional.compare(*more, (), 200, 0.95, rng)
    assert found.shared == (-4, 0)
    assert np.sum(np.isfinite(found.residuals_ASN)) == 10


def test_a_bend_beyond_the_shared_range_is_no_difference():
    """The slope is a function of the level alone, and a steep one; but no straight line."""
    rng = np.random.default_rng(0)
    level = np.linspace(-4, 0, 9) + rng.normal(0, 0.1, (2, 5, 9))
    level[0] += 3
    slope = 1 / (1 + np.exp(-level)) + rng.normal(0, 0.005, level.shape)
    found = conditional.compare(slope[0], level[0], slope[1], level[1], (), 500, 0.95, rng)
    assert found.raw.low > 0.3
    assert abs(found.difference.estimate) < 0.01
    assert found.difference.low < 0 < found.difference.high


def test_compare_refuses_shapes_that_differ():
    with pytest.raises(ValueError, match="allowed: one shape \\[seeds, nodes\\]"):
        conditional.compare(
            np.zeros((2, 3)), np.zeros((2, 3)), np.zeros((2, 3)), np.zeros((2, 4)), (), 200, 0.95,
            np.random.default_rng(0),
        )  # fmt: skip


def test_jackknife_scores_of_a_mean_are_the_data():
    data = np.random.default_rng(0).normal(size=7)
    np.testing.assert_allclose(jackknife.scores(lambda kept: data[kept].mean(), 7), data)


def test_jackknife_scores_have_the_statistic_as_mean_and_its_error_as_spread():
    rng = np.random.default_rng(0)
    data = rng.normal(2.0, 0.3, (4000, 12))
    scores = np.array([jackknife.scores(lambda kept, row=row: np.exp(row[kept].mean()), 12)
                       for row in data])  # fmt: skip
    np.testing.assert_allclose(scores.mean(axis=1), np.exp(data.mean(axis=1)))
    error = np.mean(scores.var(axis=1, ddof=1) / 12)
    assert error == pytest.approx(np.exp(data.mean(axis=1)).var(), rel=0.08)


def test_jackknife_of_one_seed_is_the_statistic():
    scores = jackknife.scores(lambda kept: float(len(kept)), 1)
    np.testing.assert_array_equal(scores, [1.0])
    lone = bootstrap.mean_interval(scores, 200, 0.95, np.random.default_rng(0))
    assert lone.low == -np.inf


def test_problems_add_their_variance_once():
    rng = np.random.default_rng(0)
    data = rng.normal(size=9)
    of_mean = [np.delete(data, p).mean() for p in range(9)]
    found = jackknife.deviations([of_mean])
    np.testing.assert_allclose(found, data - data.mean())
    both = jackknife.deviations([of_mean, [np.delete(data[:4], p).mean() for p in range(4)], [1.0]])
    assert both.shape == (13,)
    assert both.mean() == pytest.approx(0)
    assert both.var(ddof=1) / 13 == pytest.approx(data.var(ddof=1) / 9 + data[:4].var(ddof=1) / 4)
    assert jackknife.deviations([]).tolist() == jackknife.deviations([[0.3]]).tolist() == [0.0]


def test_arms_are_not_told_apart_by_the_problems_that_they_happened_to_get():
    """Slopes and levels are of 12 problems a node, which are easier for one arm by chance."""
    rng, found = np.random.default_rng(2), {True: 0, False: 0}
    nodes, problems, seeds = 4, 12, 5
    of_node = np.repeat(np.arange(nodes), problems)

    def arrays(slope_ASP, level_ASP, kept):
        in_node = [kept & (of_node == n) for n in range(nodes)]
        return tuple(
            np.stack([array[arm][:, here].mean(axis=1) for here in in_node], axis=1)
            for arm in (0, 1)
            for array in (slope_ASP, level_ASP)
        )

    for _ in range(60):
        base_N, everything = rng.normal(0, 1, nodes), np.ones(nodes * problems, bool)
        level = (
            base_N[of_node] + rng.normal(0, 0.5, (2, 1, 48)) + rng.normal(0, 0.3, (2, seeds, 48))
        )
        slope = -0.3 * level + rng.normal(0, 0.2, (2, 1, 48)) + rng.normal(0, 0.1, (2, seeds, 48))
        each = []
        for p in range(48):
            kept = everything.copy()
            kept[p] = False
            each.append(arrays(slope, level, kept))
        for counted in (True, False):
            one = conditional.compare(
                *arrays(slope, level, everything), [each] if counted else (), 200, 0.95, rng
            )
            found[counted] += not one.difference.low < 0 < one.difference.high
    assert found[True] <= 6  # of 60, nominal 3
    assert found[False] > 12
