"""Running the frozen evaluation of one stage."""

from collections.abc import Callable
from typing import Any

import jax

from bakein import mesh as mesh_lib
from bakein.evals.evaluate import evaluate, recall_facts
from bakein.study.dag import Node
from bakein.study.digest import seed_of
from bakein.study.schema import EvaluationConfig
from bakein.study.shop import Shop, work_of
from bakein.study.workdir import StageDir
from bakein.train.state import Params


def run_evaluation(
    node: Node, shop: Shop, folder: StageDir, initial: Params, progress: Callable[[float], None]
) -> dict[str, Any]:
    """Scores `initial`, the parameters of the node's parent; arguments as for `run_supervised`."""
    config: EvaluationConfig = node.config
    # Common random numbers: a member is sampled with the same key after every stage of every arm.
    key = jax.random.key(seed_of(shop.study.seed, "member", node.seed, "evaluation"))
    rows = mesh_lib.batch_sharding(shop.mesh)
    shared = (shop.decoder, initial, shop.materials.tokenizer)
    problems = shop.materials.test_problems(config)
    world = shop.study.worlds[config.world]
    result = evaluate(*shared, world, problems, key, config.sampling, sharding=rows)
    progress(0.9)
    records = list(result.records)
    if config.recall:
        facts = shop.materials.facts(config)
        world = shop.study.worlds[config.recall]
        records += recall_facts(*shared, world, facts, key, config.sampling, sharding=rows)
    folder.write_lines("records.jsonl", records)
    folder.write_lines("samples.jsonl", result.samples)
    return {"steps": 0, "ledger": {}, "flops": work_of(node, shop)}
