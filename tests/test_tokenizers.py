"""Tokenizers: exact round trips, ids, files."""

import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakein.data.errors import DataError
from bakein.data.tokenizers import (
    BOS,
    EOS,
    PAD,
    BPETokenizer,
    CharTokenizer,
    load_tokenizer,
    train_bpe,
)

TEXTS = [
    "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\n#### 72",
    "the cat sat on the mat and the hat of the cat",
    "<bos> ⟨bos⟩ <pad> ⟨eos⟩ " * 50,
    "",
]
CHARS = CharTokenizer("abc é\n")
BPE = train_bpe(TEXTS, 400)
kinds = pytest.mark.parametrize("tokenizer", [CHARS, BPE], ids=["char", "bpe"])


@kinds
def test_ids_are_dense_and_leave_room_for_the_special_ones(tokenizer):
    assert (PAD, BOS, EOS) == (0, 1, 2)
    ids = tokenizer.encode("abc é\n")
    assert all(3 <= i < tokenizer.vocab_size for i in ids)
    assert all(type(i) is int for i in ids)
    assert tokenizer.encode("") == []


@kinds
def test_decoding_skips_special_ids_and_stops_nowhere(tokenizer):
    a, b = tokenizer.encode("a"), tokenizer.encode("b")
    assert tokenizer.decode([BOS, *a, EOS, PAD, *b, EOS]) == "ab"
    assert tokenizer.decode(np.array([BOS, *a, EOS], np.int32)) == "a"
    assert tokenizer.decode([]) == ""


@kinds
@pytest.mark.parametrize("wrong", [-1, 10**6])
def test_an_id_outside_the_vocabulary_is_refused(tokenizer, wrong):
    with pytest.raises(DataError, match=f"token {wrong}; 0 to {tokenizer.vocab_size - 1}"):
        tokenizer.decode([BOS, wrong])


@kinds
def test_a_saved_tokenizer_is_read_back_equal(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    again = load_tokenizer(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]
    for copy in (again, pickle.loads(pickle.dumps(tokenizer))):
        assert type(copy) is type(tokenizer)
        assert copy.encode("abc é\n") == tokenizer.encode("abc é\n")
        assert copy.vocab_size == tokenizer.vocab_size
    again.save(tmp_path)
    assert load_tokenizer(tmp_path) == again


def test_characters_have_their_place_in_the_alphabet():
    assert CHARS.vocab_size == 9
    assert CHARS.encode("cab\n") == [5, 3, 4, 8]


@pytest.mark.parametrize("text", ["abx", "ab\ud800", "A"])
def test_an_unknown_character_is_named_with_its_place(text):
    with pytest.raises(DataError, match=r"character '.+' at \d of .* not in") as caught:
        CHARS.encode(text)
    assert ascii(text[-1]) in str(caught.value)
    str(caught.value).encode()  # can be printed


@pytest.mark.parametrize("alphabet", ["", "aba"])
def test_an_alphabet_has_each_character_once(alphabet):
    with pytest.raises(DataError, match="alphabet"):
        CharTokenizer(alphabet)


@settings(deadline=None)
@given(st.text())
def test_bpe_brings_every_unicode_text_back(text):
    ids = BPE.encode(text)
    assert BPE.decode(ids) == text
    assert not {PAD, BOS, EOS} & set(ids)


@pytest.mark.parametrize("text", ["<bos>", "⟨bos⟩", "⟨eos⟩⟨pad⟩", "x⟨eos⟩y", "<|endoftext|>"])
def test_special_tokens_in_a_text_are_only_text(text):
    # though the training text was full of them
    ids = BPE.encode(text)
    assert not {PAD, BOS, EOS} & set(ids)
    assert BPE.decode(ids) == text


def test_bpe_merges_what_is_frequent():
    assert len(BPE.encode(" the")) == 1
    assert BPE.vocab_size <= 400


def test_bpe_stops_where_there_is_nothing_to_merge():
    assert train_bpe(["ab"], 1000).vocab_size == 3 + 256 + 1


def test_bpe_training_is_deterministic():
    assert train_bpe(iter(TEXTS), 400) == BPE


def test_sampled_bytes_that_are_no_character_decode_to_the_replacement_character():
    half = BPE.encode("日")[:1]
    assert BPE.decode(half) == "\ufffd"


def test_half_a_surrogate_pair_is_refused():
    with pytest.raises(DataError, match="surrogate"):
        BPE.encode("a\ud800")


def test_a_vocabulary_that_cannot_hold_the_bytes():
    with pytest.raises(DataError, match="vocab_size: 258; at least 259"):
        train_bpe(TEXTS, 258)


def renamed() -> dict:
    return {"kind": "bpe", "definition": json.loads(BPE.definition.replace("⟨bos⟩", "<s>"))}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe\xfd",
        b"[" * 100_000,
        b"null",
        b'{"kind": "char"}',
        b'{"kind": "char", "alphabet": 3}',
        b'{"kind": "char", "alphabet": "aa"}',
        b'{"kind": "words", "alphabet": "ab"}',
        b'{"kind": "bpe", "definition": {}}',
        b'{"kind": "bpe", "definition": {"model": {"type": "BPE"}}}',
        json.dumps(renamed()).encode(),
        json.dumps({"kind": "bpe", "definition": json.loads(BPE.definition)}).encode()[:-50],
    ],
)
def test_a_corrupt_file_is_told_in_one_line(tmp_path, content):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(DataError, match=r"tokenizer\.json: not a tokenizer") as caught:
        load_tokenizer(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_told_with_its_path(tmp_path):
    with pytest.raises(DataError, match=r"tokenizer\.json: cannot be read"):
        load_tokenizer(tmp_path)


def test_not_a_definition():
    with pytest.raises(DataError, match="not a definition"):
        BPETokenizer("nonsense")
