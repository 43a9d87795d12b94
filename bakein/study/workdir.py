"""The work directory: where everything of a run stands, held by one process at a time."""

import contextlib
import fcntl
import pathlib
import shutil
from collections.abc import Iterable, Iterator
from typing import Any

from bakein.study.errors import WorkdirError
from bakein.study.files import json_lines, read_json, write_json, write_text
from bakein.study.records import Records


class StageDir:
    """One stage's folder.

    Attributes:
        path: the folder.
        records: metrics by step.
        checkpoints: path of the checkpoints.
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
        write_text(self.path / name, json_lines(lines))


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

    def take_over(self, other: "Workdir", ids: Iterable[str]) -> None:
        """Copies finished stages of another work directory: equal ids are equal stages.

        Args:
            other: the work directory to copy from; nothing in it is changed.
            ids: of the stages that are wanted, as far as they are there.

        Raises:
            WorkdirError: the other is no work directory, or is this one.
        """
        if not (other.path / "stages").is_dir():
            raise WorkdirError(f"--reuse {other.path}: there is no work directory of a study")
        if other.path.samefile(self.path):
            raise WorkdirError(f"--reuse {other.path}: is the work directory itself")
        for id in ids:
            theirs, ours = other.path / "stages" / id, self.path / "stages" / id
            if ours.exists() or not StageDir(theirs, theirs).finished:
                continue
            draft = ours.with_name(f".{id}")  # a stage is there whole or not at all
            shutil.rmtree(draft, ignore_errors=True)
            shutil.copytree(theirs, draft)
            draft.rename(ours)

    @contextlib.contextmanager
    def open(self, study: str) -> Iterator[None]:
        """Makes the folder if need be and holds it against a second process.

        The operating system drops the lock with the process, however that ends.

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
            except BlockingIOError as error:
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
