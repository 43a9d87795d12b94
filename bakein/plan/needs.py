"""What each node of a study wants of a program: the shape that programs share, and how often."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax

from bakein.evals.budgets import make_forcing
from bakein.rl.sampling import fixed_prompts
from bakein.study.dag import Node
from bakein.study.materials import Materials, packing
from bakein.study.probes import AttackProbe, BudgetProbe, ProbeConfig
from bakein.study.rl import curve_rows
from bakein.study.schema import EvaluationConfig, RLConfig, Study, SupervisedConfig

# Problems whose prompts are made, to see how wide they are: levels come in turn, so it is all of
# them. To make all takes minutes where few problems are held out.
_FEW = 64


class Prompts:
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
class Need:
    """What one node wants of a program.

    Attributes:
        key: equal for nodes that share the program.
        node: the node.
        use: what for, in words.
        calls: how often, at most.
        width: positions of the prompts of a sampler or a scorer; 0 for others.
        rows: of one call.
        other: what the kind of program needs besides.
        refills: how many of the calls are made only where dynamic sampling asks for them.
    """

    key: Any
    node: Node
    use: str
    calls: float
    width: int = 0
    rows: int = 0
    other: Any = None
    refills: float = 0


def needs_of(node: Node, prompts: Prompts, mesh: jax.sharding.Mesh) -> Iterator[Need]:
    """What a node wants, in the order in which it comes to it."""
    config = node.config
    if isinstance(config, SupervisedConfig):
        steps = packing(node.stage, config).steps(config.tokens)
        shape = (config.batch, config.length, config.accumulation, config.z_loss)
        yield Need(("train", *shape, config.optimizer), node, node.stage, steps)
    elif isinstance(config, RLConfig):
        yield from _rl_needs(node, config, prompts, mesh)
    elif isinstance(config, ProbeConfig):
        yield from _probe_needs(node, config, prompts)
    else:
        yield from _evaluation_needs(node, config, prompts)


def _rl_needs(
    node: Node, config: RLConfig, prompts: Prompts, mesh: jax.sharding.Mesh
) -> Iterator[Need]:
    rows, new = config.prompts * config.group, config.max_new_tokens
    key = ("update", rows, config.prompt_length, config.policy, config.optimizer)
    yield Need(key, node, node.stage, config.steps, config.prompt_length, rows)
    truncated = (config.top_k, config.top_p)
    sampler, refills = ("sample", rows, new, truncated, None), config.steps * config.refills
    calls, use = config.steps + refills, f"{node.stage} rollouts"
    yield Need(sampler, node, use, calls, config.prompt_length, rows, refills=refills)
    if config.curve_every:
        width = prompts.curve(config.world)
        points = 1 + -(-config.steps // config.curve_every)
        rows = curve_rows(config, config.curve_problems, mesh)
        key = ("sample", rows, new, (0, 1.0), None)
        yield Need(key, node, f"{node.stage} curve", points, width, rows)


def _evaluation_needs(node: Node, config: EvaluationConfig, prompts: Prompts) -> Iterator[Need]:
    key = ("sample", config.rows, config.max_new_tokens, (0, 1.0), None)
    width, facts = prompts.test()
    yield Need(key, node, "evaluation", _calls(config), width, config.rows)
    if facts:
        yield Need(key, node, "recall", -(-config.facts // config.rows), facts, config.rows)


def _probe_needs(node: Node, config: ProbeConfig, prompts: Prompts) -> Iterator[Need]:
    use, rows = f"probe {node.probe}", config.rows
    for width, forcing, columns in prompts.variants(node.probe):
        shapes = None if forcing is None else tuple(part.shape for part in forcing)
        key = ("sample", rows, config.max_new_tokens, (0, 1.0), shapes)
        yield Need(key, node, use, _calls(config), width, rows, forcing)
        if columns:
            score, calls = ("score", rows, columns), -(-config.problems // rows)
            yield Need(score, node, f"{use}: likelihood", calls, width, rows, columns)


def _calls(config: EvaluationConfig | ProbeConfig) -> int:
    """Of the sampler: the samples, and one greedy completion of each problem."""
    return -(-config.problems * config.samples // config.rows) - (-config.problems // config.rows)
