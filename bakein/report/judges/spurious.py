"""Spurious rewards answered: shares of the true reward's gain, and what became of the strategies.

Where the world tells strategies apart, every reward is shown with the share of each strategy before
and after, and with its gain split by switches between them (`analysis.strategies`). These describe:
no verdict is read off them, and each has an interval of its own.

Shape suffixes: K strategies, S seeds, P problems.
"""

from typing import Any

import numpy as np

from bakein.analysis import bootstrap, strategies
from bakein.report.evidence import Evidence, Place, Row, limits, places_of
from bakein.report.exhibits import Chart, Line, Table
from bakein.report.judges.lifts import judge_lifts, lift_tables
from bakein.report.scores import Scores
from bakein.report.svg import ARM_COLOURS
from bakein.report.text import interval, level, number, signed

LEAST = 0.01  # of the samples, and of all pairs of them: what is rarer is not shown


def judge_spurious(question: Row, evidence: Evidence) -> Row:
    """A question of kind "spurious" answered: shares of a gain, then strategies by reward."""
    return {**judge_lifts(question, evidence), "strategies": _strategies(question, evidence)}


def _strategies(question: Row, evidence: Evidence) -> list[Row]:
    """One row per reward, the true one first; none where there are no strategies."""
    places = places_of(question)
    true, before, *rest = places
    seeds = evidence.seeds(places)
    if not seeds or not evidence.scores[before].strategies:
        return []
    return [_by_reward(evidence.scores[before], place, seeds, evidence) for place in (true, *rest)]


def _by_reward(before: Scores, place: Place, seeds: tuple[int, ...], evidence: Evidence) -> Row:
    after, settings = evidence.scores[place], evidence.settings
    counts = [
        counts_KSP[:, scores.rows(seeds)]
        for scores in (before, after)
        for counts_KSP in (scores.used_KSP, scores.right_KSP)
    ]
    draws = evidence.resampling()
    found = strategies.decompose(before.strategies, *counts, before.samples, *draws)
    used_before, right_before, used_after, right_after = counts
    shares_MSP = np.concatenate([used_before, used_after, used_after - used_before])
    drawn = bootstrap.draw(shares_MSP / before.samples, settings["resamples"], evidence.rng())
    count = len(before.strategies)

    def share(part: int, k: int) -> bootstrap.Interval:
        one = drawn.interval(settings["level"], part * count + k)
        return bootstrap.bounded(one, used_before[k].size, 0.0 if part < 2 else -1.0, 1.0)

    return {
        "stage": place[1],
        "level": settings["level"],
        "gain": found.gain.estimate,
        "gain_ci": limits(found.gain),
        "shares": [
            {
                "strategy": name,
                "before": share(0, k).estimate,
                "before_ci": limits(share(0, k)),
                "after": share(1, k).estimate,
                "after_ci": limits(share(1, k)),
                "change": share(2, k).estimate,
                "change_ci": limits(share(2, k)),
                "right_before": _right(right_before[k], used_before[k]),
                "right_after": _right(right_after[k], used_after[k]),
            }
            for k, name in enumerate(before.strategies)
        ],
        "switches": [
            {
                "before": switch.before,
                "after": switch.after,
                "share": switch.share,
                "contribution": switch.contribution.estimate,
                "ci": limits(switch.contribution),
            }
            for switch in found.switches
        ],
        "training": _training(place, seeds, evidence),
    }


def _right(right_SP: np.ndarray, used_SP: np.ndarray) -> float | None:
    """Accuracy of the samples of one strategy; None where there is none."""
    return float(right_SP.sum() / used_SP.sum()) if used_SP.sum() else None


def _training(place: Place, seeds: tuple[int, ...], evidence: Evidence) -> Row:
    """Shares of the strategies among what was sampled to learn from, step by step.

    `samples` counts the completions up to and with those of a step; both are means over seeds.
    """
    runs: list[list[dict[str, Any]]] = []
    scores = evidence.scores[place]
    for row in scores.rows(seeds):
        records = evidence.study.stages[scores.nodes[row].id].records
        runs.append([r for r in records if f"strategy/{scores.strategies[0]}" in r])
    steps = sorted(set.intersection(*({r["step"] for r in run} for run in runs)))
    at = [{r["step"]: r for r in run} for run in runs]

    def mean(key: str) -> list[float]:
        return [float(np.mean([run[step][key] for run in at])) for step in steps]

    return {
        "samples": mean("samples"),
        "shares": {name: mean(f"strategy/{name}") for name in scores.strategies},
    }


def spurious_tables(answer: Row) -> list[Table]:
    """Shares of the gain; strategies before and after; the gain by switches."""
    tables, rows = lift_tables(answer), answer["strategies"]
    if rows:
        tables += [_share_table(rows, answer["before"]), _switch_table(rows)]
    return tables


def _share_table(rows: list[Row], before: str) -> Table:
    at = f"{level(rows[0]['level'])} interval"
    head = ("Trained with", "Strategy", "Share before", "After", at, "Change", at)
    cells = [
        (
            row["stage"],
            part["strategy"],
            number(part["before"]),
            number(part["after"]),
            interval(part["after_ci"]),
            signed(part["change"]),
            interval(part["change_ci"]),
            number(part["right_before"]),
            number(part["right_after"]),
        )
        for row in rows
        for part in row["shares"]
        if max(part["before"], part["after"]) >= LEAST
    ]
    note = (
        f"Shares of the frozen evaluation's samples, before (after {before}) and after RL with "
        "each reward; right: of the samples in that strategy. Strategies of less than "
        f"{100 * LEAST:g} % before and after are left out."
    )
    return Table("Strategies before and after", (*head, "Right before", "Right after"), cells, note)


def _switch_table(rows: list[Row]) -> Table:
    shown = [
        index
        for index in range(len(rows[0]["switches"]))
        if any(row["switches"][index]["share"] >= LEAST for row in rows)
    ]
    names = [rows[0]["switches"][index] for index in shown]
    head = ["Trained with", "Gain", *(f"{s['before']} → {s['after']}" for s in names)]
    cells = [
        (
            row["stage"],
            f"{signed(row['gain'])} {interval(row['gain_ci'])}",
            *(
                f"{signed(switch['contribution'])} {interval(switch['ci'])}"
                for switch in (row["switches"][index] for index in shown)
            ),
        )
        for row in rows
    ]
    note = (
        "What of the gain in accuracy comes with each switch of strategy and with none, each with "
        f"its {level(rows[0]['level'])} interval: all samples of a problem before are paired with "
        "all after, and over all switches the parts add up to the gain. Switches of less than "
        f"{100 * LEAST:g} % of the pairs everywhere are left out."
    )
    return Table("The gain by switches of strategy", head, cells, note)


def spurious_charts(answer: Row) -> list[Chart]:
    """The share of the strategy that moves most, while RL runs, by reward."""
    rows = [row for row in answer["strategies"] if row["training"]["samples"]]
    if not rows:
        return []
    drawn = rows[: len(ARM_COLOURS)]

    def moves(name: str) -> float:
        curves = [row["training"]["shares"][name] for row in drawn]
        return max(max(curve) - min(curve) for curve in curves)

    name = max(rows[0]["training"]["shares"], key=moves)
    lines = [
        Line(row["stage"], row["training"]["samples"], row["training"]["shares"][name])
        for row in drawn
    ]
    left_out = len(rows) - len(drawn)
    caption = (
        f"Share of {name} among the completions that RL samples to learn from, mean over seeds, by "
        "reward" + (f"; the last {left_out} of the rewards are not drawn." if left_out else ".")
    )
    title = f"Share of {name} while RL runs"
    return [Chart(title, caption, "sampled completions", f"share of {name}", lines, rate=True)]
