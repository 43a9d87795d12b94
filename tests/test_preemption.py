"""SIGTERM to one process: it saves, leaves with exit code 75, and the same command goes on."""

import contextlib
import json
import os
import shutil
import signal
import threading
import time
import types

import jax
import jax.numpy as jnp
import pytest
from jax.experimental import multihost_utils
from tiny_study import FILE, differences, nodes, outcome, read_lines, stage_info

from bakein.cli import main
from bakein.processes import Notice, Peers, Preempted
from bakein.report.build import build_report
from bakein.study.records import Records
from bakein.train import loop
from bakein.train.checkpoints import Checkpoints
from bakein.train.loop import LoopConfig, Stage, run_loop
from bakein.train.state import TrainState
from bakein.train.stopwatch import Stopwatch


@pytest.fixture
def workdir(finished_run, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(finished_run, workdir)
    return workdir


@contextlib.contextmanager
def asked_after(step):
    """SIGTERM, twice, to this process once the record of a step is written."""
    append, init, notices = Records.append, Notice.__init__, []

    def asked(self, records):
        append(self, records)
        if records and records[-1]["step"] == step:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)  # again: nothing more
            while not notices[-1]():  # the main thread hears it
                time.sleep(0.01)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Records, "append", asked)
        patch.setattr(
            Notice, "__init__", lambda self, peers: (init(self, peers), notices.append(self))[0]
        )
        yield


def test_sigterm_saves_at_once_and_the_same_command_goes_on(
    workdir, one_device, finished_run, capsys
):
    places, handler = nodes(workdir), signal.getsignal(signal.SIGTERM)
    folder, other = places["standard", "sft", 0], places["baked_in", "sft", 1]
    for gone in (folder, other):
        shutil.rmtree(gone)
    with asked_after(2):  # far from the next checkpoint, which is of step 4
        assert main(["run", FILE, "--workdir", str(workdir), "--config.workers=1"]) == 75
    assert capsys.readouterr().err.splitlines() == [
        "bakein: asked to leave (SIGTERM): all is saved; the same command goes on"
    ]
    assert signal.getsignal(signal.SIGTERM) == handler
    (begun,) = [path for path in (folder, other) if path.exists()]  # the other never began
    assert stage_info(begun)["status"] == "running"
    assert "useful_seconds" not in stage_info(begun)
    assert [path.name for path in (begun / "checkpoints").iterdir()] == ["3"]
    assert main(["run", FILE, "--workdir", str(workdir)]) == 0
    assert differences(outcome(workdir), outcome(finished_run)) == []


def test_a_run_goes_on_on_another_mesh(workdir, finished_run, monkeypatch):
    """One device has pretrained; SFT on eight, on four and on eight is as SFT on one."""
    folder = nodes(workdir)["standard", "sft", 0]
    shutil.rmtree(folder)
    devices, run = jax.devices(), ["run", FILE, "--workdir", str(workdir)]
    for count, step in ((8, 2), (4, 4), (8, None)):
        monkeypatch.setattr(jax, "devices", lambda *_, count=count: devices[:count])
        with asked_after(step):
            assert main(run) == (75 if step else 0)
    lines, expected = (
        read_lines(path / "stages" / folder.name / "records.jsonl")
        for path in (workdir, finished_run)
    )
    assert [line["step"] for line in lines] == [line["step"] for line in expected]
    assert [line["tokens"] for line in lines] == [line["tokens"] for line in expected]
    for name in ("loss", "grad_norm"):
        found, exact = ([line[name] for line in each] for each in (lines, expected))
        assert found == pytest.approx(exact, rel=1e-5)
    info, straight = stage_info(folder), stage_info(finished_run / "stages" / folder.name)
    assert info["ledger"] == straight["ledger"]


def toy(path, log, *, steps=9, save_every=100, save_seconds=0.0, preempted=lambda: False, **flags):
    """A loop of updates that add one; returns its useful seconds."""
    flushed = []

    class Behind(Checkpoints):
        def save(self, step, *arguments):
            assert flushed == log  # what a checkpoint knows of has been written
            assert log[-1] == step
            super().save(step, *arguments)

    checkpoints = Behind(path, threading.Lock(), pytest.fail, flags.get("background", False))

    class Kept:
        def append(self, records):
            log.extend(record["step"] for record in records)

        def flush(self):
            flushed[:] = log

        def keep_until(self, step):
            log[:] = [kept for kept in log if kept <= step]

    def advance(made, state):
        state = state.replace(params={"kernel": state.params["kernel"] + 1.0})
        return state, {"loss": jnp.float32(made)}, str

    state = TrainState(jnp.int32(0), {"kernel": jnp.zeros(3)}, {})
    stage = Stage(advance, lambda *_: [], None, flags.get("progress", lambda _: None), preempted)
    config = LoopConfig(steps, 1, save_every, save_seconds, 0)
    run_loop(
        lambda: state, state, stage, config, checkpoints, Kept(), Stopwatch(time.monotonic, {})
    )
    step, state, _ = checkpoints.restore(state, None)
    assert state.params["kernel"].tolist() == [step] * 3
    return checkpoints


def test_a_loop_that_goes_on_makes_no_second_state(tmp_path):
    toy(tmp_path, [])

    def begin():
        raise AssertionError("there is a checkpoint")

    class Nothing:
        def append(self, records):
            assert not records

        def flush(self):
            raise AssertionError("nothing is saved")

        def keep_until(self, step):
            assert step == 9

    state = TrainState(jnp.int32(0), {"kernel": jnp.zeros(3)}, {})
    checkpoints = Checkpoints(tmp_path, threading.Lock(), pytest.fail, False)
    stage = Stage(None, lambda *_: [], None, lambda _: None, lambda: False)
    watch = Stopwatch(time.monotonic, {})
    run_loop(begin, state, stage, LoopConfig(9, 1, 9, 0, 0), checkpoints, Nothing(), watch)


def test_a_loop_that_is_asked_saves_after_the_update_and_leaves(tmp_path):
    log, answers = [], iter([False, False, True])
    with pytest.raises(Preempted):
        toy(tmp_path, log, preempted=lambda: next(answers))
    assert log == [1, 2, 3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3"]
    toy(tmp_path, log)
    assert log == [*range(1, 10)]


def test_checkpoints_by_time(tmp_path, monkeypatch):
    """Each update takes a second; a checkpoint is due after three of them."""
    clock, log = [0.0], []
    # Not the module's own: orbax waits by that.
    monkeypatch.setattr(loop, "time", types.SimpleNamespace(monotonic=lambda: clock[0]))
    saved = []
    save = Checkpoints.save
    monkeypatch.setattr(
        Checkpoints, "save", lambda self, step, *rest: (saved.append(step), save(self, step, *rest))
    )

    def tick(_):
        clock[0] += 1.0

    toy(tmp_path, log, save_seconds=3.0, progress=tick)
    assert saved == [4, 7, 9]  # the first second passes after the first update
    assert log == [*range(1, 10)]


def test_writing_in_the_background_is_waited_for(tmp_path):
    log = []
    checkpoints = toy(tmp_path / "behind", log, save_every=1, background=True)
    assert checkpoints.steps() == [8, 9]
    assert not list(checkpoints.path.glob("*tmp*"))
    at_once = toy(tmp_path / "at_once", log, save_every=1)
    for step in ("8", "9"):
        sums = [
            json.loads((c.path / step / "meta" / "data.json").read_text())["checksums"]
            for c in (checkpoints, at_once)
        ]
        assert sums[0] == sums[1]


def test_an_error_of_the_background_is_raised(tmp_path, monkeypatch):
    state = TrainState(jnp.int32(1), {"kernel": jnp.zeros(3)}, {})
    checkpoints = Checkpoints(tmp_path / "x", threading.Lock(), pytest.fail, True)
    checkpoints.save(1, state, None, 0.0)
    checkpoints.wait()
    writing = checkpoints._writing
    assert writing is None

    def full():
        raise ValueError("... os_error_code='28' ...")

    checkpoints.save(2, state, None, 0.0)
    ended = checkpoints._writing
    checkpoints._writing = lambda: (ended(), full())
    with pytest.raises(OSError, match="No space left on device"):
        checkpoints.save(3, state, None, 0.0)
    checkpoints.wait()


def test_a_notice_is_not_forgotten():
    notice = Notice(None)
    with notice.listening():
        assert not notice()
        os.kill(os.getpid(), signal.SIGTERM)
        assert notice()
    assert notice()


def test_orbax_does_not_ask_in_between_for_steps_of_its_own(monkeypatch):
    """It does at every checkpoint; jax then told at the call after that step, long past."""
    asked = []
    state = types.SimpleNamespace(
        client=types.SimpleNamespace(blocking_key_value_get=lambda *_: ""),
        preemption_sync_manager=types.SimpleNamespace(reached_sync_point=asked.append),
    )
    monkeypatch.setattr("jax._src.distributed.global_state", state)
    notice = Notice(Peers())
    for step in (2, 4):
        notice()
        with pytest.raises(RuntimeError, match="not been initialized"):  # for orbax, a no
            multihost_utils.reached_preemption_sync_point(step)
    assert asked == [1, 2]


def test_stages_side_by_side_leave_out_no_call_at_which_they_may_be_told():
    """Jax names one call, and tells at no other."""
    asked = []

    def asked_to_leave(call):
        time.sleep(0.001)
        asked.append(call)
        return False

    notice = Notice(types.SimpleNamespace(joined=True, asked_to_leave=asked_to_leave))
    threads = [threading.Thread(target=lambda: [notice() for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asked == [*range(1, 81)]


def test_the_report_says_what_share_of_the_time_was_kept(finished_run, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(finished_run, workdir)
    for path in (workdir / "stages").glob("*/stage.json"):
        info = json.loads(path.read_text())
        if "useful_seconds" in info:
            info |= {"seconds": 8.0, "useful_seconds": 6.0}
            path.write_text(json.dumps(info))
    build_report(workdir)
    page = (workdir / "report" / "index.html").read_text("utf-8")
    assert "Goodput" in page
    assert "75% of it went into updates that were kept" in page
