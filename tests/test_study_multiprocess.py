"""Several processes with real collectives: the same results, on any mesh, however interrupted.

Lives of the run are processes of their own, forked from a server that has imported everything.
"""

import json
import os
import random
import re
import shutil
import sys
import threading
import time
from pathlib import Path

import pytest
from tiny_study import FILE, differences, outcome, read_lines, stage_info

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
from interruptions import TWO_BY_FOUR, Layout, Lives, interrupted  # noqa: E402

from bakein.cli import main  # noqa: E402
from bakein.paths import copy_tree, path_of  # noqa: E402

STUDY = f"{FILE}:one arm"
ONE = Layout(1, 8)  # the mesh of two processes, and their collectives, in one


@pytest.fixture(scope="module")
def lives():
    return Lives(STUDY, (), Path(os.environ["JAX_COMPILATION_CACHE_DIR"]))


@pytest.fixture(scope="module")
def straight(lives, tmp_path_factory):
    """The work directory of two processes that nobody disturbed, and how often it was touched."""
    workdir = tmp_path_factory.mktemp("straight") / "run"
    return workdir, lives.run(TWO_BY_FOUR, workdir)


def told(lives, workdir, index):
    """What a process said."""
    return lives.log(workdir, index).read_text("utf-8").splitlines()


def said(lives, workdir, index, start):
    """Whether a process said a line that starts so; collectives may complain after it."""
    return any(line.startswith(start) for line in told(lives, workdir, index))


def test_two_processes_are_one_to_the_bit(lives, straight, tmp_path):
    two, _ = straight
    one = tmp_path / "run"
    lives.run(ONE, one)
    assert differences(outcome(one), outcome(two)) == []


def test_only_the_first_process_writes_and_speaks(lives, straight):
    two, _ = straight
    assert told(lives, two, 0)[0] == f"6 of 6 stages to run in {two}"
    assert told(lives, two, 0)[-1].endswith("index.html")
    assert told(lives, two, 1) == []
    for folder in (two / "stages").iterdir():
        info, records = stage_info(folder), read_lines(folder / "records.jsonl")
        assert info["status"] == "finished"
        if info["kind"] in ("supervised", "rl"):
            keys = [(line["step"], "heldout" in line) for line in records]
            assert len(set(keys)) == len(keys)
            assert 0 < info["useful_seconds"] < info["seconds"]


def test_the_position_of_the_data_is_that_of_all_shards(straight):
    two, _ = straight
    (meta,) = [
        path
        for path in (two / "stages").glob("*/checkpoints/*/meta/data.json")
        if stage_info(path.parents[3])["stage"] == "pretrain"
        and int(path.parents[1].name) == stage_info(path.parents[3])["steps"]
    ]
    position = json.loads(meta.read_text())["data"]
    assert sorted(position["shards"]) == ["0", "1"]
    tokens = sum(c["tokens"] for ledger in position["shards"].values() for c in ledger.values())
    assert tokens == 1600


def test_interrupted_at_random_it_ends_as_the_straight_run(lives, straight, tmp_path):
    """And one process finishes what two have begun."""
    two, touches = straight
    workdir, plan = tmp_path / "run", [(TWO_BY_FOUR, "SIGKILL"), (TWO_BY_FOUR, "SIGTERM")]
    when, rng = (0.2, 0.6), random.Random(1)
    killed, asked = interrupted(lives, workdir, touches, plan, ONE, when, rng, print)
    assert 0 not in killed.codes
    assert killed.seconds < 180, killed
    assert asked.codes == [75, 75]
    assert "asked to leave (SIGTERM): all is saved" in lives.log(workdir, 0).read_text()
    assert differences(outcome(workdir), outcome(two)) == []


def test_in_a_bucket_two_processes_leave_what_they_leave_in_a_folder(
    lives, straight, bucket, tmp_path
):
    """Each writes its part of the checkpoints; asked to leave in the middle, one finishes it."""
    workdir = tmp_path / "run"
    there = Lives(STUDY, (), lives.cache, lambda path: f"gs://bucket/{path.name}")
    life = there.start(TWO_BY_FOUR, workdir)
    done, part = re.compile(r"run/stages/\w+/checkpoints/\d+/.*ocdbt\.process_1/"), []
    while not part:
        part = [name for name in list(bucket.objects) if done.match(name)]
        assert any(process.is_alive() for process in life.processes), told(there, workdir, 0)
        time.sleep(0.01)
    life.interrupt("SIGTERM", random.Random(0))
    assert life.codes() == [75, 75], told(there, workdir, 0)
    assert not [name for name in bucket.objects if ".claims" in name]  # given up at once
    there.run(ONE, workdir)
    copy_tree(path_of("gs://bucket/run"), tmp_path / "copy")
    assert differences(outcome(tmp_path / "copy"), outcome(straight[0])) == []


def test_a_claim_that_is_lost_ends_all_processes(lives, bucket, tmp_path):
    there = Lives(STUDY, (), lives.cache, lambda path: f"gs://bucket/{path.name}")
    life = there.start(TWO_BY_FOUR, tmp_path / "run")
    claims = []
    while not claims:
        claims = [name for name in list(bucket.objects) if "/.claims/stages/" in name]
        assert any(process.is_alive() for process in life.processes)
        time.sleep(0.01)
    # All else waits until the next beat.
    over = threading.Event()
    bucket.on_write = lambda url: None if ".claims" in url else over.wait(60)
    bucket.put(claims[0], b'{"holder": "another"}', {})
    codes = life.codes()
    over.set()
    assert codes == [75, 75]
    lost = f"claim of {claims[0].partition('/.claims/')[2]} lost, the same command goes on: "
    assert said(there, tmp_path / "run", 0, f"bakein: {lost}")
    assert said(there, tmp_path / "run", 1, f"bakein: stopped, because process 0 failed: {lost}")


def test_a_process_that_fails_stops_the_others_and_says_why(lives, straight, tmp_path):
    workdir, study = tmp_path / "run", tmp_path / "broken.py"
    shutil.copytree(straight[0], workdir)
    study.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(Path(FILE).parent)!r})\n"
        "import tiny_study\n"
        "def broken(group):\n"
        "    import jax\n"
        "    if jax.process_index() == 1:\n"
        "        raise ValueError('this machine is broken')\n"
        "    return tiny_study.any_trace(group)\n"
        "def get_config(arg=None):\n"
        "    config = tiny_study.get_config(arg)\n"
        "    config.stages.rl.reward = broken\n"
        "    return config\n"
    )
    life = Lives(f"{study}:one arm", (), lives.cache).start(TWO_BY_FOUR, workdir)
    assert life.codes() == [1, 1]
    broken = "ValueError: this machine is broken [stage"
    assert said(lives, workdir, 1, f"bakein: {broken}")
    assert said(lives, workdir, 0, f"bakein: stopped, because process 1 failed: {broken}")


def test_no_cluster_is_one_line(lives, tmp_path):
    life = lives.start_with([("--distributed",)], 1, tmp_path / "run")
    assert life.codes() == [2]
    (line,) = told(lives, tmp_path / "run", 0)
    assert line.startswith(
        "bakein: --distributed: there is no cluster that jax knows (TPU metadata"
    )
    assert line.endswith("give --coordinator HOST:PORT --processes N --process I")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("--processes 2", "--coordinator, --processes and --process go together"),
        ("--coordinator a:1 --processes 2", "--coordinator, --processes and --process go together"),
        ("--distributed --process 1", "--distributed finds the others itself: not with --coord"),
        ("--coordinator here --processes 2 --process 0", "is 'here'; it must be HOST:PORT"),
        ("--coordinator here:99999 --processes 2 --process 0", "it must be HOST:PORT"),
        ("--coordinator a:1 --processes 0 --process 0", "--processes is 0; it must be at least 1"),
        ("--coordinator a:1 --processes 2 --process 2", "it must be between 0 and 1"),
        ("--coordinator a:1 --processes two --process 0", "invalid int value: 'two'"),
    ],
)
def test_flags_that_do_not_belong_together_are_one_line(arguments, line, capsys):
    assert main(["run", FILE, *arguments.split()]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert line in said
