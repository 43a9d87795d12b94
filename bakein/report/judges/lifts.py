"""Questions about shares of a gain answered: spurious rewards and wrong traces (metrics 7 and 8).

All parts of a question are judged at once: each by the interval of Bonferroni's level, so that the
chance of any false claim among them is at most 1 − level. The first one's verdict is the answer.
"""

from dataclasses import replace

from bakein.analysis import bootstrap, lifts, verdicts
from bakein.analysis.bootstrap import Interval
from bakein.analysis.lifts import Lift
from bakein.report.evidence import Evidence, Row, limits, places_of, unmeasured
from bakein.report.exhibits import Table
from bakein.report.judges import sentences
from bakein.report.metrics import metric_range
from bakein.report.text import interval, level, number, signed

# Why a verdict was reached: the rules of analysis.verdicts, one line each.
RULES = {
    "spurious": {
        "base did it": "the interval of the share lies above 1 − epsilon.",
        "reward did it": "the interval of the share lies below epsilon.",
        "both did it": "the interval of the share lies between 0 and 1.",
        "underpowered": "the interval of the share does not decide, or the true reward's own gain "
        "is not established.",
    },
    "wrong_traces": {
        "good as correct": "the interval of the share lies above 1 − epsilon.",
        "helps": "the interval of the share lies above 0, and not above 1 − epsilon.",
        "does not help": "the interval of the share lies below epsilon.",
        "underpowered": "the interval of the share does not decide, or the correct traces' own "
        "gain is not established.",
    },
}
_VERDICTS = {"spurious": verdicts.spurious, "wrong_traces": verdicts.wrong_traces}


def judge_lifts(question: Row, evidence: Evidence) -> Row:
    """A question of kind "spurious" or "wrong_traces" answered, with a line for each share."""
    places = places_of(question)
    names = [place[question["kind"] == "spurious"] for place in places]  # by stage, or by arm
    whole, zero, *parts = names
    rules = RULES[question["kind"]]
    row = {
        **question,
        "stage": places[0][1],
        "whole": whole,
        "zero": zero,
        "unit": f"share of the gain in {question['metric']}",
        "effect_name": f"Gain of {parts[0]} over that of {whole}",
        "lifts": [],
    }
    seeds, settings = evidence.seeds(places), evidence.settings
    if not seeds:
        return {**row, **unmeasured(rules["underpowered"])}
    whole_SP, zero_SP, *parts_ASP = (
        evidence.metric(place, question["metric"], seeds) for place in places
    )
    at_once = 1 - (1 - settings["level"]) / len(parts)
    draws = settings["resamples"], at_once, evidence.rng()
    found = lifts.lifts(parts, parts_ASP, whole_SP, zero_SP, *draws)
    judge = _VERDICTS[question["kind"]]
    gains = found.reference.low > 0  # of a whole that is a loss, a share means nothing
    least, most = metric_range(question["metric"])
    shares = [_bounded(lift, found.reference, zero_SP.size, most - least) for lift in found.lifts]
    for lift, part_SP in zip(shares, parts_ASP, strict=True):
        ratio = lift.ratio if gains else None
        row["lifts"].append(
            {
                "name": lift.arm,
                "mean": float(part_SP.mean()),
                "gain": lift.gain.estimate,
                "gain_ci": limits(lift.gain),
                "share": ratio.estimate if ratio else None,
                "ci": limits(ratio) if ratio else None,
                "verdict": str(judge(found.reference, ratio, question["epsilon"])),
            }
        )
    first, lift = row["lifts"][0], shares[0]
    return {
        **row,
        "verdict": first["verdict"],
        "effect": first["share"],
        "ci": first["ci"],
        "level": at_once,
        "mde": lift.gain.mde / found.reference.estimate if gains else None,
        "seeds": len(seeds),
        "whole_mean": float(whole_SP.mean()),
        "whole_gain": found.reference.estimate,
        "whole_gain_ci": limits(found.reference),
        "zero_mean": float(zero_SP.mean()),
        "rule": rules[first["verdict"]],
        "sentence": sentences.lift(row, first["verdict"], lift, found.reference),
    }


def _bounded(lift: Lift, whole: Interval, cells: int, span: float) -> Lift:
    """The lift with intervals that have a width where all differences are equal, as 0 and 0 are."""
    gain = bootstrap.bounded(lift.gain, cells, -span, span)
    widened = gain.low < lift.gain.low or gain.high > lift.gain.high
    if lift.ratio is None or not widened:
        return replace(lift, gain=gain)
    low, high = gain.low / whole.estimate, gain.high / whole.estimate
    return Lift(lift.arm, gain, replace(lift.ratio, low=min(low, high), high=max(low, high)))


def lift_tables(answer: Row) -> list[Table]:
    """Every part's gain and share."""
    if not answer["lifts"]:
        return []
    at, whole = f"{level(answer['level'])} interval", answer["whole"]
    head = ("Trained with", answer["metric"], "Gain", at, f"Share of the gain of {whole}", at)
    rows = [
        (answer["zero"], number(answer["zero_mean"]), "–", "–", "0", "–", "the zero"),
        *(
            (
                part["name"],
                number(part["mean"]),
                signed(part["gain"]),
                interval(part["gain_ci"]),
                number(part["share"], 2),
                interval(part["ci"], 2),
                part["verdict"],
            )
            for part in answer["lifts"]
        ),
        (
            whole,
            number(answer["whole_mean"]),
            signed(answer["whole_gain"]),
            interval(answer["whole_gain_ci"]),
            "1",
            "–",
            "the whole",
        ),
    ]
    together = level(1 - (1 - answer["level"]) * len(answer["lifts"]))
    note = f"These intervals hold all at once, at {together} together (Bonferroni)."
    return [Table("By part", (*head, "Verdict"), rows, note)]
