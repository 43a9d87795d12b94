"""Evaluation records as arrays: what every seed of an arm scored after a stage.

Shape suffixes: S seeds, P problems, F facts.
"""

from dataclasses import dataclass

import numpy as np

from bakein.report.records import Node, Record, Study


@dataclass(frozen=True)
class Scores:
    """The frozen evaluation of one arm after one stage, over its finished seeds in order."""

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
    recalled_SF: np.ndarray  # 0 or 1; F = 0 where the study has no facts

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of the first axis."""
        return tuple(node.seed for node in self.nodes)

    def rows(self, seeds: tuple[int, ...]) -> list[int]:
        """Where these seeds stand on the first axis."""
        return [self.seeds.index(seed) for seed in seeds]


def collect(study: Study) -> dict[tuple[str, str], Scores]:
    """Scores by (arm, stage), for every pair with a finished evaluation.

    Raises:
      ValueError: two evaluations of the study do not hold the same problems and samples.
    """
    grouped: dict[tuple[str, str], list[Node]] = {}
    for node in study.nodes:
        if study.evaluation(node.id) is not None:
            grouped.setdefault((node.arm, node.stage), []).append(node)
    frozen: dict[str, tuple] = {}
    scores = {}
    for (arm, stage), nodes in grouped.items():
        nodes = sorted(nodes, key=lambda node: node.seed)
        tables = [_table(study, node, frozen) for node in nodes]
        scores[arm, stage] = _stack(arm, stage, nodes, tables)
    return scores


def _table(study: Study, node: Node, frozen: dict[str, tuple]) -> tuple[list[Record], list[Record]]:
    """(problems, facts) of one evaluation, sorted, after checking that it is the frozen one."""
    records = study.evaluation(node.id).records
    problems = sorted((r for r in records if "problem" in r), key=lambda r: r["problem"])
    facts = sorted((r for r in records if "fact" in r), key=lambda r: r["fact"])
    if not problems:
        raise ValueError(f"evaluation {study.info['evals'][node.id]}: finished without any problem")
    key = (
        tuple((r["problem"], r["level"], r["n"], r["answer"]) for r in problems),
        tuple(r["fact"] for r in facts),
    )
    if len({r["n"] for r in problems}) > 1:
        raise ValueError(
            f"evaluation {study.info['evals'][node.id]}: its problems differ in 'n', must be equal"
        )
    if frozen.setdefault("key", key) != key:
        raise ValueError(
            f"evaluation {study.info['evals'][node.id]}: its problems, 'n' or facts differ from "
            "the study's other evaluations; one frozen evaluation must serve all stages"
        )
    return problems, facts


def _stack(
    arm: str, stage: str, nodes: list[Node], tables: list[tuple[list[Record], list[Record]]]
) -> Scores:
    def column(key: str) -> np.ndarray:
        return np.array([[r[key] for r in problems] for problems, _ in tables], dtype=np.int64)

    first = tables[0][0]
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
    )
