"""The TPU scripts, run with a stand-in gcloud that records its arguments and plays the worker."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "tpu_scripts"

# Writes a file of NUL-separated arguments for each call. WORKER, if set, is a folder that stands
# for the home directory of a worker: there --command is run and a bundle arrives.
GCLOUD = r"""#!/usr/bin/env bash
set -eu
printf '%s\0' "$@" >"$CALLS/$(ls "$CALLS" | wc -l)"
if [[ -n ${WORKER-} ]]; then
  for word in "$@"; do
    [[ $word == --command=* ]] && (cd "$WORKER" && HOME=$WORKER PATH=$WORKER/bin:$PATH \
      bash -c "${word#--command=}")
    [[ $word == *.bundle && $word == /* ]] && cp "$word" "$WORKER"
  done
fi
exit "${STATUS:-0}"
"""

TPU = ["bakein-1", "us-east5-b"]
# Every script with arguments that it accepts.
ACCEPTED = {
    "create.sh": [*TPU, "v6e-8", "v2-alpha-tpuv6e"],
    "setup.sh": TPU,
    "launch.sh": [*TPU, "--", "experiments/quickstart.py"],
    "logs.sh": TPU,
    "stop.sh": TPU,
    "delete.sh": ["--yes", *TPU],
}


def executable(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


class Cloud:
    """Runs the scripts with the stand-in first on the PATH."""

    def __init__(self, folder: Path):
        self.records = folder / "calls"
        self.records.mkdir()
        self.worker = folder / "worker"
        self.worker.mkdir()
        executable(folder / "bin" / "gcloud", GCLOUD)
        self.env = os.environ | {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "CALLS": str(self.records),
        }

    def run(self, script, *args, scripts=SCRIPTS, **env):
        return subprocess.run(
            [scripts / script, *args],
            env=self.env | env,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
        )

    def calls(self) -> list[list[str]]:
        files = sorted(self.records.iterdir(), key=lambda path: int(path.name))
        return [path.read_text().split("\0")[:-1] for path in files]


@pytest.fixture
def cloud(tmp_path):
    return Cloud(tmp_path)


def test_every_script_is_tested():
    assert {path.name for path in SCRIPTS.glob("*.sh")} == {*ACCEPTED, "common.sh"}


def test_shellcheck_finds_nothing():
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([shellcheck, *SCRIPTS.glob("*.sh")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", ACCEPTED)
def test_help_names_the_script_and_calls_nothing(cloud, script):
    done = cloud.run(script, "--help")
    assert done.returncode == 0
    assert f"  {script} " in done.stdout
    assert "--dry-run" in done.stdout
    assert cloud.calls() == []


@pytest.mark.parametrize("script", ACCEPTED)
def test_dry_run_prints_the_very_commands_and_calls_nothing(cloud, script):
    dry = cloud.run(script, "--dry-run", *ACCEPTED[script])
    assert dry.returncode == 0, dry.stderr
    assert cloud.calls() == []
    assert cloud.run(script, *ACCEPTED[script]).returncode == 0

    # Only bash can read bash's quoting back.
    real = cloud.calls()
    subprocess.run(["bash", "-c", "git() { :; }\n" + dry.stdout], env=cloud.env, check=True)
    printed = cloud.calls()[len(real) :]
    if script == "setup.sh":  # The bundle's folder is new every time.
        real[0][4] = printed[0][4] = "bundle"
    assert printed == real != []


@pytest.mark.parametrize("script", ACCEPTED)
@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "expected NAME ZONE"),
        (["bakein-1"], "expected NAME ZONE"),
        ([*TPU, "a", "b", "c"], "got 5 arguments"),
        (["--sp0t", *TPU], "unknown option --sp0t"),
    ],
)
def test_wrong_arguments_exit_2_with_one_line_and_call_nothing(cloud, script, args, message):
    done = cloud.run(script, *args)
    assert done.returncode == 2
    assert done.stderr.startswith(f"{script}: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert cloud.calls() == []


@pytest.mark.parametrize("script", ACCEPTED)
def test_a_failing_gcloud_ends_the_script_with_its_status(cloud, script):
    assert cloud.run(script, *ACCEPTED[script], STATUS="7").returncode == 7
    assert len(cloud.calls()) == 1


def test_create_makes_a_vm_or_a_queued_resource(cloud):
    cloud.run("create.sh", *ACCEPTED["create.sh"], "--spot")
    cloud.run("create.sh", "--queued", *ACCEPTED["create.sh"])
    vm, queued = cloud.calls()
    assert shlex.join(vm) == (
        "compute tpus tpu-vm create bakein-1 --version=v2-alpha-tpuv6e"
        " --zone=us-east5-b --accelerator-type=v6e-8 --spot"
    )
    assert shlex.join(queued) == (
        "compute tpus queued-resources create bakein-1 --node-id=bakein-1"
        " --runtime-version=v2-alpha-tpuv6e --zone=us-east5-b --accelerator-type=v6e-8"
    )


def test_delete_asks_for_yes(cloud):
    done = cloud.run("delete.sh", *TPU)
    assert done.returncode == 2
    assert "add --yes" in done.stderr
    assert cloud.calls() == []

    cloud.run("delete.sh", *TPU, "--yes")
    cloud.run("delete.sh", *TPU, "--yes", "--queued")
    vm, queued = cloud.calls()
    assert shlex.join(vm) == "compute tpus tpu-vm delete bakein-1 --zone=us-east5-b --quiet"
    assert shlex.join(queued) == (
        "compute tpus queued-resources delete bakein-1 --force --zone=us-east5-b --quiet"
    )


def test_logs_follows_one_worker_or_all(cloud):
    cloud.run("logs.sh", *TPU)
    cloud.run("logs.sh", "--all", *TPU)
    assert [call[6] for call in cloud.calls()] == ["--worker=0", "--worker=all"]
    assert all("tail -n 100 -F bakein/runs/launch.log" in call[7] for call in cloud.calls())


def wait_for(path: Path) -> str:
    """The text of a file that a process of the worker writes in one go."""
    deadline = time.monotonic() + 30
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.02)
    return path.read_text()


def running(group: int) -> bool:
    """Whether a process group has a process that is not a zombie."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, pgrp = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # It ended meanwhile.
            continue
        if int(pgrp) == group and state != "Z":
            return True
    return False


def test_launch_keeps_every_argument_intact_and_stop_ends_the_run(cloud):
    home = cloud.worker / "bakein"
    # Stands for bakein: writes its arguments down and works, with a child, until it is killed.
    executable(
        home / ".venv/bin/bakein",
        "#!/usr/bin/env bash\ntrap '' TERM\nprintf '%s\\0' \"$@\" >arguments.new\n"
        "mv arguments.new arguments\necho training\nsleep 600 & wait\n",
    )
    arguments = [
        "experiments/my study.py:a b",
        '--config.name=it\'s "quoted" $HOME `id` $(id) \\ * ; & | > < é',
        "--config.lines=one\ntwo",
        "",
        "--dry-run",
    ]
    launched = cloud.run("launch.sh", *TPU, "--", *arguments, WORKER=str(cloud.worker))
    group = int(wait_for(home / "runs/launch.pid"))
    try:
        assert launched.returncode == 0, launched.stderr
        assert wait_for(home / "arguments").split("\0")[:-1] == ["run", *arguments]
        assert wait_for(home / "runs/launch.log") == "training\n"

        again = cloud.run("launch.sh", *TPU, "--", "x.py", WORKER=str(cloud.worker))
        assert again.returncode == 1
        assert "running already" in again.stderr

        stopped = cloud.run("stop.sh", *TPU, WORKER=str(cloud.worker))
        assert ": stopped" in stopped.stdout
        deadline = time.monotonic() + 30
        while running(group):
            assert time.monotonic() < deadline, "the run outlived stop.sh"
            time.sleep(0.02)
    finally:
        if running(group):
            os.killpg(group, signal.SIGKILL)
    idle = cloud.run("stop.sh", *TPU, WORKER=str(cloud.worker))
    assert idle.returncode == 0
    assert "no experiment was running" in idle.stdout


def git(folder: Path, *args: str) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    return subprocess.run(
        ["git", "-C", folder, *identity, *args], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_setup_brings_the_workers_to_the_current_commit(cloud, tmp_path):
    project = tmp_path / "my project"
    shutil.copytree(SCRIPTS, project / "tpu_scripts")
    git(tmp_path, "init", "--quiet", str(project))
    executable(
        cloud.worker / "bin/python3", '#!/usr/bin/env bash\necho "$@" >>"$HOME/python.log"\n'
    )
    for text in ("first", "second"):
        (project / "file").write_text(text)
        git(project, "add", ".")
        git(project, "commit", "--quiet", "--message", text)
        done = cloud.run(
            "setup.sh", *TPU, scripts=project / "tpu_scripts", WORKER=str(cloud.worker)
        )
        assert done.returncode == 0, done.stderr
        checkout = cloud.worker / "bakein"
        assert git(checkout, "rev-parse", "HEAD") == git(project, "rev-parse", "HEAD")
        assert (checkout / "file").read_text() == text
    assert "--editable .[tpu]" in (cloud.worker / "python.log").read_text()
    assert [call[3] for call in cloud.calls()] == ["scp", "ssh"] * 2
    assert all("--worker=all" in call for call in cloud.calls())
