"""Tokenizers: text ↔ token ids.

Two kinds: characters, for worlds with a small alphabet, and byte-level BPE, for real text. A
tokenizer is saved as `tokenizer.json` in the run that uses it.
"""

import functools
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from bakein.data.errors import DataError
from bakein.paths import path_of, write_text

PAD, BOS, EOS = 0, 1, 2

# In a BPE vocabulary the special tokens need names. These hold characters that byte-level text
# never does, so no merge can ever spell one.
_SPECIAL_NAMES = ("⟨pad⟩", "⟨bos⟩", "⟨eos⟩")

_FILE = "tokenizer.json"


class Tokenizer(Protocol):
    """What the other rooms know of a tokenizer. Ids 0, 1, 2 are PAD, BOS, EOS."""

    @property
    def vocab_size(self) -> int:
        """Number of ids, special ones included."""

    def encode(self, text: str) -> list[int]:
        """The ids of a text, no special ones among them; a `DataError` if it cannot be told."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; special ids are skipped and end nothing."""

    def save(self, directory: str | os.PathLike) -> None:
        """Writes `tokenizer.json` into an existing directory, whole or not at all."""


@dataclass(frozen=True)
class CharTokenizer:
    """One token per character.

    Attributes:
        alphabet: The characters, each once; the i-th has id 3 + i.
    """

    alphabet: str

    def __post_init__(self):
        if not self.alphabet:
            raise DataError("alphabet: empty; at least one character is needed")
        twice = {c for c in self.alphabet if self.alphabet.count(c) > 1}
        if twice:
            raise DataError(f"alphabet: {min(twice)!a} stands in it twice")

    @property
    def vocab_size(self) -> int:
        """Number of ids, special ones included."""
        return len(_SPECIAL_NAMES) + len(self.alphabet)

    def encode(self, text: str) -> list[int]:
        """The ids of the characters.

        Raises:
            DataError: A character is not in the alphabet.
        """
        try:
            return [self._ids[character] for character in text]
        except KeyError as error:
            character = error.args[0]
            raise DataError(
                f"character {character!a} at {text.index(character)} of "
                f"{text[:40]!a} is not in the tokenizer's alphabet"
            ) from None

    def decode(self, ids: Sequence[int]) -> str:
        """The characters of the ids that are not special."""
        specials = len(_SPECIAL_NAMES)
        return "".join(self.alphabet[i - specials] for i in _known(ids, self.vocab_size))

    def save(self, directory: str | os.PathLike) -> None:
        """Writes `tokenizer.json`."""
        _write(directory, {"kind": "char", "alphabet": self.alphabet})

    @functools.cached_property
    def _ids(self) -> dict[str, int]:
        return {c: i for i, c in enumerate(self.alphabet, len(_SPECIAL_NAMES))}


@dataclass(frozen=True)
class BPETokenizer:
    """Byte-level BPE: every Unicode text can be encoded, and comes back exactly.

    Text is only ever text: `<bos>` typed by a user is five or so ordinary tokens. Ids that do not
    make up whole UTF-8 characters, as a model may sample, decode to U+FFFD.

    Attributes:
        definition: What the `tokenizers` library calls the tokenizer's JSON.
    """

    definition: str

    def __post_init__(self):
        try:
            found = tuple(self._model.id_to_token(i) for i in (PAD, BOS, EOS))
        except Exception as error:  # the library raises nothing more special
            reason = (str(error).splitlines() or [""])[0]
            raise DataError(f"not a definition of a tokenizer: {reason}") from None
        if found != _SPECIAL_NAMES:
            raise DataError(f"tokens 0 to 2 are {found}; {_SPECIAL_NAMES} are needed")

    def __reduce__(self):
        return BPETokenizer, (self.definition,)

    @property
    def vocab_size(self) -> int:
        """Number of ids, special ones included."""
        return self._model.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        """The ids of the text.

        Raises:
            DataError: It holds half a surrogate pair, so it is not Unicode text.
        """
        try:
            return self._model.encode(text, add_special_tokens=False).ids
        except TypeError:
            raise DataError(f"{text[:40]!a} holds half a surrogate pair") from None

    def decode(self, ids: Sequence[int]) -> str:
        """The text of the ids that are not special."""
        return self._model.decode(_known(ids, self.vocab_size))

    def save(self, directory: str | os.PathLike) -> None:
        """Writes `tokenizer.json`."""
        _write(directory, {"kind": "bpe", "definition": json.loads(self.definition)})

    @functools.cached_property
    def _model(self) -> tokenizers.Tokenizer:
        model = tokenizers.Tokenizer.from_str(self.definition)
        model.encode_special_tokens = True  # not part of the definition
        return model


def train_bpe(texts: Iterable[str], vocab_size: int) -> BPETokenizer:
    """Trains a byte-level BPE, the same for the same texts.

    Args:
        texts: Training text.
        vocab_size: Ids at most, special ones included; fewer if the text has fewer merges.
    """
    model = tokenizers.Tokenizer(models.BPE())
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    least = len(_SPECIAL_NAMES) + len(alphabet)
    if vocab_size < least:
        raise DataError(f"vocab_size: {vocab_size}; at least {least} is allowed for bytes")
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(_SPECIAL_NAMES),
        initial_alphabet=alphabet,
        show_progress=False,
    )
    model.train_from_iterator(texts, trainer)
    return BPETokenizer(model.to_str())


def load_tokenizer(directory: str | os.PathLike) -> CharTokenizer | BPETokenizer:
    """Reads what `save` wrote.

    Raises:
        DataError: The file is missing or is not a tokenizer.
    """
    path = path_of(os.fspath(directory)) / _FILE
    try:
        saved = json.loads(path.read_bytes())
        match saved:
            case {"kind": "char", "alphabet": str(alphabet)}:
                return CharTokenizer(alphabet)
            case {"kind": "bpe", "definition": dict(definition)}:
                return BPETokenizer(json.dumps(definition))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a tokenizer: {error}") from None
    raise DataError(f"{path}: not a tokenizer: neither of kind 'char' nor 'bpe'")


def _known(ids: Sequence[int], vocab_size: int) -> list[int]:
    """The ids that are not special, as Python integers."""
    numbers = [int(i) for i in ids]
    for number in numbers:
        if not 0 <= number < vocab_size:
            raise DataError(f"token {number}; 0 to {vocab_size - 1} are allowed")
    return [number for number in numbers if number >= len(_SPECIAL_NAMES)]


def _write(directory: str | os.PathLike, saved: dict) -> None:
    write_text(path_of(os.fspath(directory)) / _FILE, json.dumps(saved))
