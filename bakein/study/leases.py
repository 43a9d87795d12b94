"""Claims in a bucket: objects that are written again while their process lives.

A bucket has no locks, but it writes an object on the condition that it is as the writer has seen
it: of two that want a claim, one gets it. The claim of a process that was killed stays behind. It
is taken for dead, and taken over, once it has not changed for `_PATIENCE` seconds by the clock of
the process that looks: no two clocks need agree.
"""

import contextlib
import functools
import json
import operator
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

import tensorstore as ts

from bakein.paths import Path
from bakein.processes import PREEMPTED
from bakein.study.errors import WorkdirError

_BEAT = 10.0  # seconds between two signs of life
_PATIENCE = 60.0  # seconds without one after which a process is taken to be dead
_LOST = 45.0  # seconds without an answer after which it must take itself to be dead: sooner
_POLL = 1.0  # seconds between two looks at what another process holds

_NEW = b"\x02"  # what tensorstore calls the generation of an object that is not there
_REFUSED = b""  # and that of a write whose condition does not hold


class Leases:
    """Who works on what below a prefix of a bucket."""

    def __init__(self, prefix: Path):
        """Asks nothing yet."""
        self._prefix = prefix
        self._seen: dict[str, tuple[bytes, float]] = {}  # key -> its generation, and since when
        self._held: dict[str, _Lease] = {}

    def prepare(self) -> None:
        """Nothing: the first claim shows whether the bucket can be written."""

    @contextlib.contextmanager
    def claim(self, id: str, *, wait: bool) -> Iterator[bool]:
        """Claims a node, against other processes and other threads.

        Args:
            id: of the node.
            wait: whether to wait for another that holds it.

        Yields:
            Whether it could be had.

        Raises:
            WorkdirError: the bucket cannot be read or written.
        """
        with self._take(f"stages/{id}", wait=wait) as lease:
            if lease is None:
                yield False
                return
            self._held[id] = lease
            try:
                yield True
            finally:
                del self._held[id]

    @contextlib.contextmanager
    def join(self, stale: Callable[[], bool], write: Callable[[], None]) -> Iterator[None]:
        """Is at work here, together with others.

        Args:
            stale: whether there is something to write.
            write: writes it; called only while nobody else is at work.

        Raises:
            WorkdirError: the bucket cannot be read or written.
        """
        with contextlib.ExitStack() as at_work:
            with self._take("opening", wait=True):
                if stale() and not self._others():
                    write()
                at_work.enter_context(self._take(f"at_work/{secrets.token_hex(8)}", wait=False))
            yield

    def tell(self, id: str, share: float) -> None:
        """Leaves word, for `told`, of how much of a claimed node is done: at the next beat."""
        self._held[id].share = share

    def told(self, id: str) -> float:
        """How much of a node is done, from another process that told; 0.0 where none did."""
        found = self._ask(self._store.read(f"stages/{id}"))
        return json.loads(found.value)["share"] if found.state == "value" else 0.0

    @contextlib.contextmanager
    def _take(self, key: str, *, wait: bool) -> Iterator["_Lease | None"]:
        lease = self._try(key)
        while lease is None and wait:
            time.sleep(_POLL)
            lease = self._try(key)
        with lease or contextlib.nullcontext():
            yield lease

    def _try(self, key: str) -> "_Lease | None":
        """A lease that nobody holds, or whose holder is dead; None where another holds it."""
        found = self._ask(self._store.read(key))
        generation = found.stamp.generation
        if found.state == "value" and not self._dead(key, generation):
            return None
        lease = _Lease(self._store, key)
        return lease if lease.begin(self._ask, generation) else None

    def _dead(self, key: str, generation: bytes) -> bool:
        """Whether an object has been as it is now for so long that nobody can be behind it."""
        now = time.monotonic()
        before, since = self._seen.get(key, (_NEW, now))
        if before != generation:
            since = now
        self._seen[key] = generation, since
        return now - since > _PATIENCE

    def _others(self) -> bool:
        """Whether another process is at work here. Waits for word of those that may be dead."""
        at_work = ts.KvStore.KeyRange("at_work/", "at_work0")
        while keys := [key.decode() for key in self._ask(self._store.list(at_work))]:
            for key in keys:
                before, _ = self._seen.get(key, (None, 0.0))
                found = self._ask(self._store.read(key))
                generation = found.stamp.generation
                if found.state == "value" and self._dead(key, generation):
                    self._ask(self._store.write(key, None, if_equal=generation))
                elif found.state == "value" and before not in (None, generation):
                    return True
            time.sleep(_POLL)
        return False

    @functools.cached_property
    def _store(self) -> ts.KvStore:
        bucket, _, prefix = os.fspath(self._prefix).removeprefix("gs://").partition("/")
        path = f"{prefix}/.claims/".lstrip("/")
        spec = {"driver": "gcs", "bucket": bucket, "path": path}
        return self._ask(ts.KvStore.open(spec))

    def _ask(self, question: ts.Future) -> Any:
        """The answer to a question.

        Raises:
            WorkdirError: there is none, or it is no.
        """
        try:
            return question.result(timeout=_PATIENCE)
        except TimeoutError:
            reason = f"no answer for {_PATIENCE:g} s"
        except ValueError as error:  # how tensorstore says what the bucket said
            reason = str(error).split(" [", 1)[0]
        raise WorkdirError(f"work directory {self._prefix}: {reason}")


class _Lease:
    """What one process holds while it lives. To enter it begins its beat, to leave it gives it up.

    Attributes:
        share: of the node, that is done.
    """

    def __init__(self, store: ts.KvStore, key: str):
        """Not held yet."""
        self.share = 0.0
        self._store = store
        self._key = key
        self._name = f"{socket.gethostname()} {os.getpid()} {secrets.token_hex(8)}"
        self._generation = _NEW
        self._over = threading.Event()
        self._beating = threading.Thread(target=self._beat, daemon=True)

    def begin(self, ask: Callable[[ts.Future], Any], generation: bytes) -> bool:
        """Writes it over what was seen; False where another was first."""
        self._generation = generation
        return self._renew(ask)

    def __enter__(self) -> Self:
        """Lets it be known that its process lives."""
        self._beating.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Gives it up. Where the bucket does not answer it dies of age."""
        self._over.set()
        self._beating.join()
        with contextlib.suppress(ValueError, TimeoutError):
            self._store.write(self._key, None, if_equal=self._generation).result(timeout=_BEAT)

    def _renew(self, ask: Callable[[ts.Future], Any]) -> bool:
        """Writes it over what it was; False where somebody else has."""
        told = json.dumps({"holder": self._name, "share": self.share, "seconds": time.time()})
        written = ask(self._store.write(self._key, told, if_equal=self._generation))
        if written.generation != _REFUSED:
            self._generation = written.generation
            return True
        # It may have been done all the same, and the answer lost on its way.
        found = ask(self._store.read(self._key))
        self._generation = found.stamp.generation
        return found.state == "value" and json.loads(found.value)["holder"] == self._name

    def _beat(self) -> None:
        heard = time.monotonic()
        while not self._over.wait(_BEAT):
            begun = time.monotonic()
            ask = operator.methodcaller("result", timeout=max(heard + _LOST - begun, 0.0))
            try:
                if not self._renew(ask):
                    self._die("another process has taken it over")
                heard = begun
            except (ValueError, TimeoutError) as error:
                if time.monotonic() - heard >= _LOST:
                    self._die(f"the bucket has not answered for {_LOST:g} s. {error}".strip())

    def _die(self, why: str) -> None:
        """Ends the process at once: it must not write where another may be writing already."""
        print(f"bakein: {self._key}: claim lost, {why}; the same command goes on", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(PREEMPTED)
