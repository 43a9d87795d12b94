"""Where a budget is best spent: known optima found, judged by the rules, shown, left undecided."""

import json

import pytest
from test_report_synthetic import LOGITS, write_study

from bakein.report.build import build_report
from bakein.report.questions import charts, tables
from bakein.report.records import read_study
from bakein.report.results import assemble

ENDS = {"rl_from_base": 0.0, "rl": 0.5, "sft": 1.0}


def asked(tmp_path, levels=(1.0, 2.2, 0.4), shares=None, metric="accuracy", **study):
    """A study that asks where to spend; `baked_in` has these levels at shares 0, .5 and 1."""
    own = dict(zip(ENDS, levels, strict=True))
    study.setdefault("logits", LOGITS | {"baked_in": LOGITS["baked_in"] | own})
    info = write_study(tmp_path, problems=48, n=64, shared=("pretrain",), **study)
    shares = shares or {f"baked_in/{stage}": share for stage, share in ENDS.items()}
    info["questions"] = {
        "Q7": {
            "kind": "frontier",
            "text": "Where?",
            "shares": shares,
            "metric": metric,
            "epsilon": 0.02,
            "places": [name.split("/") for name in sorted(shares, key=shares.get)],
        }
    }
    (tmp_path / "study.json").write_text(json.dumps(info))
    return tmp_path


def answered(*args, **keys):
    return assemble(read_study(asked(*args, **keys)))["answers"]["Q7"]


@pytest.mark.parametrize(
    ("levels", "verdict", "best", "end"),
    [
        ((0.0, 2.2, 0.2), "interior optimum", 0.5, 1.0),
        ((2.4, 0.9, -0.4), "all after", 0.0, 1.0),
        ((-0.4, 0.9, 2.4), "all before", 1.0, 0.0),
    ],
)
def test_a_known_optimum_gets_the_right_verdict(tmp_path, levels, verdict, best, end):
    answer = answered(tmp_path, levels, seeds=8)
    assert (answer["verdict"], answer["best"], answer["end"]) == (verdict, best, end)
    assert [p["share"] for p in answer["points"] if p["candidate"]] == [best]
    assert 0 < answer["ci"][0] < answer["effect"] < answer["ci"][1]
    means = {point["share"]: point["mean"] for point in answer["points"]}
    assert answer["effect"] == pytest.approx(means[best] - means[end])
    assert answer["effect_name"] == f"Share {best:g} − share {end:g}"
    assert answer["stage"] == {share: stage for stage, share in ENDS.items()}[best]
    assert f"Not ruled out: {best:g}." in answer["sentence"]


def test_a_flat_frontier_is_left_undecided(tmp_path):
    answer = answered(tmp_path, (0.5, 0.5, 0.5))
    assert answer["verdict"] == "underpowered"
    assert answer["ci"][0] < 0
    assert "Undecided" in answer["sentence"]
    assert "Underpowered" in answer["sentence"]


def test_the_points_are_the_means_and_their_intervals(tmp_path):
    results = assemble(read_study(asked(tmp_path)))
    mean = {(r["arm"], r["stage"], r["metric"]): r for r in results["summary"]}
    points = results["answers"]["Q7"]["points"]
    assert [(p["stage"], p["share"]) for p in points] == list(ENDS.items())
    for point in points:
        row = mean[point["arm"], point["stage"], "accuracy"]
        assert point["mean"] == pytest.approx(row["mean"])
        assert point["ci"][0] < point["mean"] < point["ci"][1]
        assert point["ci"] == pytest.approx(row["ci"], abs=0.05)
    assert sum(p["probability"] for p in points) == pytest.approx(1)


def test_what_all_share_is_no_part_of_what_was_spent(tmp_path):
    answer = answered(tmp_path)
    # Of 3.6e11 a stage: RL from the base, SFT and RL, SFT; all from one base.
    assert [p["flops"] for p in answer["points"]] == pytest.approx([3.6e11, 7.2e11, 3.6e11])
    (table,) = tables(answer)
    assert [row[5:7] for row in table.rows] == [
        ("360 G", "−25.0 %"),
        ("720 G", "+50.0 %"),
        ("360 G", "−25.0 %"),
    ]


def test_shares_may_be_arms(tmp_path):
    shares = {"standard/rl": 1.0, "baked_in/rl": 0.3, "wrong_traces/rl": 0.0}
    answer = answered(tmp_path, shares=shares, logits=LOGITS, seeds=8)
    assert [p["arm"] for p in answer["points"]] == ["wrong_traces", "baked_in", "standard"]
    assert answer["verdict"] == "interior optimum"
    (chart,) = charts(answer)
    assert [(line.arm, list(line.x), line.joined) for line in chart.lines] == [
        ("wrong_traces", [0.0], False),
        ("baked_in", [0.3], False),
        ("standard", [1.0], False),
    ]


def test_the_chart_and_the_table_show_the_answer(tmp_path):
    answer = answered(tmp_path, (0.0, 2.2, 0.2), seeds=8)
    (chart,) = charts(answer)
    (line,) = chart.lines
    assert (line.arm, list(line.x), line.joined, chart.rate) == (
        "baked_in",
        [0, 0.5, 1],
        True,
        True,
    )
    assert list(line.y) == [p["mean"] for p in answer["points"]]
    assert list(line.ci) == [p["ci"] for p in answer["points"]]
    (table,) = tables(answer)
    assert [row[-1] for row in table.rows] == ["ruled out", "may be", "ruled out"]
    assert "97.5\N{NO-BREAK SPACE}% each and 95\N{NO-BREAK SPACE}% all" in table.note


def test_a_single_seed_decides_nothing(tmp_path):
    answer = answered(tmp_path, seeds=1)
    assert answer["verdict"] == "underpowered"
    assert answer["ci"] is None
    assert "One seed" in answer["sentence"]
    assert [row[-1] for row in tables(answer)[0].rows] == ["may be"] * 3
    assert [p["ci"] for p in answer["points"]] == [None] * 3


def test_what_never_solved_anything_is_no_sure_zero(tmp_path):
    answer = answered(tmp_path, (-60.0, -60.0, -60.0))
    assert answer["verdict"] == "underpowered"
    assert answer["effect"] == 0
    assert answer["ci"][0] < 0 < answer["ci"][1]
    assert all(p["ci"][0] == 0 < p["ci"][1] for p in answer["points"])


def test_an_unfinished_place_leaves_it_unmeasured(tmp_path):
    workdir = asked(tmp_path)
    for path in workdir.glob("stages/eval-sft-baked_in-*/stage.json"):
        info = json.loads(path.read_text())
        path.write_text(json.dumps(info | {"status": "running"}))
    answer = assemble(read_study(workdir))["answers"]["Q7"]
    assert answer["verdict"] == "underpowered"
    assert answer["effect"] is None
    assert "Not measured yet" in answer["sentence"]
    assert tables(answer) == charts(answer) == []
    build_report(workdir)


def test_the_page_shows_every_share(tmp_path):
    workdir = asked(tmp_path)
    build_report(workdir)
    page = (workdir / "report" / "index.html").read_text()
    assert "Spent before" in page
    assert "share of the budget spent before" in page
    assert (workdir / "report" / "answer_0_0.svg").exists()
