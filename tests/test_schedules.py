"""Schedules spend the same tokens on the named sources; impossible ones are told."""

import pytest

from bakein.data.errors import DataError
from bakein.data.mixture import Mixture
from bakein.data.schedules import Phase, constant, early, late, linear

SHARES = {"traces": 0.2, "facts": 0.05}


@pytest.mark.parametrize(
    "phases",
    [
        constant(SHARES, 10_007),
        early(SHARES, 10_007, 0.3),
        late(SHARES, 10_007, 0.3),
        early(SHARES, 10_007, 1.0),
        late(SHARES, 10_007, 1.0),
        linear(SHARES, 10_007, 0.0),
        linear(SHARES, 10_007, 1.0),
        linear(SHARES, 10_007, 2.0),
    ],
)
def test_every_schedule_spends_the_same_tokens_on_each_source(phases):
    mixture = Mixture({"web": 1.0}, phases)
    assert mixture.tokens == 10_007
    assert mixture.targets(10_007) == pytest.approx({"traces": 2001.4, "facts": 500.35})


def test_early_and_late_leave_the_rest_to_the_background():
    first, second = early(SHARES, 1000, 0.5)
    assert (first.tokens, second.tokens) == (500, 500)
    assert first.start == pytest.approx({"traces": 0.4, "facts": 0.1})
    assert second.start == second.end == {"traces": 0.0, "facts": 0.0}
    assert late(SHARES, 1000, 0.5) == (second, first)


@pytest.mark.parametrize("tokens", [999, 1001, 1003])
def test_a_span_equal_to_the_share_is_all_of_it(tokens):
    dense, rest = early({"traces": 0.5}, tokens, 0.5)
    assert dense.start["traces"] == pytest.approx(1, abs=1 / 500)
    assert dense.tokens + rest.tokens == tokens


def test_linear_rises_from_nothing_to_twice_the_share():
    (phase,) = linear({"traces": 0.2}, 100, 0.0)
    assert (phase.start["traces"], phase.end["traces"]) == (0.0, 0.4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Phase(0, {}, {}), "phase tokens: 0, must be at least 1"),
        (lambda: Phase(9, {"a": 0.1}, {"b": 0.1}), "both must name the same sources"),
        (lambda: constant({"a": -0.1}, 9), "share of 'a': -0.1, must be between 0 and 1"),
        (lambda: constant({"a": float("nan")}, 9), "share of 'a': nan"),
        (lambda: constant({"a": 0.6, "b": 0.6}, 9), r"sum 1.2, must be at most 1"),
        (lambda: early({"a": 0.5}, 100, 0.2), "span: 0.2 of training cannot hold shares .* 0.5"),
        (lambda: late({"a": 0.5}, 100, 0.0), "span: 0, must be above 0 and at most 1"),
        (lambda: early({"a": 0.5}, 100, 1.5), "span: 1.5"),
        (lambda: linear({"a": 0.6}, 100, 0.0), "share of 'a': 1.2"),
        (lambda: linear({"a": 0.1}, 100, 3.0), "linear start: 3, must be between 0 and 2"),
    ],
)
def test_impossible_schedules_are_told(make, message):
    with pytest.raises(DataError, match=message):
        make()
