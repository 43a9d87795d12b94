"""Attention by kernels equals the reference: splash interpreted on the CPU, and what cuDNN is told.

And what is split along the length gives the same loss.
"""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_oracle import apply, families, formula_params, packed_rows

from bakein.mesh import decoder_shardings, logical_sharding, make_mesh, replicated
from bakein.model import Decoder, abstract_params, check_platform

# GQA in all; "gemma2" has soft-caps, and a local layer before a global one.
KINDS = {
    "plain": {"family": "llama3", "layers": 1},
    "windows and soft-caps": {"family": "gemma2", "layers": 2},
    "windows, scanned": {"family": "gemma2", "layers": 2, "scan_layers": True, "remat": "full"},
}


def config_of(family, **changes):
    return dataclasses.replace(families(**changes)[family], vocab_size=24)


def value_and_gradients(config, shardings=None, rows=2):
    """((a loss where there is text, its gradients), the compiled program); on a mesh if given."""
    decoder = Decoder(config, **(shardings or {}))
    batch = [jnp.tile(x, (rows // 2, 1)) for x in packed_rows(24)]
    params = formula_params(config)

    def loss(params, *batch):
        logits = decoder.apply({"params": params}, *batch)
        text = (batch[-1] > 0)[..., None]
        return jnp.sum(jnp.square(jnp.sin(logits)) * text) / rows

    if shardings is None:
        return jax.jit(jax.value_and_grad(loss))(params, *batch), ""
    mesh = shardings["rows"].mesh
    placed = logical_sharding(mesh, abstract_params(config))
    step = jax.jit(
        jax.value_and_grad(loss),
        in_shardings=(placed, *[shardings["rows"]] * 3),
        out_shardings=(replicated(mesh), placed),
    )
    program = step.lower(params, *batch).compile()
    placed = jax.device_put((params, *batch), (placed, *[shardings["rows"]] * 3))
    return program(*placed), program.as_text()


def assert_close(found, expected):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), found, expected
    )
    assert all(np.abs(x).max() > 1e-4 for x in jax.tree.leaves(expected))


@pytest.mark.parametrize("kind", list(KINDS))
def test_splash_equals_the_reference(kind):
    config = config_of(**KINDS[kind])
    found, _ = value_and_gradients(dataclasses.replace(config, attention="splash"))
    assert_close(found, value_and_gradients(config)[0])


def test_splash_on_a_mesh_equals_the_reference_alone():
    config = config_of("llama3", layers=1)
    shardings = decoder_shardings(make_mesh(data=2, fsdp=2, tensor=2))
    splash = dataclasses.replace(config, attention="splash")
    found, _ = value_and_gradients(splash, shardings, rows=4)
    assert_close(found, value_and_gradients(config, rows=4)[0])


def count_kernels(jaxpr):
    """Kernels of which something is used: jax keeps calls without results, the compiler does not.

    Nor are the kernels' own programs looked into.
    """
    count = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "pallas_call":
            count += 1
        elif equation.outvars:
            inner = jax.tree.leaves(equation.params, is_leaf=lambda x: hasattr(x, "eqns"))
            inner = [getattr(value, "jaxpr", value) for value in inner]
            count += sum(count_kernels(value) for value in inner if hasattr(value, "eqns"))
    return count


@pytest.mark.parametrize(("remat", "runs"), [("full", 2), ("attention", 1), ("dots_no_batch", 1)])
def test_a_kernel_whose_outputs_are_kept_runs_once(remat, runs):
    config = config_of("llama3", layers=1, remat=remat)
    config = dataclasses.replace(config, attention="splash")
    rows, params = packed_rows(24), formula_params(config)

    def loss(params):
        return Decoder(config).apply({"params": params}, *rows).sum()

    backward = 2  # kernels: of the queries, and of keys and values
    assert count_kernels(jax.make_jaxpr(jax.grad(loss))(params).jaxpr) == runs + backward


def test_rows_that_are_split_along_their_length_give_the_same():
    """Between the branches each of two devices holds half of a row: [1, 6, 16] of [1, 12, 16]."""
    config = config_of("llama3", layers=1)
    split = dataclasses.replace(config, shard_length=True)
    shardings = decoder_shardings(make_mesh(data=2, fsdp=2, tensor=2))
    found, text = value_and_gradients(split, shardings, rows=4)
    assert_close(found, value_and_gradients(config, rows=4)[0])
    parts = re.findall(r"= f32\[1,6,16\]\S* (?:add|dynamic-slice|fusion|reduce-scatter)\(", text)
    assert len(parts) >= 2


@pytest.mark.parametrize(("family", "layers"), [("llama3", 1), ("gemma3", 3)])
def test_what_cudnn_is_told_is_the_reference(family, layers, monkeypatch):
    """There is no GPU here: jax's own formula stands for the kernel, with the same arguments."""
    told = []

    def attention(*arrays, implementation, **how):
        told.append(implementation)
        return reference(*arrays, implementation="xla", **how)

    reference = jax.nn.dot_product_attention
    monkeypatch.setattr(jax.nn, "dot_product_attention", attention)
    config = config_of(family, layers=layers, head_dim=8, dtype="bfloat16")
    params, rows = formula_params(config), packed_rows(24)
    rows = [x[:, :11] for x in rows]  # an odd length
    expected = apply(config, params, *rows)
    found = apply(dataclasses.replace(config, attention="cudnn"), params, *rows)
    assert set(told) == {"cudnn"}
    error = np.abs(found - expected)[rows[-1] > 0]
    assert error.mean() < 0.02 * np.std(expected)  # bfloat16


def test_a_kernel_where_it_is_not_is_one_clear_line():
    splash = config_of("llama3", attention="splash")
    check_platform(splash, "tpu")
    check_platform(config_of("llama3"), "cpu")
    half = config_of("llama3", head_dim=8, dtype="bfloat16")
    cudnn = dataclasses.replace(half, attention="cudnn")
    for config, platform, line in (
        (splash, "gpu", "a kernel for the tpu; on the gpu it must be 'reference' or 'cudnn'"),
        (cudnn, "tpu", "a kernel for the gpu; on the tpu it must be 'reference' or 'splash'"),
        (cudnn, "cpu", "a kernel for the gpu; on the cpu it must be 'reference'"),
    ):
        with pytest.raises(ValueError, match=f"{line}$"):
            check_platform(config, platform)
    shardings = decoder_shardings(make_mesh(data=8, fsdp=1, tensor=1))
    decoder = Decoder(splash, rows=shardings["rows"])
    rows = [jax.ShapeDtypeStruct((8, 12), jnp.int32)] * 3
    with pytest.raises(ValueError, match="needs all of mesh"):
        jax.eval_shape(decoder.apply, {"params": abstract_params(splash)}, *rows)
