"""A loss that is not a number stops its stage, says where, and spoils nothing else."""

import re
import shutil
import threading
import time

import jax.numpy as jnp
import pytest
from tiny_study import ARMS, FILE, nodes, read_lines, stage_info

from bakein.cli import main
from bakein.train.checkpoints import Checkpoints
from bakein.train.loop import LoopConfig, NonFinite, Stage, run_loop
from bakein.train.state import TrainState
from bakein.train.stopwatch import Stopwatch


@pytest.fixture
def workdir(finished_run, tmp_path, one_device):
    path = tmp_path / "run"
    shutil.copytree(finished_run, path)
    return path


@pytest.mark.parametrize(
    ("stage", "learnt_from"),
    [("sft", r"examples \d+ tokens"), ("rl", r"rollout \d of 4 prompts")],
)
def test_a_breakdown_is_one_line_with_step_sources_and_checkpoint(
    workdir, capsys, stage, learnt_from
):
    # From the first checkpoint on: a rate that no parameter survives.
    rate = f"--config.stages.{stage}.optimizer"
    broken = ["--config.seeds=1", "--config.workers=1", f"{rate}.learning_rate=3e38"]
    assert main(["run", FILE, "--workdir", str(workdir), *broken]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(
        rf"bakein: \w+ is (nan|inf) at step \d+, learning from {learnt_from}; last good "
        rf"checkpoint: none yet in \S+ \[stage: standard {stage} 0 \(\w+\)\]",
        line,
    ), line
    places = nodes(workdir)
    folder = places["standard", stage, 0]
    info = stage_info(folder)
    assert info["status"] == "failed"
    assert "learning from" in info["reason"]
    assert not list(folder.glob("checkpoints/*"))  # no state that is not a number was saved
    for arm in ARMS:
        assert stage_info(places[arm, "pretrain", 0])["status"] == "finished"
    if stage == "rl":
        assert [r["step"] for r in read_lines(folder / "records.jsonl")] == [0]
    # What is finished is reported, and the mended study goes on from it.
    assert main(["report", str(workdir)]) == 0
    capsys.readouterr()
    assert main(["run", FILE, "--workdir", str(workdir)]) == 0
    assert capsys.readouterr().out.startswith("nothing to run")


def test_the_last_good_checkpoint_is_named(tmp_path):
    class Kept:
        def __init__(self):
            self.steps = []

        def append(self, records):
            self.steps += [r["step"] for r in records]

        def flush(self):
            pass

        def keep_until(self, step):
            pass

    def advance(made, state):
        value = float("nan") if made == 4 else 1.0
        return state, {"loss": jnp.float32(value), "samples": made}, lambda: f"batch {made}"

    state = TrainState(jnp.int32(0), {"kernel": jnp.ones(3)}, {})
    checkpoints, kept = Checkpoints(tmp_path, threading.Lock(), pytest.fail, False), Kept()
    stage = Stage(advance, lambda *_: [], None, lambda _: None, lambda: False)
    watch = Stopwatch(time.monotonic, {})
    with pytest.raises(
        NonFinite, match=r"loss is nan at step 5, learning from batch 4; .* step 3 "
    ):
        run_loop(lambda: state, state, stage, LoopConfig(9, 3, 3, 0, 0), checkpoints, kept, watch)
    assert checkpoints.steps() == [3]
    assert kept.steps == [3]
