"""pass@k, maj@k and the smoothed logit, against enumeration of every subset."""

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakein.analysis import passk


def brute_pass(c, n, k):
    samples = [True] * c + [False] * (n - c)
    return np.mean([any(subset) for subset in itertools.combinations(samples, k)])


def brute_maj(samples, right, k):
    wins = []
    for subset in itertools.combinations(samples, k):
        votes = Counter(answer for answer in subset if answer is not None)
        top = [answer for answer, count in votes.items() if count == max(votes.values())]
        wins.append(1 / len(top) if right in top else 0.0)
    return np.mean(wins)


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_pass_at_k_is_the_share_of_subsets_with_a_right_sample(n):
    counts = np.arange(n + 1)
    for k in range(1, n + 1):
        expected = [brute_pass(c, n, k) for c in counts]
        np.testing.assert_allclose(passk.pass_at_k(counts, n, k), expected, atol=1e-12)


def test_pass_at_k_keeps_shape_and_pass_at_1_is_accuracy():
    counts_SP = np.random.default_rng(0).integers(0, 65, (5, 128))
    np.testing.assert_allclose(passk.pass_at_k(counts_SP, 64, 1), counts_SP / 64, atol=1e-12)


@settings(deadline=None)
@given(st.data(), st.integers(1, 200))
def test_pass_at_k_is_bounded_and_monotone(data, n):
    k = data.draw(st.integers(1, n))
    scores = passk.pass_at_k(np.arange(n + 1), n, k)
    assert scores[0] == 0
    assert scores[n] == 1
    assert np.all((scores >= 0) & (scores <= 1))
    assert np.all(np.diff(scores) >= 0)
    if k < n:
        assert np.all(passk.pass_at_k(np.arange(n + 1), n, k + 1) >= scores - 1e-12)


def test_pass_at_k_is_unbiased():
    rng = np.random.default_rng(0)
    estimate = passk.pass_at_k(rng.binomial(16, 0.1, 200_000), 16, 4).mean()
    assert estimate == pytest.approx(1 - 0.9**4, abs=0.002)


@pytest.mark.parametrize(
    ("correct", "n", "k", "message"),
    [
        ([1], 4, 5, "k is 5; allowed: 1..n = 1..4"),
        ([1], 4, 0, "k is 0"),
        ([5], 4, 1, "counts span 5..5; allowed: 0..n = 0..4"),
        ([-1], 4, 1, "counts span -1..-1"),
        ([0.5], 4, 1, "must be integers"),
        ([0], 0, 1, "n is 0"),
    ],
)
def test_pass_at_k_refuses(correct, n, k, message):
    with pytest.raises(ValueError, match=message):
        passk.pass_at_k(correct, n, k)


def test_the_chance_floor_is_what_guessing_gets():
    assert passk.chance_floor(["a", "b", "c"], 64) == 0, "no answer is ever seen twice"
    yes_or_no = ["yes", "no"] * 500
    assert passk.chance_floor(yes_or_no, 1) == pytest.approx(499 / 999)
    assert passk.chance_floor(yes_or_no, 4) == pytest.approx(1 - (500 / 999) ** 4)
    right = ["a"] * 3 + ["b"]
    rng, hits = np.random.default_rng(0), []
    for problem, answer in enumerate(right):
        others = [a for other, a in enumerate(right) if other != problem]
        hits.append(np.mean((rng.choice(others, (4000, 2)) == answer).any(axis=1)))
    assert passk.chance_floor(right, 2) == pytest.approx(np.mean(hits), abs=0.02)
    with pytest.raises(ValueError, match="k is 0"):
        passk.chance_floor(right, 0)


@pytest.mark.parametrize("k", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("samples", ["aaaabbbc", "abcdabcd", "aab-----", "bbbbbbba", "--------"])
def test_maj_at_k_is_the_mean_over_subsets(samples, k):
    votes = Counter(answer for answer in samples if answer != "-")
    expected = brute_maj([None if answer == "-" else answer for answer in samples], "a", k)
    rng = np.random.default_rng(0)
    score = passk.maj_at_k([votes], ["a"], 8, k, rng, subsamples=20_000)
    assert score[0] == pytest.approx(expected, abs=0.015)


def test_maj_at_k_is_deterministic_and_blind_to_the_order_of_answers():
    counts = {"7": 10, "8": 9, "9": 13}
    turned = dict(reversed(counts.items()))
    scores = [
        passk.maj_at_k([c], ["7"], 40, 9, np.random.default_rng(3))
        for c in (counts, counts, turned)
    ]
    assert scores[0] == scores[1] == scores[2]


def test_maj_at_k_all_right_or_never_right():
    rng = np.random.default_rng(0)
    scores = passk.maj_at_k([{"1": 8}, {"2": 8}, {}], ["1", "1", "1"], 8, 4, rng)
    np.testing.assert_array_equal(scores, [1, 0, 0])


def test_maj_at_k_refuses():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="k is 9"):
        passk.maj_at_k([{"1": 8}], ["1"], 8, 9, rng)
    with pytest.raises(ValueError, match="problem 0: its answers count 9"):
        passk.maj_at_k([{"1": 9}], ["1"], 8, 4, rng)
    with pytest.raises(ValueError, match="1 answer counts for 2 right answers"):
        passk.maj_at_k([{"1": 8}], ["1", "2"], 8, 4, rng)
    with pytest.raises(ValueError, match="subsamples is 10; allowed: at least 200"):
        passk.maj_at_k([{"1": 8}], ["1"], 8, 4, rng, subsamples=10)


def test_jeffreys_logit():
    p = (np.arange(9) + 0.5) / 9
    np.testing.assert_allclose(passk.jeffreys_logit(np.arange(9), 8), np.log(p / (1 - p)))
    assert passk.jeffreys_logit(4, 8) == 0
