"""Sampling problems: prompts to completions, in calls of one fixed size.

Shapes: N problems, G completions of each, R rows of one call, P prompt slots, T new tokens.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bakein.data.prompts import encode_prompts
from bakein.data.tokenizers import BOS, EOS, PAD, Tokenizer
from bakein.data.worlds.world import Problem
from bakein.rl.rollout import Rollout, SamplerConfig, rollout

# Stands for a special token inside a completion, which `decode` alone would hide from a verifier.
SPECIAL = "\ufffd"


def fixed_prompts(
    tokenizer: Tokenizer, problems: Sequence[Problem]
) -> tuple[np.ndarray, np.ndarray]:
    """Tokens and segments of the prompts of a fixed list, as wide as its longest prompt.

    Prompts that change from call to call need a fixed width instead, or each call compiles anew.
    """
    texts = [problem.prompt for problem in problems]
    width = max((1 + len(tokenizer.encode(text)) for text in texts), default=1)
    return encode_prompts(tokenizer, texts, width)


def completion_text(tokenizer: Tokenizer, tokens_T: np.ndarray, length: int) -> str:
    """The text of one completion, without its stop token.

    A special token anywhere else shows as U+FFFD, so it cannot pass for a well-formed answer.
    """
    ids = tokens_T[:length].tolist()
    if ids and ids[-1] == EOS:
        ids.pop()
    parts, part = [], []
    for token in ids:
        if token in (PAD, BOS, EOS):
            parts.append(part)
            part = []
        else:
            part.append(token)
    return SPECIAL.join(tokenizer.decode(part) for part in [*parts, part])


def completion_texts(tokenizer: Tokenizer, tokens_BT, length_B) -> list[str]:
    """The text of every completion; rows that are equal are decoded once."""
    decoded: dict[bytes, str] = {}
    texts = []
    for tokens_T, length in zip(np.asarray(tokens_BT), np.asarray(length_B), strict=True):
        row = tokens_T[:length].tobytes()
        if row not in decoded:
            decoded[row] = completion_text(tokenizer, tokens_T, length)
        texts.append(decoded[row])
    return texts


@functools.partial(jax.jit, static_argnames=("decoder", "config"))
def sample_rows(
    decoder: Any,
    params: Any,
    tokens_RP: jax.Array,
    segments_RP: jax.Array,
    problem_R: jax.Array,
    sample_R: jax.Array,
    key: jax.Array,
    config: SamplerConfig,
) -> Rollout:
    """One call of the sampler; a row's key is made of its problem's and its sample's number."""

    def row_key(problem, sample):
        return jax.random.fold_in(jax.random.fold_in(key, problem), sample)

    keys_R = jax.vmap(row_key)(problem_R, sample_R)
    return rollout(decoder, params, tokens_RP, segments_RP, keys_R, config)


def sample_completions(
    decoder: Any,
    params: Any,
    tokens_NP: np.ndarray,
    segments_NP: np.ndarray,
    samples: int,
    key: jax.Array,
    config: SamplerConfig,
    *,
    rows: int,
    sharding: jax.sharding.Sharding | None = None,
) -> Rollout:
    """Draws `samples` completions of every prompt, `rows` at a time, with one compilation.

    Completion g of prompt n is a function of (params, prompt n, key, n, g) and the config alone:
    neither `rows` nor `samples` nor the other prompts change it, except that another shape may
    round the logits differently in their last bits.

    Args:
        decoder: the Linen decoder.
        params: its parameters.
        tokens_NP: int32 prompts, padded on the right.
        segments_NP: int32, 1 on the prompts and 0 on padding.
        samples: G, at least 1.
        key: one typed random key.
        config: how to draw.
        rows: rows of one call of the device; the last call is filled up with empty rows, which
            do not keep the loop going.
        sharding: of the rows over a mesh; None leaves them on the default device.

    Returns:
        the completions as numpy arrays, N * G rows, those of one prompt next to each other.

    Raises:
        ValueError: for no prompts, or samples or rows below 1.
    """
    count = len(tokens_NP)
    if count < 1 or samples < 1 or rows < 1:
        raise ValueError(
            f"sampling got prompts={count}, samples={samples}, rows={rows}; each must be >= 1"
        )
    total = count * samples
    padding = -total % rows

    def repeat(array_NP):
        return np.pad(np.repeat(array_NP, samples, axis=0), ((0, padding), (0, 0)))

    problem_B, sample_B = np.divmod(np.arange(total + padding, dtype=np.int32), samples)
    arrays = [repeat(tokens_NP), repeat(segments_NP), problem_B, sample_B]
    parts = []
    for start in range(0, total, rows):
        chunk = [array[start : start + rows] for array in arrays]
        chunk = [jnp.asarray(a) if sharding is None else jax.device_put(a, sharding) for a in chunk]
        # Not fetched yet: the next call is sent off while this one computes.
        parts.append(sample_rows(decoder, params, *chunk, key, config))
    parts = jax.device_get(parts)
    return jax.tree.map(lambda *arrays: np.concatenate(arrays)[:total], *parts)
