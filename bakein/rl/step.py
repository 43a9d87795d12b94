"""The RL step: one or several policy updates on one rollout, as a pure function.

Shapes: B rows, L positions, V vocabulary; M minibatches of A micro-batches of R rows.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from bakein.model import score_positions
from bakein.rl import losses
from bakein.rl.aggregation import Aggregation, Sum, aggregate, check_aggregation, weighted_sum
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
        max_new_tokens: the sampler's, which the aggregation "fixed" divides by.
        loss: a policy loss of `losses`, or one of its shape.
        clip_low: the ratio is clipped at 1 - clip_low, in [0, 1]; infinity is off.
        clip_high: ... and at 1 + clip_high, at least 0; infinity is off.
        importance_cap: of the weights that correct the sampler's mismatch, see
            `losses.importance_weights`; 0 leaves them out.
        kl: a penalty of `losses`, or one of its shape.
        kl_coefficient: weight of the KL to the reference; 0 is off.
        aggregation: "token", "sequence" or "fixed", see `aggregate`.
        epochs: passes over the rollout.
        minibatches: updates per pass. Rows are dealt out in turn (row r goes to minibatch r mod
            `minibatches`), so each has its share of every device's rows, and of every group.
        accumulation: micro-batches whose gradients are added up to one update, to save memory.

    Raises:
        ValueError: for a value out of range.
    """

    temperature: float
    max_new_tokens: int
    loss: losses.PolicyLoss
    clip_low: float
    clip_high: float
    importance_cap: float
    kl: losses.Penalty
    kl_coefficient: float
    aggregation: Aggregation
    epochs: int
    minibatches: int
    accumulation: int

    def __post_init__(self):
        if not 0 < self.temperature < float("inf"):
            raise ValueError(
                f"policy temperature is {self.temperature}; it must be above 0 to learn from"
            )
        if not (0 <= self.clip_low <= 1 or self.clip_low == float("inf")):
            raise ValueError(f"policy clip_low is {self.clip_low}; it must be in [0, 1], or inf")
        for name in ("clip_high", "importance_cap"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"policy {name} is {getattr(self, name)}; it must be >= 0")
        if not 0 <= self.kl_coefficient < float("inf"):
            raise ValueError(
                f"policy kl_coefficient is {self.kl_coefficient}; it must be finite and >= 0"
            )
        check_aggregation(self.aggregation)
        for name in ("max_new_tokens", "epochs", "minibatches", "accumulation"):
            if getattr(self, name) < 1:
                raise ValueError(f"policy {name} is {getattr(self, name)}; it must be >= 1")

    @property
    def updates(self) -> int:
        """Optimizer updates per rollout."""
        return self.epochs * self.minibatches


def learner_logprobs(decoder: Any, params: Any, batch: Batch, temperature: float) -> jax.Array:
    """Log-probabilities of the targets under the policy, by one full forward pass.

    Returns:
        float32 [B, L]; outside the mask they mean nothing.
    """

    def logprobs(logits_BCV, targets_BC):
        return token_logprobs(logits_BCV / temperature, targets_BC)

    inputs = batch["tokens"], batch["positions"], batch["segments"]
    return score_positions(decoder, params, *inputs, logprobs, batch["targets"])


def rollout_logprobs(decoder: Any, params: Any, batch: Batch, config: PolicyConfig) -> jax.Array:
    """`learner_logprobs` of a whole rollout, by micro-batches, so that it takes no more memory.

    With the reference's parameters this gives the batch's `ref_logprobs`.
    """

    def of(rows):
        return learner_logprobs(decoder, params, rows, config.temperature)

    return _join(jax.lax.map(lambda m: jax.lax.map(of, m), _split(batch, config)))


def policy_sums(
    logprobs_BL: jax.Array, batch: Batch, config: PolicyConfig
) -> dict[str, Sum | jax.Array]:
    """The loss of some rows and its metrics as sums over tokens, not yet divided by their weights.

    Args:
        logprobs_BL: of the targets under the policy, see `learner_logprobs`.
        batch: as for the step; without `old_logprobs` the old policy is the current one.
        config: static.

    Returns:
        `loss` and the metrics, each a `Sum` (for `mismatch_max` the maximum itself).
    """
    mask_BL = batch["mask"]
    old_BL = batch.get("old_logprobs", jax.lax.stop_gradient(logprobs_BL))
    loss_BL, clipped_BL = config.loss(
        logprobs_BL,
        old_BL,
        batch["advantages"],
        mask_BL,
        clip_low=config.clip_low,
        clip_high=config.clip_high,
    )
    sums = {"clip_fraction": weighted_sum(clipped_BL, mask_BL)}
    if config.importance_cap > 0:
        loss_BL *= losses.importance_weights(
            old_BL, batch["sampler_logprobs"], mask_BL, cap=config.importance_cap
        )
    if "ref_logprobs" in batch:
        ref_BL = batch["ref_logprobs"]
        loss_BL += config.kl_coefficient * config.kl(logprobs_BL, ref_BL, mask_BL)
        # Reported by one estimator, whichever is in the loss: so that runs can be compared.
        sums["kl"] = weighted_sum(losses.k3(logprobs_BL, ref_BL, mask_BL), mask_BL)
    sums["loss"] = aggregate(loss_BL, mask_BL, config.aggregation, config.max_new_tokens)
    off_BL = losses.log_ratio(logprobs_BL, batch["sampler_logprobs"], mask_BL)
    sums["mismatch_mean"] = weighted_sum(jnp.abs(off_BL), mask_BL)
    sums["mismatch_ratio"] = weighted_sum(jnp.exp(off_BL), mask_BL)
    sums["mismatch_max"] = jnp.max(jnp.abs(off_BL))
    return sums


def policy_loss(
    decoder: Any, params: Any, batch: Batch, config: PolicyConfig
) -> tuple[jax.Array, dict[str, Sum | jax.Array]]:
    """The scalar to differentiate, a sum over tokens, and `policy_sums`."""
    logprobs_BL = learner_logprobs(decoder, params, batch, config.temperature)
    sums = policy_sums(logprobs_BL, batch, config)
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


def _join(x_MARL: jax.Array) -> jax.Array:
    """[M, A, R, L] -> [B, L]: the rows as they were before `_split`."""
    return jnp.moveaxis(x_MARL, (0, 1), (2, 1)).reshape(-1, x_MARL.shape[-1])


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
    optimizer's clipping), `clip_fraction`, and `kl` (k3, to the reference, where there is one).
    Of the first update, whose parameters are the sampler's: `mismatch_mean` and `mismatch_max` of
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
        if config.updates > 1 and "old_logprobs" not in batch:
            old_BL = rollout_logprobs(decoder, state.params, batch, config)
            batch = {**batch, "old_logprobs": old_BL}
        minibatches = _split(batch, config)

        def epoch(state, _):
            return jax.lax.scan(update, state, minibatches)

        state, metrics_EM = jax.lax.scan(epoch, state, length=config.epochs)
        return state, {
            name: values[0, 0] if name.startswith("mismatch") else jnp.mean(values)
            for name, values in metrics_EM.items()
        }

    return step
