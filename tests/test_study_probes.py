"""Probes end to end: every kind in one tiny study, what runs again, and what the report makes."""

import json
import shutil

import numpy as np
import pytest
import tiny_study
from tiny_study import ARMS, FILE, nodes, read_lines, stage_info

from bakein.analysis import passk
from bakein.cli import main
from bakein.report.records import read_study
from bakein.report.results import assemble
from bakein.study import base
from bakein.study.config import resolve
from bakein.study.dag import build_dag
from bakein.study.errors import ConfigError
from bakein.study.experiment import apply_overrides
from bakein.study.materials import Materials

STAGES = ("pretrain", "sft")
# Probe -> (the stages after which it is made, its variants).
PROBES = {
    "harder": (STAGES, ["harder"]),
    "budgets": (("sft",), [0, 3]),
    "longer": (("sft",), [3]),
    "best_of_n": (("sft",), [0]),
    "many_shot": (("sft",), [0, 2]),
}
SHARED = 2 * len(ARMS) * len(STAGES)  # training stages and evaluations
MADE = len(ARMS) * sum(len(stages) for stages, _ in PROBES.values())


def run_probes(workdir, *arguments):
    return main(
        ["run", f"{FILE}:probes", "--workdir", str(workdir), "--config.seeds=1", *arguments]
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    import jax

    workdir = tmp_path_factory.mktemp("probes")
    with pytest.MonkeyPatch.context() as patch:
        devices = jax.devices()
        patch.setattr(jax, "devices", lambda *_: devices[:1])
        assert run_probes(workdir) == 0
    return workdir


@pytest.fixture
def run(finished, tmp_path, one_device, capsys):
    """Runs in a copy of the finished work directory; returns what ran, and what was printed."""
    workdir = tmp_path / "copy"
    shutil.copytree(finished, workdir)

    def run(*arguments):
        before = {p: p.stat().st_mtime_ns for p in workdir.glob("stages/*/stage.json")}
        capsys.readouterr()
        assert run_probes(workdir, *arguments) == 0
        after = {p: p.stat().st_mtime_ns for p in workdir.glob("stages/*/stage.json")}
        ran = [stage_info(p.parent) for p in after if after[p] != before.get(p)]
        return sorted((i["kind"], i["stage"]) for i in ran), capsys.readouterr().out

    run.workdir = workdir
    return run


def probe_folder(workdir, name, arm, stage):
    study = json.loads((workdir / "study.json").read_text())
    train = nodes(workdir)[arm, stage, 0].name
    return workdir / "stages" / study["probes"][name]["nodes"][train]


def test_every_probe_is_made_where_it_is_asked_for(finished):
    study = json.loads((finished / "study.json").read_text())
    place = {folder.name: key for key, folder in nodes(finished).items()}
    assert list(study["probes"]) == list(PROBES)
    for name, (stages, variants) in PROBES.items():
        assert study["probes"][name]["k"] == [1, 4]
        made = {place[train][:2] for train in study["probes"][name]["nodes"]}
        assert made == {(arm, stage) for arm in ARMS for stage in stages}
        for arm, stage in made:
            folder = probe_folder(finished, name, arm, stage)
            info, records = stage_info(folder), read_lines(folder / "records.jsonl")
            assert (info["kind"], info["status"]) == ("probe", "finished")
            assert info["parents"] == [nodes(finished)[arm, stage, 0].name]
            assert [(r["variant"], r["problem"]) for r in records] == [
                (variant, problem) for variant in variants for problem in range(4)
            ]
            assert all(r["n"] == 4 == sum(r["answers"].values()) for r in records)
            assert all(("nll" in r) == (name == "many_shot") for r in records)
            samples = read_lines(folder / "samples.jsonl")
            assert {s["variant"] for s in samples} == {*variants}
    assert len(list(finished.glob("stages/*"))) == SHARED + MADE


def test_what_is_forced_is_in_the_samples(finished):
    def lines(name, variant):
        found = read_lines(probe_folder(finished, name, "baked_in", "sft") / "samples.jsonl")
        return [line for line in found if line["variant"] == variant]

    assert all(line["completion"].startswith("!") for line in lines("budgets", 0))
    for name in ("budgets", "longer"):
        assert all("!" in t or len(t) < 3 for t in (x["completion"] for x in lines(name, 3)))
    assert all(line["prompt"][0].isdigit() for line in lines("best_of_n", 0))
    for size in (0, 2):
        assert all(line["prompt"].count("!") == size for line in lines("many_shot", size))
        assert all(line["completion"].startswith("!") for line in lines("many_shot", size))


def test_problems_of_one_world_are_those_of_the_evaluation(finished):
    folder = tiny_study.evaluation(finished, nodes(finished)["standard", "sft", 0])
    asked = {r["problem"]: r["answer"] for r in read_lines(folder / "records.jsonl") if "n" in r}
    for name in ("budgets", "best_of_n"):
        records = read_lines(probe_folder(finished, name, "standard", "sft") / "records.jsonl")
        assert all(asked[r["problem"]] == r["answer"] for r in records)


def test_results_hold_the_metrics_of_every_probe_and_variant(finished):
    results = json.loads((finished / "report" / "results.json").read_text())
    found = {(n["arm"], n["stage"]): n["metrics"] for n in results["nodes"]}
    for name, (stages, variants) in PROBES.items():
        for arm, stage in found:
            own = [m for m in found[arm, stage] if m.startswith(f"{name}/")]
            assert bool(own) == (stage in stages)
            if stage not in stages:
                continue
            records = read_lines(probe_folder(finished, name, arm, stage) / "records.jsonl")
            for variant in variants:
                some = [r for r in records if r["variant"] == variant]
                correct = np.array([r["correct"] for r in some])
                expected = {
                    "accuracy": correct.mean() / 4,
                    "greedy": np.mean([r["greedy"] for r in some]),
                    "format": np.mean([r["format"] for r in some]) / 4,
                    "truncation": np.mean([r["truncated"] for r in some]) / 4,
                    "pass@4": passk.pass_at_k(correct, 4, 4).mean(),
                }
                if name == "many_shot":
                    expected["nll"] = np.mean([r["nll"] for r in some])
                for metric, value in expected.items():
                    assert found[arm, stage][f"{name}/{variant}/{metric}"] == pytest.approx(value)
    assert {"accuracy", "pass@4", "recall"} <= found["standard", "sft"].keys()
    assert results["answers"]["Q1"]["unit"] == "budgets/3/accuracy"
    assert [point["stage"] for point in results["answers"]["Q2"]["stages"]] == [*STAGES]
    assert results["contrasts"][0]["estimate"] is not None
    assert results["missing"] == []


def test_what_may_be_asked_is_what_is_measured(finished):
    """Every name is known before anything is trained, and none that is not measured."""
    results = json.loads((finished / "report" / "results.json").read_text())
    measured = next(
        n["metrics"] for n in results["nodes"] if (n["arm"], n["stage"]) == ("standard", "sft")
    )
    for metric in measured:
        if metric.count("/") < 2:
            continue
        config = tiny_study.get_config("probes")
        config.questions.Q1.metric = metric
        if "verified pass@" in metric:  # as of the evaluation: printed, not asked for
            with pytest.raises(ConfigError, match="metric of probe"):
                resolve(config)
        else:
            resolve(config)
    for name, (_, variants) in PROBES.items():
        for variant in variants:
            for metric in ("accuracy", "greedy", "verified", "format", "truncation", "pass@4"):
                assert f"{name}/{variant}/{metric}" in measured


def test_nothing_runs_twice(run):
    ran, printed = run()
    assert ran == []
    assert f"all {SHARED + MADE} stages" in printed


def test_a_changed_probe_runs_that_probe_alone(run):
    ran, _ = run("--config.probes.harder.samples=5")
    assert ran == [("probe", stage) for stage in sorted(STAGES) for _ in ARMS]


def test_one_more_stage_runs_there_alone_and_another_k_runs_nothing(run):
    ran, _ = run(
        "--config.probes.longer.stages=('pretrain','sft')", "--config.probes.harder.k=(1,2)"
    )
    assert ran == [("probe", "pretrain")] * 2
    results = json.loads((run.workdir / "report" / "results.json").read_text())
    node = next(n for n in results["nodes"] if n["stage"] == "pretrain")
    assert "longer/3/accuracy" in node["metrics"]
    assert "harder/harder/pass@2" in node["metrics"]
    assert "harder/harder/pass@4" not in node["metrics"]


def test_an_interrupted_probe_starts_again_and_ends_the_same(run, finished):
    for name, arm in (("many_shot", "baked_in"), ("longer", "standard")):
        folder = probe_folder(run.workdir, name, arm, "sft")
        info = stage_info(folder)
        (folder / "stage.json").write_text(json.dumps({**info, "status": "running"}))
        (folder / "records.jsonl").unlink()
    # The report knows nothing of the stage until it is measured.
    results = assemble(read_study(run.workdir))
    assert [(m["stage"], m["status"]) for m in results["missing"]] == [("sft", "not evaluated")] * 2
    ran, _ = run()
    assert ran == [("probe", "sft")] * 2
    for name, arm in (("many_shot", "baked_in"), ("longer", "standard")):
        for file in ("records.jsonl", "samples.jsonl"):
            there, before = (
                (probe_folder(path, name, arm, "sft") / file).read_bytes()
                for path in (run.workdir, finished)
            )
            assert there == before
    reports = [
        json.loads((path / "report" / "results.json").read_text())
        for path in (run.workdir, finished)
    ]
    for results in reports:
        del results["sharing"], results["time"]  # their seconds are those of the run
    assert reports[0] == reports[1]


def test_a_dry_run_lists_the_probes(run):
    _, printed = run("--dry-run", "--config.probes.many_shot.sizes=(0,2,4)")
    lines = {line.split()[1]: line for line in printed.splitlines() if line.startswith("probe ")}
    assert list(lines) == list(PROBES)
    assert "4 stages, 4 done, variants harder, 0.0e+00 FLOPs" in lines["harder"]
    assert "2 stages, 0 done, variants 0, 2, 4, " in lines["many_shot"]
    assert printed.splitlines()[-1].startswith(
        f"2 of {SHARED + MADE} stages to run, 2 of them eval"
    )


def test_arms_that_share_a_stage_share_its_probes():
    config = tiny_study.get_config("probes")
    config.arms.same = base.arm({"sft.z_loss": 0.1})
    study = resolve(apply_overrides(config, ["--config.seeds=1"]))
    dag = build_dag(study, Materials(study))
    pretrain, sft = ({dag.places[arm, s, 0] for arm in ("standard", "same")} for s in STAGES)
    assert len(pretrain & dag.probes["harder"].keys()) == 1
    assert len(sft & dag.probes["harder"].keys()) == 2
    names = [node.name for node in dag.nodes.values()]
    assert len(set(names)) == len(names)


def test_probes_do_not_change_what_there_was():
    """A study with probes has the training stages and evaluations of the one without."""
    config, plain = tiny_study.get_config("probes"), tiny_study.get_config()
    del plain.stages.rl
    plain.questions = base.study("x").questions
    dags = [build_dag(study, Materials(study)) for study in map(resolve, (plain, config))]
    assert dags[0].places == dags[1].places
    assert dags[0].evals == dags[1].evals
    assert dags[0].nodes.keys() < dags[1].nodes.keys()
