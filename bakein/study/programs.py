"""Jitted programs, shared by all stages of one shape: each is compiled once per run."""

import threading
from collections.abc import Callable, Hashable
from typing import Any


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
