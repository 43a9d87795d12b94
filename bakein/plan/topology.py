"""The machine that a plan is for: TPUs that are not there, processors of this one, or its own."""

import dataclasses
import importlib.util
import math
import os
import re
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import topologies

from bakein.plan import libtpu
from bakein.plan.chips import CHIPS, Chip
from bakein.study.errors import ConfigError, unknown

FORMS = "v5p:8x8x4, 2xv5e:16x16 (two slices), cpu:8, or local"
# What else chips are called.
_MEANT = {"v5litepod": "v5e", "trillium": "v6e", "v7": "tpu7x", "v7x": "tpu7x", "ironwood": "tpu7x"}


@dataclasses.dataclass(frozen=True)
class Name:
    """A topology as it is written.

    Attributes:
        kind: a chip's name, "cpu", or "local".
        shape: chips along each dimension of a slice; of "cpu", how many devices.
        slices: how many slices.
    """

    kind: str
    shape: tuple[int, ...]
    slices: int

    def __str__(self):
        shape = "x".join(map(str, self.shape))
        text = f"{self.kind}:{shape}" if shape else self.kind
        return text if self.slices == 1 else f"{self.slices}x{text}"


@dataclasses.dataclass(frozen=True)
class Topology:
    """Devices to compile for.

    Attributes:
        name: as it is written.
        devices: of jax; nothing can be computed on those of an absent machine.
        chip: what is published about it; None for what is not a TPU.
    """

    name: Name
    devices: Sequence[jax.Device]
    chip: Chip | None

    @property
    def chips(self) -> int:
        """How many there are; a device where the chip is not known."""
        return len(self.devices) // (self.chip.devices if self.chip else 1)

    @property
    def absent(self) -> bool:
        """Whether nothing can be run on it, only compiled for it."""
        return self.name.kind in CHIPS

    @property
    def kind(self) -> str:
        """The device, for people."""
        return self.devices[0].device_kind


def parse(text: str) -> Name:
    """Reads `v5p:8x8x4`, `2xv5e:16x16`, `cpu:8` or `local`.

    Raises:
        ConfigError: it is none of these, or there is no such slice.
    """
    if text == "local":
        return Name("local", (), 1)
    match = re.fullmatch(r"(?:(\d+)x)?([A-Za-z]\w*):(\d+(?:x\d+)*)", text)
    if not match:
        kind = text.split(":")[0]
        if kind not in (*CHIPS, "cpu") and ":" in text:
            raise _no_such(kind)
        raise ConfigError(f"--topology is {text!r}; it must be like {FORMS}")
    slices, kind = int(match[1] or 1), match[2].lower()
    shape = tuple(int(size) for size in match[3].split("x"))
    if kind not in (*CHIPS, "cpu"):
        raise _no_such(kind)
    if slices < 1 or min(shape) < 1:
        raise ConfigError(f"--topology {text}: every number must be at least 1")
    if kind == "cpu":
        if len(shape) > 1 or slices > 1:
            raise ConfigError(f"--topology {text}: a number of devices, like cpu:8")
        return Name(kind, shape, slices)
    chip = CHIPS[kind]
    if len(shape) != chip.dimensions:
        raise ConfigError(
            f"--topology {text}: a slice of {kind} has {chip.dimensions} dimensions, like "
            f"{kind}:{'x'.join('4' * chip.dimensions)}"
        )
    if math.prod(shape) > chip.pod:
        raise ConfigError(f"--topology {text}: a slice of {kind} has at most {chip.pod} chips")
    if math.prod(shape) >= 4 and any(size % 2 for size in shape[:2]):
        raise ConfigError(
            f"--topology {text}: hosts have 2x2 chips; of a slice of 4 chips or more the first two "
            f"sizes must be even, like {kind}:{'x'.join('4' * chip.dimensions)}"
        )
    return Name(kind, shape, slices)


def _no_such(kind: str) -> ConfigError:
    return unknown("--topology", kind, (*CHIPS, "cpu", "local"), _MEANT.get(kind))


def make_topology(name: Name) -> Topology:
    """The devices of a topology; those of a TPU are made by its compiler, without the machine.

    Raises:
        ConfigError: there is no such slice, libtpu is not installed, or this machine has not as
            many devices.
    """
    if name.kind == "local":
        devices = jax.devices()
        return Topology(name, devices, _attached_chip(devices[0]))
    if name.kind == "cpu":
        devices = jax.devices("cpu")
        if len(devices) < name.shape[0]:
            flag = f"XLA_FLAGS=--xla_force_host_platform_device_count={name.shape[0]}"
            raise ConfigError(f"--topology {name}: jax has {len(devices)} CPU devices; set {flag}")
        return Topology(name, devices[: name.shape[0]], None)
    if not (importlib.util.find_spec("libtpu") or os.environ.get("TPU_LIBRARY_PATH")):
        raise ConfigError(
            f"--topology {name}: it takes the TPU compiler, libtpu: pip install -e '.[tpu]'"
        )
    libtpu.hush()
    one_slice = str(dataclasses.replace(name, slices=1))
    try:
        found = topologies.get_topology_desc(one_slice, platform="tpu", **_machine(name))
    except jax.errors.JaxRuntimeError as error:
        raise ConfigError(f"--topology {name}: {error}") from error
    return Topology(name, found.devices, CHIPS[name.kind])


def _machine(name: Name) -> dict[str, Any]:
    """What the compiler has to be told of a machine beside the shape of a slice."""
    told: dict[str, Any] = {}
    if name.slices > 1:
        told["num_slices"] = name.slices
    if name.kind == "v4":  # as its VMs have it; the compiler alone would take its cores apart
        told["chip_config_name"] = "megacore"
    if math.prod(name.shape) < 4:  # a slice smaller than a host
        told["chips_per_host_bounds"] = [*name.shape, *[1] * (3 - len(name.shape))]
    return told


def _attached_chip(device: jax.Device) -> Chip | None:
    """The chip of a TPU that this machine has."""
    kinds = {"TPU v4": "v4", "TPU v5 lite": "v5e", "TPU v5": "v5p", "TPU v6 lite": "v6e"}
    kinds["TPU7x"] = "tpu7x"
    return CHIPS.get(kinds.get(device.device_kind, ""))


def links(topology: Topology, group: Sequence[jax.Device]) -> float:
    """Links, one way each, over which a device of a group of devices can send at a time.

    Two for each dimension of the torus all around which the group's devices lie; one where they
    lie on a part of it, or the dimension is no closed ring; one where it is within a chip. Devices
    of one chip share its links: where a group has one device of each chip, the other devices'
    groups send as well.

    Rings close by optical switches between cubes of 4x4x4 where there are three dimensions: all
    of them or none.
    """
    chip = topology.chip
    chips = {tuple(device.coords) for device in group}
    spread = [len(set(column)) for column in zip(*chips, strict=True)]
    shape = topology.name.shape or np.ptp([d.coords for d in topology.devices], axis=0) + 1
    closed = [size % chip.ring == 0 for size in shape]
    if chip.dimensions == 3:
        closed = [all(closed)] * len(shape)
    ways = (
        2 if ring and spans == size else 1
        for ring, spans, size in zip(closed, spread, shape, strict=False)
        if spans > 1
    )
    return max(sum(ways), 1) * len(group) / (len(chips) * chip.devices)
