"""The key-value cache: an explicit argument and result of the decoder, never hidden state.

Shapes: B batch, L length of the call, S slots, K key-value heads, H head_dim.
"""

import jax
import jax.numpy as jnp
from flax import struct

from bakein.model.config import ModelConfig


@struct.dataclass
class Cache:
    """Keys and values of every token so far, and where each token stood.

    All rows are written at the same slot, `index`. A slot of segment 0 is empty or padding and is
    never attended to, so right-padded prompts of different lengths share one cache: the next token
    goes to slot `index` and carries its own position.
    """

    k: jax.Array  # [layers, B, K, S, H]: decoding is a matrix product per head, without copies
    v: jax.Array  # [layers, B, K, S, H]
    positions_BS: jax.Array  # int32
    segments_BS: jax.Array  # int32
    index: jax.Array  # int32 scalar: the next slot to write


def init_cache(config: ModelConfig, batch: int, length: int, dtype: jnp.dtype | str) -> Cache:
    """Returns an empty cache of `length` slots for `batch` rows; keys and values are `dtype`.

    Writing past `length` is the caller's mistake and is not detected: size it for the prompt and
    everything that will be decoded.
    """
    shape = (config.layers, batch, config.kv_heads, length, config.head_dim)
    return Cache(
        k=jnp.zeros(shape, dtype),
        v=jnp.zeros(shape, dtype),
        positions_BS=jnp.zeros((batch, length), jnp.int32),
        segments_BS=jnp.zeros((batch, length), jnp.int32),
        index=jnp.zeros((), jnp.int32),
    )


def place_tokens(cache: Cache, positions_BL: jax.Array, segments_BL: jax.Array) -> Cache:
    """Writes where the next L tokens stand; `index` moves only once all layers have written."""
    start = (0, cache.index)
    return cache.replace(
        positions_BS=jax.lax.dynamic_update_slice(cache.positions_BS, positions_BL, start),
        segments_BS=jax.lax.dynamic_update_slice(cache.segments_BS, segments_BL, start),
    )


def write_layer(
    cache: Cache, layer: int | jax.Array, k_BKLH: jax.Array, v_BKLH: jax.Array
) -> tuple[Cache, jax.Array, jax.Array]:
    """Writes one layer's new keys and values; returns the cache and that layer's k, v [B,K,S,H]."""
    start = (layer, 0, 0, cache.index, 0)
    cache = cache.replace(
        k=jax.lax.dynamic_update_slice(cache.k, k_BKLH[None].astype(cache.k.dtype), start),
        v=jax.lax.dynamic_update_slice(cache.v, v_BKLH[None].astype(cache.v.dtype), start),
    )
    return cache, cache.k[layer], cache.v[layer]
