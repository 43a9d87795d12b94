"""Which stages of a run `--profile` traces, and which of their updates."""

import dataclasses
from collections.abc import Iterable

from bakein.study.dag import Node
from bakein.study.errors import ConfigError
from bakein.study.materials import mixture, packing
from bakein.study.runner import Plan
from bakein.study.schema import RLConfig, SupervisedConfig


def profile(plan: Plan, updates: range) -> Plan:
    """The plan, with a trace of some updates of one stage of each name.

    That is the first one, in the order of the plan, that still has some of them to make.

    Args:
        plan: what will be run.
        updates: by the number of updates made before each.

    Raises:
        ConfigError: no stage of the study makes so many updates.
    """
    asked = f"--profile={updates.start}:{updates.stop}"
    most = max(_steps(node) for node in _trained(plan.dag.nodes.values()))
    if updates.start >= most:
        raise ConfigError(f"{asked}: no stage makes more than {most} updates")
    traces: dict[str, dict[str, range]] = {}  # stage -> id of its node -> updates
    for node in _trained(plan.todo):
        made = max(plan.shop.checkpoints(node.id).steps(), default=0)
        left = range(max(updates.start, made), min(updates.stop, _steps(node)))
        chosen = traces.setdefault(node.stage, {})
        if left and not chosen:
            chosen[node.id] = left
    for stage, chosen in traces.items():
        if not chosen:
            plan.shop.warn(f"{asked}: {stage} has none of these updates to make")
    if not traces:
        plan.shop.warn(f"{asked}: nothing is traced, all stages are trained")
    merged = {id: left for chosen in traces.values() for id, left in chosen.items()}
    return Plan(dataclasses.replace(plan.shop, traces=merged), plan.todo)


def _trained(nodes: Iterable[Node]) -> list[Node]:
    return [node for node in nodes if isinstance(node.config, SupervisedConfig | RLConfig)]


def _steps(node: Node) -> int:
    """Updates that a trained stage makes."""
    if isinstance(node.config, RLConfig):
        return node.config.steps
    tokens = mixture(node.config).tokens
    return packing(node.stage, node.config).steps(tokens)
