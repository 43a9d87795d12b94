"""The search for a cheaper plan: meshes, micro-batches and remat policies of the longest training.

Compiling takes a minute; so all combinations are first ranked by arithmetic, and the steps of the
best few are compiled. The arithmetic only ranks: of what is proposed all programs of the study have
been compiled, and fit.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

from bakein import mesh as mesh_lib
from bakein.model import ModelConfig, abstract_params, count_params, flops_per_token
from bakein.model.remat import POLICIES
from bakein.plan.memory import TooMuch
from bakein.plan.programs import train_program
from bakein.plan.study import Planned, StudyPlan, plan_program, plan_study
from bakein.plan.topology import Topology
from bakein.study.errors import ConfigError
from bakein.study.materials import Materials
from bakein.study.runner import check_fit
from bakein.study.schema import MeshConfig, Study, SupervisedConfig
from bakein.study.shop import make_decoder

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
class Tried:
    """A combination whose step was compiled.

    Attributes:
        choice: the combination.
        step: of the longest training.
        step_fits: whether it fits the memory.
        study: all programs of the study; None where they were not compiled, since the step does
            not fit, or a cheaper combination was found.
    """

    choice: Choice
    step: Planned
    step_fits: bool
    study: StudyPlan | None


@dataclasses.dataclass(frozen=True)
class Found:
    """What a search came to.

    Attributes:
        stage: of which training.
        topology: the machine.
        considered: how many combinations there are.
        tried: those compiled, cheapest of those whose step fits first.
    """

    stage: str
    topology: Topology
    considered: int
    tried: tuple[Tried, ...]

    @property
    def best(self) -> Tried | None:
        """The cheapest step with which all of the study fits, of those compiled."""
        return next((each for each in self.tried if each.study and each.study.fits), None)


def search(
    study: Study,
    topology: Topology,
    price: float | None,
    most: int,
    tell: Callable[[str], None],
) -> Found:
    """Looks for the fastest step of the longest supervised stage with which the study fits.

    Args:
        study: the study.
        topology: a TPU.
        price: US dollars of a chip-hour; None for the list price.
        most: how many combinations to compile.
        tell: called with a line before each compilation.

    Raises:
        ConfigError: there is nothing to search for, or nothing divides evenly.
    """
    if topology.chip is None:
        raise ConfigError(f"--search: nothing is published of {topology.name}; name a TPU")
    materials = Materials(study)
    model = study.model_config(materials.tokenizer.vocab_size)
    arm, stage, config = _longest(study, model)
    choices = _choices(study, stage, materials, topology)
    if not choices:
        raise ConfigError(
            f"--search: no mesh of {len(topology.devices)} devices divides the model and the "
            f"rows of all stages evenly ({stage}: {config.batch})"
        )
    params = count_params(model)
    changed = functools.partial(_changed, study, stage)

    def rank(choice: Choice) -> tuple[bool, float, float]:
        """First, by seconds, those that all trainings should fit with; then others, by bytes."""
        shapes = _shapes(changed(choice))
        need = max(_bytes(choice, *shape, model, params) for shape in shapes)
        seconds = _seconds(choice, config, model, params, topology)
        fits = need <= topology.chip.memory
        return (not fits, seconds if fits else need, need)

    ranked = sorted(choices, key=rank)
    tried = []
    for index, choice in enumerate(ranked[:most]):
        tell(f"{index + 1}/{min(most, len(ranked))} {choice.flags(stage)}")
        step = _step(changed(choice), arm, stage, materials, topology)
        fits = not isinstance(step.memory, TooMuch) and step.memory.peak <= topology.chip.memory
        tried.append(Tried(choice, step, fits, None))
    tried.sort(key=lambda each: (not each.step_fits, each.step.time or math.inf))
    for index, each in enumerate(tried):
        if not each.step_fits:
            break
        tell(f"all of the study: {each.choice.flags(stage)}")
        whole = plan_study(changed(each.choice), topology, price, tell)
        tried[index] = dataclasses.replace(each, study=whole)
        if whole.fits:
            break
    return Found(stage, topology, len(choices), tuple(tried))


def _longest(study: Study, model: ModelConfig) -> tuple[str, str, SupervisedConfig]:
    """Its arm, its name, and what it is."""
    stages = [
        (arm, name, stage)
        for arm, stages in study.arms.items()
        for name, stage in stages.items()
        if isinstance(stage, SupervisedConfig)
    ]
    if not stages:
        raise ConfigError("--search: the study has no supervised stage")
    return max(stages, key=lambda one: one[2].tokens * flops_per_token(model, 0, one[2].length))


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
        # Of all arms: the flag says it to all of them.
        batch = math.gcd(
            *(stages[stage].batch for stages in study.arms.values() if stage in stages)
        )
        found += [
            Choice(sizes, accumulation, remat)
            for accumulation, remat in itertools.product(_powers(batch), POLICIES)
            if batch % (accumulation * sizes.data * sizes.fsdp) == 0
        ]
    return found


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


def _shapes(study: Study) -> set[tuple[float, int]]:
    """Rows of a micro-batch and their length, of all trainings."""
    shapes = set()
    for stages in study.arms.values():
        for config in stages.values():
            if isinstance(config, SupervisedConfig):
                shapes.add((config.batch / config.accumulation, config.length))
            else:
                rows = config.prompts * config.group / config.minibatches / config.accumulation
                shapes.add((rows, config.prompt_length + config.max_new_tokens - 1))
    return shapes


def _bytes(choice: Choice, rows: float, length: int, model: ModelConfig, params: int) -> float:
    """About what a step takes: state and gradients, what the policy keeps, and one layer's work."""
    tensor = choice.mesh.tensor
    rows = rows / choice.mesh.data / choice.mesh.fsdp
    positions = rows * length
    scores = 4.0 * rows * model.heads / tensor * length**2
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
    flops = _PASSES[choice.remat] * flops_per_token(model, config.length, config.length) * positions
    weights = params / sizes.tensor
    gathers = 3 if _PASSES[choice.remat] < 3.5 else 4
    sent = gathers * 2.0 * weights * choice.accumulation * (1 - 1 / sizes.fsdp)
    rows = positions / sizes.data / sizes.fsdp
    sent += 8.0 * model.layers * 2.0 * rows * model.d_model * (1 - 1 / sizes.tensor)
    between = 8.0 * weights / sizes.fsdp * choice.accumulation * (1 - 1 / sizes.data)
    slow = chip.network / chip.devices if topology.name.slices > 1 else link
    return max(flops / len(topology.devices) / per_device, sent / link, between / slow)


def _step(study: Study, arm: str, stage: str, materials: Materials, topology: Topology) -> Planned:
    """Compiles the step of an arm's stage."""
    sizes = dataclasses.asdict(study.mesh)
    mesh = mesh_lib.make_mesh(**sizes, devices=topology.devices)
    decoder = make_decoder(study, materials, mesh)
    return plan_program(train_program(stage, study.arms[arm][stage], decoder, mesh), topology, mesh)
