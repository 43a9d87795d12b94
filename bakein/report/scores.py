"""Evaluation records as arrays: what every seed of an arm scored after a stage.

Shape suffixes: S seeds, P problems, F facts, K strategies.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from bakein.report.records import Node, Record, RecordError, Study


@dataclass(frozen=True)
class Scores:
    """The frozen evaluation of one arm after one stage, over its finished seeds in order.

    Or a probe there, under one of its variants; `probes` holds these by (probe, variant).
    """

    arm: str
    stage: str
    nodes: tuple[Node, ...]
    samples: int  # drawn per problem
    levels_P: np.ndarray
    answer_P: tuple[str, ...]  # the true ones
    correct_SP: np.ndarray  # of `samples`, as the next three
    verified_SP: np.ndarray
    format_SP: np.ndarray
    truncated_SP: np.ndarray
    greedy_SP: np.ndarray  # 0 or 1
    answers: tuple[tuple[dict[str, int], ...], ...]  # [S][P]: how often each answer was given
    recalled_SF: np.ndarray  # 0 or 1; F = 0 where no facts were asked for
    nll_SP: np.ndarray  # of the answer that an attack is after, in nats; P = 0 where there is none
    strategies: tuple[str, ...]  # K of them; none where the world tells none apart
    used_KSP: np.ndarray  # samples that follow each
    right_KSP: np.ndarray  # right ones of them
    probes: Mapping[tuple[str, str], "Scores"]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of the first axis."""
        return tuple(node.seed for node in self.nodes)

    def rows(self, seeds: tuple[int, ...]) -> list[int]:
        """Where these seeds stand on the first axis."""
        return [self.seeds.index(seed) for seed in seeds]


Kind = tuple[str, str]  # (probe, variant); ("", "") is the frozen evaluation
Table = tuple[list[Record], list[Record]]  # problems and facts


def collect(study: Study) -> dict[tuple[str, str], Scores]:
    """Scores by (arm, stage), for every pair with a finished evaluation.

    Raises:
      RecordError: two evaluations of the study do not hold the same problems and samples.
    """
    grouped: dict[tuple[str, str], list[Node]] = {}
    for node in study.nodes:
        if study.evaluation(node.id) is not None:
            grouped.setdefault((node.arm, node.stage), []).append(node)
    frozen: dict[Kind, tuple] = {}
    scores = {}
    for (arm, stage), nodes in grouped.items():
        nodes = sorted(nodes, key=lambda node: node.seed)
        records = [_by_kind(study, node) for node in nodes]
        stacked = {}
        for kind in records[0]:
            tables = [
                _table(found.get(kind, []), _folder(study, node, kind), frozen, kind)
                for node, found in zip(nodes, records, strict=True)
            ]
            stacked[kind] = _stack(arm, stage, nodes, tables)
        scores[arm, stage] = replace(stacked.pop(("", "")), probes=stacked)
    return scores


def _by_kind(study: Study, node: Node) -> dict[Kind, list[Record]]:
    """The records of the frozen evaluation of a node, and of its probes under their variants."""
    found = {("", ""): list(study.evaluation(node.id).records)}
    for name, probe in study.probes(node.id).items():
        for record in probe.records:
            found.setdefault((name, str(record["variant"])), []).append(record)
    return found


def _folder(study: Study, node: Node, kind: Kind) -> str:
    probe, _ = kind
    return (study.info["probes"][probe]["nodes"] if probe else study.info["evals"])[node.id]


def _table(records: list[Record], id: str, frozen: dict[Kind, tuple], kind: Kind) -> Table:
    """(problems, facts) of one evaluation, sorted, after checking that it is the frozen one."""
    problems = sorted((r for r in records if "problem" in r), key=lambda r: r["problem"])
    facts = sorted((r for r in records if "fact" in r), key=lambda r: r["fact"])
    if not problems:
        raise RecordError(f"evaluation {id}: finished without any problem")
    key = (
        tuple((r["problem"], r["level"], r["n"], r["answer"], "nll" in r) for r in problems),
        tuple(problems[0].get("strategies", ())),
        tuple(r["fact"] for r in facts),
    )
    if len({tuple(r.get("strategies", ())) for r in problems}) > 1:
        raise RecordError(f"evaluation {id}: its problems differ in their strategies")
    if len({r["n"] for r in problems}) > 1:
        raise RecordError(f"evaluation {id}: its problems differ in 'n', must be equal")
    if frozen.setdefault(kind, key) != key:
        raise RecordError(
            f"evaluation {id}: its problems, 'n' or facts differ from "
            "the study's other evaluations; one frozen evaluation must serve all stages"
        )
    return problems, facts


def _stack(arm: str, stage: str, nodes: list[Node], tables: list[Table]) -> Scores:
    def column(key: str, dtype: type = np.int64) -> np.ndarray:
        return np.array([[r[key] for r in problems] for problems, _ in tables], dtype=dtype)

    first = tables[0][0]
    strategies = tuple(first[0].get("strategies", ()))

    def followed(place: int) -> np.ndarray:
        counts = [
            [[r["strategies"][name][place] for r in problems] for problems, _ in tables]
            for name in strategies
        ]
        return np.array(counts, np.int64).reshape(len(strategies), len(tables), len(first))

    return Scores(
        arm=arm,
        stage=stage,
        nodes=tuple(nodes),
        samples=first[0]["n"],
        levels_P=np.array([r["level"] for r in first]),
        answer_P=tuple(r["answer"] for r in first),
        correct_SP=column("correct"),
        verified_SP=column("verified"),
        format_SP=column("format"),
        truncated_SP=column("truncated"),
        greedy_SP=column("greedy"),
        answers=tuple(tuple(r["answers"] for r in problems) for problems, _ in tables),
        recalled_SF=np.array([[r["recalled"] for r in facts] for _, facts in tables]),
        nll_SP=column("nll", float) if "nll" in first[0] else np.zeros((len(nodes), 0)),
        strategies=strategies,
        used_KSP=followed(0),
        right_KSP=followed(1),
        probes={},
    )
