"""Several processes of one program: what they agree on, who writes, and how all of them stop.

Every process runs the same code on the same study; what is read from the disk is read by the first
one and told to the others. With one process the functions cost nothing.
"""

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import jax
import numpy as np
from jax._src import distributed  # whose client is how orbax, too, comes by its barriers
from jax.experimental import multihost_utils

PREEMPTED = 75  # EX_TEMPFAIL: start the same command again

_HEARTBEAT_SECONDS = 60  # after so long without a sign of life a process is taken to be dead
_LEAVE_SECONDS = 60  # that processes wait for each other at an orderly end
_NEWS_SECONDS = 5  # that a failing process waits until the others have heard of it
_SERVING_SECONDS = 0.5  # that the first process outlives the others, which jax aborts without it
_NEWS = "bakein/news"  # key of what ends the run

Json = Any
Tree = Any


class Preempted(Exception):
    """Somebody wants the machine back: what was running is saved, and goes on later."""


def join(coordinator: str | None, processes: int | None, process: int | None) -> "Peers":
    """Makes this process one of several; before anything touches a device.

    Args:
        coordinator: HOST:PORT at which the first process listens; None to find the others as jax
            does, from the metadata of TPUs, GKE, SLURM or MPI.
        processes: how many there are.
        process: number of this one.

    Raises:
        ValueError: nothing was found, or the numbers do not fit.
        RuntimeError: the cluster that was found cannot be used.
        OSError: the metadata server of a TPU VM does not answer.
    """
    jax.distributed.initialize(
        coordinator,
        processes,
        process,
        # Who says where the others are has said all: nothing is guessed from the environment.
        cluster_detection_method="deactivate" if coordinator else None,
        heartbeat_timeout_seconds=_HEARTBEAT_SECONDS,
        shutdown_timeout_seconds=_LEAVE_SECONDS,
    )
    return Peers()


def lost_peer(error: Exception) -> bool:
    """Whether a collective failed because another process is gone."""
    if not isinstance(error, jax.errors.JaxRuntimeError):
        return False
    return "Gloo" in str(error) or str(error).startswith("UNAVAILABLE")


class Peers:
    """The other processes, from `join` to `leave` or `fail`.

    Attributes:
        joined: not yet left.

    A process that dies without a word is noticed by jax, from its silence: it ends the others with
    a message of its own and SIGABRT. One that fails tells them why; they do not wait in a
    collective for it.
    """

    def __init__(self):
        """Listens for news."""
        self.joined = True
        state = distributed.global_state
        self._client = state.client
        # Jax knows one sequence of calls only, and orbax would ask it for its own steps in between.
        self._preemption, state.preemption_sync_manager = state.preemption_sync_manager, None
        self._ending = threading.Lock()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        """Ends this process as soon as another one has failed."""
        news = ""
        try:
            news = self._client.blocking_key_value_get(_NEWS, 2**31 - 1)
        except jax.errors.JaxRuntimeError:  # the first process is gone: jax says so itself
            return
        if news and self._ending.acquire(blocking=False):
            failed = json.loads(news)
            why = f"process {failed['process']} failed: {failed['line']}"
            self._exit(failed["code"], f"bakein: stopped, because {why}")

    def fail(self, code: int, line: str) -> NoReturn:
        """Tells the others, in one line, why this process fails, and ends it."""
        if not self._ending.acquire(blocking=False):
            threading.Event().wait()  # the listener is ending the process already
        news = {"process": distributed.global_state.process_id, "code": code, "line": line}
        with contextlib.suppress(jax.errors.JaxRuntimeError):  # another one was first
            self._client.key_value_set(_NEWS, json.dumps(news))
        self._exit(code, "")

    def _exit(self, code: int, line: str) -> NoReturn:
        """Without the clean-up of the interpreter, which would wait for the others."""
        if line:
            print(line, file=sys.stderr)
        with contextlib.suppress(jax.errors.JaxRuntimeError):  # some are gone already
            # The first process serves the others; it stays until they have heard.
            self._client.wait_at_barrier(_NEWS, 1000 * _NEWS_SECONDS)
        if first():
            time.sleep(_SERVING_SECONDS)
        end(code, "")

    def asked_to_leave(self, call: int) -> bool:
        """Whether this is the call at which all processes hear that one of them got SIGTERM.

        Args:
            call: 1, 2, 3, ...; every process makes the same ones.
        """
        return self._preemption.reached_sync_point(call)

    def leave(self) -> None:
        """Parts from the others, once all are here: from now on each is on its own."""
        multihost_utils.sync_global_devices("bakein: leave")
        if first():
            self._client.key_value_set(_NEWS, "")
        self._listener.join()
        self._preemption.shutdown()
        jax.distributed.shutdown()
        self.joined = False


def end(code: int, line: str) -> NoReturn:
    """Ends this process at once, from whichever thread, with a line, "" for none."""
    if line:
        print(f"bakein: {line}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


# --- what they agree on ---------------------------------------------------------------------------


def count() -> int:
    """How many processes there are. Touches no device, as `jax.process_count` does."""
    return distributed.global_state.num_processes


def first() -> bool:
    """Whether this is the process that reads and writes files."""
    return distributed.global_state.process_id == 0


def gather(value: Json) -> list[Json]:
    """The JSON values of all processes, in their order, on every process: a collective."""
    if count() == 1:
        return [value]
    data = np.frombuffer(json.dumps(value).encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.int32(data.size)).tolist()
    room = 1 << max(8, (max(sizes) - 1).bit_length())  # few sizes, few programs
    parts = multihost_utils.process_allgather(np.pad(data, (0, room - data.size)))
    return [json.loads(part[:size].tobytes()) for part, size in zip(parts, sizes, strict=True)]


def agree(find: Callable[[], Json]) -> Json:
    """What the first process finds, a JSON value, on every process: a collective."""
    return gather(find() if first() else None)[0]


def place(tree: Tree, sharding: jax.sharding.Sharding) -> Tree:
    """Host arrays, the same in every process, as global arrays."""
    if count() == 1:
        return jax.device_put(tree, sharding)

    def spread(array):
        array = np.asarray(array)
        return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

    return jax.tree.map(spread, tree)


def fetch(tree: Tree) -> Tree:
    """Global arrays as numpy arrays, whole in every process: a collective."""
    if count() == 1:
        return jax.device_get(tree)
    return multihost_utils.process_allgather(tree, tiled=True)


# --- preemption -----------------------------------------------------------------------------------


class Notice:
    """Whether this program was asked to leave, by SIGTERM to any of its processes.

    Several processes ask equally often, and then hear of it at the same time: jax lets the news
    go round, without a collective, and names the call at which all of them are told.
    """

    def __init__(self, peers: Peers | None):
        """Nobody has asked yet; `peers` are the other processes, if there are any."""
        self._peers = peers
        self._asked = threading.Event()
        self._calls = 0
        self._calling = threading.Lock()  # stages run side by side, and no number may be left out

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Takes SIGTERM for a notice while inside; in the main thread.

        Not of a process that has joined others: for those jax listens itself.
        """
        before = signal.signal(signal.SIGTERM, lambda *_: self._asked.set())
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    def __call__(self) -> bool:
        """Whether to save and leave now."""
        with self._calling:
            if self._peers is not None and self._peers.joined and not self._asked.is_set():
                self._calls += 1
                if self._peers.asked_to_leave(self._calls):
                    self._asked.set()
        return self._asked.is_set()
