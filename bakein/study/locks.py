"""File locks, which the operating system drops with the process that holds them."""

import contextlib
import fcntl
import pathlib
from collections.abc import Iterator
from typing import IO

from bakein.study.errors import WorkdirError


@contextlib.contextmanager
def locked(path: pathlib.Path, *, wait: bool = False) -> Iterator[bool]:
    """Holds the lock of a file, against other processes and other threads.

    Args:
        path: the file; made if it is not there, and left behind: to delete it would be a race.
        wait: whether to wait for another that holds it.

    Yields:
        Whether the lock could be had.

    Raises:
        WorkdirError: the file system has no locks.
    """
    with lock_file(path) as file:
        yield take(file, fcntl.LOCK_EX, wait=wait)


def lock_file(path: pathlib.Path) -> IO[str]:
    """Opens a file to be locked. Closing it drops its lock.

    For reading and writing, as NFS wants it of files with a shared or an exclusive lock.
    """
    return path.open("a+", encoding="utf-8")


def take(file: IO[str], kind: int, *, wait: bool) -> bool:
    """Takes the lock of an open file, and returns whether it could be had.

    Args:
        file: from `lock_file`.
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
            "local one, or on NFS"
        ) from error
    return True
