"""FLOPs counted in what jax traced, against the formula and against the unrolled program."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec

from bakein import mesh as mesh_lib
from bakein.model import Decoder, abstract_params, flops_per_token, kernels, presets
from bakein.plan import flops
from bakein.train.state import new_state
from bakein.train.step import make_train_step

ROWS, LENGTH = 2, 16


def step_flops(**computation):
    """FLOPs of a train step of a small decoder, and what its forward pass needs."""
    config = dataclasses.replace(presets.tiny(52), layers=3, **computation)
    tx = optax.sgd(1e-3)
    params = jax.tree.map(
        lambda box: box.value, abstract_params(config), is_leaf=lambda x: hasattr(x, "names")
    )
    state = jax.eval_shape(lambda p: new_state(p, tx), params)
    ints = jax.ShapeDtypeStruct((ROWS, LENGTH), jnp.int32)
    batch = dict.fromkeys(("tokens", "targets", "segments", "positions"), ints)
    batch["mask"] = jax.ShapeDtypeStruct((ROWS, LENGTH), jnp.float32)
    step = make_train_step(Decoder(config), tx, optax.constant_schedule(1e-3), 1, 0.0)
    counted = flops.count(jax.jit(step).trace(state, batch).jaxpr, 1)
    # The traced attention multiplies the whole square: every token sees `LENGTH` keys.
    return sum(counted.values()), flops_per_token(config, LENGTH, LENGTH) * ROWS * LENGTH


def test_a_train_step_is_three_forward_passes_scanned_or_not():
    for scan in (False, True):
        counted, forward = step_flops(scan_layers=scan, remat="none")
        assert counted == 3 * forward


def test_what_is_recomputed_counts():
    counted, forward = step_flops(scan_layers=True, remat="full")
    # All products of a layer but its last, whose result the backward pass does not need.
    assert 3.5 * forward < counted < 4 * forward


def product(x):
    return x @ x


X = jax.ShapeDtypeStruct((8, 8), jnp.float32)
ONE = 2 * 8**3


def count(function, *arguments, unknown=1):
    return sum(flops.count(jax.jit(function).trace(*arguments).jaxpr, unknown).values())


def test_loops_count_their_turns_and_conditionals_their_longest_branch():
    def repeated(x):
        return jax.lax.fori_loop(0, 5, lambda _, y: product(y), x)

    def until(x):
        return jax.lax.while_loop(lambda y: y[0, 0] < 9, product, x)

    def either(x):
        return jax.lax.cond(x[0, 0] > 0, lambda y: product(product(y)), product, x)

    assert count(repeated, X) == 5 * ONE
    assert count(until, X, unknown=7) == 7 * ONE
    assert count(either, X) == 2 * ONE


def test_inside_a_shard_map_every_device_counts():
    mesh = mesh_lib.make_mesh(data=8, fsdp=1, tensor=1)
    split = jax.shard_map(
        product, mesh=mesh, in_specs=PartitionSpec(), out_specs=PartitionSpec(), check_vma=False
    )
    assert count(split, X) == 8 * ONE


def test_batches_of_products_and_uneven_shapes():
    def batched(a, b):
        return jnp.einsum("bij,bkj->bik", a, b)

    shapes = (
        jax.ShapeDtypeStruct((4, 2, 3), jnp.float32),
        jax.ShapeDtypeStruct((4, 5, 3), jnp.float32),
    )
    assert count(batched, *shapes) == 2 * 4 * 2 * 5 * 3


def test_scopes_tell_parts_apart():
    def parts(x):
        y = product(x)
        with jax.named_scope("decode"):
            return jax.lax.while_loop(lambda z: z[0, 0] < 9, product, y)

    counted = flops.count(jax.jit(parts).trace(X).jaxpr, 10)
    inside = flops.matching(counted, lambda scope: "decode" in scope.split("/"))
    assert inside == 10 * ONE
    assert flops.matching(counted, lambda scope: True) == 11 * ONE


def test_a_kernel_says_what_it_costs_or_counts_every_step_of_its_grid():
    pl = pytest.importorskip("jax.experimental.pallas")

    def kernel(x_ref, o_ref):
        o_ref[...] = x_ref[...] @ x_ref[...]

    def call(x, **how):
        block = pl.BlockSpec((8, 8), lambda i: (0, 0))
        shape = jax.ShapeDtypeStruct((8, 8), jnp.float32)
        return pl.pallas_call(
            kernel, out_shape=shape, grid=(3,), in_specs=[block], out_specs=block, **how
        )(x)

    told = pl.CostEstimate(flops=123, bytes_accessed=0, transcendentals=0)
    assert count(call, X) == 3 * ONE
    assert count(lambda x: call(x, cost_estimate=told), X) == 123


@pytest.mark.parametrize("window", [None, 512, 700])
def test_of_splash_the_blocks_count_that_it_runs(window):
    length, block, size = 4096, 512, 64
    before = np.arange(length)[:, None] - np.arange(length)
    mask = (before >= 0) & (before < (window or length))
    blocks = mask.reshape(length // block, block, length // block, block).any(axis=(1, 3)).sum()

    config = dataclasses.replace(presets.llama3_8b(), attention="splash", head_dim=size)
    q, k = (jax.ShapeDtypeStruct((2, length, n, size), jnp.float32) for n in (4, 2))
    segments = jax.ShapeDtypeStruct((2, length), jnp.int32)

    def attend(q, k, segments):
        return kernels._splash(q, k, k, segments, config, None, window)

    def gradient(q, k, segments):
        return jax.grad(lambda *both: attend(*both, segments).sum(), argnums=(0, 1))(q, k)

    product = 2 * 2 * 4 * size * block**2 * blocks  # a product of queries and keys, of all heads
    assert count(attend, q, k, segments) == pytest.approx(2 * product)
    # Forward 2 products; of the gradient of keys and values 4, of that of queries 3.
    assert count(gradient, q, k, segments) == pytest.approx(9 * product, rel=1e-3)


@pytest.mark.parametrize("scan", [True, False])
def test_local_layers_count_the_blocks_of_their_window(scan):
    """Scanned, a layer chooses; unrolled and not recomputed, each is its own."""
    sizes = {"layers": 6, "attention": "splash", "remat": "none", "scan_layers": scan}
    config = dataclasses.replace(presets.gemma3_1b(), **sizes)
    assert config.local_layers.count(True) == 5

    def kernels_of(config):
        row = jax.ShapeDtypeStruct((1, 4096), jnp.int32)
        params = {"params": abstract_params(config)}
        counted = flops.count(jax.jit(Decoder(config).apply).trace(params, row, row, row).jaxpr, 1)
        return flops.matching(counted, lambda scope: kernels.RUNS in scope)

    everywhere = kernels_of(dataclasses.replace(config, window=None, global_every=1))
    # Of 8 x 8 blocks of 512, 36 are run of a global layer and 15 with a window of 512.
    assert kernels_of(config) == pytest.approx(everywhere * (5 * 15 / 36 + 1) / 6)
