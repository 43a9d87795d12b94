"""The plan of an 8B train step on v6e-256 beside what MaxText measured of the same step.

    python benchmarks/maxtext.py [--remat full]

MaxText publishes Llama 3.1 8B on 256 chips of v6e, FSDP over all of them, 8,192 positions and 4
rows a chip: 4.546 s a step, 7,207 tokens/s/chip, 417.4 TFLOP/s/chip or 45.5 % of the peak
(https://github.com/AI-Hypercomputer/tpu-recipes, training/trillium/Llama3.1-8B-MaxText/v6e-256;
read 2026-11-27). Here the same step is compiled by the TPU compiler, without a TPU, and its
roofline stands beside that. What was compiled is bakein's step, not MaxText's: it recomputes where
MaxText moves activations to the host's memory and back.

Of the two utilisations MaxText's own counts the whole square of attention; half of it is masked.
Counted by causal attention, as bakein does, the same measurement is the smaller figure.
"""

import argparse

from peak_bytes import Case, plan_step

from bakein.model import flops_per_token, presets
from bakein.plan import libtpu
from bakein.plan.memory import TooMuch
from bakein.plan.roofline import BOUNDS, mfu
from bakein.plan.study import Planned
from bakein.plan.topology import Topology, make_topology, parse

CASE = Case("llama3_8b", "v6e:16x16", 4, 8192)
LENGTH, ROWS, STEP = CASE.length, CASE.rows * 256, 4.546  # rows of all chips, seconds as measured


def show(planned: Planned, topology: Topology) -> str:
    """The two beside each other."""
    config, tokens = presets.llama3_8b(), ROWS * LENGTH
    costs, chips = planned.costs[0], topology.chips
    flops = {
        name: 3 * flops_per_token(config, first, LENGTH) * tokens
        for name, first in (("causal", 0), ("whole square", LENGTH))
    }
    rows = [("", "plan, roofline", "MaxText, measured")]
    memory = planned.memory
    gib = f"{memory.peak / 2**30:.2f} of {topology.chip.memory / 2**30:.2f}"
    rows.append(("GiB of a chip", gib, "not published"))
    if isinstance(memory, TooMuch):
        return "\n".join(f"{a:34}{b:>22}{c:>22}" for a, b, c in rows)
    rows.append(("seconds of a step", f"{costs.time:.3f}", f"{STEP:.3f}"))
    rate = f"{tokens / costs.time / chips:,.0f}", f"{tokens / STEP / chips:,.0f}"
    rows.append(("tokens/s/chip", *rate))
    for name, count in flops.items():
        cells = (f"{mfu(count, seconds, topology):.1%}" for seconds in (costs.time, STEP))
        rows.append((f"MFU, attention counted as {name}", *cells))
    executed = costs.flops / STEP / topology.chip.flops
    rows.append(("of the peak, recomputing counted", _share(costs, topology), f"{executed:.1%} *"))
    for bound in BOUNDS:
        rows.append((f"  seconds of {bound}", f"{costs.seconds[bound]:.3f}", ""))
    lines = [f"{a:34}{b:>22}{c:>22}" for a, b, c in rows]
    lines += [
        f"The measured step takes {STEP / costs.time:.2f} times the roofline's. That leaves out: a",
        "product's real rate (tiles that are not full, start and end of kernels), what does not",
        "overlap (the first gathers, the last reductions, the optimizer), and all that is neither",
        "product nor traffic. MaxText recomputes less and moves activations to the host instead.",
        "* if it executed what bakein's step does.",
    ]
    return "\n".join(lines)


def _share(costs, topology: Topology) -> str:
    return f"{costs.flops / costs.time / topology.chip.flops:.1%}"


def main() -> None:
    """Compiles, which takes a minute of a processor, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--remat", default="full", help="policy of `bakein.model.remat`")
    arguments = parser.parse_args()
    libtpu.hush()
    topology = make_topology(parse(CASE.topology))
    planned = plan_step(CASE, topology, remat=arguments.remat)
    print(show(planned, topology))
    print(f"compiled in {planned.seconds:.0f} s; {planned.memory}")
    print(f"bytes sent: {planned.costs[0].sent}")


if __name__ == "__main__":
    main()
