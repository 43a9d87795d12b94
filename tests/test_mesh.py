"""The mesh: sizes, the strict table, and the same numbers on every shape of it."""

import dataclasses
import functools
import os
import pathlib
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec
from model_oracle import FAMILIES, apply, families, formula_params, packed_rows

from bakein import mesh as mesh_lib
from bakein.model import Decoder, abstract_params, presets

GOLDEN = pathlib.Path(__file__).parent / "golden" / "shardings_tiny.txt"
MESHES = {
    "data 8": {"data": 8, "fsdp": 1, "tensor": 1},
    "fsdp 4 x tensor 2": {"data": 1, "fsdp": 4, "tensor": 2},
    "data 2 x fsdp 2 x tensor 2": {"data": 2, "fsdp": 2, "tensor": 2},
}


def box(shape, *names):
    return nn.LogicallyPartitioned(jax.ShapeDtypeStruct(shape, jnp.float32), names)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((1, 1, 1, 1), (1, 1, 1, 1)),
        ((1, -1, 1, 1), (1, 8, 1, 1)),
        ((1, 2, -1, 2), (1, 2, 2, 2)),
        ((2, 1, 1, -1), (2, 1, 1, 4)),
        ((1, 8, -1, 1), (1, 8, 1, 1)),
    ],
)
def test_minus_one_is_the_rest_of_the_devices(sizes, expected):
    devices = 1 if sizes == (1, 1, 1, 1) else 8
    assert mesh_lib.mesh_sizes(*sizes, devices) == expected


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((1, 0, 1, 1), "every size must be at least 1, or -1"),
        ((1, -2, 1, 1), "every size must be at least 1, or -1"),
        ((1, -1, -1, 1), "only one size may be -1"),
        ((1, 3, 1, 1), "multiply to the number of devices, 8"),
        ((1, -1, 3, 1), "multiply to the number of devices, 8"),
        ((1, 16, -1, 1), "multiply to the number of devices, 8"),
        ((1, 4, 1, 1), "multiply to the number of devices, 8"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message) as error:
        mesh_lib.mesh_sizes(*sizes, 8)
    assert str(error.value).startswith(f"mesh member=1, data={sizes[1]}, fsdp={sizes[2]}")


def test_the_mesh_has_automatic_axes_and_takes_some_of_the_devices():
    mesh = mesh_lib.make_mesh(data=2, fsdp=1, tensor=1, devices=jax.devices()[3:5])
    assert dict(mesh.shape) == {"member": 1, "data": 2, "fsdp": 1, "tensor": 1}
    assert set(mesh.axis_types) == {AxisType.Auto}
    assert set(mesh.devices.flat) == set(jax.devices()[3:5])


@dataclasses.dataclass(frozen=True)
class FakeDevice:
    """What `make_mesh` reads of a device; two hosts of four."""

    id: int
    platform: str
    device_kind: str = "H100"
    client: None = None

    @property
    def slice_index(self):
        return self.id // 4

    @property
    def process_index(self):
        return self.id // 4


def test_hosts_of_gpus_are_no_slices():
    """XLA gives the devices of each of them a `slice_index`, too."""
    devices = [FakeDevice(i, "gpu") for i in range(8)]
    mesh = mesh_lib.make_mesh(data=1, fsdp=-1, tensor=1, devices=devices)
    assert dict(mesh.shape) == {"member": 1, "data": 1, "fsdp": 8, "tensor": 1}
    assert list(mesh.devices.flat) == devices
    tpus = [FakeDevice(i, "tpu") for i in range(8)]
    with pytest.raises(ValueError, match="data=1: it must be a multiple of 2, the slices of TPUs"):
        mesh_lib.make_mesh(data=1, fsdp=-1, tensor=1, devices=tpus)


@pytest.mark.parametrize(
    ("leaf", "message"),
    [
        (box((8,), "colour"), "layer/kernel: no mesh rule for the logical axis 'colour'"),
        (
            box((8, 8), "heads", "mlp"),
            "layer/kernel: the logical axis 'mlp' collides: mesh axis 'tensor' already splits "
            "another axis of ('heads', 'mlp')",
        ),
        (
            box((9,), "vocab"),
            "layer/kernel: axis 'vocab' is 9; it must be a multiple of 2, the mesh's tensor 2",
        ),
        (box((8, 8), "embed"), "layer/kernel: logical axes ('embed',) do not fit the shape (8, 8)"),
        (jax.ShapeDtypeStruct((8,), jnp.float32), "layer/kernel: no logical axes"),
    ],
)
def test_the_table_is_strict(leaf, message):
    mesh = mesh_lib.make_mesh(data=1, fsdp=4, tensor=2)
    with pytest.raises(ValueError, match="layer/kernel") as error:
        mesh_lib.logical_sharding(mesh, {"layer": {"kernel": leaf, "bias": box((8,), "mlp")}})
    assert str(error.value) == message


def test_a_collision_is_refused_on_a_mesh_of_one_device_too():
    mesh = mesh_lib.make_mesh(data=1, fsdp=1, tensor=1, devices=jax.devices()[:1])
    with pytest.raises(ValueError, match="collides"):
        mesh_lib.logical_sharding(mesh, {"kernel": box((8, 8), "heads", "mlp")})


def test_check_divisible_names_what_and_why():
    mesh = mesh_lib.make_mesh(data=2, fsdp=4, tensor=1)
    mesh_lib.check_divisible(mesh, "batch_size", 16)
    with pytest.raises(ValueError, match="batch_size") as error:
        mesh_lib.check_divisible(mesh, "batch_size", 12)
    assert str(error.value) == (
        "batch_size is 12; it must be a multiple of 8, the mesh's data 2 × fsdp 4"
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("scan", [False, True])
def test_every_family_has_a_rule_for_every_axis(family, scan):
    mesh = mesh_lib.make_mesh(data=4, fsdp=2, tensor=1)
    boxed = abstract_params(families(scan_layers=scan)[family])
    shardings = mesh_lib.logical_sharding(mesh, boxed)
    assert jax.tree.structure(shardings) == jax.tree.structure(nn.unbox(boxed))


@functools.cache
def logits_and_gradients(name):
    """Of one batch of the tiny model; `name` is a key of `MESHES`, or None for one device."""
    sizes = MESHES.get(name, {"data": 1, "fsdp": 1, "tensor": 1})
    mesh = mesh_lib.make_mesh(**sizes, devices=jax.devices()[: 8 if name else 1])
    batch = mesh_lib.batch_sharding(mesh)
    decoder = Decoder(presets.tiny(52), batch)
    tokens = np.random.default_rng(0).integers(0, 52, (8, 12)).astype(np.int32)
    positions = np.broadcast_to(np.arange(12, dtype=np.int32) % 6, tokens.shape)
    segments = np.broadcast_to(np.arange(12, dtype=np.int32) // 6 + 1, tokens.shape)
    rows = tokens, positions, segments

    params_sharding = mesh_lib.logical_sharding(mesh, abstract_params(decoder.config))
    init = jax.jit(
        lambda key: nn.unbox(decoder.init(key, *(x[:1] for x in rows)))["params"],
        out_shardings=params_sharding,
    )
    params = init(jax.random.key(0))

    def loss(params, *rows):
        logits = decoder.apply({"params": params}, *rows)
        return jnp.square(jax.nn.log_softmax(logits)).mean(), logits

    gradient = jax.jit(
        jax.grad(loss, has_aux=True),
        in_shardings=(params_sharding, batch, batch, batch),
        out_shardings=(params_sharding, batch),
    )
    gradients, logits = gradient(params, *rows)
    return params, gradients, logits


@pytest.mark.parametrize("name", MESHES)
def test_every_mesh_gives_the_logits_and_gradients_of_one_device(name):
    alone, together = logits_and_gradients(None), logits_and_gradients(name)

    def same(a, b):
        a, b = np.asarray(a), np.asarray(b)
        assert np.abs(a - b).max() <= 1e-4 * np.abs(a).max()

    jax.tree.map(same, alone, together)


def test_parameters_gradients_and_logits_are_really_split():
    params, gradients, logits = logits_and_gradients("data 2 x fsdp 2 x tensor 2")
    for tree in (params, gradients):
        attention = tree["layer_0"]["attention"]
        assert shard(tree["embed"]["embedding"]) == (52 // 2, 64 // 2)
        assert shard(attention["query"]["kernel"]) == (64 // 2, 2 // 2, 32)
        assert shard(attention["output"]["kernel"]) == (2 // 2, 32, 64 // 2)
        assert shard(tree["layer_1"]["mlp"]["gate_up"]["kernel"]) == (64 // 2, 2, 176 // 2)
        assert shard(tree["final_norm"]["scale"]) == (64 // 2,)
    assert shard(logits) == (8 // 4, 12, 52)


def shard(array):
    shapes = {piece.data.shape for piece in array.addressable_shards}
    assert len(array.addressable_shards) == 8
    assert len(shapes) == 1
    return shapes.pop()


@pytest.mark.parametrize("scan", [False, True])
def test_fsdp_gathers_weights_and_never_a_batch(scan):
    mesh = mesh_lib.make_mesh(data=1, fsdp=8, tensor=1)
    batch = mesh_lib.batch_sharding(mesh)
    config = dataclasses.replace(presets.tiny(52), layers=1, scan_layers=scan)
    boxed = abstract_params(config)
    shardings = mesh_lib.logical_sharding(mesh, boxed)
    row = jax.ShapeDtypeStruct((8, 13), jnp.int32)  # 13 is a size of activations only

    def collectives(decoder):
        def loss(params, *rows):
            return decoder.apply({"params": params}, *rows)[..., 0].sum()

        step = jax.jit(
            jax.grad(loss), in_shardings=(shardings, *[batch] * 3), out_shardings=shardings
        )
        text = step.lower(nn.unbox(boxed), row, row, row).compile().as_text()
        return re.findall(r"= (.*f32.*) (?:all-gather|all-reduce)\(", text)

    held, free = collectives(Decoder(config, batch)), collectives(Decoder(config))
    assert held
    assert not [shape for shape in held if "13" in shape]
    assert [shape for shape in free if "13" in shape]  # the reason for `rows`


def test_rows_may_be_held_under_vmap_over_members():
    mesh = mesh_lib.make_mesh(data=2, fsdp=1, tensor=1, member=4)
    config = families()["tiny"]
    members = [formula_params(config), jax.tree.map(lambda x: 0.9 * x, formula_params(config))]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *members)
    rows = packed_rows(19)
    decoder = Decoder(config, mesh_lib.batch_sharding(mesh))
    held = jax.jit(jax.vmap(lambda p: decoder.apply({"params": p}, *rows)))(stacked)
    for member, params in enumerate(members):
        np.testing.assert_allclose(held[member], apply(config, params, *rows), atol=1e-5)


def test_replicated_is_whole_everywhere():
    mesh = mesh_lib.make_mesh(data=2, fsdp=2, tensor=2)
    array = jax.device_put(np.ones((4, 4)), mesh_lib.replicated(mesh))
    assert shard(array) == (4, 4)


def test_golden_shardings():
    """A change of the table or of a parameter's axes shows up as a diff of this file.

    Written anew by `BAKEIN_UPDATE_GOLDEN=1 pytest tests/test_mesh.py`.
    """
    mesh = mesh_lib.make_mesh(data=2, fsdp=2, tensor=2)
    lines = []
    for scan in (False, True):
        config = dataclasses.replace(presets.tiny(52), scan_layers=scan)
        boxed = abstract_params(config)
        shardings = mesh_lib.logical_sharding(mesh, boxed)
        lines.append(f"tiny, vocabulary 52, scan_layers={scan}")
        flat = jax.tree_util.tree_flatten_with_path(shardings)[0]
        for (path, sharding), leaf in zip(flat, jax.tree.leaves(boxed), strict=True):
            assert isinstance(sharding.spec, PartitionSpec)
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            spec = ", ".join(str(axis) for axis in sharding.spec)
            lines.append(f"  {name:38} {leaf.shape!s:18} {spec}")
    text = "\n".join(lines) + "\n"
    if "BAKEIN_UPDATE_GOLDEN" in os.environ:
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")
