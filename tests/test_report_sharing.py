"""What sharing saves: counted by hand on studies whose arms share nothing, one stage, or two."""

import json
import os
import subprocess
import sys

import pytest
from test_report_synthetic import write_study

from bakein.report.build import build_report
from bakein.report.records import read_study
from bakein.report.sharing import sharing, sharing_sentence
from bakein.report.terminal import terminal_summary

# An arm alone: pretrain, sft, rl on one path, pretrain, rl_from_base on the other.
SECONDS = 12.5 + 2.0  # of a stage of the synthetic study, and of its evaluation
FLOPS = 3.6e11 + 1e9


@pytest.mark.parametrize(
    ("shared", "trained"),
    [
        ((), 3 * 4),
        (("pretrain",), 1 + 3 * 3),
        (("pretrain", "sft"), 2 + 3 * 2),
        (("pretrain", "sft", "rl", "rl_from_base"), 4),
    ],
)
def test_what_is_saved_is_what_separate_runs_would_train_again(tmp_path, shared, trained):
    write_study(tmp_path, seeds=2, problems=4, shared=shared)
    row = sharing(read_study(tmp_path))
    assert (row["trained"], row["places"], row["alone"]) == (2 * trained, 2 * 12, 2 * 3 * 5)
    assert row["saved"] == 2 * (15 - trained)
    assert row["seconds"] == pytest.approx(2 * trained * SECONDS)
    assert row["seconds_saved"] == pytest.approx(row["saved"] * SECONDS)
    assert row["flops"] == pytest.approx(2 * trained * FLOPS)
    assert row["flops_saved"] == pytest.approx(row["saved"] * FLOPS)


def test_the_cost_of_what_is_saved_is_its_own(tmp_path):
    write_study(tmp_path, seeds=1, problems=4, shared=("pretrain",))
    path = tmp_path / "stages" / "pretrain-standard-0" / "stage.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "seconds": 1000.0}))
    # Pretraining is trained once, in the place of six times: of three arms on two paths.
    assert sharing(read_study(tmp_path))["seconds_saved"] == pytest.approx(5 * 1002.0)


def test_only_what_is_finished_counts(tmp_path):
    write_study(tmp_path, seeds=1, problems=4, arms=("standard",))
    (tmp_path / "stages" / "eval-rl_from_base-standard-0" / "stage.json").unlink()
    row = sharing(read_study(tmp_path))
    assert (row["trained"], row["alone"], row["saved"]) == (3, 3, 0)
    assert sharing_sentence(row) == (
        "3 stages trained for 3 places (arm × stage × seed); none is shared."
    )
    (tmp_path / "stages" / "eval-rl-standard-0" / "stage.json").unlink()
    assert sharing(read_study(tmp_path))["alone"] == 2


def test_nothing_finished_is_nothing_saved(tmp_path):
    write_study(tmp_path, seeds=1, problems=4, arms=("standard",))
    for path in tmp_path.glob("stages/eval-*/stage.json"):
        path.unlink()
    row = build_report(tmp_path)["sharing"]
    assert set(row.values()) == {0}


def test_results_page_and_terminal_say_it(tmp_path):
    write_study(tmp_path, problems=4, seeds=2, shared=("pretrain",))
    results = build_report(tmp_path)
    said = (
        "20 stages trained for 24 places (arm × stage × seed); separate runs would have trained "
        "30. Saved: 10 stages, 3.6e+12 FLOPs and 145 s with their evaluations."
    )
    assert sharing_sentence(results["sharing"]) == said
    assert said in (tmp_path / "report" / "index.html").read_text()
    summary = terminal_summary(results, tmp_path)
    assert said in " ".join(summary.split())


def test_another_process_finds_the_same_to_the_last_bit(tmp_path):
    write_study(tmp_path, seeds=3, problems=4, shared=("pretrain",))
    for index, path in enumerate(sorted(tmp_path.glob("stages/*/stage.json"))):
        info = json.loads(path.read_text())  # seconds whose sum depends on their order
        path.write_text(json.dumps({**info, "seconds": 10.0 ** (index % 17) / 7}))
    # Sets of strings have another order in every process.
    code = (
        "import pathlib, sys; from bakein.report.records import read_study; "
        "from bakein.report.results import assemble; "
        "print(assemble(read_study(pathlib.Path(sys.argv[1]))))"
    )
    found = set()
    for seed in "12":
        command = [sys.executable, "-c", code, str(tmp_path)]
        env = {**os.environ, "PYTHONHASHSEED": seed}
        found.add(subprocess.run(command, check=True, capture_output=True, env=env).stdout)
    assert len(found) == 1
