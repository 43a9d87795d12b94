"""What the tests of `tpu_scripts` share: a configuration, stand-ins, and workers in folders."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "tpu_scripts"

CONFIG = {
    "NAME": "bakein-1",
    "PROJECT": "my-project",
    "ZONE": "us-east5-b",
    "TYPE": "v6e-8",
    "VERSION": "v2-alpha-tpuv6e",
    "SPOT": "no",
    "QUEUED": "no",
    "SLICES": "1",
    "STORE": "gs://my-bucket",
    "PRICE": "2.5",
    "PRICE_DATE": "2026-11-27",
    "RETRIES": "5",
    "POLL": "0.02",
    "PATIENCE": "3600",
}

# What until_done.sh is given to run.
STUDY = ["--", "experiments/my study.py", "--config.name=it's"]

# Programs of a worker. The installation brings a bakein that writes its arguments down, says what
# it does, and ends with the status that `exits` has for this start of this worker: a line for each
# start (the last one stays), a word for each worker. `long` works, with a child, until SIGTERM;
# `stubborn` ignores that, too; `3-later` works until `over` is there, and ends with 3.
MACHINE = {
    "hostname": 'basename "$HOME"',
    "mountpoint": "[[ -e $HOME/mounted ]]",
    "tail": '[[ $* == *-F* ]] && echo "tail $*" || exec /usr/bin/tail "$@"',
    "mount.nfs": "",
    "sudo": 'echo "sudo $*" >>"$HOME/machine.log"; touch "$HOME/mounted"',
    "python3": r"""echo "python3 $*" >>"$HOME/machine.log"
if [[ $* == '-m uv venv '* ]]; then mkdir -p .venv/bin; cp "$CLOUD/bakein" .venv/bin; fi""",
}
BAKEIN = r"""#!/usr/bin/env bash
printf '%s\0' "$@" >"$HOME/arguments.new" && mv "$HOME/arguments.new" "$HOME/arguments"
starts=$CLOUD/starts-$(hostname)
echo start >>"$starts"
read -ra ends < <(head -n "$(wc -l <"$starts")" "$CLOUD/exits" | tail -n 1)
number=$(hostname | tr -d w)
end=${ends[$number]-${ends[0]}}
case $end in
long) trap 'echo saving; exit 75' TERM ;;
stubborn) trap '' TERM ;;
esac
echo "training, start $(wc -l <"$starts")"
case $end in
long | stubborn) sleep 600 & wait ;;
*-later)
  until [[ -e $CLOUD/over ]]; do sleep 0.02; done
  exit "${end%-later}"
  ;;
*) exit "$end" ;;
esac
"""


def executable(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


class Cloud:
    """Runs the scripts with the stand-ins first on the PATH."""

    def __init__(self, folder: Path, scripts: Path):
        self.folder, self.scripts = folder, scripts
        (folder / "calls").mkdir()
        self.workers(1)
        self.says("states", "ACTIVE READY")
        self.says("exits", "0")
        gcloud = (ROOT / "tests" / "tpu_gcloud.py").read_text()
        executable(folder / "bin" / "gcloud", f"#!{sys.executable} -SE\n{gcloud}")
        executable(folder / "bin" / "ssh-add", "#!/bin/sh\n")
        for name, text in MACHINE.items():
            executable(folder / "machine" / name, f"#!/usr/bin/env bash\n{text}\n")
        executable(folder / "bakein", BAKEIN)
        self.env = os.environ | {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "CLOUD": str(folder),
            "TMPDIR": str(folder),
            "RECORDED": str(ROOT / "tests" / "recorded"),
        }
        self.config()

    def says(self, name: str, *lines: str) -> None:
        """Writes what the stand-ins read."""
        (self.folder / name).write_text("".join(f"{line}\n" for line in lines))

    def workers(self, count: int) -> list[Path]:
        """Empty home directories of that many workers."""
        shutil.rmtree(self.folder / "workers", ignore_errors=True)
        homes = [self.folder / "workers" / f"w{i}" for i in range(count)]
        for home in homes:
            home.mkdir(parents=True)
        return homes

    def home(self, worker: int = 0) -> Path:
        return self.folder / "workers" / f"w{worker}"

    def config(self, text: str | None = None, **changed: str | None) -> Path:
        """Writes the configuration; None leaves a key out."""
        values = {key: value for key, value in (CONFIG | changed).items() if value is not None}
        lines = "".join(f"{key}={value}  # a comment\n" for key, value in values.items())
        path = self.folder / "my tpu.env"
        path.write_text(f"# the TPU\n\n{lines}" if text is None else text)
        return path

    def command(self, script: str, *args: str) -> list[str]:
        verb, rest = ([args[0]], args[1:]) if script == "gke.sh" else ([], args)
        return [str(self.scripts / script), *verb, f"--config={self.folder / 'my tpu.env'}", *rest]

    def run(self, script: str, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(script, *args),
            env=self.env | env,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
        )

    def calls(self) -> list[list[str]]:
        files = sorted((self.folder / "calls").iterdir(), key=lambda path: int(path.name))
        return [path.read_text().split("\0")[:-1] for path in files]

    def verbs(self) -> list[str]:
        """Which things gcloud was asked to do, without looking and without asking the workers."""
        return [call[3] for call in self.calls() if call[3] not in ("list", "ssh")]

    def power_off(self) -> None:
        """Ends what is left running on the workers."""
        for pid in (self.folder / "workers").glob("*/bakein.pid"):
            if pid.read_text() and running(int(pid.read_text())):
                os.killpg(int(pid.read_text()), signal.SIGKILL)


def start(cloud: Cloud, *args: str) -> subprocess.Popen[str]:
    """until_done.sh in the background, in a process group of its own, as in a terminal."""
    return subprocess.Popen(
        cloud.command("until_done.sh", *args, *STUDY),
        env=cloud.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def starts(cloud: Cloud, worker: int = 0) -> int:
    """How often the run was started on a worker."""
    path = cloud.folder / f"starts-w{worker}"
    return path.read_text().count("\n") if path.exists() else 0


def wait_for(path: Path) -> str:
    """The text of a file that a process of the worker writes in one go."""
    deadline = time.monotonic() + 30
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.02)
    return path.read_text()


def wait_until_training(home: Path, start: int = 1) -> None:
    """Waits until the run on a worker is under way, for the start-th time."""
    while f"training, start {start}\n" not in wait_for(home / "bakein.log"):
        time.sleep(0.02)


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


def git(folder: Path, *args: str) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    return subprocess.run(
        ["git", "-C", folder, *identity, *args], capture_output=True, text=True, check=True
    ).stdout.strip()


def project(folder: Path) -> Path:
    """A small repository with the scripts in it; returns their folder."""
    shutil.copytree(SCRIPTS, folder / "tpu_scripts")
    git(folder.parent, "init", "--quiet", str(folder))
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "first")
    return folder / "tpu_scripts"
