"""Verdicts follow from intervals by the written rules; retention, bands and matching feed them."""

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakein.analysis import curves, matching, passk, persistence, verdicts
from bakein.analysis.bootstrap import Interval
from bakein.analysis.verdicts import (
    CatchUp,
    Comparison,
    Frontier,
    Jailbreak,
    Permanence,
    Persistence,
    RLSpeed,
    Spurious,
    Symmetry,
    WrongTraces,
)


def interval(low, high, seeds=5):
    return Interval((low + high) / 2, low, high, 0.95, seeds, (high - low) / 4, 0.0)


@pytest.mark.parametrize(
    ("low", "high", "seeds", "verdict"),
    [
        (0.1, 0.3, 5, Comparison.BETTER),
        (0.001, 0.01, 5, Comparison.BETTER),
        (-0.3, -0.1, 5, Comparison.WORSE),
        (-0.01, 0.01, 5, Comparison.EQUIVALENT),
        (0.0, 0.01, 5, Comparison.EQUIVALENT),
        (0.0, 0.3, 5, Comparison.UNDERPOWERED),
        (-0.02, 0.01, 5, Comparison.UNDERPOWERED),
        (0.1, 0.3, 1, Comparison.UNDERPOWERED),
    ],
)
def test_comparison(low, high, seeds, verdict):
    assert verdicts.comparison(interval(low, high, seeds), 0.02) is verdict


@pytest.mark.parametrize(
    ("gain", "retention", "verdict"),
    [
        ((1.0, 2.0), (1.1, 1.4), Persistence.AMPLIFIED),
        ((1.0, 2.0), (0.9, 1.4), Persistence.PERSISTS),
        ((1.0, 2.0), None, Persistence.PERSISTS),
        ((0.01, 0.05), (0.0, 0.1), Persistence.PERSISTS),  # small, but there
        ((-0.05, 0.05), (-0.1, 0.1), Persistence.WASHED_OUT),
        ((-0.05, -0.01), (-0.1, 0.1), Persistence.WASHED_OUT),  # the equivalence test goes first
        ((-2.0, -1.0), (-1.4, -0.5), Persistence.REVERSED),
        ((-2.0, -1.0), (1.1, 1.4), Persistence.REVERSED),  # a growing harm is no amplified gain
        ((-1.0, 1.0), (-1.0, 1.0), Persistence.UNDERPOWERED),
        ((-1.0, 1.0), None, Persistence.UNDERPOWERED),
    ],
)
def test_persistence(gain, retention, verdict):
    ratio = retention and interval(*retention)
    assert verdicts.persistence(interval(*gain), ratio, 0.1) is verdict


def test_one_seed_never_gets_a_persistence_verdict():
    lone = interval(1.0, 2.0, seeds=1)
    assert verdicts.persistence(lone, interval(1.1, 1.4), 0.1) is Persistence.UNDERPOWERED


@settings(deadline=None)
@given(*[st.floats(-3, 3)] * 4, st.floats(0.01, 2))
def test_a_verdict_of_effect_needs_an_interval_beyond_zero(a, b, c, d, epsilon):
    gain, ratio = interval(*sorted((a, b))), interval(*sorted((c, d)))
    named = verdicts.persistence(gain, ratio, epsilon)
    assert (gain.low > 0) == (named in (Persistence.AMPLIFIED, Persistence.PERSISTS))
    assert (verdicts.comparison(gain, epsilon) is Comparison.BETTER) == (gain.low > 0)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.nan])
def test_epsilon_must_be_positive(epsilon):
    with pytest.raises(ValueError, match="epsilon is"):
        verdicts.comparison(interval(0, 1), epsilon)
    with pytest.raises(ValueError, match="epsilon is"):
        verdicts.persistence(interval(0, 1), None, epsilon)


@pytest.mark.parametrize(
    ("lift", "verdict"),
    [
        ((0.85, 1.3), Spurious.BASE),
        ((0.81, 0.9), Spurious.BASE),
        ((-0.2, 0.15), Spurious.REWARD),
        ((0.0, 0.0), Spurious.REWARD),  # nothing moved, as with gamma = 0
        ((0.05, 0.15), Spurious.REWARD),
        ((-0.9, -0.4), Spurious.REWARD),  # it hurt
        ((0.4, 0.8), Spurious.BOTH),
        ((0.4, 1.2), Spurious.UNDERPOWERED),
        ((-0.1, 0.7), Spurious.UNDERPOWERED),
        ((-np.inf, np.inf), Spurious.UNDERPOWERED),
    ],
)
def test_spurious(lift, verdict):
    assert verdicts.spurious(interval(0.1, 0.3), interval(*lift), 0.2) is verdict


@pytest.mark.parametrize(
    ("ratio", "verdict"),
    [
        ((0.85, 1.3), WrongTraces.AS_CORRECT),
        ((0.05, 0.7), WrongTraces.HELPS),
        ((0.05, 1.7), WrongTraces.HELPS),
        ((0.05, 0.1), WrongTraces.HELPS),  # a little
        ((-0.3, 0.1), WrongTraces.DOES_NOT),
        ((-0.9, -0.5), WrongTraces.DOES_NOT),
        ((-0.3, 0.5), WrongTraces.UNDERPOWERED),
    ],
)
def test_wrong_traces(ratio, verdict):
    assert verdicts.wrong_traces(interval(0.1, 0.3), interval(*ratio), 0.2) is verdict


@pytest.mark.parametrize("rule", [verdicts.spurious, verdicts.wrong_traces])
@pytest.mark.parametrize(
    ("reference", "ratio"),
    [
        (interval(0.1, 0.3), None),
        (interval(0.1, 0.3, seeds=1), interval(0.9, 1.1)),
        (interval(-0.1, 0.3), interval(0.9, 1.1)),
        (interval(-0.3, -0.1), interval(0.9, 1.1)),  # twice as harmful is no lift
    ],
)
def test_a_lift_needs_a_reference_that_gained(rule, reference, ratio):
    assert rule(reference, ratio, 0.2) == "underpowered"


@pytest.mark.parametrize("rule", [verdicts.spurious, verdicts.wrong_traces])
@pytest.mark.parametrize("epsilon", [0.0, 1.0, math.nan])
def test_a_share_is_between_nothing_and_all(rule, epsilon):
    with pytest.raises(ValueError, match="allowed: between 0 and 1"):
        rule(interval(0.1, 0.3), interval(0.9, 1.1), epsilon)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (1.1, 3.0, Permanence.MORE),
        (0.3, 0.9, Permanence.LESS),
        (0.85, 1.2, Permanence.AS),
        (0.79, 1.2, Permanence.UNDERPOWERED),  # below 1/1.25
        (0.85, 1.3, Permanence.UNDERPOWERED),
        (1.1, math.inf, Permanence.MORE),  # attacks that never worked
        (0.0, math.inf, Permanence.UNDERPOWERED),
    ],
)
def test_permanence(low, high, verdict):
    with np.errstate(divide="ignore", invalid="ignore"):
        limits = np.log([low, high])
        found = Interval(0.0, *limits.tolist(), 0.95, 5, 0.1, 0.0)
    assert verdicts.permanence(found, 0.25) is verdict


@pytest.mark.parametrize(
    ("low", "high", "seeds", "verdict"),
    [
        (-0.3, -0.1, 5, Jailbreak.SHALLOWER),
        (0.1, 0.3, 5, Jailbreak.STEEPER),
        (-0.01, 0.01, 5, Jailbreak.EQUIVALENT),
        (-0.3, 0.1, 5, Jailbreak.UNDERPOWERED),
        (-0.3, -0.1, 1, Jailbreak.UNDERPOWERED),
    ],
)
def test_jailbreak(low, high, seeds, verdict):
    assert verdicts.jailbreak(interval(low, high, seeds), 0.02) is verdict


@pytest.mark.parametrize(
    ("slope", "verdict"),
    [
        ((0.9, 1.1), Symmetry.SYMMETRIC),
        ((1.02, 1.1), Symmetry.SYMMETRIC),  # the equivalence test goes first
        ((0.2, 0.7), Symmetry.ASYMMETRIC),
        ((1.05, 1.9), Symmetry.ASYMMETRIC),
        ((0.5, 1.1), Symmetry.UNDERPOWERED),
    ],
)
def test_symmetry(slope, verdict):
    assert verdicts.symmetry(interval(*slope), 0.2) is verdict
    assert verdicts.symmetry(None, 0.2) is Symmetry.UNDERPOWERED


@pytest.mark.parametrize(
    ("gaps", "verdict"),
    [
        ([(-0.5, -0.4), (-0.01, 0.1)], CatchUp.CAUGHT_UP),
        ([(-0.01, 0.1), (-0.5, -0.4)], CatchUp.CAUGHT_UP),  # more of it hurt
        ([(-0.5, -0.4), (-0.3, -0.1)], CatchUp.NOT_CAUGHT_UP),
        ([(-0.5, -0.4), (-0.3, 0.1)], CatchUp.UNDERPOWERED),
        ([], CatchUp.UNDERPOWERED),
    ],
)
def test_catch_up(gaps, verdict):
    assert verdicts.catch_up([interval(*gap) for gap in gaps], 0.02) is verdict
    lone = [interval(*gap, seeds=1) for gap in gaps]
    assert verdicts.catch_up(lone, 0.02) is CatchUp.UNDERPOWERED


@pytest.mark.parametrize(
    ("candidates", "verdict"),
    [
        ((0.25, 0.5), Frontier.INTERIOR),
        ((1.0,), Frontier.BEFORE),
        ((0.0,), Frontier.AFTER),
        ((0.75, 1.0), Frontier.UNDERPOWERED),
        ((0.0, 1.0), Frontier.UNDERPOWERED),
        ((0.0, 0.1), Frontier.UNDERPOWERED),
    ],
)
def test_frontier(candidates, verdict):
    assert verdicts.frontier(candidates, 5) is verdict
    assert verdicts.frontier(candidates, 1) is Frontier.UNDERPOWERED


@pytest.mark.parametrize(
    ("multiplier", "seeds", "verdict"),
    [
        ((1.1, 4.0), 5, RLSpeed.FASTER),
        ((1.1, math.inf), 5, RLSpeed.FASTER),  # the control never got there
        ((0.0, 0.9), 5, RLSpeed.SLOWER),
        ((0.81, 1.24), 5, RLSpeed.AS),  # epsilon .25: 1/1.25 to 1.25
        ((0.79, 1.24), 5, RLSpeed.UNDERPOWERED),
        ((0.81, 1.26), 5, RLSpeed.UNDERPOWERED),
        ((1.1, 4.0), 1, RLSpeed.UNDERPOWERED),
    ],
)
def test_rl_speed(multiplier, seeds, verdict):
    low, high = (math.log(x) if x else -math.inf for x in multiplier)
    found = Interval(0.0, low, high, 0.95, seeds, 0.1, 0.0)
    assert verdicts.rl_speed(found, 0.25) is verdict


def test_slopes_that_share_no_level_are_not_compared():
    assert verdicts.slope_at_equal_level(None, 0.1) is Comparison.UNDERPOWERED
    assert verdicts.slope_at_equal_level(interval(0.1, 0.3), 0.1) is Comparison.BETTER
    assert verdicts.slope_at_equal_level(interval(-0.05, 0.05), 0.1) is Comparison.EQUIVALENT


def test_every_rule_needs_an_epsilon():
    rules = (
        verdicts.permanence, verdicts.symmetry, verdicts.rl_speed, verdicts.slope_at_equal_level
    )  # fmt: skip
    for rule in rules:
        with pytest.raises(ValueError, match="epsilon is -1"):
            rule(interval(0, 1), -1.0)
    with pytest.raises(ValueError, match="epsilon is 0"):
        verdicts.catch_up([interval(0, 1)], 0.0)


def test_the_written_rules_name_every_verdict_of_their_kind_in_order():
    """A rule's own paragraph numbers the verdicts; the code tries them in that order."""
    kinds = {
        "Comparison": Comparison,
        "Persistence": Persistence,
        "Spurious reward": Spurious,
        "Wrong traces": WrongTraces,
        "Permanence": Permanence,
        "Symmetry": Symmetry,
        "Catch-up": CatchUp,
        "Frontier": Frontier,
        "Mixture": verdicts.Mixture,
        "Jailbreak": Jailbreak,
        "RL speed": RLSpeed,
    }
    paragraphs = {text.split(" (")[0].split(" of a gain")[0]: text
                  for text in verdicts.RULES.split("\n\n")}  # fmt: skip
    for name, kind in kinds.items():
        numbered = re.findall(r"^  \d\. (\w+(?: \w+)*)  ", paragraphs[name], re.MULTILINE)
        assert set(numbered) == set(kind), name
        assert numbered[0] == numbered[-1] == "underpowered"


def arms(gains, seed=0):
    """Counts [stages, seeds, problems] of arms whose logits differ by these gains."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(-1, 0.7, 60) + rng.normal(0, 0.1, (len(gains), 5, 60))
    control = rng.binomial(64, 1 / (1 + np.exp(-logit)))
    treated = rng.binomial(64, 1 / (1 + np.exp(-logit - np.array(gains)[:, None, None])))
    return passk.jeffreys_logit(treated, 64), passk.jeffreys_logit(control, 64)


def test_retention_of_simulated_stages():
    stages = ("pretrain", "sft", "rl", "attack", "undo")
    gains = (1.0, 2.0, 0.5, 0.0, -1.0)
    found = persistence.retention(
        stages, *arms(gains), [9.7] * 5, 1000, 0.95, np.random.default_rng(0)
    )
    assert [stage.stage for stage in found] == list(stages)
    for stage, gain in zip(found, gains, strict=True):
        assert stage.gain.estimate == pytest.approx(gain, abs=0.1)
        assert stage.retention.estimate == pytest.approx(gain, abs=0.1)
        assert stage.retention.low <= stage.retention.estimate <= stage.retention.high
    first = found[0].retention
    assert (first.low, first.high) == pytest.approx((1, 1))
    assert [verdicts.persistence(s.gain, s.retention, 0.2) for s in found] == [
        "persists", "amplified", "persists", "washed out", "reversed",
    ]  # fmt: skip


def test_retention_of_no_gain_is_undefined():
    treated, control = arms((0.0, 1.0))
    found = persistence.retention(
        ("pretrain", "sft"), treated, control, [9.7] * 2, 500, 0.95, np.random.default_rng(0)
    )
    assert found[1].retention is None
    assert verdicts.persistence(found[1].gain, None, 0.2) is Persistence.PERSISTS


def test_arms_that_never_solved_anything_are_not_shown_to_be_equal():
    scores = passk.jeffreys_logit(np.zeros((2, 2, 12), int), 4)
    for largest, verdict in ((4.4, Persistence.UNDERPOWERED), (0.0, Persistence.WASHED_OUT)):
        found = persistence.retention(
            ("pretrain", "sft"), scores, scores, [largest] * 2, 500, 0.95, np.random.default_rng(0)
        )
        assert [stage.gain.estimate for stage in found] == [0, 0]
        assert verdicts.persistence(found[1].gain, found[1].retention, 0.1) is verdict


def test_retention_of_one_seed_is_undefined():
    treated, control = (scores[:, :1] for scores in arms((1.0, 1.0)))
    found = persistence.retention(
        ("pretrain", "sft"), treated, control, [9.7] * 2, 500, 0.95, np.random.default_rng(0)
    )
    assert found[1].retention is None
    assert verdicts.persistence(found[1].gain, None, 0.2) is Persistence.UNDERPOWERED


def test_retention_refuses_arms_that_do_not_match():
    with pytest.raises(ValueError, match="allowed: one shape \\[2 stages"):
        persistence.retention(
            ("a", "b"),
            np.zeros((2, 3, 4)),
            np.zeros((2, 3, 5)),
            [9.7] * 2,
            500,
            0.95,
            np.random.default_rng(0),
        )


def test_band_over_seeds_and_over_problems():
    rng = np.random.default_rng(0)
    counts = rng.binomial(64, rng.beta(0.5, 1, 50), (5, 50))
    scores = np.stack([passk.pass_at_k(counts, 64, k) for k in (1, 8, 64)])
    band = curves.band(scores, 500, 0.95, rng)
    np.testing.assert_allclose(band.mean_X, scores.mean(axis=(1, 2)))
    assert np.all((band.low_X < band.mean_X) & (band.mean_X < band.high_X))
    # over whole seeds only: the same mean, and no share of the problems' noise
    narrow = curves.band(scores.mean(axis=2), 500, 0.95, rng)
    np.testing.assert_allclose(narrow.mean_X, band.mean_X)
    assert np.all(narrow.high_X - narrow.low_X < band.high_X - band.low_X)


def test_band_of_one_seed_has_a_mean_and_no_limits():
    band = curves.band(np.array([[0.1], [0.2]]), 200, 0.95, np.random.default_rng(0))
    np.testing.assert_array_equal(band.mean_X, [0.1, 0.2])
    assert np.all(np.isnan([band.low_X, band.high_X]))


def test_matching_is_relative_to_the_control():
    spent = {
        "standard": {"samples": 100, "tokens": 1000.0, "traces": 0},
        "baked_in": {"samples": 100, "tokens": 1010.0, "traces": 200},
    }
    assert matching.relative_differences(spent, "standard") == {
        "standard": {"samples": 0.0, "tokens": 0.0, "traces": 0.0},
        "baked_in": {"samples": 0.0, "tokens": pytest.approx(0.01), "traces": math.inf},
    }


@pytest.mark.parametrize(
    ("spent", "control", "message"),
    [
        ({"a": {"tokens": 1}}, "b", "control is 'b'; allowed: one of the arms a"),
        ({"a": {"tokens": 1}, "b": {"flops": 1}}, "a", "b lists flops; a lists tokens"),
        ({"a": {"tokens": -1}}, "a", "tokens is -1; allowed: 0 or more"),
    ],
)
def test_matching_refuses(spent, control, message):
    with pytest.raises(ValueError, match=message):
        matching.relative_differences(spent, control)
