"""Batches on a mesh: who packs what, and a state that any number of processes can go on from."""

import numpy as np
import pytest
from pipeline_fakes import BACKGROUND, PHASES, TOKENS, batches_of, sources

from bakein.data.errors import DataError
from bakein.data.mixture import Mixture
from bakein.data.packing import Packing
from bakein.mesh import batch_sharding, make_mesh
from bakein.train.feed import Feed, held_shards, tokens_of

PACKING = Packing(batch=8, length=48, fill=0.7, shards=4)


class Rows:
    """The sharding of a batch of 8 rows, as a process sees it that holds some of them."""

    def __init__(self, *rows):
        self.rows = rows

    def addressable_devices_indices_map(self, shape):
        assert shape == (8,)
        return {device: (rows,) for device, rows in enumerate(self.rows)}


@pytest.mark.parametrize(
    ("rows", "shards"),
    [
        ([slice(0, 4)], (0, 1)),
        ([slice(4, 6), slice(6, 8)], (2, 3)),
        ([slice(0, 1), slice(1, 2), slice(4, 5), slice(5, 6)], (0, 2)),  # a block of a torus
        ([slice(1, 3)], (0, 1)),  # a part of each
        ([slice(None)], (0, 1, 2, 3)),  # tensor parallel over the processes
        ([slice(0, 8, None)] * 2, (0, 1, 2, 3)),
    ],
)
def test_a_process_packs_the_shards_whose_rows_it_holds(rows, shards):
    assert held_shards(Rows(*rows), PACKING) == shards
    one = Packing(batch=8, length=48, fill=0.7, shards=1)
    assert held_shards(Rows(*rows), one) == (0,)


def feed_on(devices):
    mesh = make_mesh(data=devices, fsdp=1, tensor=1, devices=devices_of(devices))
    return Feed(sources(), Mixture(BACKGROUND, PHASES), PACKING, 2, batch_sharding(mesh))


def devices_of(count):
    import jax

    return jax.devices()[:count]


def test_the_batches_are_those_of_the_pipeline_on_every_mesh():
    plain, four, eight = batches_of(packing=PACKING), feed_on(4), feed_on(8)
    for _ in range(3):
        expected = next(plain)
        for feed in (four, eight):
            batch = next(feed)
            assert {name: np.asarray(batch[name]).tolist() for name in batch} == {
                name: expected[name].tolist() for name in expected
            }
            assert len(batch["tokens"].sharding.device_set) in (4, 8)


def test_another_mesh_goes_on_from_the_state():
    straight, first, second = feed_on(8), feed_on(8), feed_on(4)
    for _ in range(2):
        next(straight), next(first)
    state = first.get_state()
    assert list(state["shards"]) == ["0", "1", "2", "3"]
    second.set_state(state)
    assert tokens_of(second.local_state()) == tokens_of(state)
    assert 0 < tokens_of(state) < TOKENS
    np.testing.assert_array_equal(next(straight)["tokens"], next(second)["tokens"])
    del state["shards"]["2"]
    with pytest.raises(DataError, match=r"holds shards \['0', '1', '3'\], these are \['0', '1'"):
        second.set_state(state)
