"""Every distinct program of a study, made by the functions that run it, from shapes alone.

Samplers that differ only in their temperature or in the width of their prompts are one program
here, with the widest prompts: their memory and time differ by next to nothing.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp

from bakein import mesh as mesh_lib
from bakein.data.tokenizers import EOS, PAD
from bakein.evals.likelihood import completion_logprobs
from bakein.model import Decoder, ModelConfig, flops_per_token
from bakein.plan.needs import Need, Prompts, needs_of
from bakein.rl.rollout import DECODE, Rollout, SamplerConfig
from bakein.rl.sampling import sample_rows
from bakein.study.dag import Dag, build_dag
from bakein.study.materials import Materials, packing
from bakein.study.rl import rl_programs
from bakein.study.schema import RLConfig, Study, SupervisedConfig
from bakein.study.shop import make_decoder
from bakein.study.supervised import train_programs
from bakein.train.optimizer import make_optimizer
from bakein.train.state import abstract_state, new_state, params_on, state_shardings


@dataclasses.dataclass(frozen=True)
class Phase:
    """A part of a program whose costs are told apart.

    Attributes:
        name: "step", "prefill" or "decode".
        tokens: positions that it works through, over all devices.
        flops: that the model needs for them, without what is computed again or masked.
    """

    name: str
    tokens: int
    flops: float


@dataclasses.dataclass(frozen=True)
class Program:
    """A program of a study.

    Attributes:
        name: for people; unique.
        uses: what the study needs it for.
        calls: how often it is called at most, over all stages, arms and seeds.
        trace: traces it on the mesh: nothing is computed or allocated.
        phases: its parts: one, or "prefill" and "decode".
        turns: of loops whose length is not in the program: the decode loop's, at most.
        resident: bytes per device that lie beside it, such as the optimizer's state in a rollout.
        refills: how many of the calls are made only where dynamic sampling asks for them.
    """

    name: str
    uses: tuple[str, ...]
    calls: float
    trace: Callable[[], Any]
    phases: tuple[Phase, ...]
    turns: int
    resident: int
    refills: float = 0.0

    def phase(self, scopes: Iterable[str]) -> str:
        """The phase of an operation, by the scopes around it."""
        if len(self.phases) == 1:
            return self.phases[0].name
        inside = any(DECODE in scope.split("/") for scope in scopes)
        return DECODE if inside else "prefill"


@dataclasses.dataclass(frozen=True)
class _Unread:
    """Stands for a study's data where only the shape of its DAG matters."""

    tokenizer: Any

    def fingerprint(self, *_: Any) -> str:
        return ""


def study_dag(study: Study, materials: Materials) -> Dag:
    """The nodes of a study, without reading its data: which stages the arms share is the same."""
    return build_dag(study, _Unread(materials.tokenizer))


def study_programs(study: Study, materials: Materials, mesh: jax.sharding.Mesh) -> list[Program]:
    """All distinct programs of a study, in the order in which it comes to them.

    Raises:
        ConfigError, DataError: the study's prompts cannot be made.
    """
    decoder = make_decoder(study, materials, mesh)
    prompts, needs = Prompts(study, materials), {}
    for node in study_dag(study, materials).nodes.values():
        for need in needs_of(node, prompts, mesh):
            needs.setdefault(need.key, []).append(need)
    programs: list[Program] = []
    for group in needs.values():
        program = _program(group, decoder, mesh)
        if program.name in {other.name for other in programs}:
            program = dataclasses.replace(program, name=f"{program.name} ({group[0].node.arm})")
        programs.append(program)
    return programs


def _program(group: list[Need], decoder: Decoder, mesh: jax.sharding.Mesh) -> Program:
    first = group[0]
    width, kind = max(need.width for need in group), first.key[0]
    uses = tuple(dict.fromkeys(need.use for need in group))
    calls = float(sum(need.calls for need in group))
    refills = float(sum(need.refills for need in group))
    make = {"train": _train, "update": _update, "sample": _sample, "score": _score}[kind]
    program = make(first, width, decoder, mesh)
    resident = _resident(group, decoder, mesh) if kind == "sample" else 0
    if kind == "train":
        program = dataclasses.replace(program, name=", ".join(uses))
    counted = {"calls": calls, "refills": refills, "resident": resident}
    return dataclasses.replace(program, uses=uses, **counted)


def _train(need: Need, _: int, decoder: Decoder, mesh: jax.sharding.Mesh) -> Program:
    return train_program(need.use, need.node.config, decoder, mesh)


def train_program(
    name: str, config: SupervisedConfig, decoder: Decoder, mesh: jax.sharding.Mesh
) -> Program:
    """The step of a supervised stage of this name; nobody calls it yet."""
    steps = packing(name, config).steps(config.tokens)
    programs = train_programs(decoder, mesh, config, steps)
    state = _state(decoder, mesh, make_optimizer(config.optimizer, steps), programs.shardings)
    batch = abstract_batch(config.batch, config.length, mesh)
    tokens = config.batch * config.length
    flops = 3 * flops_per_token(decoder.config, 0, config.length) * tokens
    return Program(
        name=name,
        uses=(name,),
        calls=0.0,
        trace=lambda: programs.step.trace(state, batch),
        phases=(Phase("step", tokens, flops),),
        turns=1,
        resident=0,
    )


def _update(need: Need, width: int, decoder: Decoder, mesh: jax.sharding.Mesh) -> Program:
    config: RLConfig = need.node.config
    programs = rl_programs(decoder, mesh, config)
    tx = make_optimizer(config.optimizer, config.steps * config.policy.updates)
    state = _state(decoder, mesh, tx, programs.shardings)
    has_reference = config.policy.kl_coefficient > 0
    new, rows = config.max_new_tokens, need.rows
    ints, floats = _rows(mesh, jnp.int32), _rows(mesh, jnp.float32)
    rollout = Rollout(
        ints(rows, new),
        floats(rows, new),
        floats(rows, new),
        _rows(mesh, jnp.bool_)(rows),
        ints(rows),
    )
    arguments = (
        state,
        state.params if has_reference else None,
        ints(rows, width),
        ints(rows, width),
        rollout,
        floats(rows),
    )
    length = width + new - 1
    passes = 3 * config.epochs + has_reference + (config.policy.updates > 1)
    flops = passes * flops_per_token(decoder.config, 0, length) * rows * length
    phases = (Phase("step", rows * length, flops),)
    name, trace = f"{need.use} update", lambda: programs.update.trace(*arguments)
    return Program(name, (), 0.0, trace, phases, turns=1, resident=0)


def _sample(need: Need, width: int, decoder: Decoder, mesh: jax.sharding.Mesh) -> Program:
    _, rows, new, (top_k, top_p), _ = need.key
    ints, whole = _rows(mesh, jnp.int32), mesh_lib.replicated(mesh)
    key = jax.eval_shape(lambda: jax.random.key(0))
    forcing = jax.tree.map(
        lambda part: jax.ShapeDtypeStruct(part.shape, part.dtype, sharding=whole), need.other
    )
    arguments = (
        params_on(decoder, mesh),
        ints(rows, width),
        ints(rows, width),
        ints(rows),
        ints(rows),
        jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=whole),
        SamplerConfig(new, 1.0, top_k, top_p, EOS, PAD),
        forcing,
    )
    phases = (
        Phase("prefill", rows * width, _without_logits(decoder.config, width) * rows * width),
        Phase(DECODE, rows * new, flops_per_token(decoder.config, width, width + new) * rows * new),
    )
    forced = ", forced" if need.other is not None else ""
    name = f"sampling {rows} x ({width}+{new}){forced}"
    trace = lambda: sample_rows.trace(decoder, *arguments)  # noqa: E731
    return Program(name, (), 0.0, trace, phases, turns=new, resident=0)


def _score(need: Need, width: int, decoder: Decoder, mesh: jax.sharding.Mesh) -> Program:
    rows, columns = need.rows, need.other
    ints = _rows(mesh, jnp.int32)
    shapes = (ints(rows, width), ints(rows, width), ints(rows, columns), ints(rows, columns))
    arguments = (params_on(decoder, mesh), *shapes)
    tokens = rows * (width + columns)
    flops = flops_per_token(decoder.config, 0, width + columns) * tokens
    name = f"scoring {rows} x ({width}+{columns})"
    trace = lambda: completion_logprobs.trace(decoder, *arguments)  # noqa: E731
    return Program(name, (), 0.0, trace, (Phase("step", tokens, flops),), turns=1, resident=0)


def _resident(group: list[Need], decoder: Decoder, mesh: jax.sharding.Mesh) -> int:
    """In a rollout, and a point of the curve, the optimizer's state and the reference lie by."""
    stages: dict[Any, RLConfig] = {}
    for need in group:
        if isinstance(need.node.config, RLConfig):
            config: RLConfig = need.node.config
            stages.setdefault((config.optimizer, config.policy.kl_coefficient > 0), config)
    most = 0
    for (optimizer, has_reference), config in stages.items():
        tx = make_optimizer(optimizer, config.steps * config.policy.updates)
        state = _state(decoder, mesh, tx, state_shardings(decoder, tx, mesh))
        beside = (state.opt_state, state.params if has_reference else None)
        most = max(most, device_bytes(beside))
    return most


def device_bytes(tree: Any) -> int:
    """Bytes of one device's part of a tree of shapes with shardings."""
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )


def abstract_batch(rows: int, length: int, mesh: jax.sharding.Mesh) -> dict[str, Any]:
    """A supervised batch as shapes: what `bakein.data.pipeline` makes."""
    ints, floats = _rows(mesh, jnp.int32), _rows(mesh, jnp.float32)
    names = ("tokens", "targets", "segments", "positions")
    return {**{name: ints(rows, length) for name in names}, "mask": floats(rows, length)}


def _rows(mesh: jax.sharding.Mesh, dtype: Any) -> Callable[..., jax.ShapeDtypeStruct]:
    sharding = mesh_lib.batch_sharding(mesh)
    return lambda *shape: jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)


def _state(decoder: Decoder, mesh: jax.sharding.Mesh, tx: Any, shardings: Any) -> Any:
    return abstract_state(lambda params: new_state(params, tx), decoder, mesh, shardings)


def _without_logits(config: ModelConfig, length: int) -> float:
    """FLOPs of a token of a row of which nobody wants to know what comes next."""
    return flops_per_token(config, 0, length) - 2.0 * config.d_model * config.vocab_size
