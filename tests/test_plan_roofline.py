"""The roofline's arithmetic, on machines that are not there."""

import pytest

from bakein.plan import roofline
from bakein.plan.topology import make_topology, parse
from bakein.plan.traffic import Collective


def costs(name, flops=0.0, moved=0.0, collectives=()):
    topology = make_topology(parse(name))
    return roofline.costs(flops, moved, collectives, topology, list(topology.devices))


def gather(sent, group=(), times=1):
    return Collective("all-gather", sent, tuple(group), times, (), False)


def test_each_part_takes_its_own_and_the_slowest_binds():
    found = costs("v5e:4x4", flops=197e12, moved=819e9 / 2, collectives=[gather(9e10 / 4)])
    assert found.seconds["compute"] == pytest.approx(1.0)
    assert found.seconds["memory"] == pytest.approx(0.5)
    # An open 4 x 4 has one link out along each of its two dimensions.
    assert found.seconds["interconnect"] == pytest.approx(0.25)
    assert found.seconds["network"] == 0.0
    assert (found.time, found.bound) == (pytest.approx(1.0), "compute")
    assert costs("v5e:4x4", moved=819e9).bound == "memory"
    assert costs("v5e:4x4", collectives=[gather(1.0)]).bound == "interconnect"


def test_repeated_collectives_add_up_by_kind():
    several = [gather(10.0, times=3), Collective("all-reduce", 4.0, (0, 1), 2, (), False)]
    found = costs("v5e:4x4", collectives=several)
    assert found.sent == {"all-gather": 30.0, "all-reduce": 8.0}


def test_a_group_along_one_dimension_has_its_links_alone():
    topology = make_topology(parse("v5e:4x4"))
    row = [i for i, device in enumerate(topology.devices) if device.coords[1] == 0]
    assert len(row) == 4
    whole, part = (
        costs("v5e:4x4", collectives=[gather(1e9)]),
        costs("v5e:4x4", collectives=[gather(1e9, row)]),
    )
    assert part.seconds["interconnect"] == 2 * whole.seconds["interconnect"]


def test_two_devices_of_a_chip_share_what_is_the_chips():
    # tpu7x: two devices a chip, half of the chip's peak, memory and network each.
    found = costs("tpu7x:2x2x1", flops=2307e12, moved=7.38e12)
    assert found.seconds["compute"] == pytest.approx(2.0)
    assert found.seconds["memory"] == pytest.approx(2.0)


def test_between_slices_goes_what_the_other_slice_lacks():
    # All 8 devices, of 2 slices: of 8 units each slice lacks 4, and its 4 devices bring 1 each.
    found = costs("2xv5e:2x2", collectives=[gather(7.0)])
    assert found.seconds["network"] == pytest.approx(1.0 / 3.125e9)
    # The rest is a gather inside: 3 of 4 of the whole.
    assert found.seconds["interconnect"] == pytest.approx(6.0 / (2 * 4.5e10))
    # Pairs across the slices use nothing else; groups within one none of it.
    assert costs("2xv5e:2x2", collectives=[gather(1.0, (0, 4))]).seconds["interconnect"] == 0.0
    assert costs("2xv5e:2x2", collectives=[gather(1.0, (0, 1, 2, 3))]).seconds["network"] == 0.0


def test_what_is_sent_between_slices_alone_takes_no_links():
    found = costs("2xv5e:2x2", collectives=[Collective("all-reduce", 5.0, (), 2, (), True)])
    assert found.seconds["network"] == pytest.approx(10.0 / 3.125e9)
    assert found.seconds["interconnect"] == 0.0
    assert found.sent == {"all-reduce": 10.0}


def test_nothing_is_known_of_an_unpublished_chip():
    found = costs("cpu:8", flops=1.0, moved=1.0, collectives=[gather(3.0)])
    assert (found.seconds, found.time, found.bound) == (None, None, "")
    assert found.sent == {"all-gather": 3.0}


def test_utilisation_is_of_the_peak_of_all_chips():
    topology = make_topology(parse("v5e:4x4"))
    assert roofline.mfu(16 * 197e12, 2.0, topology) == pytest.approx(0.5)
    doubled = make_topology(parse("tpu7x:2x2x1"))
    assert roofline.mfu(4 * 2307e12, 1.0, doubled) == pytest.approx(1.0)
