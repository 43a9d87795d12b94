"""Test-time slopes: known ones recovered, compared at equal pass@1, shown, or refused."""

import json

import numpy as np
import pytest
from test_report_synthetic import LOGITS, write_json, write_lines, write_study

from bakein.analysis import budgets, passk, slopes
from bakein.report import questions
from bakein.report.build import build_report
from bakein.report.records import read_study
from bakein.report.results import assemble

STAGES = ("sft", "rl")
SIZES = (0, 4, 8, 16)
PROBLEMS, N = 24, 64
NEAR = {
    "standard": {"pretrain": -2.0, "sft": -0.8, "rl": 0.0, "rl_from_base": -1.0},
    "baked_in": {"pretrain": -1.5, "sft": 0.0, "rl": 0.8, "rl_from_base": 0.0},
}


def asked(workdir, metric="thinking/slope", beside=(), *, slope=(0.3, 0.3), tie=0.0, **study):
    """A study with a thinking probe and filler; slopes are (standard, baked_in), plus tie·level."""
    study = {"arms": tuple(NEAR), "logits": NEAR, "problems": PROBLEMS, "n": N, "seeds": 5} | study
    info = write_study(workdir, **study)
    level = study["logits"]
    rng = np.random.default_rng(3)
    made = {"thinking": {}, "filler": {}}
    for node in info["nodes"]:
        if node["stage"] not in STAGES:
            continue
        evaluation = workdir / "stages" / info["evals"][node["id"]] / "records.jsonl"
        problems = [json.loads(line) for line in evaluation.read_text().splitlines()]
        problems = [r for r in problems if "problem" in r]
        of_arm = slope[tuple(NEAR).index(node["arm"])]
        for probe, ids in made.items():
            id = ids[node["id"]] = f"{probe}-{node['id']}"
            kept = {key: node[key] for key in ("stage", "seed")}
            kept |= {"id": id, "kind": "probe", "status": "finished", "parents": [node["id"]]}
            kept |= {"made_by": [], "flops": 1e9, "seconds": 2.0}
            write_json(workdir / "stages" / id / "stage.json", kept)
            records = []
            for size in SIZES:
                for problem in problems:
                    at = level[node["arm"]][node["stage"]] - (problem["level"] - 2.5) / 1.2
                    gain = 0.0 if probe == "filler" else of_arm + tie * at
                    logit = -0.5 + gain * np.log2(size / 8) if size else -1.5
                    p = 1 / (1 + np.exp(-logit - rng.normal(0, 0.05)))
                    correct = int(rng.binomial(N, p))
                    counts = {"correct": correct, "verified": correct, "format": N, "truncated": 0}
                    once = {"greedy": 0, "greedy_format": 1, "answers": {"407": correct}}
                    records.append({**problem, **counts, **once, "variant": size})
            write_lines(workdir / "stages" / id / "records.jsonl", records)
    info["probes"] = {
        name: {"k": [1, 4, 16, 64], "nodes": ids, "budgets": [4, 8, 16]}
        for name, ids in made.items()
    }
    info["questions"] = {
        "Q3a": {
            "kind": "conditional",
            "text": "Steeper?",
            "treated": "baked_in",
            "control": "standard",
            "stages": list(STAGES),
            "metric": metric,
            "beside": list(beside),
            "epsilon": 0.15 if metric.endswith("slope") else 0.1,
            "places": [(arm, stage) for arm in ("baked_in", "standard") for stage in STAGES],
        }
    }
    info["contrasts"] = []
    (workdir / "study.json").write_text(json.dumps(info))
    return workdir


def answer_of(workdir):
    return assemble(read_study(workdir))["answers"]["Q3a"]


@pytest.mark.parametrize(
    ("slope", "verdict"),
    [((0.1, 0.7), "better"), ((0.7, 0.1), "worse"), ((0.3, 0.3), "equivalent")],
)
def test_known_differences_in_slope_get_the_right_verdicts(tmp_path, slope, verdict):
    answer = answer_of(asked(tmp_path, slope=slope))
    assert answer["verdict"] == verdict
    low, high = answer["ci"]
    assert low < slope[1] - slope[0] < high
    assert 0.2 < answer["shared_pass"][0] < answer["shared_pass"][1] < 0.85
    cloud, _, line, other = questions.charts(answer)[0].lines
    assert cloud.arm == line.arm == "baked_in"
    assert line.x == other.x == answer["shared"]
    np.testing.assert_allclose(np.subtract(line.y, other.y), answer["effect"])
    assert low < answer["effect"] < high
    assert (answer["seeds"], len(answer["nodes"])) == (5, 2 * len(STAGES) * 4)


def test_what_the_level_explains_is_no_difference(tmp_path):
    answer = answer_of(asked(tmp_path, tie=-0.4))
    assert answer["raw_ci"][1] < 0  # baked_in is ahead, so it has less to gain
    assert answer["raw"] == pytest.approx(-0.4 * 0.8, abs=0.15)
    assert answer["verdict"] != "worse"
    assert abs(answer["effect"]) < 0.15
    assert answer["tie_ci"][1] < 0


def test_arms_that_share_no_level_are_refused(tmp_path):
    apart = {
        arm: dict.fromkeys(NEAR[arm], level) for arm, level in (("standard", -6), ("baked_in", 6))
    }
    workdir = asked(tmp_path, slope=(0.1, 0.7), logits=apart)
    answer = answer_of(workdir)
    assert answer["verdict"] == "underpowered"
    assert answer["effect"] is answer["ci"] is answer["tie"] is None
    assert answer["raw_ci"][0] > 0
    assert "share no range of pass@1" in answer["sentence"]
    assert "Not compared at equal pass@1" in questions.tables(answer)[0].note
    assert len(questions.charts(answer)[0].lines) == 2  # no fitted ones


def test_one_seed_decides_nothing(tmp_path):
    answer = answer_of(asked(tmp_path, slope=(0.1, 0.7), seeds=1))
    assert (answer["verdict"], answer["ci"]) == ("underpowered", None)
    assert "One seed" in answer["sentence"]


def test_what_is_not_measured_yet_says_so(tmp_path):
    workdir = asked(tmp_path, seeds=2)
    info = json.loads((workdir / "study.json").read_text())
    (workdir / "study.json").write_text(json.dumps(info | {"evals": {}}))
    answer = answer_of(workdir)
    assert answer["seeds"] == 0
    assert questions.tables(answer) == questions.charts(answer) == []


@pytest.fixture(scope="module")
def sequential(tmp_path_factory):
    return asked(tmp_path_factory.mktemp("sequential"), beside=("filler",), slope=(0.1, 0.7))


def counts(workdir, probe, arm, stage, seed, size):
    path = workdir / "stages" / f"{probe}-{stage}-{arm}-{seed}" / "records.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return np.array([r["correct"] for r in records if r["variant"] == size])


def test_a_slope_is_a_metric_in_logits_per_doubling(sequential):
    results = assemble(read_study(sequential))
    rows = {(r["arm"], r["stage"], r["metric"]): r for r in results["summary"]}
    row = rows["baked_in", "rl", "thinking/slope"]
    right = [
        [counts(sequential, "thinking", "baked_in", "rl", seed, size) for seed in range(5)]
        for size in SIZES[1:]
    ]
    fitted = budgets.fit(SIZES[1:], np.array(right), N)
    np.testing.assert_allclose(row["values"], fitted.slope_S)
    assert row["ci"][0] < 0.7 < row["ci"][1]
    assert rows["standard", "sft", "filler/slope"]["mean"] == pytest.approx(0, abs=0.1)
    area = rows["baked_in", "rl", "thinking/8/pass_area"]
    curve = [
        passk.pass_at_k(counts(sequential, "thinking", "baked_in", "rl", 2, 8), N, k).mean()
        for k in (1, 4, 16, 64)
    ]
    assert area["values"][2] == pytest.approx(slopes.area_over_log2([1, 4, 16, 64], curve))


def test_a_node_is_of_the_problems_of_its_difficulty_alone(sequential):
    path = sequential / "stages" / "thinking-rl-baked_in-0" / "records.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    levels = np.array([r["level"] for r in records if r["variant"] == SIZES[1]])
    assert len(set(levels)) > 1
    for node in answer_of(sequential)["nodes"]:
        if (node["arm"], node["stage"]) == ("baked_in", "rl"):
            right = [
                [
                    counts(sequential, "thinking", "baked_in", "rl", seed, size)[
                        levels == node["difficulty"]
                    ]
                    for seed in range(5)
                ]
                for size in SIZES[1:]
            ]
            fitted = budgets.fit(SIZES[1:], np.array(right), N)
            np.testing.assert_allclose(node["slopes"], fitted.slope_S)


def test_a_slope_below_0_is_no_floor(tmp_path):
    results = assemble(read_study(asked(tmp_path, slope=(-0.5, -0.5), seeds=3)))
    rows = [r for r in results["summary"] if r["metric"] == "thinking/slope"]
    assert all(row["ci"][0] < row["mean"] < row["ci"][1] < 0 for row in rows)


def test_the_direct_answer_and_filler_stand_beside_it(sequential):
    answer = answer_of(sequential)
    curves = {(c["probe"], c["arm"], c["stage"]): c for c in answer["curves"]}
    assert len(curves) == 2 * 2 * len(STAGES)
    shown = curves["thinking", "standard", "rl"]
    assert shown["x"] == list(SIZES)
    direct = [counts(sequential, "thinking", "standard", "rl", seed, 0) for seed in range(5)]
    assert shown["y"][0] == pytest.approx(np.mean(direct) / N)
    assert shown["ci"][0][0] < shown["y"][0] < shown["ci"][0][1]
    assert np.ptp(curves["filler", "baked_in", "rl"]["y"][1:]) < 0.1
    lines = questions.charts(answer)[1].lines
    assert [line.dashed for line in lines] == [True, True, False, False]
    build_report(sequential)
    page = (sequential / "report" / "index.html").read_text()
    for text in ("Accuracy by thinking budget: rl", "Slope against pass@1", "filler", "16 tokens"):
        assert text in page


@pytest.mark.parametrize("metric", ["pass_area", "thinking/8/pass_area"])
def test_areas_are_compared_with_both_exponents_beside(tmp_path, metric):
    answer = answer_of(asked(tmp_path, metric, slope=(0.2, 0.8)))
    assert answer["unit"].startswith("area under pass@k")
    assert answer["effect"] is not None
    row = next(r for r in answer["exponents"] if (r["arm"], r["stage"]) == ("baked_in", "sft"))
    if metric == "pass_area":
        path = tmp_path / "stages" / "eval-sft-baked_in-3" / "records.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        right, ks = [r["correct"] for r in lines if "n" in r], (1, 2, 4, 8, 16, 32, 64)
    else:
        right, ks = counts(tmp_path, "thinking", "baked_in", "sft", 3, 8), (1, 4, 16, 64)
    found = slopes.exponents(np.array(right), N, ks)
    assert row["tail"][3] == pytest.approx(found.tail.alpha)
    assert row["power"][3] == pytest.approx(found.power.b)
    assert row["power_residual"] >= np.abs(found.power.residuals_K).max() - 1e-12
    table = questions.tables(answer)[1]
    assert table.title == "How fast pass@k nears 1"
    assert f"{found.tail.alpha:.2f}" in table.rows[0][3]


def test_an_exponent_that_is_not_identified_says_why(tmp_path):
    never = LOGITS | {arm: dict.fromkeys(NEAR[arm], -60.0) for arm in NEAR}
    answer = answer_of(asked(tmp_path, "pass_area", logits=never, seeds=2))
    row = answer["exponents"][0]
    assert row["tail"] == [None, None]
    assert row["tail_mean"] is row["power_residual"] is None
    assert row["tail_reasons"] == ["every problem has 0 of 64 samples right"]
