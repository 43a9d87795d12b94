"""Every distinct program of a study, made by the functions that run it, from shapes alone.

Samplers that differ only in their temperature or in the width of their prompts are one program
here, with the widest prompts: their memory and time differ by next to nothing.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from bakein import mesh as mesh_lib
from bakein.data.tokenizers import EOS, PAD
from bakein.evals.budgets import make_forcing
from bakein.evals.likelihood import completion_logprobs
from bakein.model import Decoder, ModelConfig, flops_per_token
from bakein.rl.rollout import DECODE, Rollout, SamplerConfig
from bakein.rl.sampling import fixed_prompts, sample_rows
from bakein.study.dag import Dag, Node, build_dag
from bakein.study.materials import Materials, packing
from bakein.study.probes import AttackProbe, BudgetProbe, ProbeConfig
from bakein.study.rl import curve_rows, rl_programs
from bakein.study.schema import EvaluationConfig, RLConfig, Study, SupervisedConfig
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
        calls: how often it is called, over all stages, arms and seeds.
        trace: traces it on the mesh: nothing is computed or allocated.
        phases: its parts: one, or "prefill" and "decode".
        turns: of loops whose length is not in the program: the decode loop's, at most.
        resident: bytes per device that lie beside it, such as the optimizer's state in a rollout.
    """

    name: str
    uses: tuple[str, ...]
    calls: float
    trace: Callable[[], Any]
    phases: tuple[Phase, ...]
    turns: int
    resident: int

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
    prompts, needs = _Prompts(study, materials), {}
    for node in study_dag(study, materials).nodes.values():
        for need in _needs(node, prompts, mesh):
            needs.setdefault(need.key, []).append(need)
    programs: list[Program] = []
    for group in needs.values():
        program = _program(group, decoder, mesh)
        if program.name in {other.name for other in programs}:
            program = dataclasses.replace(program, name=f"{program.name} ({group[0].node.arm})")
        programs.append(program)
    return programs


# Problems whose prompts are made, to see how wide they are: levels come in turn, so it is all of
# them. To make all takes minutes where few problems are held out.
_FEW = 64


class _Prompts:
    """How wide prompts are, of what many nodes ask: each is made once."""

    def __init__(self, study: Study, materials: Materials):
        self._materials = materials
        self.study = study
        self.curve = functools.cache(self._curve)
        self.test = functools.cache(self._test)
        self.variants = functools.cache(self._variants)

    def _width(self, problems: Sequence[Any]) -> int:
        return fixed_prompts(self._materials.tokenizer, problems)[0].shape[1]

    def _curve(self, world: str) -> int:
        """Width of the held-out problems of an RL curve."""
        stages = (stage for arm in self.study.arms.values() for stage in arm.items())
        name, config = next(
            (name, stage)
            for name, stage in stages
            if isinstance(stage, RLConfig) and stage.world == world
        )
        few = dataclasses.replace(config, curve_problems=_FEW)
        return self._width(self._materials.curve_problems(name, few))

    def _test(self) -> tuple[int, int]:
        """Width of the problems of the evaluation, and of the facts, 0 if there are none."""
        config = self.study.evaluation
        few = {key: min(getattr(config, key), _FEW) for key in ("problems", "facts")}
        few_config = dataclasses.replace(config, **few)
        problems = self._materials.test_problems("config.evaluation", few_config)
        facts = self._materials.facts(few_config)
        return self._width(problems), self._width(facts) if facts else 0

    def _variants(self, probe: str) -> list[tuple[int, Any, int]]:
        """Of a probe, for each variant: width, forcing, and tokens of the longest target or 0."""
        config, tokenizer = self.study.probes[probe], self._materials.tokenizer
        few = dataclasses.replace(config, problems=min(config.problems, _FEW))
        width = self._width(self._materials.test_problems(f"config.probes.{probe}", few))
        found = []
        for variant in config.variants:
            forcing, columns = None, 0
            if isinstance(config, BudgetProbe):
                forcing = make_forcing(tokenizer, config.thinking, variant)
            if isinstance(config, AttackProbe):
                prompts, targets = self._materials.attack(probe, variant, min(config.attempts, 8))
                width = prompts.tokens_NAP.shape[2]
                columns = max((len(tokenizer.encode(t)) + 1 for t in targets or ()), default=0)
            found.append((width, forcing, columns))
        return found


@dataclasses.dataclass(frozen=True)
class _Need:
    """What one node wants of a program.

    Attributes:
        key: equal for nodes that share the program.
        node: the node.
        use: what for, in words.
        calls: how often.
        width: positions of the prompts of a sampler or a scorer; 0 for others.
        rows: of one call.
        other: what the kind of program needs besides.
    """

    key: Any
    node: Node
    use: str
    calls: float
    width: int = 0
    rows: int = 0
    other: Any = None


def _needs(node: Node, prompts: _Prompts, mesh: jax.sharding.Mesh) -> Iterator[_Need]:
    config = node.config
    if isinstance(config, SupervisedConfig):
        steps = packing(node.stage, config).steps(config.tokens)
        shape = (config.batch, config.length, config.accumulation, config.z_loss)
        yield _Need(("train", *shape, config.optimizer), node, node.stage, steps)
    elif isinstance(config, RLConfig):
        yield from _rl_needs(node, config, prompts, mesh)
    elif isinstance(config, ProbeConfig):
        yield from _probe_needs(node, config, prompts)
    else:
        yield from _evaluation_needs(node, config, prompts)


def _rl_needs(
    node: Node, config: RLConfig, prompts: _Prompts, mesh: jax.sharding.Mesh
) -> Iterator[_Need]:
    rows, new = config.prompts * config.group, config.max_new_tokens
    key = ("update", rows, config.prompt_length, config.policy, config.optimizer)
    yield _Need(key, node, node.stage, config.steps, config.prompt_length, rows)
    truncated = (config.top_k, config.top_p)
    sampler = ("sample", rows, new, truncated, None)
    yield _Need(sampler, node, f"{node.stage} rollouts", config.steps, config.prompt_length, rows)
    if config.curve_every:
        width = prompts.curve(config.world)
        points = 1 + -(-config.steps // config.curve_every)
        rows = curve_rows(config, config.curve_problems, mesh)
        key = ("sample", rows, new, (0, 1.0), None)
        yield _Need(key, node, f"{node.stage} curve", points, width, rows)


def _evaluation_needs(node: Node, config: EvaluationConfig, prompts: _Prompts) -> Iterator[_Need]:
    key = ("sample", config.rows, config.max_new_tokens, (0, 1.0), None)
    width, facts = prompts.test()
    yield _Need(key, node, "evaluation", _calls(config), width, config.rows)
    if facts:
        yield _Need(key, node, "recall", -(-config.facts // config.rows), facts, config.rows)


def _probe_needs(node: Node, config: ProbeConfig, prompts: _Prompts) -> Iterator[_Need]:
    use, rows = f"probe {node.probe}", config.rows
    for width, forcing, columns in prompts.variants(node.probe):
        shapes = None if forcing is None else tuple(part.shape for part in forcing)
        key = ("sample", rows, config.max_new_tokens, (0, 1.0), shapes)
        yield _Need(key, node, use, _calls(config), width, rows, forcing)
        if columns:
            score, calls = ("score", rows, columns), -(-config.problems // rows)
            yield _Need(score, node, f"{use}: likelihood", calls, width, rows, columns)


def _calls(config: EvaluationConfig | ProbeConfig) -> int:
    """Of the sampler: the samples, and one greedy completion of each problem."""
    return -(-config.problems * config.samples // config.rows) - (-config.problems // config.rows)


def _program(group: list[_Need], decoder: Decoder, mesh: jax.sharding.Mesh) -> Program:
    first = group[0]
    width, kind = max(need.width for need in group), first.key[0]
    uses = tuple(dict.fromkeys(need.use for need in group))
    calls = float(sum(need.calls for need in group))
    make = {"train": _train, "update": _update, "sample": _sample, "score": _score}[kind]
    program = make(first, width, decoder, mesh)
    resident = _resident(group, decoder, mesh) if kind == "sample" else 0
    if kind == "train":
        program = dataclasses.replace(program, name=", ".join(uses))
    return dataclasses.replace(program, uses=uses, calls=calls, resident=resident)


def _train(need: _Need, _: int, decoder: Decoder, mesh: jax.sharding.Mesh) -> Program:
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
    flops = 3 * flops_per_token(decoder.config, config.length / 2) * tokens
    return Program(
        name=name,
        uses=(name,),
        calls=0.0,
        trace=lambda: programs.step.trace(state, batch),
        phases=(Phase("step", tokens, flops),),
        turns=1,
        resident=0,
    )


def _update(need: _Need, width: int, decoder: Decoder, mesh: jax.sharding.Mesh) -> Program:
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
    flops = passes * flops_per_token(decoder.config, length / 2) * rows * length
    phases = (Phase("step", rows * length, flops),)
    name, trace = f"{need.use} update", lambda: programs.update.trace(*arguments)
    return Program(name, (), 0.0, trace, phases, turns=1, resident=0)


def _sample(need: _Need, width: int, decoder: Decoder, mesh: jax.sharding.Mesh) -> Program:
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
        Phase("prefill", rows * width, _without_logits(decoder.config, width / 2) * rows * width),
        Phase(DECODE, rows * new, flops_per_token(decoder.config, width + new / 2) * rows * new),
    )
    forced = ", forced" if need.other is not None else ""
    name = f"sampling {rows} x ({width}+{new}){forced}"
    trace = lambda: sample_rows.trace(decoder, *arguments)  # noqa: E731
    return Program(name, (), 0.0, trace, phases, turns=new, resident=0)


def _score(need: _Need, width: int, decoder: Decoder, mesh: jax.sharding.Mesh) -> Program:
    rows, columns = need.rows, need.other
    ints = _rows(mesh, jnp.int32)
    shapes = (ints(rows, width), ints(rows, width), ints(rows, columns), ints(rows, columns))
    arguments = (params_on(decoder, mesh), *shapes)
    tokens = rows * (width + columns)
    flops = flops_per_token(decoder.config, (width + columns) / 2) * tokens
    name = f"scoring {rows} x ({width}+{columns})"
    trace = lambda: completion_logprobs.trace(decoder, *arguments)  # noqa: E731
    return Program(name, (), 0.0, trace, (Phase("step", tokens, flops),), turns=1, resident=0)


def _resident(group: list[_Need], decoder: Decoder, mesh: jax.sharding.Mesh) -> int:
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


def _without_logits(config: ModelConfig, context: float) -> float:
    """FLOPs of a token of which nobody wants to know what comes next."""
    return flops_per_token(config, context) - 2.0 * config.d_model * config.vocab_size
