"""Scoring positions without the logits of all of them: they are the largest array of a step.

Shapes: B batch, L length, C positions of a chunk, N chunks, D d_model, V vocabulary.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from bakein.model.cache import Cache
from bakein.model.decoder import Decoder


def score_positions(
    decoder: Decoder,
    params: Any,
    tokens_BL: jax.Array,
    positions_BL: jax.Array,
    segments_BL: jax.Array,
    of: Callable[..., Any],
    *arrays_BL: jax.Array,
    cache: Cache | None = None,
) -> Any:
    """Computes a function of every position's logits, `config.logits_chunk` positions at a time.

    The backward pass makes a chunk's logits again, so they are never kept: one more product with
    the unembedding for a memory of [B, C, V] instead of [B, L, V]. Chunks are cut along L, which
    no mesh axis splits there: the rows stay where they are.

    Args:
      decoder: the model.
      params: its parameters.
      tokens_BL: as for the decoder, like the next two.
      positions_BL: ...
      segments_BL: ...
      of: (float32 logits [B, C, V], `arrays` [B, C]) -> a tree of arrays [B, C], such as the
        targets' log-probabilities; each position's values depend on its own logits alone.
      *arrays_BL: what else `of` reads, such as the targets.
      cache: what came before, as for the decoder; what is written to it is dropped.

    Returns:
      What `of` returns, [B, L].
    """
    x_BLD, _ = decoder.apply(
        {"params": params}, tokens_BL, positions_BL, segments_BL, cache, method="hidden"
    )
    head = "embed" if decoder.config.tied_embeddings else "unembed"
    head = {head: params[head]}

    def score(head, x_BCD, *arrays_BC):
        return of(decoder.apply({"params": head}, x_BCD, method="logits"), *arrays_BC)

    chunk = decoder.config.logits_chunk
    if chunk == 0 or chunk >= tokens_BL.shape[1]:
        return score(head, x_BLD, *arrays_BL)
    if decoder.rows is None:
        return _by_chunks(score, chunk, head, x_BLD, *arrays_BL)
    # Left to the compiler, every chunk would add up the head's gradient over all devices. Here each
    # adds up its own, and the sum over devices is made once, of the part of D that each keeps.
    spec = decoder.rows.spec
    of_d, whole = _gathering(decoder, tuple(spec[0]))

    def on_own_rows(head, *arrays_BL):
        return _by_chunks(score, chunk, jax.tree.map(whole, head), *arrays_BL)

    return jax.shard_map(
        on_own_rows,
        mesh=decoder.rows.mesh,
        in_specs=(of_d, *[spec] * (1 + len(arrays_BL))),
        out_specs=spec,
        axis_names={*spec[0]},
    )(head, x_BLD, *arrays_BL)


def _gathering(
    decoder: Decoder, axes: tuple[str, ...]
) -> tuple[PartitionSpec, Callable[[jax.Array], jax.Array]]:
    """How the head is split over those mesh axes, and what gathers it inside a `shard_map` of them.

    It is sent in the dtype that is computed with, and comes as float32, in which the gradients of
    chunks are added up.
    """
    over_d, over_v = decoder.head.spec
    place = 1 if decoder.config.tied_embeddings else 0  # of D
    of_d = PartitionSpec(*[None] * place, over_d)
    of_v = PartitionSpec(*[None] * (1 - place), over_v)
    others = tuple(axis for axis in axes if axis != over_d)

    # Each its own part of V, which the compiler would gather as well.
    @functools.partial(jax.shard_map, in_specs=of_v, out_specs=of_v, axis_names={over_v})
    def gather(part):
        return jax.lax.all_gather(part, over_d, axis=place, tiled=True)

    def whole(part):
        part = jax.lax.pcast(part.astype(decoder.config.compute_dtype), others, to="varying")
        return gather(part).astype(jnp.float32)

    return of_d, whole


def _by_chunks(score, chunk, head, *arrays_BL):
    """score(head, *arrays_BC) of all chunks, joined to [B, L]."""
    length = arrays_BL[0].shape[1]
    chunks = -(-length // chunk)
    width = -(-length // chunks)  # of equal size, so that the last is not mostly padding

    def cut(x_BL):
        around = [(0, 0)] * (x_BL.ndim - 2)
        x_BL = jnp.pad(x_BL, [(0, 0), (0, chunks * width - length), *around])
        return jnp.moveaxis(x_BL.reshape(-1, chunks, width, *x_BL.shape[2:]), 1, 0)

    def join(x_NBC):
        return jnp.moveaxis(x_NBC, 0, 1).reshape(-1, chunks * width)[:, :length]

    again = jax.checkpoint(score, prevent_cse=False)
    parts = jax.lax.map(lambda part: again(head, *part), jax.tree.map(cut, arrays_BL))
    return jax.tree.map(join, parts)
