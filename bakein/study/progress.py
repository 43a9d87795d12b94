"""Progress on standard error: one bar for the whole run, silent where nobody is looking."""

import sys
import threading

from tqdm import tqdm


def say(line: str) -> None:
    """Prints a line on standard error without breaking a bar that may stand there."""
    tqdm.write(line, file=sys.stderr)


class Progress:
    """One bar over all the work of a run, in per cent of its FLOPs; safe to use from threads."""

    def __init__(self, total: float, nodes: int, shown: bool):
        """Draws the bar, if standard error is a terminal.

        Args:
            total: FLOPs of all nodes to run.
            nodes: how many there are.
            shown: whether to draw it at all.
        """
        self._total = max(total, 1.0)
        self._nodes = nodes
        self._finished = 0
        self._work: dict[str, float] = {}
        self._running: dict[str, str] = {}
        self._lock = threading.Lock()
        self._bar = tqdm(
            total=100.0,
            disable=not (shown and sys.stderr.isatty()),
            bar_format="{percentage:3.0f}% {bar:20} {elapsed} elapsed, {remaining} left {desc}",
            dynamic_ncols=True,
            leave=False,
        )

    def update(self, id: str, name: str, work: float) -> None:
        """A node that is running has done `work` FLOPs of its own."""
        with self._lock:
            self._running[id] = name
            self._work[id] = work
            self._draw()

    def finish(self, id: str, work: float) -> None:
        """A node is done."""
        with self._lock:
            self._work[id] = work
            self._running.pop(id, None)
            self._finished += 1
            self._draw()

    def close(self) -> None:
        """Removes the bar."""
        self._bar.close()

    def _draw(self) -> None:
        self._bar.n = min(100.0, 100.0 * sum(self._work.values()) / self._total)
        running = ", ".join(self._running.values())
        self._bar.set_description_str(f"· {self._finished}/{self._nodes} stages · {running}")
