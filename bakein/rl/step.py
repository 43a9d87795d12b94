"""The RL step: one or several policy updates on one rollout, as a pure function.

Shapes: B rows, L positions, V vocabulary; M minibatches of A micro-batches of R rows.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from bakein.rl import losses
from bakein.rl.rollout import token_logprobs
from bakein.train.state import TrainState
from bakein.train.step import apply_gradients

Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class PolicyConfig:
    """What the learner does with a rollout.

    Attributes:
        temperature: the sampler's, above 0: the policy is the model at this temperature.
        clip_low: the ratio is clipped at 1 - clip_low, in [0, 1].
        clip_high: ... and at 1 + clip_high, at least 0.
        kl_coefficient: weight of the KL to the reference; 0 is off.
        aggregation: "token" or "sequence", see `losses.token_weights`.
        epochs: passes over the rollout.
        minibatches: updates per pass. Rows are dealt out in turn (row r goes to minibatch r mod
            `minibatches`), so each has its share of every device's rows, and of every group.
        accumulation: micro-batches whose gradients are added up to one update, to save memory.

    Raises:
        ValueError: for a value out of range.
    """

    temperature: float
    clip_low: float
    clip_high: float
    kl_coefficient: float
    aggregation: losses.Aggregation
    epochs: int
    minibatches: int
    accumulation: int

    def __post_init__(self):
        if not 0 < self.temperature < float("inf"):
            raise ValueError(
                f"policy temperature is {self.temperature}; it must be above 0 to learn from"
            )
        if not 0 <= self.clip_low <= 1:
            raise ValueError(f"policy clip_low is {self.clip_low}; it must be in [0, 1]")
        if not self.clip_high >= 0:
            raise ValueError(f"policy clip_high is {self.clip_high}; it must be >= 0")
        if not self.kl_coefficient >= 0:
            raise ValueError(f"policy kl_coefficient is {self.kl_coefficient}; it must be >= 0")
        losses.check_aggregation(self.aggregation)
        for name in ("epochs", "minibatches", "accumulation"):
            if getattr(self, name) < 1:
                raise ValueError(f"policy {name} is {getattr(self, name)}; it must be >= 1")

    @property
    def updates(self) -> int:
        """Optimizer updates per rollout."""
        return self.epochs * self.minibatches


def learner_logprobs(decoder: Any, params: Any, batch: Batch, temperature: float) -> jax.Array:
    """Log-probabilities of the targets under the policy, by one full forward pass.

    With the reference's parameters this gives the batch's `ref_logprobs`.

    Returns:
        float32 [B, L]; outside the mask they mean nothing.
    """
    logits_BLV = decoder.apply(
        {"params": params}, batch["tokens"], batch["positions"], batch["segments"]
    )
    return token_logprobs(logits_BLV / temperature, batch["targets"])


def policy_loss(
    decoder: Any, params: Any, batch: Batch, config: PolicyConfig
) -> tuple[jax.Array, dict[str, Any]]:
    """The loss of some rows as a sum over tokens, not yet divided by its weight.

    Args:
        decoder: the Linen decoder.
        params: its parameters.
        batch: as for the step; without `old_logprobs` the old policy is the current one.
        config: static.

    Returns:
        (loss_sum, sums): the scalar to differentiate, and for each metric a `losses.Sum`
        (for `mismatch_max` the maximum itself).
    """
    mask_BL = batch["mask"]
    logprobs_BL = learner_logprobs(decoder, params, batch, config.temperature)
    old_BL = batch.get("old_logprobs", jax.lax.stop_gradient(logprobs_BL))
    loss_BL, clipped_BL = losses.clipped_policy_loss(
        logprobs_BL,
        old_BL,
        batch["advantages"],
        mask_BL,
        clip_low=config.clip_low,
        clip_high=config.clip_high,
    )
    sums = {"clip_fraction": losses.weighted_sum(clipped_BL, mask_BL)}
    if "ref_logprobs" in batch:
        kl_BL = losses.kl_penalty(logprobs_BL, batch["ref_logprobs"], mask_BL)
        loss_BL += config.kl_coefficient * kl_BL
        sums["kl"] = losses.weighted_sum(kl_BL, mask_BL)
    sums["loss"] = losses.weighted_sum(loss_BL, losses.token_weights(mask_BL, config.aggregation))
    off_BL = losses.log_ratio(logprobs_BL, batch["sampler_logprobs"], mask_BL)
    sums["mismatch_mean"] = losses.weighted_sum(jnp.abs(off_BL), mask_BL)
    sums["mismatch_ratio"] = losses.weighted_sum(jnp.exp(off_BL), mask_BL)
    sums["mismatch_max"] = jnp.max(jnp.abs(off_BL))
    return sums["loss"].total, sums


def _split(batch: Batch, config: PolicyConfig) -> Batch:
    """[B, ...] -> [M, A, R, ...]; row r goes to minibatch r mod M."""
    rows = batch["tokens"].shape[0]
    if rows % (config.minibatches * config.accumulation):
        raise ValueError(
            f"a rollout of {rows} rows cannot be dealt out to {config.minibatches} minibatches of "
            f"{config.accumulation} micro-batches; rows must be a multiple of their product"
        )

    def split(x):
        x = x.reshape(-1, config.accumulation, config.minibatches, *x.shape[1:])
        return jnp.moveaxis(x, (2, 1), (0, 1))

    return jax.tree.map(split, batch)


def make_rl_step(
    decoder: Any, tx: optax.GradientTransformation, config: PolicyConfig
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """Builds the pure RL step, to be jitted or vmapped by the caller.

    The step makes `epochs` passes of `minibatches` updates. Sums over tokens are divided once, by
    the weight of the whole minibatch. `state.step` counts updates, like the optimizer and its
    learning rate: it goes up by `config.updates` per rollout.

    The batch is `learner_batch`'s, and may also hold, both float32 [B, L]: `old_logprobs`, the
    log-probabilities that the ratio is taken against (else those of the state's parameters before
    the first update), and `ref_logprobs`, the reference's (needed where kl_coefficient > 0).

    Metrics are float32 scalars. Means over the updates: `loss`, `grad_norm` (before the
    optimizer's clipping), `clip_fraction`, and `kl` (to the reference, where there is one). Of
    the first update, whose parameters are the sampler's: `mismatch_mean` and `mismatch_max` of
    |learner - sampler| log-probability per token, and `mismatch_ratio`, the mean of p_learner /
    p_sampler. Raises ValueError while tracing, where the rows cannot be split or the reference is
    missing.
    """

    def update(state, minibatch_ARL):
        def add(grads, batch_RL):
            gradient = jax.grad(policy_loss, argnums=1, has_aux=True)
            more, sums = gradient(decoder, state.params, batch_RL, config)
            return jax.tree.map(jnp.add, grads, more), sums

        zeros = jax.tree.map(jnp.zeros_like, state.params)
        grads, sums = jax.lax.scan(add, zeros, minibatch_ARL)
        mismatch_max = jnp.max(sums.pop("mismatch_max"))
        # At least 1, the weight of one token or row: only a batch of padding has less.
        weights = {name: jnp.maximum(jnp.sum(s.weight), 1.0) for name, s in sums.items()}
        metrics = {name: jnp.sum(s.total) / weights[name] for name, s in sums.items()}
        grads = jax.tree.map(lambda g: g / weights["loss"], grads)
        metrics |= {"mismatch_max": mismatch_max, "grad_norm": optax.tree.norm(grads)}
        return apply_gradients(state, grads, tx), metrics

    def step(state, batch):
        if config.kl_coefficient > 0 and "ref_logprobs" not in batch:
            raise ValueError("policy kl_coefficient is above 0, but the batch has no ref_logprobs")
        minibatches = _split(batch, config)
        if config.updates > 1 and "old_logprobs" not in batch:

            def old(rows):
                return learner_logprobs(decoder, state.params, rows, config.temperature)

            minibatches["old_logprobs"] = jax.lax.map(lambda m: jax.lax.map(old, m), minibatches)

        def epoch(state, _):
            return jax.lax.scan(update, state, minibatches)

        state, metrics_EM = jax.lax.scan(epoch, state, length=config.epochs)
        return state, {
            name: values[0, 0] if name.startswith("mismatch") else jnp.mean(values)
            for name, values in metrics_EM.items()
        }

    return step
