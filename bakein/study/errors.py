"""What a user got wrong, said in one line; and what stops a stage without being wrong."""

import contextlib
import difflib
from collections.abc import Iterable, Iterator
from typing import Any


class ConfigError(ValueError):
    """A mistake in a study: the message names the key, what was given and what is allowed."""


class WorkdirError(OSError):
    """The work directory cannot be used: not writable, locked, damaged, or another study's."""


class WorkerDied(RuntimeError):
    """The process that ran a stage died, more often than is tried again."""


class Stopped(Exception):
    """Another stage failed or the user interrupted; this one stops at its next record."""


@contextlib.contextmanager
def naming(path: str) -> Iterator[None]:
    """Turns another room's `ValueError` into a `ConfigError` that names the key."""
    try:
        yield
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error


def unknown(what: str, given: str, known: Iterable[str], meant: str | None = None) -> ConfigError:
    """A `ConfigError` for a name that does not exist, with what is meant or the nearest that does.

    Args:
        what: the key.
        given: the name.
        known: all names that exist.
        meant: one of them, where more is known than the spelling tells.
    """
    known = sorted(known)
    near = [meant] if meant else difflib.get_close_matches(given, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return ConfigError(f"{what}: no {given!r}; {hint}known: {', '.join(known) or 'none'}")


def require(path: str, value: Any, ok: bool, allowed: str) -> None:
    """Raises a `ConfigError` that names the key, the value and what is allowed, unless `ok`."""
    if not ok:
        raise ConfigError(f"{path} is {value!r}; it must be {allowed}")
