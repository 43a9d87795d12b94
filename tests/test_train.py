"""The supervised step: oracles in numpy, accumulation, fleets, schedules."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bakein.model import Decoder, presets
from bakein.train.losses import next_token_loss, token_scores
from bakein.train.optimizer import OptimizerConfig, make_optimizer, make_schedule
from bakein.train.state import init_params, new_state
from bakein.train.step import make_train_step

ADAMW = OptimizerConfig(
    algorithm="adamw",
    learning_rate=1e-2,
    schedule="cosine",
    warmup_steps=2,
    final_share=0.1,
    decay_share=0.2,
    b1=0.9,
    b2=0.95,
    eps=1e-8,
    weight_decay=0.1,
    clip_norm=1.0,
    mu_dtype="float32",
)
VOCABULARY = 11


def make_batch(seed: int, rows: int = 4, length: int = 12) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    tokens = rng.integers(3, VOCABULARY, (rows, length)).astype(np.int32)
    segments = np.repeat([[1] * 5 + [2] * 4 + [0] * 3], rows, 0).astype(np.int32)
    positions = np.repeat([[*range(5), *range(4), 0, 0, 0]], rows, 0).astype(np.int32)
    mask = (segments > 0) * rng.integers(0, 2, (rows, length))
    return {
        "tokens": tokens,
        "targets": rng.integers(3, VOCABULARY, (rows, length)).astype(np.int32),
        "segments": segments,
        "positions": positions,
        "mask": mask.astype(np.float32),
    }


@pytest.fixture(scope="module")
def decoder():
    return Decoder(dataclasses.replace(presets.tiny(VOCABULARY), d_model=16, d_ff=24, head_dim=8))


@pytest.fixture(scope="module")
def tools(decoder):
    tx = make_optimizer(ADAMW, 10)
    schedule = make_schedule(ADAMW, 10)
    return tx, lambda accumulation: make_train_step(decoder, tx, schedule, accumulation, 1e-3)


def fresh(decoder, tx, seed):
    return new_state(init_params(decoder, jax.random.key(seed)), tx)


def assert_close(left, right, rtol=2e-5):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-6), left, right)


def test_loss_is_the_masked_sum_of_numpy():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 5, 7)).astype(np.float32) * 3
    targets, mask = rng.integers(0, 7, (3, 5)), rng.integers(0, 2, (3, 5)).astype(np.float32)
    log_z = np.log(np.exp(logits.astype(np.float64)).sum(-1))
    nll = log_z - np.take_along_axis(logits, targets[..., None], -1)[..., 0]
    scores = token_scores(jnp.array(logits), jnp.array(targets))
    sums = next_token_loss(scores, jnp.array(mask), 0.5)
    np.testing.assert_allclose(sums["cross_entropy"], (nll * mask).sum(), rtol=1e-5)
    np.testing.assert_allclose(sums["loss"], ((nll + 0.5 * log_z**2) * mask).sum(), rtol=1e-5)
    assert sums["correct"] == ((logits.argmax(-1) == targets) * mask).sum()
    assert sums["weight"] == mask.sum()


def test_what_the_mask_hides_is_not_learnt(decoder, tools):
    tx, make_step = tools
    batch = make_batch(0)
    other = {**batch, "targets": np.where(batch["mask"] > 0, batch["targets"], 5).astype(np.int32)}
    assert not np.array_equal(batch["targets"], other["targets"])
    step = jax.jit(make_step(1))
    state = fresh(decoder, tx, 0)
    left, right = step(state, batch)[0], step(state, other)[0]
    jax.tree.map(np.testing.assert_array_equal, left, right)


def test_a_batch_without_a_target_changes_nothing_but_the_count(decoder, tools):
    tx, make_step = tools
    batch = {**make_batch(0), "mask": np.zeros((4, 12), np.float32)}
    _, metrics = jax.jit(make_step(1))(fresh(decoder, tx, 0), batch)
    assert metrics["loss"] == 0
    assert metrics["grad_norm"] == 0


def test_accumulation_is_the_full_batch_even_with_uneven_masks(decoder, tools):
    tx, make_step = tools
    batch = make_batch(1)
    batch["mask"][1] = 0  # one micro-batch has less to learn from than the other
    state = fresh(decoder, tx, 0)
    (whole, whole_metrics), (parts, parts_metrics) = (
        jax.jit(make_step(accumulation))(state, batch) for accumulation in (1, 2)
    )
    assert_close(whole.params, parts.params)
    assert_close(whole_metrics, parts_metrics)


def test_a_fleet_of_two_is_each_member_alone(decoder, tools):
    tx, make_step = tools
    step = make_step(1)
    states, batches = [fresh(decoder, tx, s) for s in (0, 1)], [make_batch(s) for s in (2, 3)]
    stack = lambda *trees: jax.tree.map(lambda *x: jnp.stack(x), *trees)  # noqa: E731
    fleet, fleet_metrics = jax.jit(jax.vmap(step))(stack(*states), stack(*batches))
    for member in (0, 1):
        alone, metrics = jax.jit(step)(states[member], batches[member])
        assert_close(jax.tree.map(lambda x, m=member: x[m], fleet.params), alone.params, 1e-3)
        assert_close({k: v[member] for k, v in fleet_metrics.items()}, metrics, 1e-4)


def test_the_loss_falls(decoder, tools):
    tx, make_step = tools
    step, state, batch = jax.jit(make_step(1)), fresh(decoder, tx, 0), make_batch(4)
    losses = []
    for _ in range(10):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < losses[0] - 0.3
    assert state.step == 10


def test_weight_decay_spares_norms(decoder, tools):
    tx, _ = tools
    state = fresh(decoder, tx, 0)
    zeros = jax.tree.map(jnp.zeros_like, state.params)
    updates, _ = tx.update(zeros, state.opt_state, state.params)
    moved = {
        jax.tree_util.keystr(path): bool(np.any(leaf != 0))
        for path, leaf in jax.tree_util.tree_leaves_with_path(updates)
    }
    norms = [name for name in moved if "norm" in name]
    assert norms
    assert not any(moved[name] for name in norms)
    assert all(moved[name] for name in moved if name not in norms)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", {0: 1 / 3, 1: 2 / 3, 2: 1, 9: 1}),
        ("cosine", {0: 1 / 3, 2: 1, 6: 0.55, 10: 0.1}),
        ("wsd", {0: 1 / 3, 2: 1, 8: 1, 9: 0.55, 10: 0.1}),
    ],
)
def test_schedules_at_known_steps(schedule, expected):
    config = dataclasses.replace(ADAMW, learning_rate=1.0, schedule=schedule)
    rate = make_schedule(config, 10)
    for step, value in expected.items():
        assert float(rate(step)) == pytest.approx(value), step


def test_a_decay_that_the_warm_up_delays_still_ends():
    late = dataclasses.replace(
        ADAMW, learning_rate=1.0, schedule="wsd", warmup_steps=6, decay_share=0.8
    )
    rate = make_schedule(late, 10)
    for step, value in {5: 6 / 7, 6: 1, 8: 0.55, 9: 0.325, 10: 0.1}.items():
        assert float(rate(step)) == pytest.approx(value), step


def test_warm_up_longer_than_the_stage_still_ends_finite():
    rate = make_schedule(dataclasses.replace(ADAMW, warmup_steps=100), 5)
    assert all(np.isfinite(float(rate(step))) for step in range(7))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("learning_rate", -1.0),
        ("learning_rate", float("nan")),
        ("b1", 1.0),
        ("schedule", "cosin"),
        ("algorithm", "lion"),
        ("mu_dtype", "float8"),
    ],
)
def test_an_impossible_optimizer_is_refused(key, value):
    with pytest.raises(ValueError, match=key):
        dataclasses.replace(ADAMW, **{key: value})


def test_step_is_deterministic(decoder, tools):
    tx, make_step = tools
    step, state, batch = jax.jit(make_step(1)), fresh(decoder, tx, 0), make_batch(5)
    jax.tree.map(np.testing.assert_array_equal, step(state, batch), step(state, batch))


def test_clipping_bounds_the_gradient(decoder):
    clipped = make_optimizer(dataclasses.replace(ADAMW, clip_norm=1e-3), 10)
    params = init_params(decoder, jax.random.key(0))
    huge = jax.tree.map(lambda x: jnp.full_like(x, 1e3), params)
    _, state = clipped.update(huge, clipped.init(params), params)
    moment = optax.tree.get(state, "mu")
    np.testing.assert_allclose(optax.tree.norm(moment), 1e-3 * (1 - ADAMW.b1), rtol=1e-4)
