"""Assembles results.json from a study's records; every number comes from `analysis`."""

import math
from typing import Any

import numpy as np

from bakein.analysis import bootstrap, matching, passk, verdicts
from bakein.report import questions
from bakein.report.breakdown import breakdown
from bakein.report.curves import (
    add_multipliers,
    area_scores,
    pass_at_k_curve,
    rl_curves,
    rl_split,
)
from bakein.report.evidence import Evidence
from bakein.report.hindsight import named_late
from bakein.report.judges.comparison import judge_contrasts
from bakein.report.metrics import metric_range, metric_scores
from bakein.report.records import Study
from bakein.report.scores import Scores, collect
from bakein.report.sharing import sharing
from bakein.report.test_time import slope_metrics

Results = dict[str, Any]
ByPlace = dict[tuple[str, str], Any]  # (arm, stage) -> ...


def assemble(study: Study) -> Results:
    """The results of what is finished, as plain JSON values: NaN and infinity become null.

    Raises:
      ValueError: the evaluations or curves of the study do not fit together.
    """
    info = study.info
    settings, asked = info["bootstrap"], info["questions"]
    scores = collect(study)
    ks = sorted({k for k in info["k"] if all(k <= s.samples for s in scores.values())})
    probe_ks = {name: probe["k"] for name, probe in info["probes"].items()}
    metrics = {
        place: metric_scores(found, ks, probe_ks, np.random.default_rng(settings["seed"]))
        for place, found in scores.items()
    }
    for place, found in scores.items():
        metrics[place] |= area_scores(study, found, metrics[place], ks)
        metrics[place] |= slope_metrics(found, info["probes"])
    evidence = Evidence(study, scores, metrics, settings)
    answers = {name: questions.answer(row, evidence) for name, row in asked.items()}
    contrasts = judge_contrasts(evidence)
    for row in contrasts:
        row["estimate"] = row.pop("effect")
    control = next((r["control"] for r in asked.values() if "control" in r), info["arms"][0])
    some = next(iter(scores.values()), None)
    return _clean(
        {
            "study": info["study"],
            "nodes": _nodes(study, scores, metrics),
            "contrasts": contrasts,
            "curves": _curves(study, scores, metrics, ks, control),
            "answers": answers,
            "arms": info["arms"],
            "stages": info["stages"],
            "seeds": info["seeds"],
            "control": control,
            "k": ks,
            "chance": [passk.chance_floor(some.answer_P, k) for k in ks] if some else [],
            "bootstrap": settings,
            "evaluation": {
                "problems": some.levels_P.size if some else 0,
                "samples": some.samples if some else 0,
                "facts": some.recalled_SF.shape[1] if some else 0,
            },
            "summary": _summary(scores, metrics, settings),
            "splits": _splits(scores, ks, settings),
            "matching": _matching(study, control),
            "sharing": sharing(study),
            "time": breakdown(study),
            "missing": [
                {
                    "id": node.id,
                    "arm": node.arm,
                    "stage": node.stage,
                    "seed": node.seed,
                    "status": study.status(node.id),
                }
                for node in study.nodes
                if study.evaluation(node.id) is None
            ],
            "torn": study.torn,
            "rules_changed": info["named_first"]["verdict_rules"] != verdicts.RULES,
            "named_late": named_late(info),
        }
    )


def _nodes(study: Study, scores: dict[tuple[str, str], Scores], metrics: ByPlace) -> list[dict]:
    rows = []
    for node in study.nodes:
        if study.evaluation(node.id) is None:
            continue
        place = (node.arm, node.stage)
        seed = scores[place].seeds.index(node.seed)
        stage = study.stages[node.id]
        values = {name: float(found[seed].mean()) for name, found in metrics[place].items()}
        if node.kind == "rl":
            steps = [record for record in stage.records if "reward" in record]
            values |= {
                key: steps[-1][key]
                for key in ("reward", "kl", "mismatch_max")
                if steps and key in steps[-1]
            }
        rows.append(
            {
                "id": node.id,
                "arm": node.arm,
                "stage": node.stage,
                "seed": node.seed,
                "parents": list(node.parents),
                "metrics": values,
                "tokens": {name: counts["tokens"] for name, counts in stage.info["ledger"].items()},
                "flops": stage.info["flops"],
                "seconds": stage.info["seconds"],
            }
        )
    return rows


def _summary(scores: dict[tuple[str, str], Scores], metrics: ByPlace, settings: dict) -> list[dict]:
    """Mean over seeds, its interval and every seed's value, by arm, stage and metric."""
    rows = []
    for (arm, stage), found in scores.items():
        alike: dict[tuple[str, tuple[int, ...]], list[str]] = {}
        for name, score_SP in metrics[arm, stage].items():
            alike.setdefault((name.rpartition("/")[0], score_SP.shape), []).append(name)
        intervals = {}
        # Metrics of one evaluation and shape share their draws: much faster, until they are many.
        for names in alike.values():
            draws = bootstrap.draw(
                [metrics[arm, stage][name] for name in names],
                settings["resamples"],
                np.random.default_rng(settings["seed"]),
            )
            cells = metrics[arm, stage][names[0]].size
            for index, name in enumerate(names):
                interval = draws.interval(settings["level"], index)
                intervals[name] = bootstrap.bounded(interval, cells, *metric_range(name))
        for name, score_SP in metrics[arm, stage].items():
            interval = intervals[name]
            rows.append(
                {
                    "arm": arm,
                    "stage": stage,
                    "metric": name,
                    "mean": interval.estimate,
                    "ci": [interval.low, interval.high] if interval.seeds > 1 else None,
                    "seeds": list(found.seeds),
                    "values": score_SP.mean(axis=1).tolist(),
                }
            )
    return rows


def _curves(
    study: Study, scores: dict, metrics: ByPlace, ks: list[int], control: str
) -> list[dict]:
    settings = study.info["bootstrap"]
    found = []
    for stage in study.info["stages"]:
        for arm in study.info["arms"]:
            found += rl_curves(study, arm, stage, settings)
            if (arm, stage) in scores and ks:
                place = scores[arm, stage], metrics[arm, stage]
                found.append(pass_at_k_curve(*place, ks, settings))
    add_multipliers(found, control)
    return found


def _splits(scores: dict[tuple[str, str], Scores], ks: list[int], settings: dict) -> list[dict]:
    """Sharpening and expansion of every RL stage whose parent was evaluated as well."""
    place_of = {node.id: place for place, found in scores.items() for node in found.nodes}
    rows = []
    for (arm, stage), after in sorted(scores.items(), key=lambda item: item[0][1]):
        node = after.nodes[0]
        parent = place_of.get(node.parents[0]) if node.kind == "rl" and node.parents else None
        before = scores.get((arm, parent[1])) if parent else None
        if before is not None and set(before.seeds) & set(after.seeds):
            rows.append({**rl_split(before, after, ks, settings), "arm": arm, "stage": stage})
    return rows


def _matching(study: Study, control: str) -> list[dict]:
    """What every arm was given in every stage: means over its finished seeds."""
    rows = []
    for stage in study.info["stages"]:
        spent, sources, skipped = {}, {}, {}
        for arm in study.info["arms"]:
            infos = [
                study.stages[node.id].info
                for node in study.nodes
                if (node.arm, node.stage) == (arm, stage) and study.evaluation(node.id) is not None
            ]
            if not infos:
                continue
            names = dict.fromkeys(name for info in infos for name in info["ledger"])
            given = {
                name: np.mean([info["ledger"].get(name, {}).get("tokens", 0) for info in infos])
                for name in names
            }
            documents = [
                sum(counts["documents"] for counts in info["ledger"].values()) for info in infos
            ]
            samples = [
                info.get("samples", count) for info, count in zip(infos, documents, strict=True)
            ]
            sources[arm] = given
            left_out = [
                sum(counts["skipped"] for counts in info["ledger"].values()) for info in infos
            ]
            skipped[arm] = float(np.mean(left_out))
            spent[arm] = {
                "samples": np.mean(samples),
                "tokens": sum(given.values()),
                "flops": np.mean([info["flops"] for info in infos]),
            }
        apart = matching.relative_differences(spent, control) if control in spent else {}
        rows += [
            {
                "stage": stage,
                "arm": arm,
                **amounts,
                "difference": apart.get(arm, dict.fromkeys(amounts)),
                "sources": sources[arm],
                "skipped": skipped[arm],
            }
            for arm, amounts in spent.items()
        ]
    return rows


def _clean(value: Any) -> Any:
    """Plain JSON values: numpy scalars unwrapped, NaN and infinity to null, text encodable."""
    if isinstance(value, dict):
        return {_clean(str(key)): _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
