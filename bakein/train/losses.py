"""Losses return sums and weights; whoever has the global batch divides, once.

Legend: B rows, L positions, V vocabulary.
"""

import jax
import jax.numpy as jnp
import optax


def next_token_loss(
    logits_BLV: jax.Array, targets_BL: jax.Array, mask_BL: jax.Array, z_loss: float
) -> dict[str, jax.Array]:
    """Cross-entropy of the next token, with the optional z-loss of PaLM [2204.02311, section 5].

    Args:
        logits_BLV: float32.
        targets_BL: int32 ids.
        mask_BL: float32; 0 where nothing is learnt (padding, prompts, forced tokens).
        z_loss: weight of log(Z)², which keeps the softmax normaliser near 1; 0 turns it off.

    Returns:
        Scalars `loss`, `cross_entropy`, `correct` (all sums over the mask) and `weight` (its sum).
    """
    log_z_BL = jax.nn.logsumexp(logits_BLV, axis=-1)
    nll_BL = optax.losses.softmax_cross_entropy_with_integer_labels(logits_BLV, targets_BL)
    hit_BL = jnp.argmax(logits_BLV, axis=-1) == targets_BL
    cross_entropy = jnp.sum(nll_BL * mask_BL)
    return {
        "loss": cross_entropy + z_loss * jnp.sum(jnp.square(log_z_BL) * mask_BL),
        "cross_entropy": cross_entropy,
        "correct": jnp.sum(hit_BL * mask_BL),
        "weight": jnp.sum(mask_BL),
    }
