"""The metrics of a stage by step: an append-only file of JSON lines, and TensorBoard events."""

import json
import os
import pathlib
import shutil
import time
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.summary import scalar

from bakein.study.errors import WorkdirError
from bakein.study.files import json_lines, write_text

Record = dict[str, Any]


class Board:
    """The numbers of a stage as TensorBoard events.

    Written in the calling thread: tensorboardX's own `SummaryWriter` writes in another, where a
    full disk ends the thread in silence and then blocks the caller for ever.
    """

    def __init__(self, path: pathlib.Path):
        """Names the folder of the events; the first record makes it."""
        self._path = path
        self._writer: EventsWriter | None = None

    def add(self, records: list[Record]) -> None:
        """Writes every number of the records at its step; lists, by problem, are left out."""
        if self._writer is None:
            self._path.mkdir(parents=True, exist_ok=True)
            self._writer = EventsWriter(str(self._path / "events"))
        for record in records:
            for name, value in record.items():
                if name != "step" and not isinstance(value, list):
                    summary = scalar(name, value)
                    event = Event(wall_time=time.time(), step=record["step"], summary=summary)
                    self._writer.write_event(event)
        self._writer.flush()

    def clear(self) -> None:
        """Deletes what an earlier session wrote."""
        self.close()
        if self._path.exists():
            shutil.rmtree(self._path)

    def close(self) -> None:
        """Closes the file of events."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class Records:
    """The file of JSON lines, and its board. Both are cut back when a stage resumes."""

    def __init__(self, path: pathlib.Path, board: pathlib.Path):
        """Names the file and the board's folder; nothing is read or written yet."""
        self._path = path
        self._board = Board(board)

    def append(self, records: list[Record]) -> None:
        """Adds lines at the end; they are on the disk when this returns."""
        if not records:
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json_lines(records))
            file.flush()
            os.fsync(file.fileno())
        self._board.add(records)

    def keep_until(self, step: int) -> None:
        """Drops the lines of steps after `step`, and a last line that was not written whole.

        Raises:
            WorkdirError: another line is damaged.
        """
        self._board.clear()
        if not self._path.exists():
            return
        try:
            whole, _, _ = self._path.read_text(encoding="utf-8").rpartition("\n")
            kept = [r for r in map(json.loads, whole.splitlines()) if r["step"] <= step]
        except (ValueError, KeyError, TypeError) as error:
            raise WorkdirError(
                f"{self._path} is damaged ({error}); delete its folder to run the stage again"
            ) from error
        write_text(self._path, json_lines(kept))
        self._board.add(kept)

    def close(self) -> None:
        """Closes the events."""
        self._board.close()


class NoRecords:
    """What every process but the first has in the place of `Records`: they would be the same."""

    def append(self, records: list[Record]) -> None:
        """Nothing."""

    def keep_until(self, step: int) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""
