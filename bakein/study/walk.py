"""The walk over a DAG: what is ready, what is running, and the stop at the first failure."""

import contextlib
from collections.abc import Collection, Hashable, Iterable, Sequence
from typing import Protocol

from bakein.study.dag import Node


class Executor(contextlib.AbstractContextManager, Protocol):
    """Runs nodes, several at a time. To leave it with an error stops those that are running."""

    @property
    def slots(self) -> int:
        """How many nodes may run at a time now."""

    def submit(self, node: Node) -> Hashable:
        """Begins a node whose parent is finished; returns what stands for it in `wait`."""

    def wait(self, running: Collection[Hashable]) -> Iterable[Hashable]:
        """Waits until one of those running is done; returns all that are.

        Raises:
            Exception: what stopped one of them.
        """


def walk(todo: Sequence[Node], executor: Executor) -> None:
    """Runs every node once its parent is finished, as many at a time as the executor has slots.

    Args:
        todo: nodes that are not finished; a parent that is not among them is finished.
        executor: what runs them.

    Raises:
        Exception: what stopped a node; the others were stopped too.
    """
    waiting = {node.id: node for node in todo}
    running: dict[Hashable, str] = {}
    with executor:
        while waiting or running:
            unfinished = {*waiting, *running.values()}
            ready = [node for node in waiting.values() if node.parent not in unfinished]
            for node in ready[: executor.slots - len(running)]:
                running[executor.submit(node)] = node.id
                del waiting[node.id]
            for handle in executor.wait(running):
                del running[handle]
