"""What the README says is so: its example runs, its tree is the tree."""

import json
import re
import runpy
from pathlib import Path

from bakein.cli import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLE = ROOT / "experiments" / "my_study.py"


def test_the_example_is_the_file_and_short():
    assert EXAMPLE.read_text(encoding="utf-8") in README
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) < 100


def test_no_trace_of_the_example_solves_a_held_out_problem_on_its_way():
    world = runpy.run_path(str(EXAMPLE))["Sums"](digits=6)
    held_out = {problem.prompt.strip("?=") for problem in world.test(64, seed=0)}
    problems = world.train(seed=0)
    for key in (problems[i].prompt.strip("?=") for i in range(1000)):
        assert held_out.isdisjoint(key[:end] for end in range(2, len(key) + 1))


def test_the_example_runs(tmp_path, capsys):
    small = [
        "seeds=2",
        "model.layers=1",
        "model.d_model=16",
        "model.d_ff=16",
        "stages.pretrain.tokens=8_000",
        "stages.rl.steps=2",
        "evaluation.problems=8",
        "evaluation.samples=4",
        "evaluation.k=(1, 4)",
    ]
    overrides = [f"--config.{override}" for override in small]
    assert main(["run", str(EXAMPLE), "--workdir", str(tmp_path), *overrides]) == 0
    results = json.loads((tmp_path / "report" / "results.json").read_text())
    assert {(node["arm"], node["stage"]) for node in results["nodes"]} == {
        (arm, stage) for arm in ("none", "some") for stage in ("pretrain", "rl")
    }
    some = next(n for n in results["nodes"] if (n["arm"], n["stage"]) == ("some", "pretrain"))
    assert abs(some["tokens"]["traces"] / sum(some["tokens"].values()) - 0.2) < 0.01
    assert "Q1" in capsys.readouterr().out


def test_the_tree_names_every_folder():
    tree = README.split("## The house")[1].split("```")[1]
    tops = ("bakein", "experiments", "tests", "tpu_scripts", "benchmarks")
    rooms = [path for path in (ROOT / "bakein").rglob("*") if path.is_dir()]
    there = {*tops, *(path.name for path in rooms if path.name != "__pycache__")}
    assert set(re.findall(r"^ *(\w+)/", tree, flags=re.MULTILINE)) == there


def test_every_file_says_first_what_it_is():
    for path in (ROOT / "bakein").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert text.removeprefix("r").startswith('"""') or not text, path
