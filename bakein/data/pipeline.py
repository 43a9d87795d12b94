"""Pipeline: sources → mixture → packing → batches, as a grain iterator that can be resumed exactly.

A shard's ledger is its position, and the iterator's state is the step and the ledgers of its
shards: plain ints, which grain saves with the checkpoint as JSON.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import grain
import numpy as np

from bakein.data.errors import DataError
from bakein.data.ledger import (
    COUNTS,
    Ledger,
    add_ledgers,
    copy_ledger,
    empty_ledger,
    total_tokens,
)
from bakein.data.mixture import Mixture
from bakein.data.packing import Batch, Packing, pack
from bakein.data.sources import Source


class Batches(grain.IterDataset):
    """The batches of a stage, or the rows of some of their shards.

    A shard's rows are the same whichever others are read beside it; those of all shards in order
    are the global batch.

    Args:
        sources: The sources by name, those that the mixture names.
        mixture: Which source comes when.
        packing: Shape of the global batch.
        shards: Those to read, in order.

    Raises:
        DataError: If the arguments do not fit together.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        mixture: Mixture,
        packing: Packing,
        shards: Sequence[int],
    ):
        super().__init__()
        if set(sources) != set(mixture.names):
            raise DataError(
                f"sources: {sorted(sources)}, but the mixture names {sorted(mixture.names)}"
            )
        for shard in shards:
            if not 0 <= shard < packing.shards:
                raise DataError(f"shard {shard}: there are {packing.shards}, from 0")
        self.sources = dict(sources)
        self.packing = packing
        self.steps = packing.steps(mixture.tokens)
        self.mixtures = {shard: mixture.shard(shard, packing.shards) for shard in shards}

    def __iter__(self) -> "BatchIterator":
        return BatchIterator(self)


class BatchIterator(grain.DatasetIterator):
    """Iterates over `Batches`. After an error it stands where it stood before the batch."""

    def __init__(self, batches: Batches):
        super().__init__()
        count = batches.packing.shards
        self._batches = batches
        self._streams = {
            s: {name: source.stream(s, count) for name, source in batches.sources.items()}
            for s in batches.mixtures
        }
        self._step = 0
        self._ledgers = {s: empty_ledger(batches.sources) for s in batches.mixtures}

    def __next__(self) -> Batch:
        """The next batch: the rows of these shards.

        Raises:
            DataError: If the documents cannot be packed as densely as `fill` says, as soon as the
                rest might no longer fit in the rest of the steps.
        """
        if self._step == self._batches.steps:
            raise StopIteration
        ledgers = {s: copy_ledger(ledger) for s, ledger in self._ledgers.items()}
        parts = [self._pack(s, ledger) for s, ledger in ledgers.items()]
        self._step += 1
        self._ledgers = ledgers
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _pack(self, shard: int, ledger: Ledger) -> Batch:
        packing, mixture = self._batches.packing, self._batches.mixtures[shard]
        before = total_tokens(ledger)
        until, following = (self._clock(shard, self._step + ahead) for ahead in (1, 2))
        batch = pack(mixture, self._streams[shard], ledger, until, packing.rows, packing.length)
        emitted = total_tokens(ledger)
        capacity = packing.rows * packing.length
        if following - emitted > capacity:
            raise DataError(
                f"fill: {packing.fill:g} of the positions cannot be filled with these documents: "
                f"step {self._step + 1} reached {(emitted - before) / capacity:.2f}; give a lower "
                "fill, longer rows or more rows per shard"
            )
        return batch

    def _clock(self, shard: int, step: int) -> int:
        """Tokens of the shard that are due after a step; the last step has them all."""
        steps = self._batches.steps
        return self._batches.mixtures[shard].tokens * min(step, steps) // steps

    def get_state(self) -> dict[str, Any]:
        """The step and the ledger of each shard; JSON as it is."""
        shards = {str(s): copy_ledger(ledger) for s, ledger in self._ledgers.items()}
        return {"step": self._step, "shards": shards}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on from a state.

        Raises:
            DataError: If it is the state of other sources, shards or steps.
        """
        shards = {str(s): s for s in self._batches.mixtures}
        if set(state["shards"]) != set(shards):
            raise DataError(
                f"data state: holds shards {sorted(state['shards'])}, these are {sorted(shards)}"
            )
        names = set(self._batches.sources)
        for ledger in state["shards"].values():
            if set(ledger) != names:
                raise DataError(
                    f"data state: holds sources {sorted(ledger)}, the mixture names {sorted(names)}"
                )
        if not 0 <= state["step"] <= self._batches.steps:
            raise DataError(
                f"data state: step {state['step']}, must be between 0 and {self._batches.steps}"
            )
        self._step = state["step"]
        self._ledgers = {s: copy_ledger(state["shards"][key]) for key, s in shards.items()}


def make_batches(
    sources: Mapping[str, Source],
    mixture: Mixture,
    packing: Packing,
    shards: Sequence[int],
    prefetch: int,
) -> grain.DatasetIterator:
    """An iterator over `Batches`, read `prefetch` batches ahead in a thread (0: in this one).

    Its state is that of the last batch handed out, however far ahead it has read.
    """
    batches = Batches(sources, mixture, packing, shards)
    if prefetch == 0:
        return iter(batches)
    return iter(
        grain.experimental.ThreadPrefetchIterDataset(batches, prefetch_buffer_size=prefetch)
    )


def read_ledger(
    states: list[Mapping[str, Any]], sources: Mapping[str, Source]
) -> dict[str, dict[str, int | float]]:
    """The ledger by source, summed over the shards of all states, with `epochs` beside.

    `epochs` is documents drawn (placed and skipped) over the source's size.
    """
    total = add_ledgers(ledger for state in states for ledger in state["shards"].values())
    return {
        name: {
            **{key: counts[key] for key in COUNTS},
            "epochs": (counts["documents"] + counts["skipped"]) / len(sources[name].documents),
        }
        for name, counts in total.items()
    }
