"""`--profile`: traces of the updates that were asked for, of one stage of each name; no more."""

import json
import shutil

import jax
import jax.numpy as jnp
import pytest
from jax.profiler import ProfileData
from tiny_study import FILE, differences, get_config, nodes, outcome, stage_info

from bakein.cli import main
from bakein.study.config import resolve
from bakein.study.profile import profile
from bakein.study.runner import make_plan
from bakein.study.workdir import Workdir
from bakein.train.loop import Stage
from bakein.train.profile import traced
from bakein.train.stopwatch import Stopwatch


def steps(folder):
    """The steps of every trace in a folder, and the names of the parts in it."""
    found = []
    for file in sorted(folder.glob("plugins/profile/*/*.xplane.pb")):
        planes = ProfileData.from_file(str(file)).planes
        events = [event for plane in planes for line in plane.lines for event in line.events]
        marked = [dict(event.stats)["step_num"] for event in events if event.name == "train"]
        found.append((sorted(marked), {event.name for event in events}))
    return found


class Clock:
    """A clock that stands still."""

    def __call__(self):
        return 0.0


def run(folder, updates, first=0, last=6, fails_at=None):
    """Runs updates `first` to `last` of a stage that doubles a number."""
    watch = Stopwatch(Clock(), {})

    def advance(made, state):
        if made == fails_at:
            raise ValueError("broken")
        with watch.part("data"):
            return 2 * state, {"loss": state, "tokens": made}, str

    stage = Stage(advance, lambda *_: [], None, lambda _: None, lambda: False)
    state = jnp.float32(1)
    with traced(stage, updates, folder, watch.part) as wrapped:
        for made in range(first, last):
            state, _, _ = wrapped.advance(made, state)
    assert float(state) == 2 ** (last - first)
    return watch.seconds()


@pytest.mark.parametrize(
    ("updates", "first", "expected"),
    [
        (range(2, 4), 0, [3, 4]),  # step 3 is the third update, after two
        (range(4, 9), 0, [5, 6]),  # the stage ends before
        (range(0, 5), 4, [5]),  # it went on from a checkpoint
    ],
)
def test_a_trace_has_the_updates_that_were_asked_for(tmp_path, updates, first, expected):
    seconds = run(tmp_path, updates, first)
    ((found, names),) = steps(tmp_path)
    assert found == expected
    assert "data" in names
    assert "profile" in seconds


@pytest.mark.parametrize("updates", [range(0), range(7, 9)])
def test_no_trace_is_no_trace(tmp_path, updates):
    assert "profile" not in run(tmp_path, updates)
    assert not list(tmp_path.iterdir())


def test_a_failure_ends_the_trace(tmp_path):
    with pytest.raises(ValueError, match="broken"):
        run(tmp_path, range(1, 5), fails_at=3)
    assert [found for found, _ in steps(tmp_path)] == [[2, 3, 4]]  # that of the failure as well
    with pytest.raises(RuntimeError, match="No profile started"):
        jax.profiler.stop_trace()


@pytest.fixture
def planned(finished_run, tmp_path, one_device):
    """Plans the tiny study with some of its stages undone, and what was warned of."""
    workdir, warned = tmp_path / "run", []
    shutil.copytree(finished_run, workdir)

    def plan(*undone, updates):
        for place in undone:
            shutil.rmtree(nodes(workdir)[place] / "checkpoints")
            (nodes(workdir)[place] / "stage.json").unlink()
        plan = make_plan(resolve(get_config()), Workdir(workdir), warned.append, lambda: False)
        traces = profile(plan, updates).shop.traces
        return {plan.dag.nodes[id].name: updates for id, updates in traces.items()}, warned

    plan.workdir = workdir
    return plan


def test_the_first_of_each_name_is_traced_as_far_as_it_goes(planned):
    undone = [("baked_in", "sft", 0), ("standard", "rl", 1), ("baked_in", "sft", 1)]
    traces, warned = planned(*undone, updates=range(3, 99))
    sft = stage_info(nodes(planned.workdir)["standard", "sft", 0])["steps"]
    assert traces == {"baked_in sft 0": range(3, sft), "standard rl 1": range(3, 5)}
    assert warned == []


def test_what_is_made_already_is_not_traced_but_of_the_next(planned):
    started = nodes(planned.workdir)["standard", "rl", 0]
    info = stage_info(started)
    (started / "stage.json").write_text(json.dumps(info | {"status": "running"}))
    traces, _ = planned(updates=range(2, 5))  # its checkpoints are of steps 4 and 5
    assert traces == {}
    shutil.rmtree(started / "checkpoints" / "5")
    assert planned(updates=range(2, 5))[0] == {"standard rl 0": range(4, 5)}
    traces, _ = planned(("baked_in", "rl", 1), updates=range(2, 4))
    assert traces == {"baked_in rl 1": range(2, 4)}


def test_it_is_said_when_nothing_can_be_traced(planned):
    assert planned(updates=range(2, 4)) == (
        {},
        ["--profile=2:4: nothing is traced, all stages are trained"],
    )
    _, warned = planned(("standard", "rl", 0), updates=range(5, 6))
    assert warned[1:] == ["--profile=5:6: rl has none of these updates to make"]


def test_a_traced_run_ends_as_any_other(finished_run, tmp_path, one_device):
    workdir = tmp_path / "run"
    shutil.copytree(finished_run, workdir)
    for place in (("standard", "sft", 0), ("standard", "rl", 0), ("baked_in", "rl", 1)):
        shutil.rmtree(nodes(workdir)[place])
    assert main(["run", FILE, "--workdir", str(workdir), "--profile=1:3"]) == 0
    assert differences(outcome(workdir), outcome(finished_run)) == []
    folder = workdir / "tensorboard" / "profile"
    assert {path.name for path in folder.iterdir()} == {"standard.sft.0", "standard.rl.0"}
    ((sft, parts),) = steps(folder / "standard.sft.0")
    assert sft == [2, 3]
    assert {"data", "compute"} <= parts
    ((rl, parts),) = steps(folder / "standard.rl.0")
    assert rl == [2, 3]
    assert {"data", "sampling", "grading", "compute"} <= parts
    assert stage_info(nodes(workdir)["standard", "rl", 0])["time"]["profile"] > 0
    assert "profile" not in stage_info(nodes(workdir)["baked_in", "rl", 1])["time"]
