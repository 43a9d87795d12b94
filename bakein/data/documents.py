"""Documents by index: rendered from a world on demand, or windows of plain text.

Anything that is a `Sequence[Document]` can become a source; these are the two that come with the
house.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bakein.data.corruption import Corruption
from bakein.data.errors import DataError
from bakein.data.tokenizers import Tokenizer
from bakein.data.worlds.world import Document, Problem, World

# Documents of a sequence that no training gets through once, as procedural worlds have them.
ENDLESS = 2**31

# Keeps the corruption's random numbers apart from those that make the problem.
_CORRUPTION = 0x636F7272


def world_documents(
    world: World, form: str, corruption: Corruption, rate: float, size: int | None, seed: int
) -> Sequence[Document]:
    """The training documents of a world, a pure function of the arguments.

    Problem i depends on (world, seed, i) alone: with another form, corruption or rate the same
    problems come in the same order.

    Args:
        world: The world.
        form: How a problem is rendered, one of `world.forms`.
        corruption: Makes wrong steps out of right ones; not called at rate 0.
        rate: How much the corruption spoils, in [0, 1].
        size: Number of distinct training problems; None for all that the world has.
        seed: Seed of problems and corruption.

    Returns:
        A tuple if the documents are finite, else a sequence that renders on demand.

    Raises:
        DataError: If an argument is out of range, or the world has fewer problems than `size`.
    """
    if form not in world.forms:
        raise DataError(f"form: {form!r}, must be one of {list(world.forms)}")
    if not 0 <= rate <= 1:
        raise DataError(f"corruption rate: {rate:g}, must be between 0 and 1")
    problems = world.train(seed)
    if size is not None and not 1 <= size <= len(problems):
        raise DataError(f"documents: {size}, must be between 1 and {len(problems)}")
    documents = _WorldDocuments(world, problems, form, corruption, rate, seed)
    if size is None and len(problems) >= ENDLESS:
        return documents
    return tuple(documents[index] for index in range(len(problems) if size is None else size))


@dataclass(frozen=True)
class _WorldDocuments(Sequence[Document]):
    world: World
    problems: Sequence[Problem]
    form: str
    corruption: Corruption
    rate: float
    seed: int

    def __len__(self) -> int:
        return len(self.problems)

    def __getitem__(self, index: int) -> Document:
        problem = self.problems[index]
        steps = problem.steps
        if self.rate > 0:
            rng = np.random.default_rng((self.seed, index, _CORRUPTION))
            steps = self.corruption(self.world, problem, rng, self.rate)
        return self.world.document(problem, self.form, steps)


def text_documents(texts: Iterable[str], tokenizer: Tokenizer, length: int) -> tuple[Document, ...]:
    """Windows of at most `length` positions, cut between paragraphs, else lines, else words.

    Args:
        texts: Texts; no window spans two of them.
        tokenizer: Counts the tokens. A window of n tokens takes n + 1 positions.
        length: Most positions of a window, at least 2.

    Returns:
        Documents without prompt. Together they are the texts, less windows of white space only.
    """
    if length < 2:
        raise DataError(f"length: {length}, must be at least 2 to hold a token")

    def count(text: str) -> int:
        return len(tokenizer.encode(text))

    windows = (window for text in texts for window in _windows(text, count, length - 1))
    return tuple(Document(prompt="", completion=window) for window in windows if window.strip())


def _windows(text: str, count: Callable[[str], int], limit: int) -> Iterator[str]:
    """Joins neighbouring pieces of a text while they hold at most `limit` tokens together."""
    pieces: list[str] = []
    size = 0
    for piece, tokens in _pieces(text, count, limit):
        if size + tokens > limit:
            yield from _joined(pieces, count, limit)
            pieces, size = [], 0
        pieces.append(piece)
        size += tokens
    yield from _joined(pieces, count, limit)


def _joined(pieces: list[str], count: Callable[[str], int], limit: int) -> list[str]:
    # A subword tokenizer may need more tokens for the whole than for the parts.
    whole = "".join(pieces)
    return [whole] if count(whole) <= limit else pieces


def _pieces(text: str, count: Callable[[str], int], limit: int) -> Iterator[tuple[str, int]]:
    """Paragraphs with their token counts; one that is too long by lines, then by halves."""
    for paragraph in re.findall(r".+?(?:\n\s*\n|\Z)", text, flags=re.DOTALL):
        tokens = count(paragraph)
        if tokens <= limit:
            yield paragraph, tokens
            continue
        for line in paragraph.splitlines(keepends=True):
            yield from _halves(line, count, limit)


def _halves(text: str, count: Callable[[str], int], limit: int) -> Iterator[tuple[str, int]]:
    """Halves a text, between words where it has any, until each part holds `limit` tokens."""
    tokens = count(text)
    if tokens <= limit or len(text) == 1:
        yield text, tokens
        return
    middle = len(text) // 2
    spaces = (text.rfind(" ", 1, middle + 1), text.find(" ", middle + 1))
    # Before the space, as byte-level BPE begins words with theirs.
    cut = min((s for s in spaces if s > 0), key=lambda s: abs(s - middle), default=middle)
    yield from _halves(text[:cut], count, limit)
    yield from _halves(text[cut:], count, limit)
