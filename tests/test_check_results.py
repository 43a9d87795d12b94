"""The checker that CI puts results.json through: it accepts a good one and sees every fault."""

import copy
import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

CHECKER = Path(__file__).resolve().parents[1] / ".ci" / "check_results.py"
violations = runpy.run_path(str(CHECKER))["violations"]

STUDY = {
    "study": "s",
    "arms": ["a", "b"],
    "stages": ["pretrain", "rl"],
    "seeds": [0, 1],
    "k": [1, 4],
    "contrasts": [{"name": "b vs a"}],
    "questions": {"Q1": {}},
}
METRICS = ("accuracy", "greedy", "format", "truncation", "pass@1", "pass@4", "accuracy/1")
RESULTS = {
    "study": "s",
    "nodes": [
        {
            "id": f"{arm}{stage}{seed}", "arm": arm, "stage": stage, "seed": seed, "parents": [],
            "metrics": dict.fromkeys(METRICS, 0.5), "tokens": {"facts": 10}, "flops": 1.0,
            "seconds": 1.0,
        }
        for arm in STUDY["arms"] for stage in STUDY["stages"] for seed in STUDY["seeds"]
    ],
    "contrasts": [
        {
            "name": "b vs a", "treated": "b", "control": "a", "stage": "rl", "metric": "accuracy",
            "estimate": 0.2, "ci": [0.1, 0.3], "mde": 0.1, "seeds": 2, "verdict": "above",
        }
    ],
    "curves": [
        {"name": "rl", "arm": "a", "stage": "rl", "x": [0, 1], "y": [0, 1], "ci": [], "fit": {}}
    ],
    "answers": {"Q1": {"verdict": "yes", "sentence": "It can."}},
}  # fmt: skip

DELETE = object()
FAULTS = {
    "a part is missing": (["curves"], DELETE, "lacks ['curves']"),
    "of another study": (["study"], "t", "study is 't'"),
    "a seed is missing": (["nodes", 3], DELETE, "arm a, stage rl, seed 1: 0 nodes"),
    "a node stands twice": (["nodes", 1, "seed"], 0, "arm a, stage pretrain, seed 0: 2 nodes"),
    "a node lacks a key": (["nodes", 0, "flops"], DELETE, "lacks ['flops']"),
    "a metric is missing": (["nodes", 0, "metrics", "pass@4"], DELETE, "lacks ['pass@4']"),
    "no levels": (["nodes", 0, "metrics", "accuracy/1"], DELETE, "accuracy of every level"),
    "a rate above 1": (["nodes", 0, "metrics", "greedy"], 1.5, "greedy is 1.5"),
    "a rate is null": (["nodes", 0, "metrics", "format"], None, "format is None"),
    "NaN": (["nodes", 0, "metrics", "accuracy/1"], float("nan"), "accuracy/1 is nan"),
    "infinity in a list": (["curves", 0, "y", 1], float("inf"), "curves.0.y.1 is inf"),
    "a contrast is missing": (["contrasts", 0], DELETE, "contrast b vs a is missing"),
    "estimate outside": (["contrasts", 0, "estimate"], 0.4, "0.4 is not inside [0.1, 0.3]"),
    "no interval": (["contrasts", 0, "ci"], None, "is not inside"),
    "a contrast lacks a key": (["contrasts", 0, "mde"], DELETE, "lacks ['mde']"),
    "a curve lacks a key": (["curves", 0, "fit"], DELETE, "lacks ['fit']"),
    "curve lengths": (["curves", 0, "x"], [0], "x and y differ"),
    "no answer": (["answers", "Q1"], DELETE, "answers.Q1 lacks"),
    "an empty sentence": (["answers", "Q1", "sentence"], "", "answers.Q1 lacks"),
}


def test_good_results_pass():
    assert list(violations(STUDY, RESULTS)) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_seen(fault):
    path, value, message = FAULTS[fault]
    results = copy.deepcopy(RESULTS)
    place = results
    for key in path[:-1]:
        place = place[key]
    if value is DELETE:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    assert any(message in line for line in violations(STUDY, results))


@pytest.mark.parametrize("good", [True, False])
def test_the_exit_code_tells(tmp_path, good):
    (tmp_path / "report").mkdir()
    (tmp_path / "study.json").write_text(json.dumps(STUDY))
    (tmp_path / "report/results.json").write_text(json.dumps(RESULTS))
    if good:
        (tmp_path / "report/index.html").touch()
    done = subprocess.run([sys.executable, CHECKER, tmp_path], capture_output=True, text=True)
    assert done.returncode == (not good)
    assert done.stderr == ("" if good else "report/index.html is missing\n")
