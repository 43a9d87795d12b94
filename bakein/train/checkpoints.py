"""Checkpoints: state, data position and step in one atomic directory, verified when read back.

Orbax writes them. It has no checksum on values, so a flipped bit would load in silence: each
checkpoint therefore carries a checksum of every array, computed on the devices and the same on
every mesh, and a checkpoint that does not match is passed over for the one before it.
"""

import contextlib
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from orbax.checkpoint import v1 as ocp

from bakein.train.state import Params, TrainState

KEEP = 2  # the newest, and the one to fall back on

Tree = Any


class NoUsableCheckpoint(RuntimeError):
    """Checkpoints exist, but none of them can be read back whole."""


def checksum(tree: Tree) -> int:
    """A 32-bit checksum over all leaves: Σⱼ (2j+1) Σᵢ (2i+1)·bits(xⱼᵢ) mod 2³².

    Integer addition does not depend on the order, so every mesh gives the same number; an odd
    factor is invertible mod 2³², so no change of a single element goes unseen.

    Args:
        tree: arrays of numeric or boolean dtypes of at most 32 bits.
    """
    sums = jax.device_get([_leaf_checksum(leaf) for leaf in jax.tree.leaves(tree)])
    return sum((2 * number + 1) * int(part) for number, part in enumerate(sums)) % 2**32


@jax.jit
def _leaf_checksum(leaf: jax.Array) -> jax.Array:
    leaf = jnp.atleast_1d(leaf.astype(jnp.uint8) if leaf.dtype == bool else leaf)
    unsigned = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}[leaf.dtype.itemsize]
    bits = jax.lax.bitcast_convert_type(leaf, unsigned).astype(jnp.uint32)
    index = jnp.zeros(bits.shape, jnp.uint32)
    for axis, size in enumerate(bits.shape):  # the flat index, without gathering the array
        index = index * size + jax.lax.broadcasted_iota(jnp.uint32, bits.shape, axis)
    return jnp.sum(bits * (2 * index + 1), dtype=jnp.uint32)


def abstract_of(shapes: Tree, shardings: Tree) -> Tree:
    """Shape, dtype and sharding of every leaf: what `Checkpoints.restore` is told to make."""
    return jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, shardings
    )


class Checkpoints:
    """The checkpoints of one stage.

    Attributes:
        path: their directory.
    """

    def __init__(
        self,
        path: pathlib.Path,
        lock: contextlib.AbstractContextManager,
        warn: Callable[[str], None],
    ):
        """Opens the directory; nothing is read or written yet.

        Args:
            path: the directory.
            lock: held while orbax works: it keeps process-wide counters and is not thread-safe.
            warn: told, in one line, when a checkpoint is passed over.
        """
        self.path = path
        self._lock = lock
        self._warn = warn

    def steps(self) -> list[int]:
        """Steps that have a finished checkpoint, oldest first."""
        if not self.path.exists():
            return []
        return sorted(int(p.name) for p in self.path.iterdir() if p.name.isdigit())

    def save(self, step: int, state: TrainState, data: Any) -> None:
        """Writes one checkpoint, atomically, and drops all but the newest `KEEP`.

        Args:
            step: its number; one that exists already is replaced (it did not pass its checksum).
            state: global arrays.
            data: the grain iterator whose position belongs to the state, or None.

        Raises:
            OSError: the disk is full or not writable.
        """
        items = {
            "params": state.params,
            "optimizer": {"step": state.step, "opt_state": state.opt_state},
        }
        sums = {name: checksum(item) for name, item in items.items()}
        position = {} if data is None else {"data": data}
        keep = ocp.training.preservation_policies.LatestN(KEEP)
        with (
            self._lock,
            ocp.training.Checkpointer(self.path, preservation_policy=keep) as checkpointer,
        ):
            checkpointer.save_checkpointables(
                step, {**items, **position, "checksums": sums}, overwrite=step in self.steps()
            )

    def restore(self, abstract: TrainState, data: Any) -> tuple[int, TrainState] | None:
        """Reads the newest checkpoint that is whole, and deletes the damaged ones after it.

        Args:
            abstract: `jax.ShapeDtypeStruct` leaves with shardings.
            data: the grain iterator to set, or None.

        Returns:
            (step, state), or None where there is no checkpoint yet.

        Raises:
            NoUsableCheckpoint: there are checkpoints, and none can be used.
        """
        items = {
            "params": abstract.params,
            "optimizer": {"step": abstract.step, "opt_state": abstract.opt_state},
        }
        found = self._newest(items, {} if data is None else {"data": data})
        if found is None:
            return None
        step, loaded = found
        return step, TrainState(params=loaded["params"], **loaded["optimizer"])

    def restore_params(self, abstract_params: Params) -> Params:
        """Reads the parameters of the newest whole checkpoint: what a child stage starts from.

        Raises:
            NoUsableCheckpoint: there is none.
        """
        found = self._newest({"params": abstract_params}, {})
        if found is None:
            raise NoUsableCheckpoint(f"no checkpoint under {self.path}")
        return found[1]["params"]

    def _newest(self, items: dict[str, Tree], others: dict[str, Any]):
        """Returns (step, loaded) of the newest checkpoint whose checksums match, or None."""
        if jax.process_index() == 0:  # what a killed process was still writing
            for unfinished in self.path.glob("*.orbax-checkpoint-tmp*"):
                shutil.rmtree(unfinished)
        steps = self.steps()
        for step in reversed(steps):
            fault = None
            try:
                with self._lock, ocp.training.Checkpointer(self.path) as checkpointer:
                    loaded = checkpointer.load_checkpointables(
                        step, {**items, **others, "checksums": None}
                    )
                for name in items:
                    if loaded["checksums"][name] != checksum(loaded[name]):
                        fault = f"the checksum of its {name} does not match"
            # Orbax reports damage as almost any type; all mean the same here: not this one.
            except Exception as error:
                fault = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
            if fault is None:
                return step, loaded
            self._warn(f"checkpoint {self.path / str(step)} is damaged, passing over it: {fault}")
        if steps:
            raise NoUsableCheckpoint(
                f"no checkpoint under {self.path} can be read; delete its stage folder to run the "
                "stage again"
            )
        return None
