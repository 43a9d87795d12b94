"""Questions about a dose: known responses get their verdicts, and are shown, or left undecided."""

import json

import pytest
from test_report_synthetic import write_study

from bakein.report.build import build_report
from bakein.report.questions import charts, tables
from bakein.report.records import read_study
from bakein.report.results import assemble

DOSES = {"nothing": 0.0, "some": 5.0, "more": 20.0, "most": 40.0}


def asked(tmp_path, levels, metric="accuracy", epsilon=0.05, **study):
    """A study of four doses, with these mean logits after RL."""
    below = {"pretrain": -3.0, "sft": -1.4, "rl_from_base": -2.6}
    logits = {arm: below | {"rl": level} for arm, level in zip(DOSES, levels, strict=True)}
    sizes = {"problems": 48, "n": 64, "seeds": 6} | study
    info = write_study(tmp_path, arms=tuple(DOSES), logits=logits, **sizes)
    info["questions"] = {
        "Q1": {
            "kind": "dose",
            "text": "How much?",
            "doses": DOSES,
            "dose_unit": "% of tokens",
            "stage": "rl",
            "metric": metric,
            "epsilon": epsilon,
            "places": [(arm, "rl") for arm in DOSES],
        }
    }
    (tmp_path / "study.json").write_text(json.dumps(info))
    return tmp_path


def answer_of(*given, **study):
    return assemble(read_study(asked(*given, **study)))["answers"]["Q1"]


def test_a_rise_is_found_with_the_dose_that_is_enough_and_the_best(tmp_path):
    answer = answer_of(tmp_path, [-2.0, -1.8, 0.5, 2.5])
    assert answer["verdict"] == "rises"
    assert answer["ci"][0] < answer["effect"] < answer["ci"][1]
    means = [point["mean"] for point in answer["points"]]
    assert answer["effect"] == pytest.approx(
        3 * (-1.5 * means[0] - 0.5 * means[1] + 0.5 * means[2] + 1.5 * means[3]) / 5
    )
    assert answer["first_better"] == 20
    assert answer["first_worse"] is None
    assert answer["candidates"] == [40]
    for word in ("rises", "than 0 is 20", "40 is shown to be the best", "6 paired seeds"):
        assert word in answer["sentence"]
    for point in answer["points"][1:]:
        assert point["difference"] == pytest.approx(point["mean"] - means[0])
        assert point["difference_level"] >= 0.95


@pytest.mark.parametrize(
    ("levels", "epsilon", "verdict", "said"),
    [
        ([2.5, 0.5, -1.8, -2.0], 0.05, "falls", "lower accuracy than 0 is 5"),
        ([-2.0, 1.5, 1.5, -2.0], 0.05, "best in between", "The best may be 5 or 20"),
        ([-8.0, -8.0, -8.0, -8.0], 0.05, "flat", "no dose changes accuracy by anything"),
        ([0.0, 0.0, 0.0, 0.0], 0.001, "underpowered", "Undecided"),
    ],
)
def test_other_responses_get_their_verdicts(tmp_path, levels, epsilon, verdict, said):
    answer = answer_of(tmp_path, levels, epsilon=epsilon)
    assert answer["verdict"] == verdict
    assert said in answer["sentence"]


def test_any_metric_can_respond(tmp_path):
    assert answer_of(tmp_path, [-2.0, -1.0, 0.5, 2.5], metric="rl_area")["verdict"] == "rises"


def test_a_single_seed_decides_nothing(tmp_path):
    answer = answer_of(tmp_path, [-2.0, -1.8, 0.5, 2.5], seeds=1)
    assert (answer["verdict"], answer["ci"]) == ("underpowered", None)
    assert "One seed" in answer["sentence"]
    assert answer["candidates"] == list(DOSES.values())


def test_an_unfinished_study_has_no_answer_and_nothing_to_show(tmp_path):
    workdir = asked(tmp_path, [0.0] * 4, seeds=1)
    (workdir / "stages" / "eval-rl-more-0" / "stage.json").unlink()
    answer = build_report(workdir)["answers"]["Q1"]
    assert answer["sentence"].startswith("Not measured yet")
    assert list(tables(answer)) == list(charts(answer)) == []


def test_the_page_shows_every_dose(tmp_path):
    workdir = asked(tmp_path, [-2.0, -1.8, 0.5, 2.5])
    answer = build_report(workdir)["answers"]["Q1"]
    (table,), (chart,) = tables(answer), charts(answer)
    assert [row[0] for row in table.rows] == ["0", "5", "20", "40"]
    assert {len(row) for row in table.rows} == {len(table.head)}
    assert [row[-1] for row in table.rows] == ["not the best"] * 3 + ["may be the best"]
    assert chart.x_scale == "log2+1"
    assert [line.x for line in chart.lines[1:]] == [[0], [5], [20], [40]]
    page = (workdir / "report" / "index.html").read_text()
    for word in ("By dose", "accuracy by dose", "% of tokens", "the lowest"):
        assert word in page
