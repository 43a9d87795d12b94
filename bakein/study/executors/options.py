"""What the command line says about executors, and the executor that it asks for."""

import contextlib
import functools
import importlib.util
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import jax

from bakein.paths import Path, absolute
from bakein.study.description import device_name
from bakein.study.errors import ConfigError
from bakein.study.executors.local import LocalExecutor
from bakein.study.progress import Progress
from bakein.study.shop import Shop
from bakein.study.walk import Executor

_RETRIES = 3

MakeExecutor = Callable[[Shop, Progress], Executor]


class RayOptions(NamedTuple):
    """What a run wants of a Ray cluster.

    Attributes:
        needs: what a stage needs of its machine, by Ray's names of resources.
        retries: how often a stage is begun again because its worker died.
    """

    needs: Mapping[str, float]
    retries: int


def ray_options(
    executor: str, resources: str | None, retries: int | None, others: Mapping[str, object]
) -> RayOptions | None:
    """Checks the arguments; None where there is to be no Ray.

    Args:
        executor: "local" or "ray".
        resources: like `CPU=1,GPU=1`; None where nothing is said.
        retries: None where nothing is said.
        others: arguments that do not go together with Ray, by name.

    Raises:
        ConfigError: one of them is wrong, or Ray is not installed.
    """
    given = {"resources": resources, "retries": retries}
    if executor != "ray":
        for name, value in given.items():
            if value is not None:
                raise ConfigError(f"--{name}: only with --executor=ray")
        return None
    for name, value in others.items():
        if value:
            raise ConfigError(f"--{name}: not with --executor=ray")
    if importlib.util.find_spec("ray") is None:
        raise ConfigError("--executor=ray: Ray is not installed; pip install -e '.[ray]'")
    if retries is not None and retries < 0:
        raise ConfigError(f"--retries is {retries}; it must be at least 0")
    needs = parse_needs(resources or "CPU=1")
    return RayOptions(needs, _RETRIES if retries is None else retries)


def parse_needs(text: str) -> dict[str, float]:
    """Resources by name, from `CPU=1,GPU=0.5`.

    Raises:
        ConfigError: the text is something else.
    """
    needs = {}
    for part in text.split(","):
        name, _, amount = part.partition("=")
        if not re.fullmatch(r"[A-Za-z][\w.-]*", name) or not re.fullmatch(r"\d+(\.\d+)?", amount):
            raise ConfigError(f"--resources {text}: {part!r} is not like CPU=1, GPU=1 or TPU=4")
        if name in needs or float(amount) == 0:
            raise ConfigError(f"--resources {text}: each kind once, and more than 0 of it")
        needs[name] = float(amount)
    return needs


@contextlib.contextmanager
def open_executor(
    options: RayOptions | None,
    experiment: str,
    overrides: Sequence[str],
    workdir: Path,
    workers: int,
) -> Iterator[tuple[MakeExecutor, str]]:
    """What makes the executor, and what its stages compute with.

    Args:
        options: of Ray; None for this process.
        experiment: FILE.py or FILE.py:ARG.
        overrides: `--config.key=value`.
        workdir: the work directory.
        workers: stages at a time that the study asks for; 0 for as many as there is room for.

    Raises:
        ConfigError: no machine of the cluster has what a stage needs, or a worker finds a mistake.
        ConnectionError: there is no cluster.
        WorkerDied: no worker can be started.
    """
    if options is None:
        yield LocalExecutor, device_name()
        return
    from bakein.study.executors.ray import Cluster, RayExecutor

    jax.config.update("jax_platforms", "cpu")  # the devices of this machine are for the workers
    words = (experiment, overrides, str(absolute(workdir)), os.getcwd())
    with Cluster(*words, options.needs, workers) as cluster:
        device = cluster.device()
        yield functools.partial(RayExecutor, cluster, device, options.retries), device
