"""`bakein run --executor=ray` on a cluster of two workers of one core: what a local run leaves."""

import json
import os
import re
import shutil
import signal
import threading
from pathlib import Path

import pytest
import ray
from test_walk import node
from tiny_study import FILE, differences, outcome, stage_info

from bakein.cli import main
from bakein.paths import copy_tree, path_of
from bakein.processes import Preempted
from bakein.study.errors import ConfigError, WorkerDied
from bakein.study.executors.options import parse_needs
from bakein.study.executors.ray import Cluster, RayExecutor, _Worker, connect
from bakein.study.walk import walk
from bakein.train.loop import NonFinite


@pytest.fixture(scope="module")
def cluster(_stand_in):
    """Ray on this machine, which lets two stages of one core run at a time.

    Its workers hear of the stand-in for buckets as they hear of everything: when they start.
    """
    connect("local", num_cpus=2, num_gpus=0)
    yield
    ray.shutdown()


def test_a_worker_is_killed_and_the_study_ends_as_a_local_one(
    cluster, finished_run, tmp_path, monkeypatch, capsys
):
    one_device = os.environ["XLA_FLAGS"].replace("device_count=8", "device_count=1")
    monkeypatch.setenv("XLA_FLAGS", one_device)
    workdir = tmp_path / "run"
    shutil.copytree(finished_run, workdir)
    for name in ("report", ".claims"):
        shutil.rmtree(workdir / name)
    for path in (workdir / "stages").iterdir():
        if stage_info(path)["seed"] == 1:
            shutil.rmtree(path)
    told, over = {}, threading.Event()

    def kill_one():
        """The first worker that is seen in the middle of a stage; and keeps what all told."""
        killed = None
        while not over.wait(0.01):
            for path in (workdir / ".claims").glob("*"):
                text = path.read_text()
                if text.endswith("}"):
                    told[path.name] = json.loads(text)
                    if killed is None and 0 < told[path.name]["share"] < 1:
                        killed = told[path.name]["pid"]
                        os.kill(killed, signal.SIGKILL)
        told["killed"] = killed

    killer = threading.Thread(target=kill_one)
    killer.start()
    try:
        code = main(["run", FILE, "--workdir", str(workdir), "--executor=ray"])
    finally:
        over.set()
        killer.join()
    printed = capsys.readouterr()
    assert code == 0, printed.err
    assert printed.out.startswith(f"12 of 24 stages to run in {workdir}\n")
    assert re.search(r"^bakein: a worker died; .* 1 goes on with another: ", printed.err, re.M)
    killed = told.pop("killed")
    assert killed not in (None, os.getpid())
    assert len({words["pid"] for words in told.values()} - {killed, os.getpid()}) == 2
    assert differences(outcome(workdir), outcome(finished_run)) == []
    study, expected = (json.loads((p / "study.json").read_text()) for p in (workdir, finished_run))
    assert study == expected


def test_workers_meet_in_a_bucket(cluster, bucket, finished_run, tmp_path, monkeypatch, capsys):
    one_device = os.environ["XLA_FLAGS"].replace("device_count=8", "device_count=1")
    monkeypatch.setenv("XLA_FLAGS", one_device)
    url = "gs://bucket/run"
    half = tmp_path / "half"
    shutil.copytree(finished_run, half)
    for path in (half / "stages").iterdir():
        if (stage_info(path)["seed"], stage_info(path)["stage"]) == (1, "rl"):
            shutil.rmtree(path)
    reuse = ["--reuse", str(half)]
    assert main(["run", FILE, "--workdir", url, "--executor=ray", *reuse]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(
        f"20 stages taken over from {half}\n4 of 24 stages to run in {url}\n"
    )
    copy_tree(path_of(url), tmp_path / "run")
    assert differences(outcome(tmp_path / "run"), outcome(finished_run)) == []
    assert not [name for name in bucket.objects if ".claims" in name]


def test_a_mistake_that_a_worker_finds_is_one_line(cluster, tmp_path, capsys):
    arguments = ("run", FILE, "--workdir", str(tmp_path / "run"), "--executor=ray")
    assert main([*arguments, "--config.mesh.data=3"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("bakein: config.mesh: mesh member=1, data=3, ")
    assert main([*arguments, "--resources=GPU=1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "bakein: --resources GPU=1: no machine of the Ray cluster has that; all together have CPU=2"
    )
    assert not (tmp_path / "run" / "study.json").exists()


def test_a_worker_names_what_differs_on_its_machine(finished_run, one_device, monkeypatch):
    monkeypatch.chdir(Path(FILE).parent)
    words = ("tiny_study.py", ["--config.bootstrap.resamples=200"], str(finished_run), os.getcwd())
    study = json.loads((finished_run / "study.json").read_text())
    worker, id = _Worker(*words), study["nodes"][0]["id"]
    finished, (line,) = worker.run(id, "4 x TPU v5e")
    assert finished
    assert line.endswith(f" has {study['device']}, not 4 x TPU v5e: numbers may differ a bit")
    assert worker.run(id, "4 x TPU v5e") == (True, [])
    with pytest.raises(ConfigError, match=r"the study is another one on .*: there is no stage 123"):
        worker.run("123", study["device"])


def make_worker():
    """In a function, so that Ray takes along what the machines of the cluster cannot import."""

    class Worker:
        """Dies or fails as the id of its node says."""

        def __init__(self, tries):
            self.tries = tries
            self.left = threading.Event()

        def leave(self):
            self.left.set()

        def run(self, id, device):
            if id == "saves":
                from bakein.processes import Preempted

                self.left.wait()
                (self.tries / "saved").touch()
                raise Preempted
            if id == "breaks":
                from bakein.train.loop import NonFinite

                error = NonFinite("loss is nan")
                error.add_note("stage: breaks")
                raise error
            if id == "fails":
                raise RuntimeError("a programmer's mistake")
            begun = len(list(self.tries.glob(f"{id}*")))
            (self.tries / f"{id}.{begun}").touch()
            if id.startswith("dies") and begun < int(id[-1]):
                os.kill(os.getpid(), signal.SIGKILL)
            return True, [f"{id} on {device}"]

    return ray.remote(Worker)


class Fakes:
    """Stands for a cluster, a shop and a progress bar."""

    slots = 2
    asked = False

    def __init__(self, tries):
        self.workdir, self._tries, self.study, self.log = self, tries, None, []
        self.model = self.materials = None

    def take(self):
        self.log.append("take")
        return make_worker().options(num_cpus=0, max_concurrency=2).remote(self._tries)

    def give(self, worker):
        self.log.append("give")

    def lose(self, worker):
        self.log.append("lose")
        ray.kill(worker)

    def drop(self, worker):
        self.log.append("drop")
        ray.kill(worker)

    def told(self, id):
        return 0.5

    def warn(self, line):
        self.log.append(line)

    def preempted(self):
        return self.asked

    def update(self, id, name, work):
        pass

    def finish(self, id, work):
        self.log.append(f"{id} finished")


@pytest.fixture
def run(cluster, tmp_path, monkeypatch):
    """Runs nodes with workers that do as they are told; returns what went on."""
    monkeypatch.setattr("bakein.study.executors.ray.work_of", lambda node, shop: 1.0)

    def run(*ids, retries=2, asked=False):
        run.fakes = Fakes(tmp_path)
        run.fakes.asked = asked
        executor = RayExecutor(run.fakes, "cpu", retries, run.fakes, run.fakes)
        walk([node(id) for id in ids], executor, run.fakes.warn, patience=0.01)
        return run.fakes.log

    return run


def test_a_node_is_begun_again_as_often_as_its_worker_may_die(run):
    log = run("good", "dies 2")
    died = [line for line in log if line.startswith("a worker died; arm dies 2 0 goes on with")]
    assert len(died) == 2
    assert sorted(line for line in log if line not in died) == sorted(
        ["take", "lose"] * 2
        + ["take", "give"] * 2
        + ["good on cpu", "dies 2 on cpu", "good finished", "dies 2 finished"]
    )


def test_idle_workers_of_a_machine_that_is_gone_are_one_death(run, cluster, monkeypatch):
    """Not one for each of them, which would use up what a stage may lose."""

    class Able:
        def __init__(self, *words):
            pass

        def device(self):
            return "cpu"

        def run(self, id, device):
            return True, []

    monkeypatch.setattr("bakein.study.executors.ray._Worker", Able)
    monkeypatch.setattr("bakein.study.executors.ray.work_of", lambda node, shop: 1.0)
    workers = Cluster("x.py", (), "w", ".", {"CPU": 0.1}, 0)
    idle = [workers.take() for _ in range(4)]
    ray.get([worker.device.remote() for worker in idle])
    for worker in idle:
        workers.give(worker)
        ray.kill(worker)
    shop = Fakes(None)
    walk([node("next")], RayExecutor(workers, "cpu", 1, shop, shop), shop.warn, patience=0.01)
    assert [line.partition(":")[0] for line in shop.log] == [
        "a worker died; arm next 0 goes on with another",
        "next finished",
    ]
    for worker in list(workers._workers):
        workers.drop(worker)


def test_a_worker_that_dies_too_often_is_one_line(run):
    with pytest.raises(
        WorkerDied, match=r"^a worker died for the 2\. time while it ran arm dies 9"
    ):
        run("dies 9", retries=1)


def test_what_stops_a_node_is_what_would_stop_a_local_one(run):
    with pytest.raises(NonFinite, match="loss is nan") as caught:
        run("breaks")
    assert caught.value.__notes__ == ["stage: breaks"]
    with pytest.raises(RuntimeError, match=r"(?s)test_ray\.py.*a programmer's mistake"):
        run("fails")


def test_workers_save_what_they_are_at_when_the_run_is_asked_to_leave(run, tmp_path):
    with pytest.raises(Preempted):
        run("saves", asked=True)
    assert (tmp_path / "saved").exists()


def test_resources_are_read_or_named():
    assert parse_needs("CPU=2,TPU=4,v5e.host=0.5") == {"CPU": 2, "TPU": 4, "v5e.host": 0.5}
    for text in ("", "CPU", "CPU=", "CPU=x", "CPU=-1", "CPU=0", "CPU=1,CPU=1", "CPU=1,", "1=1"):
        with pytest.raises(ConfigError, match=re.escape(f"--resources {text}: ")):
            parse_needs(text)
