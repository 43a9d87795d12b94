"""Filler: text in an invented language, with nothing to be right about.

Words follow Zipf's law; the next word is, with probability `bigram`, one of a few favourites of
the word before it (a Markov chain), otherwise a word at random. So there is something to learn at
both orders, as in real text, and no answers.

A problem's `prompt` is the text; in its document the text is the completion, so that
supervised fine-tuning, which masks prompts, trains on it.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bakein.data.errors import DataError
from bakein.data.worlds.world import (
    Check,
    Document,
    Endless,
    Problem,
    Stream,
    balanced,
    distinct,
    fill,
    generator,
    require_between,
    require_share,
    split_of,
)

LETTERS = "abcdefghijklmnopqrstuvwxyz"
_SHORTEST, _LONGEST = 2, 6  # letters of a word
_FAVOURITES = 4  # words that like to follow a word
_BLOCK = 256  # texts made at once by a training sequence
_CHUNK = 64  # texts drawn at once
_PATIENCE = 10_000  # draws without a new text


@dataclass(frozen=True)
class Filler:
    """The world of filler text.

    Attributes:
        vocabulary: Words of the language, 1 to 10,000.
        words: Words of a text.
        zipf: The word of rank r has probability proportional to r**-zipf.
        bigram: Probability that the next word depends on the word before it, in [0, 1].
        test_share: Share of all texts that is held out, in (0, 1).
        seed: Decides the language.
    """

    vocabulary: int
    words: int
    zipf: float
    bigram: float
    test_share: float
    seed: int

    alphabet: ClassVar[str] = " " + LETTERS
    levels: ClassVar[tuple[int, ...]] = (1,)
    forms: ClassVar[tuple[str, ...]] = ("text",)

    def __post_init__(self):
        require_between("vocabulary", self.vocabulary, 1, 10_000)
        if self.words < 1:
            raise DataError(f"words: {self.words}; at least 1 is allowed")
        if not 0 <= self.zipf < np.inf:
            raise DataError(f"zipf: {self.zipf}; a finite number, at least 0, is allowed")
        require_share("bigram", self.bigram)
        if not 0 < self.test_share < 1:
            raise DataError(f"test_share: {self.test_share}; between 0 and 1 is allowed")

    def train(self, seed: int) -> Endless:
        """Endless texts."""
        return Endless(functools.partial(self._block, seed), _BLOCK)

    def test(self, n: int, seed: int) -> list[Problem]:
        """`n` distinct held-out texts."""
        stream = distinct(self._stream(generator("filler", "test", seed), "test"))
        return fill(balanced(n, self.levels), {1: stream}, _PATIENCE, "filler")

    def document(self, problem: Problem, form: str, steps: Sequence[str]) -> Document:
        """The text as a completion; `steps` is `()`."""
        if form not in self.forms:
            raise DataError(f"form: {form!r}; {', '.join(self.forms)} is allowed")
        return Document("", problem.prompt)

    def wrong_step(self, problem: Problem, index: int, rng: np.random.Generator) -> str:
        """Raises: filler has no steps."""
        raise DataError("filler has no steps to corrupt")

    def check(self, problem: Problem, completion: str) -> Check:
        """Never right; well formed if made of the language's words."""
        return Check(False, set(completion.split(" ")) <= set(self._language[0]), ())

    def _block(self, seed: int, number: int) -> list[Problem]:
        rng = generator("filler", "train", seed, number)
        return fill([1] * _BLOCK, {1: self._stream(rng, "train")}, _PATIENCE, "filler")

    def _stream(self, rng: np.random.Generator, split: str) -> Stream:
        for text in self._texts(rng):
            mine = split_of(f"filler {text}", self.test_share) == split
            yield (text, Problem(text, "", (), 1)) if mine else None

    def _texts(self, rng: np.random.Generator) -> Iterator[str]:
        words, cumulative_V, favourites_VF = self._language
        while True:
            word_C = _draw(cumulative_V, rng, _CHUNK)
            text_WC = [word_C]
            for _ in range(self.words - 1):
                favourite_C = favourites_VF[word_C, rng.integers(_FAVOURITES, size=_CHUNK)]
                follows_C = rng.random(_CHUNK) < self.bigram
                word_C = np.where(follows_C, favourite_C, _draw(cumulative_V, rng, _CHUNK))
                text_WC.append(word_C)
            for text in np.stack(text_WC, axis=1).tolist():
                yield " ".join([words[word] for word in text])

    @functools.cached_property
    def _language(self) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
        """Words by rank, their cumulative probabilities [V], the favourites after each [V, F]."""
        rng = generator("filler", "language", self.seed)
        words: dict[str, None] = {}
        while len(words) < self.vocabulary:
            letters = rng.integers(len(LETTERS), size=rng.integers(_SHORTEST, _LONGEST + 1))
            words["".join(LETTERS[letter] for letter in letters)] = None
        weights_V = np.arange(1.0, self.vocabulary + 1) ** -self.zipf
        cumulative_V = np.cumsum(weights_V / weights_V.sum())
        favourites_VF = _draw(cumulative_V, rng, (self.vocabulary, _FAVOURITES))
        by_length = tuple(sorted(words, key=len))  # frequent words are short, as in real languages
        return by_length, cumulative_V, favourites_VF


def _draw(cumulative_V: np.ndarray, rng: np.random.Generator, shape) -> np.ndarray:
    words = np.searchsorted(cumulative_V, rng.random(shape), side="right")
    return np.minimum(words, len(cumulative_V) - 1)  # the last sum may round to just below 1
