"""Grouped-query attention over packed rows, with or without a cache.

Shapes: B batch, L queries, S keys, N query heads, K key-value heads, G = N / K query heads per
key-value head, Q = G · L, H head_dim, D d_model, C = H / 2.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding

from bakein.model import kernels
from bakein.model.cache import Cache, write_layer
from bakein.model.config import ModelConfig
from bakein.model.layers import Dense, RMSNorm, softcap
from bakein.model.rope import rotate

_MASKED = -1e30  # finite, so that a row of padding, which attends to nothing, is not NaN


class View(NamedTuple):
    """What a layer sees of the row; computed once, outside the layers."""

    cos_BL1C: jax.Array  # rotation of the queries and of the new keys
    sin_BL1C: jax.Array
    mask_BLS: jax.Array | None  # bool: which key each query attends to; None where a kernel knows
    segments_BL: jax.Array | None  # for the kernel; None where there is a mask


def attention_mask(
    positions_BL: jax.Array,
    segments_BL: jax.Array,
    key_positions_BS: jax.Array,
    key_segments_BS: jax.Array,
    window: int | None,
) -> jax.Array:
    """Returns bool [B, L, S]: same document, not padding, not later, and within the window.

    Distances are between positions inside the document, so slots and rows play no part.
    """
    distance_BLS = positions_BL[:, :, None] - key_positions_BS[:, None, :]
    same_BLS = segments_BL[:, :, None] == key_segments_BS[:, None, :]
    mask_BLS = same_BLS & (key_segments_BS != 0)[:, None, :] & (distance_BLS >= 0)
    return mask_BLS if window is None else mask_BLS & (distance_BLS < window)


def attend(
    q_BLNH: jax.Array,
    k_BKSH: jax.Array,
    v_BKSH: jax.Array,
    mask_BLS: jax.Array,
    scale: float,
    cap: float | None,
) -> jax.Array:
    """Softmax attention with grouped queries, an optional logit soft-cap and float32 softmax.

    Not `jax.nn.dot_product_attention`: it has no soft-cap, and costs the tiny model's train step
    10 % on a CPU. Query head n reads key-value head n // G. Returns [B, L, N, H].
    """
    B, L, N, H = q_BLNH.shape
    K = k_BKSH.shape[1]
    G = N // K
    # The queries of a group are just more queries of their key-value head: Q = G · L.
    q_BKGLH = jnp.moveaxis((q_BLNH * scale).reshape(B, L, K, G, H), 1, 3)
    mask_BQS = jnp.tile(mask_BLS, (1, G, 1))
    logits_BKQS = jnp.einsum(
        "BKQH,BKSH->BKQS",
        q_BKGLH.reshape(B, K, G * L, H),
        k_BKSH,
        preferred_element_type=jnp.float32,
    )
    logits_BKQS = jnp.where(mask_BQS[:, None], softcap(logits_BKQS, cap), _MASKED)
    weights_BKQS = jax.nn.softmax(logits_BKQS, axis=-1).astype(v_BKSH.dtype)
    y_BKQH = jnp.einsum("BKQS,BKSH->BKQH", weights_BKQS, v_BKSH)
    return jnp.moveaxis(y_BKQH.reshape(B, K, G, L, H), 3, 1).reshape(B, L, N, H)


class Attention(nn.Module):
    """Projections, QK-norm, RoPE, cache and attention of one layer.

    Attributes:
      config: of the decoder.
      heads: on a mesh, the sharding of arrays [B, L, N, H]; for the kernels.
    """

    config: ModelConfig
    heads: NamedSharding | None

    @nn.compact
    def __call__(
        self,
        x_BLD: jax.Array,
        view: View,
        cache: Cache | None,
        layer: int | jax.Array,
        local: bool | jax.Array,
    ) -> tuple[jax.Array, Cache | None]:
        """Maps [B, L, D] to itself; with a cache, keys and values are written to it and read."""
        c = self.config
        dtype = c.compute_dtype

        def project(name, heads, axis):
            axes = ("embed", axis, "head_dim")
            return Dense((heads, c.head_dim), axes, dtype, bias=c.qkv_bias, name=name)(x_BLD)

        q_BLNH = project("query", c.heads, "heads")
        k_BLKH = project("key", c.kv_heads, "kv_heads")
        v_BLKH = project("value", c.kv_heads, "kv_heads")
        if c.qk_norm != "none":
            over = {"head": ("head_dim",), "projection": ("heads", "head_dim")}[c.qk_norm]
            kv_over = tuple("kv_heads" if axis == "heads" else axis for axis in over)
            q_BLNH = RMSNorm(over, c.norm_eps, c.norm_offset, name="query_norm")(q_BLNH)
            k_BLKH = RMSNorm(kv_over, c.norm_eps, c.norm_offset, name="key_norm")(k_BLKH)
        q_BLNH = rotate(q_BLNH, view.cos_BL1C, view.sin_BL1C)
        k_BLKH = rotate(k_BLKH, view.cos_BL1C, view.sin_BL1C)

        if view.mask_BLS is None:
            arrays = q_BLNH, k_BLKH, v_BLKH, view.segments_BL
            y_BLNH = kernels.attend(*arrays, local, c, self.heads)
        else:
            k_BKSH, v_BKSH = jnp.swapaxes(k_BLKH, 1, 2), jnp.swapaxes(v_BLKH, 1, 2)
            if cache is not None:
                cache, k_BKSH, v_BKSH = write_layer(cache, layer, k_BKSH, v_BKSH)
            k_BKSH, v_BKSH = k_BKSH.astype(dtype), v_BKSH.astype(dtype)
            scale, cap = c.attention_scale, c.attention_softcap
            y_BLNH = attend(q_BLNH, k_BKSH, v_BKSH, view.mask_BLS, scale, cap)
        axes, gain = ("heads", "head_dim", "embed"), (2 * c.layers) ** -0.5
        output = Dense((c.d_model,), axes, dtype, contract=2, gain=gain, name="output")
        return output(y_BLNH), cache
