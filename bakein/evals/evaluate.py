"""The frozen evaluation: fixed problems, sampled and greedy completions, counts per problem.

It counts and never divides: accuracy, pass@k and intervals are made of its records by analysis.
"""

import collections
import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax

from bakein.data.tokenizers import EOS, PAD, Tokenizer
from bakein.data.worlds.world import Check, Problem, World
from bakein.rl.grading import check_texts
from bakein.rl.rewards import is_verified
from bakein.rl.rollout import SamplerConfig
from bakein.rl.sampling import completion_texts, fixed_prompts, sample_completions

Record = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    """How a stage is evaluated; the same for every stage of a study.

    Attributes:
        samples: completions drawn per problem at temperature 1.
        max_new_tokens: tokens per completion at most.
        rows: rows of one call of the device.
        shown: problems per level whose completions are kept to be read in the report.

    Raises:
        ValueError: for a value out of range.
    """

    samples: int
    max_new_tokens: int
    rows: int
    shown: int

    def __post_init__(self):
        for name, least in (("samples", 1), ("max_new_tokens", 1), ("rows", 1), ("shown", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"eval {name} is {getattr(self, name)}; it must be >= {least}")


class Evaluation(NamedTuple):
    """Lines for the stage's records and for its samples, all plain JSON values."""

    records: list[Record]
    samples: list[Record]


class _Drawn(NamedTuple):
    """The completions of one problem."""

    texts: list[str]
    checks: list[Check]
    truncated: int


def _draw(
    decoder, params, tokenizer, world, problems, key, config, *, temperature, samples, sharding
) -> list[_Drawn]:
    sampler = SamplerConfig(
        max_new_tokens=config.max_new_tokens,
        temperature=temperature,
        top_k=0,
        top_p=1.0,
        stop_id=EOS,
        pad_id=PAD,
    )
    prompts = fixed_prompts(tokenizer, problems)
    drawn = sample_completions(
        decoder, params, *prompts, samples, key, sampler, rows=config.rows, sharding=sharding
    )
    texts = completion_texts(tokenizer, drawn.tokens_BT, drawn.length_B)
    result = []
    for start, problem in zip(range(0, len(texts), samples), problems, strict=True):
        own = slice(start, start + samples)
        checks = check_texts(world, problem, texts[own])
        result.append(_Drawn(texts[own], checks, int(drawn.truncated_B[own].sum())))
    return result


def _problem_record(index, problem, sampled, greedy) -> Record:
    answers = collections.Counter(check.answer for check in sampled.checks)
    return {
        "problem": index,
        "level": problem.level,
        "n": len(sampled.texts),
        "correct": sum(check.right for check in sampled.checks),
        "verified": sum(is_verified(problem, check) for check in sampled.checks),
        "format": sum(check.format for check in sampled.checks),
        "truncated": sampled.truncated,
        "greedy": int(greedy.checks[0].right),
        "greedy_format": int(greedy.checks[0].format),
        "answer": problem.answer,
        # Sorted, so that equal counts are equal lines.
        "answers": dict(sorted(answers.items())),
    }


def _shown(index, problem, sampled, greedy) -> list[Record]:
    """The greedy completion, the first right sample and the first wrong one, where there is one."""
    kept = [("greedy", greedy.texts[0], greedy.checks[0])]
    for right in (True, False):
        of_kind = zip(sampled.texts, sampled.checks, strict=True)
        first = next(((t, c) for t, c in of_kind if c.right is right), None)
        if first:
            kept.append(("sample", *first))
    return [
        {
            "problem": index,
            "level": problem.level,
            "prompt": problem.prompt,
            "completion": text,
            "answer": problem.answer,
            "right": check.right,
            "format": check.format,
            "steps": list(check.steps),
            "kind": kind,
        }
        for kind, text, check in kept
    ]


def evaluate(
    decoder: Any,
    params: Any,
    tokenizer: Tokenizer,
    world: World,
    problems: Sequence[Problem],
    key: jax.Array,
    config: EvalConfig,
    *,
    sharding: jax.sharding.Sharding | None = None,
) -> Evaluation:
    """Evaluates one model on fixed problems, with samples at temperature 1 and greedily.

    The same model, problems and key give the same lines. Sample g of problem i is drawn with a
    key made of (key, i, g), so neither `rows` nor further samples change it.

    Args:
        decoder: the Linen decoder.
        params: its parameters.
        tokenizer: of prompts and completions.
        world: whose verifier checks them.
        problems: the frozen list; a record's `problem` is the index in it.
        key: one typed random key, the same for every stage of a study and seed.
        config: how much to draw.
        sharding: of the rows over a mesh; None leaves them on the default device.

    Returns:
        one record per problem, and the samples kept of the first `shown` problems of each level.
    """
    draw = [decoder, params, tokenizer, world, problems, key, config]
    sampled = _draw(*draw, temperature=1.0, samples=config.samples, sharding=sharding)
    greedy = _draw(*draw, temperature=0.0, samples=1, sharding=sharding)
    records, samples = [], []
    seen = collections.Counter()
    for index, (problem, many, one) in enumerate(zip(problems, sampled, greedy, strict=True)):
        records.append(_problem_record(index, problem, many, one))
        if seen[problem.level] < config.shown:
            samples += _shown(index, problem, many, one)
        seen[problem.level] += 1
    return Evaluation(records, samples)


def recall_facts(
    decoder: Any,
    params: Any,
    tokenizer: Tokenizer,
    world: World,
    facts: Sequence[Problem],
    key: jax.Array,
    config: EvalConfig,
    *,
    sharding: jax.sharding.Sharding | None = None,
) -> list[Record]:
    """Asks for every fact once, greedily: one record per fact, 1 where its value was recalled.

    Arguments as for `evaluate`, `world` being the facts' own.
    """
    draw = [decoder, params, tokenizer, world, facts, key, config]
    greedy = _draw(*draw, temperature=0.0, samples=1, sharding=sharding)
    return [
        {"fact": index, "recalled": int(one.checks[0].right)} for index, one in enumerate(greedy)
    ]
