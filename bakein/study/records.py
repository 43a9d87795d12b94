"""The metrics of a stage by step: an append-only file of JSON lines, and TensorBoard events."""

import json
import os
import pathlib
import tempfile
import time
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.summary import scalar

from bakein.paths import Path, copy_tree, in_bucket, remove_tree, write_text
from bakein.study.errors import WorkdirError
from bakein.study.files import json_lines

Record = dict[str, Any]

_SECONDS = 15.0  # between two writings of what grows, in a bucket: each writes all of it


class Board:
    """The numbers of a stage as TensorBoard events.

    Written in the calling thread: tensorboardX's own `SummaryWriter` writes in another, where a
    full disk ends the thread in silence and then blocks the caller for ever.
    """

    def __init__(self, path: Path):
        """Names the folder of the events; the first record makes it."""
        self._path = path
        self._desk: tempfile.TemporaryDirectory | None = None  # from where they go to a bucket
        self._writer: EventsWriter | None = None

    def add(self, records: list[Record]) -> None:
        """Writes every number of the records at its step; lists, by problem, are left out."""
        if self._writer is None:
            if in_bucket(self._path):
                self._desk = tempfile.TemporaryDirectory()
            else:
                self._path.mkdir(parents=True, exist_ok=True)
            folder = self._desk.name if self._desk else str(self._path)
            self._writer = EventsWriter(os.path.join(folder, "events"))
        for record in records:
            for name, value in record.items():
                if name != "step" and not isinstance(value, list):
                    summary = scalar(name, value)
                    event = Event(wall_time=time.time(), step=record["step"], summary=summary)
                    self._writer.write_event(event)
        self._writer.flush()

    def flush(self) -> None:
        """Lets readers see what was added."""
        if self._desk is not None:
            copy_tree(pathlib.Path(self._desk.name), self._path)

    def clear(self) -> None:
        """Deletes what an earlier session wrote."""
        self.close()
        remove_tree(self._path)

    def close(self) -> None:
        """Closes the file of events."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._desk is not None:
            self.flush()
            self._desk.cleanup()
            self._desk = None


class Lines:
    """A file of lines that grows."""

    def __init__(self, path: Path):
        """Names the file."""
        self._path = path

    def replace(self, text: str) -> None:
        """Lets the file be this, atomically."""
        write_text(self._path, text)

    def append(self, text: str) -> None:
        """Adds lines at the end, for readers to see."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(text)

    def flush(self) -> None:
        """When this returns, all lines are on the disk."""
        if self._path.exists():
            with self._path.open("rb") as file:
                os.fsync(file.fileno())


class BucketLines:
    """The same in a bucket, where a file is written anew: now and then, and when flushed."""

    def __init__(self, path: Path):
        """Names the file; `replace` comes before anything is appended."""
        self._path = path
        self._text = ""
        self._written = ""
        self._when = -_SECONDS

    def replace(self, text: str) -> None:
        """Lets the file be this, atomically."""
        self._text = text
        self._write()

    def append(self, text: str) -> None:
        """Adds lines at the end, for readers to see soon."""
        self._text += text
        if time.monotonic() - self._when >= _SECONDS:
            self._write()

    def flush(self) -> None:
        """When this returns, all lines are in the bucket."""
        if self._text != self._written:
            self._write()

    def _write(self) -> None:
        write_text(self._path, self._text)
        self._written, self._when = self._text, time.monotonic()


class Records:
    """The file of JSON lines, and its board. Both are cut back when a stage resumes."""

    def __init__(self, path: Path, board: Path):
        """Names the file and the board's folder; nothing is read or written yet."""
        self._path = path
        self._lines = BucketLines(path) if in_bucket(path) else Lines(path)
        self._board = Board(board)

    def append(self, records: list[Record]) -> None:
        """Adds lines at the end, for readers to see."""
        if records:
            self._lines.append(json_lines(records))
            self._board.add(records)

    def flush(self) -> None:
        """When this returns, what was appended outlives the machine."""
        self._lines.flush()
        self._board.flush()

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
        self._lines.replace(json_lines(kept))
        self._board.add(kept)

    def close(self) -> None:
        """Flushes both, and closes the events."""
        self._lines.flush()
        self._board.close()


class NoRecords:
    """What every process but the first has in the place of `Records`: they would be the same."""

    def append(self, records: list[Record]) -> None:
        """Nothing."""

    def flush(self) -> None:
        """Nothing."""

    def keep_until(self, step: int) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""
