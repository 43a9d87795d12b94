"""gke.sh, run with a stand-in XPK."""

import shlex
import subprocess

import pytest
from tpu_cloud import ROOT, Cloud, executable, git

WHERE = "--cluster=bakein-1 --project=my-project --zone=us-east5-b"

# Records its arguments, looks at the checkout that it is given, and ends with the status asked for.
XPK = r"""#!/usr/bin/env bash
set -eu
printf '%s\0' "$@" >"$CLOUD/calls/$(ls "$CLOUD/calls" | wc -l)"
for word in "$@"; do
  if [[ $word == --script-dir=* ]]; then git -C "${word#*=}" rev-parse HEAD >"$CLOUD/commit"; fi
done
if [[ $2 == list ]]; then cat "$RECORDED/xpk_list.txt"; fi
exit "${STATUS:-0}"
"""


@pytest.fixture
def cloud(tmp_path, scripts):
    cloud = Cloud(tmp_path, scripts)
    for tool in ("xpk", "kubectl"):
        executable(tmp_path / "bin" / tool, XPK)
    return cloud


def calls(cloud):
    return [shlex.join(call) for call in cloud.calls()]


def test_create_makes_the_cluster(cloud):
    assert cloud.run("gke.sh", "create", "--spot=yes", "--slices=2").returncode == 0
    assert cloud.run("gke.sh", "create").returncode == 0
    assert calls(cloud) == [
        f"cluster create --tpu-type=v6e-8 --num-slices=2 --spot {WHERE}",
        f"cluster create --tpu-type=v6e-8 --num-slices=1 --on-demand {WHERE}",
    ]


def test_launch_brings_the_commit_and_keeps_every_argument_intact(cloud, scripts, tmp_path):
    arguments = ["experiments/my study.py:a b", '--config.name=it\'s "q" $HOME `id` $(id) \\ * é']
    arguments += ["--config.lines=one\ntwo", "", "--dry-run"]
    done = cloud.run("gke.sh", "launch", "--type=v6e-16", "--", *arguments)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "commit").read_text().strip() == git(scripts, "rev-parse", "HEAD")
    (call,) = cloud.calls()
    command = next(word for word in call if word.startswith("--command=")).partition("=")[2]
    for flag in ("--restart-on-exit-codes=75", "--max-restarts=5", "--tpu-type=v6e-16"):
        assert flag in call
    assert not list(tmp_path.glob("tmp.*"))  # the checkout is gone again

    # XPK puts the command between parentheses in a script, on one line of a YAML block.
    assert "\n" not in command
    for tool in ("git", "python"):
        executable(tmp_path / "bin" / tool, "#!/bin/sh\n")
    executable(
        tmp_path / "bin" / "bakein",
        "#!/bin/bash\ntrap 'exit 75' TERM\nprintf '%s\\0' \"$@\" >ran\nsleep 60 & wait\n",
    )
    ran = subprocess.run(
        ["bash", "-c", f"({command}) & until [[ -s ran ]]; do :; done; kill $!; wait $!"],
        env=cloud.env,
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
    )
    assert (tmp_path / "ran").read_text().split("\0")[:-1] == [
        *("run", "--distributed", "--workdir=gs://my-bucket/my-study-a-b", *arguments)
    ]
    assert ran.returncode == 75  # SIGTERM reached the run, and its status XPK


def test_status_logs_stop_and_delete(cloud):
    done = cloud.run("gke.sh", "status")
    assert "Admitted by ClusterQueue cluster-queue" in done.stdout
    assert "it costs about 20.00 USD an hour" in done.stdout
    for verb in (["logs"], ["stop"], ["delete", "--yes"]):
        assert cloud.run("gke.sh", *verb).returncode == 0
    assert calls(cloud) == [
        f"workload list --filter-by-job=bakein-1 {WHERE}",
        "logs --selector=xpk.google.com/workload=bakein-1 --container=jax-tpu --prefix --follow"
        " --tail=100 --max-log-requests=256",
        f"workload delete --workload=bakein-1 --force {WHERE}",
        f"cluster delete --force {WHERE}",
    ]


@pytest.mark.parametrize(
    ("status", "message"),
    [("0", "done; while"), ("125", "failed: gke.sh logs"), ("124", "xpk ended with 124")],
)
def test_wait_says_how_the_workload_ended(cloud, status, message):
    done = cloud.run("gke.sh", "wait", STATUS=status)
    assert done.returncode == int(status)
    assert message in done.stdout + done.stderr
    assert calls(cloud) == [f"workload list --wait-for-job-completion=bakein-1 {WHERE}"]


VERBS = (
    *(["create"], ["launch", "--", "x y.py"], ["status"]),
    *(["wait"], ["logs"], ["stop"], ["delete", "--yes"]),
)


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_dry_run_prints_the_very_commands_and_calls_nothing(cloud, verb):
    dry = cloud.run("gke.sh", verb[0], "--dry-run", *verb[1:])
    assert dry.returncode == 0, dry.stderr
    assert cloud.calls() == []
    assert cloud.run("gke.sh", *verb).returncode == 0
    real = cloud.calls()
    subprocess.run(["bash", "-ec", dry.stdout], env=cloud.env, check=True, stdout=subprocess.PIPE)
    printed = cloud.calls()[len(real) :]
    for call in real + printed:  # The folder of the checkout is new every time.
        call[:] = [word for word in call if not word.startswith("--script-dir=")]
    assert printed == real != []


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_a_failing_xpk_ends_the_script_with_its_status(cloud, verb):
    assert cloud.run("gke.sh", *verb, STATUS="7").returncode == 7
    assert len(cloud.calls()) == 1


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["start"], "expected create, launch, status"),
        (["launch"], "expected -- EXPERIMENT after launch"),
        (["launch", "--store=", "--", "x.py"], "STORE is ''; on GKE it must be gs://BUCKET"),
        (["launch", "--store=10.0.0.2:/share", "--", "x.py"], "on GKE it must be gs://BUCKET"),
        (["delete"], "add --yes"),
    ],
)
def test_a_mistake_is_one_line(cloud, args, message):
    done = cloud.run("gke.sh", *args)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert message in done.stderr
    assert cloud.calls() == []


def test_the_recorded_stand_ins_are_documented():
    files = {path.name for path in (ROOT / "tests" / "recorded").iterdir()} - {"README.md"}
    text = (ROOT / "tests" / "recorded" / "README.md").read_text()
    assert all(f"`{name}`" in text for name in files)
