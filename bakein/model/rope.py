"""Rotary position embedding [2104.09864], in the half-split layout of the Llama family.

Shapes: B batch, L length, N heads, H head_dim.
"""

import jax
import jax.numpy as jnp
import numpy as np

from bakein.model.config import LinearScaling, Llama3Scaling


def frequencies(
    head_dim: int, theta: float, scaling: LinearScaling | Llama3Scaling | None
) -> np.ndarray:
    """Returns the rotation in radians per position of each pair of channels, float32 [H/2]."""
    freqs = theta ** (-np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    if isinstance(scaling, LinearScaling):
        freqs = freqs / scaling.factor
    elif isinstance(scaling, Llama3Scaling):
        low, high = scaling.low_frequency_factor, scaling.high_frequency_factor
        turns = scaling.original_context * freqs / (2 * np.pi)  # within the original context
        keep = np.clip((turns - low) / (high - low), 0.0, 1.0)
        freqs = keep * freqs + (1.0 - keep) * freqs / scaling.factor
    return freqs.astype(np.float32)


def rotation(positions_BL: jax.Array, freqs: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """Returns the cosines and sines of every position's rotation, float32 [B, L, 1, H/2]."""
    angle_BL1C = positions_BL[:, :, None, None].astype(jnp.float32) * freqs
    return jnp.cos(angle_BL1C), jnp.sin(angle_BL1C)


def rotate(x_BLNH: jax.Array, cos_BL1C: jax.Array, sin_BL1C: jax.Array) -> jax.Array:
    """Rotates channel pairs (i, i + H/2) of every head; computes in float32, keeps the dtype."""
    first, second = jnp.split(x_BLNH.astype(jnp.float32), 2, axis=-1)
    rotated = jnp.concatenate(
        [first * cos_BL1C - second * sin_BL1C, second * cos_BL1C + first * sin_BL1C], axis=-1
    )
    return rotated.astype(x_BLNH.dtype)
