"""The device mesh, and the one table from logical axes to its axes.

A model names what each axis of a parameter means (`vocab`, `embed`, ...); `RULES` says over which
mesh axis that is split. Nothing is split or replicated by default: an axis that the table does not
know is an error.
"""

import math
from collections.abc import Sequence

import jax
from flax.core import meta
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXES = ("member", "data", "fsdp", "tensor")

# Logical axis -> mesh axis; None is "known, and not split".
RULES: dict[str, str | None] = {
    "member": "member",
    "layers": None,
    "vocab": "tensor",
    "embed": "fsdp",
    "heads": "tensor",
    "kv_heads": "tensor",
    "head_dim": None,
    "gate": None,
    "mlp": "tensor",
}

BATCH_AXES = ("data", "fsdp")  # the rows of a batch are split over both


def mesh_sizes(member: int, data: int, fsdp: int, tensor: int, devices: int) -> tuple[int, ...]:
    """Returns the size of each of `AXES`; one of them may be -1, for all devices that are left.

    Raises:
      ValueError: a size is neither positive nor -1, two are -1, or the product of the sizes is not
        the number of devices.
    """
    sizes = (member, data, fsdp, tensor)
    shown = ", ".join(f"{axis}={size}" for axis, size in zip(AXES, sizes, strict=True))
    if any(size < 1 and size != -1 for size in sizes):
        raise ValueError(f"mesh {shown}: every size must be at least 1, or -1 for the rest")
    if sizes.count(-1) > 1:
        raise ValueError(f"mesh {shown}: only one size may be -1")
    known = math.prod(size for size in sizes if size != -1)
    sizes = tuple(max(devices // known, 1) if size == -1 else size for size in sizes)
    if math.prod(sizes) != devices:
        raise ValueError(
            f"mesh {shown}: the sizes must multiply to the number of devices, {devices}"
        )
    return sizes


def make_mesh(
    data: int,
    fsdp: int,
    tensor: int,
    member: int = 1,
    devices: Sequence[jax.Device] | None = None,
) -> Mesh:
    """Returns the mesh over `devices` (all of them where None), with axes `AXES`.

    Sizes are as in `mesh_sizes`. Axes are `AxisType.Auto`: the compiler propagates shardings from
    the arguments of a jitted function, so the model says nothing about meshes. Where the devices
    are several slices of TPUs, `data` goes over the slow network between them, and the other axes
    stay inside a slice.

    Raises:
      ValueError: as `mesh_sizes`; the slices do not divide `data`.
    """
    devices = list(jax.devices() if devices is None else devices)
    sizes = mesh_sizes(member, data, fsdp, tensor, len(devices))
    # GPUs have a `slice_index` too, one for each host: no slices, and nothing to keep inside them.
    tpus = devices[0].platform == "tpu"
    slices = len({getattr(device, "slice_index", 0) for device in devices}) if tpus else 1
    if slices == 1:
        array = mesh_utils.create_device_mesh(sizes, devices, allow_split_physical_axes=True)
    else:
        place = AXES.index("data")
        if sizes[place] % slices:
            raise ValueError(
                f"mesh data={sizes[place]}: it must be a multiple of {slices}, the slices of TPUs, "
                "over whose network it goes"
            )
        outer = [slices if axis == "data" else 1 for axis in AXES]
        inner = [size // parts for size, parts in zip(sizes, outer, strict=True)]
        array = mesh_utils.create_hybrid_device_mesh(
            inner, outer, devices, allow_split_physical_axes=True
        )
    return Mesh(array, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def logical_sharding(mesh: Mesh, boxed):
    """Returns the `NamedSharding` of every parameter.

    Args:
      mesh: as from `make_mesh`.
      boxed: a tree of `flax.linen.LogicallyPartitioned` arrays or shapes.

    Returns:
      The tree of the unboxed parameters, with shardings as leaves: what `jax.jit` takes as
      `in_shardings` and `out_shardings`.

    Raises:
      ValueError: a leaf without logical axes; a logical axis that `RULES` does not have; two axes
        of a parameter on the same mesh axis; a size that its mesh axis does not divide. The line
        names the parameter and the axis.
    """

    def is_box(leaf):
        return isinstance(leaf, meta.Partitioned)

    def sharding(path, leaf):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if not is_box(leaf):
            raise ValueError(f"{name}: no logical axes")
        return NamedSharding(mesh, _partition(mesh, name, leaf.names, leaf.value.shape))

    return jax.tree_util.tree_map_with_path(sharding, boxed, is_leaf=is_box)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of arrays [B, ...]: rows over data and fsdp."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def decoder_shardings(mesh: Mesh) -> dict[str, NamedSharding]:
    """Returns what the decoder is told of the mesh, by the names of its attributes.

    `rows` of arrays [B, ...], as `batch_sharding`; `heads` of [B, L, N, H]; `stream` of [B, L, D]
    between the branches where L is split too. That is over the axis that splits the heads, as in
    Megatron's sequence parallelism [2205.05198]: inside a branch each device of it has all of L
    for its heads, outside it has all channels for its part of L, and going from one to the other
    costs no more than adding up the branches does. An axis of its own would have attention pass
    keys and values around (a ring), for rows longer than one device's heads have room for. And
    `head`, of the unembedding [D, V].
    """
    heads = PartitionSpec(BATCH_AXES, None, RULES["heads"], RULES["head_dim"])
    return {
        "rows": batch_sharding(mesh),
        "heads": NamedSharding(mesh, heads),
        "stream": NamedSharding(mesh, PartitionSpec(BATCH_AXES, RULES["heads"])),
        "head": NamedSharding(mesh, PartitionSpec(RULES["embed"], RULES["vocab"])),
    }


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of what every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def check_divisible(mesh: Mesh, name: str, size: int, axes: Sequence[str] = BATCH_AXES) -> None:
    """Raises `ValueError` where `size` cannot be split evenly over the product of mesh `axes`.

    Args:
      mesh: as from `make_mesh`.
      name: what has that size, for the message: a configuration key, or a parameter and its axis.
      size: for instance the rows of a batch.
      axes: mesh axes that it is split over.
    """
    parts = math.prod(mesh.shape[axis] for axis in axes)
    if size % parts != 0:
        shown = " × ".join(f"{axis} {mesh.shape[axis]}" for axis in axes)
        raise ValueError(f"{name} is {size}; it must be a multiple of {parts}, the mesh's {shown}")


def _partition(
    mesh: Mesh, name: str, names: tuple[str, ...], shape: tuple[int, ...]
) -> PartitionSpec:
    if len(names) != len(shape):
        raise ValueError(f"{name}: logical axes {names} do not fit the shape {shape}")
    spec: list[str | None] = []
    for logical, size in zip(names, shape, strict=True):
        if logical not in RULES:
            raise ValueError(f"{name}: no mesh rule for the logical axis {logical!r}")
        axis = RULES[logical]
        if axis is not None and axis in spec:
            raise ValueError(
                f"{name}: the logical axis {logical!r} collides: mesh axis {axis!r} already "
                f"splits another axis of {names}"
            )
        if axis is not None:
            check_divisible(mesh, f"{name}: axis {logical!r}", size, (axis,))
        spec.append(axis)
    return PartitionSpec(*spec)
