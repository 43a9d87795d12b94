"""Sampling problems: prompts to completions, in calls of one fixed size.

Shapes: N problems, G completions of each, B = N · G rows, R rows of one call, P prompt slots, T new
tokens.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bakein import processes
from bakein.data.prompts import encode_prompts
from bakein.data.tokenizers import BOS, EOS, PAD, Tokenizer
from bakein.data.worlds.world import Problem
from bakein.rl.forcing import Forcing
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
    forcing: Forcing | None = None,
) -> Rollout:
    """One call of the sampler; a row's key is made of its problem's and its sample's number."""

    def row_key(problem, sample):
        return jax.random.fold_in(jax.random.fold_in(key, problem), sample)

    keys_R = jax.vmap(row_key)(problem_R, sample_R)
    return rollout(decoder, params, tokens_RP, segments_RP, keys_R, config, forcing)


def in_calls(
    call: Callable[..., Any],
    arrays: Sequence[np.ndarray],
    rows: int,
    sharding: jax.sharding.Sharding | None,
) -> Any:
    """Computes on `rows` rows at a time, with one compilation, what is too much for one call.

    Args:
        call: a jitted function of arrays of `rows` rows.
        arrays: its arguments, of any number of rows B; the last call is filled up with zeros.
        rows: rows of one call, at least 1.
        sharding: of the rows over a mesh; None leaves them on the default device.

    Returns:
        what `call` returns, as numpy arrays of B rows.
    """
    total = len(arrays[0])

    def fill(array_B):
        return np.pad(array_B, [(0, -total % rows), *[(0, 0)] * (array_B.ndim - 1)])

    arrays, parts = [fill(array_B) for array_B in arrays], []
    for start in range(0, total, rows):
        chunk = [array[start : start + rows] for array in arrays]
        if sharding is None:
            chunk = [jnp.asarray(array) for array in chunk]
        else:
            chunk = processes.place(chunk, sharding)
        # Not fetched yet: the next call is sent off while this one computes.
        parts.append(call(*chunk))
    parts = processes.fetch(parts)
    return jax.tree.map(lambda *arrays: np.concatenate(arrays)[:total], *parts)


def sample_prompts(
    decoder: Any,
    params: Any,
    tokens_NGP: np.ndarray,
    segments_NGP: np.ndarray,
    key: jax.Array,
    config: SamplerConfig,
    *,
    rows: int,
    sharding: jax.sharding.Sharding | None = None,
    forcing: Forcing | None = None,
) -> Rollout:
    """Draws one completion of every prompt: G prompts of each of N problems.

    Completion g of problem n is a function of (params, its prompt, key, n, g), the config and the
    forcing alone: neither `rows` nor the other prompts change it, except that another shape may
    round the logits differently in their last bits.

    Args:
        decoder: the Linen decoder.
        params: its parameters.
        tokens_NGP: int32 prompts, padded on the right.
        segments_NGP: int32, 1 on the prompts and 0 on padding.
        key: one typed random key.
        config: how to draw.
        rows: rows of one call of the device; the last call is filled up with empty rows, which
            do not keep the loop going.
        sharding: of the rows over a mesh; None leaves them on the default device.
        forcing: what completions are made to write; None leaves them free.

    Returns:
        the completions as numpy arrays, N * G rows, those of one problem next to each other.

    Raises:
        ValueError: for no prompts, or rows below 1.
    """
    problems, samples, slots = tokens_NGP.shape
    if problems < 1 or samples < 1 or rows < 1:
        raise ValueError(
            f"sampling got prompts={problems}, samples={samples}, rows={rows}; each must be >= 1"
        )
    prompts = [array_NGP.reshape(-1, slots) for array_NGP in (tokens_NGP, segments_NGP)]
    numbers = np.divmod(np.arange(problems * samples, dtype=np.int32), samples)

    def call(*arrays_R):
        return sample_rows(decoder, params, *arrays_R, key, config, forcing)

    return in_calls(call, [*prompts, *numbers], rows, sharding)


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
    """Draws `samples` completions of every prompt [N, P]; `samples` does not change the first ones.

    Other arguments, result and errors as for `sample_prompts`.
    """
    prompts = [
        np.broadcast_to(array_NP[:, None], (len(array_NP), samples, array_NP.shape[1]))
        for array_NP in (tokens_NP, segments_NP)
    ]
    return sample_prompts(decoder, params, *prompts, key, config, rows=rows, sharding=sharding)
