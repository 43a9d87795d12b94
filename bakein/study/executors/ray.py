"""The executor of many machines: workers of a Ray cluster on a shared work directory.

A worker is a process, a Ray actor, that holds the devices which one stage needs. It is told the
words of the command line and the id of a node, plans the study itself, and keeps data and compiled
programs from one node to the next. What a worker leaves is in the work directory, as if a run on
its machine had left it; Ray carries nothing but strings there, and whether a node is finished back.
"""

import collections
import logging
import math
import os
import socket
import threading
import time
import warnings
from collections.abc import Collection, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

import ray
from ray.exceptions import NodeDiedError, OutOfMemoryError, RayActorError, RayError, RayTaskError

from bakein.data.errors import DataError
from bakein.paths import unanswered
from bakein.processes import Preempted
from bakein.study.config import resolve
from bakein.study.dag import Node
from bakein.study.description import device_name
from bakein.study.errors import ConfigError, WorkerDied
from bakein.study.experiment import load_experiment
from bakein.study.programs import keep_programs
from bakein.study.progress import Progress
from bakein.study.runner import check_devices, make_plan
from bakein.study.shop import Shop, work_of
from bakein.study.stages import run_claimed
from bakein.study.startup import prepare_jax
from bakein.study.workdir import Workdir
from bakein.train.checkpoints import NoUsableCheckpoint
from bakein.train.loop import NonFinite

# What a run says in one line, wherever it happened.
_ONE_LINE = (ConfigError, DataError, NoUsableCheckpoint, NonFinite, OSError, Preempted)
_DEATHS = (RayActorError, NodeDiedError, OutOfMemoryError)
# Numbers are the same where jax, XLA and libtpu are told the same.
_SETTINGS = ("JAX_", "XLA_", "LIBTPU_")
_SAVE = 60.0  # seconds that workers have for it, where the run is asked to leave
_POLL = 1.0  # seconds between two looks at how far the workers are

Worker = Any  # handle of a `_Worker`


class _Worker:
    """What runs on a worker: one node after the other."""

    def __init__(self, experiment: str, overrides: Sequence[str], workdir: str, folder: str):
        """Reads nothing yet; see `Cluster` for the arguments."""
        self._words = (experiment, overrides, workdir, folder)
        self._shop: Shop | None = None
        self._warnings: list[str] = []
        self._leaving = threading.Event()

    def leave(self) -> None:
        """Has what is running, in another thread, saved and stopped by `Preempted`."""
        self._leaving.set()

    def device(self) -> str:
        """What it computes with.

        Raises:
            Exception: as for `resolve`, `make_plan` and `check_devices`.
        """
        if self._shop is None:
            self._shop = self._plan(*self._words)
        return device_name()

    def run(self, id: str, device: str) -> tuple[bool, list[str]]:
        """Runs a node as a local run does; errors as for `run_claimed`.

        Args:
            id: of the node.
            device: what study.json says that the study is run with.

        Returns:
            Whether the node is finished, and what a local run would have warned of.
        """
        self._warnings.clear()
        begins = self._shop is None
        ours = self.device()
        shop = self._shop
        if id not in shop.dag.nodes:
            raise ConfigError(
                f"the study is another one on {socket.gethostname()}: there is no stage {id}; the "
                "same code, experiment file and data must stand on every machine"
            )
        if begins and ours != device:
            where = socket.gethostname()
            self._warnings.append(f"{where} has {ours}, not {device}: numbers may differ a bit")
        node = shop.dag.nodes[id]
        finished = run_claimed(node, shop, lambda share: shop.workdir.tell(id, share))
        return finished, list(self._warnings)

    def _plan(self, experiment: str, overrides: Sequence[str], workdir: str, folder: str) -> Shop:
        prepare_jax()
        os.chdir(folder)  # to which the paths of a study are relative
        study = resolve(load_experiment(experiment, overrides))
        place = Workdir(workdir)
        keep_programs(place.path / "programs")
        warn, leaving = self._warnings.append, self._leaving.is_set
        shop = make_plan(study, place, warn, leaving).shop
        check_devices(shop)
        return shop


def connect(address: str | None = None, **options: Any) -> None:
    """Connects to a Ray cluster, or starts one, without a word.

    Args:
        address: of the cluster; "local" to start one on this machine; None as `Cluster` says.
        options: of `ray.init`, for a cluster that is started.

    Raises:
        ConnectionError: there is none, or it does not start.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent unasked
    with warnings.catch_warnings():
        # Of jax: a fork may hang. Ray forks only to execute another program at once.
        warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
        try:
            ray.init(
                address,
                include_dashboard=False,
                logging_level=logging.ERROR,
                log_to_driver=False,
                **options,
            )
        except Exception as error:  # Ray has no type for it
            raise ConnectionError(f"no Ray cluster: {error}") from error


class Cluster:
    """A connection to a Ray cluster, and the workers of one run there."""

    def __init__(
        self,
        experiment: str,
        overrides: Sequence[str],
        workdir: str,
        folder: str,
        needs: Mapping[str, float],
        workers: int,
    ):
        """Names what is to be run; to enter it connects to the cluster.

        Args:
            experiment: FILE.py or FILE.py:ARG.
            overrides: `--config.key=value`.
            workdir: the work directory, which every machine sees under this path.
            folder: to which the paths are relative.
            needs: what a stage needs, by Ray's names of resources.
            workers: how many to ask for, though the cluster may have to grow; 0 for as many as
                its machines have room for.
        """
        self._words = (experiment, tuple(overrides), workdir, folder)
        self._needs = dict(needs)
        self._expected = workers
        self._idle: list[Worker] = []
        self._workers: set[Worker] = set()
        self._started = False

    def __enter__(self) -> Self:
        """Connects to the cluster of RAY_ADDRESS, or to this machine's, or starts one here.

        Raises:
            ConnectionError: there is none at RAY_ADDRESS, or it does not start.
        """
        if not ray.is_initialized():
            connect()
            self._started = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends the workers, whatever they are at."""
        for worker in list(self._workers):
            self.drop(worker)
        if self._started:
            ray.shutdown()

    @property
    def slots(self) -> int:
        """How many workers there may be."""
        return self._expected or max(1, self.capacity)

    @property
    def capacity(self) -> int:
        """How many workers the machines that are there now have room for."""
        room = 0
        for machine in ray.nodes():
            if machine["Alive"]:
                has = machine["Resources"]
                room += min(math.floor(has.get(n, 0) / v) for n, v in self._needs.items())
        return room

    def device(self) -> str:
        """What a worker computes with.

        Raises:
            ConfigError: no machine has what a stage needs, and none is waited for.
            Exception: what a worker found wrong with the study.
        """
        if not (self.capacity or self._expected):
            has = ray.cluster_resources()
            kinds = sorted(name for name in has if ":" not in name and "memory" not in name)
            raise ConfigError(
                f"--resources {_shown(self._needs)}: no machine of the Ray cluster has that; all "
                f"together have {_shown({name: has[name] for name in kinds})}"
            )
        worker = self.take()
        try:
            name = _answer(worker.device.remote())
        except _DEATHS as error:
            raise WorkerDied(f"a worker died before it began: {_reason(error)}") from error
        self.give(worker)
        return name

    def take(self) -> Worker:
        """An idle worker, or a new one."""
        if self._idle:
            return self._idle.pop()
        others = {n: v for n, v in self._needs.items() if n not in ("CPU", "GPU")}
        settings = {n: v for n, v in os.environ.items() if n.startswith(_SETTINGS)}
        make = ray.remote(_Worker).options(
            num_cpus=self._needs.get("CPU", 0),
            num_gpus=self._needs.get("GPU", 0),
            resources=others,
            runtime_env={"env_vars": settings},
            max_concurrency=2,  # one node, and `leave`
        )
        worker = make.remote(*self._words)
        self._workers.add(worker)
        return worker

    def give(self, worker: Worker) -> None:
        """Takes back a worker that has nothing to do."""
        self._idle.append(worker)

    def lose(self, worker: Worker) -> None:
        """Ends what is left of a worker that died, and idle ones: their machine may be gone too."""
        for lost in (worker, *self._idle):
            self.drop(lost)
        self._idle.clear()

    def drop(self, worker: Worker) -> None:
        """Ends a worker, if it has not ended by itself."""
        self._workers.discard(worker)
        ray.kill(worker)


class _Call(NamedTuple):
    node: Node
    worker: Worker


class RayExecutor:
    """Runs nodes on the workers of a cluster; see `Executor`."""

    def __init__(self, cluster: Cluster, device: str, retries: int, shop: Shop, progress: Progress):
        """Starts nothing yet.

        Args:
            cluster: where to run.
            device: what study.json says that the study is run with.
            retries: how often a node is begun again because its worker has died.
            shop: what the nodes work with.
            progress: told how far they are.
        """
        self._cluster = cluster
        self._device = device
        self._retries = retries
        self._shop = shop
        self._progress = progress
        self._calls: dict[ray.ObjectRef, _Call] = {}
        self._leaving = False
        self._deaths: collections.Counter[str] = collections.Counter()

    @property
    def slots(self) -> int:
        """How many workers there may be now: machines come and go."""
        return self._cluster.slots

    def submit(self, node: Node) -> str:
        """Begins a node."""
        worker = self._cluster.take()
        if self._leaving:
            worker.leave.remote()
        self._calls[worker.run.remote(node.id, self._device)] = _Call(node, worker)
        return node.id

    def wait(self, running: Collection[str], timeout: float | None) -> dict[str, bool]:
        """Waits until one of those running is done, or the time is over."""
        end = math.inf if timeout is None else time.monotonic() + timeout
        results: dict[str, bool] = {}
        while not results:
            if self._shop.preempted() and not self._leaving:
                self._leaving = True
                for _, worker in self._calls.values():
                    worker.leave.remote()
            left = max(0.0, min(_POLL, end - time.monotonic()))
            done, _ = ray.wait(list(self._calls), timeout=left)
            for ref in done:
                node = self._calls[ref].node
                finished = self._result(ref)
                if finished is not None:
                    results[node.id] = finished
            for node, _ in self._calls.values():
                share = self._shop.workdir.told(node.id)
                self._progress.update(node.id, node.name, share * work_of(node, self._shop))
            if time.monotonic() >= end:
                break
        return results

    def _result(self, ref: ray.ObjectRef) -> bool | None:
        """Whether a call left its node finished; None where the node was begun again."""
        node, worker = self._calls.pop(ref)
        try:
            finished, warnings = _answer(ref)
        except _DEATHS as error:
            self._cluster.lose(worker)
            self._deaths[node.id] += 1
            reason = _reason(error)
            if self._deaths[node.id] > self._retries:
                raise WorkerDied(
                    f"a worker died for the {self._deaths[node.id]}. time while it ran {node.name} "
                    f"({node.id}): {reason}"
                ) from error
            self._shop.warn(f"a worker died; {node.name} goes on with another: {reason}")
            self.submit(node)
            return None
        self._cluster.give(worker)
        for line in warnings:
            self._shop.warn(line)
        if finished:
            self._progress.finish(node.id, work_of(node, self._shop))
        return finished

    def __enter__(self) -> Self:
        """Nothing to get ready."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends the workers of what is running, after an error: it goes on from its checkpoints.

        Where this machine is wanted back, they save first.
        """
        if self._calls and kind is not None and issubclass(kind, Preempted):
            ray.wait(list(self._calls), num_returns=len(self._calls), timeout=_SAVE)
        for _, worker in self._calls.values():
            self._cluster.drop(worker)


def _answer(ref: ray.ObjectRef) -> Any:
    """What a call returned.

    Raises:
        Exception: what stopped it, as it would stop a local run; a programmer's mistake as Ray
            tells of it, with the worker's traceback.
    """
    try:
        return ray.get(ref)
    except RayTaskError as error:
        if isinstance(error.cause, _ONE_LINE) or unanswered(error.cause):
            raise error.cause from None
        raise


def _reason(error: RayError) -> str:
    """Of what Ray tells of a death, the line that says why."""
    return str(error).strip().splitlines()[-1]


def _shown(amounts: Mapping[str, float]) -> str:
    return ",".join(f"{name}={amount:g}" for name, amount in amounts.items())
