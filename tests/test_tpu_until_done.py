"""until_done.sh: whatever happens to the TPU and to the run, until the study is done."""

import os
import signal

import pytest
from tpu_cloud import (
    STUDY,
    running,
    start,
    starts,
    wait_for,
    wait_until_training,
)


@pytest.fixture(autouse=True)
def _hears_ctrl_c():
    """In the background of a shell SIGINT is ignored, and so by all that is started there."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_from_no_tpu_to_a_finished_study(cloud):
    cloud.says("states", "- -", "WAITING_FOR_RESOURCES -", "PROVISIONING CREATING", "ACTIVE READY")
    done = cloud.run("until_done.sh", *STUDY)
    assert done.returncode == 0, done.stderr
    assert cloud.verbs() == ["create", "scp"]
    home = cloud.home()
    assert (home / "arguments").read_text().split("\0")[:-1] == [
        *("run", "--workdir=gs://my-bucket/my-study", *STUDY[1:])
    ]
    assert done.stderr.count("SSH: Attempting") == 2  # of setup and launch, not of each look
    said = [line.split(" ", 1)[1] for line in done.stderr.splitlines() if line[:2].isdigit()]
    assert said[:4] == [
        "asking for 1 × v6e-8 in us-east5-b",
        "bakein-1 is WAITING_FOR_RESOURCES; waiting",
        "bakein-1 is PROVISIONING; waiting",
        "launched",
    ]
    assert said[-3] == r"done: experiments/my\ study.py --config.name=it\'s "
    assert said[-2].startswith("started again 0 times; the TPU was ready for 0.00 hours")
    assert said[-1] == (
        "bakein-1 stays as it is; while it is there it costs about 20.00 USD an hour "
        "(8 chips at 2.5 USD, a price of 2026-11-27): delete.sh --yes"
    )


def test_again_it_picks_up_a_run_that_goes_on(cloud):
    cloud.run("setup.sh")
    cloud.says("exits", "long", "0")
    cloud.run("launch.sh", *STUDY)
    wait_until_training(cloud.home())
    process = start(cloud, "--delete")
    try:
        while "running: training, start 1" not in process.stderr.readline():
            assert process.poll() is None
        assert starts(cloud) == 1
        os.killpg(int(wait_for(cloud.home() / "bakein.pid")), signal.SIGTERM)
        told = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert process.returncode == 0, told
    assert "start 1 of at most 5 again: the run was interrupted" in told  # status 75
    assert starts(cloud) == 2
    assert cloud.verbs() == ["scp", "scp", "delete"]
    assert told.endswith("bakein-1 is deleted\n")


@pytest.mark.parametrize("status", ["75", "3", "0"])
def test_how_an_earlier_run_ended_is_no_answer(cloud, status):
    cloud.run("setup.sh")
    cloud.says("exits", status, "0")
    cloud.run("launch.sh", *STUDY)
    wait_for(cloud.home() / "bakein.exit")
    assert cloud.run("until_done.sh", *STUDY).returncode == 0
    assert starts(cloud) == 2


def test_another_experiment_is_left_alone(cloud):
    cloud.run("setup.sh")
    cloud.says("exits", "long")
    cloud.run("launch.sh", "--", "other.py")
    wait_until_training(cloud.home())
    done = cloud.run("until_done.sh", "--delete", *STUDY)
    assert done.returncode == 1
    assert "another experiment is running: stop.sh ends it" in done.stderr
    assert "delete" not in cloud.verbs()
    assert running(int((cloud.home() / "bakein.pid").read_text()))


@pytest.mark.parametrize("lost", ["SUSPENDED -", "ACTIVE PREEMPTED", "ACTIVE -"])
def test_after_a_preemption_the_tpu_is_created_anew(cloud, lost):
    cloud.says("states", "- -", "ACTIVE READY", "ACTIVE READY", lost, "- -", "ACTIVE READY")
    cloud.says("exits", "long", "0")
    done = cloud.run("until_done.sh", *STUDY)
    assert done.returncode == 0, done.stderr
    assert cloud.verbs() == ["create", "scp", "delete", "create", "scp"]
    assert "start 1 of at most 5 again: bakein-1 is not there any more" in done.stderr


def test_without_a_queue_as_well(cloud):
    cloud.config()
    cloud.says("states", "- -", "- READY", "- READY", "- TERMINATED", "- -", "- READY")
    cloud.says("exits", "long", "0")
    done = cloud.run("until_done.sh", *STUDY)
    assert done.returncode == 0, done.stderr
    assert cloud.verbs() == ["create", "scp", "delete", "create", "scp"]


def test_a_run_that_failed_is_not_started_again(cloud):
    cloud.says("exits", "3")
    done = cloud.run("until_done.sh", *STUDY)
    assert done.returncode == 1
    assert starts(cloud) == 1
    assert "w0: training, start 1" in done.stderr  # the end of the log
    assert "failed: w0 exited 3" in done.stderr
    assert "delete" not in cloud.verbs()
    assert cloud.run("until_done.sh", "--delete", *STUDY).returncode == 1
    assert cloud.verbs()[-1] == "delete"


@pytest.mark.parametrize(
    ("there", "end"), [("- READY", "deleted"), ("- -", "not there, and costs")]
)
def test_what_failed_on_the_way_may_have_been_created(cloud, there, end):
    cloud.config(QUEUED="no")
    cloud.says("states", "- -", there)
    cloud.says("errors", "create ssh")
    done = cloud.run("until_done.sh", "--delete", *STUDY)
    assert done.returncode == 1
    assert "the TPU could not be created" in done.stderr
    assert f"bakein-1 is {end}" in done.stderr
    assert ("delete" in cloud.verbs()) is (end == "deleted")


def test_its_own_stop_is_nobody_who_stopped_it(cloud):
    """The stop takes the place of the status, and then the installation fails once."""
    cloud.config(TYPE="v6e-16", QUEUED="yes", SPOT="yes")
    cloud.workers(2)
    cloud.says("exits", "75 stubborn", "0")
    cloud.says("errors", "scp -", "scp ssh")
    done = cloud.run("until_done.sh", "--delete", *STUDY)
    assert done.returncode == 0, done.stderr
    assert "setup.sh failed; trying again" in done.stderr
    assert "stopped by" not in done.stderr
    assert done.stderr.endswith("bakein-1 is deleted\n")


def test_a_preemption_before_the_run_could_hear_of_it_is_one(cloud):
    cloud.says("exits", "143", "0")
    done = cloud.run("until_done.sh", *STUDY)
    assert done.returncode == 0, done.stderr
    assert "start 1 of at most 5 again: the run was interrupted" in done.stderr


def test_starts_are_bounded(cloud):
    cloud.says("exits", "75")
    done = cloud.run("until_done.sh", "--retries=2", *STUDY)
    assert done.returncode == 1
    assert starts(cloud) == 3
    assert "given up after RETRIES=2; the last reason: the run was interrupted" in done.stderr


def test_a_lack_of_capacity_is_waited_for_and_a_lack_of_quota_is_not(cloud):
    cloud.says("states", "- -", "- -", "- -", "ACTIVE READY")
    cloud.says("errors", "create stockout", "create stockout")
    done = cloud.run("until_done.sh", "--retries=0", *STUDY)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("no capacity in the zone; asking again every 0.02 seconds") == 1
    assert done.stderr.count("There is no more capacity in the zone") == 1

    cloud.says("states", "- -")
    cloud.says("errors", "create quota")
    done = cloud.run("until_done.sh", "--delete", *STUDY)
    assert done.returncode == 1
    assert "Limit: 0 in zone us-east5-b" in done.stderr
    assert "the TPU could not be created" in done.stderr
    assert "bakein-1 is not there, and costs nothing" in done.stderr
    assert cloud.verbs() == ["create"] * 3 + ["scp", "create"]


def test_a_network_that_comes_back_is_waited_for(cloud):
    # The first look at the TPU must succeed: what is wrong then is wrong for good.
    cloud.says("errors", "scp -", "ssh ssh", "list -", "list -", "list permission", "ssh -")
    done = cloud.run("until_done.sh", *STUDY)
    assert done.returncode == 0, done.stderr
    assert "Permission denied (publickey)" in done.stderr
    assert "0 of 1 workers answered; trying again" in done.stderr
    assert "the cloud did not say how the TPU is; trying again" in done.stderr

    cloud.says("errors", *["scp ssh"] * 9)
    done = cloud.run("until_done.sh", *STUDY)
    assert done.returncode == 1
    assert "given up: setup.sh failed, 5 times in a row" in done.stderr

    cloud.says("errors", "list permission")
    done = cloud.run("until_done.sh", "--delete", *STUDY)
    assert done.returncode == 1
    assert "PERMISSION_DENIED" in done.stderr
    assert "bakein-1 stays as it is" in done.stderr


def test_a_worker_that_was_interrupted_pulls_the_others_down_with_it(cloud):
    cloud.config(TYPE="v6e-16", QUEUED="yes")
    cloud.workers(3)
    cloud.says("exits", "134 75 1", "0")
    done = cloud.run("until_done.sh", *STUDY)
    assert done.returncode == 0, done.stderr
    assert [starts(cloud, worker) for worker in range(3)] == [2, 2, 2]
    assert (cloud.home(2) / "arguments").read_text().split("\0")[1] == "--distributed"


@pytest.mark.parametrize("ends", ["134 134", "134 0", "stubborn 134", "deaf"])
def test_a_host_that_jax_ended_because_another_was_silent_is_started_again(cloud, ends):
    cloud.config(TYPE="v6e-16", QUEUED="yes")
    cloud.workers(2)
    cloud.says("exits", "134 134" if ends == "deaf" else ends, "0")
    if ends == "deaf":  # setup, launch and two looks hear both workers
        cloud.says("errors", *["ssh -"] * 3, "ssh deaf")
    done = cloud.run("until_done.sh", "--delete", *STUDY)
    assert done.returncode == 0, done.stderr
    assert "start 1 of at most 5 again: the run was interrupted" in done.stderr
    assert [starts(cloud, worker) for worker in range(2)] == [2, 2]


def test_what_failed_beside_it_failed_and_what_always_aborts_is_given_up(cloud):
    cloud.config(TYPE="v6e-16", QUEUED="yes", RETRIES="1")
    cloud.workers(2)
    cloud.says("exits", "134 1", "134 134")
    done = cloud.run("until_done.sh", *STUDY)
    assert "failed: w0 exited 134;w1 exited 1" in done.stderr
    done = cloud.run("until_done.sh", *STUDY)
    assert done.returncode == 1
    assert "given up after RETRIES=1; the last reason: the run was interrupted" in done.stderr
    assert starts(cloud) == 3


def test_a_worker_that_was_started_anew_is_found(cloud):
    cloud.config(TYPE="v6e-16", QUEUED="yes")
    cloud.workers(2)
    cloud.says("exits", "long stubborn", "0")
    process = start(cloud)
    try:
        wait_until_training(cloud.home())
        wait_until_training(cloud.home(1))
        # Power off and on: nobody wrote down how the run ended.
        os.killpg(int(wait_for(cloud.home() / "bakein.pid")), signal.SIGKILL)
        told = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert process.returncode == 0, told
    assert "start 1 of at most 5 again: the run was interrupted" in told
    assert [starts(cloud, worker) for worker in range(2)] == [2, 2]


def test_several_slices(cloud):
    cloud.config(SLICES="2", QUEUED="yes")
    cloud.workers(4)
    cloud.says("states", "- -", "ACTIVE READY,CREATING", "ACTIVE READY,READY")
    cloud.says("exits", "0 0 0 75", "0")
    done = cloud.run("until_done.sh", *STUDY)
    assert done.returncode == 0, done.stderr
    assert [starts(cloud, worker) for worker in range(4)] == [2, 2, 2, 2]
    spoken = [call for call in cloud.calls() if call[3] in ("ssh", "scp")]
    assert all(call[2] == "queued-resources" and "--node=all" in call for call in spoken)


def test_a_slice_that_did_not_answer_is_asked_again(cloud):
    # gcloud leaves out the nodes that it cannot reach, and ends with status 0.
    cloud.config(SLICES="2", QUEUED="yes", RETRIES="0")
    cloud.workers(4)
    cloud.says("states", "ACTIVE READY,READY")
    cloud.says("errors", "ssh deaf")
    done = cloud.run("until_done.sh", *STUDY)
    assert done.returncode == 0, done.stderr
    assert "3 of 4 workers answered; trying again" in done.stderr


def test_ctrl_c_leaves_the_tpu_and_says_what_it_costs(cloud):
    cloud.says("exits", "long")
    process = start(cloud)
    try:
        while "running: training" not in process.stderr.readline():
            assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)
        told = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert process.returncode == 130
    assert "interrupted: " in told
    assert "bakein-1 and the run on it stay as they are" in told
    assert "costs about 20.00 USD an hour" in told
    assert "delete" not in cloud.verbs()
    assert running(int((cloud.home() / "bakein.pid").read_text()))


def test_stop_sh_ends_it(cloud):
    cloud.says("exits", "long")
    process = start(cloud)
    try:
        wait_until_training(cloud.home())
        cloud.run("stop.sh")
        told = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert process.returncode == 1
    assert starts(cloud) == 1
    assert "stopped by stop.sh" in told


@pytest.mark.parametrize(
    ("state", "config", "message"),
    [
        ("FAILED -", {}, "the queue refused: gcloud compute tpus queued-resources describe"),
        ("ACTIVE UNKNOWN", {}, "bakein-1 is UNKNOWN: gcloud compute tpus tpu-vm describe"),
        ("ACTIVE STOPPED", {}, "somebody stopped bakein-1: gcloud compute tpus tpu-vm start"),
        (
            "ACTIVE TERMINATED",
            {"STORE": "", "SPOT": "no"},
            "STORE is empty: what is on its disk goes with it",
        ),
    ],
)
def test_what_needs_a_person_ends_it(cloud, state, config, message):
    cloud.config(**{"QUEUED": "yes"} | config)
    cloud.says("states", state)
    args = [] if config or state == "FAILED -" else ["--delete"]
    done = cloud.run("until_done.sh", *args, *STUDY)
    assert done.returncode == 1
    assert message in done.stderr
    assert cloud.verbs() == []


@pytest.mark.parametrize(
    ("config", "args", "message"),
    [
        ({}, [], "expected -- EXPERIMENT"),
        ({"STORE": "", "SPOT": "yes"}, STUDY, "STORE is empty; with SPOT=yes"),
        ({"STORE": ""}, ["--delete", *STUDY], "--delete needs STORE"),
        ({"STORE": "", "TYPE": "v4-16"}, STUDY, "STORE is empty; a study on several hosts"),
    ],
)
def test_a_mistake_is_said_before_anything_is_paid_for(cloud, config, args, message):
    cloud.config(**config)
    done = cloud.run("until_done.sh", *args)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert message in done.stderr
    assert cloud.calls() == []


def test_dry_run_prints_each_step(cloud):
    done = cloud.run("until_done.sh", "--dry-run", "--zone=us-east1-d", *STUDY)
    assert done.returncode == 0
    assert cloud.calls() == []
    lines = [line for line in done.stdout.splitlines() if line.startswith("gcloud")]
    assert [line.split()[4] for line in lines] == [
        *("create", "list", "list", "scp", "ssh", "ssh", "ssh", "delete")
    ]
    assert all("--zone=us-east1-d" in line for line in lines)
