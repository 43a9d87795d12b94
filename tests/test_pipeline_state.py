"""The pipeline's state: exact resumption, and the same data whoever packs which shards."""

import json

import grain
import numpy as np
import pytest
from data_fakes import documents_of
from pipeline_fakes import BACKGROUND, PACKING, PHASES, assert_equal_batches, batches_of, sources

from bakein.data.errors import DataError
from bakein.data.ledger import empty_ledger
from bakein.data.mixture import Mixture
from bakein.data.packing import Packing
from bakein.data.pipeline import Batches, read_ledger


@pytest.mark.parametrize("prefetch", [0, 2])
def test_resumed_at_any_step_it_goes_on_to_the_bit(prefetch):
    straight = batches_of()
    batches, states = [], [straight.get_state()]
    for batch in straight:
        batches.append(batch)
        states.append(json.loads(json.dumps(straight.get_state())))
    for step, state in enumerate(states):
        resumed = batches_of(prefetch=prefetch)
        for _ in range(min(3, len(batches))):  # a used iterator goes back as well
            next(resumed)
        resumed.set_state(state)
        assert resumed.get_state() == state
        assert_equal_batches(list(resumed), batches[step:])
        assert resumed.get_state() == states[-1]


def test_prefetch_reads_ahead_and_reports_what_was_handed_out():
    plain, ahead = batches_of(), batches_of(prefetch=3)
    for batch in plain:
        assert_equal_batches([next(ahead)], [batch])
        assert ahead.get_state() == plain.get_state()
    with pytest.raises(StopIteration):
        next(ahead)


def test_grain_agrees_that_checkpoints_are_exact():
    batches = Batches(sources(), Mixture(BACKGROUND, PHASES), PACKING, (0, 1))
    grain.experimental.assert_equal_output_after_checkpoint(batches)


@pytest.mark.parametrize("hosts", [2, 4])
def test_batches_do_not_depend_on_who_packs_which_shards(hosts):
    packing = Packing(batch=8, length=48, fill=0.7, shards=4)
    alone = batches_of(packing=packing)
    expected = list(alone)
    each = 4 // hosts
    dealt = [range(each * host, each * (host + 1)) for host in range(hosts)]
    iterators = [batches_of(packing=packing, shards=shards) for shards in dealt]
    parts = [list(iterator) for iterator in iterators]
    joined = [
        {name: np.concatenate([part[name] for part in step]) for name in step[0]}
        for step in zip(*parts, strict=True)
    ]
    assert_equal_batches(joined, expected)
    states = [iterator.get_state() for iterator in iterators]
    assert read_ledger(states, sources()) == read_ledger([alone.get_state()], sources())


def test_shards_share_no_document():
    packing = Packing(batch=4, length=48, fill=0.8, shards=4)
    seen = []
    for shard in range(4):
        iterator = batches_of(packing=packing, shards=(shard,))
        starts = [tuple(t) for b in iterator for _, _, t, *_ in documents_of(b) if t[-1] == 2]
        seen.append({targets for targets in starts if chr(targets[0]) in "wt"})
        assert len(seen[-1]) > 20
    assert len(set.union(*seen)) == sum(map(len, seen))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda state: state["shards"].pop("1"), r"holds shards \['0'\], these are"),
        (lambda state: state["shards"]["0"].pop("web"), r"holds sources \['facts', 'traces'\]"),
        (lambda state: state.update(step=99), "step 99, must be between 0 and 14"),
    ],
)
def test_a_foreign_state_is_told(spoil, message):
    iterator = batches_of()
    state = iterator.get_state()
    spoil(state)
    with pytest.raises(DataError, match=message):
        iterator.set_state(state)
    assert iterator.get_state()["shards"]["0"] == empty_ledger(("web", "facts", "traces"))
