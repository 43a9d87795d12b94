"""Where a stage's time goes: a stopwatch, always on, that costs about a microsecond a part."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import jax

# `killed` is the time of sessions that did not live to say what they did.
_OVERHEAD = ("setup", "compile", "checkpoint", "profile", "killed")


class Part(Protocol):
    """`Stopwatch.part`, as the loop and what it is given see it."""

    def __call__(
        self, name: str, *, compiles: bool = False
    ) -> contextlib.AbstractContextManager[None]:
        """Counts the time inside as that of `name`; see `Stopwatch.part`."""


class Stopwatch:
    """Seconds by part, of one stage in one thread.

    Exactly one part runs at any moment, so that the parts sum to the whole: one that begins inside
    another pauses it, and what is in none is `setup`. They are times of the host. jax hands work
    to the devices and goes on: that work is counted where the host next waits for its results.
    """

    def __init__(self, clock: Callable[[], float], before: Mapping[str, float]):
        """Starts with `setup`.

        Args:
            clock: seconds that never go back.
            before: seconds by part of earlier sessions of the stage, which are added to.
        """
        self._clock = clock
        self._seconds = {"setup": 0.0, **before}
        self._running = "setup"
        self._since = clock()
        self._compiled: set[str] = set()

    @contextlib.contextmanager
    def part(self, name: str, *, compiles: bool = False) -> Iterator[None]:
        """Counts the time inside as that of `name`, and names it in a profiler's trace.

        Args:
            name: of the part.
            compiles: the first time is counted as `compile` instead: jax then traces the programs,
                and compiles them or finds them in a cache.
        """
        if compiles and name not in self._compiled:
            self._compiled.add(name)
            name = "compile"
        outer = self._switch(name)
        try:
            with jax.profiler.TraceAnnotation(name):
                yield
        finally:
            self._switch(outer)

    def _switch(self, name: str) -> str:
        """Lets another part run; returns the one that did."""
        now, outer = self._clock(), self._running
        self._seconds[outer] = self._seconds.get(outer, 0.0) + now - self._since
        self._running, self._since = name, now
        return outer

    def useful(self) -> float:
        """Seconds until now of the parts that do what the stage is for.

        The others are what it costs to begin, to begin again, and to be able to.
        """
        self._switch(self._running)
        return sum(s for name, s in self._seconds.items() if name not in _OVERHEAD)

    def seconds(self) -> dict[str, float]:
        """Seconds by part until now, to the millisecond."""
        self._switch(self._running)
        return {name: round(seconds, 3) for name, seconds in self._seconds.items()}
