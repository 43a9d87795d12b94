"""What a program takes of a device's memory: the compiler's own measure, on one scale."""

import jax
import jax.numpy as jnp
import pytest

from bakein import mesh as mesh_lib
from bakein.plan.memory import Memory, TooMuch, too_much
from bakein.plan.programs import Phase, Program
from bakein.plan.study import plan_program
from bakein.plan.topology import make_topology, parse

GIB = 2**30


def plan_attention(topology, rows, length, resident=0):
    """The plan of gradients through eight layers of attention, on one device."""
    mesh = mesh_lib.make_mesh(data=1, fsdp=1, tensor=1, devices=topology.devices[:1])
    x_BLD = jax.ShapeDtypeStruct(
        (rows, length, 128), jnp.float32, sharding=mesh_lib.replicated(mesh)
    )

    def loss(x_BLD):
        def layer(x_BLD, _):
            weights_BLK = jax.nn.softmax(jnp.einsum("bld,bkd->blk", x_BLD, x_BLD))
            return jnp.einsum("blk,bkd->bld", weights_BLK, x_BLD), None

        return jax.lax.scan(layer, x_BLD, None, length=8)[0].sum()

    trace = lambda: jax.jit(jax.grad(loss)).trace(x_BLD)  # noqa: E731
    phases = (Phase("step", rows * length, 1.0),)
    program = Program("attention", (), 1.0, trace, phases, turns=1, resident=resident)
    return plan_program(program, topology, mesh).memory


def test_what_the_compiler_accepts_fits_and_peaks_are_on_the_scale_of_its_refusals():
    topology = make_topology(parse("v5e:1x1"))
    half = plan_attention(topology, 28, 2048, resident=GIB)
    largest, refused = (plan_attention(topology, rows, 2048) for rows in (56, 57))
    assert isinstance(largest, Memory)
    assert isinstance(refused, TooMuch)
    assert half.peak < largest.peak <= topology.chip.memory < refused.peak
    # A row more or less takes the same, whether it is compiled or refused: to 0.01 GiB, in which
    # the compiler speaks.
    row = (largest.peak - (half.peak - half.resident)) / 28
    assert row == pytest.approx(largest.peak / 56, rel=0.01)
    assert refused.peak == pytest.approx(largest.peak + row, abs=0.01 * GIB)
    # Temporaries that do not live at the same time share memory.
    assert largest.arguments + largest.outputs + largest.temporary > topology.chip.memory


def test_on_a_processor_temporaries_count_in_full():
    """Its compiler reports a peak without them."""
    found = plan_attention(make_topology(parse("cpu:1")), 2, 128, resident=GIB)
    assert found.temporary > 0
    assert found.peak == found.arguments + found.outputs + found.temporary + GIB


@pytest.mark.parametrize(
    ("message", "peak"),
    [
        ("RESOURCE_EXHAUSTED: Used 48.00G of 15.75G hbm. Exceeded hbm capacity by 32.2G", 48.0),
        (
            "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO "
            "temporaries (512.00M) exceeds available HBM (15.25G).",
            0.5,
        ),
    ],
)
def test_the_compilers_complaint_is_read(message, peak):
    assert too_much(RuntimeError(message), 0).peak == peak * GIB
    assert too_much(RuntimeError(message), GIB).peak == (peak + 1) * GIB


def test_other_complaints_are_not_about_memory():
    assert too_much(RuntimeError("INTERNAL: a bug"), 0) is None
    assert too_much(RuntimeError("RESOURCE_EXHAUSTED: of patience"), 0) is None
