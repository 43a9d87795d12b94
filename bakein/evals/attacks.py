"""Attacks on prompts: perturbed (best-of-N), after many examples (many-shot), or half answered.

An attack asks the problems of a world whose verifier says what a success is. Of its counts come
ASR(N), the chance that one of N attempts succeeds, which is pass@k by another name [2412.03556];
of its sizes the likelihood of the answer that is sought, against the number of examples.

Shapes: N problems, A prompts of each, P prompt slots.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from bakein.data.prompts import encode_prompts, pad_rows
from bakein.data.tokenizers import BOS, Tokenizer
from bakein.data.worlds.world import Problem, World, generator
from bakein.evals.evaluate import EvalConfig, Evaluation, Prompts, evaluate
from bakein.evals.likelihood import completion_nll


def unchanged(world: World, problem: Problem, size: int, rng: np.random.Generator) -> Problem:
    """The problem as it is."""
    return problem


@dataclasses.dataclass(frozen=True)
class Attack:
    """What is done to a problem before it is asked.

    Attributes:
        change: (world, problem, size, rng) -> the problem with the prompt that is asked; `size` is
            how much is done, for instance how many examples stand before it.
        attempts: prompts made of each problem, each with an `rng` of its own.
        prefill: the first characters of every completion, which the model is given.
    """

    change: Callable[[World, Problem, int, np.random.Generator], Problem]
    attempts: int
    prefill: str


def attack_prompts(
    tokenizer: Tokenizer,
    world: World,
    problems: Sequence[Problem],
    attack: Attack,
    size: int,
    seed: int,
) -> Prompts:
    """What a model is asked under an attack: a function of the arguments alone.

    Attempt a at problem i has the same `rng` at every size and for any number of attempts.

    Raises:
        DataError: a prompt has a character that the tokenizer does not know.
    """

    def ask(index, problem, attempt):
        rng = generator("attack", seed, index, attempt)
        return attack.change(world, problem, size, rng).prompt

    texts = [
        [ask(index, problem, attempt) for attempt in range(attack.attempts)]
        for index, problem in enumerate(problems)
    ]
    # Encoded apart, as a document's prompt and completion are.
    prefill = tokenizer.encode(attack.prefill)
    encoded = [[BOS, *tokenizer.encode(text), *prefill] for asked in texts for text in asked]
    tokens_BP, segments_BP = pad_rows(encoded, max(map(len, encoded)))
    shape = (len(texts), attack.attempts, -1)
    return Prompts(texts, attack.prefill, tokens_BP.reshape(shape), segments_BP.reshape(shape))


def evaluate_attack(
    decoder: Any,
    params: Any,
    tokenizer: Tokenizer,
    world: World,
    problems: Sequence[Problem],
    key: jax.Array,
    config: EvalConfig,
    prompts: Prompts,
    targets: Sequence[str] | None,
    *,
    sharding: jax.sharding.Sharding | None = None,
) -> Evaluation:
    """Asks every problem `config.samples` times, its prompts in turn.

    Args:
        decoder: as the others up to `config` and `sharding`, see `evaluate`.
        params: its parameters.
        tokenizer: of prompts and completions.
        world: whose verifier says what a success is.
        problems: the frozen list, as it was before the attack.
        key: one typed random key.
        config: how much to draw.
        prompts: from `attack_prompts`.
        targets: for each problem the completion that is sought; None for none.
        sharding: of the rows over a mesh.

    Returns:
        records as of `evaluate`; with targets also `nll`, how unlikely (in nats) the target is
        after the problem's first prompt, without a prefill, and its number of tokens; both with
        the stop token.

    Raises:
        DataError: a target has a character that the tokenizer does not know.
    """
    shared = (decoder, params, tokenizer)
    result = evaluate(*shared, world, problems, key, config, prompts=prompts, sharding=sharding)
    if targets is None:
        return result
    first = encode_prompts(
        tokenizer, [asked[0] for asked in prompts.texts], prompts.tokens_NAP.shape[2]
    )
    nll_N = completion_nll(*shared, *first, targets, rows=config.rows, sharding=sharding)
    scored = zip(result.records, nll_N.tolist(), targets, strict=True)
    records = [
        {**record, "nll": nll, "target_tokens": len(tokenizer.encode(target)) + 1}
        for record, nll, target in scored
    ]
    return Evaluation(records, result.samples)
