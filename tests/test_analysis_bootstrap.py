"""The bootstrap: it covers what it promises with few seeds, is paired, and finds no null effect."""

import itertools

import numpy as np
import pytest
from scipy import special, stats

from bakein.analysis import bootstrap, passk, verdicts
from bakein.analysis.bootstrap import Interval


def simulate(rng, seeds, problems, effect, seed_sd, problem_sd, n=32):
    """Counts of right samples of (treated, control): logits of seeds × problems, then binomials."""
    level = rng.normal(-0.5, 1.0, problems)
    shift = effect + rng.normal(0, problem_sd, problems)
    logit = level + rng.normal(0, seed_sd, (2, seeds, 1)) + rng.normal(0, 0.5, (2, seeds, problems))
    logit[0] += shift
    return rng.binomial(n, special.expit(logit))


def true_difference(effect, seed_sd, problem_sd):
    """The simulation's difference in accuracy: a normal logit's mean success, by quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    spread = 1.0 + seed_sd**2 + 0.25

    def success(mean, variance):
        return weights @ special.expit(mean + np.sqrt(variance) * nodes) / weights.sum()

    return success(effect - 0.5, spread + problem_sd**2) - success(-0.5, spread)


def intervals(studies, seeds, effect, seed_sd, problem_sd, seed):
    rng = np.random.default_rng(seed)
    for _ in range(studies):
        treated, control = simulate(rng, seeds, 48, effect, seed_sd, problem_sd)
        yield bootstrap.mean_interval((treated - control) / 32, 400, 0.95, rng)


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize(("seed_sd", "problem_sd"), [(0.0, 0.0), (0.2, 0.7), (0.8, 0.3)])
def test_the_interval_covers_what_it_promises(seeds, seed_sd, problem_sd):
    truth = true_difference(0.6, seed_sd, problem_sd)
    found = list(intervals(600, seeds, 0.6, seed_sd, problem_sd, seed=seeds))
    coverage = np.mean([interval.low < truth < interval.high for interval in found])
    # 600 studies: the standard error of a coverage of 95 % is 0.9 %
    assert 0.925 <= coverage <= 0.985


def test_a_family_of_null_contrasts_on_three_seeds_keeps_its_level():
    rng, level, rejected = np.random.default_rng(0), 1 - 0.05 / 24, 0
    for _ in range(100):  # each with 40 quantities that share the draws
        draws = bootstrap.draw(rng.normal(size=(40, 3, 1)), 1000, rng)
        found = [draws.interval(level, m) for m in range(40)]
        rejected += sum(interval.low > 0 or interval.high < 0 for interval in found)
    # 8 of 4,000 are expected; percentiles of draws widened alike at all levels rejected 22
    assert rejected <= 15


def test_null_studies_seldom_get_a_verdict():
    found = list(intervals(600, 5, 0.0, 0.5, 0.0, seed=0))
    named = [verdicts.comparison(interval, 0.01) for interval in found]
    decided = np.mean([v in (verdicts.Comparison.BETTER, verdicts.Comparison.WORSE) for v in named])
    assert decided <= 0.075
    rejected = np.mean([interval.p_value < 0.05 for interval in found])
    assert rejected <= 0.075


def test_an_effect_of_the_mde_is_found_four_times_in_five():
    rng = np.random.default_rng(0)
    seeds, sd = 5, 0.1
    effect = bootstrap.minimum_detectable_effect(sd / np.sqrt(seeds), seeds, 0.95)
    t = stats.ttest_1samp(rng.normal(effect, sd, (20_000, seeds)), 0.0, axis=1)
    assert np.mean(t.pvalue < 0.05) == pytest.approx(0.8, abs=0.01)


def test_draws_are_paired_across_arms():
    rng = np.random.default_rng(0)
    control = rng.normal(size=(5, 40))
    treated = control + 0.3
    interval = bootstrap.mean_interval(treated - control, 500, 0.95, rng)
    assert interval.low == pytest.approx(0.3)
    assert interval.high == pytest.approx(0.3)


def test_the_standard_error_is_that_of_crossed_random_effects():
    """Against the analysis of variance of a two-way table: (MS_seed + MS_problem − MS_rest)/SP."""
    rng = np.random.default_rng(0)
    seeds, problems = 6, 50
    scores = rng.normal(0, 0.3, (seeds, 1)) + rng.normal(0, 1, problems)
    scores = scores + rng.normal(0, 0.7, (seeds, problems))
    by_seed, by_problem, mean = scores.mean(1), scores.mean(0), scores.mean()
    rest = scores - by_seed[:, None] - by_problem + mean
    ms_rest = np.sum(rest**2) / ((seeds - 1) * (problems - 1))
    cells = seeds * problems
    interval = bootstrap.mean_interval(scores, 20_000, 0.95, rng)
    assert interval.estimate == pytest.approx(mean)
    assert interval.seed_se**2 == pytest.approx(by_seed.var(ddof=1) / seeds, rel=0.05)
    own = by_problem.var(ddof=1) / problems - ms_rest / cells
    assert interval.problem_se**2 == pytest.approx(own, rel=0.05)


def test_scores_of_whole_seeds_get_about_a_t_interval():
    scores = np.random.default_rng(0).normal(0.5, 0.1, 12)
    interval = bootstrap.mean_interval(scores, 20_000, 0.95, np.random.default_rng(1))
    low, high = stats.t.interval(0.95, 11, scores.mean(), stats.sem(scores))
    assert interval.low == pytest.approx(low, abs=0.01)
    assert interval.high == pytest.approx(high, abs=0.01)
    assert interval.problem_se == 0


def test_draws_are_deterministic_and_joint():
    scores = np.random.default_rng(0).normal(size=(2, 5, 30))
    scores[1] = 2 * scores[0]
    one, two = (bootstrap.draw(scores, 300, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(one.at(0.95), two.at(0.95))
    np.testing.assert_allclose(one.at(0.95)[:, 1], 2 * one.at(0.95)[:, 0])


def test_a_ratio_of_proportional_means_is_exact_and_of_noise_undefined():
    rng = np.random.default_rng(0)
    gain = rng.normal(1.0, 0.2, (5, 40))
    draws = bootstrap.draw([gain, 0.5 * gain, gain - gain.mean()], 500, rng)
    ratio = draws.ratio(0.95, 1, 0)
    assert (ratio.estimate, ratio.low, ratio.high) == pytest.approx((0.5, 0.5, 0.5))
    assert draws.ratio(0.95, 0, 2) is None
    negative = bootstrap.draw([-gain, gain], 500, rng).ratio(0.95, 1, 0)
    assert negative.high == pytest.approx(-1)


def test_a_ratio_covers_what_it_promises():
    rng = np.random.default_rng(0)
    hits, studies = 0, 600
    for _ in range(studies):
        both = rng.normal(0, 0.3, (5, 1)) + rng.normal(0, 0.5, 40)
        noise = rng.normal(0, 0.3, (2, 5, 1)) + rng.normal(0, 0.6, (2, 5, 40))
        scores = both + noise + np.array([1.5, 2.0])[:, None, None]
        ratio = bootstrap.draw(scores, 400, rng).ratio(0.95, 1, 0)
        hits += ratio is None or ratio.low < 2.0 / 1.5 < ratio.high
    assert 0.925 <= hits / studies <= 0.985


def test_one_seed_has_no_interval():
    interval = bootstrap.mean_interval(np.random.default_rng(0).normal(5, 1, (1, 30)), 200, 0.95,
                                       np.random.default_rng(0))  # fmt: skip
    assert (interval.low, interval.high) == (-np.inf, np.inf)
    assert interval.mde == np.inf
    assert interval.se == np.inf
    assert interval.p_value == 1
    assert bootstrap.seeds_needed(interval, 1.0) is None


@pytest.mark.parametrize(
    ("scores", "resamples", "message"),
    [
        (np.zeros((2, 3)), 200, "allowed: \\[quantities, seeds, problems\\]"),
        (np.zeros((1, 0, 3)), 200, "allowed: \\[quantities"),
        (np.full((1, 2, 3), np.nan), 200, "finite"),
        (np.zeros((1, 2, 3)), 99, "at least 100"),
    ],
)
def test_draw_refuses(scores, resamples, message):
    with pytest.raises(ValueError, match=message):
        bootstrap.draw(scores, resamples, np.random.default_rng(0))


def test_a_level_is_a_share():
    with pytest.raises(ValueError, match="level is 95"):
        bootstrap.mean_interval(np.zeros((2, 3)), 200, 95, np.random.default_rng(0))


def test_constant_scores_do_not_break():
    interval = bootstrap.mean_interval(np.zeros((5, 8)), 200, 0.95, np.random.default_rng(0))
    assert (interval.low, interval.high, interval.se, interval.p_value) == (0, 0, 0, 1)


def test_equal_scores_get_the_width_that_their_number_leaves_open():
    def found(score, least, most):
        scores = np.full((2, 48), score)
        interval = bootstrap.mean_interval(scores, 200, 0.95, np.random.default_rng(0))
        return bootstrap.bounded(interval, scores.size, least, most)

    none, half, always, same = found(0, 0, 1), found(0.3, 0, 1), found(1, 0, 1), found(0, -1, 1)
    # Clopper and Pearson: so many trials without a success are seen in 1 of 40 such studies.
    assert stats.binom.pmf(0, 96, none.high) == pytest.approx(0.025)
    assert (none.low, none.estimate) == (0, 0)
    assert (always.low, always.high) == pytest.approx((1 - none.high, 1))
    assert (same.low, same.high) == pytest.approx((-none.high, none.high))
    assert (half.low, half.high) == pytest.approx((0.3 * (1 - none.high), 0.3 + 0.7 * none.high))
    assert 0 < none.mde < np.inf
    assert same.p_value == 1


def test_an_interval_that_has_a_width_keeps_it_within_what_can_be():
    scores = np.random.default_rng(0).random((3, 8))
    interval = bootstrap.mean_interval(scores, 200, 0.95, np.random.default_rng(0))
    assert bootstrap.bounded(interval, 24, 0, 1) == interval
    low, high = interval.estimate - 1e-3, interval.estimate + 2e-3
    inside = bootstrap.bounded(interval, 24, low, high)
    assert (inside.low, inside.high, inside.se) == (low, high, interval.se)
    one = bootstrap.mean_interval(np.zeros((1, 8)), 200, 0.95, np.random.default_rng(0))
    assert bootstrap.bounded(one, 8, 0, 1) is one


def test_seeds_needed_is_the_smallest_number_with_power():
    interval = Interval(0.05, -0.1, 0.2, 0.95, 5, seed_se=0.1, problem_se=0.01)
    needed = bootstrap.seeds_needed(interval, 0.1)

    def mde(seeds):
        se = np.hypot(0.1 * np.sqrt(5 / seeds), 0.01)
        return bootstrap.minimum_detectable_effect(se, seeds, 0.95)

    assert mde(needed) <= 0.1 < mde(needed - 1)
    assert bootstrap.seeds_needed(interval, 1.0) == 3  # 2 seeds need a t of 12.7
    assert bootstrap.seeds_needed(interval, 0.02) is None  # the problems alone hide it
    assert bootstrap.seeds_needed(interval, 0.0) is None


def test_holm():
    adjusted = bootstrap.holm({"a": 0.04, "b": 0.01, "c": 0.03, "d": 0.9})
    assert adjusted == pytest.approx({"a": 0.09, "b": 0.04, "c": 0.09, "d": 0.9})
    assert list(adjusted) == ["a", "b", "c", "d"]
    assert bootstrap.holm({}) == {}


def test_holm_levels_reject_just_when_holm_does():
    grid = (0.0, 1e-4, 0.012, 0.02, 0.03, 0.049, 0.3, 1.0)
    for ps in itertools.product(grid, repeat=3):
        p_values = dict(zip("abc", ps, strict=True))
        levels = bootstrap.holm_levels(p_values, 0.95)
        for name, adjusted in bootstrap.holm(p_values).items():
            # an interval of level L excludes 0 where p < 1 − L
            assert (p_values[name] < 1 - levels[name]) == (adjusted < 0.05)
    assert bootstrap.holm_levels({"only": 0.2}, 0.95) == pytest.approx({"only": 0.95})


def test_logits_and_pass_at_k_go_through_the_same_door():
    treated, control = simulate(np.random.default_rng(0), 5, 64, 1.0, 0.3, 0.3)
    rng = np.random.default_rng(0)
    for score in (lambda c: passk.jeffreys_logit(c, 32), lambda c: passk.pass_at_k(c, 32, 8)):
        interval = bootstrap.mean_interval(score(treated) - score(control), 500, 0.95, rng)
        assert interval.low < interval.estimate < interval.high
        assert interval.low > 0
