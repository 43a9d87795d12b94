"""Every metric of a frozen evaluation as one score per seed and problem.

`analysis` does the arithmetic; here stands which counts a metric's name means. A probe's metrics
are PROBE/VARIANT/METRIC.

Shape suffixes: S seeds, P problems (or facts).
"""

import math
from collections.abc import Callable, Mapping

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


def metric_scores(
    scores: Scores, ks: list[int], probe_ks: Mapping[str, list[int]], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Scores [S, P] by metric, all that this evaluation and its probes support.

    Args:
        scores: one arm after one stage.
        ks: the k of pass@k, each at most the samples drawn.
        probe_ks: those of each probe.
        rng: draws the subsamples of maj@k.
    """
    found = _own_scores(scores, ks)
    voters = vote_size(ks, scores.samples)
    votes = [_votes(scores, seed, voters, rng) for seed in range(len(scores.nodes))]
    found[f"maj@{voters}"] = np.array(votes)
    for (probe, variant), part in scores.probes.items():
        own = _own_scores(part, probe_ks[probe])
        found |= {f"{probe}/{variant}/{name}": score_SP for name, score_SP in own.items()}
    return found


def metric_range(metric: str) -> tuple[float, float]:
    """The smallest score that there can be, and the largest."""
    if metric.endswith("/slope"):
        return -math.inf, math.inf
    return 0.0, math.inf if metric.endswith("/nll") else 1.0


def metric_logits(scores: Scores, metric: str) -> np.ndarray:
    """Smoothed logits [S, P] of a metric that is a count per problem.

    Raises:
      ValueError: the metric is no count (pass@k, maj@k).
    """
    part, name = _part(scores, metric)
    count = {**SAMPLED, **ONCE}.get(name)
    if count is None:
        raise ValueError(
            f"metric {metric!r} has no logit per problem; allowed: {', '.join([*SAMPLED, *ONCE])}"
        )
    return passk.jeffreys_logit(count(part), _trials(part, name))


def metric_logit_limit(scores: Scores, metric: str) -> float:
    """The largest of such logits that there can be: of a problem that is always right."""
    trials = _trials(*_part(scores, metric))
    return float(passk.jeffreys_logit(trials, trials))


def _part(scores: Scores, metric: str) -> tuple[Scores, str]:
    """Whose metric it is, the evaluation's or a probe's, and what it is called there."""
    probe, variant, name = (*metric.split("/", 2), "", "")[:3]
    part = scores.probes.get((probe, variant))
    return (scores, metric) if part is None else (part, name)


def _trials(scores: Scores, name: str) -> int:
    return scores.samples if name in SAMPLED else 1


def _own_scores(scores: Scores, ks: list[int]) -> dict[str, np.ndarray]:
    """All but the votes."""
    n = scores.samples
    found = {name: count(scores) / n for name, count in SAMPLED.items()}
    found |= {name: count(scores) / 1 for name, count in ONCE.items() if count(scores).size}
    for k in ks:
        found[f"pass@{k}"] = passk.pass_at_k(scores.correct_SP, n, k)
        found[f"verified pass@{k}"] = passk.pass_at_k(scores.verified_SP, n, k)
    for level in sorted(set(scores.levels_P.tolist())):
        found[f"accuracy/{level}"] = found["accuracy"][:, scores.levels_P == level]
    for name, used_SP in zip(scores.strategies, scores.used_KSP, strict=True):
        found[f"share/{name}"] = used_SP / n
    if scores.nll_SP.size:
        found["nll"] = scores.nll_SP
    return found


def _votes(scores: Scores, seed: int, k: int, rng: np.random.Generator) -> np.ndarray:
    """maj@k [P] of one seed; a completion without an answer has no vote."""
    answers = [{a: c for a, c in given.items() if a} for given in scores.answers[seed]]
    return passk.maj_at_k(answers, scores.answer_P, scores.samples, k, rng)
