"""Jitted programs, shared by all stages of one shape: each is compiled once per run, or once."""

import platform
import threading
from collections.abc import Callable, Hashable
from typing import Any

import jax

from bakein.paths import Path, in_bucket

_ROOM = 4 * 2**30  # bytes of compiled programs; those that were not used for longest go first


def keep_programs(folder: Path) -> None:
    """Lets jax keep what it compiles, so that a run that goes on need not compile again.

    To be called before anything is compiled. jax keeps what took it a second or more, and with a
    bound on the folder's size it locks it: processes may share it. In a bucket it has no bound, and
    needs no lock: there a file is seen whole or not at all. A cache that the user has named
    (JAX_COMPILATION_CACHE_DIR, JAX_COMPILATION_CACHE_MAX_SIZE) stays as it is.

    Args:
        folder: where; made when the first program is kept. Only trusted people may write there:
            programs that are read back are run.
    """
    if jax.config.jax_compilation_cache_dir is not None:
        return
    if jax.default_backend() == "cpu":
        # jax knows a program by its source, and not by what the processor must be able to do.
        folder = folder / platform.node()
    jax.config.update("jax_compilation_cache_dir", str(folder))
    if jax.config.jax_compilation_cache_max_size == -1 and not in_bucket(folder):
        jax.config.update("jax_compilation_cache_max_size", _ROOM)


class Programs:
    """A table of jitted programs by what they were made from; safe to use from threads."""

    def __init__(self):
        """Begins empty."""
        self._lock = threading.Lock()
        self._programs: dict[Hashable, Any] = {}

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """The program of a key; the first who asks makes it."""
        with self._lock:
            if key not in self._programs:
                self._programs[key] = make()
            return self._programs[key]
