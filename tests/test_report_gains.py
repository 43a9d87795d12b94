"""What stages add: known gains recovered, judged by the rules, split, or left undecided."""

import json

import pytest
from test_report_synthetic import LOGITS, write_study

from bakein.report.build import build_report
from bakein.report.questions import tables
from bakein.report.records import read_study
from bakein.report.results import assemble

GAINS = (("rl", "sft"), ("sft", "pretrain"), ("rl_from_base", "pretrain"))


def asked(tmp_path, gains=GAINS, epsilon=0.02, **study):
    """A study that asks what the stages of `baked_in` add."""
    info = write_study(tmp_path, problems=48, n=64, **study)
    stages = dict.fromkeys(stage for pair in gains for stage in pair)
    info["questions"] = {
        "Q7": {
            "kind": "gains",
            "text": "What?",
            "arm": "baked_in",
            "gains": [list(pair) for pair in gains],
            "metric": "accuracy",
            "epsilon": epsilon,
            "places": [["baked_in", stage] for stage in stages],
        }
    }
    (tmp_path / "study.json").write_text(json.dumps(info))
    return tmp_path


def answered(*args, **keys):
    return assemble(read_study(asked(*args, **keys)))["answers"]["Q7"]


def with_rl(level):
    return LOGITS | {"baked_in": LOGITS["baked_in"] | {"rl": level}}


@pytest.mark.parametrize(
    ("level", "epsilon", "verdict"),
    [(2.2, 0.02, "better"), (-1.5, 0.02, "worse"), (0.4, 0.5, "equivalent")],
)
def test_a_known_gain_gets_the_right_verdict(tmp_path, level, epsilon, verdict):
    answer = answered(tmp_path, epsilon=epsilon, logits=with_rl(level), seeds=8)
    assert answer["verdict"] == answer["lines"][0]["verdict"] == verdict
    assert answer["ci"][0] < answer["effect"] < answer["ci"][1]
    assert answer["level"] == pytest.approx(1 - 0.05 / 3)
    assert "rl over sft" in answer["sentence"]


def test_every_gain_is_the_difference_of_the_means(tmp_path):
    results = assemble(read_study(asked(tmp_path)))
    mean = {(r["arm"], r["stage"], r["metric"]): r["mean"] for r in results["summary"]}
    lines = results["answers"]["Q7"]["lines"]
    assert [(line["after"], line["before"]) for line in lines] == list(GAINS)
    for line in lines:
        after, before = (mean["baked_in", line[key], "accuracy"] for key in ("after", "before"))
        assert (line["mean_after"], line["mean_before"]) == pytest.approx((after, before))
        assert line["gain"] == pytest.approx(after - before)


def test_the_split_is_that_of_the_rl_stage(tmp_path):
    results = assemble(read_study(asked(tmp_path)))
    splits = {(row["arm"], row["stage"]): row for row in results["splits"]}
    rl, sft, _ = results["answers"]["Q7"]["lines"]
    for key in ("k", "gain_k", "gain_k_ci", "expansion", "contraction"):
        assert rl[key] == splits["baked_in", "rl"][key]
    assert sft["gain_k"] == pytest.approx(sft["expansion"] - sft["contraction"])


def test_nothing_certain_is_said_of_noise(tmp_path):
    answer = answered(tmp_path, logits=with_rl(0.4))
    assert answer["verdict"] == "underpowered"
    assert answer["ci"][0] < 0 < answer["ci"][1]
    assert "Undecided" in answer["sentence"]


def test_a_single_seed_decides_nothing(tmp_path):
    answer = answered(tmp_path, seeds=1)
    assert answer["verdict"] == "underpowered"
    assert answer["ci"] is None
    assert "One seed" in answer["sentence"]
    assert len(tables(answer)[0].rows) == len(GAINS)


def test_an_unfinished_stage_leaves_it_unmeasured(tmp_path):
    workdir = asked(tmp_path)
    for path in workdir.glob("stages/eval-sft-baked_in-*/stage.json"):
        info = json.loads(path.read_text())
        path.write_text(json.dumps(info | {"status": "running"}))
    answer = assemble(read_study(workdir))["answers"]["Q7"]
    assert (answer["verdict"], answer["effect"]) == ("underpowered", None)
    assert tables(answer) == []


def test_the_page_shows_every_gain(tmp_path):
    workdir = asked(tmp_path)
    build_report(workdir)
    page = (workdir / "report" / "index.html").read_text()
    assert "What each adds" in page
    assert "Newly solved" in page
    (table,) = tables(assemble(read_study(workdir))["answers"]["Q7"])
    assert [row[:2] for row in table.rows] == list(GAINS)
    assert table.title == "What each adds"
