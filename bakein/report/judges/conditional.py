"""Questions about test-time slopes at equal pass@1 answered (metrics 4 and 5).

A slope is tied to its level, so every stage and level of difficulty of both arms is a node with a
slope and a pass@1, and `analysis.conditional` takes out what the level explains. The metric says
which slope: PROBE/slope is sequential, in logits of accuracy per doubling of the thinking budget,
with the frozen evaluation's pass@1 as its level; pass_area and PROBE/VARIANT/pass_area are
parallel, the mean height of pass@k over log₂ k, with the pass@1 of the same samples.

Shape suffixes: S seeds, P and Q problems, N nodes (stage by stage, its levels of difficulty in
order), K attempts.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from bakein.analysis import bootstrap, budgets, conditional, passk, slopes, verdicts
from bakein.report.evidence import Evidence, Place, Row, limits, places_of, unmeasured
from bakein.report.judges.sentences import what_it_takes, within
from bakein.report.scores import Scores
from bakein.report.test_time import pass_areas, thinking_counts
from bakein.report.text import number, plural, signed

# Why a verdict was reached: the rules of analysis.verdicts, one line each.
RULES = {
    "better": "the interval of the difference in slope at equal pass@1 lies above 0.",
    "worse": "the interval of the difference in slope at equal pass@1 lies below 0.",
    "equivalent": "the interval of the difference in slope at equal pass@1 lies inside ± epsilon.",
    "underpowered": "the interval of the difference in slope at equal pass@1 neither excludes 0 "
    "nor fits inside ± epsilon; or the arms share no range of pass@1; or there are fewer than two "
    "seeds.",
}


@dataclass(frozen=True)
class _Slope:
    """What a question's metric is made of: a probe's variants, or the frozen evaluation itself."""

    probe: str
    variant: str
    budgets: tuple[int, ...]  # of a sequential slope
    ks: tuple[int, ...]  # of a parallel one

    @property
    def unit(self) -> str:
        if self.budgets:
            return "logits of accuracy per doubling of the thinking budget"
        return "area under pass@k over log₂ k"


def judge_conditional(question: Row, evidence: Evidence) -> Row:
    """A question of kind "conditional" answered, with every node, curve and exponent."""
    slope = _slope(question["metric"], evidence)
    places, treated, control = places_of(question), question["treated"], question["control"]
    row = {
        **question,
        "stage": ", ".join(question["stages"]),
        "unit": slope.unit,
        "effect_name": f"Slope at equal pass@1: {treated} − {control}",
        "sequential": bool(slope.budgets),
        "nodes": [],
        "curves": [],
        "exponents": [],
    }
    seeds = evidence.seeds(places)
    if not seeds:
        return {**row, **unmeasured(RULES["underpowered"])}
    parts = [_part_of(slope, place, seeds, evidence) for place in places]
    row["nodes"] = [node for part in parts for node in _nodes(part)]
    row["curves"] = [_curve(slope, place, seeds, evidence) for place in places]
    row["curves"] += [
        _curve(replace(slope, probe=probe), place, seeds, evidence)
        for probe in question["beside"]
        for place in places
    ]
    if not slope.budgets:
        row["exponents"] = [_exponents(slope, place, seeds, evidence) for place in places]
    arms = treated, control
    arrays = _arrays(row["nodes"], arms)
    without = [
        [_arrays([node for part in parts for node in _nodes(part, **drop)], arms) for drop in drops]
        for drops in _drops(slope, parts[0])
    ]
    settings = evidence.settings
    draws = evidence.resampling()
    found = conditional.compare(*arrays, without, *draws)
    verdict = str(verdicts.slope_at_equal_level(found.difference, question["epsilon"]))
    effect, tie = found.difference, found.tie
    return {
        **row,
        "verdict": verdict,
        "effect": effect.estimate if effect else None,
        "ci": limits(effect) if effect else None,
        "level": settings["level"],
        "mde": effect.mde if effect else None,
        "seeds": len(seeds),
        "raw": found.raw.estimate,
        "raw_ci": limits(found.raw) if found.raw.low < found.raw.high else None,
        "tie": tie.estimate if tie else None,
        "tie_ci": limits(tie) if tie else None,
        "shared": list(found.shared) if found.shared else None,
        "shared_pass": _passes(found),
        **_lines(found, arrays),
        "reason": found.reason,
        "rule": RULES[verdict],
        "sentence": _sentence(question, verdict, found),
    }


def _passes(found: conditional.Conditional) -> list[float] | None:
    """Lowest and highest pass@1 that both arms have."""
    return [float(1 / (1 + np.exp(-logit))) for logit in found.shared] if found.shared else None


def _lines(found: conditional.Conditional, arrays: conditional.Nodes) -> Row:
    """Each arm's fitted slope at both ends of the shared range, and what the lines leave."""
    if found.tie is None:
        return {"lines": None, "residual": None, "largest_residual": None}
    treated_SN, treated_level_SN, control_SN, control_level_SN = arrays
    lines = []
    for slope_SN, level_SN, residual_SN in (
        (treated_SN, treated_level_SN, found.residuals_ASN[0]),
        (control_SN, control_level_SN, found.residuals_ASN[1]),
    ):
        here = np.isfinite(residual_SN)
        middle = slope_SN[here].mean() - found.tie.estimate * level_SN[here].mean()
        lines.append([float(middle + found.tie.estimate * level) for level in found.shared])
    residuals = found.residuals_ASN[np.isfinite(found.residuals_ASN)]
    return {
        "lines": lines,
        "residual": float(np.sqrt(np.mean(residuals**2))),
        "largest_residual": float(np.abs(residuals).max()),
    }


def _slope(metric: str, evidence: Evidence) -> _Slope:
    probe, *rest = metric.split("/")
    info = evidence.study.info
    if not rest:
        return _Slope("", "", (), tuple(sorted({*info["k"]})))
    asked = info["probes"][probe]
    if rest == ["slope"]:
        return _Slope(probe, "", tuple(asked["budgets"]), ())
    return _Slope(probe, rest[0], (), tuple(sorted({*asked["k"]})))


def _part(slope: _Slope, scores: Scores) -> Scores:
    """What the pass@k of a parallel slope is counted from."""
    return scores.probes[slope.probe, slope.variant] if slope.probe else scores


@dataclass(frozen=True)
class _Problems:
    """Slopes of one arm after one stage, problem by problem, and what their levels are of.

    Q problems are those of the slopes, or those of the frozen evaluation.
    """

    place: Place
    slope_S: Callable[[np.ndarray], np.ndarray]  # of the problems of a mask [P]
    difficulty_P: np.ndarray
    right_SQ: np.ndarray  # out of `samples`
    difficulty_Q: np.ndarray
    samples: int


def _part_of(slope: _Slope, place: Place, seeds: tuple[int, ...], evidence: Evidence) -> _Problems:
    scores = evidence.scores[place]
    rows = scores.rows(seeds)
    own = scores if slope.budgets else _part(slope, scores)
    right_SQ = own.correct_SP[rows]
    asked = own
    if slope.budgets:
        asked = scores.probes[slope.probe, str(slope.budgets[0])]
        correct_TSP, samples = thinking_counts(scores, slope.probe, slope.budgets)

        def slope_S(of_P: np.ndarray) -> np.ndarray:
            correct = correct_TSP[:, rows][:, :, of_P]
            return budgets.slopes(slope.budgets, correct, samples).mean(axis=1)

    else:
        area_SP = pass_areas(right_SQ, own.samples, slope.ks)

        def slope_S(of_P: np.ndarray) -> np.ndarray:
            return area_SP[:, of_P].mean(axis=1)

    return _Problems(place, slope_S, asked.levels_P, right_SQ, own.levels_P, own.samples)


def _drops(slope: _Slope, part: _Problems) -> list[list[dict[str, int]]]:
    """Every problem left out in turn, as arguments of `_nodes`: by sets that are samples apart."""
    of_slope, of_level = range(len(part.difficulty_P)), range(len(part.difficulty_Q))
    if slope.budgets:
        return [[{"no_slope": i} for i in of_slope], [{"no_level": i} for i in of_level]]
    return [[{"no_slope": i, "no_level": i} for i in of_slope]]


def _nodes(part: _Problems, no_slope: int = -1, no_level: int = -1) -> list[Row]:
    """A row for each level of difficulty: slope and level, the logit of pass@1, of every seed.

    `no_slope` and `no_level` are problems to leave out; a difficulty of one problem keeps it.
    """
    arm, stage = part.place
    found = []
    for difficulty in sorted({*part.difficulty_P.tolist()} & {*part.difficulty_Q.tolist()}):
        here_P = _without(part.difficulty_P == difficulty, no_slope)
        right_SQ = part.right_SQ[:, _without(part.difficulty_Q == difficulty, no_level)]
        level_S = passk.jeffreys_logit(right_SQ.sum(axis=1), part.samples * right_SQ.shape[1])
        found.append(
            {
                "arm": arm,
                "stage": stage,
                "difficulty": difficulty,
                "slopes": part.slope_S(here_P).tolist(),
                "levels": level_S.tolist(),
            }
        )
    return found


def _without(here_P: np.ndarray, dropped: int) -> np.ndarray:
    if dropped < 0 or here_P.sum() < 2:
        return here_P
    return here_P & (np.arange(len(here_P)) != dropped)


def _arrays(nodes: list[Row], arms: tuple[str, str]) -> conditional.Nodes:
    """Slopes and levels [S, N] of the treated arm and of the control."""
    return tuple(
        np.array([node[key] for node in nodes if node["arm"] == arm]).T
        for arm in arms
        for key in ("slopes", "levels")
    )


def _curve(slope: _Slope, place: Place, seeds: tuple[int, ...], evidence: Evidence) -> Row:
    """Accuracy at every budget, the direct answer among them, or pass@k at every k."""
    arm, stage = place
    own = [variant for probe, variant in evidence.scores[place].probes if probe == slope.probe]
    if slope.budgets:
        x = sorted(int(variant) for variant in own)
        names = [f"{slope.probe}/{size}/accuracy" for size in x]
    else:
        x = list(slope.ks)
        prefix = f"{slope.probe}/{slope.variant}/" if slope.probe else ""
        names = [f"{prefix}pass@{k}" for k in x]
    settings = evidence.settings
    scores_XSP = np.array([evidence.metric(place, name, seeds) for name in names])
    draws = bootstrap.draw(scores_XSP, settings["resamples"], evidence.rng())
    intervals = [draws.interval(settings["level"], index) for index in range(len(x))]
    cells = scores_XSP[0].size
    intervals = [bootstrap.bounded(found, cells, 0.0, 1.0) for found in intervals]
    return {
        "arm": arm,
        "stage": stage,
        "probe": slope.probe,
        "x": x,
        "y": [found.estimate for found in intervals],
        "ci": [limits(found) for found in intervals],
    }


def _exponents(slope: _Slope, place: Place, seeds: tuple[int, ...], evidence: Evidence) -> Row:
    """Both estimates of how fast pass@k nears 1, seed by seed; None where not identified."""
    arm, stage = place
    part = _part(slope, evidence.scores[place])
    found = [
        slopes.exponents(part.correct_SP[row], part.samples, slope.ks) for row in part.rows(seeds)
    ]
    row = {"arm": arm, "stage": stage}
    for name, fits, value in (
        ("tail", [f.tail for f in found], lambda fit: fit.alpha),
        ("power", [f.power for f in found], lambda fit: fit.b),
    ):
        known = [fit for fit in fits if fit.identified]
        row[name] = [float(value(fit)) if fit.identified else None for fit in fits]
        row[f"{name}_mean"] = float(np.mean([value(fit) for fit in known])) if known else None
        largest = [np.abs(fit.residuals_K).max() for fit in known]
        row[f"{name}_residual"] = float(max(largest)) if known else None
        row[f"{name}_reasons"] = sorted({fit.reason for fit in fits if not fit.identified})
    return row


def _sentence(question: Row, verdict: str, found: conditional.Conditional) -> str:
    treated, control = question["treated"], question["control"]
    # Where all seeds are equal, nothing is known of their spread.
    spread = f", {within(found.raw)}" if found.raw.low < found.raw.high else ""
    raw = f"{signed(found.raw.estimate)}{spread}"
    if found.raw.seeds < 2:
        return (
            f"One seed cannot decide: the slope of {treated} is {signed(found.raw.estimate)} "
            f"beside that of {control}, without an interval."
        )
    if found.difference is None:
        return (
            f"No comparison at equal pass@1: {found.reason}. As they are, the slope of {treated} "
            f"less that of {control} is {raw}; what of it the level explains cannot be told."
        )
    claim = {
        "better": f"At equal pass@1 the slope of {treated} is steeper than that of {control}",
        "worse": f"At equal pass@1 the slope of {treated} is shallower than that of {control}",
        "equivalent": f"At equal pass@1 the slopes of {treated} and {control} do not differ by "
        "anything that matters",
        "underpowered": f"Undecided: whether the slopes of {treated} and {control} differ at equal "
        "pass@1 cannot be said",
    }[verdict]
    measured = f"{signed(found.difference.estimate)}, {within(found.difference)}"
    seeds = plural(found.difference.seeds, "paired seed")
    low, high = (number(share, 2) for share in _passes(found))
    said = (
        f"{claim}: {measured}, over {seeds}, where both have a pass@1 of {low} to {high}. As they "
        f"are, at their own levels: {raw}."
    )
    if verdict != "underpowered":
        return said
    return f"{said} {what_it_takes(found.difference, question['epsilon'], 3)}"
