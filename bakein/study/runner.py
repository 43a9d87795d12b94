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
from bakein.data.documents import ENDLESS
from bakein.data.prompts import encode_prompts
from bakein.model import abstract_params
from bakein.study.dag import Dag, Node, build_dag
from bakein.study.digest import plain
from bakein.study.errors import Stopped, naming
from bakein.study.files import write_json
from bakein.study.materials import Materials, mixture, packing
from bakein.study.programs import Programs
from bakein.study.progress import Progress
from bakein.study.schema import Study, SupervisedConfig
from bakein.study.shop import Shop, work_of
from bakein.study.stages import run_node
from bakein.study.workdir import Workdir

_MOST_WORKERS = 4
_VERSIONS = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


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
        WorkdirError: a file of the work directory is damaged.
    """
    materials = Materials(study)
    model = study.model_config(materials.tokenizer.vocab_size)
    with naming("config.mesh"):
        mesh = mesh_lib.make_mesh(**dataclasses.asdict(study.mesh))
        mesh_lib.logical_sharding(mesh, abstract_params(model))
    _check_fit(study, materials, mesh)
    dag = build_dag(study, materials)
    locks = threading.Lock(), threading.RLock()
    shop = Shop(study, dag, materials, workdir, mesh, Programs(), *locks, warn)
    return Plan(shop, _todo(shop))


def _todo(shop: Shop) -> tuple[Node, ...]:
    return tuple(node for node in shop.dag.nodes.values() if not shop.folder(node.id).finished)


def reuse(plan: Plan, other: Workdir) -> Plan:
    """What is left to do once the stages that another study has finished are taken over.

    Raises:
        WorkdirError: the other is no work directory, or is the plan's own.
    """
    plan.shop.workdir.take_over(other, [node.id for node in plan.todo])
    return Plan(plan.shop, _todo(plan.shop))


def _check_fit(study: Study, materials: Materials, mesh: jax.sharding.Mesh) -> None:
    """What depends on the devices and on the data."""
    with naming("config.evaluation"):
        mesh_lib.check_divisible(mesh, "rows", study.evaluation.rows)
    for name, probe in study.probes.items():
        with naming(f"config.probes.{name}"):
            mesh_lib.check_divisible(mesh, "rows", probe.rows)
    checked: set[tuple[str, int]] = set()
    for stages in study.arms.values():
        for name, stage in stages.items():
            with naming(f"config.stages.{name}"):
                if isinstance(stage, SupervisedConfig):
                    rows = stage.batch // stage.accumulation
                    mesh_lib.check_divisible(mesh, "batch / accumulation", rows)
                    mixture(name, stage).shard(packing(name, stage).shards - 1, stage.shards)
                    continue
                rows = stage.prompts * stage.group // (stage.minibatches * stage.accumulation)
                mesh_lib.check_divisible(mesh, "prompts * group / minibatches / accumulation", rows)
                if (stage.world, stage.prompt_length) in checked:
                    continue
                checked.add((stage.world, stage.prompt_length))
                problems = materials.prompts(name, stage, study.members[0])
                # Of an endless world some have to stand for all; real text has a few long prompts.
                count = len(problems) if len(problems) < ENDLESS else 256
                prompts = [problems[i].prompt for i in range(count)]
                with naming(f"config.stages.{name}.prompt_length"):
                    encode_prompts(materials.tokenizer, prompts, stage.prompt_length)


def run_plan(
    plan: Plan, config: Mapping[str, Any], rules: str, published: Mapping[str, Any] | None
) -> None:
    """Runs what is not finished and writes study.json, before anything is trained.

    Args:
        plan: from `make_plan`; its work directory is open.
        config: the whole configuration as JSON, for the record.
        rules: how verdicts will be made, for the record.
        published: gaps to be shown beside the study's, for the record; None for none.

    Raises:
        Exception: what stopped a stage; the others were stopped too, and resume next time.
    """
    shop = plan.shop
    shop.materials.tokenizer.save(shop.workdir.path)
    record = describe_study(plan, config, rules, published)
    write_json(shop.workdir.path / "study.json", record)
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
    workers, stop = _workers(plan), threading.Event()
    waiting = {node.id: node for node in plan.todo}
    running: dict[concurrent.futures.Future, str] = {}
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        try:
            while waiting or running:
                unfinished = {*waiting, *running.values()}
                ready = [node for node in waiting.values() if node.parent not in unfinished]
                for node in ready[: workers - len(running)]:
                    del waiting[node.id]
                    running[pool.submit(_run_one, node, plan.shop, progress, stop)] = node.id
                done, _ = concurrent.futures.wait(
                    running, return_when=concurrent.futures.FIRST_COMPLETED
                )
                for future in done:
                    del running[future]
                    future.result()
        except BaseException as error:
            stop.set()
            if isinstance(error, KeyboardInterrupt):
                plan.shop.warn("interrupted; waiting for the running stages to stop")
            raise


def _run_one(node: Node, shop: Shop, progress: Progress, stop: threading.Event) -> None:
    work = work_of(node, shop)

    def report(share: float) -> None:
        if stop.is_set():
            raise Stopped
        progress.update(node.id, share * work)

    progress.start(node.id, node.name)
    try:
        report(0.0)
        run_node(node, shop, report)
    except Stopped:
        return
    except Exception as error:
        error.add_note(f"stage: {node.name} ({node.id})")
        raise
    progress.finish(node.id, work)


# --- the record -----------------------------------------------------------------------------------


def describe_study(
    plan: Plan, config: Mapping[str, Any], rules: str, published: Mapping[str, Any] | None
) -> dict[str, Any]:
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
        "stages": list(study.stages),
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
        "probes": {
            name: {
                "k": list(probe.k),
                "nodes": dag.probes[name],
                **({"budgets": list(probe.doublings)} if probe.doublings else {}),
            }
            for name, probe in study.probes.items()
        },
        "questions": {
            name: {**plain_fields(question), "places": [list(place) for place in question.places]}
            for name, question in study.questions.items()
        },
        "contrasts": [
            {"name": name, "question": "", **plain_fields(contrast)}
            for name, contrast in study.contrasts.items()
        ],
        "k": list(study.evaluation.k),
        "bootstrap": plain_fields(study.bootstrap),
        "verdict_rules": rules,
        "published": published,
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
        if not git("ls-files", "__init__.py"):  # installed, perhaps below another's checkout
            return None
    except FileNotFoundError:  # no git on this machine
        return None
    changed = "+" if git("status", "--porcelain", "--untracked-files=no") else ""
    return git("rev-parse", "--short=12", "HEAD") + changed
