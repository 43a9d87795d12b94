"""Reads a work directory back: study.json, and every stage's JSON and JSON-lines files.

Nothing is tolerated silently. A missing stage is what a half-finished study looks like and is
reported as missing; the torn last line of a stage that is still running is skipped and counted;
anything else that is not as written is a `RecordError` that names the file and the line.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bakein.paths import Path, read_bytes

Record = dict[str, Any]


class RecordError(ValueError):
    """A record that is not as the runner writes it, told in one line with its file and line."""


STUDY_KEYS = (
    "study",
    "config",
    "seeds",
    "arms",
    "stages",
    "nodes",
    "evals",
    "probes",
    "contrasts",
    "questions",
    "verdict_rules",
    "bootstrap",
    "k",
    "named_first",
)
STAGE_KEYS = ("id", "kind", "stage", "seed", "parents", "status", "made_by")
NAMED_FIRST = ("questions", "contrasts", "seeds", "bootstrap", "verdict_rules")
MADE_BY = ("versions", "git", "device")
_LONGEST = 1e12  # seconds of a part, so that no sum of them is infinite
COUNTS = ("correct", "verified", "format", "truncated")  # of one problem: 0 .. n


@dataclass(frozen=True)
class Node:
    """One training stage of one arm and seed. A shared stage is a node of each of its arms."""

    id: str
    kind: str
    stage: str
    arm: str
    seed: int
    parents: tuple[str, ...]


@dataclass(frozen=True)
class Stage:
    """What one stage folder holds: stage.json, records.jsonl, samples.jsonl.

    `torn` counts the cut-off last lines that were skipped because the stage is unfinished.
    """

    info: Record
    records: tuple[Record, ...]
    samples: tuple[Record, ...]
    torn: int

    @property
    def finished(self) -> bool:
        """Whether the runner marked the stage as finished."""
        return self.info["status"] == "finished"


@dataclass(frozen=True)
class Study:
    """A work directory as read: study.json, its training nodes and the stages found on disk."""

    workdir: Path
    info: Record
    nodes: tuple[Node, ...]
    stages: Mapping[str, Stage]

    def evaluation(self, node_id: str) -> Stage | None:
        """The frozen evaluation of a training node; None until it and its probes are finished."""
        frozen = self._finished(self.info["evals"].get(node_id))
        return None if None in self.probes(node_id).values() else frozen

    def probes(self, node_id: str) -> dict[str, Stage | None]:
        """The probes of a training node by name; None in the place of one that is not finished."""
        return {
            name: self._finished(probe["nodes"][node_id])
            for name, probe in self.info["probes"].items()
            if node_id in probe["nodes"]
        }

    def _finished(self, id: str | None) -> Stage | None:
        stage = self.stages.get(id)
        return stage if stage is not None and stage.finished else None

    def status(self, node_id: str) -> str:
        """`finished`, `running`, `failed` or `not started`; unevaluated counts as unfinished."""
        stage = self.stages.get(node_id)
        if stage is None:
            return "not started"
        if stage.finished and self.evaluation(node_id) is None:
            return "not evaluated"
        return stage.info["status"]

    @property
    def torn(self) -> int:
        """Cut-off last lines that were skipped, over all unfinished stages."""
        return sum(stage.torn for stage in self.stages.values())


def read_study(workdir: Path) -> Study:
    """Reads a work directory.

    Raises:
      RecordError: a file is not as the runner writes it; the message names file and line.
      OSError: a file cannot be read (a missing study.json among them).
    """
    path = workdir / "study.json"
    info = _read_object(path)
    _require(info, STUDY_KEYS, str(path))
    _require(info["named_first"], NAMED_FIRST, f"{path}: named_first")
    nodes = []
    for index, entry in enumerate(info["nodes"]):
        _require(entry, tuple(Node.__annotations__), f"{path}: nodes[{index}]")
        if entry["kind"] != "eval":
            fields = {key: entry[key] for key in Node.__annotations__}
            nodes.append(Node(**{**fields, "parents": tuple(entry["parents"])}))
    stages = {}
    ids = {node.id for node in nodes} | set(info["evals"].values())
    ids = ids.union(*(probe["nodes"].values() for probe in info["probes"].values()))
    for id in sorted(ids):
        if (workdir / "stages" / id / "stage.json").exists():
            stages[id] = _read_stage(workdir / "stages" / id)
    return Study(workdir, info, tuple(nodes), stages)


def _read_stage(folder: Path) -> Stage:
    path = folder / "stage.json"
    info = _read_object(path)
    _require(info, STAGE_KEYS, str(path))
    for entry in info["made_by"]:
        _require(entry, MADE_BY, f"{path}: made_by")
    _check_time(info, str(path))
    finished = info["status"] == "finished"
    checks = {"eval": _check_evaluation, "probe": _check_probe}
    check = checks.get(info["kind"], _check_training)
    records, torn = _read_lines(folder / "records.jsonl", finished, check)
    samples, torn_samples = _read_lines(folder / "samples.jsonl", finished, _check_sample)
    return Stage(info, records, samples, torn + torn_samples)


def _check_time(info: Record, where: str) -> None:
    """{part: seconds}, where the stage was timed."""
    parts = info.get("time", {})
    if not isinstance(parts, dict):
        raise RecordError(f"{where}: key 'time' must map each part to its seconds")
    for part in parts:
        _number(parts, part, f"{where}: time", 0, _LONGEST)


def _read_object(path: Path) -> Record:
    try:
        value = json.loads(read_bytes(path))
    except ValueError as error:  # broken JSON and broken UTF-8 alike
        raise RecordError(f"{path}: not JSON ({error})") from None
    if not isinstance(value, dict):
        raise RecordError(f"{path}: must hold a JSON object, holds {type(value).__name__}")
    return value


def _read_lines(
    path: Path, finished: bool, check: Callable[[Record, str], None]
) -> tuple[tuple[Record, ...], int]:
    """The checked records of a JSON-lines file, and 1 if a torn last line was skipped."""
    if not path.exists():
        return (), 0
    records = []
    for number, line, whole in _lines(path):
        where = f"{path}:{number}"
        try:
            record = json.loads(line)
        except ValueError as error:
            if not whole and not finished:
                return tuple(records), 1
            raise RecordError(f"{where}: not JSON ({error})") from None
        if not isinstance(record, dict):
            raise RecordError(f"{where}: a record must be a JSON object")
        check(record, where)
        records.append(record)
    return tuple(records), 0


def _lines(path: Path) -> Iterator[tuple[int, bytes, bool]]:
    """(number, bytes, ended by a newline). Only a newline does: completions hold others."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            yield number, line, line.endswith(b"\n")


def _check_training(record: Record, where: str) -> None:
    _require(record, ("step",), where)
    _number(record, "step", where, 0, None)
    if "heldout" in record:  # a point of the RL curve
        _number(record, "heldout", where, 0, 1)
        _require(record, ("solved",), where)
        shares = record["solved"]
        if not (isinstance(shares, list) and shares):
            raise RecordError(f"{where}: key 'solved' must be a list of shares, by problem")
        for share in shares:
            _number({"solved": share}, "solved", where, 0, 1)
        for key in ("samples", "sampled_tokens", "flops"):
            _number(record, key, where, 0, None)


def _check_evaluation(record: Record, where: str) -> None:
    if "fact" in record:
        _number(record, "recalled", where, 0, 1)
        return
    _require(record, ("problem", "level", "answer", "answers"), where)
    _number(record, "n", where, 1, None)
    for key in COUNTS:
        _number(record, key, where, 0, record["n"])
    for key in ("greedy", "greedy_format"):
        _number(record, key, where, 0, 1)
    answers = record["answers"]
    if not isinstance(answers, dict) or not all(type(c) is int for c in answers.values()):
        raise RecordError(f"{where}: key 'answers' must map each answer to its count")
    if "strategies" in record:
        _check_strategies(record["strategies"], record["n"], where)


def _check_strategies(strategies: Any, n: int, where: str) -> None:
    """{strategy: [samples that follow it, right ones of them]}, of all samples."""
    counts = list(strategies.values()) if isinstance(strategies, dict) else []
    fine = all(
        isinstance(pair, list)
        and len(pair) == 2
        and all(type(count) is int for count in pair)
        and 0 <= pair[1] <= pair[0]
        for pair in counts
    )
    if not fine or sum(used for used, _ in counts) != n:
        raise RecordError(
            f"{where}: key 'strategies' must map each strategy to [used, right], and the used must "
            f"sum to n = {n}"
        )


def _check_probe(record: Record, where: str) -> None:
    _require(record, ("variant", "problem"), where)
    _check_evaluation(record, where)
    if "nll" in record:
        _number(record, "nll", where, 0, None)


def _check_sample(record: Record, where: str) -> None:
    _require(
        record,
        ("problem", "level", "prompt", "completion", "answer", "right", "format", "steps", "kind"),
        where,
    )
    for key in ("prompt", "completion", "answer"):
        if not isinstance(record[key], str):
            raise RecordError(f"{where}: key {key!r} must be text, is {record[key]!r}")
    if not isinstance(record["steps"], list):
        raise RecordError(f"{where}: key 'steps' must be a list")


def _require(record: Any, keys: tuple[str, ...], where: str) -> None:
    if not isinstance(record, dict):
        raise RecordError(f"{where}: must be a JSON object")
    for key in keys:
        if key not in record:
            raise RecordError(f"{where}: key {key!r} is missing")


def _number(record: Record, key: str, where: str, low: float, high: float | None) -> None:
    _require(record, (key,), where)
    value = record[key]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RecordError(f"{where}: key {key!r} must be a number, is {value!r}")
    if not (value >= low and (high is None or value <= high)):  # false for NaN as well
        bound = f"at least {low}" if high is None else f"between {low} and {high}"
        raise RecordError(f"{where}: key {key!r} must be {bound}, is {value!r}")
