"""The likelihood of given completions: how surely a model would write exactly this.

Shapes: B rows, P prompt slots, C tokens of the longest completion, V vocabulary.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bakein.data.prompts import pad_rows
from bakein.data.tokenizers import EOS, Tokenizer
from bakein.model import score_positions
from bakein.rl.rollout import prefill, token_logprobs
from bakein.rl.sampling import in_calls


@functools.partial(jax.jit, static_argnames="decoder")
def completion_logprobs(
    decoder: Any,
    params: Any,
    tokens_BP: jax.Array,
    segments_BP: jax.Array,
    completion_BC: jax.Array,
    mask_BC: jax.Array,
) -> jax.Array:
    """Log-probability of each completion after its prompt, at temperature 1: float32 [B], in nats.

    Args:
        decoder: the Linen decoder; static.
        params: its parameters.
        tokens_BP: int32 prompts, padded on the right.
        segments_BP: int32, 1 on the prompt and 0 on padding.
        completion_BC: int32 completions, padded on the right.
        mask_BC: int32, 1 on the completion and 0 on padding.
    """
    columns = completion_BC.shape[1]
    # Prompts stay in the cache, so that only the completions' logits are ever made.
    cache, token_B, last_B = prefill(decoder, params, tokens_BP, segments_BP, columns)
    read_BC = jnp.concatenate([token_B[:, None], completion_BC[:, :-1]], axis=1)
    positions_BC = last_B[:, None] + jnp.arange(columns)
    inputs = read_BC, positions_BC, mask_BC
    logprobs_BC = score_positions(
        decoder, params, *inputs, token_logprobs, completion_BC, cache=cache
    )
    return jnp.sum(logprobs_BC * mask_BC, axis=1)


def completion_nll(
    decoder: Any,
    params: Any,
    tokenizer: Tokenizer,
    tokens_BP: np.ndarray,
    segments_BP: np.ndarray,
    completions: Sequence[str],
    *,
    rows: int,
    sharding: jax.sharding.Sharding | None = None,
) -> np.ndarray:
    """Negative log-likelihood of each text after its prompt, its stop token included.

    exp(−NLL) is the probability that the model, at temperature 1, writes this text and stops.

    Args:
        decoder: the Linen decoder.
        params: its parameters.
        tokenizer: of the texts.
        tokens_BP: int32 prompts, padded on the right.
        segments_BP: int32, 1 on the prompts and 0 on padding.
        completions: one text per prompt.
        rows: rows of one call of the device.
        sharding: of the rows over a mesh; None leaves them on the default device.

    Returns:
        float32 [B], in nats.
    """
    encoded = [[*tokenizer.encode(text), EOS] for text in completions]
    completion_BC, mask_BC = pad_rows(encoded, max(map(len, encoded)))
    arrays = [tokens_BP, segments_BP, completion_BC, mask_BC]
    logprob_B = in_calls(
        lambda *arrays_R: completion_logprobs(decoder, params, *arrays_R), arrays, rows, sharding
    )
    return -logprob_B
