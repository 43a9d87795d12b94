"""A study by the local runner and by Ray: wall times, and whether the results are identical.

    python benchmarks/ray_quickstart.py [experiments/quickstart.py:smoke] [--workers 2] [--kills 1]
        [--config.key=value ...]

The local runner runs as many stages at a time as Ray has workers. During the run
on Ray, workers are killed (SIGKILL) at random moments, each in the middle of a stage.
"""

import argparse
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any


def main() -> None:
    """Runs both and prints what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment", nargs="?", default="experiments/quickstart.py:smoke")
    parser.add_argument("--workers", type=int, default=2, help="stages at a time")
    parser.add_argument("--kills", type=int, default=1, help="workers to kill")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--folder", type=Path, help="for the work directories; default: temporary")
    arguments, overrides = parser.parse_known_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="ray_quickstart-"))
    limit = f"--config.workers={arguments.workers}"
    command = [sys.executable, "-m", "bakein", "run", arguments.experiment, limit, *overrides]
    print(f"{arguments.experiment} on {os.cpu_count()} cores of {platform.machine()}", flush=True)

    seconds = timed([*command, "--workdir", folder / "local"])
    print(f"local runner         {seconds:7.1f} s", flush=True)
    over = threading.Event()
    rng = random.Random(arguments.seed)
    killer = threading.Thread(target=kill, args=(folder / "ray", arguments.kills, rng, over))
    killer.start()
    try:
        seconds = timed([*command, "--workdir", folder / "ray", "--executor=ray"])
    finally:
        over.set()
        killer.join()
    print(f"Ray, {arguments.workers} workers       {seconds:7.1f} s", flush=True)

    local, ray = outcome(folder / "local"), outcome(folder / "ray")
    different = sorted(name for name in {*local, *ray} if local.get(name) != ray.get(name))
    for name in different:
        print(f"DIFFERENT: {name}")
    print(f"{len(local) - len(different)} of {len(local)} files and checkpoints identical")
    sys.exit(bool(different))


def timed(command: list[str | Path]) -> float:
    """Seconds that a command takes; its report is not shown."""
    start = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - start


def kill(workdir: Path, kills: int, rng: random.Random, over: threading.Event) -> None:
    """Kills workers that tell of a stage half done, some seconds after each other."""
    killed: set[int] = set()
    due = time.monotonic() + rng.uniform(0, 10)
    while len(killed) < kills and not over.wait(0.05):
        told = [words for path in (workdir / ".claims").glob("*") if (words := read(path))]
        busy = [w["pid"] for w in told if 0 < w["share"] < 1 and w["pid"] not in killed]
        if busy and time.monotonic() > due:
            pid = rng.choice(busy)
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:  # what it told is older than its death
                continue
            killed.add(pid)
            print(f"killed worker {pid}", flush=True)
            due = time.monotonic() + rng.uniform(0, 10)


def read(path: Path) -> dict[str, Any]:
    """What a worker told; {} where it is just telling, or nobody told."""
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError:
        return {}


def outcome(workdir: Path) -> dict[str, Any]:
    """All that must not depend on who ran the stages, by name."""
    found: dict[str, Any] = {}
    for path in [workdir / "study.json", workdir / "report" / "results.json"]:
        found[path.name] = without_times(json.loads(path.read_text("utf-8")))
    for folder in sorted((workdir / "stages").iterdir()):
        info = json.loads((folder / "stage.json").read_text("utf-8"))
        found[f"{folder.name} stage.json"] = without_times(info)
        for path in folder.glob("*.jsonl"):
            found[f"{folder.name} {path.name}"] = path.read_bytes()
        if (folder / "checkpoints").exists():
            found[f"{folder.name} checkpoint"] = checksums(folder / "checkpoints")
    return found


def without_times(value: Any) -> Any:
    """A JSON value without what a clock said and which machine it was."""
    if isinstance(value, dict):
        kept = {k for k in value if "seconds" not in k and k not in ("time", "made_by")}
        return {k: without_times(v) for k, v in value.items() if k in kept}
    return [without_times(v) for v in value] if isinstance(value, list) else value


def checksums(checkpoints: Path) -> dict[str, Any]:
    """Of the last checkpoint: of its parameters, its optimizer and its data's position."""
    step = max(int(path.name) for path in checkpoints.iterdir() if path.name.isdigit())
    meta = json.loads((checkpoints / str(step) / "meta" / "data.json").read_text("utf-8"))
    return {"step": step, **meta["checksums"]}


if __name__ == "__main__":
    main()
