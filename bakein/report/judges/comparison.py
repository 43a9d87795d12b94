"""Contrasts and questions: each one's effect, interval and verdict, and the sentence that says it.

The verdicts are `analysis.verdicts`' alone. The comparisons that questions ask for are one family
of hypotheses, the other named contrasts a second one; in each, a verdict is read off the interval
of its Holm level. So a contrast listed for the reader's interest costs no question its power.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bakein.analysis import bootstrap, persistence, verdicts
from bakein.report.evidence import Evidence, Row, limits, unmeasured
from bakein.report.exhibits import Table
from bakein.report.judges import published, sentences
from bakein.report.metrics import metric_logit_limit, metric_logits, metric_range
from bakein.report.text import interval, level, number, signed

Key = tuple[str, str, str, str, float]


def _effect_name(row: Row) -> str:
    return f"Effect: {row['treated']} − {row['control']}"


def judge_comparison(question: Row, evidence: Evidence) -> Row:
    """A question that is one contrast, judged among all questions of its kind."""
    questions = evidence.study.info["questions"].values()
    family = [row for row in questions if row["kind"] == "comparison"]
    return {**question, **judge_family(family, evidence)[_key(question)]}


def judge_contrasts(evidence: Evidence) -> list[Row]:
    """The study's named contrasts with their verdicts; what a question asks as well, as it does."""
    info = evidence.study.info
    asked = [row for row in info["questions"].values() if row["kind"] == "comparison"]
    same = {_compared(row) for row in asked}
    rest = [row for row in info["contrasts"] if _compared(row) not in same]
    shared = [row for row in info["contrasts"] if _compared(row) in same]
    judged = judge_family(rest, evidence) | judge_family(asked, evidence, shared)
    return [{**row, **judged[_key(row)]} for row in info["contrasts"]]


def judge_family(
    family: Sequence[Row], evidence: Evidence, also: Sequence[Row] = ()
) -> dict[Key, Row]:
    """The verdict on every comparison of one family, read off the interval of its Holm level.

    Args:
        family: rows with treated, control, stage, metric and epsilon.
        evidence: what was measured.
        also: rows that compare what a member of the family does, perhaps with another epsilon.
    """
    base = evidence.settings["level"]
    found = {_compared(row): _difference(row, evidence) for row in family}
    effects = {key: effect for key, effect in found.items() if effect is not None}
    p = {key: effect.interval(base).p_value for key, effect in effects.items()}
    p_holm, levels = bootstrap.holm(p), bootstrap.holm_levels(p, base)
    judged = {}
    for row in [*family, *also]:
        key, rule = _compared(row), sentences.COMPARISON_RULES["underpowered"]
        answer = {"unit": row["metric"], "effect_name": _effect_name(row), **unmeasured(rule)}
        answer |= {"p": None, "p_holm": None}
        if key in effects:
            interval = effects[key].interval(levels[key])
            judgement = _judge(row, interval, effects[key].means)
            answer |= {"p": p[key], "p_holm": p_holm[key], **judgement}
        judged[_key(row)] = answer
    return judged


def _compared(row: Row) -> tuple[str, str, str, str]:
    """What a contrast compares, whatever it is called."""
    return row["treated"], row["control"], row["stage"], row["metric"]


def _key(row: Row) -> Key:
    return *_compared(row), row["epsilon"]


def judge_persistence(question: Row, evidence: Evidence) -> Row:
    """A persistence question answered: the difference in logits stage by stage, and the last's."""
    scores, settings = evidence.scores, evidence.settings
    arms = question["treated"], question["control"]
    stages = [s for s in question["stages"] if all((arm, s) in scores for arm in arms)]
    seeds = evidence.seeds((arm, s) for arm in arms for s in stages)
    row = {
        **question,
        "effect_name": _effect_name(question),
        "unit": f"logit of {question['metric']}",
        "stage": question["stages"][-1],
        "missing": [s for s in question["stages"] if s not in stages],
        "stages": [],
    }
    first = question["stages"][0]
    if not seeds or first not in stages:
        return {**row, **unmeasured(sentences.PERSISTENCE_RULES["underpowered"])}
    logits = [
        [
            metric_logits(scores[arm, s], question["metric"])[scores[arm, s].rows(seeds)]
            for s in stages
        ]
        for arm in arms
    ]
    limit = metric_logit_limit(scores[question["treated"], first], question["metric"])
    largest = [_largest(question, stage, evidence, 2 * limit) for stage in stages]
    gains = persistence.retention(stages, *logits, largest, *evidence.resampling())
    for gain in gains:
        kept = None if gain.stage == first else gain.retention
        row["stages"].append(
            {
                "stage": gain.stage,
                "delta": gain.gain.estimate,
                "ci": limits(gain.gain),
                "mde": gain.gain.mde,
                "retention": kept.estimate if kept else None,
                "retention_ci": limits(kept) if kept else None,
                "verdict": ""
                if gain.stage == first
                else str(verdicts.persistence(gain.gain, gain.retention, question["epsilon"])),
            }
        )
    row["published"] = published.beside(row, evidence, seeds)
    last = gains[-1]
    if last.stage != row["stage"]:  # the last stage asked for has not been measured yet
        return {**row, **unmeasured(sentences.PERSISTENCE_RULES["underpowered"])}
    verdict = str(verdicts.persistence(last.gain, last.retention, question["epsilon"]))
    return {
        **row,
        "verdict": verdict,
        "effect": last.gain.estimate,
        "ci": limits(last.gain),
        "level": settings["level"],
        "seeds": len(seeds),
        "mde": last.gain.mde,
        "rule": sentences.PERSISTENCE_RULES[verdict],
        "sentence": sentences.persistence(question, verdict, gains),
    }


@dataclass(frozen=True)
class _Difference:
    """Treated − control: draws, number of scores, the largest that can be, and both means."""

    draws: bootstrap.Draws
    cells: int
    largest: float
    means: tuple[float, float]

    def interval(self, level: float) -> bootstrap.Interval:
        found = self.draws.interval(level)
        return bootstrap.bounded(found, self.cells, -self.largest, self.largest)


def _difference(row: Row, evidence: Evidence) -> _Difference | None:
    """Over the seeds that both arms have finished; None where there is none."""
    places = [(row[side], row["stage"]) for side in ("treated", "control")]
    seeds = evidence.seeds(places)
    if not seeds:
        return None
    treated_SP, control_SP = (evidence.metric(p, row["metric"], seeds) for p in places)
    return _Difference(
        bootstrap.draw(
            (treated_SP - control_SP)[None], evidence.settings["resamples"], evidence.rng()
        ),
        treated_SP.size,
        _largest(row, row["stage"], evidence, metric_range(row["metric"])[1]),
        (float(treated_SP.mean()), float(control_SP.mean())),
    )


def _largest(row: Row, stage: str, evidence: Evidence, limit: float) -> float:
    """The largest difference that there can be: `limit`, or 0 where the arms share their models."""
    treated, control = (
        {node.id for node in evidence.scores[row[side], stage].nodes}
        for side in ("treated", "control")
    )
    return 0.0 if treated == control else limit


def _judge(row: Row, interval: bootstrap.Interval, means: tuple[float, float]) -> Row:
    verdict = str(verdicts.comparison(interval, row["epsilon"]))
    return {
        "effect": interval.estimate,
        "ci": limits(interval),
        "level": interval.level,
        "mde": interval.mde,
        "seeds": interval.seeds,
        "verdict": verdict,
        "rule": sentences.COMPARISON_RULES[verdict],
        "sentence": sentences.comparison(row, verdict, interval, means),
    }


def stage_tables(answer: Row) -> list[Table]:
    """The gap stage by stage."""
    if not answer["stages"]:
        return []
    at = f"{level(answer['level'])} interval".strip()
    head = ("Stage", "Difference in logits", at, "Retained of the first", at, "Verdict")
    rows = [
        (
            point["stage"],
            signed(point["delta"], 2),
            interval(point["ci"], 2),
            number(point["retention"], 2),
            interval(point["retention_ci"], 2),
            point["verdict"],
        )
        for point in answer["stages"]
    ]
    return [Table("By stage", head, rows), *published.published_tables(answer)]
