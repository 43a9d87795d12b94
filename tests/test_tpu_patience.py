"""until_done.sh over weeks: what it waits for, what it gives up, what it leaves behind."""

import os
import signal
import time

import pytest
from tpu_cloud import STUDY, executable, running, start, starts, wait_until_training


def start_and_see_it_running(cloud, *args):
    """until_done.sh, and the process group of the run that it saw running."""
    process = start(cloud, *args)
    while "running: training" not in process.stderr.readline():
        assert process.poll() is None
    return process, int((cloud.home() / "bakein.pid").read_text())


@pytest.mark.parametrize("verb", ["ssh", "list"])
def test_a_run_that_was_alive_outlasts_a_network_that_was_not(cloud, verb):
    cloud.says("exits", "long", "0")
    process, group = start_and_see_it_running(cloud, "--delete")
    try:
        cloud.says("errors", *[f"{verb} ssh"] * 8)
        while (cloud.folder / "errors").read_text():
            assert process.poll() is None
            time.sleep(0.02)
        assert running(group)
        os.killpg(group, signal.SIGTERM)
        told = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert process.returncode == 0, told
    assert starts(cloud) == 2


@pytest.mark.parametrize("verb", ["ssh", "list"])
def test_silence_that_lasts_ends_the_watch_and_not_the_run(cloud, verb):
    cloud.says("exits", "long")
    process, group = start_and_see_it_running(cloud, "--delete", "--patience=0")
    try:
        cloud.says("errors", *[f"{verb} ssh"] * 9)
        told = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert process.returncode == 1
    assert "given up after 0 minutes: " in told
    assert "the run may be going on: status.sh shows it, the same command watches it again" in told
    assert "bakein-1 stays as it is" in told
    assert "delete" not in cloud.verbs()
    assert running(group)


def test_an_answer_ends_the_silence(cloud):
    cloud.says("states", "- -", "- -", "- -", "ACTIVE READY")
    silences = ["list -", *["list permission"] * 4] * 2
    cloud.says("errors", *silences, *["create stockout"] * 2)
    done = cloud.run("until_done.sh", "--patience=0", *STUDY)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("states", "errors"),
    [
        (["- -", "WAITING_FOR_RESOURCES -"], ["list -", *["list permission"] * 5]),
        (["ACTIVE READY"], [*["ssh -"] * 3, *["ssh deaf"] * 5]),  # the other one says 134
    ],
)
def test_what_was_not_running_is_deleted_when_it_stays_silent(cloud, states, errors):
    cloud.config(TYPE="v6e-16", QUEUED="yes", PATIENCE="0")
    cloud.workers(2)
    cloud.says("states", *states)
    cloud.says("exits", "134 134")
    cloud.says("errors", *errors)
    done = cloud.run("until_done.sh", "--delete", *STUDY)
    assert done.returncode == 1
    assert "given up after 0 minutes: " in done.stderr
    assert done.stderr.endswith("bakein-1 is deleted\n")


@pytest.mark.parametrize(("end", "code"), [("75", 0), ("134", 1), ("139 75", 1)])
def test_a_run_that_got_on_may_be_interrupted_anew_and_one_that_crashes_may_not(cloud, end, code):
    """A crash comes again at the same step, however long the way to it is."""
    cloud.config(TYPE="v6e-16", QUEUED="yes", RETRIES="1")
    cloud.workers(2)
    later = " ".join(f"{word}-later" for word in end.split())
    cloud.says("exits", end, later, "0")
    process = start(cloud)
    try:
        wait_until_training(cloud.home(), start=2)
        before = len(cloud.calls())
        while len(cloud.calls()) < before + 45:  # a look lists twice and asks the workers once
            assert process.poll() is None
            time.sleep(0.05)
        cloud.says("over")
        told = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert process.returncode == code, told
    assert starts(cloud) == (3 if code == 0 else 2)
    assert ("given up after RETRIES=1" in told) is (code == 1)


def test_an_interruption_counts_once_however_often_the_installation_fails(cloud):
    cloud.says("exits", "75", "0")
    cloud.says("errors", "scp -", *["scp ssh"] * 3)
    done = cloud.run("until_done.sh", "--retries=1", *STUDY)
    assert done.returncode == 0, done.stderr
    assert "started again 1 times" in done.stderr


def test_a_preemption_counts_once_however_long_capacity_is_missing(cloud):
    cloud.config(SPOT="yes", RETRIES="1")
    cloud.says("states", "- -", *["- READY"] * 2, "- PREEMPTED", *["- -"] * 4, "- READY")
    cloud.says("exits", "long", "0")
    cloud.says("errors", "create -", *["create stockout"] * 3)
    done = cloud.run("until_done.sh", *STUDY)
    assert done.returncode == 0, done.stderr
    assert "start 1 of at most 1 again: bakein-1 is not there any more" in done.stderr
    assert "started again 1 times" in done.stderr


@pytest.mark.parametrize("end", ["3", "0"])
def test_before_a_tpu_that_failed_is_deleted_its_logs_are_kept(cloud, end):
    cloud.config(TYPE="v6e-16", QUEUED="yes")
    homes = cloud.workers(2)
    for home in homes:
        (home / "bakein.log").write_text("old\n" + 200_000 * "a line\n" + "Traceback\n")
    cloud.says("exits", end)
    done = cloud.run("until_done.sh", "--delete", *STUDY)
    assert done.returncode == (1 if end == "3" else 0)
    assert cloud.verbs()[-1] == "delete"
    logs = list(cloud.folder.glob("bakein-1-*.log"))
    if end == "0":
        assert not logs
        return
    (log,) = logs
    assert f"the end of the workers' logs is in {log}" in done.stderr
    lines = log.read_text().splitlines()
    for worker in ("w0", "w1"):
        assert f"{worker}: Traceback" in lines
        assert f"{worker}: training, start 1" in lines
        assert f"{worker}: old" not in lines
    assert len(lines) < 2 * 150_000  # a megabyte each, and not all


def test_a_log_that_cannot_be_had_is_no_reason_to_go_on_paying(cloud):
    cloud.says("exits", "3")
    tail = '[[ $1 == -c ]] && exit 255; exec /usr/bin/tail "$@"'
    executable(cloud.folder / "machine" / "tail", f"#!/bin/bash\n{tail}\n")
    done = cloud.run("until_done.sh", "--delete", *STUDY)
    assert done.returncode == 1
    assert "no log could be kept" in done.stderr
    assert done.stderr.endswith("bakein-1 is deleted\n")
    assert not list(cloud.folder.glob("bakein-1-*.log"))
