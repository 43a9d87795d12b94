"""Checkpoints: state, data position and step in one atomic directory, verified when read back.

Orbax writes them. It has no checksum on values, so a flipped bit would load in silence: each
checkpoint therefore carries a checksum of its arrays, computed on the devices and the same on
every mesh, and of the data's position; one that does not match is passed over for the one before.

Neither arrays nor position depend on the mesh or the number of processes: a run that was saved on
one goes on on another.
"""

import contextlib
import errno
import gc
import json
import os
import re
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from orbax.checkpoint import v1 as ocp

from bakein import processes
from bakein.paths import Path, absolute, in_bucket, remove_tree, unanswered
from bakein.train.state import Params, TrainState

KEEP = 2  # the newest, and the one to fall back on

_COMMITTED = "commit_success.txt"
_SYSTEM_CODE = re.compile(r"os_error_code='(\d+)'")  # in what the layer under orbax says

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


def _position_checksum(position: Any) -> int:
    """A 32-bit checksum over a position, which is JSON."""
    return zlib.crc32(json.dumps(position, sort_keys=True).encode())


class Position(Protocol):
    """Where a stage's data stands; a grain iterator is one."""

    def get_state(self) -> dict[str, Any]:
        """JSON; the same in every process."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on from there."""


class Checkpoints:
    """The checkpoints of one stage. Several processes call every method together.

    Attributes:
        path: their directory.
    """

    def __init__(
        self,
        path: Path,
        lock: contextlib.AbstractContextManager,
        warn: Callable[[str], None],
        background: bool,
    ):
        """Opens the directory; nothing is read or written yet.

        Args:
            path: the directory.
            lock: held while orbax works: it keeps process-wide counters and is not thread-safe.
            warn: told, in one line, when a checkpoint is passed over.
            background: `save` comes back once the state is copied from the devices, and the next
                one waits until it is written. Not where several stages run side by side, since
                the writing goes on without the lock.
        """
        self.path = absolute(path)  # orbax takes no other
        self._lock = lock
        self._warn = warn
        self._background = background
        self._checkpointer: ocp.training.Checkpointer | None = None
        self._writing: Callable[[], Any] | None = None

    def steps(self) -> list[int]:
        """Steps that have a finished checkpoint, oldest first."""
        return processes.agree(self._steps)

    def _steps(self) -> list[int]:
        return sorted(int(path.name) for path in self._written() if self._is_whole(path))

    def _written(self) -> list[Path]:
        """The folders of all checkpoints that were begun."""
        return list(self.path.iterdir()) if self.path.exists() else []

    def _is_whole(self, path: Path) -> bool:
        """Whether a checkpoint was written to its end.

        In a bucket, where no folder can be renamed at a stroke, orbax says so with a file.
        """
        return path.name.isdigit() and (not in_bucket(path) or (path / _COMMITTED).exists())

    def save(self, step: int, state: TrainState, data: Position | None, useful: float) -> None:
        """Writes one checkpoint, atomically, and drops all but the newest `KEEP`.

        Args:
            step: its number, above those of the checkpoints there are.
            state: global arrays.
            data: whose position belongs to the state, or None.
            useful: seconds that went into getting here.

        Raises:
            OSError: the disk is full or not writable; of a write in the background, when the next
                one begins or `wait` is called.
        """
        items = _items(state)
        sums = {name: checksum(item) for name, item in items.items()}
        position = None if data is None else data.get_state()
        sums["data"] = _position_checksum(position)
        meta = {"checksums": sums, "data": position, "useful_seconds": round(useful, 3)}
        with self._lock, self._saying_errors():
            self._finish()
            if self._checkpointer is None:
                self._checkpointer = ocp.training.Checkpointer(
                    self.path,
                    context=_context(),
                    # Whether to save is decided already.
                    save_decision_policy=ocp.training.save_decision_policies.FixedIntervalPolicy(1),
                    preservation_policy=ocp.training.preservation_policies.LatestN(KEEP),
                )
            response = self._checkpointer.save_checkpointables_async(step, {**items, "meta": meta})
            self._writing = response.result
            if not self._background:
                self._close()

    def wait(self) -> None:
        """Waits until what is being written stands on the disk; errors as of `save`."""
        if self._checkpointer is not None:
            with self._lock, self._saying_errors():
                self._close()

    def _finish(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            writing()

    def _close(self) -> None:
        checkpointer, self._checkpointer = self._checkpointer, None
        try:
            self._finish()
        finally:
            checkpointer.close()

    @contextlib.contextmanager
    def _saying_errors(self) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            code = _SYSTEM_CODE.search(str(error))
            if code is None:
                raise
            number = int(code[1])
            raise OSError(number, os.strerror(number), str(self.path)) from error

    def restore(
        self, abstract: TrainState, data: Position | None
    ) -> tuple[int, TrainState, float] | None:
        """Reads the newest checkpoint that is whole, and deletes damaged ones after it.

        Args:
            abstract: `jax.ShapeDtypeStruct` leaves with shardings.
            data: what is set to the position, or None.

        Returns:
            (step, state, useful seconds that went into it); None where there is no checkpoint yet.

        Raises:
            NoUsableCheckpoint: there are checkpoints, and none can be used.
            OSError: they cannot be read now, which is no damage.
        """
        if processes.first():  # what a killed process was still writing
            for path in self._written():
                if not self._is_whole(path):
                    remove_tree(path)
        damaged = []
        for step in reversed(self.steps()):
            loaded = self._load(step, _items(abstract), position=True)
            if loaded is not None:
                if processes.first():
                    for later in damaged:
                        remove_tree(self.path / str(later))
                if data is not None:
                    data.set_state(loaded["meta"]["data"])
                state = TrainState(params=loaded["params"], **loaded["optimizer"])
                return step, state, loaded["meta"]["useful_seconds"]
            damaged.append(step)
        if damaged:
            raise NoUsableCheckpoint(
                f"no checkpoint under {self.path} can be read; delete its stage folder to run the "
                "stage again"
            )
        return None

    def load_params(self, step: int, abstract: Params) -> Params | None:
        """Reads the parameters of one checkpoint; None, after a warning, where it is damaged."""
        loaded = self._load(step, {"params": abstract}, position=False)
        return None if loaded is None else loaded["params"]

    def _load(self, step: int, items: dict[str, Tree], *, position: bool) -> dict[str, Any] | None:
        """Some items of a checkpoint, or None, after a warning, where they are not as written.

        With `position`, that of the data has to be as written too.

        Raises:
            Exception: why it could not be read, which says nothing of what was written.
        """
        with self._lock, _muted():
            try:
                with ocp.training.Checkpointer(self.path, context=_context()) as checkpointer:
                    wanted = {**items, "meta": None}
                    loaded, fault = checkpointer.load_checkpointables(step, wanted), ""
                meta = loaded["meta"]
                written = {**meta["checksums"]}
                sums = {"data": _position_checksum(meta["data"])} if position else {}
            # Damage is reported as almost any type; all mean the same here: not this one.
            except Exception as error:
                if _passes(error):
                    raise
                fault = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
            if fault:
                gc.collect()
        fault = next(filter(None, processes.gather(fault)), "")  # one process may see it alone
        if not fault:
            sums |= {name: checksum(loaded[name]) for name in items}
            wrong = [name for name in sums if written.get(name) != sums[name]]
            if not wrong:
                return loaded
            fault = f"the checksum of its {wrong[0]} does not match"
        self._warn(f"checkpoint {self.path / str(step)} is damaged, passing over it: {fault}")
        return None


def _passes(error: Exception) -> bool:
    """Whether what kept a checkpoint from being read says nothing of what is written there.

    Too many open files, no right to read, a bucket that does not answer, too little memory.
    """
    if isinstance(error, OSError):
        missing = isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError)
        return not missing and error.errno != errno.EIO  # which is how a disk says it is damaged
    if isinstance(error, jax.errors.JaxRuntimeError):
        return str(error).startswith("RESOURCE_EXHAUSTED")
    code = _SYSTEM_CODE.search(str(error))
    return (
        unanswered(error)
        or isinstance(error, MemoryError)
        or type(error).__module__.partition(".")[0] in ("gcsfs", "google")
        or (code is not None and int(code[1]) not in (errno.ENOENT, errno.EIO))
    )


def _context() -> ocp.Context:
    """What is not arrays is saved as JSON: orbax would take it for a tree of scalars."""
    registry = ocp.handlers.local_registry()
    registry.add(ocp.handlers.JsonHandler, checkpointable_name="meta")
    context = ocp.Context()
    context.checkpointables.registry = registry
    return context


@contextlib.contextmanager
def _muted() -> Iterator[None]:
    """Of what it cannot read, orbax leaves coroutines that complain when they are collected."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        sys.unraisablehook = hook


def _items(state: TrainState) -> dict[str, Tree]:
    """The state in the parts that are saved: a child stage reads the parameters alone."""
    optimizer = {"step": state.step, "opt_state": state.opt_state}
    return {"params": state.params, "optimizer": optimizer}
