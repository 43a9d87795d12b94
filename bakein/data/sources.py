"""Source: documents as an endless stream of tokens with random access.

L is a document's number of positions: its text tokens and one more.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import grain
import numpy as np

from bakein.data.documents import ENDLESS
from bakein.data.errors import DataError
from bakein.data.tokenizers import BOS, EOS, Tokenizer
from bakein.data.worlds.world import Document

# Documents of a procedural source that its fingerprint reads.
_FINGERPRINT_DOCUMENTS = 256

# Documents from which on grain shuffles an index faster than a list of all of them is worth. Its
# time grows as the list gets shorter: 0.1 ms at 200 documents.
_LARGE = 2**16


def encode_document(
    tokenizer: Tokenizer, document: Document, mask_prompt: bool
) -> dict[str, np.ndarray]:
    """tokens_L = [BOS] + text and targets_L = text + [EOS], int32; mask_L float32.

    Prompt and completion are encoded apart, so that the prompt's tokens are those that a sampler
    is given. With `mask_prompt` the targets that are prompt tokens have mask 0; all others have 1.
    """
    prompt = tokenizer.encode(document.prompt)
    text = np.array([BOS, *prompt, *tokenizer.encode(document.completion), EOS], np.int32)
    mask_L = np.ones(len(text) - 1, np.float32)
    if mask_prompt:
        mask_L[: len(prompt)] = 0
    return {"tokens": text[:-1], "targets": text[1:], "mask": mask_L}


@dataclass(frozen=True)
class Source:
    """Documents, how they are tokenised, and the seed that orders them.

    Attributes:
        documents: Any sequence of documents, in memory, procedural or on disk.
        tokenizer: Turns them into tokens.
        mask_prompt: Whether prompts are masked out of the loss (SFT) or trained on (pretraining).
        seed: Seed of the order, in [0, 2**32). Each epoch has an order of its own; endless
            documents, which are independent draws, come as they are.

    Raises:
        DataError: If there are no documents, or the seed is out of range.
    """

    documents: Sequence[Document]
    tokenizer: Tokenizer
    mask_prompt: bool
    seed: int

    def __post_init__(self):
        if not len(self.documents):
            raise DataError("source: no documents, must hold at least one")
        if not 0 <= self.seed < 2**32:
            raise DataError(f"source seed: {self.seed}, must be between 0 and 2**32 - 1")

    def stream(self, shard: int, shards: int) -> grain.MapDataset:
        """Epochs without end, each shuffled, of which a shard takes every `shards`-th document.

        Elements are those of `encode_document`. Slicing each source, and mixing afterwards, keeps
        every shard's mixture whole: of a mixed stream one shard could get a single source.
        """
        documents = _Tokenised(self)
        if len(documents) < _LARGE:
            documents = _Permuted(documents, self.seed)
        elif len(documents) < ENDLESS:
            documents = documents.shuffle(seed=self.seed)
        return documents.repeat()[shard::shards]

    def lengths(self, count: int) -> Iterator[int]:
        """Tokens of each of the first documents, `count` of them at most; none before it is due."""
        tokenised = _Tokenised(self)
        return (len(tokenised[i]["tokens"]) for i in range(min(count, len(self.documents))))

    def fingerprint(self) -> str:
        """Hex digest of the documents, their tokens, and the settings.

        Documents held in memory (a list or tuple: text that was read) are hashed whole; of
        procedural ones, and of those on disk, the first 256 and their number.
        """
        digest = hashlib.blake2b(digest_size=16)
        size = len(self.documents)
        digest.update(json.dumps([size, self.mask_prompt, self.seed]).encode())
        first = min(size, _FINGERPRINT_DOCUMENTS)
        for index in range(first):
            document = encode_document(self.tokenizer, self.documents[index], self.mask_prompt)
            for name in ("tokens", "targets", "mask"):
                digest.update(document[name].tobytes())
        if isinstance(self.documents, list | tuple):
            for document in self.documents[first:]:
                digest.update(json.dumps([document.prompt, document.completion]).encode())
        return digest.hexdigest()


def fingerprint(sources: Mapping[str, Source]) -> str:
    """Hex digest of a stage's sources by name, for its content-addressed id."""
    parts = {name: source.fingerprint() for name, source in sources.items()}
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()


class _Tokenised(grain.MapDataset):
    """A source's documents in their own order, as arrays.

    A root dataset rather than `MapDataset.source`, whose per-read monitoring costs more than
    making a short document.
    """

    def __init__(self, source: Source):
        super().__init__()
        self._source = source
        self._size = len(source.documents)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        source = self._source
        document = source.documents[index % self._size]
        return encode_document(source.tokenizer, document, source.mask_prompt)


class _Permuted(grain.MapDataset):
    """A small dataset with an order of its own for every epoch: `shuffle`, from a list."""

    def __init__(self, parent: grain.MapDataset, seed: int):
        super().__init__(parent)
        self._documents = parent
        self._seed = seed
        self._epoch, self._order = -1, []

    def __len__(self) -> int:
        return len(self._documents)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        epoch, place = divmod(index, len(self._documents))
        if epoch != self._epoch:
            rng = np.random.default_rng((self._seed, epoch))
            self._epoch, self._order = epoch, rng.permutation(len(self._documents)).tolist()
        return self._documents[self._order[place]]
