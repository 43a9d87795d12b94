"""Questions about the speed of RL answered: samples to a threshold, their multiplier (metric 6).

The multiplier is the control's amount of RL over the treated arm's, until both have the same
held-out accuracy: a geometric mean over paired seeds. A seed that never got there gives a bound of
its amount, and so does one that was there before RL began: it took at most what the first point of
the curve after 0 had cost. R(C) is fitted to each arm's mean curve.

Shape suffixes: S seeds, X points of the curve.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from bakein.analysis import bootstrap, censored, curves, rl_curve, verdicts
from bakein.analysis.rl_curve import Reach
from bakein.report.curves import curve_points, mean_samples, rl_areas, rl_points
from bakein.report.evidence import Evidence, Place, Row, limits, places_of, unmeasured
from bakein.report.exhibits import Chart, Line, Table, estimate
from bakein.report.judges.sentences import what_it_takes
from bakein.report.records import Study
from bakein.report.text import interval, level, number, plural, quantity

# Why a verdict was reached: the rules of analysis.verdicts, one line each.
RULES = {
    "faster": "the interval of the multiplier lies above 1.",
    "slower": "the interval of the multiplier lies below 1.",
    "as fast": "the interval of the multiplier lies inside 1/(1 + epsilon) to 1 + epsilon.",
    "underpowered": "the interval of the multiplier neither excludes 1 nor fits inside "
    "1/(1 + epsilon) to 1 + epsilon; or there are fewer than two seeds.",
}
# What the compute of RL can be counted in; the verdict is read off the first.
AXES = {
    "samples": "samples",
    "sampled_tokens": "sampled tokens",
    "flops": "FLOPs",
    "token_equivalents": "token-equivalents",
}
_DRAWN = 33  # points at which a fitted curve is drawn


@dataclass(frozen=True)
class _Curves:
    """The RL curves of one arm: held-out accuracy against compute, on every axis."""

    place: Place
    seeds: tuple[int, ...]
    solved_SXP: np.ndarray
    axes: Mapping[str, np.ndarray]  # axis -> [S, X]
    reference: float  # γ: 1 where a reference model is run, else 0

    def of(self, seeds: tuple[int, ...]) -> "_Curves":
        rows = [self.seeds.index(seed) for seed in seeds]
        axes = {name: axis_SX[rows] for name, axis_SX in self.axes.items()}
        return _Curves(self.place, seeds, self.solved_SXP[rows], axes, self.reference)

    @property
    def reward_SX(self) -> np.ndarray:
        return self.solved_SXP.mean(axis=2)


def judge_rl_speed(question: Row, evidence: Evidence) -> Row:
    """A question of kind "rl_speed" answered: by seed, on every axis, with both arms' fits."""
    treated, control = places_of(question)
    row = {
        **question,
        "unit": "samples of RL",
        "effect_name": f"Multiplier: {control[0]} over {treated[0]}",
        "by_seed": [],
        "axes": [],
        "fits": [],
    }
    found = [_read(place, evidence.study) for place in (treated, control)]
    seeds = tuple(sorted(set(found[0].seeds) & set(found[1].seeds)))
    if not seeds:
        return {**row, **unmeasured(RULES["underpowered"])}
    pair = [part.of(seeds) for part in found]
    threshold_S = _thresholds(question, *pair)
    reaches = {
        axis: [
            [
                rl_curve.samples_to(axis_X, reward_X, threshold)
                for axis_X, reward_X, threshold in zip(
                    part.axes[axis], part.reward_SX, threshold_S, strict=True
                )
            ]
            for part in pair
        ]
        for axis in AXES
    }
    settings = evidence.settings

    def mean(known: censored.Logs) -> censored.Amount:
        return censored.mean(known, *evidence.resampling())

    for axis, (of_treated, of_control) in reaches.items():
        known = [
            censored.logs(sides, part.axes[axis][:, 1])
            for sides, part in zip((of_treated, of_control), pair, strict=True)
        ]
        row["axes"].append(
            {
                "axis": axis,
                "treated": _amount(mean(known[0])),
                "control": _amount(mean(known[1])),
                "multiplier": _amount(mean(known[1] - known[0])),
            }
        )
        if axis == "samples":
            multiplier = mean(known[1] - known[0])
            row["by_seed"] = _by_seed(seeds, threshold_S, of_treated, of_control)
    row["fits"] = [_fit(part, evidence) for part in pair]
    verdict = str(verdicts.rl_speed(multiplier.log, question["epsilon"]))
    row |= {
        "verdict": verdict,
        "effect": multiplier.estimate,
        "ci": [multiplier.low, multiplier.high] if len(seeds) > 1 else None,
        "bound": multiplier.bound,
        "level": settings["level"],
        "mde": float(np.exp(multiplier.log.mde)),
        "seeds": len(seeds),
        "rule": RULES[verdict],
    }
    return {**row, "sentence": _sentence(row, multiplier)}


def _read(place: Place, study: Study) -> _Curves:
    nodes, _, solved_SXP = rl_points(study, *place)
    stages = [study.stages[node.id] for node in nodes]
    points = [curve_points(study, node) for node in nodes]
    axes = {
        axis: np.array([[point[axis] for point in curve] for curve in points], float)
        for axis in ("samples", "sampled_tokens", "flops")
    }
    reference = float(any(stage.info["config"]["kl_coefficient"] > 0 for stage in stages))
    per_token = rl_curve.token_equivalents(1.0, 1.0, 1.0, reference)
    axes["token_equivalents"] = per_token * axes["sampled_tokens"]
    seeds = tuple(node.seed for node in nodes)
    return _Curves(place, seeds, solved_SXP, axes, reference)


def _thresholds(question: Row, treated: _Curves, control: _Curves) -> np.ndarray:
    """The accuracy [S] to be reached: one for all seeds, or the lower of both last ones by seed.

    Both arms get to that, so that the slower one is not censored where the other ends.
    """
    if question["threshold"]:
        return np.full(len(control.seeds), question["threshold"])
    return np.minimum(treated.reward_SX[:, -1], control.reward_SX[:, -1])


def _amount(found: censored.Amount) -> Row:
    """A geometric mean over seeds, or the bound of it that is known."""
    ci = [found.low, found.high] if found.log.seeds > 1 else None
    return {"estimate": found.estimate, "ci": ci, "bound": found.bound}


def _by_seed(
    seeds: tuple[int, ...],
    threshold_S: np.ndarray,
    treated: list[Reach],
    control: list[Reach],
) -> list[Row]:
    rows = []
    for seed, threshold, one, other in zip(
        seeds, threshold_S.tolist(), treated, control, strict=True
    ):
        ratio = rl_curve.multiplier(other, one)
        rows.append(
            {
                "seed": seed,
                "threshold": threshold,
                "treated": one.compute,
                "treated_reached": not one.censored,
                "control": other.compute,
                "control_reached": not other.censored,
                "multiplier": ratio.value,
                "bound": ratio.bound,
            }
        )
    return rows


def _fit(part: _Curves, evidence: Evidence) -> Row:
    """R(C) of an arm's mean curve, with its residuals; and the mean area of its seeds' curves."""
    draws = evidence.resampling()
    band = curves.band(part.solved_SXP.swapaxes(0, 1), *draws)
    x = mean_samples(part.axes["samples"])
    found = rl_curve.fit(x, band.mean_X)
    row = {
        "arm": part.place[0],
        "reference": part.reference,
        "x": x,
        "y": band.mean_X.tolist(),
        "ci": [
            [low, high] if len(part.seeds) > 1 else None
            for low, high in zip(band.low_X.tolist(), band.high_X.tolist(), strict=True)
        ],
        "start": found.start,
        "asymptote": found.asymptote,
        "exponent": found.exponent,
        "midpoint": found.midpoint,
        "steepest_slope": found.steepest_slope,
        "residuals": found.residuals_X.tolist(),
        "reason": found.reason,
        "fitted": None,
        "area": None,
        "area_ci": None,
    }
    if found.identified:
        fine_X = np.linspace(0, x[-1], _DRAWN)
        row["fitted"] = {"x": fine_X.tolist(), "y": found.reward(fine_X).tolist()}
    area_SP = rl_areas(evidence.study, part.place[1], part.axes["samples"], part.solved_SXP)
    if area_SP is not None:
        area = bootstrap.mean_interval(area_SP, *draws)
        row |= {"area": area.estimate, "area_ci": limits(area)}
    return row


def _sentence(row: Row, found: censored.Amount) -> str:
    treated, control, stage = row["treated"], row["control"], row["stage"]
    seeds = row["by_seed"]
    goal = (
        f"a held-out accuracy of {row['threshold']:g}"
        if row["threshold"]
        else "the lower of both last accuracies"
    )
    reached, before = (
        [sum(test(seed, side) for seed in seeds) for side in ("treated", "control")]
        for test in (lambda seed, side: seed[f"{side}_reached"], lambda seed, side: not seed[side])
    )
    early = [f" ({n} before RL began)" if n else "" for n in before]
    count = (
        f"{treated} gets to {goal} in {reached[0]} of {plural(len(seeds), 'seed')}{early[0]}, "
        f"{control} in {reached[1]}{early[1]}"
    )
    if len(seeds) < 2:
        return f"One seed cannot decide: during {stage}, {count}."
    if found.bound == "undefined":
        return (
            f"Undecided: during {stage}, {count}; over all seeds that bounds the ratio of their "
            "samples on neither side."
        )
    bound = {"exact": "", "at least": "at least ", "at most": "at most "}[found.bound]
    times = f"{bound}{number(found.estimate, 2)} times the samples of {treated}"
    claim = {
        "faster": f"RL is faster from {treated} than from {control}",
        "slower": f"RL is slower from {treated} than from {control}",
        "as fast": f"RL is as fast from {treated} as from {control}",
        "underpowered": f"Undecided: whether RL is faster from {treated} or from {control} cannot "
        "be said",
    }[row["verdict"]]
    said = (
        f"{claim}: during {stage}, {control} takes {times} to {goal}, {level(row['level'])} "
        f"interval {interval(row['ci'], 2)}, over {plural(len(seeds), 'paired seed')}; {count}."
    )
    if row["verdict"] != "underpowered":
        return said
    if found.bound != "exact":
        return (
            f"{said} Some seeds only bound it, and more seeds would not change that: longer RL or "
            "a lower threshold would, a higher one where seeds are there before RL begins."
        )
    return f"{said} In logs: {what_it_takes(found.log, float(np.log1p(row['epsilon'])), 2)}"


def speed_tables(answer: Row) -> list[Table]:
    """Samples by seed, the multiplier on every axis, and the fits with their residuals."""
    if not answer["seeds"]:
        return []
    return [*_amount_tables(answer), *_fit_tables(answer)]


def _amount_tables(answer: Row) -> list[Table]:
    treated, control = answer["treated"], answer["control"]
    head = ("Seed", "Accuracy to reach", treated, control, "Multiplier")
    rows = [
        (
            f"{seed['seed']}",
            number(seed["threshold"]),
            _samples(seed, "treated"),
            _samples(seed, "control"),
            _bounded(seed["multiplier"], seed["bound"], lambda value: number(value, 2)),
        )
        for seed in answer["by_seed"]
    ]
    note = "Samples until the first crossing, linear between the points of the curve."
    by_seed = Table("Samples to the threshold, by seed", head, rows, note)
    at = f"{level(answer['level'])} interval"
    head = ("Counted in", treated, at, control, at, "Multiplier", at)
    rows = []
    for axis in answer["axes"]:
        cells = [AXES[axis["axis"]]]
        for side in ("treated", "control"):
            cells += _cells(axis[side], quantity)
        rows.append((*cells, *_cells(axis["multiplier"], lambda value: number(value, 2))))
    note = (
        "Geometric means over seeds; ≥ and ≤ where some seed gives only a bound. A token-"
        "equivalent is the compute of one pretraining token: (4/3 + γ/3) for each sampled token, "
        "γ = 1 with a reference model."
    )
    return [by_seed, Table("On every axis of compute", head, rows, note)]


def _samples(seed: Row, side: str) -> str:
    amount = quantity(seed[side])
    return amount if seed[f"{side}_reached"] else f"not in {amount}"


def _bounded(value: float | None, bound: str, write: Callable[[float], str]) -> str:
    """A number that may be a bound; what is exact and no number is infinite."""
    if value is None:
        return "∞" if bound == "exact" else "–"
    return {"at least": "≥ ", "at most": "≤ "}.get(bound, "") + write(value)


def _cells(found: Row, write: Callable[[float], str]) -> tuple[str, str]:
    if found["ci"] is None:
        return _bounded(found["estimate"], found["bound"], write), "–"
    low, high = found["ci"]
    right = "∞)" if high is None else f"{write(high)}]"
    return _bounded(found["estimate"], found["bound"], write), f"[{write(low)}, {right}"


def _fit_tables(answer: Row) -> list[Table]:
    at = f"{level(answer['level'])} interval"
    head = (
        "Arm", "Start R₀", "Asymptote A", "Exponent B", "Half-way, samples", "Steepest, per ln C",
        "Area", at, "No fit, because",
    )  # fmt: skip
    rows = [
        (
            fit["arm"],
            number(fit["start"]),
            number(fit["asymptote"]),
            number(fit["exponent"], 2),
            "–" if fit["reason"] else quantity(fit["midpoint"]),
            number(fit["steepest_slope"]),
            estimate(fit["area"], None),
            interval(fit["area_ci"]),
            fit["reason"] or "–",
        )
        for fit in answer["fits"]
    ]
    fits = Table("R(C) = R₀ + (A − R₀)/(1 + (C½/C)^B), fitted to the mean curve", head, rows)
    tables = [fits]
    for fit in answer["fits"]:
        if not fit["reason"]:
            head = ("Samples", *(quantity(x) for x in fit["x"]))
            rows = [
                ("mean over seeds", *(number(y) for y in fit["y"])),
                ("fit − mean", *(number(value) for value in fit["residuals"])),
            ]
            tables.append(Table(f"Residuals: {fit['arm']}", head, rows))
    return tables


def speed_charts(answer: Row) -> list[Chart]:
    """The mean curves with their intervals, and the fits."""
    if not answer["seeds"]:
        return []
    lines = []
    for fit in answer["fits"]:
        lines.append(Line(fit["arm"], fit["x"], fit["y"], fit["ci"], joined=bool(fit["reason"])))
        if fit["fitted"]:
            fitted = fit["fitted"]
            lines.append(Line(fit["arm"], fitted["x"], fitted["y"], dashed=True, marked=False))
    return [
        Chart(
            f"R(C) during {answer['stage']}",
            "Held-out accuracy, mean over seeds with its interval; dashed: the fit, where the "
            "curve determines one.",
            "sampled completions",
            "held-out accuracy",
            lines,
            rate=True,
        )
    ]
