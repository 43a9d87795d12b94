"""The frozen evaluation: fixed problems, sampled and greedy completions, counts per problem.

It counts and never divides: accuracy, pass@k and intervals are made of its records by analysis.

Shapes: N problems, A prompts of each, G samples of each, P prompt slots.
"""

import collections
import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from bakein.data.tokenizers import EOS, PAD, Tokenizer
from bakein.data.worlds.world import Check, Problem, World, strategies_of
from bakein.rl.forcing import Forcing
from bakein.rl.grading import check_texts
from bakein.rl.rewards import is_verified
from bakein.rl.rollout import SamplerConfig
from bakein.rl.sampling import completion_texts, fixed_prompts, sample_prompts

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


class Prompts(NamedTuple):
    """What a model is asked about N problems: A prompts of each, that samples take in turn.

    Attributes:
        texts: [N][A], the prompts.
        prefill: the first characters of every completion, which the model is given.
        tokens_NAP: int32, both in tokens, padded on the right.
        segments_NAP: int32, 1 on them and 0 on padding.
    """

    texts: list[list[str]]
    prefill: str
    tokens_NAP: np.ndarray
    segments_NAP: np.ndarray


class _Drawn(NamedTuple):
    """The completions of one problem."""

    prompts: list[str]
    texts: list[str]
    checks: list[Check]
    truncated: int


def plain_prompts(tokenizer: Tokenizer, problems: Sequence[Problem]) -> Prompts:
    """The problems as they are."""
    tokens_NP, segments_NP = fixed_prompts(tokenizer, problems)
    texts = [[problem.prompt] for problem in problems]
    return Prompts(texts, "", tokens_NP[:, None], segments_NP[:, None])


def _draw(
    decoder,
    params,
    tokenizer,
    world,
    problems,
    prompts,
    key,
    config,
    *,
    temperature,
    samples,
    sharding,
    forcing,
) -> list[_Drawn]:
    sampler = SamplerConfig(
        max_new_tokens=config.max_new_tokens,
        temperature=temperature,
        top_k=0,
        top_p=1.0,
        stop_id=EOS,
        pad_id=PAD,
    )

    turns_G = np.arange(samples) % prompts.tokens_NAP.shape[1]
    arrays_NGP = (prompts.tokens_NAP[:, turns_G], prompts.segments_NAP[:, turns_G])
    calls = {"rows": config.rows, "sharding": sharding, "forcing": forcing}
    drawn = sample_prompts(decoder, params, *arrays_NGP, key, sampler, **calls)
    texts = completion_texts(tokenizer, drawn.tokens_BT, drawn.length_B)
    result = []
    for index, problem in enumerate(problems):
        own = slice(index * samples, (index + 1) * samples)
        asked = [prompts.texts[index][turn] for turn in turns_G]
        completions = [prompts.prefill + text for text in texts[own]]
        checks = check_texts(world, problem, completions)
        result.append(_Drawn(asked, completions, checks, int(drawn.truncated_B[own].sum())))
    return result


def _problem_record(index, problem, sampled, greedy, world) -> Record:
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
        **({"strategies": _strategies(sampled, world)} if strategies_of(world) else {}),
    }


def _strategies(sampled, world) -> dict[str, list[int]]:
    """How many samples followed each of the world's strategies, and how many of them are right."""
    counts = {name: [0, 0] for name in world.strategies}
    for text, check in zip(sampled.texts, sampled.checks, strict=True):
        used_right = counts[world.strategy(text)]
        used_right[0] += 1
        used_right[1] += check.right
    return counts


def _shown(index, problem, sampled, greedy) -> list[Record]:
    """The greedy completion, the first right sample and the first wrong one, where there is one."""
    kept = [("greedy", greedy, 0)]
    for right in (True, False):
        places = (i for i, check in enumerate(sampled.checks) if check.right is right)
        kept += [("sample", sampled, place) for place in places][:1]
    return [
        {
            "problem": index,
            "level": problem.level,
            "prompt": drawn.prompts[place],
            "completion": drawn.texts[place],
            "answer": problem.answer,
            "right": drawn.checks[place].right,
            "format": drawn.checks[place].format,
            "steps": list(drawn.checks[place].steps),
            "kind": kind,
        }
        for kind, drawn, place in kept
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
    prompts: Prompts | None = None,
    forcing: Forcing | None = None,
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
        prompts: what the model is asked; None asks the problems as they are. Sample g is of prompt
            g mod A, the greedy completion of the first.
        forcing: what completions are made to write; None leaves them free.
        sharding: of the rows over a mesh; None leaves them on the default device.

    Returns:
        one record per problem, and the samples kept of the first `shown` problems of each level.
    """
    prompts = plain_prompts(tokenizer, problems) if prompts is None else prompts
    draw = [decoder, params, tokenizer, world, problems, prompts, key, config]
    how = {"sharding": sharding, "forcing": forcing}
    sampled = _draw(*draw, temperature=1.0, samples=config.samples, **how)
    greedy = _draw(*draw, temperature=0.0, samples=1, **how)
    records, samples = [], []
    seen = collections.Counter()
    for index, (problem, many, one) in enumerate(zip(problems, sampled, greedy, strict=True)):
        records.append(_problem_record(index, problem, many, one, world))
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
    draw = [decoder, params, tokenizer, world, facts, plain_prompts(tokenizer, facts), key, config]
    greedy = _draw(*draw, temperature=0.0, samples=1, sharding=sharding, forcing=None)
    return [
        {"fact": index, "recalled": int(one.checks[0].right)} for index, one in enumerate(greedy)
    ]
