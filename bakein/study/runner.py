"""The runner: plans a study, skips what is finished, and has the rest walked."""

import dataclasses
import threading
from collections.abc import Callable

import jax

from bakein import mesh as mesh_lib
from bakein import processes
from bakein.data.documents import ENDLESS
from bakein.data.prompts import encode_prompts
from bakein.model import abstract_params, check_platform
from bakein.study.dag import Dag, Node, build_dag
from bakein.study.digest import digest
from bakein.study.errors import ConfigError, naming
from bakein.study.materials import Materials, mixture, packing
from bakein.study.programs import Programs
from bakein.study.progress import Progress
from bakein.study.schema import Study, SupervisedConfig
from bakein.study.shop import Shop, work_of
from bakein.study.walk import Executor, walk
from bakein.study.workdir import Workdir

_PATIENCE = 1.0  # seconds between two looks at a stage that another process runs


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


def make_plan(
    study: Study, workdir: Workdir, warn: Callable[[str], None], preempted: Callable[[], bool]
) -> Plan:
    """Builds data and DAG; no device is touched, and what depends on them is not checked.

    Args:
        study: the study.
        workdir: where it stands.
        warn: prints one line.
        preempted: see `Shop`.

    Raises:
        ConfigError: the data does not fit the configuration, or another process of the run has
            another study.
        DataError: a file or a world cannot be used.
        WorkdirError: a file of the work directory is damaged.
    """
    materials = Materials(study)
    dag = build_dag(study, materials)
    locks = threading.Lock(), threading.RLock()
    shop = Shop(study, dag, materials, workdir, Programs(), *locks, warn, preempted, {})
    return Plan(shop, _todo(shop))


def _todo(shop: Shop) -> tuple[Node, ...]:
    nodes = shop.dag.nodes
    if len(set(processes.gather(digest(list(nodes))))) > 1:
        raise ConfigError(
            "the processes have different studies; the same code, experiment file, overrides and "
            "data must stand on every machine"
        )
    # The folders are read once, and all go the same way.
    ids = processes.agree(lambda: [id for id in nodes if not shop.folder(id).finished])
    return tuple(nodes[id] for id in ids)


def reuse(plan: Plan, other: Workdir, *, dry: bool) -> Plan:
    """What is left to do once the stages that another study has finished are taken over.

    Args:
        plan: what there is to do.
        other: where stages are finished.
        dry: only says so, and copies nothing.

    Raises:
        WorkdirError: the other is no work directory, or is the plan's own.
    """
    workdir, ids = plan.shop.workdir, [node.id for node in plan.todo]
    if dry:
        there = {*workdir.finished_in(other, ids)}
        return Plan(plan.shop, tuple(node for node in plan.todo if node.id not in there))
    if processes.first():
        workdir.take_over(other, ids)
    return Plan(plan.shop, _todo(plan.shop))


def check_devices(shop: Shop) -> None:
    """Makes the mesh of this process's devices, and checks what depends on it.

    Raises:
        ConfigError: the mesh does not fit the devices or the model; else as for `check_fit`.
        DataError: a world cannot be used.
    """
    if jax.process_count() != processes.count():  # the runtime of a TPU slice knows
        raise ConfigError(
            f"this is one of {jax.process_count()} processes: give --distributed to each of them"
        )
    with naming("config.mesh"):
        mesh_lib.logical_sharding(shop.mesh, abstract_params(shop.model))
    check_fit(shop.study, shop.materials, shop.mesh)


def check_fit(study: Study, materials: Materials, mesh: jax.sharding.Mesh) -> None:
    """Checks what depends on the devices and on the data.

    Raises:
        ConfigError: a batch does not fit the mesh, or a prompt the rows, or the devices do not
            have the kernel that is asked for.
        DataError: a world cannot be used.
    """
    with naming("config"):
        model = study.model_config(materials.tokenizer.vocab_size)
        check_platform(model, mesh.devices.flat[0].platform)
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
                    if study.model["shard_length"]:
                        mesh_lib.check_divisible(mesh, "length", stage.length, ("tensor",))
                    mixture(stage).shard(packing(name, stage).shards - 1, stage.shards)
                    continue
                rows = stage.prompts * stage.group // (stage.minibatches * stage.accumulation)
                mesh_lib.check_divisible(mesh, "prompts * group / minibatches / accumulation", rows)
                if study.model["shard_length"]:
                    length = stage.prompt_length + stage.max_new_tokens - 1
                    what = "prompt_length + max_new_tokens - 1"
                    mesh_lib.check_divisible(mesh, what, length, ("tensor",))
                if (stage.world, stage.prompt_length) in checked:
                    continue
                checked.add((stage.world, stage.prompt_length))
                problems = materials.prompts(name, stage, study.members[0])
                # Of an endless world some have to stand for all; real text has a few long prompts.
                count = len(problems) if len(problems) < ENDLESS else 256
                prompts = [problems[i].prompt for i in range(count)]
                with naming(f"config.stages.{name}.prompt_length"):
                    encode_prompts(materials.tokenizer, prompts, stage.prompt_length)


def run_plan(plan: Plan, executor: Callable[[Shop, Progress], Executor]) -> None:
    """Runs what is not finished.

    Args:
        plan: from `make_plan`; its work directory is open.
        executor: makes what runs the nodes.

    Raises:
        Exception: what stopped a stage; the others were stopped too, and resume next time.
    """
    if not plan.todo:
        return
    shop = plan.shop
    total = sum(work_of(node, shop) for node in plan.todo)
    progress = Progress(total, len(plan.todo), shown=processes.first())
    try:
        walk(plan.todo, executor(shop, progress), shop.warn, _PATIENCE)
    finally:
        progress.close()
