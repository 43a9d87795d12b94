"""The one decoder that every family is a configuration of.

Shapes: B batch, L length, S cache slots, D d_model, V vocabulary.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding

from bakein.model.attention import Attention, View, attention_mask
from bakein.model.cache import Cache, place_tokens
from bakein.model.config import ModelConfig
from bakein.model.layers import Embed, GatedMLP, RMSNorm, Unembed, softcap
from bakein.model.remat import POLICIES
from bakein.model.rope import frequencies, rotation


class Block(nn.Module):
    """One layer: attention, then the gated MLP, each on a residual branch."""

    config: ModelConfig
    # As those of the decoder; `stream` is None where L is not split.
    rows: NamedSharding | None
    heads: NamedSharding | None
    stream: NamedSharding | None

    @nn.compact
    def __call__(self, carry, local, layer, local_view: View, global_view: View):
        """A step of a scan over layers: carry is (x_BLD, cache); `local`, `layer` are scanned."""
        x_BLD, cache = carry
        c = self.config
        view = global_view
        if c.window is not None:
            view = jax.tree.map(lambda a, b: jnp.where(local, a, b), local_view, global_view)

        def norm(name, present, x):
            return RMSNorm(("embed",), c.norm_eps, c.norm_offset, name=name)(x) if present else x

        # Where L is split, a branch gathers its input and scatters the sum that it ends with
        # [2205.05198]; told nothing, the compiler may gather the weights instead.
        whole = None if self.stream is None else self.rows
        h_BLD = _constrain(norm("attention_pre_norm", c.pre_norm, x_BLD), whole)
        attention = Attention(c, self.heads, name="attention")
        h_BLD, cache = attention(h_BLD, view, cache, layer, local)
        x_BLD = x_BLD + norm("attention_post_norm", c.post_norm, _constrain(h_BLD, self.stream))

        gain = (2 * c.layers) ** -0.5
        h_BLD = _constrain(norm("mlp_pre_norm", c.pre_norm, x_BLD), whole)
        h_BLD = GatedMLP(c.d_ff, c.activation, c.compute_dtype, gain, name="mlp")(h_BLD)
        x_BLD = x_BLD + norm("mlp_post_norm", c.post_norm, _constrain(h_BLD, self.stream))
        return (_constrain(x_BLD, self.stream or self.rows), cache), None


class Decoder(nn.Module):
    """Decoder-only transformer; stateless, so the key-value cache goes in and comes out.

    `init` boxes every parameter with its logical axes; `apply` takes them boxed or not.

    Attributes:
      config: what the decoder is made of.
      rows: on a mesh, the sharding of arrays [B, ...]; the residual stream is held to it, so B
        must be divisible. Without it the compiler gathers whole batches instead of the weights
        that FSDP has split: the same numbers, at a multiple of the memory and traffic.
      heads: ... of arrays [B, L, N, H]; needed beside `rows` for an attention kernel.
      stream: ... of arrays [B, L, D] with L split; needed beside `rows` for `shard_length`.
      head: ... of the unembedding [D, V]; needed beside `rows` for `logits_chunk`.
        `bakein.mesh.decoder_shardings` makes the four.
    """

    config: ModelConfig
    rows: NamedSharding | None = None
    heads: NamedSharding | None = None
    stream: NamedSharding | None = None
    head: NamedSharding | None = None

    def setup(self):
        """Makes the token embedding, and the unembedding where it is not the same."""
        c = self.config
        self.embed = Embed(c.vocab_size, c.d_model, c.compute_dtype)
        if not c.tied_embeddings:
            self.unembed = Unembed(c.vocab_size)

    def __call__(
        self,
        tokens_BL: jax.Array,
        positions_BL: jax.Array,
        segments_BL: jax.Array,
        cache: Cache | None = None,
    ) -> jax.Array | tuple[jax.Array, Cache]:
        """Scores the next token at every position.

        Args:
          tokens_BL: int32 token ids.
          positions_BL: int32 position of each token inside its own document.
          segments_BL: int32 document of each token inside its row; 0 is padding. A token attends
            to its own document only, so what stands beside it does not change its logits.
          cache: what came before. The call's tokens are written at `cache.index` and attend to
            the tokens of their segment that are in the cache, themselves included.

        Returns:
          float32 logits [B, L, V]; with a cache, the logits and the cache after this call.
        """
        x_BLD, cache = self.hidden(tokens_BL, positions_BL, segments_BL, cache)
        logits_BLV = self.logits(x_BLD)
        return logits_BLV if cache is None else (logits_BLV, cache)

    def logits(self, x_BLD: jax.Array) -> jax.Array:
        """Scores the vocabulary at every position: hidden states to float32 logits [B, L, V]."""
        c = self.config
        unembed = self.embed.attend if c.tied_embeddings else self.unembed
        return softcap(unembed(x_BLD), c.logit_softcap)

    @nn.compact
    def hidden(
        self,
        tokens_BL: jax.Array,
        positions_BL: jax.Array,
        segments_BL: jax.Array,
        cache: Cache | None,
    ) -> tuple[jax.Array, Cache | None]:
        """The hidden states that `logits` scores, [B, L, D], and the cache after this call.

        Arguments as for the whole decoder.
        """
        c = self.config
        key_positions, key_segments = positions_BL, segments_BL
        if cache is not None:
            cache = place_tokens(cache, positions_BL, segments_BL)
            key_positions, key_segments = cache.positions_BS, cache.segments_BS

        rows, heads, stream = self.rows, self.heads, self.stream
        # One short row is enough for `init`, and while decoding L is 1.
        whole = cache is not None or self.is_initializing()
        by_kernel = c.attention != "reference" and not whole
        split = c.shard_length and rows is not None and not whole
        needed = (by_kernel, heads), (split, stream), (c.logits_chunk, self.head)
        if rows is not None and any(used and sharding is None for used, sharding in needed):
            raise ValueError("Decoder: on a mesh it needs all of mesh.decoder_shardings")
        rows = None if self.is_initializing() else rows
        stream = stream if split else None

        def view(theta, scaling, window):
            turn = rotation(positions_BL, frequencies(c.head_dim, theta, scaling))
            if by_kernel:
                return View(*turn, None, segments_BL)
            seen = positions_BL, segments_BL, key_positions, key_segments
            return View(*turn, attention_mask(*seen, window), None)

        global_view = view(c.rope_theta, c.rope_scaling, None)
        local_view = view(c.local_rope_theta, None, c.window)

        carry = (_constrain(self.embed(tokens_BL) * c.embed_scale, stream or rows), cache)
        block = Block
        if c.remat != "none":
            # In a scan nothing is merged with its copy anyway, and the barriers would cost.
            block = nn.remat(Block, prevent_cse=not c.scan_layers, policy=POLICIES[c.remat])
        if c.scan_layers:
            layers = nn.scan(
                block,
                variable_axes={"params": 0},
                split_rngs={"params": True},
                in_axes=(0, 0, nn.broadcast, nn.broadcast),
                length=c.layers,
                metadata_params={nn.PARTITION_NAME: "layers"},
            )(c, rows, heads, stream, name="layers")
            scanned = (jnp.array(c.local_layers), jnp.arange(c.layers))
            carry, _ = layers(carry, *scanned, local_view, global_view)
        else:
            for i, local in enumerate(c.local_layers):
                carry, _ = block(c, rows, heads, stream, name=f"layer_{i}")(
                    carry, local, i, local_view, global_view
                )
        x_BLD, cache = carry

        x_BLD = RMSNorm(("embed",), c.norm_eps, c.norm_offset, name="final_norm")(x_BLD)
        x_BLD = _constrain(x_BLD, rows if split else None)
        if cache is not None:
            cache = cache.replace(index=cache.index + tokens_BL.shape[1])
        return x_BLD, cache


def _constrain(x_BLD: jax.Array, sharding: NamedSharding | None) -> jax.Array:
    return x_BLD if sharding is None else jax.lax.with_sharding_constraint(x_BLD, sharding)
