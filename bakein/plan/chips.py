"""What the makers publish about their chips: memory, speed, network, price.

Sources, read 2026-11-27: bf16 peak, memory and its bandwidth from the pages of each generation
under https://docs.cloud.google.com/tpu/docs/; links and data-centre network from the table of "How
to Scale Your Model" (https://jax-ml.github.io/scaling-book/tpus/), which is the more careful where
the two differ. What of the memory a program may use is what libtpu 0.0.42 allows. Prices are list
prices on demand in the United States (https://cloud.google.com/tpu/pricing), as quoted in 2026:
whoever pays has another one, and gives it with `--price`.
"""

import dataclasses

PRICES_OF = "2026"


@dataclasses.dataclass(frozen=True)
class Chip:
    """One generation of TPU. Everything is per chip but `memory`.

    Attributes:
        name: as in names of topologies.
        dimensions: of the torus.
        pod: chips of the largest slice.
        ring: a dimension is a closed ring where its size is a multiple of this; of three
            dimensions none is unless all are.
        devices: that jax sees; both cores of a v4 or v5p are one, with one memory ("megacore").
        memory: bytes of HBM that a program may use, per device.
        flops: bf16 peak, FLOP/s.
        hbm: bandwidth, bytes/s.
        link: bandwidth of a link to one neighbour, one way, bytes/s.
        network: bandwidth to other slices, bytes/s.
        price: US dollars an hour.
    """

    name: str
    dimensions: int
    pod: int
    ring: int
    devices: int
    memory: int
    flops: float
    hbm: float
    link: float
    network: float
    price: float


def _gib(count: float) -> int:
    return int(count * 2**30)


CHIPS = {
    chip.name: chip
    for chip in (
        Chip("v4", 3, 4096, 4, 1, _gib(30.75), 275e12, 1.2e12, 4.5e10, 6.25e9, 3.22),
        Chip("v5e", 2, 256, 16, 1, _gib(15.75), 197e12, 8.19e11, 4.5e10, 3.125e9, 1.20),
        Chip("v5p", 3, 6144, 4, 1, _gib(95.74), 459e12, 2.765e12, 9e10, 6.25e9, 4.20),
        Chip("v6e", 2, 256, 16, 1, _gib(31.25), 918e12, 1.638e12, 9e10, 1.25e10, 2.70),
        Chip("tpu7x", 3, 9216, 4, 2, _gib(94.75), 2307e12, 7.38e12, 9e10, 1.25e10, 12.00),
    )
}
