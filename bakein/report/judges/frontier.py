"""Questions about where a budget is best spent answered: shares of it before and after (metric 10).

What the places have spent is counted without the stages that all of them share: where all start
from one base model, its pretraining is no part of the budget that is divided.
"""

from collections.abc import Sequence

import numpy as np

from bakein.analysis import bootstrap, frontier, verdicts
from bakein.report.evidence import Evidence, Place, Row, limits, places_of, unmeasured
from bakein.report.exhibits import Chart, Line, Table, estimate
from bakein.report.judges import sentences
from bakein.report.metrics import metric_range
from bakein.report.scores import Scores
from bakein.report.text import interval, level, number, plural, quantity, signed

# Why a verdict was reached: the rules of analysis.verdicts, one line each.
RULES = {
    "all before": "every other share of the budget is shown to be worse than another one.",
    "all after": "every share but 0 is shown to be worse than another one.",
    "interior optimum": "both ends, all before and all after, are shown to be worse than another "
    "share.",
    "underpowered": "an end and something else may both be the best share; or there are fewer than "
    "two seeds.",
}


def judge_frontier(question: Row, evidence: Evidence) -> Row:
    """A question of kind "frontier" answered, with a point for every share."""
    places, shares = places_of(question), sorted(question["shares"].values())
    row = {
        **question,
        "stage": places[-1][1],
        "unit": question["metric"],
        "effect_name": "Best share − the better end",
        "points": [],
    }
    seeds, settings = evidence.seeds(places), evidence.settings
    if not seeds:
        return {**row, **unmeasured(RULES["underpowered"])}
    scores_FSP = np.stack([evidence.metric(place, question["metric"], seeds) for place in places])
    draws = evidence.resampling()
    found = frontier.frontier(shares, scores_FSP, *draws)
    (least, most), cells = metric_range(question["metric"]), scores_FSP[0].size
    flops = _flops(places, seeds, evidence)
    for index, (share, (arm, stage)) in enumerate(zip(shares, places, strict=True)):
        mean = bootstrap.bounded(found.interval_F[index], cells, least, most)
        row["points"].append(
            {
                "share": share,
                "arm": arm,
                "stage": stage,
                "mean": mean.estimate,
                "ci": limits(mean),
                "probability": float(found.probability_F[index]),
                "flops": flops[index],
                "candidate": share in found.candidates,
            }
        )
    gain = bootstrap.bounded(found.gain, cells, least - most, most - least)
    verdict = str(verdicts.frontier(found.candidates, found.seeds))
    best = row["points"][shares.index(found.best)]
    row |= {"best": found.best, "end": found.end, "candidates": list(found.candidates)}
    return {
        **row,
        "stage": best["stage"],
        "effect_name": f"Share {found.best:g} − share {found.end:g}",
        "verdict": verdict,
        "effect": gain.estimate,
        "ci": limits(gain),
        "level": gain.level,
        "mean_level": settings["level"],
        "mde": gain.mde,
        "seeds": len(seeds),
        "rule": RULES[verdict],
        "sentence": _sentence(row, verdict, gain, best["mean"]),
    }


def _sentence(row: Row, verdict: str, gain: bootstrap.Interval, best_mean: float) -> str:
    """The answer to "what share of the budget is best spent before?"."""
    best, end, metric = row["best"], row["end"], row["metric"]
    if gain.seeds < 2:
        return (
            f"One seed cannot decide: {metric} is highest, {number(best_mean)}, with a share of "
            f"{best:g} spent before, but without a second seed there is no interval."
        )
    may = [f"{share:g}" for share in row["candidates"]]
    left = " and ".join(filter(None, [", ".join(may[:-1]), may[-1]]))
    claim = {
        "all before": "All of the budget is best spent before.",
        "all after": "All of the budget is best spent after.",
        "interior optimum": "The best is to divide the budget: neither all of it before nor all of "
        "it after is.",
        "underpowered": "Undecided where the budget is best spent.",
    }[verdict]
    measured = (
        f"{metric[:1].upper()}{metric[1:]} is highest, {number(best_mean)}, with a share of "
        f"{best:g} spent before; over a share of {end:g} that is {signed(gain.estimate)}, "
        f"{sentences.within(gain)}, "
        f"{plural(gain.seeds, 'paired seed')}."
    )
    parts = [claim, measured, f"Not ruled out: {left}."]
    if verdict == "underpowered":
        parts.append(sentences.what_it_takes(gain, row["epsilon"], 3))
    return " ".join(parts)


def _flops(places: Sequence[Place], seeds: Sequence[int], evidence: Evidence) -> list[float]:
    """What each place has cost, without the stages that all have in common: a mean over seeds."""
    stages = evidence.study.stages
    parent = {node.id: node.parents for node in evidence.study.nodes}
    spent = []
    for seed in seeds:
        paths = [set(_path(evidence.scores[p], seed, parent)) for p in places]
        common = set.intersection(*paths)
        spent.append([sum(stages[id].info["flops"] for id in path - common) for path in paths])
    return np.mean(spent, axis=0).tolist()


def _path(scores: Scores, seed: int, parent: dict[str, tuple[str, ...]]) -> list[str]:
    """A place's node and those that it comes from."""
    path = [scores.nodes[scores.seeds.index(seed)].id]
    while parent[path[-1]]:
        path += parent[path[-1]]
    return path


def frontier_tables(answer: Row) -> list[Table]:
    """Every share with its score, its price, and whether it may be the best one."""
    points = answer["points"]
    if not points:
        return []
    mean = np.mean([point["flops"] for point in points])
    head = (
        "Spent before",
        "Measured after",
        answer["metric"],
        f"{level(answer['mean_level'])} interval",
        "Best in",
        "FLOPs",
        "off the mean",
        "May be the best",
    )
    rows = [
        (
            f"{point['share']:g}",
            f"{point['arm']} {point['stage']}",
            number(point["mean"]),
            interval(point["ci"]),
            number(point["probability"], 2),
            quantity(point["flops"]),
            f"{signed(100 * (point['flops'] / mean - 1), 1)} %" if mean else "–",
            "may be" if point["candidate"] else "ruled out",
        )
        for point in points
    ]
    note = (
        "Best in: the share of bootstrap draws in which it is the best. FLOPs: those of the stages "
        "that the shares do not have in common. Ruled out: shown to be worse than another share, "
        f"at {level(1 - (1 - answer['level']) / 2)} each and {level(answer['mean_level'])} all "
        "together."
    )
    return [Table("By share", head, rows, note)]


def frontier_charts(answer: Row) -> list[Chart]:
    """The metric over the share spent before; of the same arm, joined."""
    points = answer["points"]
    if not points:
        return []
    lines = []
    for arm in dict.fromkeys(point["arm"] for point in points):
        own = [point for point in points if point["arm"] == arm]
        x, y, ci = ([point[key] for point in own] for key in ("share", "mean", "ci"))
        lines.append(Line(arm, x, y, ci, joined=len(own) > 1))
    best = next(point for point in points if point["share"] == answer["best"])
    caption = (
        "One budget, divided: all of it spent after at 0, all of it before at 1. Bars are "
        f"{level(answer['mean_level'])} intervals; the best is {answer['best']:g}, with "
        f"{estimate(best['mean'], best['ci'])}."
    )
    return [
        Chart(
            f"{answer['metric']} by the share spent before",
            caption,
            "share of the budget spent before",
            answer["metric"],
            lines,
            rate=metric_range(answer["metric"]) == (0.0, 1.0),
        )
    ]
