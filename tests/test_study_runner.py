"""`bakein run` on a tiny study: what it leaves, what it skips, what a change runs again."""

import dataclasses
import itertools
import json
import shutil

import pytest
import tiny_study
from tiny_study import (
    ARMS,
    FILE,
    SEEDS,
    STAGES,
    differences,
    nodes,
    outcome,
    read_lines,
    stage_info,
)

from bakein.cli import main
from bakein.study.dag import Node
from bakein.study.shop import board_of


@pytest.fixture
def run(one_device, finished_run, tmp_path, capsys):
    """Runs the tiny study with overrides in a copy of the finished work directory."""
    workdir = tmp_path / "tiny"
    shutil.copytree(finished_run, workdir)

    def run(*arguments):
        before = {p: p.stat().st_mtime_ns for p in (workdir / "stages").glob("*/stage.json")}
        capsys.readouterr()
        code = main(["run", FILE, "--workdir", str(workdir), *arguments])
        after = {p: p.stat().st_mtime_ns for p in (workdir / "stages").glob("*/stage.json")}
        ran = [stage_info(p.parent) for p in after if after[p] != before.get(p)]
        return code, sorted((i["kind"], i["stage"], i["seed"]) for i in ran), capsys.readouterr()

    run.workdir = workdir
    return run


def test_the_run_reports_and_is_quiet_without_a_terminal(finished_run):
    assert (finished_run / "errors.txt").read_text() == ""
    output = (finished_run / "output.txt").read_text()
    assert output.startswith(f"24 of 24 stages to run in {finished_run}\n")
    assert "Q1" in output
    page = (finished_run / "report" / "index.html").read_text("utf-8")
    assert page.startswith("<!doctype html>") or page.startswith("<!DOCTYPE html>")
    results = json.loads((finished_run / "report" / "results.json").read_text())
    assert {(n["arm"], n["stage"], n["seed"]) for n in results["nodes"]} == set(nodes(finished_run))
    assert set(results["answers"]) == {"Q1", "Q2"}
    assert results["missing"] == []


def test_study_json_says_what_was_fixed_before_the_run(finished_run):
    study = json.loads((finished_run / "study.json").read_text())
    assert (study["study"], study["arms"], study["stages"]) == ("tiny", [*ARMS], [*STAGES])
    assert study["seeds"] == [*SEEDS]
    assert study["config"]["stages"]["sft"]["tokens"] == 900
    assert study["config"]["stages"]["rl"]["reward"].startswith("tiny_study.any_trace")
    assert study["k"] == [1, 2, 4]
    assert study["versions"]["jax"]
    assert study["questions"]["Q2"]["stages"] == [*STAGES]


def test_records_of_training_are_every_log_every_and_the_last(finished_run):
    for (_, stage, _), folder in nodes(finished_run).items():
        info, records = stage_info(folder), read_lines(folder / "records.jsonl")
        assert info["status"] == "finished"
        assert info["seconds"] > 0
        steps = [r["step"] for r in records if "heldout" not in r]
        if stage == "rl":
            assert steps == [1, 2, 3, 4, 5]
            continue
        last = info["steps"]
        assert steps == sorted({*range(2, last + 1, 2), last})
        for record in records:
            assert set(record) >= {"loss", "accuracy", "grad_norm", "learning_rate", "tokens"}
        assert records[-1]["tokens"] == sum(c["tokens"] for c in info["ledger"].values())


def test_the_rl_curve_has_its_first_point_every_other_and_its_last(finished_run):
    for arm in ARMS:
        records = read_lines(nodes(finished_run)[arm, "rl", 0] / "records.jsonl")
        curve = [r for r in records if "heldout" in r]
        assert [r["step"] for r in curve] == [0, 2, 4, 5]
        assert [r["samples"] for r in curve] == [0, 32, 64, 80]
        assert all(0 <= r["heldout"] <= 1 for r in curve)
        assert curve[0]["flops"] == 0
        assert all(a["flops"] < b["flops"] for a, b in itertools.pairwise(curve))
        updates = [r for r in records if "heldout" not in r]
        for record in updates:
            assert set(record) >= {
                "reward", "reward_std", "format", "truncation", "kl", "clip_fraction",
                "mismatch_mean", "mismatch_max", "grad_norm", "loss", "length", "samples",
                "sampled_tokens",
            }  # fmt: skip
            # The sampler and the learner compute the same thing in another order.
            assert 0 <= record["mismatch_mean"] <= record["mismatch_max"] < 1e-4
        assert updates[0]["kl"] == pytest.approx(0, abs=1e-9)  # the reference is the start
        assert updates[-1]["kl"] > 0
        info = stage_info(nodes(finished_run)[arm, "rl", 0])
        assert info["ledger"]["registers"]["tokens"] == curve[-1]["sampled_tokens"]
        assert info["samples"] == 80


def test_arms_spend_the_same_tokens_exactly(finished_run):
    budget = {"pretrain": 1600, "sft": 900}
    for (arm, stage, seed), folder in nodes(finished_run).items():
        if stage in budget:
            ledger = stage_info(folder)["ledger"]
            assert sum(c["tokens"] for c in ledger.values()) == budget[stage], (arm, stage, seed)
    share = {arm: stage_info(nodes(finished_run)[arm, "pretrain", 0])["ledger"] for arm in ARMS}
    assert share["standard"]["traces"]["tokens"] == 0
    assert share["baked_in"]["traces"]["tokens"] == pytest.approx(320, abs=20)


def test_evaluations_count_every_problem_and_fact(finished_run):
    for folder in nodes(finished_run).values():
        records = read_lines(tiny_study.evaluation(finished_run, folder) / "records.jsonl")
        problems = [r for r in records if "problem" in r]
        assert [r["problem"] for r in problems] == list(range(8))
        assert all(r["n"] == 4 and sum(r["answers"].values()) == 4 for r in problems)
        assert [r["fact"] for r in records if "fact" in r] == list(range(8))
    samples = read_lines(tiny_study.evaluation(finished_run, folder) / "samples.jsonl")
    assert {s["kind"] for s in samples} == {"greedy", "sample"}


def test_tensorboard_events_hold_the_records(finished_run):
    from tensorboardX.proto.event_pb2 import Event

    folder = nodes(finished_run)["baked_in", "sft", 1]
    (file,) = (finished_run / "tensorboard" / "baked_in.sft.1").glob("*tfevents*")
    raw, events, at = file.read_bytes(), [], 0
    while at < len(raw):  # TFRecord: length, its checksum, data, its checksum
        length = int.from_bytes(raw[at : at + 8], "little")
        events.append(Event.FromString(raw[at + 12 : at + 12 + length]))
        at += 16 + length
    losses = {e.step: v.simple_value for e in events for v in e.summary.value if v.tag == "loss"}
    expected = {r["step"]: r["loss"] for r in read_lines(folder / "records.jsonl")}
    assert losses == pytest.approx(expected)


def test_the_second_run_trains_nothing_and_says_so(run, finished_run):
    code, ran, printed = run()
    assert (code, ran) == (0, [])
    assert printed.out.startswith("nothing to run: all 24 stages")
    assert printed.err == ""
    report, again = (path / "report" / "results.json" for path in (finished_run, run.workdir))
    assert again.read_bytes() == report.read_bytes()


def test_a_dry_run_shows_the_tree_and_writes_nothing(run):
    shutil.rmtree(run.workdir)
    code, ran, printed = run("--dry-run")
    assert (code, ran) == (0, [])
    assert not run.workdir.exists()
    lines = printed.out.splitlines()
    assert [line.split()[0] for line in lines[:-1]] == ["standard", *STAGES, "baked_in", *STAGES]
    assert lines[-1].startswith("24 of 24 stages to run, 12 of them evaluations, ")


def test_an_arm_that_changes_rl_alone_shares_what_comes_before(run):
    _, _, printed = run("--dry-run", "--config.arms.baked_in.pretrain.data.share.traces=0.0")
    assert "pretrain               2 seeds, 2 done, 2 shared" in printed.out
    assert printed.out.splitlines()[-1].startswith("0 of 12 stages to run")


def test_a_changed_evaluation_runs_evaluations_only(run):
    code, ran, _ = run("--config.evaluation.samples=5", "--config.seeds=1")
    assert code == 0
    assert ran == [("eval", stage, 0) for stage in sorted(STAGES) for _ in ARMS]


def test_a_changed_reward_runs_rl_and_its_evaluation_only(run):
    code, ran, _ = run("--config.stages.rl.group=8", "--config.seeds=1")
    assert code == 0
    assert ran == [("eval", "rl", 0)] * 2 + [("rl", "rl", 0)] * 2


def test_a_work_directory_may_be_named_from_here(run, monkeypatch):
    monkeypatch.chdir(run.workdir.parent)
    shutil.rmtree(nodes(run.workdir)["standard", "sft", 0])
    code, ran, _ = run("--workdir", run.workdir.name)
    assert (code, ran) == (0, [("supervised", "sft", 0)])


def test_operational_keys_run_nothing(run):
    _, ran, _ = run("--config.stages.pretrain.save_every=3", "--config.stages.sft.prefetch=0")
    assert ran == []


def test_one_more_seed_trains_that_seed_only(run):
    _, _, printed = run("--dry-run", "--config.seeds=3")
    assert printed.out.splitlines()[-1].startswith("12 of 36 stages to run")


def test_another_study_with_the_same_stages_takes_them_over(run, finished_run, tmp_path, capsys):
    shutil.rmtree(nodes(run.workdir)["standard", "sft", 0])
    new = ("run", FILE, "--workdir", str(tmp_path / "new"), "--config.name=other")
    assert main([*new, "--reuse", str(run.workdir), "--dry-run"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"23 stages taken over from {run.workdir}"
    assert printed[-1].startswith("1 of 24 stages to run")
    assert not (tmp_path / "new").exists()
    assert main([*new, "--reuse", str(run.workdir)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"23 stages taken over from {run.workdir}"
    assert printed[1].startswith("1 of 24 stages to run")
    report, ours = (path / "report/results.json" for path in (finished_run, tmp_path / "new"))
    same, found = json.loads(report.read_text()), json.loads(ours.read_text())
    for results in (same, found):
        del results["sharing"], results["time"]  # in seconds, as those of the nodes
        for node in results["nodes"]:
            del node["seconds"]
    assert found == same | {"study": "other"}
    assert not list((tmp_path / "new" / "stages").glob(".*"))


def test_a_stage_that_is_only_begun_here_is_taken_over(run, finished_run, capsys):
    """As the dry run says."""
    begun = nodes(run.workdir)["standard", "pretrain", 0]
    info = json.loads((begun / "stage.json").read_text()) | {"status": "running"}
    (begun / "stage.json").write_text(json.dumps(info))
    shutil.rmtree(begun / "checkpoints")
    for dry in (["--dry-run"], []):
        command = ["run", FILE, "--workdir", str(run.workdir), "--reuse", str(finished_run), *dry]
        assert main(command) == 0
        assert capsys.readouterr().out.startswith(f"1 stages taken over from {finished_run}\n")
    assert differences(outcome(run.workdir), outcome(finished_run)) == []


def test_no_two_stages_share_a_board():
    """Names may hold what others would put between them."""
    node = Node("x", "supervised", "b-sft", 0, "a", "", None, "", "")
    other = dataclasses.replace(node, stage="sft", arm="a-b")
    assert board_of(node) == "a.b-sft.0"
    assert board_of(other) == "a-b.sft.0"
