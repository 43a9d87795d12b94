"""The TPU scripts, one by one, run with a stand-in gcloud that plays the workers."""

import datetime
import os
import re
import shlex
import signal
import subprocess

import pytest
from tpu_cloud import (
    CONFIG,
    SCRIPTS,
    Cloud,
    executable,
    git,
    project,
    running,
    wait_for,
    wait_until_training,
)

# Every script that speaks with gcloud, with arguments that it accepts.
ACCEPTED = {
    "create.sh": [],
    "setup.sh": [],
    "launch.sh": ["--", "experiments/quickstart.py"],
    "status.sh": [],
    "logs.sh": [],
    "stop.sh": [],
    "delete.sh": ["--yes"],
}
OTHERS = {"until_done.sh": ["--", "experiments/quickstart.py"], "gke.sh": ["status"]}


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """As for all tests, with a space in the name of their folder."""
    return project(tmp_path_factory.mktemp("tpu") / "my project")


@pytest.fixture
def cloud(tmp_path, scripts):
    cloud = Cloud(tmp_path, scripts)
    yield cloud
    cloud.power_off()


def test_every_script_is_tested():
    assert {path.name for path in SCRIPTS.glob("*.sh")} == {*ACCEPTED, *OTHERS, "common.sh"}


@pytest.mark.parametrize("script", [*ACCEPTED, *OTHERS])
def test_help_names_the_script_and_needs_no_configuration(cloud, script):
    (cloud.folder / "my tpu.env").unlink()
    done = subprocess.run(
        [SCRIPTS / script, "--help"], env=cloud.env, capture_output=True, text=True
    )
    assert done.returncode == 0
    assert f"  {script} " in done.stdout
    assert "--dry-run" in done.stdout
    assert cloud.calls() == []


@pytest.mark.parametrize("kind", ["vm", "queued", "slices"])
@pytest.mark.parametrize("script", ACCEPTED)
def test_dry_run_prints_the_very_commands_and_calls_nothing(cloud, script, kind):
    cloud.config(QUEUED="no" if kind == "vm" else "yes", SLICES="2" if kind == "slices" else "1")
    dry = cloud.run(script, "--dry-run", *ACCEPTED[script])
    assert dry.returncode == 0, dry.stderr
    assert cloud.calls() == []
    if script == "launch.sh":
        cloud.run("setup.sh")
    before = len(cloud.calls())
    assert cloud.run(script, *ACCEPTED[script]).returncode == 0
    real = cloud.calls()[before:]
    cloud.power_off()

    # Only bash can read bash's quoting back.
    subprocess.run(
        ["bash", "-c", "git() { touch $TMPDIR/bakein-1.bundle; }\n" + dry.stdout],
        env=cloud.env,
        capture_output=True,
        check=script not in ("launch.sh", "setup.sh"),  # setup brought no commit here
    )
    printed = cloud.calls()[before + len(real) :]
    if script == "setup.sh":  # The folder of the bundle is new every time.
        real[0][-6] = printed[0][-6] = "bundle"
    assert printed == real != []


@pytest.mark.parametrize("script", [*ACCEPTED, *OTHERS])
@pytest.mark.parametrize(
    ("config", "args", "message"),
    [
        ({}, ["extra"], "unexpected argument extra"),
        ({}, ["--sp0t"], "unknown option --sp0t"),
        ({"ZONE": None}, [], "ZONE is missing"),
    ],
)
def test_a_mistake_exits_2_with_one_line_and_calls_nothing(cloud, script, config, args, message):
    path = cloud.config(**config)
    first = OTHERS["gke.sh"] if script == "gke.sh" else []
    done = cloud.run(script, *first, *args, ZONE="us-east1-d")  # the environment does not count
    assert done.returncode == 2
    assert done.stderr.startswith(f"{script}: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    if config:
        assert str(path) in done.stderr
    assert cloud.calls() == []


@pytest.mark.parametrize(
    ("config", "args", "message"),
    [
        ({}, ["--sp0t=yes"], "unknown option --sp0t"),
        ({}, ["--spot=maybe"], "SPOT is 'maybe'; it must be yes or no"),
        ({"ZONE": ""}, [], "ZONE is ''"),
        ({"TYPE": "v5e-8"}, [], "TYPE is 'v5e-8'; it must be v4-N, v5p-N"),
        ({"STORE": "bucket"}, [], "STORE is 'bucket'; it must be gs://BUCKET, HOST:/SHARE"),
        ({"SLICES": "0"}, [], "SLICES is '0'"),
        ({"TYPE": "v6e-08"}, [], "TYPE is 'v6e-08'"),  # bash would read 08 as octal
        ({"RETRIES": "08"}, [], "RETRIES is '08'; it must be a number without leading zeros"),
        ({"NAME": "b;id"}, [], "NAME is 'b;id'"),
        ({"COLOUR": "red"}, [], "line 17: COLOUR=red: expected KEY=VALUE with KEY one of"),
    ],
)
def test_a_value_that_cannot_be_is_one_line_too(cloud, config, args, message):
    path = cloud.config(**config)
    done = cloud.run("create.sh", *args)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert str(path) in done.stderr or args
    assert cloud.calls() == []


def test_a_missing_configuration_says_where_to_get_one(cloud):
    (cloud.folder / "my tpu.env").unlink()
    done = cloud.run("status.sh")
    assert done.returncode == 2
    assert f"cp {cloud.scripts}/tpu.env.example {cloud.folder}/my tpu.env" in done.stderr


def test_the_example_is_a_configuration_and_runs_nothing(cloud):
    example = (SCRIPTS / "tpu.env.example").read_text()
    cloud.config(example.replace("NAME=bakein-1", "NAME=$(touch /tmp/x)"))
    assert "NAME is '$(touch /tmp/x)'" in cloud.run("create.sh").stderr
    cloud.config(example)
    assert cloud.run("create.sh").returncode == 0
    assert re.findall("^([A-Z_]+)=", example, re.MULTILINE) == [*CONFIG]


@pytest.mark.parametrize("script", ACCEPTED)
def test_a_failing_gcloud_ends_the_script_with_its_status(cloud, script):
    cloud.says("errors", *(f"{verb} ssh" for verb in ("create", "list", "scp", "ssh", "delete")))
    assert cloud.run(script, *ACCEPTED[script]).returncode == 255
    assert len(cloud.calls()) == 1


def test_create_makes_a_vm_a_queued_resource_or_several_slices(cloud):
    cloud.run("create.sh", "--spot=yes")
    cloud.run("create.sh", "--queued=yes")
    cloud.run("create.sh", "--queued=yes", "--slices=2", "--zone=us-east1-d", "--type=v6e-16")
    where = "--project=my-project --zone=us-east5-b"
    vm, queued, slices = map(shlex.join, cloud.calls())
    assert vm == (
        "compute tpus tpu-vm create bakein-1 --version=v2-alpha-tpuv6e"
        f" --accelerator-type=v6e-8 --spot {where}"
    )
    assert queued == (
        "compute tpus queued-resources create bakein-1 --node-id=bakein-1"
        f" --runtime-version=v2-alpha-tpuv6e --accelerator-type=v6e-8 {where}"
    )
    assert slices == (
        "compute tpus queued-resources create bakein-1 --node-count=2 --node-prefix=bakein-1"
        " --runtime-version=v2-alpha-tpuv6e --accelerator-type=v6e-16 --project=my-project"
        " --zone=us-east1-d"
    )
    assert "SLICES=2 needs QUEUED=yes" in cloud.run("create.sh", "--slices=2").stderr


def test_delete_asks_for_yes(cloud):
    done = cloud.run("delete.sh")
    assert done.returncode == 2
    assert "add --yes" in done.stderr
    assert cloud.calls() == []

    cloud.run("delete.sh", "--yes")
    cloud.run("delete.sh", "--yes", "--queued=yes")
    vm, queued = map(shlex.join, cloud.calls())
    where = "--project=my-project --zone=us-east5-b"
    assert vm == f"compute tpus tpu-vm delete bakein-1 --quiet {where}"
    assert queued == f"compute tpus queued-resources delete bakein-1 --force --quiet {where}"


def test_logs_follows_one_worker_or_shows_all(cloud):
    for home in cloud.workers(2):
        (home / "bakein.log").write_text(f"log of {home.name}\n")
    assert cloud.run("logs.sh").stdout == "tail -n 100 -F bakein.log\n"
    assert cloud.run("logs.sh", "--all").stdout == "w0: log of w0\nw1: log of w1\n"
    # On several slices both numbers count: the worker of each node.
    cloud.run("logs.sh", "--slices=2", "--queued=yes")
    assert cloud.calls()[-1][2:8] == [
        *("queued-resources", "ssh", "bakein-1", "--node=0", "--worker=0", "--quiet")
    ]


def test_launch_keeps_every_argument_intact_and_stop_ends_the_run(cloud):
    (home,) = cloud.workers(1)
    cloud.run("setup.sh")
    cloud.says("exits", "stubborn")
    arguments = [
        "experiments/my study.py:a b",
        '--config.name=it\'s "quoted" $HOME `id` $(id) \\ * ; & | > < é',
        "--config.lines=one\ntwo",
        "",
        "--dry-run",
    ]
    launched = cloud.run("launch.sh", "--", *arguments)
    assert launched.returncode == 0, launched.stderr
    group = int(wait_for(home / "bakein.pid"))
    assert wait_for(home / "arguments").split("\0")[:-1] == [
        *("run", "--workdir=gs://my-bucket/my-study-a-b", *arguments)
    ]
    wait_until_training(home)

    again = cloud.run("launch.sh", "--", "x.py")
    assert again.returncode == 1
    assert "w0: an experiment is running already" in again.stderr

    stopped = cloud.run("stop.sh", "--now")
    assert stopped.stdout == "w0: stopped\n"
    assert not running(group)
    assert (home / "bakein.exit").read_text() == "stopped\n"

    cloud.says("exits", "long")
    cloud.run("launch.sh", "--", "x.py")
    assert not (home / "bakein.exit").exists()  # that was of the run before
    wait_until_training(home, start=2)
    os.killpg(int((home / "bakein.pid").read_text()), signal.SIGTERM)
    assert wait_for(home / "bakein.exit") == "75\n"
    idle = cloud.run("stop.sh")
    assert (idle.returncode, idle.stdout) == (0, "w0: no experiment was running\n")


def test_stop_lets_the_run_save(cloud):
    homes = cloud.workers(2)
    cloud.run("setup.sh")
    cloud.says("exits", "long")
    assert cloud.run("launch.sh", "--", "x.py").returncode == 0
    for home in homes:
        wait_until_training(home)
    assert cloud.run("stop.sh").stdout == "w0: stopped\nw1: stopped\n"
    assert all(home.joinpath("bakein.log").read_text().endswith("saving\n") for home in homes)


@pytest.mark.parametrize(
    ("type_", "slices", "several"),
    [
        ("v6e-8", 1, False),
        ("v6e-16", 1, True),
        ("v5litepod-8", 1, False),
        ("v5litepod-16", 1, True),
        ("v5p-8", 1, False),  # cores: 4 chips, one host
        ("v5p-16", 1, True),
        ("v4-8", 1, False),
        ("v4-8", 2, True),
    ],
)
def test_several_hosts_are_told_so_and_share_a_store(cloud, type_, slices, several):
    kind = {"TYPE": type_, "SLICES": str(slices), "QUEUED": "yes"}
    cloud.config(**kind)
    done = cloud.run("launch.sh", "--dry-run", "--", "x.py")
    assert ("run --distributed --workdir=gs://my-bucket/x x.py" in done.stdout) is several
    cloud.config(**kind, STORE="")
    done = cloud.run("launch.sh", "--", "x.py")
    assert ("STORE is empty; a study on several hosts needs one" in done.stderr) is several


def test_several_workers_need_the_key_in_the_agent(cloud):
    executable(cloud.folder / "bin" / "ssh-add", "#!/bin/sh\nexit 2\n")
    done = cloud.run("setup.sh", "--type=v6e-16")
    assert done.returncode == 2
    assert "ssh-add ~/.ssh/google_compute_engine" in done.stderr
    assert cloud.run("setup.sh").returncode == 0


def test_setup_brings_the_workers_to_the_current_commit(cloud, scripts):
    (home,) = cloud.workers(1)
    for text in ("first", "second"):
        (scripts.parent / "file").write_text(text)
        git(scripts.parent, "add", ".")
        git(scripts.parent, "commit", "--quiet", "--message", text)
        done = cloud.run("setup.sh")
        assert done.returncode == 0, done.stderr
        checkout = home / "bakein"
        assert git(checkout, "rev-parse", "HEAD") == git(scripts.parent, "rev-parse", "HEAD")
        assert (checkout / "file").read_text() == text
    assert "--editable .[tpu]" in (home / "machine.log").read_text()
    assert [call[3] for call in cloud.calls()] == ["scp", "ssh"] * 2
    assert all("--worker=all" in call for call in cloud.calls())


@pytest.mark.parametrize(
    ("store", "arguments", "place"),
    [
        ("gs://b", ["experiments/x.py"], "--workdir=gs://b/x "),
        ("gs://b", ["/studies/x.py:a/b_c=1"], "--workdir=gs://b/x-a-b_c-1 "),
        ("gs://b", ["x"], "--workdir=gs://b/x "),
        ("gs://b", ["x.py", "--workdir=gs://b/mine"], None),
        ("gs://b", ["x.py", "--workdir", "gs://b/mine"], None),
        ("10.0.0.2:/share", ["x.py"], None),
        ("", ["x.py"], None),
    ],
)
def test_a_run_in_a_bucket_stands_below_the_name_of_its_experiment(cloud, store, arguments, place):
    cloud.config(STORE=store)
    done = cloud.run("launch.sh", "--dry-run", "--", *arguments)
    added = f"run {place or ''}{arguments[0]}"
    assert added in done.stdout


@pytest.mark.parametrize("script", ["launch.sh", "until_done.sh", "gke.sh"])
def test_an_option_is_not_taken_for_the_experiment(cloud, script):
    verb = ["launch"] if script == "gke.sh" else []
    done = cloud.run(script, *verb, "--", "--config.seeds=3", "experiments/x.py")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "expected -- EXPERIMENT [OPTIONS]: --config.seeds=3 comes after it" in done.stderr
    assert cloud.calls() == []


@pytest.mark.parametrize(
    ("store", "mount"),
    [
        ("gs://my-bucket", None),
        ("10.0.0.2:/share", "sudo mount -t nfs -o vers=4.1 10.0.0.2:/share runs"),
        ("10.0.0.2:/", "sudo mount -t nfs -o vers=4.1 10.0.0.2:/ runs"),
        ("", None),
    ],
)
def test_setup_mounts_the_store_once(cloud, store, mount):
    (home,) = cloud.workers(1)
    cloud.config(STORE=store)
    for _ in range(2):
        assert cloud.run("setup.sh").returncode == 0
    lines = (home / "machine.log").read_text().splitlines()
    assert lines.count(mount) == (1 if mount else 0)
    if mount:
        (home / "mounted").unlink()  # as after the machine was started anew
        done = cloud.run("launch.sh", "--", "x.py")
        assert done.returncode == 1
        assert "w0: STORE is not mounted; setup.sh does that" in done.stderr


def test_a_store_without_locks_for_all_machines_is_refused(cloud):
    cloud.config(STORE="10.0.0.2:/share")
    executable(cloud.folder / "machine" / "sudo", "#!/bin/sh\nexit 32\n")  # NFSv3 alone
    done = cloud.run("setup.sh")
    assert done.returncode == 1
    assert "w0: 10.0.0.2:/share cannot be mounted by NFSv4.1" in done.stderr


def test_status_shows_the_queue_the_vms_the_cost_and_the_run(cloud):
    cloud.config(QUEUED="yes")
    cloud.says("states", "- -")
    assert cloud.run("status.sh").stdout.splitlines()[1:] == [
        "queue: nothing asked for",
        "VM: none, and nothing to pay for it",
    ]
    cloud.says("states", "ACTIVE REPAIRING")
    assert "run " not in cloud.run("status.sh").stdout

    cloud.workers(2)
    cloud.run("setup.sh")
    cloud.says("states", "ACTIVE READY")
    cloud.says("exits", "0 3")
    cloud.run("launch.sh", "--", "x.py")
    for home in (cloud.folder / "workers").iterdir():
        wait_for(home / "bakein.exit")
    created = datetime.datetime(2026, 11, 27, 20, 3, 11, tzinfo=datetime.UTC)
    hours = (datetime.datetime.now(datetime.UTC) - created).total_seconds() / 3600
    lines = cloud.run("status.sh").stdout.splitlines()
    assert lines[0] == "bakein-1: 1 × v6e-8 in us-east5-b, 8 chips"
    assert lines[1] == "queue: ACTIVE"
    assert lines[2] == "VM: bakein-1 READY, 2 workers, created 2026-11-27T20:03:11.123456789Z"
    assert lines[3].startswith("cost so far: about ")
    assert float(lines[3].split()[4]) == pytest.approx(20 * hours, abs=0.5)
    assert "an estimate from PRICE=2.5 of 2026-11-27" in lines[3]
    assert lines[4:] == [
        "run w0 exited 0",
        "log w0 training, start 1",
        "run w1 exited 3",
        "log w1 training, start 1",
    ]
    assert "for the money, set PRICE" in cloud.run("status.sh", "--price=").stdout
