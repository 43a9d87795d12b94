"""The stopwatch: every moment is in one part, whatever nests, fails, stops or resumes."""

import contextlib
import itertools
import random
import shutil
import threading

import jax.numpy as jnp
import pytest
from tiny_study import evaluation, get_config, nodes, stage_info

from bakein.study import stages
from bakein.study.config import resolve
from bakein.study.errors import Stopped
from bakein.study.runner import make_plan
from bakein.study.stages import run_node
from bakein.study.workdir import Workdir
from bakein.train.checkpoints import Checkpoints
from bakein.train.loop import LoopConfig, Stage, run_loop
from bakein.train.state import TrainState
from bakein.train.stopwatch import Stopwatch

TRAINED = {"setup", "compile", "data", "compute", "checkpoint", "records"}


class Clock:
    """A clock that stands still but for what is spent."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def spend(self, seconds):
        self.now += seconds


def test_a_part_inside_another_pauses_it():
    clock = Clock()
    watch = Stopwatch(clock, {})
    clock.spend(1)
    with watch.part("compute"):
        clock.spend(2)
        with watch.part("data"):
            clock.spend(4)
            with watch.part("data"):
                clock.spend(8)
        clock.spend(16)
    clock.spend(32)
    with watch.part("data"):
        clock.spend(64)
        # In the middle of a part as well.
        assert watch.seconds() == {"setup": 33, "compute": 18, "data": 76}
        clock.spend(128)
    assert watch.seconds() == {"setup": 33, "compute": 18, "data": 204}


def test_a_part_that_fails_ends():
    clock = Clock()
    watch = Stopwatch(clock, {})
    with contextlib.suppress(ValueError), watch.part("compute"), watch.part("data"):
        clock.spend(1)
        raise ValueError
    clock.spend(2)
    assert watch.seconds() == {"setup": 2, "compute": 0, "data": 1}


def test_the_first_time_of_a_part_that_compiles_is_compile():
    clock = Clock()
    watch = Stopwatch(clock, {})
    for _ in range(3):
        with watch.part("compute", compiles=True):
            clock.spend(1)
            with watch.part("data"):
                clock.spend(10)
            with watch.part("sampling", compiles=True):
                clock.spend(100)
    assert watch.seconds() == {
        "setup": 0,
        "compile": 101,
        "data": 30,
        "compute": 2,
        "sampling": 200,
    }


def test_earlier_sessions_are_added_to():
    clock = Clock()
    watch = Stopwatch(clock, {"setup": 0.5, "data": 7.0, "grading": 3.0})
    with watch.part("data"):
        clock.spend(1)
    assert watch.seconds() == {"setup": 0.5, "data": 8, "grading": 3}


@pytest.mark.parametrize("seed", range(20))
def test_parts_sum_to_the_whole(seed):
    rng, clock, total = random.Random(seed), Clock(), 0
    watch = Stopwatch(clock, {})

    def nest(depth):
        nonlocal total
        for _ in range(rng.randint(0, 3)):
            spent = rng.randint(0, 9)
            clock.spend(spent)
            total += spent
            if depth:
                with watch.part(rng.choice("abc"), compiles=rng.random() < 0.3):
                    nest(depth - 1)

    nest(4)
    seconds = watch.seconds()
    assert sum(seconds.values()) == total
    assert min(seconds.values()) >= 0


class Kept:
    """Records in memory, whose writing takes time."""

    def __init__(self, clock):
        self.clock, self.records = clock, []

    def append(self, records):
        self.clock.spend(1000 if records else 0)
        self.records += records

    def flush(self):
        pass

    def keep_until(self, step):
        self.records = [r for r in self.records if r["step"] <= step]


class Slow(Checkpoints):
    """Checkpoints that take time."""

    def __init__(self, path, clock):
        super().__init__(path, threading.Lock(), pytest.fail, False)
        self.clock = clock

    def save(self, *arguments):
        self.clock.spend(10_000)
        super().save(*arguments)

    def restore(self, *arguments):
        self.clock.spend(5)
        return super().restore(*arguments)


def run(path, stop_at=None):
    """Nine updates of known times, observed every 3, saved every 4; returns seconds and records."""
    clock = Clock()
    watch, kept = Stopwatch(clock, {}), Kept(clock)

    def advance(made, state):
        with watch.part("data"):
            clock.spend(10)
        clock.spend(1)
        return state, {"loss": jnp.float32(made)}, str

    def observe(made, state):
        clock.spend(100)
        return [{"step": made, "heldout": 0.5}]

    def progress(made):
        if made == stop_at:
            raise Stopped

    state = TrainState(jnp.int32(0), {"kernel": jnp.ones(3)}, {})
    stage = Stage(advance, observe, None, progress, lambda: False)
    config, useful = LoopConfig(9, 2, 4, 0, 3), None
    with contextlib.suppress(Stopped):
        useful = run_loop(lambda: state, state, stage, config, Slow(path, clock), kept, watch)
    return clock.now - 100, watch.seconds(), kept.records, useful


def test_every_second_of_the_loop_is_in_its_part(tmp_path):
    whole, seconds, _, useful = run(tmp_path)
    assert seconds == {
        "setup": 5,
        "compile": 100 + 1,  # the observation before the first update; the first update
        "data": 9 * 10,
        "compute": 8 * 1,
        "evaluation": 3 * 100,  # after 3, 6 and 9
        "records": 7 * 1000,  # of 0; of 2, 3, 4, 6, 8, 9
        "checkpoint": 3 * 10_000,  # after 4, 8 and 9
    }
    assert sum(seconds.values()) == whole
    # The record of the observation before the first update is made in any case.
    assert useful == sum(seconds[part] for part in ("data", "compute", "evaluation", "records"))


def test_a_resumed_loop_counts_what_it_did_itself(tmp_path):
    _, _, straight, _ = run(tmp_path / "straight")
    whole, seconds, records, _ = run(tmp_path / "run", stop_at=6)
    assert (seconds["data"], seconds["checkpoint"]) == (60, 10_000)
    assert sum(seconds.values()) == whole
    # From the checkpoint of step 4: five updates, of which the first is counted as compile.
    whole, seconds, again, useful = run(tmp_path / "run")
    assert seconds == {
        "setup": 5,
        "compile": 1 + 100,
        "data": 5 * 10,
        "compute": 4 * 1,
        "evaluation": 1 * 100,
        "records": 3 * 1000,
        "checkpoint": 2 * 10_000,
    }
    assert sum(seconds.values()) == whole
    assert [r for r in records if r["step"] <= 4] + again == straight
    # Updates 5 and 6 were made twice, and count once; the first sessions compiled before update 1.
    first = 4 * 10 + 3 * 1 + 100 + 4 * 1000
    assert useful == first + 5 * 10 + 4 * 1 + 1 * 100 + 3 * 1000


def test_a_finished_stage_says_where_its_time_went(finished_run):
    for (_, stage, _), folder in nodes(finished_run).items():
        info, scored = stage_info(folder), stage_info(evaluation(finished_run, folder))
        parts = TRAINED | ({"sampling", "grading", "evaluation"} if stage == "rl" else set())
        assert set(info["time"]) == parts
        assert set(scored["time"]) == {"setup", "evaluation"}
        for each in (info, scored):
            assert min(each["time"].values()) >= 0
            assert each["seconds"] == round(sum(each["time"].values()), 3)


def test_an_interrupted_stage_keeps_its_time(finished_run, tmp_path, one_device, monkeypatch):
    workdir = tmp_path / "run"
    shutil.copytree(finished_run, workdir)
    folder = nodes(workdir)["standard", "rl", 0]
    shutil.rmtree(folder)
    plan = make_plan(resolve(get_config()), Workdir(workdir), pytest.fail, lambda: False)
    (node,) = plan.todo
    ticks = itertools.count()  # a clock that goes on by one second whenever it is read
    monkeypatch.setattr(stages.time, "monotonic", lambda: float(next(ticks)))

    def stop(share):
        if share > 0.5:
            raise Stopped

    with pytest.raises(Stopped):
        run_node(node, plan.shop, stop)
    first, read = stage_info(folder), next(ticks)
    assert first["status"] == "running"
    assert first["time"]["sampling"] > 0
    assert 0 < first["seconds"] < read
    run_node(node, plan.shop, lambda _: None)
    last = stage_info(folder)
    assert last["status"] == "finished"
    assert all(last["time"][part] > first["time"][part] for part in first["time"])
    assert first["seconds"] < last["seconds"] < first["seconds"] + next(ticks) - read
