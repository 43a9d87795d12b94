"""Claims in a bucket: objects that are written again while their process lives.

A bucket has no locks, but it writes an object on the condition that it is as the writer has seen
it: of two that want a claim, one gets it. The claim of a process that was killed stays behind. It
is taken for dead, and taken over, once it has not changed for `_PATIENCE` seconds by the clock of
the process that looks: no two clocks need agree.
"""

import contextlib
import functools
import json
import math
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import tensorstore as ts

from bakein.paths import NoAnswer, Path, unanswered
from bakein.processes import PREEMPTED
from bakein.study.errors import WorkdirError
from bakein.study.progress import say

_BEAT = 10.0  # seconds between two signs of life
_PATIENCE = 60.0  # seconds without one after which a process is taken to be dead
_LOST = 45.0  # seconds without an answer after which it must take itself to be dead: sooner
_ANSWER = 5.0  # seconds that it waits for one at least: it may have stood still itself
_POLL = 1.0  # seconds between two looks at what another process holds

_NEW = b"\x02"  # what tensorstore calls the generation of an object that is not there
_REFUSED = b""  # and that of a write whose condition does not hold


class Leases:
    """Claims below a prefix of a bucket; see `Claims`."""

    def __init__(self, prefix: Path, lost: Callable[[int, str], Any]):
        """Asks nothing yet.

        Args:
            prefix: of the work directory.
            lost: ends the process at once, with an exit code and a line; called from another
                thread where a claim is lost.

        Raises:
            WorkdirError: it is the bucket itself.
        """
        self._prefix = prefix
        self._lost = lost
        self._bucket, _, self._path = os.fspath(prefix).removeprefix("gs://").partition("/")
        if not self._path:
            raise WorkdirError(f"work directory {prefix}: must be gs://BUCKET/PREFIX")
        self._seen: dict[str, tuple[bytes, float]] = {}  # key -> its generation, and since when
        self._held: dict[str, _Lease] = {}

    def prepare(self) -> None:
        """Looks at the bucket, as orbax will: that needs a permission of its own.

        Raises:
            WorkdirError: there is none, or it may not be looked at, or not by anybody unknown.
            NoAnswer: it does not answer.
        """
        from google.api_core.exceptions import GoogleAPIError, RetryError
        from google.auth.exceptions import GoogleAuthError
        from google.cloud import storage

        patience = storage.retry.DEFAULT_RETRY.with_timeout(_PATIENCE)
        try:
            storage.Client().get_bucket(self._bucket, retry=patience)
        except RetryError as error:
            raise NoAnswer(f"{self._prefix}: no answer for {_PATIENCE:g} s") from error
        except (GoogleAPIError, GoogleAuthError, OSError) as error:
            if unanswered(error):
                raise
            said = getattr(error, "message", "").partition(": ")[2] or error  # without its URL
            raise WorkdirError(f"work directory {self._prefix}: {said}") from error

    @contextlib.contextmanager
    def claim(self, id: str, *, wait: bool) -> Iterator[bool]:
        """See `Claims`; `WorkdirError` where the bucket says no, `NoAnswer` where nothing."""
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
        """See `Claims`; errors as of `claim`."""
        with contextlib.ExitStack() as at_work:
            with self._take("opening", wait=True):
                if stale() and not self._others():
                    write()
                at_work.enter_context(self._take(f"at_work/{secrets.token_hex(8)}", wait=False))
            yield

    def tell(self, id: str, share: float) -> None:
        """See `Claims`; at the next beat."""
        self._held[id].share = share

    def told(self, id: str) -> float:
        """See `Claims`."""
        with self._asking():
            found = self._read(f"stages/{id}")
        return json.loads(found.value)["share"] if found.state == "value" else 0.0

    @contextlib.contextmanager
    def _take(self, key: str, *, wait: bool) -> Iterator["_Lease | None"]:
        lease = self._try(key)
        if lease is None and wait:
            say(f"bakein: waiting for another process, or {_PATIENCE:g} s to see it dead ({key})")
        while lease is None and wait:
            time.sleep(_POLL)
            lease = self._try(key)
        if lease is None:
            yield None
            return
        try:
            with lease.beating():
                yield lease
        except BaseException:
            with contextlib.suppress(ValueError, TimeoutError):  # it dies of age then
                lease.give_up()
            raise
        with self._asking():
            lease.give_up()

    def _try(self, key: str) -> "_Lease | None":
        """A lease that nobody holds, or whose holder is dead; None where another holds it."""
        with self._asking():
            found = self._read(key)
            generation = found.stamp.generation
            if found.state == "value" and not self._dead(key, generation):
                return None
            lease = _Lease(self._store, key, generation, self._lost)
            had = lease.renew(_PATIENCE)
            while had and lease.age() > _BEAT:  # the answer was long on its way
                had = lease.renew(_PATIENCE)
        return lease if had else None

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
        said = False
        while keys := self._at_work():
            for key in keys:
                before, _ = self._seen.get(key, (None, 0.0))
                with self._asking():
                    found = self._read(key)
                    generation = found.stamp.generation
                    if found.state == "value" and self._dead(key, generation):
                        self._store.write(key, None, if_equal=generation).result(_PATIENCE)
                    elif found.state == "value" and before not in (None, generation):
                        return True
            if not said:
                say(
                    f"bakein: {self._prefix} holds another version of the study; looking for "
                    "a minute whether somebody is at work on it"
                )
                said = True
            time.sleep(_POLL)
        return False

    def _at_work(self) -> list[str]:
        with self._asking():
            found = self._store.list(ts.KvStore.KeyRange("at_work/", "at_work0"))
            return [key.decode() for key in found.result(_PATIENCE)]

    @functools.cached_property
    def _store(self) -> ts.KvStore:
        spec = {"driver": "gcs", "bucket": self._bucket, "path": f"{self._path}/.claims/"}
        return ts.KvStore.open(spec).result(_PATIENCE)

    def _read(self, key: str) -> ts.KvStore.ReadResult:
        return self._store.read(key).result(_PATIENCE)

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """Turns what tensorstore raises into what a run says in one line.

        Raises:
            WorkdirError: the bucket says no.
            NoAnswer: it says nothing.
        """
        try:
            yield
        except TimeoutError as error:
            raise NoAnswer(f"{self._prefix}: no answer for {_PATIENCE:g} s") from error
        except ValueError as error:
            if unanswered(error):
                raise
            raise WorkdirError(f"work directory {self._prefix}: {_said(error)}") from error


class _Lease:
    """What one process holds while it lives.

    Attributes:
        share: of the node, that is done.
    """

    def __init__(
        self, store: ts.KvStore, key: str, generation: bytes, lost: Callable[[int, str], Any]
    ):
        """Not held before it is renewed for the first time, over an object of this generation."""
        self.share = 0.0
        self._store = store
        self._key = key
        self._generation = generation
        self._lost = lost
        self._name = f"{socket.gethostname()} {os.getpid()} {secrets.token_hex(8)}"
        self._heard = -math.inf
        self._over = threading.Event()

    def age(self) -> float:
        """Seconds since it was renewed, at least: since the bucket was asked to."""
        return time.monotonic() - self._heard

    def renew(self, timeout: float) -> bool:
        """Writes it over what it was; False where somebody else has.

        Raises:
            ValueError: the bucket says no.
            TimeoutError: it says nothing.
        """
        begun = time.monotonic()
        told = json.dumps({"holder": self._name, "share": self.share, "seconds": time.time()})
        write = self._store.write(self._key, told, if_equal=self._generation)
        generation = write.result(timeout).generation
        if generation == _REFUSED:
            # It may have been done all the same, and the answer lost on its way.
            found = self._store.read(self._key).result(timeout)
            if found.state != "value" or json.loads(found.value).get("holder") != self._name:
                return False
            generation = found.stamp.generation
        self._generation, self._heard = generation, begun
        return True

    def give_up(self) -> None:
        """Deletes it; errors as of `renew`."""
        self._store.write(self._key, None, if_equal=self._generation).result(_PATIENCE)

    @contextlib.contextmanager
    def beating(self) -> Iterator[None]:
        """Lets it be known that its process lives."""
        beat = threading.Thread(target=self._beat, daemon=True)
        beat.start()
        try:
            yield
        finally:
            self._over.set()
            beat.join()

    def _beat(self) -> None:
        """Ends the process where the lease is lost: another may be writing already."""
        while not self._over.wait(_BEAT):
            try:
                if self.renew(max(_LOST - self.age(), _ANSWER)):
                    continue
                why = "another process has taken it over"
            except (ValueError, TimeoutError) as error:
                if self.age() < _LOST:
                    continue
                why = f"{_said(error) or 'no answer'}, for {_LOST:g} s"
            except Exception as error:  # without a beat it must not go on
                why = repr(error)
            self._lost(PREEMPTED, f"claim of {self._key} lost, the same command goes on: {why}")


def _said(error: Exception) -> str:
    """What the bucket said, without what tensorstore says beside it."""
    return str(error).split(" [", 1)[0]
