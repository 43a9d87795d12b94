"""Running a supervised stage: pretraining, SFT, or a fine-tuning attack."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from bakein import mesh as mesh_lib
from bakein.data.pipeline import read_ledger
from bakein.model import Decoder, flops_per_token
from bakein.study.dag import Node
from bakein.study.digest import digest
from bakein.study.materials import describe, mixture, packing
from bakein.study.schema import SupervisedConfig
from bakein.study.shop import Shop
from bakein.study.workdir import StageDir
from bakein.train.feed import Feed, tokens_of
from bakein.train.loop import LoopConfig, Stage, run_loop
from bakein.train.optimizer import make_optimizer, make_schedule
from bakein.train.state import Params, TrainState, abstract_state, new_state, state_shardings
from bakein.train.step import guarded, make_train_step
from bakein.train.stopwatch import Stopwatch


class TrainPrograms(NamedTuple):
    """A supervised stage's jitted programs, for any mesh: a plan lowers them without a machine.

    Attributes:
        shardings: of the state.
        start: parameters -> the state before the first update; donates them.
        step: (state, batch) -> (state, metrics); donates the state.
    """

    shardings: TrainState
    start: Any
    step: Any


def train_programs(
    decoder: Decoder, mesh: jax.sharding.Mesh, config: SupervisedConfig, steps: int
) -> TrainPrograms:
    """The programs of a supervised stage of `steps` updates."""
    tx, schedule = make_optimizer(config.optimizer, steps), make_schedule(config.optimizer, steps)
    shardings = state_shardings(decoder, tx, mesh)
    step = make_train_step(decoder, tx, schedule, config.accumulation, config.z_loss)
    return TrainPrograms(
        shardings,
        jax.jit(functools.partial(new_state, tx=tx), out_shardings=shardings, donate_argnums=0),
        jax.jit(
            step,
            in_shardings=(shardings, mesh_lib.batch_sharding(mesh)),
            out_shardings=(shardings, mesh_lib.replicated(mesh)),
            donate_argnums=0,
        ),
    )


def run_supervised(
    node: Node,
    shop: Shop,
    folder: StageDir,
    initial: Callable[[], Params],
    progress: Callable[[float], None],
    watch: Stopwatch,
) -> dict[str, Any]:
    """Trains to the end of the token budget; arguments and errors as for `run_node`.

    Args:
        node: what to run.
        shop: what it works with.
        folder: where it writes.
        initial: makes or reads the parameters that it starts from; not called where it goes on.
        progress: told the share that is done.
        watch: the stage's stopwatch, told what the time is spent on.

    Returns:
        What stage.json says of the finished stage.
    """
    config: SupervisedConfig = node.config
    sources = shop.materials.sources(node.stage, config, node.seed)
    shape, blend = packing(node.stage, config), mixture(config)
    steps = shape.steps(blend.tokens)
    rows = mesh_lib.batch_sharding(shop.mesh)
    feed = Feed(sources, blend, shape, config.prefetch, rows)
    key = digest(["supervised", config.optimizer, steps, config.accumulation, config.z_loss])
    shardings, start, train_step = shop.programs.get(
        key, lambda: train_programs(shop.decoder, shop.mesh, config, steps)
    )

    def advance(_: int, state: TrainState):
        with watch.part("data"):
            before = feed.local_state()
            batch = next(feed)
            after = feed.local_state()
        state, metrics = guarded(train_step)(state, batch)
        counts = {"tokens": lambda: tokens_of(after)}
        return state, {**metrics, **counts}, lambda: describe(before, after)

    stage = Stage(advance, lambda *_: [], feed, lambda made: progress(made / steps), shop.preempted)
    with shop.traced(node, stage, watch.part) as stage:
        useful = run_loop(
            lambda: start(initial()),
            abstract_state(start, shop.decoder, shop.mesh, shardings),
            stage,
            LoopConfig(steps, config.log_every, config.save_every, config.save_seconds, 0),
            shop.checkpoints(node.id),
            folder.records,
            watch,
        )
    per_token = flops_per_token(shop.decoder.config, 0, config.length)
    return {
        "steps": steps,
        "useful_seconds": round(useful, 3),
        "ledger": read_ledger([feed.get_state()], sources),
        "flops": 3 * per_token * steps * config.batch * config.length,
    }
