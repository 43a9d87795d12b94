"""Questions about an amount answered: what more of it does, how little is enough, how much is best.

The verdict is the trend's. Beside it every dose is compared with the lowest, by the interval of its
Holm level, and the doses are named that may be the best.
"""

from collections.abc import Sequence

from bakein.analysis import dose, verdicts
from bakein.analysis.bootstrap import Interval
from bakein.analysis.dose import Response
from bakein.report.evidence import Evidence, Row, limits, places_of, unmeasured
from bakein.report.exhibits import Chart, Line, Table
from bakein.report.judges import sentences
from bakein.report.metrics import metric_range
from bakein.report.text import interval, level, number, plural, probability, signed

# Why a verdict was reached: the rules of analysis.verdicts, one line each.
RULES = {
    "rises": "the interval of the trend, the rise of a straight line over the ranks of the doses, "
    "lies above 0.",
    "falls": "the interval of the trend, the rise of a straight line over the ranks of the doses, "
    "lies below 0.",
    "flat": "the interval of every dose's difference from the lowest lies inside ± epsilon, the "
    "smallest effect that matters.",
    "best in between": "there is no trend from the lowest dose to the highest, and both are shown "
    "to be worse than another.",
    "underpowered": "the interval of the trend includes 0, the doses are not shown to differ by "
    "less than epsilon, and an end may be the best; or there are fewer than two seeds.",
}


def judge_dose(question: Row, evidence: Evidence) -> Row:
    """A question of kind "dose" answered, with a point for every dose."""
    places = places_of(question)
    arms = [arm for arm, _ in places]
    doses = [question["doses"][arm] for arm in arms]
    row = {
        **question,
        "unit": question["metric"],
        "effect_name": f"Trend: rise from {doses[0]:g} to {doses[-1]:g} {question['dose_unit']}",
        "points": [],
    }
    seeds, settings = evidence.seeds(places), evidence.settings
    if not seeds:
        return {**row, **unmeasured(RULES["underpowered"])}
    scores = [evidence.metric(place, question["metric"], seeds) for place in places]
    draws = evidence.resampling()
    found = dose.respond(scores, metric_range(question["metric"]), *draws)
    apart = [difference.apart for difference in found.differences]
    verdict = str(verdicts.dose(found.trend, apart, found.best_in_between, question["epsilon"]))
    row["points"] = [_point(*point) for point in zip(arms, doses, found.means, strict=True)]
    for point, difference in zip(row["points"][1:], found.differences, strict=True):
        holm = difference.holm
        point |= {
            "difference": holm.estimate,
            "difference_ci": limits(holm),
            "difference_level": holm.level,
            "p_holm": difference.p_holm,
            "verdict": str(verdicts.comparison(holm, question["epsilon"])),
        }
    row |= {
        "candidates": [doses[index] for index in found.candidates],
        "first_better": _first(row["points"], "better"),
        "first_worse": _first(row["points"], "worse"),
    }
    return {
        **row,
        "verdict": verdict,
        "effect": found.trend.estimate,
        "ci": limits(found.trend),
        "level": settings["level"],
        "mde": found.trend.mde,
        "seeds": len(seeds),
        "rule": RULES[verdict],
        "sentence": _sentence(row, verdict, found),
    }


def _point(arm: str, amount: float, mean: Interval) -> Row:
    return {
        "arm": arm,
        "dose": amount,
        "mean": mean.estimate,
        "ci": limits(mean),
        "difference": None,
        "difference_ci": None,
        "difference_level": None,
        "p_holm": None,
        "verdict": "",
    }


def _first(points: Sequence[Row], verdict: str) -> float | None:
    """The smallest dose with this verdict against the lowest."""
    return next((point["dose"] for point in points if point["verdict"] == verdict), None)


def _sentence(row: Row, verdict: str, found: Response) -> str:
    """What more of it does, from which dose on, and which doses may be the best."""
    points, unit, metric = row["points"], row["dose_unit"], row["metric"]
    low, high = points[0], points[-1]
    ends = (
        f"{number(low['mean'])} at {low['dose']:g} and {number(high['mean'])} at "
        f"{high['dose']:g} {unit}"
    )
    if found.trend.seeds < 2:
        return (
            f"One seed cannot decide: after {row['stage']}, {metric} is {ends}, but without a "
            "second seed there is no interval."
        )
    trend = (
        f"{signed(found.trend.estimate)}, {level(found.trend.level)} interval "
        f"{interval(limits(found.trend))}, over {plural(found.trend.seeds, 'paired seed')}"
    )
    claim = {
        "rises": f"After {row['stage']}, {metric} rises with the dose",
        "falls": f"After {row['stage']}, {metric} falls with the dose",
        "flat": f"After {row['stage']}, no dose changes {metric} by anything that matters",
        "best in between": f"After {row['stage']}, {metric} is best in between",
        "underpowered": f"Undecided: after {row['stage']}, a trend of {metric} is not established",
    }[verdict]
    parts = [f"{claim}: {ends} (trend {trend})."]
    for word, amount in (("higher", row["first_better"]), ("lower", row["first_worse"])):
        if amount is not None:
            parts.append(
                f"The smallest dose with {word} {metric} than {low['dose']:g} is {amount:g}."
            )
    if len(row["candidates"]) == 1:
        parts.append(f"{row['candidates'][0]:g} is shown to be the best of them.")
    elif verdict != "flat" and len(row["candidates"]) < len(points):
        parts.append(f"The best may be {_listed(row['candidates'])}.")
    if verdict == "underpowered":
        parts.append(sentences.what_it_takes(found.trend, row["epsilon"], 3))
    return " ".join(parts)


def _listed(doses: Sequence[float]) -> str:
    *most, last = (f"{amount:g}" for amount in doses)
    return f"{', '.join(most)} or {last}"


def dose_tables(answer: Row) -> list[Table]:
    """Every dose against the lowest."""
    points = answer["points"]
    if not points:
        return []
    at = f"{level(answer['level'])} interval"
    lowest = f"Difference from {points[0]['dose']:g}"
    head = ("Dose", "Arm", answer["metric"], at, lowest, "Interval (level)", "p (Holm)", "Verdict")
    rows = [
        (
            f"{point['dose']:g}",
            point["arm"],
            number(point["mean"]),
            interval(point["ci"]),
            *_against(point),
            "may be the best" if point["dose"] in answer["candidates"] else "not the best",
        )
        for point in points
    ]
    note = (
        f"Dose: {answer['dose_unit']}. Each difference from the lowest dose has the interval of "
        "its Holm level. May be the best: no other dose is shown to be better, at "
        f"{level(answer['level'])} for all doses at once."
    )
    return [Table("By dose", (*head, "Best"), rows, note)]


def _against(point: Row) -> tuple[str, str, str, str]:
    if point["difference"] is None:
        return "–", "–", "–", "the lowest"
    return (
        signed(point["difference"]),
        f"{interval(point['difference_ci'])} ({level(point['difference_level'])})",
        probability(point["p_holm"]),
        point["verdict"],
    )


def dose_charts(answer: Row) -> list[Chart]:
    """The metric over the dose."""
    points = answer["points"]
    if not points:
        return []
    doses, means = ([point[key] for point in points] for key in ("dose", "mean"))
    # The line has the colour of the lowest dose, and every point that of its arm.
    lines = [Line(points[0]["arm"], doses, means, marked=False)]
    lines += [
        Line(point["arm"], [point["dose"]], [point["mean"]], [point["ci"]], joined=False)
        for point in points
    ]
    caption = (
        f"{answer['metric']} after {answer['stage']}: mean over seeds with its "
        f"{level(answer['level'])} interval, over the dose."
    )
    return [
        Chart(
            f"{answer['metric']} by dose",
            caption,
            answer["dose_unit"],
            answer["metric"],
            lines,
            x_scale="log2" if doses[0] > 0 else "log2+1",
            rate=metric_range(answer["metric"]) == (0.0, 1.0),
        )
    ]
