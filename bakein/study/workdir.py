"""The work directory: where everything of a run stands, and who works on what in it.

Processes that run the same study may share it, on one machine or on several that see it over NFS.
Each stage is claimed by the one that runs it; study.json is fixed while any of them is at work.

Where several processes are one run, the first of them claims and writes for all; the others write
nothing but their part of the checkpoints.
"""

import contextlib
import fcntl
import json
import os
import pathlib
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from bakein import processes
from bakein.study.errors import WorkdirError
from bakein.study.files import json_lines, read_json, write_json, write_text
from bakein.study.locks import lock_file, locked, take
from bakein.study.records import NoRecords, Records

# What study.json keeps as it was when the first stage was begun.
NAMED_FIRST = ("questions", "contrasts", "seeds", "bootstrap", "verdict_rules")


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
        self._writes = processes.first()
        self.records = Records(path / "records.jsonl", board) if self._writes else NoRecords()
        self.checkpoints = path / "checkpoints"

    def create(self) -> None:
        """Makes the folder, so that every process sees it."""
        self.path.mkdir(parents=True, exist_ok=True)

    def info(self) -> dict[str, Any]:
        """What stage.json says; {} where the stage was never begun."""
        path = self.path / "stage.json"
        return read_json(path) if path.exists() else {}

    def unsaid_seconds(self) -> float:
        """Seconds from the writing of stage.json to that of the newest file beside it.

        A session that was killed did not say how long it was; so long it lived at least.
        """
        if not (self.path / "stage.json").exists():
            return 0.0
        files = [*self.path.iterdir(), *self.checkpoints.glob("*")]
        newest = 0.0
        for file in files:
            with contextlib.suppress(FileNotFoundError):  # the first process has replaced it
                newest = max(newest, file.stat().st_mtime)
        return max(newest - (self.path / "stage.json").stat().st_mtime, 0.0)

    @property
    def finished(self) -> bool:
        """Whether the stage was run to its end."""
        return self.info().get("status") == "finished"

    def write_info(self, info: dict[str, Any]) -> None:
        """Replaces stage.json."""
        if self._writes:
            write_json(self.path / "stage.json", info)

    def write_lines(self, name: str, lines: list[dict[str, Any]]) -> None:
        """Replaces a file of JSON lines, atomically."""
        if self._writes:
            write_text(self.path / name, json_lines(lines))


class Workdir:
    """The folder of one run.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: str | pathlib.Path):
        """Names the folder; `prepare` makes it."""
        self.path = pathlib.Path(path)
        self._claims = self.path / ".claims"

    def stage(self, id: str, name: str) -> StageDir:
        """The folder of a node; `name` is what TensorBoard calls it."""
        return StageDir(self.path / "stages" / id, self.path / "tensorboard" / name)

    def prepare(self, study: str) -> None:
        """Makes the folder if need be.

        Args:
            study: name of the study that it must belong to.

        Raises:
            WorkdirError: it cannot be written, belongs to another study, or is no folder.
        """
        if self.path.parts[:1] and self.path.parts[0].endswith(":"):  # Path makes gs://x gs:/x
            raise WorkdirError(
                f"work directory {self.path}: must be a folder of a file system; object stores "
                "have no locks, and no files to append to: mount the bucket (gcsfuse), as "
                "tpu_scripts do for STORE=gs://BUCKET, and give its folder"
            )
        try:
            for folder in (self.path / "stages", self._claims):
                folder.mkdir(parents=True, exist_ok=True)
            lock_file(self.path / ".lock").close()
        except OSError as error:
            raise WorkdirError(
                f"work directory {self.path}: {error.strerror or error}; give another --workdir"
            ) from error
        path = self.path / "study.json"
        owner = read_json(path).get("study") if path.exists() else study
        if owner != study:
            raise WorkdirError(
                f"work directory {self.path} belongs to study {owner!r}, not {study!r}; "
                "give another --workdir"
            )

    @contextlib.contextmanager
    def claim(self, id: str, *, wait: bool = False) -> Iterator[bool]:
        """Claims a node; as for `locked`. Only who holds the claim writes into the node's folder.

        The operating system drops the claim with the process, however that ends.
        """
        lock = locked(self._claims / id, wait=wait)
        with lock if processes.first() else contextlib.nullcontext() as claimed:
            yield processes.agree(lambda: claimed)

    def profile(self, name: str) -> pathlib.Path:
        """The folder of a node's XProf traces; apart, since its board is cut back on resume."""
        return self.path / "tensorboard" / "profile" / name

    def tell(self, id: str, share: float) -> None:
        """Leaves word, for `told`, of how much of a claimed node is done."""
        told = {"host": socket.gethostname(), "pid": os.getpid(), "share": share}
        (self._claims / id).write_text(json.dumps(told), encoding="utf-8")

    def told(self, id: str) -> float:
        """How much of a node is done, from another process that told; 0.0 where none did."""
        try:
            return json.loads((self._claims / id).read_text(encoding="utf-8"))["share"]
        except (FileNotFoundError, ValueError):  # not begun, or just being told
            return 0.0

    def finished_in(self, other: "Workdir", ids: Iterable[str]) -> list[str]:
        """Which of these stages another work directory has finished.

        Raises:
            WorkdirError: the other is no work directory, or is this one.
        """
        if not (other.path / "stages").is_dir():
            raise WorkdirError(f"--reuse {other.path}: there is no work directory of a study")
        if self.path.exists() and other.path.samefile(self.path):
            raise WorkdirError(f"--reuse {other.path}: is the work directory itself")
        return [id for id in ids if other.stage(id, id).finished]

    def take_over(self, other: "Workdir", ids: Iterable[str]) -> None:
        """Copies finished stages of another work directory: equal ids are equal stages.

        Args:
            other: the work directory to copy from; nothing in it is changed.
            ids: of the stages that are wanted, as far as they are there.

        Raises:
            WorkdirError: the other is no work directory, or is this one.
        """
        for id in self.finished_in(other, ids):
            with locked(self._claims / id, wait=False) as claimed:
                theirs, ours = other.path / "stages" / id, self.path / "stages" / id
                if not claimed or ours.exists():
                    continue
                draft = ours.with_name(f".{id}")  # a stage is there whole or not at all
                shutil.rmtree(draft, ignore_errors=True)
                shutil.copytree(theirs, draft)
                draft.rename(ours)

    @contextlib.contextmanager
    def open(self, record: dict[str, Any], save: Callable[[pathlib.Path], None]) -> Iterator[None]:
        """Writes study.json, and holds it against runs of anything else.

        Args:
            record: what study.json is to say.
            save: writes what else belongs to the record into the folder.

        Raises:
            WorkdirError: another process is at work here, and its study.json says something else.
        """
        path = self.path / "study.json"
        with lock_file(self.path / ".lock") as lock:
            if take(lock, fcntl.LOCK_EX, wait=False):  # nobody else is at work
                save(self.path)
                write_json(path, {**record, "named_first": self._named_first(record)})
            # Not atomic: another may have come first, and is done writing when this has its turn.
            take(lock, fcntl.LOCK_SH, wait=True)
            written = read_json(path)
            del written["named_first"]
            differing = _differences(written, json.loads(json.dumps(record)))
            if differing:
                more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
                raise WorkdirError(
                    f"work directory {self.path} is in use by another process, and what it runs "
                    f"differs in {', '.join(differing[:3])}{more}"
                )
            yield

    def _named_first(self, record: dict[str, Any]) -> dict[str, Any]:
        """What was asked, by which rules, when the first stage was begun.

        Results cannot change that: what is asked later is seen to be asked later.
        """
        path = self.path / "study.json"
        if path.exists() and any((self.path / "stages").glob("*/stage.json")):
            return read_json(path)["named_first"]
        return {key: record[key] for key in NAMED_FIRST}


def _differences(left: Any, right: Any, path: str = "") -> list[str]:
    """Where two JSON values differ, as dotted paths."""
    if isinstance(left, dict) and isinstance(right, dict):
        keys = [*left, *(key for key in right if key not in left)]
        inner = [_differences(left.get(k), right.get(k), f"{path}.{k}".lstrip(".")) for k in keys]
        return [found for part in inner for found in part]
    return [] if left == right else [path]
