"""A tokenizer, documents and streams whose every token tells where it comes from."""

import random
from collections.abc import Sequence

import numpy as np

from bakein.data.documents import ENDLESS
from bakein.data.sources import Source
from bakein.data.worlds.world import Document


class Characters:
    """Encodes a character as its code point, which leaves the special ids free."""

    vocab_size = 128

    def encode(self, text):
        return [ord(c) for c in text]

    def decode(self, ids):
        return "".join(chr(i) for i in ids if i > 2)


class Numbered(Sequence):
    """Document i reads like "a12|aaaa" + "aaa.": its source's letter, its index, and filling."""

    def __init__(self, letter, size, shortest, longest):
        self.letter, self.size, self.shortest, self.longest = letter, size, shortest, longest
        self.read = []

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        if not 0 <= index < self.size:
            raise IndexError(index)
        self.read.append(index)
        length = random.Random(f"{self.letter}{index}").randint(self.shortest, self.longest)
        text = f"{self.letter}{index}|".ljust(length, self.letter)
        half = len(text) // 2
        return Document(prompt=text[:half], completion=text[half:])


def numbered_source(letter, size=ENDLESS, shortest=6, longest=18, seed=0, mask_prompt=False):
    return Source(Numbered(letter, size, shortest, longest), Characters(), mask_prompt, seed)


class Lengths(Sequence):
    """An endless encoded stream: document i has the i-th length; tokens are 100 * i + position."""

    def __init__(self, lengths):
        self.lengths = lengths

    def __len__(self):
        return ENDLESS

    def __getitem__(self, index):
        n = self.lengths[index % len(self.lengths)]
        tokens = 100 * index + np.arange(n, dtype=np.int32)
        return {"tokens": tokens, "targets": tokens + 1, "mask": np.ones(n, np.float32)}


def documents_of(batch):
    """(row, tokens, targets, positions, mask) of each document of a batch."""
    found = []
    for row, segments_L in enumerate(batch["segments"]):
        for segment in range(1, segments_L.max() + 1):
            where = segments_L == segment
            arrays = (batch[k][row][where] for k in ("tokens", "targets", "positions", "mask"))
            found.append((row, *arrays))
    return found
