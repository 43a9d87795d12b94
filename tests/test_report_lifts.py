"""Shares of a gain: known ones recovered, judged by the rules, shown, or left undecided."""

import json

import numpy as np
import pytest
from test_report_synthetic import LOGITS, write_study

from bakein.report.build import build_report
from bakein.report.records import read_study
from bakein.report.results import assemble


def asked(tmp_path, kind="wrong_traces", metric="accuracy", **study):
    """A study that asks for the share that `wrong_traces` has of what `baked_in` gains."""
    info = write_study(tmp_path, problems=48, n=64, **study)
    common = {"text": "Is it?", "metric": metric, "epsilon": 0.3, "kind": kind}
    corrupted = [arm for arm in info["arms"] if arm not in ("standard", "baked_in")]
    info["questions"] = {
        "Q5": {
            "corrupted": corrupted,
            "correct": "baked_in",
            "none": "standard",
            "stage": "rl",
            **common,
        }
        if kind == "wrong_traces"
        else {
            "arm": "wrong_traces",
            "rewards": ["rl"],
            "true": "rl_from_base",
            "before": "sft",
            **common,
        }
    }
    asked = info["questions"]["Q5"]
    names = ("baked_in", "standard", *corrupted)
    asked["places"] = (
        [(name, "rl") for name in names]
        if kind == "wrong_traces"
        else [("wrong_traces", stage) for stage in ("rl_from_base", "sft", "rl")]
    )
    (tmp_path / "study.json").write_text(json.dumps(info))
    return tmp_path


def with_level(level):
    """Arms as they are, but `wrong_traces`, which RL takes from -1.4 to levels of its own."""
    own = {"sft": -1.4, "rl": level, "rl_from_base": 1.5}
    return LOGITS | {"wrong_traces": LOGITS["wrong_traces"] | own}


@pytest.mark.parametrize(
    ("level", "kind", "verdict"),
    [
        (LOGITS["baked_in"]["rl"], "wrong_traces", "good as correct"),
        (LOGITS["standard"]["rl"], "wrong_traces", "does not help"),
        (0.9, "wrong_traces", "helps"),
        (1.5, "spurious", "base did it"),
        (-1.4, "spurious", "reward did it"),
        (0.1, "spurious", "both did it"),
    ],
)
def test_known_shares_get_the_right_verdicts(tmp_path, level, kind, verdict):
    workdir = asked(tmp_path, kind, logits=with_level(level), seeds=8)
    answer = assemble(read_study(workdir))["answers"]["Q5"]
    assert answer["verdict"] == verdict
    assert answer["ci"][0] < answer["effect"] < answer["ci"][1]
    assert answer["lifts"][0]["verdict"] == verdict
    assert answer["lifts"][0]["share"] == answer["effect"]


def test_the_area_under_the_rl_curve_is_a_gain_as_well(tmp_path):
    workdir = asked(tmp_path, metric="rl_area", logits=with_level(2.2), seeds=8)
    assert assemble(read_study(workdir))["answers"]["Q5"]["verdict"] == "good as correct"


def test_the_share_is_that_of_the_means(tmp_path):
    answer = assemble(read_study(asked(tmp_path)))["answers"]["Q5"]
    (lift,) = answer["lifts"]
    whole = answer["whole_mean"] - answer["zero_mean"]
    assert answer["whole_gain"] == pytest.approx(whole)
    assert lift["gain"] == pytest.approx(lift["mean"] - answer["zero_mean"])
    assert lift["share"] == pytest.approx(lift["gain"] / whole)


def test_more_arms_are_judged_at_a_stricter_level(tmp_path):
    arms = ("standard", "baked_in", "wrong_traces", "other")
    logits = LOGITS | {"other": LOGITS["wrong_traces"]}
    answer = assemble(read_study(asked(tmp_path, arms=arms, logits=logits)))["answers"]["Q5"]
    assert [lift["name"] for lift in answer["lifts"]] == ["wrong_traces", "other"]
    assert answer["level"] == pytest.approx(0.975)


def test_nothing_is_a_share_of_a_gain_that_is_not_there(tmp_path):
    logits = LOGITS | {"baked_in": LOGITS["standard"]}
    answer = assemble(read_study(asked(tmp_path, logits=logits)))["answers"]["Q5"]
    assert answer["verdict"] == "underpowered"
    assert answer["effect"] is answer["ci"] is answer["mde"] is None
    assert "no established gain" in answer["sentence"]


def test_a_single_seed_decides_nothing(tmp_path):
    answer = assemble(read_study(asked(tmp_path, seeds=1)))["answers"]["Q5"]
    assert answer["verdict"] == "underpowered"
    assert answer["ci"] is None
    assert "One seed" in answer["sentence"]


def test_the_page_shows_every_arm_with_its_share(tmp_path):
    workdir = asked(tmp_path)
    build_report(workdir)
    page = (workdir / "report" / "index.html").read_text()
    assert "Share of the gain of baked_in" in page
    assert "the zero" in page
    assert "the whole" in page


def test_areas_are_scores_of_a_seed_as_a_whole(tmp_path):
    results = assemble(read_study(asked(tmp_path)))
    curves = {(c["name"], c["arm"], c["stage"]): c for c in results["curves"]}
    for row in results["summary"]:
        if row["metric"] in ("rl_area", "pass_area"):
            name = {"rl_area": "rl", "pass_area": "pass@k"}[row["metric"]]
            area = curves[name, row["arm"], row["stage"]]["fit"]["area"]
            assert np.mean(row["values"]) == pytest.approx(area)


def test_an_arm_that_never_scores_has_a_share_with_an_interval_of_some_width(tmp_path):
    never = dict.fromkeys(LOGITS["standard"], -40.0)
    logits = LOGITS | {"standard": never, "wrong_traces": never}
    answer = assemble(read_study(asked(tmp_path, logits=logits, seeds=3)))["answers"]["Q5"]
    (lift,) = answer["lifts"]
    assert lift["share"] == 0
    low, high = answer["ci"]
    # 3 x 48 problems, all wrong twice over: some 0.026 of them could be others, of a gain of 0.8
    assert -0.1 < low < 0 < high < 0.1
    assert answer["mde"] > 0
