"""The work directory: where everything of a run stands, and who works on what in it.

Processes that run the same study may share it, on one machine or on several that see it over NFS or
in a bucket. Each stage is claimed by the one that runs it; study.json is fixed while any of them is
at work.

Where several processes are one run, the first of them claims and writes for all; the others write
nothing but their part of the checkpoints.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from bakein import processes
from bakein.paths import (
    Path,
    copy_tree,
    in_bucket,
    modified,
    path_of,
    remove_tree,
    unanswered,
    write_text,
)
from bakein.study.claims import Claims
from bakein.study.errors import WorkdirError
from bakein.study.files import json_lines, read_json, write_json
from bakein.study.leases import Leases
from bakein.study.locks import Locks
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

    def __init__(self, path: Path, board: Path):
        """Names the folder and that of its TensorBoard events; `create` makes it."""
        self.path = path
        self._writes = processes.first()
        self.records = Records(path / "records.jsonl", board) if self._writes else NoRecords()
        self.checkpoints = path / "checkpoints"

    def create(self) -> None:
        """Makes the folder, so that every process sees it.

        Without a stage.json, what stands in it is a copy that was interrupted.
        """
        if self._writes and not self.info():
            remove_tree(self.path)
        self.path.mkdir(parents=True, exist_ok=True)

    def info(self) -> dict[str, Any]:
        """What stage.json says; {} where the stage was never begun."""
        return read_json(self.path / "stage.json")

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
                newest = max(newest, modified(file))
        return max(newest - modified(self.path / "stage.json"), 0.0)

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

    def __init__(self, path: str | os.PathLike, lost: Callable[[int, str], Any] = processes.end):
        """Names the folder, or a prefix in a bucket; `prepare` makes it.

        Args:
            path: where it is.
            lost: ends this process with an exit code and a line, and tells others; see `Leases`.

        Raises:
            OSError: it is a place of another kind.
        """
        self.path = path_of(os.fspath(path))
        leased = in_bucket(self.path)
        self._claims: Claims = Leases(self.path, lost) if leased else Locks(self.path)

    def stage(self, id: str, name: str) -> StageDir:
        """The folder of a node; `name` is what TensorBoard calls it."""
        return StageDir(self.path / "stages" / id, self.path / "tensorboard" / name)

    def prepare(self, study: str) -> None:
        """Makes the folder if need be.

        Args:
            study: name of the study that it must belong to.

        Raises:
            WorkdirError: it cannot be written, belongs to another study, or is no folder.
            NoAnswer: the bucket does not answer.
        """
        try:
            (self.path / "stages").mkdir(parents=True, exist_ok=True)
            self._claims.prepare()
            owner = read_json(self.path / "study.json").get("study", study)
        except OSError as error:
            if isinstance(error, WorkdirError) or unanswered(error):
                raise
            raise WorkdirError(
                f"work directory {self.path}: {error.strerror or error}; give another --workdir"
            ) from error
        if owner != study:
            raise WorkdirError(
                f"work directory {self.path} belongs to study {owner!r}, not {study!r}; "
                "give another --workdir"
            )

    @contextlib.contextmanager
    def claim(self, id: str, *, wait: bool = False) -> Iterator[bool]:
        """Claims a node for all processes of the run; arguments and errors as of `Claims`.

        Only who holds the claim writes into the node's folder. It ends with the process, however
        that ends: on a file system at once, in a bucket after a minute.
        """
        claim = self._claims.claim(id, wait=wait)
        with claim if processes.first() else contextlib.nullcontext() as claimed:
            yield processes.agree(lambda: claimed)

    def profile(self, name: str) -> Path:
        """The folder of a node's XProf traces; apart, since its board is cut back on resume."""
        return self.path / "tensorboard" / "profile" / name

    def tell(self, id: str, share: float) -> None:
        """Leaves word, for `told`, of how much of a claimed node is done."""
        self._claims.tell(id, share)

    def told(self, id: str) -> float:
        """How much of a node is done, from another process that told; 0.0 where none did."""
        return self._claims.told(id)

    def finished_in(self, other: "Workdir", ids: Iterable[str]) -> list[str]:
        """Which of these stages another work directory has finished.

        Raises:
            WorkdirError: the other is no work directory, or is this one.
        """
        if not (other.path / "stages").is_dir():
            raise WorkdirError(f"--reuse {other.path}: there is no work directory of a study")
        if _same(self.path, other.path):
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
            with self._claims.claim(id, wait=False) as claimed:
                theirs, ours = other.path / "stages" / id, self.path / "stages" / id
                if not claimed or self.stage(id, id).finished:
                    continue
                (ours / "stage.json").unlink(missing_ok=True)  # first: then nothing was begun here
                remove_tree(ours)
                copy_tree(theirs, ours, last="stage.json")  # without which nothing was begun

    @contextlib.contextmanager
    def open(self, record: dict[str, Any], save: Callable[[Path], None]) -> Iterator[None]:
        """Writes study.json, and holds it against runs of anything else.

        Args:
            record: what study.json is to say.
            save: writes what else belongs to the record into the folder.

        Raises:
            WorkdirError: another process is at work here, and its study.json says something else.
        """
        path, record = self.path / "study.json", json.loads(json.dumps(record))

        def differing() -> list[str]:
            written = read_json(path)
            return _differences({k: written[k] for k in written if k != "named_first"}, record)

        def write() -> None:
            save(self.path)
            write_json(path, {**record, "named_first": self._named_first(record)})

        with self._claims.join(lambda: bool(differing()), write):
            if found := differing():
                more = f" and {len(found) - 3} more" if len(found) > 3 else ""
                raise WorkdirError(
                    f"work directory {self.path} is in use by another process, and what it runs "
                    f"differs in {', '.join(found[:3])}{more}"
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


def _same(path: Path, other: Path) -> bool:
    """Whether two paths are one folder, which is there."""
    if in_bucket(path) or in_bucket(other):
        return path == other
    return path.exists() and path.samefile(other)


def _differences(left: Any, right: Any, path: str = "") -> list[str]:
    """Where two JSON values differ, as dotted paths."""
    if isinstance(left, dict) and isinstance(right, dict):
        keys = [*left, *(key for key in right if key not in left)]
        inner = [_differences(left.get(k), right.get(k), f"{path}.{k}".lstrip(".")) for k in keys]
        return [found for part in inner for found in part]
    return [] if left == right else [path]
