"""kill -9, at ten moments over all stages: the finished run is the uninterrupted one, bit for bit.

Each life of the run is a process of its own, forked from a server that has imported everything.
It dies by SIGKILL at the n-th time that it touches the work directory (opening, renaming, making or
deleting something there), or a moment later: in the middle of a step, or of orbax's own threads.
"""

import multiprocessing
import os
import random
import shutil
import signal
import sys
import threading

import pytest
from tiny_study import FILE, differences, outcome, stage_info

KILLS = 10


def live(workdir, touches, delay):
    """Runs the study, and dies `delay` seconds after its n-th touch of the work directory."""
    counted, workdir = workdir.with_suffix(".touches"), f"{workdir}{os.sep}"
    lock, count = threading.Lock(), 0

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    def on_event(event, arguments):
        nonlocal count
        if event in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir"):
            where = arguments[0]
            if isinstance(where, str | os.PathLike) and str(where).startswith(workdir):
                with lock:
                    count += 1
                    last = count == touches
                if last and delay:
                    threading.Timer(delay, die).start()
                elif last:
                    die()

    sys.addaudithook(on_event)
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    from bakein.cli import main

    code = main(["run", FILE, "--workdir", workdir])
    counted.write_text(str(count))
    os._exit(code)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Starts lives. Compiled programs are kept on disk between them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["bakein.cli", "bakein.study.runner", "bakein.report.build", "bakein.report.terminal"]
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        patch.setenv("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

        def start(workdir, touches=0, delay=0.0):
            """Returns (exit code, touches of the work directory if it lived to its end)."""
            life = context.Process(target=live, args=(workdir, touches, delay))
            life.start()
            life.join()
            counted = workdir.with_suffix(".touches")
            return life.exitcode, int(counted.read_text()) if life.exitcode == 0 else None

        yield start


def test_killed_runs_end_as_the_uninterrupted_one(server, tmp_path):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    code, touches = server(straight)
    assert code == 0
    rng, at = random.Random(0), []
    for kill in range(KILLS):
        last = rng.randint(1, 12) if kill == 0 else int(rng.uniform(0.04, 0.12) * touches)
        code, _ = server(killed, last, rng.uniform(0.0, 0.3) if kill % 2 else 0.0)
        assert code == -signal.SIGKILL, at
        running = [stage_info(p.parent) for p in (killed / "stages").glob("*/stage.json")]
        at.append([f"{i['stage']} {i['kind']}" for i in running if i["status"] == "running"])
    print(at)
    assert server(killed)[0] == 0
    assert differences(outcome(killed), outcome(straight)) == []

    # And in the middle of the report.
    code, touches = server(killed)
    assert code == 0
    shutil.rmtree(killed / "report")
    assert server(killed, touches - 3)[0] == -signal.SIGKILL
    assert not (killed / "report" / "index.html").exists()
    assert server(killed)[0] == 0
    expected = outcome(straight)
    assert len([key for key in expected if key[1:] == ("records.jsonl",)]) == 24
    assert differences(outcome(killed), expected) == []
