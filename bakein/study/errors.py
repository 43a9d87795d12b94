"""What a user got wrong, said in one line."""

import difflib
from collections.abc import Iterable


class ConfigError(ValueError):
    """A mistake in a study: the message names the key, what was given and what is allowed."""


class WorkdirError(OSError):
    """The work directory cannot be used: not writable, locked, or another study's."""


class StageError(RuntimeError):
    """A stage could not be finished; the message names it and says why."""


def unknown(what: str, given: str, known: Iterable[str]) -> ConfigError:
    """A `ConfigError` for a name that does not exist, with the nearest that does."""
    known = sorted(known)
    near = difflib.get_close_matches(given, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return ConfigError(f"{what}: no {given!r}; {hint}known: {', '.join(known) or 'none'}")
