"""Questions about catching up answered: what budget of a later stage makes up for no early traces.

The verdict is read off the gaps control − treated at all budgets at once; the catch-up budget m*
and its exchange rate (metric 10) stand beside it.
"""

import numpy as np

from bakein.analysis import bootstrap, catch_up, verdicts
from bakein.report.evidence import Evidence, Row, limits, places_of, unmeasured
from bakein.report.exhibits import Chart, Line, Table, estimate
from bakein.report.judges import sentences
from bakein.report.text import interval, level, number, quantity, signed


def judge_catch_up(question: Row, evidence: Evidence) -> Row:
    """A question of kind "catch_up" answered, with a line for each budget of the control."""
    (treated, stage), *controls = places_of(question)
    metric, spent, front = question["metric"], question["spent"], question["front"]
    row = {
        **question,
        "stage": stage,
        "unit": metric,
        "effect_name": f"Gap: {controls[-1][0]} − {treated}",
        "points": [],
    }
    # Their tokens are read off stages before this one.
    paid = [(arm, spent) for arm, _ in controls]
    read = [(treated, stage), *controls, (treated, spent), (treated, front), *paid]
    seeds, settings = evidence.seeds(read), evidence.settings
    if not seeds:
        return {**row, **unmeasured(sentences.CATCH_UP_RULES["underpowered"])}
    multiples = [float(question["controls"][arm]) for arm, _ in controls]
    treated_SP = evidence.metric((treated, stage), metric, seeds)
    control_MSP = [evidence.metric(place, metric, seeds) for place in controls]
    draws = settings["resamples"], settings["level"]
    caught = catch_up.catch_up(multiples, control_MSP, treated_SP, *draws, evidence.rng())
    # Most metrics are shares; of another, the largest score seen stands for the largest there is.
    scores = np.array([treated_SP, *control_MSP])
    least, most = min(0.0, scores.min()), max(1.0, scores.max())
    cells, span = treated_SP.size, most - least
    gaps = [bootstrap.bounded(gap, cells, -span, span) for gap in caught.gaps]
    means = bootstrap.draw(scores, settings["resamples"], evidence.rng())
    levels = [
        bootstrap.bounded(means.interval(settings["level"], m), cells, least, most)
        for m in range(len(scores))
    ]
    for index, (arm, _) in enumerate(controls):
        row["points"].append(
            {
                "arm": arm,
                "multiple": multiples[index],
                "tokens": evidence.tokens((arm, spent)),
                "mean": levels[index + 1].estimate,
                "mean_ci": limits(levels[index + 1]),
                "gap": gaps[index].estimate,
                "ci": limits(gaps[index]),
            }
        )
    verdict = str(verdicts.catch_up(gaps, question["epsilon"]))
    # What decides: the first budget that is enough, or else the one that comes closest.
    enough = [m for m, gap in enumerate(gaps) if gap.low > -question["epsilon"]]
    closest = max(range(len(gaps)), key=lambda m: gaps[m].estimate)
    deciding = enough[0] if verdict == str(verdicts.CatchUp.CAUGHT_UP) else closest
    tokens_per_unit = row["points"][0]["tokens"] / multiples[0]
    front_tokens = evidence.tokens((treated, front), question["sources"])
    bound, ends = _budget(caught, multiples[0])
    factor = tokens_per_unit / front_tokens if front_tokens else None
    known = bound != "undefined"
    row |= {
        "effect_name": f"Gap: {controls[deciding][0]} − {treated}",
        "treated_mean": levels[0].estimate,
        "treated_ci": limits(levels[0]),
        "treated_tokens": evidence.tokens((treated, spent)),
        "front_tokens": front_tokens,
        "tokens_per_unit": tokens_per_unit,
        "deciding": deciding,
        "budget": caught.budget.estimate if known else None,
        "budget_ci": ends,
        "budget_bound": bound,
        "reached": [None if r.censored else r.compute for r in caught.reaches],
        "rate": factor * caught.budget.estimate if factor and known else None,
        "rate_ci": [factor * end for end in ends] if factor and ends else None,
    }
    return {
        **row,
        "verdict": verdict,
        "effect": gaps[deciding].estimate,
        "ci": limits(gaps[deciding]),
        "level": gaps[deciding].level,
        "mde": gaps[deciding].mde,
        "seeds": len(seeds),
        "rule": sentences.CATCH_UP_RULES[verdict],
        "sentence": sentences.catch_up(row, verdict, gaps[deciding]),
    }


def _budget(caught: catch_up.CatchUp, smallest: float) -> tuple[str, list[float] | None]:
    """What is known of m*, and its interval.

    A seed that is there with the smallest budget may have needed less: its m* is an upper bound.
    """
    amount = caught.budget
    ends = [amount.low, amount.high] if amount.log.seeds > 1 else None
    if all(reach.censored or reach.compute > smallest for reach in caught.reaches):
        return amount.bound, ends
    if amount.bound == "exact":
        return "at most", ends and [0.0, amount.high]
    return "undefined", None


def catch_up_tables(answer: Row) -> list[Table]:
    """The gap at every budget, and what the budget to catch up is worth."""
    if not answer["points"]:
        return []
    treated, spent, points = answer["treated"], answer["spent"], answer["points"]
    at = f"{level(answer['level'])} interval"
    head = ("Arm", f"Budget of {spent}", f"Tokens of {spent}", answer["metric"], "Gap", at)
    rows = [
        (
            point["arm"],
            f"× {point['multiple']:g}",
            f"{point['tokens']:,.0f}",
            number(point["mean"]),
            signed(point["gap"]),
            interval(point["ci"]),
        )
        for point in points
    ]
    own = f"{answer['treated_tokens']:,.0f}"
    rows.append((treated, "–", own, number(answer["treated_mean"]), "the target", "–"))
    note = (
        f"A gap is that to {treated}, which has read {answer['front_tokens']:,.0f} reasoning "
        f"tokens in {answer['front']}. The intervals hold all at once (Bonferroni)."
    )
    return [Table("By budget", head, rows, note), _budget_table(answer)]


def _budget_table(answer: Row) -> Table:
    reached = [f"{m:.2g}" if m is not None else "not reached" for m in answer["reached"]]
    bound = "" if answer["budget_bound"] == "exact" else f" ({answer['budget_bound']})"
    spent, front = answer["spent"], answer["front"]
    rows = [
        (
            f"Budget m* to catch up{bound}",
            estimate(answer["budget"], answer["budget_ci"], 2),
            ", ".join(reached),
        ),
        (
            f"Tokens of {spent} for each reasoning token of {front}{bound}",
            estimate(answer["rate"], answer["rate_ci"], 2),
            "–",
        ),
    ]
    note = (
        f"m*: the multiple of {quantity(answer['tokens_per_unit'])} tokens of {spent} at which the "
        "control scores what the target does, interpolated seed by seed; geometric mean. A seed "
        "that is there with the smallest budget counts as at most that, one that never gets there "
        "as at least the largest; with both, no mean is known."
    )
    return Table("Catching up", ("", "Mean over seeds", "Seed by seed"), rows, note)


def catch_up_charts(answer: Row) -> list[Chart]:
    """The control over its budget, against the treated arm."""
    points = answer["points"]
    if not points:
        return []
    x = [point["multiple"] for point in points]
    control = Line(
        arm=points[0]["arm"],
        x=x,
        y=[point["mean"] for point in points],
        ci=[point["mean_ci"] for point in points],
    )
    ends = [x[0], x[-1]]
    target = Line(
        arm=answer["treated"],
        x=ends,
        y=[answer["treated_mean"]] * 2,
        ci=[answer["treated_ci"]] * 2,
        dashed=True,
    )
    spent, metric = answer["spent"], answer["metric"]
    caption = (
        f"{metric} after {answer['stage']} over the budget of {spent}, with intervals. Dashed: "
        f"{answer['treated']} with a budget of its own, of {quantity(answer['treated_tokens'])} "
        "tokens, which is what the control has to reach."
    )
    return [
        Chart(
            title=f"Catching up with {answer['treated']}",
            caption=caption[0].upper() + caption[1:],
            x_label=f"Budget of {spent}, × {quantity(answer['tokens_per_unit'])} tokens",
            y_label=metric,
            lines=[control, target],
            x_scale="log2",
            rate=all(0 <= y <= 1 for y in (*control.y, *target.y)),
        )
    ]
