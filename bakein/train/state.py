"""The training state: one pytree that is passed in, passed out and saved."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax

from bakein import mesh as mesh_lib
from bakein import model as model_lib

Params = Any


@flax.struct.dataclass
class TrainState:
    """Everything that a step changes.

    Attributes:
        step: int32 scalar, how many updates were made.
        params: float32 pytree of the model's parameters.
        opt_state: the optimizer's pytree.
    """

    step: jax.Array
    params: Params
    opt_state: optax.OptState


def abstract_of(shapes: Any, shardings: Any) -> Any:
    """Shape, dtype and sharding of every leaf: what a checkpoint is restored to."""
    return jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, shardings
    )


def params_on(decoder: nn.Module, mesh: jax.sharding.Mesh) -> Params:
    """Shape, dtype and sharding of every parameter on a mesh.

    Raises:
        ValueError: a logical axis is unmapped, collides, or does not divide (from `bakein.mesh`).
    """
    boxed = model_lib.abstract_params(decoder.config)
    return abstract_of(nn.unbox(boxed), mesh_lib.logical_sharding(mesh, boxed))


def init_params(decoder: nn.Module, key: jax.Array) -> Params:
    """Random parameters, without the boxes of their logical axes. Pure: jit it with shardings."""
    ids_BL = jnp.zeros((1, 2), jnp.int32)
    return nn.unbox(decoder.init(key, ids_BL, ids_BL, ids_BL)["params"])


def new_state(params: Params, tx: optax.GradientTransformation) -> TrainState:
    """A fresh state around `params` (initialised, or handed on by the parent stage)."""
    return TrainState(step=jnp.int32(0), params=params, opt_state=tx.init(params))


def abstract_state(
    start: Callable[[Params], TrainState],
    decoder: nn.Module,
    mesh: jax.sharding.Mesh,
    shardings: TrainState,
) -> TrainState:
    """Shape, dtype and sharding of the state that `start` makes of parameters; nothing is made."""
    return abstract_of(jax.eval_shape(start, params_on(decoder, mesh)), shardings)


def state_shardings(
    decoder: nn.Module, tx: optax.GradientTransformation, mesh: jax.sharding.Mesh
) -> TrainState:
    """Where every leaf of the state lives: moments beside their parameters, scalars everywhere.

    Args:
        decoder: the model; every parameter names its logical axes.
        tx: the optimizer.
        mesh: the device mesh.

    Returns:
        A `TrainState` of `NamedSharding`.

    Raises:
        ValueError: a logical axis is unmapped, collides, or does not divide (from `bakein.mesh`).
    """
    abstract = params_on(decoder, mesh)
    params = jax.tree.map(lambda x: x.sharding, abstract)
    replicated = mesh_lib.replicated(mesh)

    def is_masked(leaf):  # a parameter that another part of the optimizer updates
        return isinstance(leaf, optax.MaskedNode)

    opt_state = optax.tree_map_params(
        tx,
        lambda leaf, sharding: leaf if is_masked(leaf) else sharding,
        jax.eval_shape(tx.init, abstract),
        params,
        transform_non_params=lambda _: replicated,
        is_leaf=is_masked,
    )
    return TrainState(step=replicated, params=params, opt_state=opt_state)
