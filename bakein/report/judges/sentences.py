"""A verdict and its numbers in plain English. Says no more than the interval does."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bakein.analysis.bootstrap import Interval, seeds_needed
from bakein.analysis.lifts import Lift
from bakein.analysis.persistence import StageGain
from bakein.report.text import interval as limits
from bakein.report.text import level, number, plural, signed

# Why a verdict was reached: the rules of analysis.verdicts, one line each.
COMPARISON_RULES = {
    "better": "the interval lies above 0.",
    "worse": "the interval lies below 0.",
    "equivalent": "the interval lies inside ± epsilon, the smallest effect that matters.",
    "underpowered": "the interval neither excludes 0 nor fits inside ± epsilon, the smallest "
    "effect that matters; or there are fewer than two seeds.",
}
PERSISTENCE_RULES = {
    "amplified": "the interval of the retention lies above 1, and that of the difference above 0.",
    "persists": "the interval of the difference after the last stage lies above 0, and that of "
    "the retention is not above 1.",
    "washed out": COMPARISON_RULES["equivalent"],
    "reversed": "the interval of the difference lies below 0.",
    "underpowered": COMPARISON_RULES["underpowered"],
}
CATCH_UP_RULES = {
    "caught up": "the interval of the gap at some budget lies above −epsilon.",
    "not caught up": "the intervals of the gap at all budgets lie below 0.",
    "underpowered": "the intervals of the gap decide at no budget that it is closed, and not at "
    "all that it is open; or there are fewer than two seeds.",
}


def comparison(row: dict[str, Any], verdict: str, effect: Interval, means: Sequence[float]) -> str:
    """The answer to "is treated better than control after this stage?"."""
    treated, control, metric = row["treated"], row["control"], row["metric"]
    levels = f"{number(means[0])} against {number(means[1])}"
    measured = f"{signed(effect.estimate)}, {within(effect)}"
    if effect.seeds < 2:
        return (
            f"One seed cannot decide: {treated} has {metric} {levels} for {control} after "
            f"{row['stage']}, but without a second seed there is no interval."
        )
    if verdict in ("better", "worse"):
        word = "higher" if verdict == "better" else "lower"
        return (
            f"After {row['stage']}, {treated} has {word} {metric} than {control}: {levels}, a "
            f"difference of {measured} over {plural(effect.seeds, 'paired seed')}."
        )
    solves = metric in ("accuracy", "verified", "greedy", "rl_area") or metric.startswith("pass@")
    if verdict in ("equivalent", "underpowered") and solves and max(means) < row["epsilon"]:
        return (
            f"After {row['stage']}, {treated} and {control} both have {metric} close to 0 "
            f"({levels}): this evaluation is too hard for these models to show a difference "
            f"({measured})."
        )
    if verdict == "equivalent":
        return (
            f"After {row['stage']}, {treated} and {control} do not differ by anything that "
            f"matters in {metric} ({levels}): the difference, {measured}, lies inside "
            f"±{row['epsilon']:g}."
        )
    return (
        f"Undecided: after {row['stage']}, {treated} has {metric} {levels} for {control}, a "
        f"difference of {measured}. {what_it_takes(effect, row['epsilon'], 3)}"
    )


def persistence(question: dict[str, Any], verdict: str, gains: Sequence[StageGain]) -> str:
    """The answer to "does the gain last to the end of these stages?"."""
    first, last = gains[0], gains[-1]
    treated, control = question["treated"], question["control"]
    path = ", ".join(f"{signed(g.gain.estimate, 2)} after {g.stage}" for g in gains)
    path = f"Lead in logits of {question['metric']}: {path}"
    if last.gain.seeds < 2:
        return f"One seed cannot decide: without a second one there is no interval. {path}."
    claim = {
        "amplified": f"The lead of {treated} over {control} grows from {first.stage} to "
        f"{last.stage}.",
        "persists": f"{treated} is ahead of {control} after {last.stage}.",
        "washed out": f"No difference that matters is left between {treated} and {control} after "
        f"{last.stage}.",
        "reversed": f"{treated} is behind {control} after {last.stage}.",
        "underpowered": f"Undecided: whether {treated} is ahead of {control} after {last.stage} "
        "cannot be said.",
    }[verdict]
    end = f"{within(last.gain, 2)} at the end, {plural(last.gain.seeds, 'paired seed')}"
    parts = [claim, f"{path} ({end})."]
    if verdict == "underpowered":
        parts.append(what_it_takes(last.gain, question["epsilon"], 2))
    if first.gain.low <= 0:
        parts.append(f"A lead after {first.stage} was not established in the first place.")
    elif last.retention is not None and len(gains) > 1:
        kept = f"{number(last.retention.estimate, 2)}, {within(last.retention, 2)}"
        parts.append(f"Retained of the lead after {first.stage}: {kept}; 1 means all of it.")
    return " ".join(parts)


def catch_up(row: dict[str, Any], verdict: str, gap: Interval) -> str:
    """The answer to "does the control catch up, and with how much of the later stage?".

    Args:
        row: the answer so far.
        verdict: on all gaps.
        gap: control − treated at the budget that decides.
    """
    treated, spent, point = row["treated"], row["spent"], row["points"][row["deciding"]]
    most = row["points"][-1]["multiple"]
    levels = f"{row['metric']} {number(point['mean'])} against {number(row['treated_mean'])}"
    if gap.seeds < 2:
        return (
            f"One seed cannot decide: {point['arm']} has {levels} for {treated} after "
            f"{row['stage']}, but without a second seed there is no interval."
        )
    measured = (
        f"{levels} after {row['stage']}, a gap of {signed(gap.estimate)}, {within(gap)}, "
        f"{plural(gap.seeds, 'paired seed')}"
    )
    claim = {
        "caught up": f"With {point['multiple']:g} times the {spent} budget, {point['arm']} is not "
        f"behind {treated} by anything that matters: {measured}.",
        "not caught up": f"Not even {most:g} times the {spent} budget reaches {treated}; "
        f"{point['arm']} comes closest: {measured}.",
        "underpowered": f"Undecided: whether up to {most:g} times the {spent} budget makes up for "
        f"what {treated} read in {row['front']} cannot be said. {point['arm']} comes closest: "
        f"{measured}.",
    }[verdict]
    parts = [claim]
    if verdict != "underpowered" and row["rate"] is not None:
        bound = "" if row["budget_bound"] == "exact" else f"{row['budget_bound']} "
        low_high = limits(row["budget_ci"], 2)
        parts.append(
            f"The budget to catch up is {bound}{number(row['budget'], 2)} times ({low_high}): "
            f"{bound}{number(row['rate'], 2)} tokens of {spent} for each reasoning token of "
            f"{row['front']}."
        )
    if verdict == "underpowered":
        parts.append(what_it_takes(gap, row["epsilon"], 3))
    return " ".join(parts)


def lift(row: dict[str, Any], verdict: str, found: Lift, reference: Interval) -> str:
    """The answer to "what share of the reference's gain does this arm get?"."""
    arm, whole, control = found.arm, row["whole"], row["zero"]
    if reference.seeds < 2:
        return f"One seed cannot decide what share {arm} has of the gain of {whole}."
    gains = (
        f"over {control}, {row['metric']} gains {signed(found.gain.estimate)} with {arm} and "
        f"{signed(reference.estimate)} with {whole}"
    )
    if found.ratio is None or reference.low <= 0:
        return (
            f"Undecided: {whole} has no established gain over {control} to take a share of "
            f"({gains}, {within(reference)})."
        )
    claim = {
        "base did it": f"{arm} does as well as {whole}: it is the base model, not the reward.",
        "reward did it": f"{arm} gives nothing that matters: it is the reward, not the base model.",
        "both did it": f"{arm} gives a part of what {whole} gives.",
        "good as correct": f"{arm} is as good as {whole}.",
        "helps": f"{arm} helps, but not as much as {whole}."
        if found.ratio.high < 1
        else f"{arm} helps; whether as much as {whole} cannot be said.",
        "does not help": f"{arm} does not help by anything that matters.",
        "underpowered": f"Undecided: what share {arm} has of the gain of {whole} cannot be said.",
    }[verdict]
    share = f"{number(found.ratio.estimate, 2)} of it, {within(found.ratio, 2)}"
    said = (
        f"{claim} {gains[0].upper()}{gains[1:]}: {share}, {plural(reference.seeds, 'paired seed')}."
    )
    if verdict != "underpowered":
        return said
    whole_gain = reference.estimate
    in_shares = replace(
        found.gain,
        estimate=found.ratio.estimate,
        seed_se=found.gain.seed_se / whole_gain,
        problem_se=found.gain.problem_se / whole_gain,
    )
    return f"{said} {what_it_takes(in_shares, row['epsilon'], 2, 'share')}"


def jailbreak(row: dict[str, Any], verdict: str, effect: Interval) -> str:
    """The answer to "to which arm do fewer of the attacker's attempts get through?"."""
    treated, control, stage = row["treated"], row["control"], row["stage"]
    curves = {curve["arm"]: curve for curve in row["curves"] if curve["stage"] == stage}
    first, last = row["attempts"][0], row["attempts"][-1]
    from_to = {
        arm: f"from {number(curves[arm]['asr'][0])} to {number(curves[arm]['asr'][-1])} for {arm}"
        for arm in (treated, control)
    }
    climb = (
        f"Attack success climbs {from_to[treated]} and {from_to[control]} between {first} and "
        f"{plural(last, 'attempt')}"
    )
    refused = " against ".join(
        f"{number(curves[arm]['over_refusal'], 2)} for {arm}" for arm in (treated, control)
    )
    refused = f"Over-refusal, with wrong answers: {refused}."
    if effect.seeds < 2:
        return f"One seed cannot decide: without a second one there is no interval. {climb}."
    claim = {
        "shallower": f"After {stage}, fewer attacks get through to {treated} than to {control}.",
        "steeper": f"After {stage}, more attacks get through to {treated} than to {control}.",
        "equivalent": f"After {stage}, the jailbreak curves of {treated} and {control} do not "
        "differ by anything that matters.",
        "underpowered": f"Undecided: whether fewer attacks get through to {treated} than to "
        f"{control} after {stage} cannot be said.",
    }[verdict]
    measured = f"{signed(effect.estimate)}, {within(effect)}"
    said = (
        f"{claim} {climb}: a difference in mean height of {measured}, "
        f"{plural(effect.seeds, 'paired seed')}. {refused}"
    )
    if verdict != "underpowered":
        return said
    return f"{said} {what_it_takes(effect, row['epsilon'], 3)}"


def what_it_takes(effect: Interval, epsilon: float, digits: int, noun: str = "effect") -> str:
    """What this study could have seen, and what it would take to see epsilon."""
    needed = seeds_needed(effect, epsilon)
    could = (
        f"Underpowered: with {plural(effect.seeds, 'seed')} only {noun}s of about "
        f"{number(effect.mde, digits)} or more are found reliably (80 % power)"
    )
    if needed is None:
        return f"{could}; more seeds alone would not find one of {epsilon:.3g}."
    more = max(1, needed - effect.seeds)
    return f"{could}; it would take {plural(more, 'more seed')} to find one of {epsilon:.3g}."


def within(found: Interval, digits: int = 3) -> str:
    """The interval, with its level."""
    return f"{level(found.level)} interval {limits([found.low, found.high], digits)}"
