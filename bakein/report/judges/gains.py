"""Questions about what stages add answered: gains of one stage over another of the same arm.

All gains of a question are judged at once: each by the interval of Bonferroni's level, so that the
chance of any false claim among them is at most 1 − level. The first one's verdict is the answer.
Beside each stands whether it is sharpening (what could be sampled before is sampled more often) or
expansion (what k samples did not solve before is solved now).
"""

from collections.abc import Sequence

from bakein.analysis import bootstrap, verdicts
from bakein.report.curves import rl_split
from bakein.report.evidence import Evidence, Row, limits, places_of, unmeasured
from bakein.report.exhibits import Table, estimate
from bakein.report.judges import sentences
from bakein.report.metrics import metric_range
from bakein.report.text import interval, level, number, plural, signed


def judge_gains(question: Row, evidence: Evidence) -> Row:
    """A question of kind "gains" answered, with a line for every gain."""
    after, before = question["gains"][0]
    row = {
        **question,
        "stage": after,
        "unit": question["metric"],
        "effect_name": f"Effect: {after} − {before}",
        "lines": [],
    }
    places = places_of(question)
    seeds, settings = evidence.seeds(places), evidence.settings
    if not seeds:
        return {**row, **unmeasured(sentences.COMPARISON_RULES["underpowered"])}
    score = {stage: evidence.metric((arm, stage), row["metric"], seeds) for arm, stage in places}
    draws = bootstrap.draw(
        [score[after] - score[before] for after, before in question["gains"]],
        settings["resamples"],
        evidence.rng(),
    )
    at_once = 1 - (1 - settings["level"]) / len(question["gains"])
    (least, most), arm = metric_range(row["metric"]), question["arm"]
    found = []
    for index, (after, before) in enumerate(question["gains"]):
        gain = draws.interval(at_once, index)
        found.append(bootstrap.bounded(gain, score[after].size, least - most, most - least))
        parts = rl_split(
            evidence.scores[arm, before],
            evidence.scores[arm, after],
            [k for k in evidence.study.info["k"] if k <= evidence.scores[arm, after].samples],
            settings,
        )
        row["lines"].append(
            {
                "after": after,
                "before": before,
                "mean_before": float(score[before].mean()),
                "mean_after": float(score[after].mean()),
                "gain": gain.estimate,
                "ci": limits(found[-1]),
                "mde": found[-1].mde,
                "verdict": str(verdicts.comparison(found[-1], question["epsilon"])),
                **{key: parts[key] for key in ("k", "gain_k", "gain_k_ci", "expansion")},
                "contraction": parts["contraction"],
            }
        )
    first = row["lines"][0]
    return {
        **row,
        "verdict": first["verdict"],
        "effect": first["gain"],
        "ci": first["ci"],
        "level": at_once,
        "split_level": settings["level"],
        "mde": first["mde"],
        "seeds": len(seeds),
        "rule": sentences.COMPARISON_RULES[first["verdict"]],
        "sentence": _sentence(row, found),
    }


def _sentence(row: Row, found: Sequence[bootstrap.Interval]) -> str:
    """The answer to "what does each stage add?", the first one's verdict in front."""
    first, metric = row["lines"][0], row["metric"]
    after, before = first["after"], first["before"]
    if found[0].seeds < 2:
        return f"One seed cannot decide what {after} adds to {before} in {metric}."
    claim = {
        "better": f"{after} adds to {before} in {metric}.",
        "worse": f"{after} takes away from {before} in {metric}.",
        "equivalent": f"{after} adds nothing that matters to {before} in {metric}.",
        "underpowered": f"Undecided: whether {after} adds to {before} in {metric} cannot be said.",
    }[first["verdict"]]
    each = "; ".join(
        f"{line['after']} over {line['before']} {signed(gain.estimate)} "
        f"{interval([gain.low, gain.high])}"
        for line, gain in zip(row["lines"], found, strict=True)
    )
    at = f"{level(found[0].level)} intervals, {plural(found[0].seeds, 'paired seed')}"
    parts = [claim, f"Gains: {each} ({at})."]
    if first["verdict"] == "underpowered":
        parts.append(sentences.what_it_takes(found[0], row["epsilon"], 3))
    return " ".join(parts)


def gains_tables(answer: Row) -> list[Table]:
    """Every gain, and whether it is sharpening or expansion."""
    lines = answer["lines"]
    if not lines:
        return []
    k = lines[0]["k"]
    head = (
        "After",
        "over",
        f"{answer['metric']} before",
        "after",
        "Gain",
        f"{level(answer['level'])} interval",
        "Verdict",
        f"Δ pass@{k}, {level(answer['split_level'])} interval",
        "Newly solved",
        "Lost",
    )
    rows = [
        (
            line["after"],
            line["before"],
            number(line["mean_before"]),
            number(line["mean_after"]),
            signed(line["gain"]),
            interval(line["ci"]),
            line["verdict"],
            estimate(line["gain_k"], line["gain_k_ci"]),
            number(line["expansion"]),
            number(line["contraction"]),
        )
        for line in lines
    ]
    together = level(1 - (1 - answer["level"]) * len(lines))
    note = (
        f"The intervals of the gains hold all at once, at {together} together (Bonferroni). Newly "
        f"solved: share of problems that {k} samples do not solve before and do after; lost: the "
        "reverse. Sampling noise alone gives both, equally: compare their difference. A gain "
        "without newly solved problems is sharpening."
    )
    return [Table("What each adds", head, rows, note)]
