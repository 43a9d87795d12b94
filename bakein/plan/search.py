"""The search for a cheaper plan: meshes, micro-batches and remat policies of the longest training.

Compiling takes a minute; so all combinations are first ranked by arithmetic, and the best few are
compiled. The arithmetic only ranks: what is proposed has been compiled, and fits.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any

from bakein import mesh as mesh_lib
from bakein.model import ModelConfig, abstract_params, count_params, flops_per_token
from bakein.model.remat import POLICIES
from bakein.plan.memory import TooMuch
from bakein.plan.programs import study_programs
from bakein.plan.study import Planned, capacity_of, plan_program
from bakein.plan.topology import Topology
from bakein.study.errors import ConfigError
from bakein.study.materials import Materials
from bakein.study.runner import check_fit
from bakein.study.schema import MeshConfig, Study, SupervisedConfig

# Passes over a layer's products in a step, of which a forward pass is one.
_PASSES = {"none": 3.0, "dots": 3.0, "dots_no_batch": 3.1, "attention": 3.9, "full": 4.0}


@dataclasses.dataclass(frozen=True)
class Choice:
    """One combination.

    Attributes:
        mesh: the mesh.
        accumulation: micro-batches of an update.
        remat: the policy.
    """

    mesh: MeshConfig
    accumulation: int
    remat: str

    def flags(self, stage: str) -> str:
        """What says so on the command line."""
        sizes = dataclasses.asdict(self.mesh)
        mesh = [f"--config.mesh.{axis}={size}" for axis, size in sizes.items()]
        stage_flag = f"--config.stages.{stage}.accumulation={self.accumulation}"
        return " ".join([*mesh, stage_flag, f"--config.model.remat={self.remat}"])


@dataclasses.dataclass(frozen=True)
class Found:
    """What a search came to.

    Attributes:
        stage: of which training.
        topology: the machine.
        capacity: bytes per device; None where that is not known.
        considered: how many combinations there are.
        tried: those compiled, cheapest of those that fit first.
    """

    stage: str
    topology: Topology
    capacity: int | None
    considered: int
    tried: tuple[tuple[Choice, Planned], ...]

    def fits(self, planned: Planned) -> bool:
        """Whether a program fits the memory, as far as that is known."""
        if isinstance(planned.memory, TooMuch):
            return False
        return self.capacity is None or planned.memory.peak <= self.capacity


def search(study: Study, topology: Topology, most: int, tell: Callable[[str], None]) -> Found:
    """Looks for the fastest step of the study's longest supervised stage that fits.

    Args:
        study: the study.
        topology: a TPU.
        most: how many combinations to compile.
        tell: called with a line before each compilation.

    Raises:
        ConfigError: there is nothing to search for, or nothing divides evenly.
    """
    if topology.chip is None:
        raise ConfigError(f"--search: nothing is published of {topology.name}; name a TPU")
    materials = Materials(study)
    model = study.model_config(materials.tokenizer.vocab_size)
    stage, config = _longest(study, model)
    choices = _choices(study, stage, materials, topology)
    if not choices:
        raise ConfigError(
            f"--search: no mesh of {len(topology.devices)} devices divides the model and the "
            f"rows of all stages evenly ({stage}: {config.batch})"
        )
    params = count_params(model)
    ranked = sorted(choices, key=lambda choice: _rank(choice, config, model, params, topology))
    tried = []
    for index, choice in enumerate(ranked[:most]):
        tell(f"{index + 1}/{min(most, len(ranked))} {choice.flags(stage)}")
        tried.append((choice, _plan(choice, stage, study, materials, topology)))
    found = Found(stage, topology, capacity_of(topology), len(choices), ())
    tried.sort(key=lambda pair: (not found.fits(pair[1]), pair[1].time or math.inf))
    return dataclasses.replace(found, tried=tuple(tried))


def _longest(study: Study, model: ModelConfig) -> tuple[str, SupervisedConfig]:
    stages = [
        (name, stage)
        for arm in study.arms.values()
        for name, stage in arm.items()
        if isinstance(stage, SupervisedConfig)
    ]
    if not stages:
        raise ConfigError("--search: the study has no supervised stage")
    return max(stages, key=lambda pair: pair[1].tokens * flops_per_token(model, pair[1].length / 2))


def _choices(study: Study, stage: str, materials: Materials, topology: Topology) -> list[Choice]:
    """All combinations that divide the model and the batches of all stages evenly."""
    devices, slices = len(topology.devices), topology.name.slices
    model = study.model_config(materials.tokenizer.vocab_size)
    boxed, found = abstract_params(model), []
    for tensor, data in itertools.product(_powers(devices), _powers(devices)):
        if devices % (tensor * data) or data % slices:
            continue
        sizes = MeshConfig(data=data, fsdp=devices // tensor // data, tensor=tensor)
        whole = _changed(study, stage, Choice(sizes, 1, "full"))
        try:
            mesh = mesh_lib.make_mesh(**dataclasses.asdict(sizes), devices=topology.devices)
            mesh_lib.logical_sharding(mesh, boxed)
            check_fit(whole, materials, mesh)
        except (ValueError, NotImplementedError):  # it does not divide them, or the torus
            continue
        batch = _stage(whole, stage).batch
        found += [
            Choice(sizes, accumulation, remat)
            for accumulation, remat in itertools.product(_powers(batch), POLICIES)
            if batch % (accumulation * sizes.data * sizes.fsdp) == 0
        ]
    return found


def _stage(study: Study, name: str) -> SupervisedConfig:
    return next(stages[name] for stages in study.arms.values() if name in stages)


def _changed(study: Study, stage: str, choice: Choice) -> Study:
    """The study under a choice."""

    def change(name: str, config: Any) -> Any:
        if name != stage:
            return config
        return dataclasses.replace(config, accumulation=choice.accumulation)

    arms = {
        arm: {name: change(name, config) for name, config in stages.items()}
        for arm, stages in study.arms.items()
    }
    model = {**study.model, "remat": choice.remat}
    return dataclasses.replace(study, mesh=choice.mesh, arms=arms, model=model)


def _powers(limit: int) -> list[int]:
    return [2**power for power in range(limit.bit_length()) if 2**power <= limit]


def _rank(
    choice: Choice, config: SupervisedConfig, model: ModelConfig, params: int, topology: Topology
) -> tuple[bool, float, float]:
    """Those that should fit first, by seconds; then the others, by bytes."""
    need = _bytes(choice, config, model, params)
    seconds = _seconds(choice, config, model, params, topology)
    fits = need <= topology.chip.memory
    return (not fits, seconds if fits else need, need)


def _bytes(choice: Choice, config: SupervisedConfig, model: ModelConfig, params: int) -> float:
    """About what a step takes: state and gradients, what the policy keeps, and one layer's work."""
    tensor = choice.mesh.tensor
    rows = config.batch / choice.accumulation / choice.mesh.data / choice.mesh.fsdp
    positions = rows * config.length
    scores = 4.0 * rows * model.heads / tensor * config.length**2
    scores = 0.0 if model.attention != "reference" else scores
    inner = (
        2.0
        * positions
        * ((2 * model.heads + 2 * model.kv_heads) * model.head_dim + 3 * model.d_ff)
        / tensor
    )
    layer = 2.0 * positions * model.d_model
    kept = {
        "none": layer * 4 + inner + 1.5 * scores,
        "dots": layer * 3 + inner + scores,
        "dots_no_batch": layer * 3 + inner,
        "attention": layer * 2,
        "full": layer,
    }[choice.remat]
    chunk = min(model.logits_chunk or positions, positions)
    logits = 3 * 4.0 * chunk * model.vocab_size / tensor
    state = 16.0 * params / (choice.mesh.fsdp * tensor)
    return state + model.layers * kept + inner * 2 + 3 * scores + logits


def _seconds(
    choice: Choice, config: SupervisedConfig, model: ModelConfig, params: int, topology: Topology
) -> float:
    """About what a step takes at the roofline: products, and weights and activations sent."""
    chip, sizes = topology.chip, choice.mesh
    per_device, link = chip.flops / chip.devices, 2 * chip.dimensions * chip.link / chip.devices
    positions = config.batch * config.length
    flops = _PASSES[choice.remat] * flops_per_token(model, config.length) * positions
    weights = params / sizes.tensor
    gathers = 3 if _PASSES[choice.remat] < 3.5 else 4
    sent = gathers * 2.0 * weights * choice.accumulation * (1 - 1 / sizes.fsdp)
    rows = positions / sizes.data / sizes.fsdp
    sent += 8.0 * model.layers * 2.0 * rows * model.d_model * (1 - 1 / sizes.tensor)
    between = 8.0 * weights / sizes.fsdp * choice.accumulation * (1 - 1 / sizes.data)
    slow = chip.network / chip.devices if topology.name.slices > 1 else link
    return max(flops / len(topology.devices) / per_device, sent / link, between / slow)


def _plan(
    choice: Choice, stage: str, study: Study, materials: Materials, topology: Topology
) -> Planned:
    """Compiles the stage's step under a choice."""
    sizes = dataclasses.asdict(choice.mesh)
    mesh = mesh_lib.make_mesh(**sizes, devices=topology.devices)
    programs = study_programs(_changed(study, stage, choice), materials, mesh)
    program = next(program for program in programs if stage in program.uses)
    return plan_program(program, topology, mesh)
