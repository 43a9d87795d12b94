"""Claims: who works on what in a work directory, wherever that is."""

import contextlib
from collections.abc import Callable
from typing import Protocol


class Claims(Protocol):
    """What a work directory asks of a file system's locks, or of a bucket's leases."""

    def prepare(self) -> None:
        """Gets ready.

        Raises:
            OSError: the place cannot be used.
        """

    def claim(self, id: str, *, wait: bool) -> contextlib.AbstractContextManager[bool]:
        """Claims a node, against other processes and other threads.

        Args:
            id: of the node.
            wait: whether to wait for another that holds it.

        Yields:
            Whether it could be had.

        Raises:
            OSError: the place cannot be used.
        """

    def join(
        self, stale: Callable[[], bool], write: Callable[[], None]
    ) -> contextlib.AbstractContextManager[None]:
        """Is at work here, together with others.

        Args:
            stale: whether there is something to write.
            write: writes it; called only while nobody else is at work.

        Raises:
            OSError: the place cannot be used.
        """

    def tell(self, id: str, share: float) -> None:
        """Leaves word, for `told`, of how much of a claimed node is done."""

    def told(self, id: str) -> float:
        """How much of a node is done, from another process that told; 0.0 where none did."""
