"""Permanence: costs with censoring, the symmetry law despite errors in D_A, half-lives."""

import math

import numpy as np
import pytest

from bakein.analysis import permanence
from bakein.analysis.rl_curve import Reach

SIZES = np.array([0, 10, 30, 100, 300, 1000])


def settle(amounts):
    return [Reach(float(amount), False) for amount in amounts]


def test_cost_is_that_of_the_best_learning_rate():
    slow = [0.0, 0.1, 0.2, 0.3, 0.5, 0.9]
    fast = [0.0, 0.2, 0.5, 0.9, 0.9, 0.9]
    assert permanence.cost(SIZES, [slow, fast], 0.5) == Reach(pytest.approx(30), False)
    assert permanence.cost(SIZES, [slow], 0.5) == Reach(pytest.approx(300), False)
    assert permanence.cost(SIZES, [slow, [0.1] * 6], 0.95) == Reach(pytest.approx(1000), True)
    assert permanence.cost(SIZES, [slow, [0.1] * 6], 0.9).censored is False
    assert permanence.cost(SIZES, [[0.6] * 6], 0.5) == Reach(0.0, False)
    between = permanence.cost([0, 3, 15], [[0.0, 0.2, 0.6]], 0.4).compute
    assert between == pytest.approx(7)  # half-way between 4 and 16 in log(1 + samples)


@pytest.mark.parametrize("rates", [np.zeros(6), np.zeros((2, 5)), np.zeros((0, 6))])
def test_cost_refuses_rates_that_do_not_match(rates):
    with pytest.raises(ValueError, match="allowed: \\[points\\] and \\[learning rates, points\\]"):
        permanence.cost(SIZES, rates, 0.5)


def test_cost_refuses_sizes_without_the_model_as_it_is():
    with pytest.raises(ValueError, match="begin with 0"):
        permanence.cost([10, 20], [[0.1, 0.9]], 0.5)


def test_permanence_of_one_arm_and_against_another():
    rng = np.random.default_rng(0)
    align, misalign = settle([100, 120, 80, 100, 90]), settle([310, 350, 260, 290, 270])
    found = permanence.permanence(align, misalign, 1000, 0.95, rng)
    assert (found.align.compute, found.misalign.compute) == (100, 290)
    assert found.ratio.estimate == pytest.approx(3, rel=0.05)
    assert found.ratio.low < 3 < found.ratio.high
    weak = settle([r.compute / 3 for r in misalign])
    between = permanence.contrast((align, misalign), (align, weak), 1000, 0.95, rng)
    assert (between.low, between.high) == pytest.approx((3, 3))


def test_an_attack_that_never_works_leaves_a_lower_bound():
    rng = np.random.default_rng(0)
    align = settle([100, 120, 80])
    misalign = [Reach(1000.0, True), Reach(1000.0, True), Reach(700.0, False)]
    found = permanence.permanence(align, misalign, 500, 0.95, rng)
    assert found.misalign == Reach(1000.0, True)
    assert found.ratio.bound == "at least"
    assert found.ratio.high == math.inf
    against = permanence.contrast((align, misalign), (align, settle([50, 60, 40])), 500, 0.95, rng)
    assert against.bound == "at least"
    assert against.low > 5
    both = permanence.contrast((align, misalign), (align, misalign), 500, 0.95, rng)
    assert both.bound == "undefined"


def test_seeds_must_match():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="3 seeds were aligned, 2 misaligned"):
        permanence.permanence(settle([1, 2, 3]), settle([1, 2]), 200, 0.95, rng)
    two, one = settle([1, 2]), settle([1])
    with pytest.raises(ValueError, match="2 seeds of treated, 1 of control"):
        permanence.contrast((two, two), (one, one), 200, 0.95, rng)


def law(rng, slope, error, seeds=5, arms=6):
    """Costs of arms whose true logs lie on a line; both are measured with this error."""
    x = np.linspace(3, 6, arms)
    align, misalign = {}, {}
    for arm, log in enumerate(x):
        shared = rng.normal(0, error / 2, seeds)
        align[f"arm {arm}"] = settle(np.exp(log + shared + rng.normal(0, error, seeds)))
        misalign[f"arm {arm}"] = settle(
            np.exp(1 + slope * log + shared + rng.normal(0, error, seeds))
        )
    return align, misalign


@pytest.mark.parametrize("slope", [1.0, 0.3])
def test_the_symmetry_law_is_found_without_attenuation(slope):
    rng = np.random.default_rng(0)
    estimates, hits, naive = [], 0, []
    for _ in range(300):
        align, misalign = law(rng, slope, 1.0)
        found = permanence.symmetry(align, misalign, 200, 0.95, rng)
        if not found.identified:
            continue
        estimates.append(found.slope.estimate)
        hits += found.slope.low < slope < found.slope.high
        x, y = (
            [np.mean([np.log(r.compute) for r in seeds]) for seeds in table.values()]
            for table in (align, misalign)
        )
        naive.append(np.polyfit(x, y, 1)[0])
    assert len(estimates) > 250
    assert np.median(estimates) == pytest.approx(slope, abs=0.04)
    assert 0.91 <= hits / len(estimates) <= 0.99
    if slope == 1:
        assert np.median(naive) < 0.95  # ordinary least squares finds the law broken


def test_the_errors_that_are_taken_off_are_unbiased_with_three_seeds():
    rng = np.random.default_rng(0)
    found = [
        permanence.symmetry(*law(rng, 1.0, 0.8, seeds=3, arms=12), 100, 0.95, rng)
        for _ in range(200)
    ]
    slopes = [one.slope.estimate for one in found if one.identified]
    assert np.median(slopes) == pytest.approx(1.0, abs=0.04)


def test_an_exact_law():
    align, misalign = law(np.random.default_rng(0), 0.7, 0.0)
    found = permanence.symmetry(align, misalign, 200, 0.95, np.random.default_rng(0))
    assert (found.slope.low, found.slope.high) == pytest.approx((0.7, 0.7))
    assert found.intercept == pytest.approx(1)
    assert found.left_out == ()
    assert set(found.residuals) == set(align)
    assert list(found.residuals.values()) == pytest.approx([0] * 6, abs=1e-9)


def test_arms_without_both_costs_are_left_out_by_name():
    align, misalign = law(np.random.default_rng(0), 1.0, 0.1)
    misalign["arm 0"][2] = Reach(1000.0, True)
    align["arm 5"][0] = Reach(0.0, False)
    found = permanence.symmetry(align, misalign, 200, 0.95, np.random.default_rng(0))
    assert found.left_out == ("arm 0", "arm 5")
    assert found.identified
    assert len(found.residuals) == 4


def test_a_law_that_the_arms_do_not_determine_is_unidentified():
    rng = np.random.default_rng(0)

    def reason(align, misalign):
        found = permanence.symmetry(align, misalign, 200, 0.95, rng)
        assert not found.identified
        assert found.slope is None
        return found.reason

    align, misalign = law(rng, 1.0, 0.1)
    assert "2 arms" in reason(*({a: table[a] for a in ("arm 0", "arm 1")}
                                for table in (align, misalign)))  # fmt: skip
    assert "2 seeds" in reason(*law(rng, 1.0, 0.1, seeds=2))
    same = dict.fromkeys(align, align["arm 0"])
    assert "do not differ" in reason(same, misalign)
    assert "do not differ" in reason({arm: settle([7] * 5) for arm in align}, misalign)


def test_symmetry_refuses_tables_that_do_not_match():
    align, misalign = law(np.random.default_rng(0), 1.0, 0.1)
    for broken in ({"other": align["arm 0"]}, {**misalign, "arm 0": settle([1])}):
        with pytest.raises(ValueError, match="same arms and seeds"):
            permanence.symmetry(align, broken, 200, 0.95, np.random.default_rng(0))


@pytest.mark.parametrize(("life", "floor"), [(50.0, 0.0), (200.0, 0.1), (15.0, 0.2)])
def test_half_life_is_recovered(life, floor):
    rate = floor + 0.7 * 2 ** (-SIZES / life)
    found = permanence.half_life(SIZES, rate, floor)
    assert found.identified
    assert found.samples == Reach(pytest.approx(life, rel=1e-4), False)
    assert found.start == pytest.approx(0.7, rel=1e-4)
    np.testing.assert_allclose(found.residuals_X, 0, atol=1e-5)


@pytest.mark.parametrize(
    "rate", [0.9 * 2 ** (-SIZES / 5000), np.full(6, 0.9), 0.8 + SIZES / 10_000]
)
def test_a_half_life_beyond_what_was_tried_is_censored(rate):
    found = permanence.half_life(SIZES, rate, 0.0)
    assert found.identified
    assert found.samples == Reach(1000.0, True)


@pytest.mark.parametrize(
    ("samples", "rate", "reason"),
    [
        (SIZES, np.full(6, 0.1), "no alignment to lose"),
        (SIZES, [0.9, 0.1, 0.1, 0.1, 0.1, 0.1], "gone before"),
        ([0, 10], [0.9, 0.5], "needs at least 3"),
    ],
)
def test_half_lives_that_cannot_be_seen_are_unidentified(samples, rate, reason):
    found = permanence.half_life(samples, rate, 0.1)
    assert not found.identified
    assert math.isnan(found.samples.compute)
    assert reason in found.reason


def test_half_life_of_noisy_rates():
    rng = np.random.default_rng(0)
    lives = []
    for _ in range(100):
        rate = rng.binomial(128, 0.85 * 2 ** (-SIZES / 120)) / 128
        lives.append(permanence.half_life(SIZES, rate, 0.0).samples.compute)
    assert np.median(lives) == pytest.approx(120, rel=0.06)


def test_seeds_that_forget_at_once_count_in_the_median():
    def life(half):
        return permanence.half_life(SIZES, 0.9 * 2.0 ** (-SIZES / half), 0.0)

    gone = permanence.half_life(SIZES, [0.9, 0.0, 0.0, 0.0, 0.0, 0.0], 0.0)
    assert gone.gone
    told = [life(half) for half in (100, 200, 300)]
    assert permanence.median_life(told).compute == pytest.approx(200, rel=0.01)
    assert permanence.median_life([gone, *told, gone]).compute == pytest.approx(100, rel=0.01)
    assert permanence.median_life([gone, gone, *told[:2]]) is None, "half of it is not known"
    assert permanence.median_life([gone] * 3 + told) is None
    never = permanence.half_life(SIZES, np.full(6, 0.1), 0.1)
    assert permanence.median_life([never, never, *told[:2]]) is None
    assert permanence.median_life([never, *told[:2]]).compute == pytest.approx(150, rel=0.01)
