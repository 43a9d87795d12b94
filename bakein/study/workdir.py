"""The work directory: where everything of a run stands, written so that a kill loses nothing."""

import contextlib
import fcntl
import json
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

from tensorboardX import SummaryWriter

from bakein.study.errors import WorkdirError


def write_text(path: pathlib.Path, text: str) -> None:
    """Replaces a file atomically: a reader sees the old text or the new one, never a part."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_json(path: pathlib.Path, value: Any) -> None:
    """Replaces a JSON file atomically."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: pathlib.Path) -> Any:
    """Reads JSON.

    Raises:
        WorkdirError: the file is there and broken.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise WorkdirError(f"{path} is damaged ({error}); delete it and run again") from error


class Records:
    """An append-only file of JSON lines, and the same numbers as TensorBoard events.

    When a stage resumes, both are cut back to the restored step.
    """

    def __init__(self, path: pathlib.Path, board: pathlib.Path):
        """Names the files; nothing is read or written yet.

        Args:
            path: the file of lines.
            board: folder of the TensorBoard events.
        """
        self._path = path
        self._board = board
        self._events: SummaryWriter | None = None

    def append(self, records: list[dict[str, Any]]) -> None:
        """Adds lines at the end and hands them to the operating system."""
        if not records:
            return
        text = "".join(json.dumps(record, allow_nan=False) + "\n" for record in records)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        self._show(records)

    def keep_until(self, step: int) -> None:
        """Drops the lines of steps after `step`, and a last line that was not written whole."""
        shutil.rmtree(self._board, ignore_errors=True)
        if not self._path.exists():
            return
        whole, _, _ = self._path.read_text(encoding="utf-8").rpartition("\n")
        kept = [line for line in whole.splitlines() if json.loads(line)["step"] <= step]
        write_text(self._path, "".join(f"{line}\n" for line in kept))
        self._show([json.loads(line) for line in kept])

    def close(self) -> None:
        """Writes out the events."""
        if self._events is not None:
            self._events.close()
            self._events = None

    def _show(self, records: list[dict[str, Any]]) -> None:
        if self._events is None:
            self._events = SummaryWriter(str(self._board), write_to_disk=True)
        for record in records:
            for name, value in record.items():
                if name != "step":
                    self._events.add_scalar(name, value, record["step"])


class StageDir:
    """One stage's folder.

    Attributes:
        path: the folder.
        records: metrics by step.
    """

    def __init__(self, path: pathlib.Path, board: pathlib.Path):
        """Names the folder and that of its TensorBoard events; `create` makes it."""
        self.path = path
        self.records = Records(path / "records.jsonl", board)
        self.checkpoints = path / "checkpoints"

    def create(self) -> None:
        """Makes the folder."""
        self.path.mkdir(parents=True, exist_ok=True)

    def info(self) -> dict[str, Any]:
        """What stage.json says; {} where the stage was never begun."""
        path = self.path / "stage.json"
        return read_json(path) if path.exists() else {}

    @property
    def finished(self) -> bool:
        """Whether the stage was run to its end."""
        return self.info().get("status") == "finished"

    def write_info(self, info: dict[str, Any]) -> None:
        """Replaces stage.json."""
        write_json(self.path / "stage.json", info)

    def write_lines(self, name: str, lines: list[dict[str, Any]]) -> None:
        """Replaces a file of JSON lines, atomically."""
        text = "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines)
        write_text(self.path / name, text)


class Workdir:
    """The folder of one run.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: str | pathlib.Path):
        """Names the folder; `open` makes and locks it."""
        self.path = pathlib.Path(path)

    def stage(self, id: str, name: str) -> StageDir:
        """The folder of a node; `name` is what TensorBoard calls it."""
        return StageDir(self.path / "stages" / id, self.path / "tensorboard" / name)

    @contextlib.contextmanager
    def open(self, study: str) -> Iterator[None]:
        """Makes the folder if need be and holds it against a second process.

        Args:
            study: name of the study that it must belong to.

        Raises:
            WorkdirError: it cannot be written, is in use, or belongs to another study.
        """
        try:
            (self.path / "stages").mkdir(parents=True, exist_ok=True)
            lock = (self.path / ".lock").open("w")
        except OSError as error:
            raise WorkdirError(
                f"work directory {self.path}: {error.strerror or error}; give another --workdir"
            ) from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise WorkdirError(
                    f"work directory {self.path} is in use by another process"
                ) from error
            self._check_owner(study)
            yield

    def _check_owner(self, study: str) -> None:
        path = self.path / "study.json"
        owner = read_json(path).get("study") if path.exists() else study
        if owner != study:
            raise WorkdirError(
                f"work directory {self.path} belongs to study {owner!r}, not {study!r}; "
                "give another --workdir"
            )
