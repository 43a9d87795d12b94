"""The RL step: what gets a gradient, how inner steps add up, and that it learns."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rl_oracle import POLICY
from rl_tiny import DECODER, PLAIN, VOCAB, jit_rollout, make_keys, make_prompts

from bakein.model import Decoder
from bakein.rl import advantages, losses
from bakein.rl.batch import learner_batch
from bakein.rl.step import learner_logprobs, make_rl_step, rollout_logprobs
from bakein.rl.update import make_update
from bakein.train.state import init_params, new_state

SHALLOW = Decoder(dataclasses.replace(DECODER.config, layers=1))
# As far from GRPO as the keys go.
EVERYTHING = dataclasses.replace(
    POLICY,
    loss=losses.sequence_clipped,
    importance_cap=1.0,
    kl=losses.k2,
    kl_coefficient=0.1,
    aggregation="fixed",
    minibatches=2,
    accumulation=2,
)
SGD = optax.sgd(0.5)
ROWS = 8

one_step = jax.jit(make_rl_step(SHALLOW, SGD, POLICY))
jit_logprobs = jax.jit(learner_logprobs, static_argnums=(0, 3))


@pytest.fixture(scope="module")
def params():
    return jax.jit(lambda key: init_params(SHALLOW, key))(jax.random.key(0))


@pytest.fixture(scope="module")
def learnt(params):
    """Prompts, what was drawn for them, and advantages."""
    tokens, segments = make_prompts((5, 1, 3, 4, 5, 2, 5, 3), 5)
    drawn = jit_rollout(SHALLOW, params, tokens, segments, make_keys(0, ROWS), PLAIN)
    return tokens, segments, drawn, np.random.default_rng(0).normal(0, 1, ROWS)


@pytest.fixture(scope="module")
def batch(learnt):
    return learner_batch(*learnt)


def assert_close(a, b, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), a, b)


def test_equal_rewards_give_exactly_zero_gradient(params, batch):
    equal = advantages.group(np.ones((2, 4))).ravel()
    state, metrics = one_step(new_state(params, SGD), batch | {"advantages": equal})
    assert metrics["grad_norm"] == 0
    assert_close(state.params, params, rtol=0)


def test_on_policy_metrics(params, batch):
    state, metrics = one_step(new_state(params, SGD), batch)
    assert set(metrics) == {
        "loss",
        "grad_norm",
        "clip_fraction",
        "mismatch_mean",
        "mismatch_max",
        "mismatch_ratio",
    }
    assert state.step == 1
    # At ratio 1 the loss is minus the mean advantage of a token.
    weights = batch["mask"] / batch["mask"].sum()
    np.testing.assert_allclose(
        metrics["loss"], -(weights.sum(axis=1) * batch["advantages"]).sum(), rtol=1e-5
    )
    assert metrics["clip_fraction"] == 0
    assert 0 <= metrics["mismatch_mean"] <= metrics["mismatch_max"] < 1e-4
    assert abs(metrics["mismatch_ratio"] - 1) < 1e-4


def test_mismatch_is_measured(params, batch):
    """Shift the sampler's log-probabilities and find the shift again."""
    off = jnp.zeros_like(batch["mask"]).at[0, 4].set(0.5)  # row 0 has a prompt of 5
    shifted = batch | {"sampler_logprobs": batch["sampler_logprobs"] + off + (1 - batch["mask"])}
    _, metrics = one_step(new_state(params, SGD), shifted)
    tokens = batch["mask"].sum()
    np.testing.assert_allclose(metrics["mismatch_max"], 0.5, atol=1e-4)
    np.testing.assert_allclose(metrics["mismatch_mean"], 0.5 / tokens, atol=1e-4)
    expected = 1 + (np.exp(-0.5) - 1) / tokens
    np.testing.assert_allclose(metrics["mismatch_ratio"], expected, atol=1e-4)


def test_the_mismatch_is_corrected_up_to_the_cap(params, batch):
    """A sampler that was twice as sure halves a row, one that was a quarter as sure doubles it."""
    off = jnp.log(jnp.array([2.0, 0.25] + [1.0] * (ROWS - 2)))[:, None]
    shifted = batch | {"sampler_logprobs": batch["sampler_logprobs"] + off}
    config = dataclasses.replace(POLICY, importance_cap=2.0)
    corrected, _ = jax.jit(make_rl_step(SHALLOW, SGD, config))(new_state(params, SGD), shifted)
    factors = jnp.array([0.5, 2.0] + [1.0] * (ROWS - 2))
    wanted, _ = one_step(
        new_state(params, SGD), batch | {"advantages": batch["advantages"] * factors}
    )
    assert_close(corrected.params, wanted.params, atol=1e-6)
    uncorrected, _ = one_step(new_state(params, SGD), shifted)
    with pytest.raises(AssertionError):
        assert_close(uncorrected.params, wanted.params, atol=1e-4)


def test_only_the_mask_decides_what_trains(params, batch):
    """Targets, advantages and log-probabilities outside the mask change nothing."""
    outside = batch["mask"] == 0
    changed = batch | {
        "targets": jnp.where(outside, (batch["targets"] + 5) % VOCAB, batch["targets"]),
        "sampler_logprobs": jnp.where(outside, jnp.nan, batch["sampler_logprobs"]),
        # Row 2 without a mask: its advantage counts no more.
        "mask": batch["mask"].at[2].set(0),
    }
    huge = changed | {"advantages": batch["advantages"].at[2].set(1e6)}
    states = [one_step(new_state(params, SGD), b)[0] for b in (changed, huge)]
    assert_close(states[0].params, states[1].params, rtol=0)
    without = jax.tree.map(lambda x: jnp.concatenate([x[:2], x[3:], x[:1]]), batch)
    without["mask"] = without["mask"].at[7].set(0)
    assert_close(states[0].params, one_step(new_state(params, SGD), without)[0].params, atol=1e-6)


def test_accumulation_adds_up(params, batch):
    config = dataclasses.replace(POLICY, aggregation="sequence")
    results = [
        jax.jit(make_rl_step(SHALLOW, SGD, dataclasses.replace(config, accumulation=n)))(
            new_state(params, SGD), batch
        )
        for n in (1, 4)
    ]
    assert_close(results[0][0], results[1][0], atol=1e-6)
    assert_close(results[0][1], results[1][1], atol=1e-6)


def test_inner_steps_are_updates_in_turn(params, batch):
    """Two epochs of two minibatches are four single updates with the old policy held fast."""
    config = dataclasses.replace(POLICY, epochs=2, minibatches=2)
    state, metrics = jax.jit(make_rl_step(SHALLOW, SGD, config))(new_state(params, SGD), batch)
    old = batch | {"old_logprobs": jit_logprobs(SHALLOW, params, batch, 1.0)}
    expected, each = new_state(params, SGD), []
    for part in (0, 1, 0, 1):
        expected, update = one_step(expected, {name: x[part::2] for name, x in old.items()})
        each.append(update)
    assert_close(state, expected, atol=1e-6)
    assert state.step == config.updates == 4
    for name, value in metrics.items():
        values = [float(update[name]) for update in each]
        wanted = values[0] if name.startswith("mismatch") else np.mean(values)
        np.testing.assert_allclose(value, wanted, atol=1e-5, err_msg=name)
    # The policy has moved on: later updates see other ratios, but the first decides the mismatch.
    assert each[-1]["mismatch_max"] > 1e-3 > metrics["mismatch_max"]
    assert max(update["clip_fraction"] for update in each) > 0


def test_kl_pulls_towards_the_reference(params, batch):
    config = dataclasses.replace(POLICY, kl_coefficient=1.0)
    step = jax.jit(make_rl_step(SHALLOW, optax.sgd(0.05), config))
    reference = jax.jit(lambda key: init_params(SHALLOW, key))(jax.random.key(1))
    batch = batch | {"advantages": jnp.zeros(ROWS)}
    same = batch | {"ref_logprobs": jit_logprobs(SHALLOW, params, batch, 1.0)}
    state, metrics = step(new_state(params, SGD), same)
    np.testing.assert_allclose(metrics["kl"], 0, atol=1e-6)
    other = batch | {"ref_logprobs": jit_logprobs(SHALLOW, reference, batch, 1.0)}
    state, kls = new_state(params, SGD), []
    for _ in range(10):
        state, metrics = step(state, other)
        np.testing.assert_allclose(metrics["kl"], metrics["loss"], rtol=1e-5)
        kls.append(float(metrics["kl"]))
    assert kls[-1] < 0.7 * kls[0]


def test_the_log_probabilities_of_a_rollout_are_those_of_its_rows(params, batch):
    found = jax.jit(rollout_logprobs, static_argnums=(0, 3))(SHALLOW, params, batch, EVERYTHING)
    expected = jit_logprobs(SHALLOW, params, batch, EVERYTHING.temperature)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_an_update_never_scores_more_rows_than_a_micro_batch(params, learnt):
    """Neither for the old policy nor for the reference: accumulation is there to save memory."""

    def rows(config):
        update = make_update(SHALLOW, SGD, config)
        jaxpr = str(jax.make_jaxpr(update)(new_state(params, SGD), params, *learnt))
        return {int(shape) for shape in re.findall(rf"\w\d+\[(\d+),\d+,{VOCAB}\]", jaxpr)}

    assert rows(dataclasses.replace(EVERYTHING, minibatches=1, accumulation=1)) == {ROWS}
    assert rows(EVERYTHING) == {ROWS // 4}


def test_the_policy_is_the_model_at_the_temperature(params):
    """Sampled at 0.7 and learnt at 0.7 there is no mismatch; learnt at 1 there is."""
    tokens, segments = make_prompts((5, 1, 3, 4, 5, 2, 5, 3), 5)
    sampler = dataclasses.replace(PLAIN, temperature=0.7)
    drawn = jit_rollout(SHALLOW, params, tokens, segments, make_keys(0, ROWS), sampler)
    batch = learner_batch(tokens, segments, drawn, np.zeros(ROWS))
    for temperature, low, high in ((0.7, 0, 1e-4), (1.0, 1e-2, 9)):
        learner = jit_logprobs(SHALLOW, params, batch, temperature)
        off = jnp.abs(learner - batch["sampler_logprobs"]) * batch["mask"]
        assert low <= off.max() < high


def test_vmap_over_members_is_each_alone(params, batch):
    other = jax.jit(lambda key: init_params(SHALLOW, key))(jax.random.key(1))
    states = [new_state(params, SGD), new_state(other, SGD)]
    reference = jit_logprobs(SHALLOW, other, batch, 1.0)
    batch = batch | {"ref_logprobs": reference}
    batches = [batch, batch | {"advantages": -batch["advantages"]}]
    stack = lambda trees: jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)  # noqa: E731
    step = make_rl_step(SHALLOW, SGD, EVERYTHING)
    both = jax.jit(jax.vmap(step))(stack(states), stack(batches))
    single = jax.jit(step)
    for member in range(2):
        alone = single(states[member], batches[member])
        assert_close(jax.tree.map(lambda x, m=member: x[m], both), alone, atol=1e-5)


def test_what_cannot_be_done_is_refused(params, batch):
    state = new_state(params, SGD)

    def run(**changes):
        config = dataclasses.replace(POLICY, **changes)
        return jax.eval_shape(make_rl_step(SHALLOW, SGD, config), state, batch)

    with pytest.raises(ValueError, match="8 rows cannot be dealt out to 3 minibatches of 1"):
        run(minibatches=3)
    with pytest.raises(ValueError, match="no ref_logprobs"):
        run(kl_coefficient=0.1)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("temperature", 0.0),
        ("max_new_tokens", 0),
        ("clip_low", 1.5),
        ("clip_low", -0.1),
        ("clip_high", -0.1),
        ("clip_high", float("nan")),
        ("importance_cap", -1.0),
        ("importance_cap", float("nan")),
        ("kl_coefficient", float("nan")),
        ("kl_coefficient", float("inf")),
        ("aggregation", "mean"),
        ("epochs", 0),
        ("minibatches", 0),
        ("accumulation", 0),
    ],
)
def test_values_out_of_range_are_refused(key, value):
    with pytest.raises(ValueError, match=f"{key} is {value!r}"):
        dataclasses.replace(POLICY, **{key: value})
