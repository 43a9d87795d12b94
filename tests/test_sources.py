"""Sources: documents become tokens, epochs are shuffled, shards are disjoint."""

from dataclasses import replace

import grain
import numpy as np
import pytest
from data_fakes import Characters, numbered_source

from bakein.data.documents import ENDLESS
from bakein.data.errors import DataError
from bakein.data.sources import Source, encode_document, fingerprint
from bakein.data.tokenizers import BOS, EOS
from bakein.data.worlds.world import Document


def texts(stream, count):
    return [Characters().decode(stream[i]["tokens"]) for i in range(count)]


def test_a_document_of_n_tokens_takes_n_plus_one_positions():
    encoded = encode_document(Characters(), Document("ab", "c"), mask_prompt=False)
    a, b, c = map(ord, "abc")
    np.testing.assert_array_equal(encoded["tokens"], [BOS, a, b, c])
    np.testing.assert_array_equal(encoded["targets"], [a, b, c, EOS])
    np.testing.assert_array_equal(encoded["mask"], [1, 1, 1, 1])
    assert {k: str(v.dtype) for k, v in encoded.items()} == {
        "tokens": "int32",
        "targets": "int32",
        "mask": "float32",
    }


def test_sft_masks_the_targets_that_are_prompt_tokens():
    encoded = encode_document(Characters(), Document("ab", "c"), mask_prompt=True)
    np.testing.assert_array_equal(encoded["mask"], [0, 0, 1, 1])
    unmasked = encode_document(Characters(), Document("", "c"), mask_prompt=True)
    np.testing.assert_array_equal(unmasked["mask"], [1, 1])


def test_prompt_and_completion_are_encoded_apart():
    """As a sampler meets them, even where a subword would span the two."""

    class Pairs(Characters):
        def encode(self, text):
            return [100 + len(text[i : i + 2]) for i in range(0, len(text), 2)]

    encoded = encode_document(Pairs(), Document("a", "bc"), mask_prompt=True)
    np.testing.assert_array_equal(encoded["tokens"], [BOS, 101, 102])
    np.testing.assert_array_equal(encoded["mask"], [0, 1, 1])


@pytest.mark.parametrize("size", [50, 2**16 + 3])  # shuffled by us, and by grain
def test_an_epoch_holds_every_document_once_and_each_has_its_order(size):
    def epoch(number, seed):
        source = Source(range(size), Characters(), False, seed)
        # The order alone: what is read of a document is its number.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("bakein.data.sources.encode_document", lambda _, document, __: document)
            stream = source.stream(0, 1)
            assert isinstance(stream, grain.MapDataset)
            return [stream[i] for i in range(number * size, (number + 1) * size)]

    first, second = epoch(0, 0), epoch(1, 0)
    assert sorted(first) == sorted(second) == list(range(size))
    assert first != second
    assert first != list(range(size))
    assert epoch(0, 1) != first
    assert epoch(0, 0) == first
    # Correlation with the order of the documents, of which a shuffle has none.
    assert abs(np.corrcoef(first, range(size))[0, 1]) < 4 / size**0.5


def test_epochs_can_be_read_in_any_order():
    stream = numbered_source("a", size=10).stream(0, 1)
    forwards = texts(stream, 30)
    backwards = [Characters().decode(stream[i]["tokens"]) for i in reversed(range(30))]
    assert backwards[::-1] == forwards


def test_endless_documents_come_in_their_own_order():
    source = numbered_source("a", size=ENDLESS)
    texts(source.stream(0, 1), 5)
    assert source.documents.read == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("size", [ENDLESS, 10])
def test_shards_deal_out_one_stream(size):
    whole = texts(numbered_source("a", size=size).stream(0, 1), 36)
    shards = [texts(numbered_source("a", size=size).stream(s, 3), 12) for s in range(3)]
    assert [text for trio in zip(*shards, strict=True) for text in trio] == whole


def test_fingerprint_changes_with_anything_that_changes_the_batches():
    documents = tuple(Document("q", str(i)) for i in range(1000))
    source = Source(documents, Characters(), True, 0)

    class Shifted(Characters):
        def encode(self, text):
            return [ord(c) + 1 for c in text]

    late_change = (*documents[:990], Document("q", "changed"), *documents[991:])
    variants = [
        source,
        replace(source, documents=late_change),
        replace(source, documents=documents[:-1]),
        replace(source, documents=(Document("", "q0"), *documents[1:])),
        replace(source, tokenizer=Shifted()),
        replace(source, mask_prompt=False),
        replace(source, seed=1),
        numbered_source("a"),
        numbered_source("a", longest=19),
    ]
    digests = [variant.fingerprint() for variant in variants]
    assert len(set(digests)) == len(digests)
    assert replace(source, documents=tuple(documents)).fingerprint() == digests[0]
    assert len({fingerprint({name: source}) for name in "ab"}) == 2
    one = {"a": variants[0], "b": variants[1]}
    assert fingerprint(one) == fingerprint(dict(reversed(one.items())))
    assert fingerprint(one) != fingerprint({"a": variants[1], "b": variants[0]})


def test_fingerprint_of_endless_documents_reads_few():
    source = numbered_source("a")
    source.fingerprint()
    assert len(source.documents.read) <= 256


@pytest.mark.parametrize(
    ("documents", "seed", "message"),
    [
        ((), 0, "source: no documents"),
        ((Document("", "a"),), -1, "source seed: -1, must be between 0 and"),
        ((Document("", "a"),), 2**32, "source seed: 4294967296"),
    ],
)
def test_impossible_sources_are_told(documents, seed, message):
    with pytest.raises(DataError, match=message):
        Source(documents, Characters(), False, seed)
