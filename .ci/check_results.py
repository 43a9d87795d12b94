"""Checks the results.json of a finished work directory against its contract.

python .ci/check_results.py runs/quickstart: prints what was checked, or exits 1 and prints every
violation on a line of its own. Needs no package, so that it shares no code with what it checks.
"""

import json
import math
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

TOP = {"study", "nodes", "contrasts", "curves", "answers"}
NODE = {"id", "arm", "stage", "seed", "parents", "metrics", "tokens", "flops", "seconds"}
CONTRAST = {
    "name", "treated", "control", "stage", "metric", "estimate", "ci", "mde", "seeds", "verdict",
}  # fmt: skip
CURVE = {"name", "arm", "stage", "x", "y", "ci", "fit"}
METRICS = {"accuracy", "greedy", "format", "truncation"}


def violations(study: dict, results: dict) -> Iterator[str]:
    """What is wrong with results.json, given the study.json that it came from."""
    missing = TOP - results.keys()
    if missing:
        yield f"results.json lacks {sorted(missing)}"
        return
    if results["study"] != study["study"]:
        yield f"study is {results['study']!r}, not {study['study']!r}"
    yield from not_finite(results, "results.json")
    yield from wrong_nodes(study, results["nodes"])
    yield from wrong_contrasts(study, results["contrasts"])
    for curve in results["curves"]:
        yield from lacking(curve, CURVE, f"curve {curve.get('name')}")
        if len(curve.get("x", ())) != len(curve.get("y", ())):
            yield f"curve {curve.get('name')}: x and y differ in length"
    for question in study["questions"]:
        answer = results["answers"].get(question, {})
        if not (answer.get("verdict") and answer.get("sentence")):
            yield f"answers.{question} lacks a verdict or a sentence"


def not_finite(value: object, where: str) -> Iterator[str]:
    """Every number in a JSON value that is NaN or infinite."""
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{where} is {value}"
    items = value.items() if isinstance(value, dict) else ()
    for key, item in enumerate(value) if isinstance(value, list) else items:
        yield from not_finite(item, f"{where}.{key}")


def lacking(record: dict, keys: set[str], where: str) -> Iterator[str]:
    """The keys that a record should have and has not."""
    if keys - record.keys():
        yield f"{where} lacks {sorted(keys - record.keys())}"


def wrong_nodes(study: dict, nodes: list[dict]) -> Iterator[str]:
    """Arms, stages and seeds without exactly one node; metrics that are missing or no rates."""
    wanted = METRICS | {f"pass@{k}" for k in study["k"]}
    found = [(node.get("arm"), node.get("stage"), node.get("seed")) for node in nodes]
    for key in product(study["arms"], study["stages"], study["seeds"]):
        if found.count(key) != 1:
            yield f"arm {key[0]}, stage {key[1]}, seed {key[2]}: {found.count(key)} nodes"
    for node, key in zip(nodes, found, strict=True):
        where = "node " + "/".join(map(str, key))
        yield from lacking(node, NODE, where)
        metrics = node.get("metrics", {})
        yield from lacking(metrics, wanted, where)
        if not any(name.startswith("accuracy/") for name in metrics):
            yield f"{where} lacks the accuracy of every level"
        for name in sorted(wanted & metrics.keys()):
            if metrics[name] is None or not 0 <= metrics[name] <= 1:
                yield f"{where}: {name} is {metrics[name]}"


def wrong_contrasts(study: dict, contrasts: list[dict]) -> Iterator[str]:
    """Contrasts that were named before the run and are missing, or whose interval is none."""
    names = [contrast.get("name") for contrast in contrasts]
    for contrast in study["contrasts"]:
        if contrast["name"] not in names:
            yield f"contrast {contrast['name']} is missing"
    for contrast, name in zip(contrasts, names, strict=True):
        yield from lacking(contrast, CONTRAST, f"contrast {name}")
        if CONTRAST - contrast.keys():
            continue
        low, high = contrast["ci"] or (None, None)
        if None in (low, high, contrast["estimate"]) or not low <= contrast["estimate"] <= high:
            yield f"contrast {name}: {contrast['estimate']} is not inside [{low}, {high}]"


def main(workdir: Path) -> int:
    """Checks one work directory; returns the exit code."""
    study = json.loads((workdir / "study.json").read_text("utf-8"))
    results = json.loads((workdir / "report" / "results.json").read_text("utf-8"))
    wrong = list(violations(study, results))
    if not (workdir / "report" / "index.html").exists():
        wrong.append("report/index.html is missing")
    if wrong:
        print(*wrong, sep="\n", file=sys.stderr)
        return 1
    print(f"{workdir}: results.json keeps its contract: {len(results['nodes'])} nodes,")
    print(f"{len(results['contrasts'])} contrasts, {len(results['curves'])} curves")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
