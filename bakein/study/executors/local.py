"""The executor that is always there: threads of this process."""

import concurrent.futures
import os
import threading
from collections.abc import Collection
from types import TracebackType
from typing import Self

from bakein.processes import Preempted
from bakein.study.dag import Node
from bakein.study.errors import Stopped
from bakein.study.progress import Progress
from bakein.study.shop import Shop, work_of
from bakein.study.stages import run_claimed

_MOST_WORKERS = 4


class LocalExecutor:
    """Runs nodes in threads; see `Executor`.

    Attributes:
        slots: how many at a time.
    """

    def __init__(self, shop: Shop, progress: Progress):
        """Starts no thread yet.

        Args:
            shop: what the nodes work with.
            progress: told how far they are.
        """
        self.slots = _slots(shop)
        self._shop = shop
        self._progress = progress
        self._stop = threading.Event()
        self._pool = concurrent.futures.ThreadPoolExecutor(self.slots)

    def submit(self, node: Node) -> concurrent.futures.Future:
        """Begins a node."""
        return self._pool.submit(self._run, node)

    def wait(
        self, running: Collection[concurrent.futures.Future], timeout: float | None
    ) -> dict[concurrent.futures.Future, bool]:
        """Waits until one of those running is done, or the time is over."""
        first = concurrent.futures.FIRST_COMPLETED
        done, _ = concurrent.futures.wait(running, timeout, return_when=first)
        return {future: future.result() for future in done}

    def __enter__(self) -> Self:
        """Nothing to get ready."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Waits for the threads; after an error they stop at their next record.

        Where the machine is wanted back, each of them sees it itself, and saves first.
        """
        if kind is not None and not issubclass(kind, Preempted):
            self._stop.set()
        if isinstance(error, KeyboardInterrupt):
            self._shop.warn("interrupted; waiting for the running stages to stop")
        self._pool.shutdown()

    def _run(self, node: Node) -> bool:
        work = work_of(node, self._shop)

        def report(share: float) -> None:
            if self._stop.is_set():
                raise Stopped
            self._progress.update(node.id, node.name, share * work)

        try:
            finished = run_claimed(node, self._shop, report)
        except Stopped:
            return False
        if finished:
            self._progress.finish(node.id, work)
        return finished


def _slots(shop: Shop) -> int:
    """So that a trace shows one stage, a run that makes any does not mix them either."""
    if not shop.side_by_side or shop.traces:
        return 1
    return shop.study.workers or min(_MOST_WORKERS, os.cpu_count() or 1)
