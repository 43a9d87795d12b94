"""The runner: walks a study's DAG, skips what is finished, resumes what was interrupted."""

import concurrent.futures
import dataclasses
import functools
import os
import platform
import subprocess
import threading
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

import jax

import bakein
from bakein import mesh as mesh_lib
from bakein.data.prompts import encode_prompts
from bakein.model import abstract_params
from bakein.study.dag import Dag, Node, build_dag
from bakein.study.digest import plain
from bakein.study.errors import ConfigError
from bakein.study.materials import Materials, mixture
from bakein.study.programs import Programs
from bakein.study.progress import Progress
from bakein.study.schema import Study, SupervisedConfig
from bakein.study.stages import Shop, run_node, work_of
from bakein.study.workdir import Workdir, write_json

_MOST_WORKERS = 4
_VERSIONS = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


class Stopped(Exception):
    """Another stage failed or the user interrupted; this one stops at its next record."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """A study, ready to run.

    Attributes:
        shop: what its stages work with.
        todo: nodes that are not finished, parents first.
    """

    shop: Shop
    todo: tuple[Node, ...]

    @property
    def dag(self) -> Dag:
        """All nodes."""
        return self.shop.dag


def make_plan(study: Study, workdir: Workdir, warn: Callable[[str], None]) -> Plan:
    """Builds mesh, data and DAG, and checks what can only be checked with them.

    Raises:
        ConfigError: a batch does not fit the mesh, or a prompt the rows.
        DataError: a file or a world cannot be used.
    """
    materials = Materials(study)
    try:
        mesh = mesh_lib.make_mesh(**dataclasses.asdict(study.mesh))
        model = study.model_config(materials.tokenizer.vocab_size)
        mesh_lib.logical_sharding(mesh, abstract_params(model))
    except ValueError as error:
        raise ConfigError(f"config.mesh: {error}") from error
    _check_fit(study, materials, mesh)
    dag = build_dag(study, materials)
    shop = Shop(study, dag, materials, workdir, mesh, Programs(), threading.Lock(), warn)
    todo = tuple(node for node in dag.nodes.values() if not shop.folder(node.id).finished)
    return Plan(shop, todo)


def _check_fit(study: Study, materials: Materials, mesh: jax.sharding.Mesh) -> None:
    """What depends on the devices and on the data."""

    def divisible(path: str, rows: int) -> None:
        try:
            mesh_lib.check_divisible(mesh, path, rows)
        except ValueError as error:
            raise ConfigError(str(error)) from error

    divisible("config.evaluation.rows", study.evaluation.rows)
    for stages in study.arms.values():
        for name, stage in stages.items():
            path = f"config.stages.{name}"
            if isinstance(stage, SupervisedConfig):
                divisible(f"{path}.batch / accumulation", stage.batch // stage.accumulation)
                mixture(name, stage)
            else:
                micro = stage.minibatches * stage.accumulation
                divisible(f"{path}.prompts * group", stage.prompts * stage.group // micro)
                first = materials.prompts(name, stage, study.members[0])
                sample = [first[i].prompt for i in range(min(256, len(first)))]
                try:
                    encode_prompts(materials.tokenizer, sample, stage.prompt_length)
                except ValueError as error:
                    raise ConfigError(f"{path}.prompt_length: {error}") from error


def run_plan(plan: Plan, config: Mapping[str, Any], rules: str) -> None:
    """Runs what is not finished and writes study.json, before anything is trained.

    Args:
        plan: from `make_plan`; its work directory is open.
        config: the whole configuration as JSON, for the record.
        rules: how verdicts will be made, for the record.

    Raises:
        Exception: what stopped a stage; the others were stopped too, and resume next time.
    """
    shop = plan.shop
    shop.materials.tokenizer.save(shop.workdir.path)
    write_json(shop.workdir.path / "study.json", describe_study(plan, config, rules))
    if plan.todo:
        progress = Progress(sum(work_of(node, shop) for node in plan.todo), len(plan.todo))
        try:
            _walk(plan, progress)
        finally:
            progress.close()


def _workers(plan: Plan) -> int:
    """How many stages run at a time: programs on a mesh of one CPU device leave cores idle."""
    if plan.shop.mesh.size > 1 or jax.default_backend() != "cpu":
        return 1
    return plan.shop.study.workers or min(_MOST_WORKERS, os.cpu_count() or 1)


def _walk(plan: Plan, progress: Progress) -> None:
    """Runs every node once its parent is finished, several at a time."""
    stop = threading.Event()
    waiting = {node.id: node for node in plan.todo}
    running: dict[concurrent.futures.Future, Node] = {}
    with concurrent.futures.ThreadPoolExecutor(_workers(plan)) as pool:
        try:
            while waiting or running:
                for node in list(waiting.values()):
                    busy = {n.id for n in running.values()} | set(waiting)
                    if len(running) < pool._max_workers and node.parent not in busy:
                        del waiting[node.id]
                        running[pool.submit(_run_one, node, plan.shop, progress, stop)] = node
                done, _ = concurrent.futures.wait(
                    running, return_when=concurrent.futures.FIRST_COMPLETED
                )
                for future in done:
                    del running[future]
                    future.result()
        except BaseException:
            stop.set()
            raise


def _run_one(node: Node, shop: Shop, progress: Progress, stop: threading.Event) -> None:
    work = work_of(node, shop)

    def report(share: float) -> None:
        if stop.is_set():
            raise Stopped
        progress.update(node.id, share * work)

    report(0.0)
    progress.start(node.id, node.name)
    try:
        run_node(node, shop, report)
    except Stopped:
        return
    except Exception as error:
        error.add_note(f"stage: {node.name} ({node.id})")
        raise
    progress.finish(node.id, work)


# --- the record -----------------------------------------------------------------------------------


def describe_study(plan: Plan, config: Mapping[str, Any], rules: str) -> dict[str, Any]:
    """study.json: all that the report needs, fixed before anything is trained."""
    study, dag = plan.shop.study, plan.dag
    return {
        "study": study.name,
        "config": config,
        "versions": {
            "python": platform.python_version(),
            "bakein": bakein.__version__,
            **{name: metadata.version(name) for name in _VERSIONS},
        },
        "git": _git_commit(),
        "device": _device(),
        "seeds": list(study.members),
        "arms": list(study.arms),
        "stages": list(next(iter(study.arms.values()))),
        "parents": {name: stage.parent for name, stage in next(iter(study.arms.values())).items()},
        "nodes": [
            {
                "id": id,
                "kind": dag.nodes[id].kind,
                "stage": stage,
                "arm": arm,
                "seed": seed,
                "parents": [dag.nodes[id].parent] if dag.nodes[id].parent else [],
            }
            for (arm, stage, seed), id in dag.places.items()
        ],
        "evals": dag.evals,
        "questions": {name: plain_fields(question) for name, question in study.questions.items()},
        "contrasts": [
            {"name": name, "question": "", **plain_fields(contrast)}
            for name, contrast in study.contrasts.items()
        ],
        "k": list(study.evaluation.k),
        "bootstrap": plain_fields(study.bootstrap),
        "verdict_rules": rules,
    }


def plain_fields(value: Any) -> dict[str, Any]:
    """The fields of a dataclass as JSON."""
    return {key: item for key, item in plain(value).items() if key != "class"}


def _device() -> str:
    device = jax.devices()[0]
    kind = platform.processor() or platform.machine() if device.platform == "cpu" else ""
    return f"{len(jax.devices())} x {device.device_kind} {kind}".strip()


@functools.cache
def _git_commit() -> str | None:
    """The commit of the code that runs, with + where it was changed; None outside a checkout."""
    where = os.path.dirname(bakein.__file__)

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", where, *words], capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        commit = git("rev-parse", "--short=12", "HEAD")
    except FileNotFoundError:  # no git on this machine
        return None
    return (commit + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")) or None
