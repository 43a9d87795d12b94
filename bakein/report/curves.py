"""The curves of results.json: pass@k against k, held-out accuracy against RL samples."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bakein.analysis import bootstrap, curves, rl_curve, slopes
from bakein.report.metrics import vote_size
from bakein.report.records import Node, Record, RecordError, Study
from bakein.report.scores import Scores

Curve = dict[str, Any]

_POINTS = 3  # of an RL curve, at least, for an area: the one at 0 samples does not count


def pass_at_k_curve(
    scores: Scores, found: Mapping[str, np.ndarray], ks: list[int], settings: dict[str, Any]
) -> Curve:
    """pass@k with its band; the fits describe the pooled seeds, the area has an interval.

    `found` are the place's metrics, with those of `area_scores` among them.
    """
    scores_KSP = np.array([found[f"pass@{k}"] for k in ks])
    band = curves.band(scores_KSP, settings["resamples"], settings["level"], _rng(settings))
    beta = slopes.fit_beta(scores.correct_SP.reshape(-1), scores.samples, ks)
    power = slopes.fit_power(ks, band.mean_X)
    area = _area(found.get("pass_area"), settings)
    fit = {"tail_exponent": beta.alpha, "power_exponent": power.b, **area}
    fit["reason"] = beta.reason or power.reason
    by_seed = dict(zip(map(str, scores.seeds), scores_KSP.mean(axis=2).T.tolist(), strict=True))
    return _curve("pass@k", scores.arm, scores.stage, ks, band, by_seed, fit)


def curve_points(study: Study, node: Node) -> list[Record]:
    """The records of a node that are points of its RL curve."""
    return [record for record in study.stages[node.id].records if "heldout" in record]


def rl_points(study: Study, arm: str, stage: str) -> tuple[list[Node], np.ndarray, np.ndarray]:
    """The RL curve of one arm and stage: finished nodes by seed, samples [S, X], shares [S, X, P].

    Shares are those of right answers, by held-out problem.

    Seeds are measured after the same steps. Where groups are drawn until enough of them teach
    something, they differ in the samples that these took.

    Raises:
      RecordError: the seeds were not measured after the same steps, or samples do not begin with 0
        and increase.
    """
    by_seed = {}
    for node in sorted(study.nodes, key=lambda node: node.seed):
        if (node.arm, node.stage) == (arm, stage) and study.status(node.id) == "finished":
            points = curve_points(study, node)
            if points:
                by_seed[node] = points
    if not by_seed:
        return [], np.zeros((0, 0)), np.zeros((0, 0, 0))
    grids = {tuple(point["step"] for point in points) for points in by_seed.values()}
    if len(grids) > 1:
        names = ", ".join(sorted(node.id for node in by_seed))
        raise RecordError(f"RL curves of one arm differ in their steps between stages {names}")
    if len({len(point["solved"]) for points in by_seed.values() for point in points}) > 1:
        raise RecordError(
            f"RL curves of {arm} after {stage} differ in the number of their problems"
        )
    samples_SX, solved_SXP = (
        np.array([[point[key] for point in points] for points in by_seed.values()], float)
        for key in ("samples", "solved")
    )
    for samples_X in samples_SX:
        if samples_X[0] != 0 or np.any(np.diff(samples_X) <= 0):
            raise RecordError(
                f"RL curve of {arm} after {stage}: 'samples' must begin with 0 and increase, is "
                f"{samples_X.tolist()}"
            )
    return list(by_seed), samples_SX, solved_SXP


def mean_samples(samples_SX: np.ndarray) -> list[float]:
    """Where the mean curve stands: whole numbers where all seeds drew equally."""
    return [int(x) if x.is_integer() else x for x in samples_SX.mean(axis=0).tolist()]


def area_scores(
    study: Study, scores: Scores, found: Mapping[str, np.ndarray], ks: list[int]
) -> dict[str, np.ndarray]:
    """The areas under a place's curves as scores [S, P] by metric, where it has such curves.

    Those of RL are over the samples that all curves of the stage have, and of its own problems.
    `found` are the place's other metrics.
    """
    areas = {}
    if len(ks) > 1:
        areas["pass_area"] = slopes.area_over_log2(ks, [found[f"pass@{k}"] for k in ks])
    nodes, samples_SX, solved_SXP = rl_points(study, scores.arm, scores.stage)
    area_SP = rl_areas(study, scores.stage, samples_SX, solved_SXP)
    if area_SP is not None and [node.seed for node in nodes] == list(scores.seeds):
        areas["rl_area"] = area_SP
    return areas


def rl_areas(
    study: Study, stage: str, samples_SX: np.ndarray, solved_SXP: np.ndarray
) -> np.ndarray | None:
    """Areas [S, P] over the samples that every arm and seed of the stage has drawn.

    Arms may differ in these: in their steps, or where groups are drawn until enough teach. None
    where the curve has too few points, or the curves share no samples; those of too few points do
    not count.
    """
    if samples_SX.shape[1] < _POINTS:
        return None
    finished = [n for n in study.nodes if n.stage == stage and study.status(n.id) == "finished"]
    drawn = [points for n in finished if len(points := curve_points(study, n)) >= _POINTS]
    span = max(p[1]["samples"] for p in drawn), min(p[-1]["samples"] for p in drawn)
    if span[0] >= span[1]:
        return None
    curves_S = zip(samples_SX, solved_SXP, strict=True)
    return np.array([rl_curve.aurc(*curve, span) for curve in curves_S])


def rl_curves(study: Study, arm: str, stage: str, settings: dict[str, Any]) -> list[Curve]:
    """The RL curve of one arm and stage, over its finished seeds; [] where none was recorded.

    Raises:
      RecordError: as `rl_points`.
    """
    nodes, samples_SX, solved_SXP = rl_points(study, arm, stage)
    if not nodes:
        return []
    x = mean_samples(samples_SX)
    solved_XSP = solved_SXP.swapaxes(0, 1)
    band = curves.band(solved_XSP, settings["resamples"], settings["level"], _rng(settings))
    found = rl_curve.fit(x, band.mean_X)
    fit = {
        "start": found.start,
        "asymptote": found.asymptote,
        "exponent": found.exponent,
        "midpoint_samples": found.midpoint,
        "steepest_slope": found.steepest_slope,
        **_area(rl_areas(study, stage, samples_SX, solved_SXP), settings),
        "reason": found.reason,
    }
    reward_SX = solved_SXP.mean(axis=2)
    seeds = {str(node.seed): row.tolist() for node, row in zip(nodes, reward_SX, strict=True)}
    return [_curve("rl", arm, stage, x, band, seeds, fit)]


def add_multipliers(found: list[Curve], control: str) -> None:
    """Adds to each RL curve how many samples it needs for the control's last accuracy."""
    last = {c["stage"]: c for c in found if c["name"] == "rl" and c["arm"] == control}
    for curve in found:
        base = last.get(curve["stage"])
        if curve["name"] != "rl" or base is None or curve["x"] != base["x"]:
            continue
        threshold = base["y"][-1]
        reach = rl_curve.samples_to(curve["x"], curve["y"], threshold)
        own = rl_curve.samples_to(base["x"], base["y"], threshold)
        ratio = rl_curve.multiplier(own, reach)
        curve["fit"] |= {
            "samples_to_control": reach.compute,
            "reached": not reach.censored,
            "multiplier": ratio.value,
            "multiplier_bound": ratio.bound,
        }


def rl_split(
    before: Scores, after: Scores, ks: list[int], settings: dict[str, Any]
) -> dict[str, Any]:
    """What RL added to its parent: sharpening against expansion, paired by seed."""
    seeds = tuple(seed for seed in after.seeds if seed in before.seeds)
    k = vote_size(ks, after.samples)
    parts = [
        rl_curve.split(before.correct_SP[i], after.correct_SP[j], after.samples, k)
        for i, j in zip(before.rows(seeds), after.rows(seeds), strict=True)
    ]
    row = {
        "arm": after.arm,
        "stage": after.stage,
        "parent": before.stage,
        "k": k,
        "seeds": list(seeds),
    }
    for key in ("gain_1", "gain_k", "sharpening", "expansion", "contraction"):
        found = _mean(np.array([getattr(part, f"{key}_P") for part in parts]), settings)
        row[key] = found.estimate
        row[f"{key}_ci"] = _limits(found)
    return row


def _area(area_SP: np.ndarray | None, settings: dict[str, Any]) -> dict[str, Any]:
    if area_SP is None:  # the curve has too few points
        return {"area": None, "area_ci": None}
    found = _mean(area_SP, settings)
    return {"area": found.estimate, "area_ci": _limits(found)}


def _mean(scores_SP: np.ndarray, settings: dict[str, Any]) -> bootstrap.Interval:
    resamples, level = settings["resamples"], settings["level"]
    return bootstrap.mean_interval(scores_SP, resamples, level, _rng(settings))


def _limits(found: bootstrap.Interval) -> list[float] | None:
    """None with one seed, and where all seeds are equal: then nothing is known of their spread."""
    return [found.low, found.high] if found.seeds > 1 and found.low < found.high else None


def _rng(settings: dict[str, Any]) -> np.random.Generator:
    return np.random.default_rng(settings["seed"])


def _curve(
    name: str, arm: str, stage: str, x: list, band: curves.Band, seeds: dict, fit: dict
) -> Curve:
    ci = [[low, high] for low, high in zip(band.low_X.tolist(), band.high_X.tolist(), strict=True)]
    return {
        "name": name,
        "arm": arm,
        "stage": stage,
        "x": x,
        "y": band.mean_X.tolist(),
        "ci": ci if band.seeds > 1 else None,
        "fit": fit,
        "seeds": seeds,
    }
