"""Running an RL stage: rollouts, policy updates, and the held-out curve along the way."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from bakein import mesh as mesh_lib
from bakein.model import Decoder, flops_per_token
from bakein.rl.experience import Recipe
from bakein.rl.grading import heldout_shares
from bakein.rl.stream import PromptStream
from bakein.rl.update import advance, make_update
from bakein.study.dag import Node
from bakein.study.digest import digest, seed_of
from bakein.study.schema import RLConfig
from bakein.study.shop import Shop
from bakein.study.workdir import StageDir
from bakein.train.loop import LoopConfig, Stage, run_loop
from bakein.train.optimizer import make_optimizer
from bakein.train.state import Params, TrainState, abstract_state, new_state, state_shardings
from bakein.train.stopwatch import Stopwatch


class RLPrograms(NamedTuple):
    """An RL stage's jitted programs, for any mesh; its rollouts are those of `rl.sampling`.

    Attributes:
        shardings: of the state.
        start: parameters -> the state before the first update; donates them.
        update: `make_update`'s; donates the state.
    """

    shardings: TrainState
    start: Any
    update: Any


def rl_programs(decoder: Decoder, mesh: jax.sharding.Mesh, config: RLConfig) -> RLPrograms:
    """The programs of an RL stage."""
    tx = make_optimizer(config.optimizer, config.steps * config.policy.updates)
    shardings, rows = state_shardings(decoder, tx, mesh), mesh_lib.batch_sharding(mesh)
    reference = shardings.params if config.policy.kl_coefficient > 0 else None
    return RLPrograms(
        shardings,
        jax.jit(functools.partial(new_state, tx=tx), out_shardings=shardings, donate_argnums=0),
        jax.jit(
            make_update(decoder, tx, config.policy),
            in_shardings=(shardings, reference, rows, rows, rows, rows),
            out_shardings=(shardings, mesh_lib.replicated(mesh)),
            donate_argnums=0,
        ),
    )


def curve_rows(config: RLConfig, problems: int, mesh: jax.sharding.Mesh) -> int:
    """Rows of the one call that a point of the RL curve takes: split evenly over the mesh."""
    parts = math.prod(mesh.shape[axis] for axis in mesh_lib.BATCH_AXES)
    return -(-problems * config.curve_samples // parts) * parts


def run_rl(
    node: Node,
    shop: Shop,
    folder: StageDir,
    initial: Callable[[], Params],
    progress: Callable[[float], None],
    watch: Stopwatch,
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
    rows = mesh_lib.batch_sharding(shop.mesh)
    has_reference = config.policy.kl_coefficient > 0
    key = digest(["rl", config.optimizer, config.steps, config.policy])
    shardings, start, update = shop.programs.get(
        key, lambda: rl_programs(shop.decoder, shop.mesh, config)
    )
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
        part=watch.part,
    )
    held_out = shop.materials.curve_problems(node.stage, config) if config.curve_every else []

    def observe(made: int, state: TrainState) -> list[dict[str, Any]]:
        shares = heldout_shares(
            shop.decoder,
            state.params,
            shop.materials.tokenizer,
            world,
            held_out,
            config.curve_samples,
            shop.key(node, "curve"),
            config.curve_sampler,
            rows=curve_rows(config, len(held_out), shop.mesh),
            sharding=rows,
        )
        return [
            {
                "step": made,
                "samples": stream.completions,
                "sampled_tokens": stream.tokens,
                "flops": flops(made),
                "heldout": sum(shares) / len(shares),
                "solved": shares,
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
        longest = config.prompt_length + config.max_new_tokens
        return flops_per_token(shop.decoder.config, 0, longest) * (sampled + passes * learnt)

    reference = initial() if has_reference else None

    def begin() -> TrainState:
        # The state takes over the buffers of what it starts from.
        return start(jax.tree.map(jnp.copy, reference) if has_reference else initial())

    stage = Stage(
        lambda _, state: advance(recipe, stream, update, reference, state),
        observe,
        stream,
        lambda made: progress(made / config.steps),
        shop.preempted,
    )
    often = (config.log_every, config.save_every, config.save_seconds, config.curve_every)
    with shop.traced(node, stage, watch.part) as stage:
        useful = run_loop(
            begin,
            abstract_state(start, shop.decoder, shop.mesh, shardings),
            stage,
            LoopConfig(config.steps, *often),
            shop.checkpoints(node.id),
            folder.records,
            watch,
        )
    return {
        "steps": config.steps,
        "useful_seconds": round(useful, 3),
        "ledger": stream.ledger(config.world),
        "samples": stream.completions,
        "flops": flops(config.steps),
    }
