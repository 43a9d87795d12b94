"""The kinds of question: how each is answered, and what it shows beside its verdict."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bakein.report import answers, lifts
from bakein.report.evidence import Evidence, Row
from bakein.report.exhibits import Chart, Table


def _nothing(_: Row) -> tuple[()]:
    return ()


@dataclass(frozen=True)
class Kind:
    """How a question of study.json becomes an answer of results.json, and that a part of the page.

    Attributes:
        judge: from the question's row and the evidence to the row with its verdict.
        tables: of the answered row.
        charts: of the answered row.
    """

    judge: Callable[[Row, Evidence], Row]
    tables: Callable[[Row], Sequence[Table]] = _nothing
    charts: Callable[[Row], Sequence[Chart]] = _nothing


KINDS = {
    "comparison": Kind(answers.judge_comparison),
    "persistence": Kind(answers.judge_persistence, answers.stage_tables),
    "spurious": Kind(lifts.judge_lifts, lifts.lift_tables),
    "wrong_traces": Kind(lifts.judge_lifts, lifts.lift_tables),
}


def answer(question: Row, evidence: Evidence) -> Row:
    """The question's row with its answer."""
    return KINDS[question["kind"]].judge(question, evidence)


def tables(answer: Row) -> Sequence[Table]:
    """What stands below an answer."""
    return KINDS[answer["kind"]].tables(answer)


def charts(answer: Row) -> Sequence[Chart]:
    """What is drawn of an answer."""
    return KINDS[answer["kind"]].charts(answer)
