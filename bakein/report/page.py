"""One self-contained HTML page from results, plots and the study's samples."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from markupsafe import Markup

from bakein.report import questions, text
from bakein.report.breakdown import timetable, traces
from bakein.report.environment import make_environment
from bakein.report.hindsight import late_sentence
from bakein.report.plots import Plot
from bakein.report.records import Record, Stage, Study
from bakein.report.sharing import sharing_sentence
from bakein.report.svg import ARM_COLOURS, inline

Results = dict[str, Any]

CONTENTS = (
    ("answers", "Answers"),
    ("stages", "Accuracy"),
    ("curves", "Curves"),
    ("matching", "Matching"),
    ("samples", "Samples"),
    ("method", "Method"),
    ("provenance", "Provenance"),
)
PROBLEMS_SHOWN = 3  # per stage


def render(results: Results, study: Study, plots: Iterable[Plot]) -> str:
    """The page. All text in it is escaped; it loads nothing and runs nothing."""
    rows = {(row["arm"], row["stage"], row["metric"]): row for row in results["summary"]}
    drawn = [
        {"title": p.title, "caption": p.caption, "inline": Markup(inline(p.svg, p.name))}
        for p in plots
    ]
    return (
        make_environment()
        .get_template("page.html.j2")
        .render(
            results=results,
            summary=summary(results),
            changes=_changes(study, results),
            level=text.level(results["bootstrap"]["level"]),
            contents=CONTENTS,
            plots=drawn,
            measures=_measures(results),
            curves=results["curves"],
            ledger=_ledger(results),
            samples=_samples(study, results),
            rules=study.info["named_first"]["verdict_rules"],
            late=late_sentence(results["named_late"]),
            config=json.dumps(study.info["config"], indent=1, ensure_ascii=False),
            provenance=_provenance(study, results),
            timetable=timetable(results["time"]),
            traces=traces(study),
            tables=questions.tables,
            arm_index=lambda name: results["arms"].index(name) % len(ARM_COLOURS),
            cell=lambda arm, stage, metric: rows.get((arm, stage, metric)),
        )
    )


def summary(results: Results) -> str:
    """What was compared, in a sentence."""
    evaluation = results["evaluation"]
    return (
        f"{text.plural(len(results['arms']), 'arm')} ({', '.join(results['arms'])}), each through "
        f"{text.plural(len(results['stages']), 'stage')} ({', '.join(results['stages'])}) on "
        f"{text.plural(len(results['seeds']), 'seed')}; every stage scored on the same frozen "
        f"evaluation of {text.plural(evaluation['problems'], 'problem')} with "
        f"{text.plural(evaluation['samples'], 'sample')} each."
    )


def _changes(study: Study, results: Results) -> dict[str, str]:
    """What each arm changes in the study's stages, as the study file says it."""
    arms = study.info["config"].get("arms", {})
    return {
        arm: ", ".join(f"{key} = {_said(value)}" for key, value in _leaves(arms[arm])) or "nothing"
        for arm in results["arms"]
        if arm in arms
    }


_PARTIAL = {"function", "args", "keywords"}  # how study.json holds a function with its arguments


def _said(value: Any) -> str:
    if not isinstance(value, dict):
        return str(text.function_name(value))
    given = [str(item) for item in value["args"]]
    given += [f"{key}={item}" for key, item in value["keywords"].items()]
    return f"{text.function_name(value['function'])}({', '.join(given)})"


def _leaves(tree: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict) and value.keys() != _PARTIAL:
            yield from _leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _measures(results: Results) -> list[tuple[str, str]]:
    """(metric, heading) of the second table, as far as measured."""
    present = list(dict.fromkeys(row["metric"] for row in results["summary"]))
    largest = max(results["k"], default=1)
    titles = {
        "greedy": "Greedy",
        **{metric: metric for metric in present if metric.startswith("maj@")},
        f"pass@{largest}": f"pass@{largest}",
        "verified": "Every step right",
        f"verified pass@{largest}": f"Verified pass@{largest}",
        "format": "Well-formed",
        "truncation": "Truncated",
        "recall": "Facts recalled",
    }
    return [(metric, title) for metric, title in titles.items() if metric in present]


def _ledger(results: Results) -> list[dict[str, Any]]:
    """Mean tokens per seed of every source of every stage, one column per arm."""
    tokens = {(row["stage"], row["arm"]): row["sources"] for row in results["matching"]}
    table = []
    for stage in results["stages"]:
        columns = [tokens.get((stage, arm), {}) for arm in results["arms"]]
        for source in sorted(set().union(*columns)):
            table.append(
                {
                    "stage": stage,
                    "source": source,
                    "tokens": [column.get(source) for column in columns],
                }
            )
    return table


def _samples(study: Study, results: Results) -> list[dict[str, Any]]:
    """Of every stage's first finished seed: some problems with what every arm wrote."""
    groups = []
    asked = [row["stage"] for row in results["answers"].values()]
    for stage in dict.fromkeys([*asked, *reversed(results["stages"])]):
        nodes = [n for n in study.nodes if n.stage == stage and study.evaluation(n.id)]
        seed = min((node.seed for node in nodes), default=None)
        problems: dict[Any, dict[str, list[Record]]] = {}  # problem -> arm -> samples
        for node in nodes:
            for sample in study.evaluation(node.id).samples if node.seed == seed else ():
                arms = problems.setdefault(sample["problem"], {})
                arms.setdefault(node.arm, []).append(sample)
        if problems:
            groups.append({"stage": stage, "seed": seed, "problems": _choose(problems)})
    return groups


def _choose(problems: dict[Any, dict[str, list[Record]]]) -> list[dict[str, Any]]:
    """A few problems: first those that show an arm right, or wrong, for the first time."""
    rest, chosen = list(problems.values()), []
    shown: set[tuple[str, bool]] = set()
    while rest and len(chosen) < PROBLEMS_SHOWN:
        kinds = [{(arm, bool(s["right"])) for arm in arms for s in arms[arm]} for arms in rest]
        news = [len(kind - shown) for kind in kinds]
        best = news.index(max(news))
        shown |= kinds[best]
        arms = rest.pop(best)
        chosen.append({**next(iter(arms.values()))[0], "arms": arms})
    return chosen


def _goodput(stages: Iterable[dict]) -> list[tuple[str, str]]:
    """The share of the time that went into updates which the results stand on."""
    told = [stage for stage in stages if "useful_seconds" in stage]
    whole = sum(stage["seconds"] for stage in told)
    if not whole:
        return []
    share = sum(stage["useful_seconds"] for stage in told) / whole
    what = "of it went into updates that were kept; the rest into setup, compiling, checkpoints"
    killed = sum(stage["time"].get("killed", 0.0) > 0 for stage in told)
    lost = f", and what killed sessions of {text.plural(killed, 'stage')} lost" if killed else ""
    return [("Goodput", f"{share:.0%} {what}{lost}")]


def _makers(stages: Iterable[Stage]) -> list[tuple[str, str]]:
    """What trained and evaluated the stages; with how many of them, where that is not all."""
    makers = [entry for stage in stages for entry in stage.info["made_by"]]
    told = {
        "Device": [entry["device"] for entry in makers],
        "Versions": [", ".join(f"{k} {v}" for k, v in e["versions"].items()) for e in makers],
        "Git commit": [entry["git"] or "none" for entry in makers],
    }
    rows = []
    for title, values in told.items():
        counts = Counter(values)
        parts = [f"{value} ({text.plural(n, 'session')})" for value, n in counts.items()]
        rows.append((title, "; ".join(parts if len(counts) > 1 else counts)))
    return rows


def _provenance(study: Study, results: Results) -> list[tuple[str, str]]:
    info = study.info
    finished = {
        node.id: study.stages[node.id].info
        for node in study.nodes
        if study.evaluation(node.id) is not None
    }
    return [
        *_makers(study.stages.values()),
        ("Seeds", ", ".join(map(str, info["seeds"]))),
        (
            "Training time",
            f"{sum(stage['seconds'] for stage in finished.values()):,.0f} s over "
            f"{text.plural(len(finished), 'training stage')}; shared ones counted once",
        ),
        *_goodput(finished.values()),
        ("Sharing", sharing_sentence(results["sharing"])),
        (
            "Records",
            f"{text.plural(len(results['nodes']), 'stage result')}, "
            f"{text.plural(study.torn, 'torn line')} skipped",
        ),
    ]
