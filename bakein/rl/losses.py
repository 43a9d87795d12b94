"""Policy losses: functions of arrays that return values per token, and how to add those up.

Shapes: B rows, L positions. Every `mask` is float32 and 1 on completion tokens only; what it
leaves out (prompts, forced tokens, padding) may hold anything, NaN included, and gets no gradient.
"""

from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

Aggregation = Literal["token", "sequence"]

# Ratios beyond e^±20 are held there, so that inf * 0 cannot turn a zero advantage into NaN.
MAX_LOG_RATIO = 20.0


class Sum(NamedTuple):
    """A weighted sum and its weight, both float32 scalars; their quotient is the mean."""

    total: jax.Array
    weight: jax.Array


def log_ratio(logprobs_BL: jax.Array, base_logprobs_BL: jax.Array, mask_BL: jax.Array) -> jax.Array:
    """log(p / base) per token, within ±20; 0 outside the mask."""
    # Both are masked before the difference: the gradient of inf - inf is NaN even when unused.
    logprobs_BL = jnp.where(mask_BL > 0, logprobs_BL, 0.0)
    base_logprobs_BL = jnp.where(mask_BL > 0, base_logprobs_BL, 0.0)
    return jnp.clip(logprobs_BL - base_logprobs_BL, -MAX_LOG_RATIO, MAX_LOG_RATIO)


def clipped_policy_loss(
    logprobs_BL: jax.Array,
    old_logprobs_BL: jax.Array,
    advantages_B: jax.Array,
    mask_BL: jax.Array,
    *,
    clip_low: float,
    clip_high: float,
) -> tuple[jax.Array, jax.Array]:
    """The clipped surrogate, per token: -min(r A, clip(r, 1 - low, 1 + high) A).

    Formula: PPO, arXiv 1707.06347 eq. 7, with r per token; separate bounds as in DAPO,
    arXiv 2503.14476.

    Returns:
        (loss_BL, clipped_BL), float32: the loss, and 1 where the clip cut the gradient off.
    """
    ratio_BL = jnp.exp(log_ratio(logprobs_BL, old_logprobs_BL, mask_BL))
    advantages_B1 = advantages_B[:, None]
    bounded_BL = jnp.clip(ratio_BL, 1 - clip_low, 1 + clip_high)
    loss_BL = -jnp.minimum(ratio_BL * advantages_B1, bounded_BL * advantages_B1)
    clipped_BL = jnp.where(
        advantages_B1 > 0,
        ratio_BL > 1 + clip_high,
        (ratio_BL < 1 - clip_low) & (advantages_B1 < 0),
    )
    return loss_BL, clipped_BL.astype(jnp.float32)


def kl_penalty(logprobs_BL: jax.Array, ref_logprobs_BL: jax.Array, mask_BL: jax.Array) -> jax.Array:
    """The k3 estimate of KL(policy || reference), per token: ref/p - log(ref/p) - 1, never below 0.

    Formula: Schulman, "Approximating KL divergence" (2020); GRPO, arXiv 2402.03300 eq. 4.
    """
    log_ref_BL = log_ratio(ref_logprobs_BL, logprobs_BL, mask_BL)
    return jnp.expm1(log_ref_BL) - log_ref_BL


def check_aggregation(aggregation: str) -> None:
    """Raises ValueError unless `aggregation` is one of `Aggregation`."""
    if aggregation not in get_args(Aggregation):
        raise ValueError(f"aggregation is {aggregation!r}; it must be 'token' or 'sequence'")


def token_weights(mask_BL: jax.Array, aggregation: Aggregation) -> jax.Array:
    """The weight of each token in the loss, float32 [B, L].

    "token": every token weighs 1 (DAPO). "sequence": every row weighs 1, spread evenly over its
    tokens (GRPO). A row without tokens weighs nothing.

    Raises:
        ValueError: for any other aggregation.
    """
    check_aggregation(aggregation)
    if aggregation == "token":
        return mask_BL
    return mask_BL / jnp.maximum(jnp.sum(mask_BL, axis=1, keepdims=True), 1.0)


def weighted_sum(values_BL: jax.Array, weights_BL: jax.Array) -> Sum:
    """Adds up `values`, each times its weight, and the weights."""
    return Sum(jnp.sum(values_BL * weights_BL), jnp.sum(weights_BL))
