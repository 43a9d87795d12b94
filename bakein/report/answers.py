"""Contrasts and questions: each one's effect, interval and verdict, and the sentence that says it.

The verdicts are `analysis.verdicts`' alone. The comparisons that questions ask for are one family
of hypotheses, the other named contrasts a second one; in each, a verdict is read off the interval
of its Holm level. So a contrast listed for the reader's interest costs no question its power.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bakein.analysis import bootstrap, persistence, verdicts
from bakein.report import sentences
from bakein.report.metrics import metric_limit, metric_logit_limit, metric_logits
from bakein.report.scores import Scores

Row = dict[str, Any]
ScoresOf = Mapping[tuple[str, str], Scores]
MetricsOf = Mapping[tuple[str, str], Mapping[str, np.ndarray]]


def _effect_name(row: Row) -> str:
    return f"Effect: {row['treated']} − {row['control']}"


def contrast_key(row: Row) -> tuple[str, str, str, str]:
    """What a contrast compares, whatever it is called."""
    return row["treated"], row["control"], row["stage"], row["metric"]


def judge_contrasts(
    contrasts: list[Row],
    questions: dict[str, Row],
    scores: ScoresOf,
    metrics: MetricsOf,
    settings: Row,
) -> dict[tuple[str, str, str, str, float], Row]:
    """The verdict on every comparison of the study, by `contrast_key` and epsilon."""
    asked = [row for row in questions.values() if row["kind"] == "comparison"]
    primary = {contrast_key(row) for row in asked}
    judged = {}
    for family in (asked, [row for row in contrasts if contrast_key(row) not in primary]):
        found = {contrast_key(row): _difference(row, scores, metrics, settings) for row in family}
        effects = {key: effect for key, effect in found.items() if effect is not None}
        p = {key: effect.interval(settings["level"]).p_value for key, effect in effects.items()}
        p_holm, levels = bootstrap.holm(p), bootstrap.holm_levels(p, settings["level"])
        for row in [*family, *(row for row in contrasts if contrast_key(row) in found)]:
            key = contrast_key(row)
            answer = {"unit": row["metric"], "effect_name": _effect_name(row), **unmeasured()}
            if key in effects:
                interval = effects[key].interval(levels[key])
                judgement = _judge(row, interval, effects[key].means)
                answer |= {"p": p[key], "p_holm": p_holm[key], **judgement}
            judged[*key, row["epsilon"]] = answer
    return judged


def judge_persistence(question: Row, scores: ScoresOf, settings: Row) -> Row:
    """A persistence question answered: the difference in logits stage by stage, and the last's."""
    seeds, stages = _common(question, question["stages"], scores)
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
        return {**row, **unmeasured()}
    arms = [
        [
            metric_logits(scores[arm, s], question["metric"])[scores[arm, s].rows(seeds)]
            for s in stages
        ]
        for arm in (question["treated"], question["control"])
    ]
    logit = metric_logit_limit(scores[question["treated"], first], question["metric"])
    largest = [_largest(question, stage, scores, 2 * logit) for stage in stages]
    gains = persistence.retention(
        stages, *arms, largest, settings["resamples"], settings["level"], _rng(settings)
    )
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
    last = gains[-1]
    if last.stage != row["stage"]:  # the last stage asked for has not been measured yet
        return {**row, **unmeasured()}
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


def _difference(
    row: Row, scores: ScoresOf, metrics: MetricsOf, settings: Row
) -> _Difference | None:
    """Over the seeds that both arms have finished; None where there is none."""
    seeds, stages = _common(row, [row["stage"]], scores)
    if not seeds or not stages:
        return None
    treated_SP, control_SP = (
        metric_of(metrics, arm, row)[scores[arm, row["stage"]].rows(seeds)]
        for arm in (row["treated"], row["control"])
    )
    return _Difference(
        bootstrap.draw((treated_SP - control_SP)[None], settings["resamples"], _rng(settings)),
        treated_SP.size,
        _largest(row, row["stage"], scores, metric_limit(row["metric"])),
        (float(treated_SP.mean()), float(control_SP.mean())),
    )


def _largest(row: Row, stage: str, scores: ScoresOf, limit: float) -> float:
    """The largest difference that there can be: `limit`, or 0 where the arms share their models."""
    treated, control = (
        {node.id for node in scores[row[side], stage].nodes} for side in ("treated", "control")
    )
    return 0.0 if treated == control else limit


def metric_of(metrics: MetricsOf, arm: str, row: Row) -> np.ndarray:
    """Scores [S, P] of the row's metric after its stage."""
    found = metrics[arm, row["stage"]]
    if row["metric"] not in found:
        raise ValueError(
            f"metric {row['metric']!r} of {arm} after {row['stage']} was not measured; "
            f"there is: {', '.join(found)}"
        )
    return found[row["metric"]]


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


def _common(row: Row, stages: list[str], scores: ScoresOf) -> tuple[tuple[int, ...], list[str]]:
    """The seeds that both arms have in each of the stages, and the stages that both have."""
    arms = row["treated"], row["control"]
    present = [s for s in stages if all((arm, s) in scores for arm in arms)]
    sets = [set(scores[arm, s].seeds) for arm in arms for s in present]
    return tuple(sorted(set.intersection(*sets))) if sets else (), present


def unmeasured() -> Row:
    """The answer to what no seed has measured."""
    verdict = str(verdicts.Comparison.UNDERPOWERED)
    return {
        "effect": None,
        "ci": None,
        "level": None,
        "mde": None,
        "seeds": 0,
        "p": None,
        "p_holm": None,
        "verdict": verdict,
        "rule": sentences.COMPARISON_RULES[verdict],
        "sentence": "Not measured yet: no seed has finished in both arms.",
    }


def limits(interval: bootstrap.Interval) -> list[float] | None:
    """Both ends; None with one seed."""
    return [interval.low, interval.high] if interval.seeds > 1 else None


def _rng(settings: Row) -> np.random.Generator:
    return np.random.default_rng(settings["seed"])
