"""Claims in a folder: file locks, which the operating system drops with their process."""

import contextlib
import fcntl
import json
import os
import pathlib
import socket
from collections.abc import Callable, Iterator
from typing import IO

from bakein.study.errors import WorkdirError


class Locks:
    """Claims in a folder, on one machine or on several that see it over NFS; see `Claims`.

    Over NFS the mount must send locks to the server: not with `nolock` or `local_lock`. NFSv4 drops
    those of a machine that is gone; NFSv3 keeps them until it comes back.
    """

    def __init__(self, folder: pathlib.Path):
        """Names the folder; `prepare` makes it."""
        self._folder = folder

    def prepare(self) -> None:
        """Makes what is locked.

        Raises:
            OSError: the folder cannot be written.
        """
        (self._folder / ".claims").mkdir(parents=True, exist_ok=True)
        _lock_file(self._folder / ".lock").close()

    @contextlib.contextmanager
    def claim(self, id: str, *, wait: bool) -> Iterator[bool]:
        """See `Claims`; `WorkdirError` where the file system has no locks.

        The claim's file is left behind: to delete it would be a race.
        """
        with _lock_file(self._folder / ".claims" / id) as file:
            yield _take(file, fcntl.LOCK_EX, wait=wait)

    @contextlib.contextmanager
    def join(self, stale: Callable[[], bool], write: Callable[[], None]) -> Iterator[None]:
        """See `Claims`; errors as of `claim`."""
        with _lock_file(self._folder / ".lock") as lock:
            if _take(lock, fcntl.LOCK_EX, wait=False) and stale():
                write()
            # Not atomic: another may have come first, and is done writing when this has its turn.
            _take(lock, fcntl.LOCK_SH, wait=True)
            yield

    def tell(self, id: str, share: float) -> None:
        """See `Claims`."""
        told = {"host": socket.gethostname(), "pid": os.getpid(), "share": share}
        (self._folder / ".claims" / id).write_text(json.dumps(told), encoding="utf-8")

    def told(self, id: str) -> float:
        """See `Claims`."""
        try:
            return json.loads((self._folder / ".claims" / id).read_text("utf-8"))["share"]
        except (FileNotFoundError, ValueError):  # not begun, or just being told
            return 0.0


def _lock_file(path: pathlib.Path) -> IO[str]:
    """Opens a file to be locked, and makes it if need be. Closing it drops its lock.

    For reading and writing, as NFS wants it of files with a shared or an exclusive lock.
    """
    return path.open("a+", encoding="utf-8")


def _take(file: IO[str], kind: int, *, wait: bool) -> bool:
    """Takes the lock of an open file, and returns whether it could be had.

    Args:
        file: from `_lock_file`.
        kind: `fcntl.LOCK_EX`, or `fcntl.LOCK_SH` to share it with others of that kind.
        wait: whether to wait for another that holds it.

    Raises:
        WorkdirError: the file system has no locks.
    """
    try:
        fcntl.flock(file, kind if wait else kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise WorkdirError(
            f"{file.name}: the file system has no locks ({error.strerror}); give a --workdir on a "
            "local one, on NFS, or in a bucket (gs://BUCKET/PREFIX)"
        ) from error
    return True
