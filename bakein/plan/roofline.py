"""The roofline: no step is faster than the slowest of what it computes, reads and sends.

    time = max(FLOPs / peak, bytes moved / memory bandwidth, bytes sent / interconnect,
               bytes sent between slices / network)                     [Williams et al., 2009]

It takes for granted that all of these overlap and that each runs at its published peak, so it is a
bound that real steps do not reach.
"""

import dataclasses
from collections.abc import Sequence

import jax

from bakein.plan.topology import Topology, links
from bakein.plan.traffic import Collective

BOUNDS = ("compute", "memory", "interconnect", "network")


@dataclasses.dataclass(frozen=True)
class Costs:
    """What a phase of a program costs a device, each time it runs.

    Attributes:
        flops: that it executes.
        moved: bytes to and from its memory.
        sent: bytes that it sends, by kind of collective.
        seconds: what each of `BOUNDS` takes by itself; None where the chip is not known.
    """

    flops: float
    moved: float
    sent: dict[str, float]
    seconds: dict[str, float] | None

    @property
    def time(self) -> float | None:
        """Seconds at the roofline."""
        return None if self.seconds is None else max(self.seconds.values())

    @property
    def bound(self) -> str:
        """What binds; "" where it is not known."""
        return "" if self.seconds is None else max(self.seconds, key=self.seconds.__getitem__)


def costs(
    flops: float,
    moved: float,
    collectives: Sequence[Collective],
    topology: Topology,
    devices: Sequence[jax.Device],
) -> Costs:
    """The roofline of a phase.

    Args:
        flops: of one device.
        moved: bytes of one device.
        collectives: of the phase.
        topology: the machine.
        devices: of the mesh, in its order: what the groups of collectives count in.
    """
    sent: dict[str, float] = {}
    for each in collectives:
        sent[each.kind] = sent.get(each.kind, 0.0) + each.bytes * each.times
    chip = topology.chip
    if chip is None:
        return Costs(flops, moved, sent, None)
    interconnect = network = 0.0
    for each in collectives:
        near, far, group = _split(each, devices)
        if near:
            interconnect += near / (links(topology, group) * chip.link)
        network += far * chip.devices / chip.network
    seconds = {
        "compute": flops * chip.devices / chip.flops,
        "memory": moved * chip.devices / chip.hbm,
        "interconnect": interconnect,
        "network": network,
    }
    return Costs(flops, moved, sent, seconds)


def _split(
    each: Collective, devices: Sequence[jax.Device]
) -> tuple[float, float, list[jax.Device]]:
    """Bytes sent within a slice and between slices, all times, and the group's first slice.

    Between slices each device sends its share of what the others lack; the rest stays inside, as
    the hierarchical algorithms do it. A group that could not be read is taken for all devices.
    """
    group = [devices[i] for i in each.group] if each.group else list(devices)
    total, n = each.bytes * each.times, len(group)
    if each.between:
        return 0.0, total, group
    slices: dict[int, list[jax.Device]] = {}
    for device in group:
        slices.setdefault(getattr(device, "slice_index", 0), []).append(device)
    first = next(iter(slices.values()))
    if n == 1 or len(slices) == 1:
        return total, 0.0, first
    whole, inside = total * n / (n - 1), n / len(slices)
    return whole * (inside - 1) / inside, whole * (len(slices) - 1) / n, first


def mfu(model_flops: float, seconds: float, topology: Topology) -> float:
    """Model FLOPs utilisation [2204.02311, appendix B]: of the peak of all chips."""
    return model_flops / (seconds * topology.chips * topology.chip.flops)
