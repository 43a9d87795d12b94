"""Several runs of one study in one work directory, one of them killed: each stage is trained once.

Each run is a process of its own, forked from a server that has imported everything.
"""

import collections
import contextlib
import fcntl
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import types

import pytest
from test_walk import node
from tiny_study import FILE, differences, outcome, stage_info

from bakein.cli import main
from bakein.processes import Notice, Preempted
from bakein.study.errors import WorkdirError
from bakein.study.executors import local
from bakein.study.walk import walk
from bakein.study.workdir import Workdir

ONE_DEVICE = os.environ["XLA_FLAGS"].replace("device_count=8", "device_count=1")


def live(workdir, log, kill):
    """Runs the study, and dies after the `kill`-th time that it writes a stage.json (0: never)."""
    count = 0

    def on_event(event, arguments):
        nonlocal count
        if event == "os.rename" and str(arguments[1]).endswith("/stage.json"):
            with log.open("a") as file:
                file.write(f"{arguments[1]}\n")
            count += 1
            if count == kill:
                threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGKILL)).start()

    sys.addaudithook(on_event)
    os.environ["XLA_FLAGS"] = ONE_DEVICE  # the server may have been started for other tests
    with log.with_suffix(".output").open("w") as output, contextlib.redirect_stdout(output):
        sys.stderr = output
        code = main(["run", FILE, "--workdir", str(workdir)])
    os._exit(code)


def test_three_runs_share_a_work_directory_and_one_is_killed(finished_run, tmp_path):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bakein.cli", "bakein.study.runner", "bakein.report.build"])
    workdir = tmp_path / "run"
    shutil.copytree(finished_run, workdir)
    shutil.rmtree(workdir / "report")
    for path in (workdir / "stages").iterdir():
        if stage_info(path)["seed"] == 1:
            shutil.rmtree(path)
    logs = [tmp_path / f"{number}.log" for number in range(3)]
    arguments = [(workdir, log, kill) for log, kill in zip(logs, (0, 0, 3), strict=True)]
    lives = [context.Process(target=live, args=given) for given in arguments]
    lives[2].start()
    while not logs[2].exists():  # the one that is to die has its part, however slow it is
        assert lives[2].exitcode is None
        time.sleep(0.01)
    for life in lives[:2]:
        life.start()
    for life in lives:
        life.join()
    said = [log.with_suffix(".output").read_text() for log in logs]
    assert [life.exitcode for life in lives] == [0, 0, -signal.SIGKILL], said
    assert differences(outcome(workdir), outcome(finished_run)) == []
    assert all("/report/index.html" in text for text in said[:2])

    written = [collections.Counter(log.read_text().splitlines()) for log in logs]
    assert all(written)  # each had its part
    # Once when it begins, once when it is finished; what the dead had begun is begun once more.
    total = sum(written, collections.Counter())
    assert total == {path: 2 + (written[2][path] == 1) for path in total}
    assert len(total) == 12


@pytest.fixture
def workdir(tmp_path):
    workdir = Workdir(tmp_path / "run")
    workdir.prepare("tiny")
    return workdir


def test_a_claim_is_had_by_one(workdir):
    with workdir.claim("a") as first, workdir.claim("a") as second, workdir.claim("b") as other:
        assert (first, second, other) == (True, False, True)
    with workdir.claim("a") as again:
        assert again


CLAIM = """
import sys, time
from bakein.study.workdir import Workdir
with Workdir(sys.argv[1]).claim("a") as claimed:
    print(claimed, flush=True)
    time.sleep(60)
"""


def test_a_claim_ends_with_its_process(workdir):
    command = [sys.executable, "-c", CLAIM, workdir.path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "True\n"
        with workdir.claim("a") as claimed:
            assert not claimed
        threading.Timer(0.1, process.kill).start()
        with workdir.claim("a", wait=True) as claimed:
            assert claimed
            assert process.wait() == -signal.SIGKILL


def test_who_waits_for_the_stage_of_another_leaves_when_asked_to(workdir, monkeypatch):
    monkeypatch.setattr(local, "work_of", lambda node, shop: 1.0)
    notice, held = Notice(None), contextlib.ExitStack()
    done = threading.Timer(5.0, held.close)  # long after it should have left
    shop = types.SimpleNamespace(
        workdir=workdir,
        preempted=notice,
        side_by_side=False,
        folder=lambda id: types.SimpleNamespace(finished=True),
    )
    executor = local.LocalExecutor(shop, types.SimpleNamespace(finish=lambda *_: None))

    def ask(line):
        assert line == "all stages that are left wait for those that other processes run"
        done.start()
        os.kill(os.getpid(), signal.SIGTERM)

    assert held.enter_context(workdir.claim("a"))
    with held, notice.listening(), pytest.raises(Preempted):
        walk([node("a")], executor, ask, patience=0.01)
    done.cancel()


def test_study_json_is_written_by_who_is_alone_and_is_the_same_for_all(workdir):
    saved = []
    asked = {"questions": {}, "contrasts": [], "seeds": [0], "bootstrap": {}, "verdict_rules": ""}
    record = {"study": "tiny", "config": {"seeds": 2, "k": (1, 2)}, "arms": ["a"], **asked}
    path = workdir.path / "study.json"
    with workdir.open(record, saved.append), workdir.open(record, saved.append):
        assert saved == [workdir.path]
        written = {**record, "config": {"seeds": 2, "k": [1, 2]}, "named_first": asked}
        assert json.loads(path.read_text()) == written
        other = {"study": "tiny", "config": {"seeds": 3, "k": (1, 2)}, "git": "c0ffee", **asked}
        with (
            pytest.raises(WorkdirError, match=r"differs in config\.seeds, arms, git$"),
            workdir.open(other, saved.append),
        ):
            pass
    with workdir.open(other, saved.append):
        assert json.loads(path.read_text())["git"] == "c0ffee"
    assert len(saved) == 2


def test_what_was_asked_first_is_kept_once_a_stage_has_begun(workdir):
    record = {"contrasts": [], "seeds": [0], "bootstrap": {}, "verdict_rules": "rules"}

    def ask(question):
        with workdir.open({**record, "questions": {"Q1": question}}, lambda _: None):
            written = json.loads((workdir.path / "study.json").read_text())
        assert written["questions"]["Q1"] == question
        return written["named_first"]["questions"]["Q1"]

    assert ask("is it?") == "is it?"
    assert ask("is it so?") == "is it so?", "nothing is known yet"
    workdir.stage("a", "a").create()
    workdir.stage("a", "a").write_info({"status": "running"})
    assert ask("is it by 0.1?") == "is it so?"
    assert ask("is it so?") == "is it so?"


def test_a_file_system_without_locks_is_named(workdir, monkeypatch):
    def flock(file, kind):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with (
        pytest.raises(WorkdirError, match=r"no locks \(No locks available\); give a --workdir"),
        workdir.claim("a"),
    ):
        pass
