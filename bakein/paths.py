"""Paths of folders, and of what looks like one in a bucket: gs://BUCKET/PREFIX.

A bucket keeps objects by name. Each is replaced whole or not at all, there are no folders but in
the names, nothing can be appended, and nothing locked.
"""

import contextlib
import errno
import importlib.util
import logging
import os
import pathlib
import re
import secrets
import shutil

import fsspec
from etils import epath

Path = pathlib.Path | epath.Path

_SCHEME = "gs://"
# Without what tensorstore, fsspec or a URL would take for more than a letter.
_IN_BUCKET = re.compile(r"gs://[a-z0-9][a-z0-9._-]+(/[A-Za-z0-9 ._=+@-]+)*/?")


class NoAnswer(OSError):
    """A bucket did not answer."""


def path_of(text: str) -> Path:
    """The path that a user names.

    Raises:
        OSError: it is in a bucket of another kind, or what reads buckets is not installed.
    """
    if not re.match("[a-z0-9]+:/", text):
        return pathlib.Path(text)
    if not _IN_BUCKET.fullmatch(text) or {".", ".."} & {*text.split("/")}:
        allowed = "letters, digits, spaces and ._=+@-"
        raise OSError(f"{text}: must be a folder, or gs://BUCKET/PREFIX of {allowed}")
    if importlib.util.find_spec("gcsfs") is None:
        raise OSError(f"{text}: gcsfs is not installed; pip install -e '.[gcs]'")
    os.environ.setdefault("EPATH_USE_TF", "false")  # TensorFlow would be asked where it is there
    # Else it asks for every path what kind of bucket that is in.
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it logs what it raises as well
    # What another machine has written since must be seen.
    fsspec.config.conf.setdefault("gcs", {})["use_listings_cache"] = False
    return epath.Path(text)


def in_bucket(path: Path) -> bool:
    """Whether a path names objects of a bucket."""
    return os.fspath(path).startswith(_SCHEME)


def unanswered(error: BaseException) -> bool:
    """Whether a bucket did not answer, or asked for patience, however often it was asked.

    Each library that asks has its own way to say so.
    """
    if isinstance(error, NoAnswer):
        return True
    room, code = type(error).__module__.partition(".")[0], getattr(error, "code", None)
    if room in ("gcsfs", "google"):  # codes are numbers, as numbers or as text
        return str(code) in ("408", "429") or str(code).startswith("5")
    if isinstance(error, ValueError):  # tensorstore's
        return str(error).startswith(("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"))
    return room in ("aiohttp", "requests", "urllib3")


def absolute(path: Path) -> Path:
    """The path that means the same wherever a process stands."""
    return path if in_bucket(path) else path.absolute()


def modified(path: Path) -> float:
    """When a file was last written, in seconds; 0.0 for what is no object of a bucket."""
    return float(path.stat().mtime if in_bucket(path) else path.stat().st_mtime)


def read_bytes(path: Path) -> bytes:
    """What is in a file.

    Raises:
        OSError: it cannot be read; where it is not there, names it.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError as error:  # that of a bucket names an object in Google's way
        missing = errno.ENOENT
        raise FileNotFoundError(missing, os.strerror(missing), os.fspath(path)) from error


def write_text(path: Path, text: str) -> None:
    """Replaces a file: a reader sees the old text or the new one, never a part.

    Raises:
        OSError: it cannot be written.
    """
    if in_bucket(path):
        path.write_bytes(text.encode())
        return
    # In containers that share a folder, processes may all have the same number.
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with draft.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def copy_tree(source: Path, target: Path, last: str = "") -> None:
    """Copies what is in a folder into another, which is made if it is not there.

    Args:
        source: what is copied.
        target: where it is to be.
        last: name of the file that is copied when all others are there.

    Raises:
        OSError: something cannot be read or written.
    """
    target.mkdir(parents=True, exist_ok=True)
    for item in sorted(source.iterdir(), key=lambda item: item.name == last):
        if in_bucket(source) and item.name == source.name and not item.exists():
            continue  # an empty object that stands for the folder: other tools leave them
        if item.is_dir():
            copy_tree(item, target / item.name)
        else:
            with item.open("rb") as reading, (target / item.name).open("wb") as writing:
                shutil.copyfileobj(reading, writing)


def remove_tree(path: Path) -> None:
    """Deletes a folder and what is in it; nothing where there is none."""
    with contextlib.suppress(FileNotFoundError):
        if in_bucket(path):
            path.rmtree()
        else:
            shutil.rmtree(path)
