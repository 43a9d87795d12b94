"""Strategies under spurious rewards: known shares and switches come back, or there are none."""

import json

import pytest
from test_report_synthetic import write_lines, write_study

from bakein.report.build import build_report
from bakein.report.questions import charts, tables
from bakein.report.records import read_study
from bakein.report.results import assemble

N = 32
CODE = {"pretrain": 8, "sft": 8, "rl": 24, "rl_from_base": 8}  # of N samples, by stage


def asked(tmp_path, seeds=4, strategies=True):
    """RL moves code from 8 to 24 of 32 samples; `rl_from_base`, the true reward, moves nothing.

    The samples in code are the right ones first, so a problem's right ones are code as far as
    there are any.
    """
    info = write_study(tmp_path, seeds=seeds, n=N, arms=("baked_in",))
    info["contrasts"] = []  # with an arm that is not here
    info["questions"] = {
        "Q4": {
            "kind": "spurious",
            "text": "Which?",
            "arm": "baked_in",
            "rewards": ["rl"],
            "true": "rl_from_base",
            "before": "sft",
            "metric": "accuracy",
            "epsilon": 0.2,
            "places": [("baked_in", stage) for stage in ("rl_from_base", "sft", "rl")],
        }
    }
    (tmp_path / "study.json").write_text(json.dumps(info))
    for stage, code in CODE.items() if strategies else ():
        for seed in range(seeds):
            id = f"{stage}-baked_in-{seed}"
            change(tmp_path, f"eval-{id}", lambda record, code=code: follow(record, code))
            change(tmp_path, id, lambda record, code=code: sampled(record, code))
    return tmp_path


def change(tmp_path, id, edit):
    path = tmp_path / "stages" / id / "records.jsonl"
    write_lines(path, [edit(json.loads(line)) for line in path.read_text().splitlines()])


def follow(record, code):
    if "problem" not in record:
        return record
    right = min(code, record["correct"])
    rest = record["correct"] - right
    counts = {"code": [code, right], "language": [N - code, rest], "neither": [0, 0]}
    return record | {"strategies": counts}


def sampled(record, code):
    if "reward" not in record:
        return record
    shares = {"code": code / N, "language": 1 - code / N, "neither": 0.0}
    moved = 0.01 * record["step"]
    shares["code"] -= moved
    shares["neither"] += moved
    return record | {f"strategy/{name}": share for name, share in shares.items()}


def test_shares_before_and_after_are_those_of_the_records(tmp_path):
    true, rl = assemble(read_study(asked(tmp_path)))["answers"]["Q4"]["strategies"]
    assert (true["stage"], rl["stage"]) == ("rl_from_base", "rl")
    code, language, neither = rl["shares"]
    assert [part["strategy"] for part in rl["shares"]] == ["code", "language", "neither"]
    assert (code["before"], code["after"]) == pytest.approx((8 / N, 24 / N))
    assert (code["change"], language["change"]) == pytest.approx((0.5, -0.5))
    assert code["change_ci"][0] < 0.5 < code["change_ci"][1]
    assert true["shares"][0]["change"] == 0
    assert neither["right_before"] is None
    assert 0 < code["right_after"] < code["right_before"] <= 1


def test_the_switches_add_up_to_the_gain_in_accuracy(tmp_path):
    results = assemble(read_study(asked(tmp_path)))
    mean = {
        (row["stage"], row["metric"]): row["mean"]
        for row in results["summary"]
        if row["arm"] == "baked_in"
    }
    for row in results["answers"]["Q4"]["strategies"]:
        gain = mean[row["stage"], "accuracy"] - mean["sft", "accuracy"]
        assert row["gain"] == pytest.approx(gain)
        assert sum(s["contribution"] for s in row["switches"]) == pytest.approx(gain)
        assert sum(s["share"] for s in row["switches"]) == pytest.approx(1)
        (switch,) = (
            s for s in row["switches"] if (s["before"], s["after"]) == ("language", "code")
        )
        assert switch["share"] == pytest.approx((24 / N) * CODE[row["stage"]] / N)
    assert mean["rl", "share/code"] == pytest.approx(24 / N)


def test_the_page_shows_strategies_and_draws_what_moves_most(tmp_path):
    workdir = asked(tmp_path)
    answer = build_report(workdir)["answers"]["Q4"]
    shares, switches = tables(answer)[1:]
    assert [row[:3] for row in shares.rows] == [
        (stage, name, share)
        for stage in ("rl_from_base", "rl")
        for name, share in (("code", "0.250"), ("language", "0.750"))
    ]
    for table in (shares, switches):
        assert {len(row) for row in table.rows} == {len(table.head)}
    assert switches.head[2:] == [
        "code → code", "code → language", "language → code", "language → language"
    ]  # fmt: skip
    (chart,) = charts(answer)
    assert chart.title == "Share of code while RL runs"
    assert [line.arm for line in chart.lines] == ["rl_from_base", "rl"]
    assert chart.lines[1].x[1] == 256
    assert chart.lines[1].y[:2] == pytest.approx([24 / N, 24 / N - 0.01])
    page = (workdir / "report" / "index.html").read_text()
    assert "Strategies before and after" in page
    assert "The gain by switches of strategy" in page


def test_a_world_without_strategies_shows_none(tmp_path):
    answer = assemble(read_study(asked(tmp_path, strategies=False)))["answers"]["Q4"]
    assert answer["strategies"] == []
    assert len(tables(answer)) == 1
    assert list(charts(answer)) == []


def test_an_unfinished_study_has_none_either(tmp_path):
    workdir = asked(tmp_path, seeds=1)
    (workdir / "stages" / "eval-rl-baked_in-0" / "stage.json").unlink()
    answer = assemble(read_study(workdir))["answers"]["Q4"]
    assert answer["strategies"] == []
    assert list(tables(answer)) == []


def test_one_seed_has_no_intervals(tmp_path):
    answer = build_report(asked(tmp_path, seeds=1))["answers"]["Q4"]
    assert answer["strategies"][0]["gain_ci"] is None
    assert answer["strategies"][0]["switches"][0]["ci"] is None
    assert len(tables(answer)) == 3


@pytest.mark.parametrize(
    "counts",
    [
        {"code": [8, 9], "language": [24, 0]},
        {"code": [8, 0]},
        {"code": [8.0, 0], "language": [24, 0]},
        {"code": [32]},
        [],
    ],
)
def test_counts_that_cannot_be_are_refused(tmp_path, counts):
    workdir = asked(tmp_path, seeds=1)
    change(workdir, "eval-rl-baked_in-0", lambda record: record | {"strategies": counts})
    with pytest.raises(ValueError, match=r"records\.jsonl:1: key 'strategies' must map"):
        read_study(workdir)


def test_evaluations_with_different_strategies_are_refused(tmp_path):
    workdir = asked(tmp_path, seeds=1)
    counts = {"code": [0, 0], "language": [N, 0]}
    change(workdir, "eval-rl-baked_in-0", lambda record: record | {"strategies": counts})
    with pytest.raises(ValueError, match="differ from the study's other evaluations"):
        assemble(read_study(workdir))

    def one(record):
        return record | ({"strategies": counts} if record.get("problem") == 3 else {})

    change(workdir, "eval-rl-baked_in-0", lambda record: follow(record, 8))
    change(workdir, "eval-rl-baked_in-0", one)
    with pytest.raises(ValueError, match="its problems differ in their strategies"):
        assemble(read_study(workdir))
