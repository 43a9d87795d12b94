"""The kinds of question: how each is answered, and what it shows beside its verdict."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bakein.report.evidence import Evidence, Row
from bakein.report.exhibits import Chart, Table
from bakein.report.judges import (
    catch_up,
    comparison,
    conditional,
    conditional_exhibits,
    dose,
    frontier,
    gains,
    jailbreak,
    jailbreak_exhibits,
    lifts,
    mixture,
    mixture_check,
    mixture_exhibits,
    permanence,
    permanence_exhibits,
    rl_speed,
    spurious,
)


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
    "comparison": Kind(comparison.judge_comparison),
    "dose": Kind(dose.judge_dose, dose.dose_tables, dose.dose_charts),
    "persistence": Kind(comparison.judge_persistence, comparison.stage_tables),
    "spurious": Kind(spurious.judge_spurious, spurious.spurious_tables, spurious.spurious_charts),
    "mixture": Kind(
        mixture.judge_mixture, mixture_exhibits.mixture_tables, mixture_exhibits.mixture_charts
    ),
    "mixture_check": Kind(
        mixture_check.judge_mixture_check,
        mixture_exhibits.check_tables,
        mixture_exhibits.check_charts,
    ),
    "wrong_traces": Kind(lifts.judge_lifts, lifts.lift_tables),
    "permanence": Kind(
        permanence.judge_permanence,
        permanence_exhibits.permanence_tables,
        permanence_exhibits.permanence_charts,
    ),
    "symmetry": Kind(
        permanence.judge_symmetry,
        permanence_exhibits.symmetry_tables,
        permanence_exhibits.symmetry_charts,
    ),
    "conditional": Kind(
        conditional.judge_conditional,
        conditional_exhibits.conditional_tables,
        conditional_exhibits.conditional_charts,
    ),
    "rl_speed": Kind(rl_speed.judge_rl_speed, rl_speed.speed_tables, rl_speed.speed_charts),
    "catch_up": Kind(catch_up.judge_catch_up, catch_up.catch_up_tables, catch_up.catch_up_charts),
    "frontier": Kind(frontier.judge_frontier, frontier.frontier_tables, frontier.frontier_charts),
    "gains": Kind(gains.judge_gains, gains.gains_tables),
    "jailbreak": Kind(
        jailbreak.judge_jailbreak,
        jailbreak_exhibits.jailbreak_tables,
        jailbreak_exhibits.jailbreak_charts,
    ),
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
