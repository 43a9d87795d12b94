"""The walk over a DAG: what is ready, what is running, and the stop at the first failure."""

import contextlib
import functools
import time
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import Protocol

from bakein import processes
from bakein.study.dag import Node


class Executor(contextlib.AbstractContextManager, Protocol):
    """Runs nodes, several at a time. To leave it with an error stops those that are running."""

    @property
    def slots(self) -> int:
        """How many nodes may run at a time now."""

    def submit(self, node: Node) -> Hashable:
        """Begins a node whose parent is finished; returns what stands for it in `wait`."""

    def wait(self, running: Collection[Hashable], timeout: float | None) -> Mapping[Hashable, bool]:
        """Waits until one of those running is done, or `timeout` seconds are over.

        Returns:
            All that are done, and whether they are finished; False where another process runs them.

        Raises:
            Exception: what stopped one of them.
        """


def walk(
    todo: Sequence[Node], executor: Executor, warn: Callable[[str], None], patience: float
) -> None:
    """Runs every node once its parent is finished, as many at a time as the executor has slots.

    A node that another process runs is asked for again later, and its children wait for it.

    Args:
        todo: nodes that are not finished; a parent that is not among them is finished.
        executor: what runs them.
        warn: told, once, that there is nothing to do but to wait for other processes.
        patience: seconds until a node that another process runs is asked for again.

    Raises:
        Exception: what stopped a node; the others were stopped too.
    """
    waiting = {node.id: node for node in todo}
    running: dict[Hashable, Node] = {}
    again: dict[str, float] = {}  # when to ask for a node again
    warned = False
    with executor:
        while waiting or running:
            now = time.monotonic()
            unfinished = {*waiting, *(node.id for node in running.values())}
            ready = [node for node in waiting.values() if node.parent not in unfinished]
            free = max(executor.slots - len(running), 0)
            due = [node.id for node in ready if again.get(node.id, now) <= now][:free]
            if free:  # by one clock, so that several processes of one run go the same way
                due = processes.agree(functools.partial(list, due))
            for id in due:
                node = waiting.pop(id)
                running[executor.submit(node)] = node
            held = [again[id] for id in waiting if again.get(id, now) > now]
            timeout = min(held) - now if held else None
            if not running:
                if not warned:
                    warn("all stages that are left wait for those that other processes run")
                    warned = True
                time.sleep(timeout or patience)
                continue
            for handle, finished in executor.wait(running, timeout).items():
                node = running.pop(handle)
                if not finished:
                    waiting[node.id] = node
                    again[node.id] = time.monotonic() + patience
