"""Muon beside AdamW against numpy, for every shape of kernel; moments in bfloat16; on a mesh."""

import dataclasses

import flax.traverse_util as traverse
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from model_oracle import families, formula_params, packed_rows, stack_layers
from test_train import ADAMW

from bakein.mesh import batch_sharding, decoder_shardings, make_mesh, replicated
from bakein.model import Decoder
from bakein.train.optimizer import make_optimizer, make_schedule, muon_or_adamw
from bakein.train.state import new_state, state_shardings
from bakein.train.step import make_train_step

MUON = dataclasses.replace(ADAMW, algorithm="muon")
CONFIG = families(layers=2)["qwen2"]  # GQA, biases, norms, tied embeddings
MATRICES = {  # as two-dimensional matrices [in, out]
    "query": lambda w: [w.reshape(len(w), -1)],
    "key": lambda w: [w.reshape(len(w), -1)],
    "value": lambda w: [w.reshape(len(w), -1)],
    "output": lambda w: [w.reshape(-1, w.shape[-1])],
    "gate_up": lambda w: [w[:, 0], w[:, 1]],
    "down": lambda w: [w],
}


def updates_of(config, params, grads, steps=1):
    """The last of `steps` updates with the same gradients, by path."""
    tx = make_optimizer(dataclasses.replace(config, clip_norm=0.0), 10)

    @jax.jit
    def last(params, grads):
        state = tx.init(params)
        for _ in range(steps):
            updates, state = tx.update(grads, state, params)
        return updates

    return traverse.flatten_dict(jax.device_get(last(params, grads)), sep="/")


def orthogonal(matrix):
    """Five Newton-Schulz steps of Muon's quintic [Jordan et al., 2024], in float64."""
    x = np.float64(matrix)
    x = x / np.linalg.norm(x)
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x


@pytest.fixture(scope="module")
def params():
    return formula_params(CONFIG)


@pytest.fixture(scope="module")
def grads(params):
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda x: np.float32(0.1 * rng.standard_normal(x.shape)), params)


def test_matrices_of_the_layers_get_muon_and_the_rest_adamw(params, grads):
    found, adamw = updates_of(MUON, params, grads), updates_of(ADAMW, params, grads)
    weights = traverse.flatten_dict(params, sep="/")
    gradients = traverse.flatten_dict(grads, sep="/")
    rate = float(make_schedule(MUON, 10)(0))
    matrices = 0
    for name, update in found.items():
        path = name.split("/")
        if path[-1] != "kernel":
            np.testing.assert_array_equal(update, adamw[name], err_msg=name)
            continue
        as_matrices = MATRICES[path[-2]]
        parts = map(as_matrices, (update, gradients[name], weights[name]))
        for part, gradient, weight in zip(*parts, strict=True):
            matrices += 1
            steepest = 0.2 * max(gradient.shape) ** 0.5 * orthogonal(gradient)
            expected = -rate * (steepest + MUON.weight_decay * weight)
            np.testing.assert_allclose(part, expected, atol=1e-4 * rate, rtol=1e-3, err_msg=name)
    assert matrices == 2 * 7


def test_muon_of_scanned_layers_is_that_of_each_layer(params, grads):
    separate = traverse.unflatten_dict(updates_of(MUON, params, grads), sep="/")
    scanned = updates_of(MUON, stack_layers(params), stack_layers(grads))
    expected = traverse.flatten_dict(stack_layers(separate), sep="/")
    assert scanned.keys() == expected.keys()
    for name, update in scanned.items():
        np.testing.assert_allclose(update, expected[name], atol=1e-7, err_msg=name)


def test_a_kernel_of_unknown_axes_is_refused():
    with pytest.raises(ValueError, match="layer_0/router/kernel: Muon does not know"):
        muon_or_adamw({"layer_0": {"router": {"kernel": 0}}})


@pytest.mark.parametrize("config", [ADAMW, MUON], ids=lambda config: config.algorithm)
def test_a_first_moment_in_bfloat16(config, params, grads):
    half = dataclasses.replace(config, mu_dtype="bfloat16")
    state = jax.eval_shape(make_optimizer(half, 10).init, params)
    moments = jax.tree.leaves(optax.tree.get_all_with_path(state, "mu"))
    moments = [leaf for leaf in moments if hasattr(leaf, "dtype")]
    assert {leaf.dtype for leaf in moments} == {jnp.dtype("bfloat16")}
    assert sum(leaf.size for leaf in moments) == sum(x.size for x in jax.tree.leaves(params))
    whole = updates_of(config, params, grads, steps=3)
    for name, update in updates_of(half, params, grads, steps=3).items():
        error = np.abs(update - whole[name]).mean()
        assert 0 < error < 0.02 * np.abs(whole[name]).mean(), name


def test_muon_on_a_mesh_is_muon_alone():
    """Moments lie where their parameters lie, and the step gives the same."""
    mesh = make_mesh(data=2, fsdp=2, tensor=2)
    config = families(layers=2, scan_layers=True, vocab_size=24)["llama3"]
    tx = make_optimizer(MUON, 10)
    tokens, positions, segments = (jnp.tile(x, (2, 1)) for x in packed_rows(24))
    batch = {"tokens": tokens, "positions": positions, "segments": segments}
    batch |= {"targets": jnp.roll(tokens, -1, 1), "mask": jnp.float32(segments > 0)}

    def step_of(decoder):
        return make_train_step(decoder, tx, make_schedule(MUON, 10), 1, 0.0)

    start = new_state(formula_params(config), tx)
    expected, _ = jax.jit(step_of(Decoder(config)))(start, batch)
    decoder = Decoder(config, **decoder_shardings(mesh))
    shardings, rows = state_shardings(decoder, tx, mesh), batch_sharding(mesh)
    assert jax.tree.structure(shardings) == jax.tree.structure(start)
    step = jax.jit(
        step_of(decoder),
        in_shardings=(shardings, rows),
        out_shardings=(shardings, replicated(mesh)),
    )
    found, _ = step(jax.device_put(start, shardings), jax.device_put(batch, rows))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), found, expected
    )
    mu = found.opt_state[1].inner_states["muon"].inner_state[0].mu
    for place in (found.params, mu):
        kernel = place["layers"]["attention"]["query"]["kernel"]  # [layers, embed, heads, head_dim]
        assert tuple(kernel.sharding.spec) == (None, "fsdp", "tensor", None)
