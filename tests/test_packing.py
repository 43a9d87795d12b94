"""Packing: rows hold whole documents, the ledger counts what the rows hold."""

import numpy as np
import pytest
from data_fakes import Lengths, documents_of
from hypothesis import given, settings
from hypothesis import strategies as st

from bakein.data.errors import DataError
from bakein.data.ledger import (
    add_ledgers,
    copy_ledger,
    empty_ledger,
    subtract_ledgers,
    total_tokens,
)
from bakein.data.mixture import Mixture
from bakein.data.packing import Packing, pack
from bakein.data.schedules import constant
from bakein.data.tokenizers import PAD

ENDLESS_MIXTURE = Mixture({"web": 1.0}, constant({}, 10**9))


def pack_lengths(lengths, until=10**6, rows=2, length=20, mixture=ENDLESS_MIXTURE):
    ledger = empty_ledger(["web"])
    batch = pack(mixture, {"web": Lengths(lengths)}, ledger, until, rows, length)
    return batch, ledger["web"]


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=30),
    st.integers(1, 4),
    st.integers(1, 120),
)
def test_rows_hold_whole_documents_in_order(lengths, rows, until):
    stream = Lengths(lengths)
    batch, counts = pack_lengths(lengths, until, rows)
    documents = sorted(documents_of(batch), key=lambda document: document[1][0])
    assert len(documents) == counts["documents"]
    for index, (row, tokens, targets, positions, mask) in enumerate(documents):
        np.testing.assert_array_equal(tokens, stream[index]["tokens"])
        np.testing.assert_array_equal(targets, stream[index]["targets"])
        np.testing.assert_array_equal(positions, np.arange(len(tokens)))
        np.testing.assert_array_equal(mask, 1)
        assert 0 <= row < rows
    real_RL = batch["segments"] > 0
    assert counts["tokens"] == real_RL.sum()
    # Padding stands at the ends of rows and trains nothing.
    assert (np.diff(real_RL.astype(int), axis=1) <= 0).all()
    assert (batch["tokens"][~real_RL] == PAD).all()
    assert (batch["targets"][~real_RL] == PAD).all()
    assert (batch["mask"][~real_RL] == 0).all()
    # Closed for a reason: the clock, within a document, or a document that has no room.
    following = len(stream[counts["documents"]]["tokens"])
    room = 20 - real_RL.sum(axis=1).min()
    assert until <= counts["tokens"] < until + max(lengths) or following > room


def test_first_fit_goes_back_to_earlier_rows():
    batch, _ = pack_lengths([12, 12, 5, 8, 3, 20])
    np.testing.assert_array_equal(batch["segments"][0], [1] * 12 + [2] * 5 + [3] * 3)
    np.testing.assert_array_equal(batch["segments"][1], [1] * 12 + [2] * 8)
    np.testing.assert_array_equal(batch["tokens"][0, [0, 12, 17]], [0, 200, 400])


def test_arrays_have_the_types_of_a_batch():
    batch, _ = pack_lengths([12])
    assert {name: str(array.dtype) for name, array in batch.items()} == {
        "tokens": "int32",
        "targets": "int32",
        "segments": "int32",
        "positions": "int32",
        "mask": "float32",
    }
    assert {array.shape for array in batch.values()} == {(2, 20)}


def test_a_document_without_room_opens_the_next_batch():
    streams = {"web": Lengths([12, 13, 14, 15])}
    ledger = empty_ledger(["web"])
    pack(ENDLESS_MIXTURE, streams, ledger, 1000, 2, 20)
    assert ledger["web"] == {"documents": 2, "tokens": 25, "cut": 0, "skipped": 0}
    batch = pack(ENDLESS_MIXTURE, streams, ledger, 1000, 2, 20)
    assert batch["tokens"][0, 0] == 200
    assert ledger["web"] == {"documents": 4, "tokens": 54, "cut": 0, "skipped": 0}


def test_documents_longer_than_a_row_are_skipped_and_counted():
    batch, counts = pack_lengths([21, 20, 99, 5], until=25)
    assert counts == {"documents": 2, "tokens": 25, "cut": 0, "skipped": 2}
    assert sorted({t // 100 for t in batch["tokens"][batch["segments"] > 0]}) == [1, 3]


def test_a_source_without_any_fitting_document_is_told():
    with pytest.raises(DataError, match=r"source 'web': 1000 documents .* longer than a row of 20"):
        pack_lengths([21])


def test_many_skipped_documents_are_no_error_while_some_fit():
    _, counts = pack_lengths([21] * 999 + [1], until=3)
    assert counts == {"documents": 3, "tokens": 3, "cut": 0, "skipped": 2997}


def test_the_last_document_of_a_phase_is_cut_to_fit():
    phases = constant({}, 15) + constant({}, 10_000)
    batch, counts = pack_lengths([12, 9, 4], until=19, mixture=Mixture({"web": 1.0}, phases))
    assert counts == {"documents": 3, "tokens": 19, "cut": 6, "skipped": 0}
    np.testing.assert_array_equal(batch["segments"][0], [1] * 12 + [2] * 3 + [3] * 4 + [0])


def test_the_last_batch_cuts_documents_to_its_gaps():
    mixture = Mixture({"web": 1.0}, constant({}, 40))
    batch, counts = pack_lengths([13], until=40, mixture=mixture)
    assert (batch["segments"] > 0).all()
    assert counts == {"documents": 4, "tokens": 40, "cut": 12, "skipped": 0}


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 10**6), st.floats(0.01, 1.0), st.integers(1, 64), st.integers(2, 512))
def test_steps_are_just_enough(tokens, fill, batch, length):
    packing = Packing(batch, length, fill, 1)
    per_step = fill * batch * length
    assert (packing.steps(tokens) - 1) * per_step < tokens * (1 + 1e-9)
    assert tokens <= packing.steps(tokens) * per_step * (1 + 1e-9)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((0, 96, 0.9, 1), "batch: 0, must be a multiple of shards"),
        ((6, 96, 0.9, 4), r"batch: 6, must be a multiple of shards \(4\)"),
        ((6, 1, 0.9, 1), "length: 1, must be at least 2"),
        ((6, 96, 0.0, 1), "fill: 0, must be above 0 and at most 1"),
        ((6, 96, 1.1, 1), "fill: 1.1"),
        ((6, 96, float("nan"), 1), "fill: nan"),
        ((6, 96, 0.9, 0), "shards: 0"),
    ],
)
def test_impossible_shapes_are_told(values, message):
    with pytest.raises(DataError, match=message):
        Packing(*values)


def test_ledgers_add_and_subtract():
    one, two = empty_ledger("ab"), empty_ledger("ab")
    one["a"].update(documents=3, tokens=30)
    two["a"].update(documents=1, tokens=9, cut=2, skipped=1)
    total = add_ledgers([one, two])
    assert total["a"] == {"documents": 4, "tokens": 39, "cut": 2, "skipped": 1}
    assert total_tokens(total) == 39
    assert subtract_ledgers(total, two) == one
    duplicate = copy_ledger(one)
    duplicate["a"]["tokens"] = 0
    assert one["a"]["tokens"] == 30
