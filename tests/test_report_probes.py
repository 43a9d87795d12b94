"""Probes in the report: their metrics, questions about them, and broken records."""

import json

import numpy as np
import pytest
from test_report_synthetic import write_json, write_lines, write_study

from bakein.analysis import passk
from bakein.report.build import build_report
from bakein.report.plots import draw
from bakein.report.records import read_study
from bakein.report.results import assemble

STAGES = ("sft", "rl")
VARIANTS = (0, 8)
N = 8


def add_probe(workdir, *, nll=False):
    """A probe after SFT and RL, in which baked_in is much better, and likelier to be led astray."""
    rng = np.random.default_rng(5)
    path = workdir / "study.json"
    study = json.loads(path.read_text())
    made = {}
    for node in study["nodes"]:
        if node["stage"] not in STAGES:
            continue
        id = made[node["id"]] = f"probe-{node['id']}"
        info = {"id": id, "kind": "probe", "status": "finished", "parents": [node["id"]]}
        info |= {"made_by": [], "flops": 1e9, "seconds": 1.0} | {
            key: node[key] for key in ("stage", "seed")
        }
        write_json(workdir / "stages" / id / "stage.json", info)
        better = node["arm"] == "baked_in"
        records = []
        for variant in VARIANTS:
            for problem in range(10):
                correct = int(rng.binomial(N, 0.8 if better and variant else 0.2))
                record = {
                    "variant": variant,
                    "problem": problem,
                    "level": 1 + problem % 2,
                    "n": N,
                    "correct": correct,
                    "verified": correct // 2,
                    "format": N,
                    "truncated": 0,
                    "greedy": int(correct > N // 2),
                    "greedy_format": 1,
                    "answer": "a",
                    "answers": {"a": correct, "b": N - correct},
                }
                if nll:
                    record["nll"] = float(rng.normal(5 if better else 30, 0.5))
                records.append(record)
        write_lines(workdir / "stages" / id / "records.jsonl", records)
    study["probes"] = {"budgets": {"k": [1, 4], "nodes": made}}
    path.write_text(json.dumps(study))


def plots(workdir):
    results = build_report(workdir)
    return {plot.title: plot for plot in draw(results)}


def test_a_probe_of_several_variants_is_drawn_over_their_numbers(workdir):
    plot = plots(workdir)["Probe: budgets"]
    assert plot.svg.count(">variant<") == 2  # a panel for each stage it is made after
    assert "of at least one of 4 (dashed)" in plot.caption
    for said in (">standard<", ">baked_in<", ">sft<", ">rl<", ">8<"):
        assert said in plot.svg
    assert ">pretrain<" not in plot.svg
    page = (workdir / "report" / "index.html").read_text()
    assert "Probe: budgets" in page


def test_a_probe_of_one_variant_is_drawn_over_k_and_one_number_is_not_drawn(workdir):
    for path in workdir.glob("stages/probe-*/records.jsonl"):
        records = [json.loads(line) for line in path.read_text().splitlines()]
        write_lines(path, [record for record in records if record["variant"] == 8])
    plot = plots(workdir)["Probe: budgets"]
    assert plot.svg.count(">k<") == 2
    assert "at least one of k" in plot.caption
    study = json.loads((workdir / "study.json").read_text())
    study["probes"]["budgets"]["k"] = [1]
    (workdir / "study.json").write_text(json.dumps(study))
    assert "Probe: budgets" not in plots(workdir)


def edit(path, change):
    write_lines(path, [change(json.loads(line)) for line in path.read_text().splitlines()])


def ask(workdir, **changes):
    path = workdir / "study.json"
    study = json.loads(path.read_text())
    for name, change in changes.items():
        study["questions"][name] |= change
    path.write_text(json.dumps(study))
    return assemble(read_study(workdir))["answers"]


@pytest.fixture
def workdir(tmp_path):
    write_study(tmp_path, seeds=3, problems=6)
    add_probe(tmp_path)
    return tmp_path


def test_metrics_of_a_variant_are_those_of_its_records(workdir):
    results = assemble(read_study(workdir))
    metrics = {n["id"]: n["metrics"] for n in results["nodes"]}
    path = workdir / "stages" / "probe-rl-baked_in-1" / "records.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for variant in VARIANTS:
        own = [r for r in records if r["variant"] == variant]
        correct = np.array([r["correct"] for r in own])
        expected = {
            "accuracy": correct.mean() / N,
            "verified": np.mean([r["verified"] for r in own]) / N,
            "greedy": np.mean([r["greedy"] for r in own]),
            "format": 1.0,
            "truncation": 0.0,
            "pass@1": correct.mean() / N,
            "pass@4": passk.pass_at_k(correct, N, 4).mean(),
            "accuracy/2": correct[1::2].mean() / N,
        }
        for name, value in expected.items():
            found = metrics["rl-baked_in-1"][f"budgets/{variant}/{name}"]
            assert found == pytest.approx(value)
    assert not any(name.startswith("budgets/") for name in metrics["pretrain-baked_in-1"])
    assert not any("/nll" in name or "/recall" in name for name in metrics["rl-baked_in-1"])
    rows = [r for r in results["summary"] if r["metric"] == "budgets/8/accuracy"]
    assert {(row["arm"], row["stage"]) for row in rows} == {
        (arm, stage) for arm in ("standard", "baked_in", "wrong_traces") for stage in STAGES
    }
    assert all(0 <= row["ci"][0] <= row["mean"] <= row["ci"][1] <= 1 for row in rows)


def test_what_the_frozen_evaluation_measured_does_not_change(workdir, tmp_path):
    plain = tmp_path / "plain"
    write_study(plain, seeds=3, problems=6)
    without, with_probe = assemble(read_study(plain)), assemble(read_study(workdir))
    for node, other in zip(without["nodes"], with_probe["nodes"], strict=True):
        assert node["metrics"].items() <= other["metrics"].items()
    assert without["answers"] == with_probe["answers"]
    assert without["curves"] == with_probe["curves"]


def test_a_question_about_a_probe_is_answered_from_it(workdir):
    answers = ask(workdir, Q1={"metric": "budgets/8/accuracy"})
    assert answers["Q1"]["verdict"] == "better"
    assert answers["Q1"]["effect"] == pytest.approx(0.6, abs=0.12)
    assert "budgets/8/accuracy" in answers["Q1"]["sentence"]
    answers = ask(workdir, Q1={"metric": "budgets/0/accuracy"})
    assert abs(answers["Q1"]["effect"]) < 0.12


def test_a_gap_over_stages_can_be_a_probes(workdir):
    gap = {"stages": ["sft", "rl"], "metric": "budgets/8/accuracy"}
    answer = ask(workdir, Q2=gap)["Q2"]
    assert answer["unit"] == "logit of budgets/8/accuracy"
    assert answer["verdict"] in ("persists", "amplified")
    logit = np.log(0.8 / 0.2)
    assert all(p["delta"] == pytest.approx(2 * logit, abs=0.7) for p in answer["stages"])
    assert abs(ask(workdir, Q2=gap | {"metric": "budgets/0/greedy"})["Q2"]["effect"]) < 1.5


def test_a_likelihood_is_no_share(tmp_path):
    write_study(tmp_path, seeds=3, problems=6)
    add_probe(tmp_path, nll=True)
    answer = ask(tmp_path, Q1={"metric": "budgets/8/nll", "epsilon": 1.0})["Q1"]
    assert answer["verdict"] == "worse"  # as for every metric, by its sign: smaller
    assert answer["effect"] == pytest.approx(-25, abs=1)
    low, high = answer["ci"]
    assert low < answer["effect"] < high < -20
    rows = [r for r in assemble(read_study(tmp_path))["summary"] if r["metric"].endswith("/nll")]
    assert {row["arm"] for row in rows} == {"standard", "baked_in", "wrong_traces"}
    assert all(row["ci"][0] < row["mean"] < row["ci"][1] for row in rows)


def test_a_stage_whose_probe_is_missing_is_not_evaluated(workdir):
    folder = workdir / "stages" / "probe-rl-baked_in-1"
    info = json.loads((folder / "stage.json").read_text())
    (folder / "stage.json").write_text(json.dumps({**info, "status": "running"}))
    study = read_study(workdir)
    assert study.status("rl-baked_in-1") == "not evaluated"
    assert study.evaluation("rl-baked_in-1") is None
    assert study.evaluation("rl-baked_in-0") is not None
    results = assemble(study)
    assert [row["id"] for row in results["missing"]] == ["rl-baked_in-1"]
    assert ask(workdir, Q1={"metric": "budgets/8/accuracy"})["Q1"]["seeds"] == 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda r: {**r, "n": 9} if r["problem"] == 3 else r, "must be equal"),
        (lambda r: {**r, "level": 9} if r["problem"] == 3 else r, "differ from"),
        (lambda r: {**r, "nll": 1.0}, "differ from"),
        (lambda r: {**r, "variant": 5}, "without any problem"),
    ],
)
def test_a_probe_that_is_not_the_frozen_one_is_named(workdir, change, says):
    edit(workdir / "stages" / "probe-rl-baked_in-1" / "records.jsonl", change)
    with pytest.raises(ValueError, match=f"probe-rl-baked_in-1.*{says}"):
        assemble(read_study(workdir))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda r: {k: v for k, v in r.items() if k != "variant"}, "'variant' is missing"),
        (lambda r: {k: v for k, v in r.items() if k != "problem"}, "'problem' is missing"),
        (lambda r: {**r, "correct": 9}, "'correct' must be between 0 and 8"),
        (lambda r: {**r, "nll": -1.0}, "'nll' must be at least 0"),
        (lambda r: {**r, "nll": None}, "'nll' must be a number"),
    ],
)
def test_a_broken_probe_record_names_file_and_line(workdir, change, says):
    path = workdir / "stages" / "probe-rl-baked_in-1" / "records.jsonl"
    edit(path, change)
    with pytest.raises(ValueError, match=says) as caught:
        read_study(workdir)
    assert f"{path}:1:" in str(caught.value)
