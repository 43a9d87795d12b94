"""Grading: completions to what the world's exact verifier says of them."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from bakein.data.tokenizers import Tokenizer
from bakein.data.worlds.world import Check, Problem, World
from bakein.rl.rollout import SamplerConfig
from bakein.rl.sampling import completion_texts, fixed_prompts, sample_completions


def check_texts(world: World, problem: Problem, texts: Sequence[str]) -> list[Check]:
    """The verifier's word on every completion of a problem; equal ones are checked once."""
    checks = {text: world.check(problem, text) for text in dict.fromkeys(texts)}
    return [checks[text] for text in texts]


def heldout_accuracy(
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
) -> float:
    """Share of right answers among `samples` completions of each problem: a point of the RL curve.

    The same key and problems at every call make the points of one curve comparable. Arguments as
    for `sample_completions`.
    """
    prompts = fixed_prompts(tokenizer, problems)
    drawn = sample_completions(
        decoder, params, *prompts, samples, key, config, rows=rows, sharding=sharding
    )
    texts = completion_texts(tokenizer, drawn.tokens_BT, drawn.length_B)
    right = [
        check.right
        for i, problem in enumerate(problems)
        for check in check_texts(world, problem, texts[i * samples : (i + 1) * samples])
    ]
    return float(np.mean(right))
