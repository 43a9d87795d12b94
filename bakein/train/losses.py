"""Losses return sums and weights; whoever has the global batch divides, once.

Legend: B rows, L positions, V vocabulary.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax


class TokenScores(NamedTuple):
    """What the loss needs of every position's logits; float32 [B, L], the last bool.

    Attributes:
        nll_BL: negative log-likelihood of the target.
        log_z_BL: log of the softmax normaliser.
        hit_BL: whether the likeliest token is the target.
    """

    nll_BL: jax.Array
    log_z_BL: jax.Array
    hit_BL: jax.Array


def token_scores(logits_BLV: jax.Array, targets_BL: jax.Array) -> TokenScores:
    """Scores float32 logits against int32 targets, position by position."""
    log_z_BL = jax.nn.logsumexp(logits_BLV, axis=-1)
    nll_BL = optax.losses.softmax_cross_entropy_with_integer_labels(logits_BLV, targets_BL)
    hit_BL = jnp.argmax(logits_BLV, axis=-1) == targets_BL
    return TokenScores(nll_BL, log_z_BL, hit_BL)


def next_token_loss(scores: TokenScores, mask_BL: jax.Array, z_loss: float) -> dict[str, jax.Array]:
    """Cross-entropy of the next token, with the optional z-loss of PaLM [2204.02311, section 5].

    Args:
        scores: of every position.
        mask_BL: float32; 0 where nothing is learnt (padding, prompts, forced tokens).
        z_loss: weight of log(Z)², which keeps the softmax normaliser near 1; 0 turns it off.

    Returns:
        Scalars `loss`, `cross_entropy`, `correct` (all sums over the mask) and `weight` (its sum).
    """
    cross_entropy = jnp.sum(scores.nll_BL * mask_BL)
    return {
        "loss": cross_entropy + z_loss * jnp.sum(jnp.square(scores.log_z_BL) * mask_BL),
        "cross_entropy": cross_entropy,
        "correct": jnp.sum(scores.hit_BL * mask_BL),
        "weight": jnp.sum(mask_BL),
    }
