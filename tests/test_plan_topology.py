"""Topologies: how they are written, what is wrong with them, and meshes over slices."""

import dataclasses

import jax
import numpy as np
import pytest

from bakein import mesh as mesh_lib
from bakein.plan import topology as topology_lib
from bakein.plan.chips import CHIPS
from bakein.plan.topology import Name, links, make_topology, parse
from bakein.study.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("v5p:8x8x4", Name("v5p", (8, 8, 4), 1)),
        ("2xv5e:16x16", Name("v5e", (16, 16), 2)),
        ("1xv6e:4x4", Name("v6e", (4, 4), 1)),
        ("V6E:2x2", Name("v6e", (2, 2), 1)),
        ("tpu7x:2x2x1", Name("tpu7x", (2, 2, 1), 1)),
        ("cpu:8", Name("cpu", (8,), 1)),
        ("local", Name("local", (), 1)),
    ],
)
def test_topologies_are_read_and_written(text, name):
    assert parse(text) == name
    assert parse(str(name)) == name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("v5x:4x4", "--topology: no 'v5x'; did you mean 'v5p'? known: cpu, local, tpu7x, v4, v5e"),
        ("trillium:4x4", "--topology: no 'trillium'; did you mean 'v6e'? "),
        ("v7:2x2", "--topology: no 'v7'; did you mean 'tpu7x'? known: cpu, local, tpu7x, "),
        ("v5litepod-16", "--topology is 'v5litepod-16'; it must be like v5p:8x8x4, "),
        ("v6e", "--topology is 'v6e'; it must be like "),
        ("", "--topology is ''; it must be like "),
        ("v6e:16*16", "--topology is 'v6e:16*16'; it must be like "),
        ("v6e:4x4x4", "--topology v6e:4x4x4: a slice of v6e has 2 dimensions, like v6e:4x4"),
        ("v5p:8x8", "--topology v5p:8x8: a slice of v5p has 3 dimensions, like v5p:4x4x4"),
        ("v5e:32x16", "--topology v5e:32x16: a slice of v5e has at most 256 chips"),
        ("v5e:3x3", "--topology v5e:3x3: hosts have 2x2 chips; of a slice of 4 chips or more the "),
        ("v5e:256x1", "--topology v5e:256x1: hosts have 2x2 chips; "),
        ("v5p:5x3x1", "--topology v5p:5x3x1: hosts have 2x2 chips; "),
        ("v5e:0x4", "--topology v5e:0x4: every number must be at least 1"),
        ("0xv5e:4x4", "--topology 0xv5e:4x4: every number must be at least 1"),
        ("cpu:2x2", "--topology cpu:2x2: a number of devices, like cpu:8"),
        ("2xcpu:8", "--topology 2xcpu:8: a number of devices, like cpu:8"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text, message):
    with pytest.raises(ConfigError) as error:
        parse(text)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_a_slice_that_the_compiler_does_not_know_is_said_in_its_words():
    with pytest.raises(ConfigError, match=r"--topology v5p:2x2x1536: .*Invalid hosts"):
        make_topology(parse("v5p:2x2x1536"))


def test_more_processors_than_there_are_names_the_flag():
    with pytest.raises(ConfigError, match="cpu:9: jax has 8 CPU devices; set XLA_FLAGS=--xla_f"):
        make_topology(parse("cpu:9"))


def test_a_machine_without_libtpu_is_told_what_to_install(monkeypatch):
    monkeypatch.delenv("TPU_LIBRARY_PATH", raising=False)
    monkeypatch.setattr(topology_lib.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"libtpu: pip install -e '\.\[tpu\]'$"):
        make_topology(parse("v5e:2x2"))


@pytest.mark.parametrize(
    ("text", "devices", "chips", "chip"),
    [
        ("v4:2x2x1", 4, 4, "v4"),
        ("v5e:4x4", 16, 16, "v5e"),
        ("v5e:1x1", 1, 1, "v5e"),
        ("v5e:1x3", 3, 3, "v5e"),
        ("v5p:2x2x1", 4, 4, "v5p"),
        ("2xv5e:2x2", 8, 8, "v5e"),
        ("tpu7x:2x2x1", 8, 4, "tpu7x"),
    ],
)
def test_absent_machines_have_their_devices(text, devices, chips, chip):
    topology = make_topology(parse(text))
    assert (len(topology.devices), topology.chips) == (devices, chips)
    assert topology.chip is CHIPS[chip]


def test_the_own_machine_is_local_and_nothing_is_published_of_its_processor():
    topology = make_topology(parse("local"))
    assert list(topology.devices) == jax.devices()
    assert topology.chip is None


@pytest.mark.parametrize(
    "sizes", [{"data": 2, "fsdp": 4, "tensor": 1}, {"data": 4, "fsdp": 1, "tensor": 2}]
)
def test_only_data_goes_between_slices(sizes):
    devices = make_topology(parse("2xv5e:2x2")).devices
    mesh = mesh_lib.make_mesh(**sizes, devices=devices)
    assert dict(mesh.shape) == {"member": 1, **sizes}
    slices = np.vectorize(lambda device: device.slice_index)(mesh.devices)
    # Along fsdp and tensor the slice never changes, along data it does.
    assert (slices == slices[:, :, :1, :1]).all()
    assert {*slices[0, :, 0, 0].tolist()} == {0, 1}


def test_a_mesh_that_would_tear_fsdp_over_slices_is_refused():
    devices = make_topology(parse("2xv5e:2x2")).devices
    with pytest.raises(ValueError, match="mesh data=1: it must be a multiple of 2, the slices"):
        mesh_lib.make_mesh(data=1, fsdp=8, tensor=1, devices=devices)


@pytest.mark.parametrize(
    ("text", "axis", "count"),
    [
        # A closed ring has two ways out, an open row one; rings of v5e close at 16 alone.
        ("v5p:4x4x4", (0,), 2),
        ("v5p:4x4x4", (0, 1, 2), 6),
        ("v5p:2x2x1", (0,), 1),
        # Of three dimensions all close or none.
        ("v5p:2x2x4", (2,), 1),
        ("v5p:2x4x4", (0, 1, 2), 3),
        ("v5e:4x4", (0, 1), 2),
        ("v5e:16x16", (0, 1), 4),
        ("v5e:16x16", (1,), 2),
    ],
)
def test_links_are_those_of_the_dimensions_that_a_group_spans(text, axis, count):
    topology = make_topology(parse(text))
    group = [
        device
        for device in topology.devices
        if all(place == 0 for i, place in enumerate(device.coords) if i not in axis)
    ]
    assert links(topology, group) == count


def test_a_part_of_a_ring_is_an_open_row():
    topology = make_topology(parse("v6e:16x16"))
    row = [device for device in topology.devices if device.coords[1] == 0]
    assert links(topology, row) == 2
    assert links(topology, row[:8]) == links(topology, row[:2]) == links(topology, row[::2]) == 1
    assert links(topology, [d for d in topology.devices if d.coords[0] < 4]) == 3


def test_devices_of_one_chip_share_its_links():
    topology = make_topology(parse("tpu7x:4x4x4"))
    along = [device for device in topology.devices if not any(device.coords[1:])]
    assert links(topology, along) == 2  # a ring of whole chips
    # Of each chip one device: what the others are in sends over the same links.
    assert links(topology, [device for device in along if device.core_on_chip == 0]) == 1
    assert links(topology, along[:2]) == 1  # inside a chip
    assert along[0].coords == along[1].coords


def test_a_machine_that_is_here_has_the_shape_that_its_devices_span():
    named = make_topology(parse("v5e:4x16"))
    local = dataclasses.replace(named, name=parse("local"))
    for group in (named.devices, named.devices[:4], named.devices[::4]):
        assert links(local, group) == links(named, group)
    assert links(local, named.devices) == 3
