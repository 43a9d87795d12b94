"""Running an RL stage: rollouts, policy updates, and the held-out curve along the way."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax

from bakein import mesh as mesh_lib
from bakein.model import flops_per_token
from bakein.rl.experience import Recipe
from bakein.rl.grading import heldout_accuracy
from bakein.rl.stream import PromptStream
from bakein.rl.update import advance, make_update
from bakein.study.dag import Node
from bakein.study.digest import digest, seed_of
from bakein.study.schema import RLConfig
from bakein.study.shop import Shop
from bakein.study.workdir import StageDir
from bakein.train.loop import LoopConfig, Stage, run_loop
from bakein.train.optimizer import make_optimizer
from bakein.train.state import Params, TrainState, abstract_of, new_state, state_shardings
from bakein.train.stopwatch import Part


def run_rl(
    node: Node,
    shop: Shop,
    folder: StageDir,
    initial: Params,
    progress: Callable[[float], None],
    part: Part,
) -> dict[str, Any]:
    """Trains for the given number of steps; arguments and result as for `run_supervised`."""
    config: RLConfig = node.config
    world = shop.study.worlds[config.world]
    names = (shop.study.seed, "member", node.seed, node.stage)
    stream = PromptStream(
        shop.materials.prompts(node.stage, config, node.seed),
        config.prompts,
        seed_of(*names, "order"),
    )
    tx = make_optimizer(config.optimizer, config.steps * config.policy.updates)
    shardings = state_shardings(shop.decoder, tx, shop.mesh)
    rows = mesh_lib.batch_sharding(shop.mesh)
    has_reference = config.policy.kl_coefficient > 0

    def programs():
        reference = shardings.params if has_reference else None
        return (
            jax.jit(functools.partial(new_state, tx=tx), out_shardings=shardings, donate_argnums=0),
            jax.jit(
                make_update(shop.decoder, tx, config.policy),
                in_shardings=(shardings, reference, rows, rows, rows, rows),
                out_shardings=(shardings, mesh_lib.replicated(shop.mesh)),
                donate_argnums=0,
            ),
        )

    key = digest(["rl", config.optimizer, config.steps, config.policy])
    start, update = shop.programs.get(key, programs)
    recipe = Recipe(
        decoder=shop.decoder,
        tokenizer=shop.materials.tokenizer,
        world=world,
        reward=config.reward,
        advantage=config.advantage,
        group=config.group,
        refills=config.refills,
        slots=config.prompt_length,
        sampler=config.sampler,
        key=shop.key(node, "rollouts"),
        seed=seed_of(*names, "rewards"),
        rows=rows,
        part=part,
    )
    held_out = shop.materials.curve_problems(config) if config.curve_every else []
    parts = math.prod(shop.mesh.shape[axis] for axis in mesh_lib.BATCH_AXES)

    def observe(made: int, state: TrainState) -> list[dict[str, Any]]:
        draws = len(held_out) * config.curve_samples
        accuracy = heldout_accuracy(
            shop.decoder,
            state.params,
            shop.materials.tokenizer,
            world,
            held_out,
            config.curve_samples,
            shop.key(node, "curve"),
            config.curve_sampler,
            rows=-(-draws // parts) * parts,
            sharding=rows,
        )
        return [
            {
                "step": made,
                "samples": stream.completions,
                "sampled_tokens": stream.tokens,
                "flops": flops(made),
                "heldout": accuracy,
            }
        ]

    def flops(made: int) -> float:
        """Sampling costs one forward pass per position, learning three per epoch.

        The reference, and the old policy where there are several updates, cost one more each.
        """
        sampled = stream.completions * config.prompt_length + stream.tokens
        completions = made * config.prompts * config.group
        learnt = completions * (config.prompt_length + config.max_new_tokens - 1)
        passes = 3 * config.epochs + has_reference + (config.policy.updates > 1)
        context = (config.prompt_length + config.max_new_tokens) / 2
        return flops_per_token(shop.decoder.config, context) * (sampled + passes * learnt)

    # A copy, because the state takes over the buffers of `initial`.
    reference = jax.tree.map(lambda x: x.copy(), initial) if has_reference else None
    state = start(initial)
    run_loop(
        state,
        abstract_of(state, shardings),
        Stage(
            lambda _, state: advance(recipe, stream, update, reference, state),
            observe,
            stream,
            lambda made: progress(made / config.steps),
        ),
        LoopConfig(config.steps, config.log_every, config.save_every, config.curve_every),
        shop.checkpoints(node.id),
        folder.records,
        part,
    )
    return {
        "steps": config.steps,
        "ledger": stream.ledger(config.world),
        "samples": stream.completions,
        "flops": flops(config.steps),
    }
