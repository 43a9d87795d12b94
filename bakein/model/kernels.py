"""Attention by the kernels that others maintain: splash attention on TPUs, cuDNN's on GPUs.

They read a packed row by its slots, where the reference reads positions. It comes to the same, as
a document's tokens stand in a row, in order and without gaps. Padding attends to padding; what
comes of it nobody reads.

Shapes: B batch, L length, N query heads, K key-value heads, H head_dim.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu import splash_attention
from jax.sharding import NamedSharding, PartitionSpec

from bakein.model.config import ModelConfig
from bakein.model.remat import ATTENTION

RUNS = "blocks_run_"  # names the scope of a kernel, with how many of its steps do work: for plans
BY_LAYER = "layers_by_branch_"  # and of a choice, with how many layers take which branch
_LANES = 128  # splash: lengths and blocks are multiples of it
_BLOCKS = (512, 256, _LANES)  # of queries and keys at a time; larger ones are faster
_PLATFORMS = {"splash": "tpu", "cudnn": "gpu"}


def check_platform(config: ModelConfig, platform: str) -> None:
    """Raises `ValueError` where `platform` ("cpu", "gpu", "tpu") does not have the kernel."""
    needed = _PLATFORMS.get(config.attention, platform)
    if platform != needed:
        here = [kernel for kernel, place in _PLATFORMS.items() if place == platform]
        allowed = " or ".join(map(repr, ["reference", *here]))
        raise ValueError(
            f"model.attention is {config.attention!r}, a kernel for the {needed}; on the "
            f"{platform} it must be {allowed}"
        )


def attend(
    q_BLNH: jax.Array,
    k_BLKH: jax.Array,
    v_BLKH: jax.Array,
    segments_BL: jax.Array,
    local: bool | jax.Array,
    config: ModelConfig,
    heads: NamedSharding | None,
) -> jax.Array:
    """Causal attention within each document, by the kernel that `config.attention` names.

    Args:
      q_BLNH: queries.
      k_BLKH: keys; query head n reads key-value head n // (N / K).
      v_BLKH: values.
      segments_BL: int32 document of each token; 0 is padding.
      local: whether only the latest `config.window` positions are seen.
      config: the kernel, the scale and the soft-cap.
      heads: on a mesh, the sharding of arrays [B, L, N, H].

    Returns:
      [B, L, N, H]; at padding it means nothing.
    """
    kernel = {"splash": _splash, "cudnn": _cudnn}[config.attention]

    def within(window):
        return functools.partial(kernel, config=config, heads=heads, window=window)

    arrays = q_BLNH * config.attention_scale, k_BLKH, v_BLKH, segments_BL
    if config.window is None:
        return within(None)(*arrays)
    if isinstance(local, bool):
        return within(config.window if local else None)(*arrays)
    locals_ = sum(config.local_layers)
    with jax.named_scope(f"{BY_LAYER}{config.layers - locals_}_{locals_}"):  # the order of `cond`
        return jax.lax.cond(local, within(config.window), within(None), *arrays)


def _blocks(length: int, block: int, window: int | None) -> str:
    """How many of the blocks that splash has steps for, in one head, it runs: not the masked ones.

    Rows of the grid are as long as the longest of them needs.
    """
    rows = length // block
    longest = rows if window is None else min((window + block - 2) // block + 1, rows)
    return f"{sum(min(row + 1, longest) for row in range(rows))}_of_{rows * longest}"


def _splash(q_BLNH, k_BLKH, v_BLKH, segments_BL, config, heads, window):
    """The queries are scaled already."""
    devices = jax.devices() if heads is None else heads.mesh.devices.flat
    length = q_BLNH.shape[1]
    padded = -(-length // _LANES) * _LANES
    block = next(size for size in _BLOCKS if padded % size == 0)
    if window is None:
        mask = splash_attention.CausalMask((padded, padded))
    else:
        mask = splash_attention.LocalMask((padded, padded), (window - 1, 0), 0)

    def on_own_heads(q_BLNH, k_BLKH, v_BLKH, segments_BL):
        kernel = splash_attention.make_splash_mha(
            splash_attention.MultiHeadMask([mask] * q_BLNH.shape[2]),
            block_sizes=splash_attention.BlockSizes(
                block_q=block,
                block_kv=block,
                block_q_dkv=block,
                block_kv_dkv=block,
                block_q_dq=block,
                block_kv_dq=block,
            ),
            attn_logits_soft_cap=config.attention_softcap,
            head_shards=1,
            q_seq_shards=1,
            residual_checkpoint_name=ATTENTION,
            interpret=devices[0].platform == "cpu",  # slow; for tests
        )
        q_BNLH, k_BKLH, v_BKLH = (
            jnp.swapaxes(_lengthen(x, padded), 1, 2) for x in (q_BLNH, k_BLKH, v_BLKH)
        )
        segments_BL = _lengthen(segments_BL, padded)
        ids = splash_attention.SegmentIds(segments_BL, segments_BL)
        with jax.named_scope(f"{RUNS}{_blocks(padded, block, window)}"):
            out_BNLH = jax.vmap(kernel)(q_BNLH, k_BKLH, v_BKLH, ids)
        return jnp.swapaxes(out_BNLH, 1, 2)[:, :length]

    arrays = q_BLNH, k_BLKH, v_BLKH, segments_BL
    if heads is None:
        return on_own_heads(*arrays)
    # The compiler cannot look into a kernel, so it is told that rows and heads are on their own.
    return jax.shard_map(
        on_own_heads,
        mesh=heads.mesh,
        in_specs=(heads.spec, heads.spec, heads.spec, PartitionSpec(heads.spec[0])),
        out_specs=heads.spec,
        check_vma=False,  # the kernel does not say over which axes its result varies
    )(*arrays)


def _cudnn(q_BLNH, k_BLKH, v_BLKH, segments_BL, config, heads, window):
    """Its rule for splitting rows and heads over a mesh is jax's own."""
    del config, heads
    length = q_BLNH.shape[1]
    padded = -(-length // 2) * 2  # with a mask it takes even lengths only
    arrays = [_lengthen(x, padded) for x in (q_BLNH, k_BLKH, v_BLKH, segments_BL)]
    mask_BLS = arrays[-1][:, :, None] == arrays[-1][:, None, :]
    if window is not None:
        slots_L = jnp.arange(padded)
        mask_BLS &= slots_L[:, None] - slots_L < window
    y_BLNH = jax.nn.dot_product_attention(
        *arrays[:-1],
        mask=mask_BLS[:, None],
        scale=1.0,
        is_causal=True,
        implementation="cudnn",
    )
    return y_BLNH[:, :length]


def _lengthen(x_BL, length):
    """Pads the second axis with zeros."""
    pads = [(0, 0), (0, length - x_BL.shape[1]), *[(0, 0)] * (x_BL.ndim - 2)]
    return jnp.pad(x_BL, pads)
