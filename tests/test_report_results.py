"""results.json: the contract, known effects recovered, half-finished and single-seed studies."""

import json
import shutil

import numpy as np
import pytest
from test_report_synthetic import LOGITS, write_study

from bakein.analysis import passk, rl_curve, verdicts
from bakein.analysis.bootstrap import Interval
from bakein.report.build import build_report
from bakein.report.judges import sentences
from bakein.report.records import read_study
from bakein.report.results import assemble
from bakein.report.terminal import terminal_summary

VERDICTS = {str(v) for kind in (verdicts.Comparison, verdicts.Persistence) for v in kind}
NUMBER = (int, float)
MAYBE = (int, float, type(None))
SCHEMA = {
    "nodes": {
        "id": str,
        "arm": str,
        "stage": str,
        "seed": int,
        "parents": list,
        "metrics": dict,
        "tokens": dict,
        "flops": NUMBER,
        "seconds": NUMBER,
    },
    "contrasts": {
        "name": str,
        "treated": str,
        "control": str,
        "stage": str,
        "metric": str,
        "estimate": MAYBE,
        "ci": (list, type(None)),
        "mde": MAYBE,
        "seeds": int,
        "verdict": str,
    },
    "curves": {
        "name": str,
        "arm": str,
        "stage": str,
        "x": list,
        "y": list,
        "ci": (list, type(None)),
        "fit": dict,
    },
}


def check_contract(results):
    """The contract of results.json, on what is really written: JSON without NaN."""
    text = json.dumps(results, allow_nan=False)
    assert json.loads(text) == results, "plain JSON values only"
    assert isinstance(results["study"], str)
    for table, fields in SCHEMA.items():
        for row in results[table]:
            for key, kind in fields.items():
                assert isinstance(row[key], kind), (table, key, row[key])
    for node in results["nodes"]:
        metrics = node["metrics"]
        for name in ("accuracy", "greedy", "format", "truncation", "verified", "recall"):
            assert 0 <= metrics[name] <= 1
        assert {f"pass@{k}" for k in results["k"]} < metrics.keys()
        assert any(name.startswith("accuracy/") for name in metrics)
    for row in [*results["contrasts"], *results["answers"].values()]:
        assert row["verdict"] in VERDICTS
        if row["ci"] is not None:
            assert row["ci"][0] <= row["ci"][1]
    for answer in results["answers"].values():
        assert answer["sentence"].endswith(".")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("whole")
    write_study(workdir)
    return workdir


@pytest.fixture(scope="module")
def results(whole):
    return assemble(read_study(whole))


def copy(workdir, tmp_path):
    return shutil.copytree(workdir, tmp_path / "copy")


def test_results_keep_the_contract(results):
    check_contract(results)
    assert len(results["nodes"]) == 3 * 4 * 5
    assert results["missing"] == []
    assert not results["rules_changed"]


def test_metrics_are_those_of_the_records(whole, results):
    path = whole / "stages" / "eval-rl-baked_in-2" / "records.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    problems = [r for r in records if "problem" in r]
    facts = [r for r in records if "fact" in r]
    node = next(n for n in results["nodes"] if n["id"] == "rl-baked_in-2")
    correct = np.array([r["correct"] for r in problems])
    mean = {key: np.mean([r[key] for r in problems]) for key in ("format", "truncated", "greedy")}
    assert (
        node["metrics"]
        | {
            "accuracy": pytest.approx(correct.mean() / 16),
            "pass@4": pytest.approx(passk.pass_at_k(correct, 16, 4).mean()),
            "format": pytest.approx(mean["format"] / 16),
            "truncation": pytest.approx(mean["truncated"] / 16),
            "greedy": pytest.approx(mean["greedy"]),
            "recall": pytest.approx(np.mean([r["recalled"] for r in facts])),
            "accuracy/2": pytest.approx(
                np.mean([r["correct"] / 16 for r in problems if r["level"] == 2])
            ),
        }
        == node["metrics"]
    )
    assert node["tokens"] == {"rollouts": 76_800}
    assert 0 <= node["metrics"]["maj@8"] <= 1


def test_known_effects_get_the_right_verdicts(results):
    first, second = results["answers"]["Q1"], results["answers"]["Q2"]
    assert first["verdict"] == "better"
    assert first["ci"][0] > 0
    assert "higher accuracy" in first["sentence"]
    assert second["verdict"] in ("persists", "amplified")
    for point in second["stages"]:
        true = LOGITS["baked_in"][point["stage"]] - LOGITS["standard"][point["stage"]]
        assert point["delta"] == pytest.approx(true, abs=0.6)  # smoothing pulls towards 0
    by_name = {row["name"]: row for row in results["contrasts"]}
    assert by_name["wrong_traces vs standard after rl"]["verdict"] in ("equivalent", "underpowered")


def test_every_verdict_follows_from_its_interval(results):
    rows = results["contrasts"] + [results["answers"]["Q1"]]
    for row in rows:
        low, high = row["ci"]
        inside = -row["epsilon"] < low and high < row["epsilon"]
        expected = (
            "better"
            if low > 0
            else "worse"
            if high < 0
            else "equivalent"
            if inside
            else "underpowered"
        )
        assert row["verdict"] == expected


def test_a_question_keeps_its_power_however_many_contrasts_are_named(results):
    assert results["answers"]["Q1"]["level"] == 0.95
    asked = next(r for r in results["contrasts"] if r["name"] == "baked_in vs standard after rl")
    assert (asked["verdict"], asked["ci"]) == (
        results["answers"]["Q1"]["verdict"],
        results["answers"]["Q1"]["ci"],
    )
    others = [row for row in results["contrasts"] if row is not asked]
    assert all(row["level"] > 0.95 for row in others)
    assert all(row["p_holm"] >= row["p"] for row in others)


def test_arms_swapped_give_the_opposite(whole, tmp_path):
    workdir = copy(whole, tmp_path)
    info = json.loads((workdir / "study.json").read_text())
    for question in info["questions"].values():
        question |= {"treated": question["control"], "control": question["treated"]}
    (workdir / "study.json").write_text(json.dumps(info))
    answers = assemble(read_study(workdir))["answers"]
    assert (answers["Q1"]["verdict"], answers["Q2"]["verdict"]) == ("worse", "reversed")
    assert "standard is behind baked_in after rl." in answers["Q2"]["sentence"]
    assert "not established in the first place" in answers["Q2"]["sentence"]


def test_curves_hold_every_seed_and_their_bands(results):
    for curve in results["curves"]:
        assert len(curve["x"]) == len(curve["y"]) == len(curve["ci"])
        assert list(curve["seeds"]) == ["0", "1", "2", "3", "4"]
        np.testing.assert_allclose(curve["y"], np.mean(list(curve["seeds"].values()), axis=0))
        assert all(low <= y <= high for y, (low, high) in zip(curve["y"], curve["ci"], strict=True))
    rl = {(c["arm"], c["stage"]): c for c in results["curves"] if c["name"] == "rl"}
    assert set(rl) == {(arm, stage) for arm in LOGITS for stage in ("rl", "rl_from_base")}
    fit = rl["baked_in", "rl"]["fit"]
    assert (fit["reached"], fit["samples_to_control"]) == (True, 0)
    assert rl["standard", "rl"]["fit"]["multiplier"] == pytest.approx(1)


def test_matching_compares_with_the_control(results):
    rows = {(row["stage"], row["arm"]): row for row in results["matching"]}
    treated = rows["pretrain", "baked_in"]
    assert treated["difference"] == {"samples": 0, "tokens": 0, "flops": 0}
    assert treated["sources"] == {"filler": 30_000, "facts": 10_000, "traces": 20_000}
    assert rows["rl", "standard"]["tokens"] == 76_800


def test_documents_that_were_left_out_are_told(whole, tmp_path):
    workdir = copy(whole, tmp_path)
    for path in (workdir / "stages").glob("sft-baked_in-*/stage.json"):
        info = json.loads(path.read_text())
        info["ledger"]["filler"]["skipped"] = 1200
        path.write_text(json.dumps(info))
    results = build_report(workdir)
    skipped = {(row["stage"], row["arm"]): row["skipped"] for row in results["matching"]}
    assert skipped.pop(("sft", "baked_in")) == 1200
    assert set(skipped.values()) == {0}
    page = (workdir / "report" / "index.html").read_text()
    assert page.count("documents of baked_in were longer than a row, and left out.") == 1


def test_a_node_that_arms_share_counts_for_each(tmp_path):
    write_study(tmp_path, seeds=2, problems=6, shared=("pretrain", "sft"))
    results = assemble(read_study(tmp_path))
    check_contract(results)
    pretrain = [n for n in results["nodes"] if n["stage"] == "pretrain" and n["seed"] == 0]
    assert [n["arm"] for n in pretrain] == ["standard", "baked_in", "wrong_traces"]
    assert len({n["id"] for n in pretrain}) == 1
    for row in results["contrasts"]:
        if row["stage"] == "pretrain":
            assert (row["estimate"], row["verdict"]) == (0, "equivalent")


def test_a_single_seed_decides_nothing(tmp_path):
    write_study(tmp_path, seeds=1, problems=8)
    results = assemble(read_study(tmp_path))
    check_contract(results)
    for row in [*results["contrasts"], *results["answers"].values()]:
        assert (row["verdict"], row["ci"], row["mde"]) == ("underpowered", None, None)
        assert row["seeds"] == 1
    assert "One seed cannot decide" in results["answers"]["Q1"]["sentence"]
    assert {p["verdict"] for p in results["answers"]["Q2"]["stages"]} <= {"", "underpowered"}
    assert all(row["ci"] is None for row in results["summary"] + results["curves"])


def test_an_undecided_study_says_what_it_would_take(tmp_path):
    near = {arm: {**LOGITS["standard"], "rl": -0.4 + 0.35 * (arm == "baked_in")} for arm in LOGITS}
    write_study(tmp_path, seeds=3, problems=12, logits=near)
    answer = assemble(read_study(tmp_path))["answers"]["Q1"]
    assert answer["verdict"] == "underpowered"
    assert answer["sentence"].startswith("Undecided")
    assert "more seeds" in answer["sentence"]
    assert answer["mde"] > abs(answer["effect"])


def test_little_of_what_is_not_wanted_is_no_sign_of_too_hard_an_evaluation():
    row = {"treated": "a", "control": "b", "stage": "rl", "epsilon": 0.02}
    same = Interval(0.0, -0.1, 0.1, 0.95, 5, 0.03, 0.0)

    def said(metric):
        row["metric"] = metric
        return sentences.comparison(row, "underpowered", same, (0.001, 0.001))

    assert "too hard" in said("accuracy")
    assert said("truncation").startswith("Undecided")
    assert said("budgets/slope").startswith("Undecided")


def test_equality_at_the_floor_is_not_sold_as_a_finding(tmp_path):
    floor = {arm: dict.fromkeys(stages, -12.0) for arm, stages in LOGITS.items()}
    write_study(tmp_path, seeds=3, problems=8, logits=floor)
    results = assemble(read_study(tmp_path))
    answer = results["answers"]["Q1"]
    assert answer["verdict"] == "underpowered"
    assert "too hard for these models to show a difference" in answer["sentence"]
    assert results["answers"]["Q2"]["verdict"] == "underpowered"
    # 24 problems, none ever solved: an accuracy of 0.14 would show so in 1 of 40 studies
    high = 1 - 0.025 ** (1 / 24)
    assert answer["ci"] == pytest.approx([-high, high])
    assert answer["mde"] > high
    assert all(
        row["ci"] == [0, pytest.approx(high)]
        for row in results["summary"]
        if row["metric"] == "accuracy"
    )


def test_a_half_finished_study_reports_what_is_there(whole, tmp_path):
    workdir = copy(whole, tmp_path)
    for folder in (workdir / "stages").glob("*rl-baked_in-*"):
        shutil.rmtree(folder)
    shutil.rmtree(workdir / "stages" / "eval-sft-baked_in-4")
    results = assemble(read_study(workdir))
    check_contract(results)
    statuses = {(m["stage"], m["seed"]): m["status"] for m in results["missing"]}
    assert statuses[("rl", 0)] == "not started"
    assert statuses[("sft", 4)] == "not evaluated"
    assert len(results["nodes"]) + len(results["missing"]) == 60
    assert results["answers"]["Q1"]["verdict"] == "underpowered"
    assert results["answers"]["Q1"]["sentence"].startswith("Not measured yet")
    assert [p["stage"] for p in results["answers"]["Q2"]["stages"]] == ["pretrain", "sft"]
    sft = next(r for r in results["contrasts"] if r["name"] == "baked_in vs standard after sft")
    assert sft["seeds"] == 4


def test_arms_are_paired_by_the_seeds_that_both_have(whole, results, tmp_path):
    workdir = copy(whole, tmp_path)
    shutil.rmtree(workdir / "stages" / "eval-rl-baked_in-0")
    shutil.rmtree(workdir / "stages" / "eval-rl-standard-4")
    found = assemble(read_study(workdir))["answers"]
    accuracy = {n["id"]: n["metrics"]["accuracy"] for n in results["nodes"]}
    expected = [accuracy[f"rl-baked_in-{s}"] - accuracy[f"rl-standard-{s}"] for s in (1, 2, 3)]
    assert found["Q1"]["seeds"] == found["Q2"]["seeds"] == 3
    assert found["Q1"]["effect"] == pytest.approx(np.mean(expected))


def test_a_study_that_has_only_begun_is_a_report_too(whole, tmp_path):
    workdir = copy(whole, tmp_path)
    shutil.rmtree(workdir / "stages")
    results = assemble(read_study(workdir))
    check_contract(results)
    assert results["nodes"] == []
    assert len(results["missing"]) == 60


def rewrite(path, change):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(change(line)) + "\n" for line in lines))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: {**r, "level": 9} if r.get("problem") == 3 else r, "differ from"),
        (lambda r: {**r, "n": 17} if r.get("problem") == 3 else r, "must be equal"),
        (lambda r: {"fact": 0, "recalled": 1}, "without any problem"),
    ],
)
def test_an_evaluation_that_is_not_the_frozen_one_is_an_error(whole, tmp_path, change, message):
    workdir = copy(whole, tmp_path)
    rewrite(workdir / "stages" / "eval-rl-standard-3" / "records.jsonl", change)
    with pytest.raises(ValueError, match=f"eval-rl-standard-3.*{message}"):
        assemble(read_study(workdir))


def test_rl_curves_on_different_grids_are_an_error(whole, tmp_path):
    workdir = copy(whole, tmp_path)
    rewrite(
        workdir / "stages" / "rl-standard-3" / "records.jsonl",
        lambda r: {**r, "step": r["step"] * 2},
    )
    with pytest.raises(ValueError, match="differ in their steps"):
        assemble(read_study(workdir))


def test_areas_are_over_the_samples_that_all_curves_have(whole, tmp_path):
    """A seed that drew more groups on the same curve over log₂ C has not learnt any faster."""
    workdir = copy(whole, tmp_path)
    before = assemble(read_study(workdir))
    path = workdir / "stages" / "rl-standard-3" / "records.jsonl"
    rewrite(path, lambda r: {**r, "samples": r["samples"] + 64 * (r["step"] > 0)})
    after = assemble(read_study(workdir))

    def area(results, seed):
        metrics = {n["id"]: n["metrics"] for n in results["nodes"]}
        return metrics[f"rl-standard-{seed}"]["rl_area"]

    def points(seed):
        path = workdir / "stages" / f"rl-standard-{seed}" / "records.jsonl"
        found = [r for r in map(json.loads, path.read_text().splitlines()) if "heldout" in r]
        return [p["samples"] for p in found], [p["heldout"] for p in found]

    shared = points(3)[0][1], points(2)[0][-1]
    for seed in (2, 3):
        assert area(after, seed) == pytest.approx(rl_curve.aurc(*points(seed), shared))
        assert area(after, seed) != area(before, seed)
    curve = next(c for c in after["curves"] if (c["name"], c["arm"]) == ("rl", "standard"))
    assert curve["x"] == [x and x - 64 + 64 / len(after["seeds"]) for x in points(3)[0]]


def test_rl_curves_that_do_not_begin_at_zero_are_an_error(whole, tmp_path):
    workdir = copy(whole, tmp_path)
    for path in (workdir / "stages").glob("rl-standard-*/records.jsonl"):
        rewrite(path, lambda r: {**r, "samples": r["samples"] + 1})
    with pytest.raises(ValueError, match="of standard after rl: 'samples' must begin with 0"):
        assemble(read_study(workdir))


def test_an_unmeasured_metric_is_named(whole, tmp_path):
    workdir = copy(whole, tmp_path)
    info = json.loads((workdir / "study.json").read_text())
    info["questions"]["Q1"]["metric"] = "acuracy"
    (workdir / "study.json").write_text(json.dumps(info))
    with pytest.raises(ValueError, match="'acuracy' of baked_in after rl was not measured"):
        assemble(read_study(workdir))


def test_completions_without_an_answer_have_no_vote(whole, tmp_path):
    workdir = copy(whole, tmp_path)
    rewrite(
        workdir / "stages" / "eval-rl-standard-0" / "records.jsonl",
        lambda r: {**r, "answers": {"": 16}} if r.get("correct") else r,
    )
    nodes = {n["id"]: n["metrics"] for n in assemble(read_study(workdir))["nodes"]}
    assert nodes["rl-standard-0"]["maj@8"] == 0
    assert "maj@8" in nodes["rl-baked_in-0"]


def test_other_rules_than_todays_are_told(whole, tmp_path):
    workdir = copy(whole, tmp_path)
    info = json.loads((workdir / "study.json").read_text())
    info["named_first"]["verdict_rules"] = "older rules"
    (workdir / "study.json").write_text(json.dumps(info))
    assert assemble(read_study(workdir))["rules_changed"]


def test_what_was_asked_after_the_first_stage_had_begun_is_told(whole, tmp_path):
    workdir = copy(whole, tmp_path)
    info = json.loads((workdir / "study.json").read_text())
    info["questions"]["Q1"]["epsilon"] *= 2
    info["contrasts"][0]["epsilon"] *= 2
    del info["named_first"]["contrasts"][1]
    info["named_first"]["seeds"] = info["seeds"][1:]
    (workdir / "study.json").write_text(json.dumps(info))
    results = build_report(workdir)
    names = [row["name"] for row in info["contrasts"][:2]]
    late = {"questions": ["Q1"], "contrasts": names, "seeds": info["seeds"][:1], "bootstrap": False}
    assert results["named_late"] == late
    told = f"begun: Q1, contrast {names[0]}, contrast {names[1]}, seeds {info['seeds'][0]}."
    page = (workdir / "report" / "index.html").read_text("utf-8")
    assert told in page
    assert page.count("Asked or changed after the first stage had been begun. By its rule") == 1
    assert page.count("By the rule fixed before the run") == len(info["questions"]) - 1
    assert told in " ".join(terminal_summary(results, workdir / "report").split())


def test_all_that_made_a_study_is_told_not_the_last_alone(whole, tmp_path):
    workdir = copy(whole, tmp_path)
    path = next((workdir / "stages").glob("*/stage.json"))
    info = json.loads(path.read_text())
    info["made_by"].append({**info["made_by"][0], "device": "a GPU", "git": None})
    path.write_text(json.dumps(info))
    build_report(workdir)
    page = (workdir / "report" / "index.html").read_text("utf-8")
    assert "; a GPU (1 session)" in page
    assert "; none (1 session)" in page
