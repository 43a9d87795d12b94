"""Grading: completions to what the world's exact verifier says of them."""

from collections.abc import Sequence
from typing import Any

import jax

from bakein.data.tokenizers import Tokenizer
from bakein.data.worlds.world import Check, Problem, World
from bakein.rl.rollout import SamplerConfig
from bakein.rl.sampling import completion_texts, fixed_prompts, sample_completions


def check_texts(world: World, problem: Problem, texts: Sequence[str]) -> list[Check]:
    """The verifier's word on every completion of a problem; equal ones are checked once.

    Raises:
        TypeError: the world's check did not answer with bools, which is what is written down.
    """
    checks = {text: world.check(problem, text) for text in dict.fromkeys(texts)}
    for check in checks.values():
        if not all(type(said) is bool for said in (check.right, check.format, *check.steps)):
            raise TypeError(f"{type(world).__name__}.check gave {check}; it must be of bools")
    return [checks[text] for text in texts]


def heldout_shares(
    decoder: Any,
    params: Any,
    tokenizer: Tokenizer,
    world: World,
    problems: Sequence[Problem],
    samples: int,
    key: jax.Array,
    config: SamplerConfig,
    *,
    rows: int,
    sharding: jax.sharding.Sharding | None = None,
) -> list[float]:
    """Share of right answers among `samples` completions, by problem: a point of the RL curve.

    The same key and problems at every call make the points of one curve comparable. Arguments as
    for `sample_completions`.
    """
    prompts = fixed_prompts(tokenizer, problems)
    drawn = sample_completions(
        decoder, params, *prompts, samples, key, config, rows=rows, sharding=sharding
    )
    texts = completion_texts(tokenizer, drawn.tokens_BT, drawn.length_B)
    checks = [
        check_texts(world, problem, texts[i * samples : (i + 1) * samples])
        for i, problem in enumerate(problems)
    ]
    return [sum(check.right for check in own) / samples for own in checks]
