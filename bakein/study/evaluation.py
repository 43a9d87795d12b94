"""Running the frozen evaluation of one stage, and its probes."""

from collections.abc import Callable
from typing import Any

import jax

from bakein import mesh as mesh_lib
from bakein.evals.attacks import evaluate_attack
from bakein.evals.budgets import evaluate_budget
from bakein.evals.evaluate import evaluate, recall_facts
from bakein.processes import Preempted
from bakein.study.dag import Node
from bakein.study.digest import seed_of
from bakein.study.probes import AttackProbe, BudgetProbe, ProbeConfig
from bakein.study.schema import EvaluationConfig
from bakein.study.shop import Shop, work_of
from bakein.study.workdir import StageDir
from bakein.train.state import Params
from bakein.train.stopwatch import Stopwatch


def run_evaluation(
    node: Node,
    shop: Shop,
    folder: StageDir,
    initial: Callable[[], Params],
    progress: Callable[[float], None],
    watch: Stopwatch,
) -> dict[str, Any]:
    """Scores the parameters of the node's parent; arguments as for `run_supervised`."""
    config: EvaluationConfig = node.config
    # Common random numbers: a member is sampled with the same key after every stage of every arm.
    key = jax.random.key(seed_of(shop.study.seed, "member", node.seed, "evaluation"))
    rows = mesh_lib.batch_sharding(shop.mesh)
    shared = (shop.decoder, initial(), shop.materials.tokenizer)
    problems = shop.materials.test_problems("config.evaluation", config)
    world = shop.study.worlds[config.world]
    if shop.preempted():
        raise Preempted
    with watch.part("evaluation"):
        result = evaluate(*shared, world, problems, key, config.sampling, sharding=rows)
    progress(0.9)
    records = list(result.records)
    if config.recall:
        if shop.preempted():
            raise Preempted
        facts = shop.materials.facts(config)
        world = shop.study.worlds[config.recall]
        with watch.part("evaluation"):
            records += recall_facts(*shared, world, facts, key, config.sampling, sharding=rows)
    folder.write_lines("records.jsonl", records)
    folder.write_lines("samples.jsonl", result.samples)
    return {"steps": 0, "ledger": {}, "flops": work_of(node, shop)}


def run_probe(
    node: Node,
    shop: Shop,
    folder: StageDir,
    initial: Callable[[], Params],
    progress: Callable[[float], None],
    watch: Stopwatch,
) -> dict[str, Any]:
    """Scores the parent's parameters under each of a probe; arguments as for `run_supervised`."""
    config: ProbeConfig = node.config
    # Common random numbers, as in the evaluation: they are the same for all variants as well.
    key = jax.random.key(seed_of(shop.study.seed, "member", node.seed, "probe", node.probe))
    rows = mesh_lib.batch_sharding(shop.mesh)
    world = shop.study.worlds[config.world]
    problems = shop.materials.test_problems(f"config.probes.{node.probe}", config)
    tokenizer = shop.materials.tokenizer
    shared = (shop.decoder, initial(), tokenizer, world, problems, key, config.sampling)
    records, samples = [], []
    for index, variant in enumerate(config.variants):
        progress(index / len(config.variants))
        if shop.preempted():
            raise Preempted
        with watch.part("evaluation"):
            if isinstance(config, BudgetProbe):
                result = evaluate_budget(*shared, config.thinking, variant, sharding=rows)
            elif isinstance(config, AttackProbe):
                attack = shop.materials.attack(node.probe, variant, config.attempts)
                result = evaluate_attack(*shared, *attack, sharding=rows)
            else:
                result = evaluate(*shared, sharding=rows)
        records += [{"variant": variant, **record} for record in result.records]
        samples += [{"variant": variant, **sample} for sample in result.samples]
    folder.write_lines("records.jsonl", records)
    folder.write_lines("samples.jsonl", samples)
    return {"steps": 0, "ledger": {}, "flops": work_of(node, shop)}
