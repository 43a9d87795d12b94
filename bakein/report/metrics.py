"""Every metric of a frozen evaluation as one score per seed and problem.

`analysis` does the arithmetic; here stands which counts a metric's name means.

Shape suffixes: S seeds, P problems (or facts).
"""

from collections.abc import Callable

import numpy as np

from bakein.analysis import passk
from bakein.report.scores import Scores

# Counts out of the evaluation's samples, and out of one greedy completion.
SAMPLED: dict[str, Callable[[Scores], np.ndarray]] = {
    "accuracy": lambda scores: scores.correct_SP,
    "verified": lambda scores: scores.verified_SP,
    "format": lambda scores: scores.format_SP,
    "truncation": lambda scores: scores.truncated_SP,
}
ONCE: dict[str, Callable[[Scores], np.ndarray]] = {
    "greedy": lambda scores: scores.greedy_SP,
    "recall": lambda scores: scores.recalled_SF,
}


def vote_size(ks: list[int], samples: int) -> int:
    """The k of maj@k and of expansion: the largest with n ≥ 2k, so that subsamples differ."""
    return max((k for k in ks if 2 * k <= samples), default=1)


def metric_scores(scores: Scores, ks: list[int], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Scores [S, P] by metric, all that this evaluation supports.

    Args:
        scores: one arm after one stage.
        ks: the k of pass@k, each at most the samples drawn.
        rng: draws the subsamples of maj@k.
    """
    n = scores.samples
    found = {name: count(scores) / n for name, count in SAMPLED.items()}
    found |= {name: count(scores) / 1 for name, count in ONCE.items() if count(scores).size}
    for k in ks:
        found[f"pass@{k}"] = passk.pass_at_k(scores.correct_SP, n, k)
        found[f"verified pass@{k}"] = passk.pass_at_k(scores.verified_SP, n, k)
    for level in sorted(set(scores.levels_P.tolist())):
        found[f"accuracy/{level}"] = found["accuracy"][:, scores.levels_P == level]
    voters = vote_size(ks, n)
    votes = [_votes(scores, seed, voters, rng) for seed in range(len(scores.nodes))]
    found[f"maj@{voters}"] = np.array(votes)
    return found


def metric_logits(scores: Scores, metric: str) -> np.ndarray:
    """Smoothed logits [S, P] of a metric that is a count per problem.

    Raises:
      ValueError: the metric is no count (pass@k, maj@k).
    """
    count = {**SAMPLED, **ONCE}.get(metric)
    if count is None:
        raise ValueError(
            f"metric {metric!r} has no logit per problem; allowed: {', '.join([*SAMPLED, *ONCE])}"
        )
    return passk.jeffreys_logit(count(scores), _trials(scores, metric))


def metric_logit_limit(scores: Scores, metric: str) -> float:
    """The largest of such logits that there can be: of a problem that is always right."""
    trials = _trials(scores, metric)
    return float(passk.jeffreys_logit(trials, trials))


def _trials(scores: Scores, metric: str) -> int:
    return scores.samples if metric in SAMPLED else 1


def _votes(scores: Scores, seed: int, k: int, rng: np.random.Generator) -> np.ndarray:
    """maj@k [P] of one seed; a completion without an answer has no vote."""
    answers = [{a: c for a, c in given.items() if a} for given in scores.answers[seed]]
    return passk.maj_at_k(answers, scores.answer_P, scores.samples, k, rng)
