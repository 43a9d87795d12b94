"""Catching up: a known budget is found and judged by the rules, shown, or left undecided."""

import json

import pytest
from test_report_synthetic import LOGITS, write_study

from bakein.report.build import build_report
from bakein.report.records import read_study
from bakein.report.results import assemble

# Accuracy of the controls after RL rises with their budget; `early` is the treated arm.
MULTIPLES = {"x1": 1.0, "x2": 2.0, "x8": 8.0}
NEVER = {"x1": -2.0, "x2": -1.5, "x8": -1.0}
LATE = {"x1": -2.0, "x2": -1.0, "x8": 2.5}


def asked(tmp_path, levels, early=1.5, **study):
    """A study of three controls with these logits after RL, and of `early`."""
    arms = ("early", *MULTIPLES)
    logits = {arm: LOGITS["standard"] | {"rl": levels.get(arm, early)} for arm in arms}
    info = write_study(tmp_path, problems=48, n=64, arms=arms, logits=logits, **study)
    info["contrasts"] = []
    info["questions"] = {
        "Q1": {
            "kind": "catch_up",
            "text": "How much more?",
            "treated": "early",
            "controls": dict(sorted(MULTIPLES.items(), reverse=True)),
            "stage": "rl",
            "spent": "sft",
            "front": "pretrain",
            "sources": ["traces"],
            "metric": "accuracy",
            "epsilon": 0.05,
            "places": [(arm, "rl") for arm in arms],
        }
    }
    (tmp_path / "study.json").write_text(json.dumps(info))
    for arm, multiple in MULTIPLES.items():  # the controls pay for it, and read no traces
        for seed in info["seeds"]:
            spend(tmp_path, f"sft-{arm}-{seed}", multiple)
            spend(tmp_path, f"pretrain-{arm}-{seed}", 1.0, without="traces")
    return tmp_path


def spend(tmp_path, id, multiple, without=""):
    path = tmp_path / "stages" / id / "stage.json"
    info = json.loads(path.read_text())
    info["ledger"].pop(without, None)
    for counts in info["ledger"].values():
        counts["tokens"] = int(multiple * counts["tokens"])
    path.write_text(json.dumps(info))


def answer_of(*args, **kwargs):
    return assemble(read_study(asked(*args, **kwargs)))["answers"]["Q1"]


def test_a_budget_that_is_enough_is_found(tmp_path):
    answer = answer_of(tmp_path, LATE, seeds=8)
    assert answer["verdict"] == "caught up"
    assert [point["arm"] for point in answer["points"]] == ["x1", "x2", "x8"]
    assert answer["points"][answer["deciding"]]["arm"] == "x8"
    assert answer["ci"][0] > -0.05
    assert answer["level"] == pytest.approx(1 - 0.05 / 3)
    assert 2 < answer["budget"] < 8
    low, high = answer["budget_ci"]
    assert 2 < low < answer["budget"] < high < 8
    assert answer["budget_bound"] == "exact"
    assert "With 8 times the sft budget, x8" in answer["sentence"]


def test_the_exchange_rate_is_in_tokens_of_the_ledger(tmp_path):
    answer = answer_of(tmp_path, LATE)
    tokens = [point["tokens"] for point in answer["points"]]
    assert tokens == [60_000, 120_000, 480_000]
    assert answer["front_tokens"] == 20_000
    assert answer["rate"] == pytest.approx(answer["budget"] * 60_000 / 20_000)
    assert answer["rate_ci"][0] == pytest.approx(answer["budget_ci"][0] * 3)


def test_no_budget_is_enough(tmp_path):
    answer = answer_of(tmp_path, NEVER, seeds=8)
    assert answer["verdict"] == "not caught up"
    assert answer["reached"] == [None] * 8
    assert answer["budget_bound"] == "at least"
    assert answer["budget"] == pytest.approx(8.0)
    assert answer["rate"] == pytest.approx(24.0)
    assert answer["budget_ci"][1] is None
    assert answer["points"][answer["deciding"]]["arm"] == "x8"
    assert "Not even 8 times the sft budget" in answer["sentence"]
    assert "at least 8.00 times" in answer["sentence"]


def test_who_is_there_from_the_beginning_has_caught_up_at_once(tmp_path):
    answer = answer_of(tmp_path, dict.fromkeys(MULTIPLES, 2.5), seeds=8)
    assert answer["verdict"] == "caught up"
    assert answer["deciding"] == 0
    assert answer["budget"] == pytest.approx(1.0)
    assert answer["budget_bound"] == "at most"
    assert answer["budget_ci"] == [0.0, pytest.approx(1.0)]
    assert "at most 1.00 times" in answer["sentence"]


def test_gaps_are_control_less_treated(tmp_path):
    answer = answer_of(tmp_path, NEVER)
    for point in answer["points"]:
        assert point["gap"] == pytest.approx(point["mean"] - answer["treated_mean"])
    assert answer["effect"] == max(point["gap"] for point in answer["points"])


def test_a_single_seed_decides_nothing(tmp_path):
    answer = answer_of(tmp_path, NEVER, seeds=1)
    assert answer["verdict"] == "underpowered"
    assert answer["ci"] is answer["budget_ci"] is answer["rate_ci"] is None
    assert "One seed" in answer["sentence"]


def test_a_gap_that_may_be_none_is_undecided(tmp_path):
    answer = answer_of(tmp_path, NEVER | {"x8": 1.2}, seeds=3)
    assert answer["verdict"] == "underpowered"
    assert answer["sentence"].startswith("Undecided: ")
    assert "x8 comes closest" in answer["sentence"]
    assert "80 % power" in answer["sentence"]


def test_models_that_solve_nothing_are_even(tmp_path):
    """The gap of nothing to nothing has a width."""
    answer = answer_of(tmp_path, dict.fromkeys(MULTIPLES, -40.0), early=-40.0, seeds=2)
    assert answer["treated_mean"] == 0
    assert answer["ci"][0] < 0 < answer["ci"][1]
    assert (answer["verdict"], answer["budget_bound"]) == ("caught up", "at most")
    assert "The budget to catch up is at most 1.00 times" in answer["sentence"]


def test_seeds_below_the_smallest_budget_and_above_the_largest_have_no_mean(tmp_path):
    workdir = asked(tmp_path, NEVER, seeds=4)
    for evaluation in (workdir / "stages").glob("eval-rl-x1-0"):  # one seed is there at once
        written = (evaluation / "records.jsonl").read_text()
        lines = [json.loads(line) for line in written.splitlines()]
        for line in lines:
            line.update({"correct": line["n"]} if "n" in line else {})
        (evaluation / "records.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    answer = build_report(workdir)["answers"]["Q1"]
    assert answer["reached"] == [1.0, None, None, None]
    assert answer["budget_bound"] == "undefined"
    assert answer["budget"] is answer["rate"] is answer["budget_ci"] is answer["rate_ci"] is None


def test_what_was_not_measured_is_not_answered(tmp_path):
    workdir = asked(tmp_path, LATE)
    for seed in range(5):  # all but the tokens of one budget
        (workdir / "stages" / f"eval-sft-x8-{seed}" / "stage.json").unlink()
    results = build_report(workdir)
    answer = results["answers"]["Q1"]
    assert (answer["verdict"], answer["seeds"], answer["points"]) == ("underpowered", 0, [])
    assert "Not measured yet" in (workdir / "report" / "index.html").read_text()


def test_the_page_shows_budgets_and_the_curve(tmp_path):
    workdir = asked(tmp_path, NEVER)
    build_report(workdir)
    page = (workdir / "report" / "index.html").read_text()
    for text in ("By budget", "× 8", "480,000", "not reached", "Budget m* to catch up (at least)"):
        assert text in page
    assert "Catching up with early" in (workdir / "report" / "answer_0_0.svg").read_text() or (
        "Catching up with early" in page
    )
