"""Interrupts a study at random moments, and shows that it ends as if nobody had.

    python benchmarks/interruptions.py "tests/tiny_study.py:one arm"

The study runs once undisturbed, as two processes of four CPU devices with real collectives. Then it
runs again in another work directory and is interrupted: at random moments of its writing, a process
of it, or all of them, get SIGTERM or SIGKILL, and it is started again on another mesh or in another
number of processes. Nothing may be lost, nothing done twice, and the curves must be the same: to
the bit where the mesh never changed, else to float tolerance.
"""

import argparse
import contextlib
import dataclasses
import functools
import json
import multiprocessing
import os
import random
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PATIENCE = 900.0  # seconds that a life may take; it is an error to take more

RESTARTS = 3

KILLS = ("SIGTERM", "SIGKILL", "SIGKILL to all")


@dataclasses.dataclass(frozen=True)
class Layout:
    """How many processes, and how many devices in each."""

    processes: int
    devices: int

    def __str__(self):
        return f"{self.processes}x{self.devices}"


TWO_BY_FOUR = Layout(2, 4)
LAYOUTS = (TWO_BY_FOUR, TWO_BY_FOUR, Layout(1, 8), Layout(2, 2), Layout(1, 4))


class Lives:
    """Starts `bakein run` in processes that are forked from one that has imported it all."""

    def __init__(
        self,
        experiment: str,
        overrides: Sequence[str],
        cache: Path,
        place: Callable[[Path], str] = str,
    ):
        """The compiled programs are kept in `cache` between lives.

        `place` says what a run is told of a work directory, which may be elsewhere.
        """
        self.arguments = (experiment, *overrides)
        self.cache = cache
        self.place = place
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(
            ["bakein.cli", "bakein.study.runner", "bakein.report.build", "bakein.report.terminal"]
        )

    def start(self, layout: Layout, workdir: Path) -> "Life":
        """Begins to run the study, or what is left of it."""
        with socket.socket() as free:
            free.bind(("localhost", 0))
            address = f"localhost:{free.getsockname()[1]}"
        flags = [
            ("--coordinator", address, "--processes", f"{layout.processes}", "--process", f"{i}")
            for i in range(layout.processes)
        ]
        return self.start_with(flags, layout.devices, workdir)

    def start_with(self, flags: Sequence[Sequence[str]], devices: int, workdir: Path) -> "Life":
        """Begins a process with each of the given flags."""
        touches = self._context.Value("q", 0)
        run = ("run", *self.arguments, "--workdir", self.place(workdir))
        # The server that forks keeps the environment it was started in.
        shared = (dict(os.environ), devices, self.cache, f"{workdir}{os.sep}")
        processes = [
            self._context.Process(
                target=_live,
                args=(
                    [*run, *own],
                    *shared,
                    self.log(workdir, index),
                    touches if index == 0 else None,
                ),
            )
            for index, own in enumerate(flags)
        ]
        for process in processes:
            process.start()
        return Life(processes, touches)

    def run(self, layout: Layout, workdir: Path) -> int:
        """Runs the study to its end; returns how often that touched the work directory.

        As a launcher does, it starts again what asks for that: where a machine is so busy that
        one process is half a minute late, the collectives of CPUs give up waiting for it.
        """
        touches = 0
        for _ in range(RESTARTS):
            life = self.start(layout, workdir)
            codes = life.codes()
            touches += life.touches.value
            if set(codes) != {75}:
                break
        assert set(codes) == {0}, (codes, self.log(workdir, 0).read_text("utf-8")[-1000:])
        return touches

    @staticmethod
    def log(workdir: Path, index: int) -> Path:
        """Where a process of all its lives prints."""
        return workdir.with_suffix(f".{index}.log")


@dataclasses.dataclass
class Life:
    """Processes that run the study."""

    processes: list[Any]
    touches: Any  # how often the first of them has touched the work directory

    def wait(self, touches: float = float("inf")) -> bool:
        """Waits for their end, or for so many touches; whether they still live."""
        until = time.monotonic() + PATIENCE
        while any(process.is_alive() for process in self.processes):
            if self.touches.value >= touches:
                return True
            if time.monotonic() > until:
                self.end()
                raise TimeoutError(f"a life took more than {PATIENCE:.0f} s")
            time.sleep(0.002)
        return False

    def interrupt(self, kill: str, rng: random.Random) -> None:
        """Sends the signal to one of the processes, or to all."""
        number = signal.SIGTERM if kill == "SIGTERM" else signal.SIGKILL
        chosen = self.processes if kill.endswith("all") else [rng.choice(self.processes)]
        for process in chosen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)

    def codes(self) -> list[int]:
        """Exit codes, once all have ended."""
        self.wait()
        return [process.exitcode for process in self.processes]

    def end(self) -> None:
        """Kills what is still there."""
        for process in self.processes:
            process.kill()


def _live(arguments, environment, devices, cache, workdir, log, touches) -> None:
    """One process's life."""
    os.environ.update(environment)
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["XLA_FLAGS"] = " ".join(
        [
            f"--xla_force_host_platform_device_count={devices}",
            "--xla_cpu_multi_thread_eigen=false",
            # Compiling takes longer than running here.
            "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
        ]
    )
    import jax

    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    if touches is not None:
        sys.addaudithook(lambda event, args: _count(event, args, workdir, touches))
    from bakein.cli import main

    with open(log, "a", buffering=1, encoding="utf-8") as file, contextlib.redirect_stdout(file):
        # XLA's collectives print that they are connected, at any time and through one another.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(file.fileno(), 2)
        code = main(arguments)
    os._exit(code)


def _count(event, arguments, workdir, touches) -> None:
    if event in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir"):
        where = arguments[0]
        if isinstance(where, str | os.PathLike) and str(where).startswith(workdir):
            with touches.get_lock():
                touches.value += 1


# --- what is left -------------------------------------------------------------------------------


def records(workdir: Path) -> dict[str, list[dict[str, Any]]]:
    """Records of every stage."""
    return {
        path.parent.name: [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        for path in sorted(workdir.glob("stages/*/records.jsonl"))
    }


def difference(left: Path, right: Path) -> float:
    """The largest difference between two numbers of two runs' records, relative where above 1.

    Raises:
        AssertionError: a record, a count or a ledger is not the same.
    """
    largest = 0.0
    ours, theirs = records(left), records(right)
    assert ours.keys() == theirs.keys(), "other stages"
    for stage, lines in ours.items():
        steps = [[line.get("step") for line in found] for found in (lines, theirs[stage])]
        assert steps[0] == steps[1], f"{stage}: records of other steps"
        for line, other in zip(lines, theirs[stage], strict=True):
            assert line.keys() == other.keys(), f"{stage}: {line} {other}"
            for name, value in line.items():
                if isinstance(value, float):
                    scale = max(1.0, abs(other[name]))
                    largest = max(largest, abs(value - other[name]) / scale)
                else:
                    assert value == other[name], f"{stage}: {name} is {value}, not {other[name]}"
        infos = [
            json.loads((workdir / "stages" / stage / "stage.json").read_text("utf-8"))
            for workdir in (left, right)
        ]
        for key in ("status", "ledger", "steps"):
            assert infos[0][key] == infos[1][key], f"{stage}: {key}"
    return largest


@dataclasses.dataclass(frozen=True)
class Interruption:
    """What happened to one life."""

    layout: Layout
    kill: str
    touches: int  # at which it was sent
    codes: list[int]
    seconds: float  # from the signal to the end of the last process

    def __str__(self):
        return (
            f"{self.layout} {self.kill:15} at touch {self.touches:4d}: exit codes {self.codes} "
            f"after {self.seconds:.1f} s"
        )


def interrupted(
    lives: Lives,
    workdir: Path,
    touches: int,
    plan: Sequence[tuple[Layout, str]],
    last: Layout,
    when: tuple[float, float],
    rng: random.Random,
    tell: Callable[[str], None],
) -> list[Interruption]:
    """Runs a study to its end.

    Args:
        lives: of the study.
        workdir: of the run.
        touches: of a run that nobody disturbs.
        plan: how each life runs, and ends.
        last: how the one runs that nobody disturbs.
        when: between which shares of its even part of the run a life is interrupted.
        rng: says when between them.
        tell: told of each interruption.
    """
    found: list[Interruption] = []
    restarts = 0
    while len(found) < len(plan):
        layout, kill = plan[len(found)]
        at = int(rng.uniform(*when) * touches / len(plan))
        life = lives.start(layout, workdir)
        if not life.wait(at):
            codes = set(life.codes())
            assert codes in ({0}, {75}), codes  # 75: see `Lives.run`
            if codes == {0}:
                return found  # it came to its end first
            restarts += 1
            assert restarts < RESTARTS, "lives end by themselves"
            continue
        time.sleep(rng.uniform(0.0, 0.2))
        sent = time.monotonic()
        life.interrupt(kill, rng)
        codes = life.codes()
        found.append(Interruption(layout, kill, at, codes, time.monotonic() - sent))
        tell(f"{len(found):3d}  {found[-1]}")
        if kill == "SIGTERM":
            assert set(codes) <= {75, 0}, codes
    lives.run(last, workdir)
    return found


def main() -> None:
    """Prints what was done to the run, and how far it is from the straight one."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("experiment", help="FILE.py or FILE.py:ARG")
    parser.add_argument("--interruptions", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments and the signals")
    arguments, overrides = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="bakein-interruptions-") as folder:
        straight, broken = Path(folder) / "straight", Path(folder) / "interrupted"
        cache = Path(os.environ.get("JAX_COMPILATION_CACHE_DIR", f"{folder}/cache"))
        lives = Lives(arguments.experiment, overrides, cache)
        touches, rng = lives.run(TWO_BY_FOUR, straight), random.Random(arguments.seed)
        plan = [(rng.choice(LAYOUTS), rng.choice(KILLS)) for _ in range(arguments.interruptions)]
        tell = functools.partial(print, flush=True)
        tell(f"the straight run touches its work directory {touches} times")
        # Early enough for the study to last, late enough for it to get on.
        when = (0.2, 1.4)
        found = interrupted(lives, broken, touches, plan, TWO_BY_FOUR, when, rng, tell)
        told = [json.loads(path.read_text("utf-8")) for path in broken.glob("stages/*/stage.json")]
        told = [stage for stage in told if "useful_seconds" in stage]
        share = sum(s["useful_seconds"] for s in told) / sum(s["seconds"] for s in told)
        print(
            f"{len(found)} interruptions; records, steps and ledgers are those of the straight "
            f"run, numbers differ by {difference(broken, straight):.1e} at most; goodput "
            f"{share:.0%}"
        )


if __name__ == "__main__":
    main()
