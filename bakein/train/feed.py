"""Batches on a mesh: each process packs the shards whose rows its devices hold, and no others."""

from collections.abc import Mapping
from typing import Any

import jax

from bakein import processes
from bakein.data.ledger import add_ledgers, total_tokens
from bakein.data.mixture import Mixture
from bakein.data.packing import Packing
from bakein.data.pipeline import make_batches
from bakein.data.sources import Source

State = dict[str, Any]


def held_shards(rows: jax.sharding.Sharding, packing: Packing) -> tuple[int, ...]:
    """The shards that have a row on a device of this process, in order.

    Where devices of several processes hold the same rows, or the study has fewer shards than
    there are processes, a shard is packed by several of them, and comes out the same.
    """
    held: set[int] = set()
    for (index,) in rows.addressable_devices_indices_map((packing.batch,)).values():
        start, stop, _ = index.indices(packing.batch)
        held.update(range(start // packing.rows, -(-stop // packing.rows)))
    return tuple(sorted(held))


class Feed:
    """The batches of a stage as global arrays, the same on every mesh and in any processes.

    Its state is that of all shards, so any number of processes can go on from it.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        mixture: Mixture,
        packing: Packing,
        prefetch: int,
        rows: jax.sharding.Sharding,
    ):
        """Arguments as for `make_batches`; `rows` is the sharding of the batch."""
        shards = held_shards(rows, packing)
        self._batches = make_batches(sources, mixture, packing, shards, prefetch)
        self._places = {shard: place for place, shard in enumerate(shards)}
        self._packing = packing
        self._rows = rows

    def __next__(self) -> dict[str, jax.Array]:
        """The next global batch, arrays [B, L]; errors as of `BatchIterator`."""
        batch = next(self._batches)
        if len(self._places) == self._packing.shards:
            return processes.place(batch, self._rows)
        return {name: self._spread(array) for name, array in batch.items()}

    def _spread(self, array):
        rows, batch = self._packing.rows, self._packing.batch

        def part(index):
            start, stop, _ = index[0].indices(batch)
            shard, offset = divmod(start, rows)
            # The shards of a run of rows follow one another here as well.
            begin = self._places[shard] * rows + offset
            return array[begin : begin + stop - start]

        return jax.make_array_from_callback((batch, *array.shape[1:]), self._rows, part)

    def local_state(self) -> State:
        """The state of this process's shards."""
        return self._batches.get_state()

    def get_state(self) -> State:
        """The state of all shards: a collective."""
        return _whole(self.local_state())

    def set_state(self, state: State) -> None:
        """Goes on from a state of all shards.

        Raises:
            DataError: if it is the state of other sources, shards or steps.
        """
        own = {key: state["shards"].get(key) for key in map(str, self._places)}
        self._batches.set_state({**state, "shards": {k: v for k, v in own.items() if v}})


def tokens_of(local: State) -> int:
    """Tokens of all shards, given this process's part of a state: a collective."""
    return total_tokens(add_ledgers(_whole(local)["shards"].values()))


def _whole(local: State) -> State:
    shards: dict[str, Any] = {}
    for part in processes.gather(local["shards"]):
        shards |= part
    return {**local, "shards": {key: shards[key] for key in sorted(shards, key=int)}}
