"""Scores of problems from counts of right samples: pass@k, maj@k and the smoothed logit.

Legend: any leading shape is kept; `correct` holds, for each problem, how many of its n samples were
right. The process-verified variant of a score is the same function on another count: the samples
whose every step and answer are right.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike


def check_counts(correct: ArrayLike, n: int) -> np.ndarray:
    """The counts as an array: integers in 0..n, or a ValueError that says what they are."""
    counts = np.asarray(correct)
    if n < 1:
        raise ValueError(f"n is {n}; a problem needs at least 1 sample")
    if not np.issubdtype(counts.dtype, np.integer):
        raise ValueError(f"counts are {counts.dtype}; they must be integers")
    if counts.size and not (counts.min() >= 0 and counts.max() <= n):
        raise ValueError(f"counts span {counts.min()}..{counts.max()}; allowed: 0..n = 0..{n}")
    return counts


def _check_k(k: int, n: int) -> None:
    if not 1 <= k <= n:
        raise ValueError(f"k is {k}; allowed: 1..n = 1..{n} (the samples of each problem)")


def pass_at_k(correct: ArrayLike, n: int, k: int) -> np.ndarray:
    """Unbiased estimate of P(at least one of k samples is right), per problem (metric 1).

    1 − C(n−c, k)/C(n, k) = 1 − ∏_{j=n−c+1..n} (1 − k/j)  [Chen et al., arXiv 2107.03374].

    Args:
        correct: integers in 0..n, any shape.
        n: samples of each problem; prefer n ≥ 2k, for k = n the estimate is 0 or 1.
        k: attempts.

    Returns:
        float64 of the shape of `correct`, in [0, 1].

    Raises:
        ValueError: n < k, k < 1, or a count outside 0..n.
    """
    counts = check_counts(correct, n)
    _check_k(k, n)
    # A product over j > n − c depends on c alone: one cumulative product answers every problem.
    factors = np.maximum(0.0, 1.0 - k / np.arange(n, 0, -1))
    fail_by_count = np.concatenate([[1.0], np.cumprod(factors)])
    return 1.0 - fail_by_count[counts]


def chance_floor(right: Sequence[str], k: int) -> float:
    """pass@k of guessing: the mean over problems of 1 − (1 − g)^k.

    Args:
        right: the right answer of each problem. Guesses are as frequent as right answers are among
            the other problems: g is their share that has the same.
        k: guesses, at least 1.
    """
    if k < 1:
        raise ValueError(f"k is {k}; allowed: at least 1")
    if len(right) < 2:
        return 0.0
    counts = Counter(right)
    guess_P = np.array([counts[answer] - 1 for answer in right]) / (len(right) - 1)
    return float(np.mean(1 - (1 - guess_P) ** k))


def maj_at_k(
    answers: Sequence[Mapping[str, int]],
    right: Sequence[str],
    n: int,
    k: int,
    rng: np.random.Generator,
    subsamples: int = 200,
) -> np.ndarray:
    """P(the most frequent answer of k samples is right), per problem (metric 2).

    The mean over `subsamples` draws of k of the n samples, without replacement. Ties are broken at
    random: the average over that coin (1/number tied) is taken, which has the same mean and less
    noise. A sample without an answer does not vote; where nobody votes the problem counts as wrong.

    Args:
        answers: per problem, how many of its n samples gave each answer; they may sum to less
            than n, the rest gave no answer.
        right: per problem, the right answer, spelt as in `answers`.
        n: samples of each problem.
        k: voters.
        rng: the source of subsamples.
        subsamples: at least 200.

    Returns:
        float64 [problems], in [0, 1].

    Raises:
        ValueError: lengths differ, more answers than n, n < k, or fewer than 200 subsamples.
    """
    _check_k(k, n)
    if subsamples < 200:
        raise ValueError(f"subsamples is {subsamples}; allowed: at least 200")
    if len(answers) != len(right):
        raise ValueError(f"{len(answers)} answer counts for {len(right)} right answers")
    scores = np.zeros(len(right))
    for i, (counter, gold) in enumerate(zip(answers, right, strict=True)):
        voted = sorted(counter)  # the order of a dictionary must not change the draws
        counts = [counter[answer] for answer in voted]
        if min(counts, default=0) < 0 or sum(counts) > n:
            raise ValueError(f"problem {i}: its answers count {sum(counts)}; allowed: 0..n = {n}")
        if counter.get(gold, 0) == 0:
            continue
        silent = n - sum(counts)
        votes = rng.multivariate_hypergeometric([*counts, silent], k, size=subsamples)[:, :-1]
        most = votes.max(axis=1, keepdims=True)
        winners = (votes == most) & (most > 0)
        wins = winners[:, voted.index(gold)]
        scores[i] = np.mean(wins / np.maximum(1, winners.sum(axis=1)))
    return scores


def jeffreys_logit(correct: ArrayLike, n: int) -> np.ndarray:
    """The logit ln p/(1−p), smoothed by Jeffreys: p = (c + ½)/(n + 1), finite at c = 0 and n.

    Args:
        correct: integers in 0..n, any shape.
        n: samples of each problem.

    Returns:
        float64 of the shape of `correct`, in nats.

    Raises:
        ValueError: a count outside 0..n.
    """
    counts = check_counts(correct, n)
    return np.log((counts + 0.5) / (n - counts + 0.5))
