"""What a model costs: parameters and floating-point operations."""

import math

import jax
import jax.numpy as jnp

from bakein.model.config import ModelConfig
from bakein.model.decoder import Decoder


def abstract_params(config: ModelConfig):
    """Returns the boxed parameters as shapes only: nothing is computed or allocated.

    Each leaf is a `flax.linen.LogicallyPartitioned` of a `jax.ShapeDtypeStruct`.
    """
    row = jnp.zeros((1, 1), jnp.int32)
    return jax.eval_shape(Decoder(config).init, jax.random.key(0), row, row, row)["params"]


def count_params(config: ModelConfig) -> int:
    """Returns the number of parameters; a tied embedding counts once."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(abstract_params(config)))


def flops_per_token(config: ModelConfig, first: float, last: float) -> float:
    """Returns the FLOPs of a token's forward pass; a train step costs three times as much.

    Two FLOPs for each weight of each matrix product (norms, biases, softmax and the embedding's
    look-up are left out), and four for each channel of each query head and key seen
    [2001.08361, appendix B]. Nothing is added for remat.

    Args:
      config: the model.
      first: how many keys the first of the tokens attends to, of which this is the average,
      last: and the last; those in between evenly more. Of a row of L tokens 0 and L. Local layers
        see at most `window` of them.
    """
    c = config
    attention = c.d_model * c.head_dim * (2 * c.heads + 2 * c.kv_heads)
    weights = c.layers * (attention + 3 * c.d_model * c.d_ff) + c.d_model * c.vocab_size
    keys = sum(_mean_keys(first, last, c.window if local else None) for local in c.local_layers)
    return 2.0 * weights + 4.0 * c.heads * c.head_dim * keys


def _mean_keys(first: float, last: float, window: int | None) -> float:
    """The mean of min(x, window) over x from `first` to `last`."""
    if window is None or last <= window:
        return (first + last) / 2
    if first >= window:
        return window
    return ((window**2 - first**2) / 2 + window * (last - window)) / (last - first)
