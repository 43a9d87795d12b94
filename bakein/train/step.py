"""The supervised step: a pure function (state, batch) -> (state, metrics).

Pretraining, SFT and fine-tuning attacks all use it; they differ in data and mask only.
It can be jitted with shardings, lowered for an absent machine, and vmapped over members.

Legend: A micro-batches, B rows, L positions, V vocabulary.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from bakein.model import score_positions
from bakein.train.losses import next_token_loss, token_scores
from bakein.train.state import Params, TrainState

Batch = dict[str, jax.Array]
Step = Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]


def guarded(program: Callable[..., Any]) -> Callable[..., Any]:
    """A jitted program, called so that a transfer to or from its devices is an error.

    Such a transfer, of an argument that was left on the host or on other devices, would hold up
    every step without a word.
    """

    def call(*arguments):
        with jax.transfer_guard("disallow"):
            return program(*arguments)

    return call


def apply_gradients(
    state: TrainState, grads: Params, tx: optax.GradientTransformation
) -> TrainState:
    """One optimizer update."""
    updates, opt_state = tx.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    return TrainState(step=state.step + 1, params=params, opt_state=opt_state)


def accumulate(
    grad_fn: Callable[[Params, Batch], tuple[Params, dict[str, jax.Array]]],
    params: Params,
    batch: Batch,
    accumulation: int,
) -> tuple[Params, dict[str, jax.Array]]:
    """Sums gradients and metrics of `accumulation` micro-batches.

    Rows are dealt out in turn (row r goes to micro-batch r mod A), so that each micro-batch stays
    spread over the devices that hold the batch.

    Args:
        grad_fn: (params, batch) -> (gradient of a sum, sums).
        params: the parameters.
        batch: arrays with the rows in front; their number must be a multiple of `accumulation`.
        accumulation: how many micro-batches.

    Returns:
        Gradient of the sum over the whole batch, and the sums.
    """
    if accumulation == 1:
        return grad_fn(params, batch)
    micro = jax.tree.map(
        lambda x: jnp.swapaxes(x.reshape(-1, accumulation, *x.shape[1:]), 0, 1), batch
    )
    zeros = jax.tree.map(
        lambda x: jnp.zeros(x.shape, x.dtype),
        jax.eval_shape(grad_fn, params, jax.tree.map(lambda x: x[0], micro)),
    )

    def add(total, micro_batch):
        return jax.tree.map(jnp.add, total, grad_fn(params, micro_batch)), None

    return jax.lax.scan(add, zeros, micro)[0]


def make_train_step(
    decoder: nn.Module,
    tx: optax.GradientTransformation,
    schedule: optax.Schedule,
    accumulation: int,
    z_loss: float,
) -> Step:
    """Builds the step for one model and optimizer.

    Args:
        decoder: the model.
        tx: the optimizer.
        schedule: its learning rate, for the record.
        accumulation: micro-batches per update.
        z_loss: see `next_token_loss`.

    Returns:
        A pure function. Its metrics are float32 scalars: `loss` (nats per trained token),
        `accuracy` (of the next token), `grad_norm` (before clipping), `param_norm` (after the
        update: finite only if every parameter is), `learning_rate`, `trained` (the mask's sum).
    """

    def sums_of(params: Params, batch: Batch):
        inputs = batch["tokens"], batch["positions"], batch["segments"]
        scores = score_positions(decoder, params, *inputs, token_scores, batch["targets"])
        sums = next_token_loss(scores, batch["mask"], z_loss)
        return sums["loss"], sums

    def train_step(state: TrainState, batch: Batch):
        grad_fn = jax.grad(sums_of, has_aux=True)
        grads, sums = accumulate(grad_fn, state.params, batch, accumulation)
        weight = jnp.maximum(sums["weight"], 1.0)
        grads = jax.tree.map(lambda g: g / weight, grads)
        updated = apply_gradients(state, grads, tx)
        return updated, {
            "loss": sums["cross_entropy"] / weight,
            "accuracy": sums["correct"] / weight,
            "grad_norm": optax.tree.norm(grads),
            "param_norm": optax.tree.norm(updated.params),
            "learning_rate": jnp.asarray(schedule(state.step), jnp.float32),
            "trained": sums["weight"],
        }

    return train_step
