"""Packing: documents into the rows of a batch, by a clock that counts tokens.

R rows of L positions. A batch is a dict of arrays [R, L]:

    tokens, targets  int32, PAD on padding
    segments         int32, 0 on padding, 1.. for the documents of a row
    positions        int32, from 0 in every document
    mask             float32, weight of the target in the loss; 0 on padding
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bakein.data.errors import DataError
from bakein.data.ledger import Ledger, total_tokens
from bakein.data.mixture import Mixture
from bakein.data.tokenizers import PAD

Batch = dict[str, np.ndarray]

# A source of which so many documents in a row are too long is taken to have none that fits.
_SKIP_LIMIT = 1000


@dataclass(frozen=True)
class Packing:
    """The shape of the batches.

    Attributes:
        batch: Rows of the global batch, a multiple of `shards`.
        length: Positions of a row.
        fill: Part of a batch's positions that the token clock spends per step, in (0, 1]. The rest
            is what first-fit packing may lose; the same number of tokens then takes the same
            number of steps in every arm.
        shards: Virtual shards. They belong to the study, not to the machine: each has its rows,
            its slice of every source and its clock, and a process packs those whose rows its
            devices hold, so that the batches do not depend on the number of processes.

    Raises:
        DataError: If a number is out of range.
    """

    batch: int
    length: int
    fill: float
    shards: int

    def __post_init__(self):
        if self.length < 2:
            raise DataError(f"length: {self.length}, must be at least 2")
        if not 0 < self.fill <= 1:
            raise DataError(f"fill: {self.fill:g}, must be above 0 and at most 1")
        if self.shards < 1:
            raise DataError(f"shards: {self.shards}, must be at least 1")
        if self.batch < 1 or self.batch % self.shards:
            raise DataError(f"batch: {self.batch}, must be a multiple of shards ({self.shards})")

    @property
    def rows(self) -> int:
        """Rows of one shard."""
        return self.batch // self.shards

    def steps(self, tokens: int) -> int:
        """Steps that so many tokens take."""
        return math.ceil(tokens / (self.fill * self.batch * self.length))


def pack(
    mixture: Mixture,
    streams: Mapping[str, Sequence[Mapping[str, np.ndarray]]],
    ledger: Ledger,
    until: int,
    rows: int,
    length: int,
) -> Batch:
    """Packs documents until the ledger holds `until` tokens or the next one fits in no row.

    A document goes to the first row that has room. One that ends a phase is cut to fit it; so is
    one that fits in no row of the very last batch, to the largest gap. One longer than a row is
    skipped.

    Args:
        mixture: Says which source is next.
        streams: Endless encoded documents of each source, by index.
        ledger: Where to go on; brought up to date in place.
        until: Tokens of the ledger at which the batch closes.
        rows: Rows of the batch.
        length: Positions of a row.

    Raises:
        DataError: If a source has no document that fits in a row.
    """
    batch = {
        name: np.zeros((rows, length), np.float32 if name == "mask" else np.int32)
        for name in ("tokens", "targets", "segments", "positions", "mask")
    }
    batch["tokens"][:] = batch["targets"][:] = PAD
    tokens_RL, targets_RL, mask_RL = batch["tokens"], batch["targets"], batch["mask"]
    segments_RL, positions_RL = batch["segments"], batch["positions"]
    positions_L = np.arange(length, dtype=np.int32)
    free_R = np.full(rows, length)
    segments = [0] * rows
    emitted, skipped = total_tokens(ledger), 0
    while emitted < until:
        name, left = mixture.pick(ledger, emitted)
        counts = ledger[name]
        document = streams[name][counts["documents"] + counts["skipped"]]
        whole = len(document["tokens"])
        if whole > length:
            counts["skipped"] += 1
            skipped += 1
            if skipped == _SKIP_LIMIT:
                raise DataError(
                    f"source {name!r}: {skipped} documents in a row are longer than a row of "
                    f"{length} positions"
                )
            continue
        skipped = 0
        size = min(whole, left)
        row = int((free_R >= size).argmax())
        if free_R[row] < size:
            if until < mixture.tokens:
                break  # the next batch's first: not counted, so it comes again
            row = int(free_R.argmax())
            size = int(free_R[row])
        begin = length - int(free_R[row])
        end = begin + size
        segments[row] += 1
        tokens_RL[row, begin:end] = document["tokens"][:size]
        targets_RL[row, begin:end] = document["targets"][:size]
        mask_RL[row, begin:end] = document["mask"][:size]
        segments_RL[row, begin:end] = segments[row]
        positions_RL[row, begin:end] = positions_L[:size]
        free_R[row] -= size
        counts["documents"] += 1
        counts["tokens"] += size
        counts["cut"] += whole - size
        emitted += size
    return batch
