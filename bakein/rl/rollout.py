"""The sampler: one prefill, then a decode loop that ends when every row has stopped.

Shapes: B rows, P prompt slots, T new tokens at most, V vocabulary.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from bakein.model import Cache, init_cache
from bakein.rl.forcing import Forcing, begin, force

DECODE = "decode"  # names the decode loop's operations, in profiles and plans


@dataclasses.dataclass(frozen=True)
class SamplerConfig:
    """How completions are drawn; hashable, so it is a static argument under `jax.jit`.

    The logits are divided by the temperature, then the `top_k` likeliest tokens are kept, then of
    those the likeliest whose probabilities sum to at least `top_p`. What is off costs nothing.

    Attributes:
        max_new_tokens: tokens drawn per row at most, the stop token included; at least 1.
        temperature: 1 draws from the model as it is, 0 takes the likeliest token.
        top_k: number of tokens kept; 0 is off. Of equal tokens the lower id is kept.
        top_p: probability mass kept, in (0, 1]; 1 is off.
        stop_id: the token that ends a completion and belongs to it.
        pad_id: the token written after the end.

    Raises:
        ValueError: for a value out of range.
    """

    max_new_tokens: int
    temperature: float
    top_k: int
    top_p: float
    stop_id: int
    pad_id: int

    def __post_init__(self):
        if self.max_new_tokens < 1:
            raise ValueError(f"sampler max_new_tokens is {self.max_new_tokens}; it must be >= 1")
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"sampler temperature is {self.temperature}; it must be >= 0")
        if self.top_k < 0:
            raise ValueError(f"sampler top_k is {self.top_k}; it must be >= 0 (0 is off)")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"sampler top_p is {self.top_p}; it must be in (0, 1] (1 is off)")


class Rollout(NamedTuple):
    """Completions and what the sampler knew of them.

    Attributes:
        tokens_BT: int32, the completion with its stop token, then `pad_id`.
        policy_logprobs_BT: float32, log-probability of each token under the policy, the model at
            the sampler's temperature (at 0: the plain model), before top-k and top-p. It is
            defined for every token at all parameters, so this is what the learner compares with.
        mask_BT: float32, 1 on the tokens that the row chose, up to and including its stop token; 0
            on forced tokens, which nothing may learn from and whose log-probabilities here are 0.
        truncated_B: bool, the row reached its limit without a stop token.
        length_B: int32, number of tokens in the completion.
    """

    tokens_BT: jax.Array
    policy_logprobs_BT: jax.Array
    mask_BT: jax.Array
    truncated_B: jax.Array
    length_B: jax.Array


def truncate_logits(logits_BV: jax.Array, top_k: int, top_p: float) -> jax.Array:
    """Sets the logits of tokens outside top-k and top-p to -inf; top-k goes first."""
    if top_k == 0 and top_p == 1.0:
        return logits_BV
    order_BV = jnp.argsort(logits_BV, axis=-1, descending=True, stable=True)
    sorted_BV = jnp.take_along_axis(logits_BV, order_BV, axis=-1)
    if top_k:
        in_top_k_V = jnp.arange(logits_BV.shape[-1]) < top_k
        sorted_BV = jnp.where(in_top_k_V, sorted_BV, -jnp.inf)
    if top_p < 1.0:
        probs_BV = jax.nn.softmax(sorted_BV, axis=-1)
        # A token is kept while the mass before it is short of top_p, so the likeliest always is.
        before_BV = jnp.cumsum(probs_BV, axis=-1) - probs_BV
        sorted_BV = jnp.where(before_BV < top_p, sorted_BV, -jnp.inf)
    return jnp.take_along_axis(sorted_BV, jnp.argsort(order_BV, axis=-1), axis=-1)


def token_logprobs(logits: jax.Array, tokens: jax.Array) -> jax.Array:
    """Log-softmax of `logits` [..., V] at `tokens` [...], without the array of all the others."""
    chosen = jnp.take_along_axis(logits, tokens[..., None], axis=-1)[..., 0]
    return chosen - jax.nn.logsumexp(logits, axis=-1)


def _draw(logits_BV, keys_B, config):
    """One token per row -> (token_B, its log-probability under the policy, float32 [B])."""
    if config.temperature == 0:
        token_B = jnp.argmax(logits_BV, axis=-1).astype(jnp.int32)
        return token_B, token_logprobs(logits_BV, token_B)
    policy_BV = logits_BV / config.temperature
    sampling_BV = truncate_logits(policy_BV, config.top_k, config.top_p)
    token_B = jax.vmap(jax.random.categorical)(keys_B, sampling_BV).astype(jnp.int32)
    return token_B, token_logprobs(policy_BV, token_B)


def prefill(
    decoder: Any, params: Any, tokens_BP: jax.Array, segments_BP: jax.Array, new: int
) -> tuple[Cache, jax.Array, jax.Array]:
    """A cache that holds all of each prompt but its last token, with slots for `new` more.

    The last prompt token goes through the decoder like every token after it, so the logits of the
    others are not needed at all and the compiler leaves them out.

    Returns:
        the cache; int32 [B], the last tokens; int32 [B], their positions, -1 where all is padding.
    """
    batch, slots = tokens_BP.shape
    last_B = jnp.sum(segments_BP > 0, axis=1) - 1
    positions_BP = jnp.broadcast_to(jnp.arange(slots, dtype=jnp.int32), tokens_BP.shape)
    others_BP = jnp.where(positions_BP < last_B[:, None], segments_BP, 0)
    cache = init_cache(decoder.config, batch, slots + new, decoder.config.compute_dtype)
    _, cache = decoder.apply({"params": params}, tokens_BP, positions_BP, others_BP, cache)
    token_B = jnp.take_along_axis(tokens_BP, jnp.maximum(last_B, 0)[:, None], axis=1)[:, 0]
    return cache, token_B, last_B


def rollout(
    decoder: Any,
    params: Any,
    tokens_BP: jax.Array,
    segments_BP: jax.Array,
    keys_B: jax.Array,
    config: SamplerConfig,
    forcing: Forcing | None = None,
) -> Rollout:
    """Draws one completion per row: a pure function, for use under `jit` and `vmap`.

    Row b depends on its own prompt and key alone, so neither the other rows, nor their number,
    nor the mesh changes what it draws. Step t of a row draws with `fold_in(key, t)`.

    Args:
        decoder: the Linen decoder; static under `jit`.
        params: its parameters.
        tokens_BP: int32 prompts, padded on the right.
        segments_BP: int32, 1 on the prompt and 0 on padding. A row of padding alone draws nothing.
        keys_B: one typed random key per row.
        config: static under `jit`.
        forcing: what completions are made to write; None leaves them free.

    Returns:
        the completions; shapes and dtypes as `Rollout` says.
    """
    batch, new = len(tokens_BP), config.max_new_tokens
    cache, token_B, last_B = prefill(decoder, params, tokens_BP, segments_BP, new)
    live_B = last_B >= 0

    def body(carry):
        step, token_B, done_B, length_B, cache, progress, written = carry
        logits_B1V, cache = decoder.apply(
            {"params": params},
            token_B[:, None],
            (last_B + step)[:, None],
            live_B.astype(jnp.int32)[:, None],
            cache,
        )
        step_keys_B = jax.vmap(jax.random.fold_in, (0, None))(keys_B, step)
        token_B, logprob_B = _draw(logits_B1V[:, 0], step_keys_B, config)
        chosen_B = ~done_B
        if forcing is not None:
            progress, token_B, forced_B = force(forcing, progress, step, token_B, config.stop_id)
            chosen_B = chosen_B & ~forced_B
        token_B = jnp.where(done_B, config.pad_id, token_B)
        length_B = length_B + ~done_B
        done_B = done_B | (token_B == config.stop_id)
        if forcing is not None:
            done_B = done_B | (length_B >= forcing.limit)
        columns = (
            token_B,
            jnp.where(chosen_B, logprob_B, 0.0),
            chosen_B.astype(jnp.float32),
        )

        def write(array_BT, column_B):
            return jax.lax.dynamic_update_index_in_dim(array_BT, column_B, step, axis=1)

        written = jax.tree.map(write, written, columns)
        return step + 1, token_B, done_B, length_B, cache, progress, written

    def unfinished(carry):
        step, _, done_B, *_ = carry
        return (step < new) & ~jnp.all(done_B)

    progress = None if forcing is None else begin(forcing, batch)
    zeros_BT = jnp.zeros((batch, new), jnp.float32)
    written = (jnp.full((batch, new), config.pad_id, jnp.int32), zeros_BT, zeros_BT)
    start = (jnp.int32(0), token_B, ~live_B, jnp.zeros(batch, jnp.int32), cache, progress, written)
    with jax.named_scope(DECODE):
        *_, length_B, _, _, written = jax.lax.while_loop(unfinished, body, start)
    tokens_BT, logprobs_BT, mask_BT = written
    stopped_B = jnp.any((tokens_BT == config.stop_id) & (mask_BT > 0), axis=1)
    return Rollout(tokens_BT, logprobs_BT, mask_BT, live_B & ~stopped_B, length_B)
