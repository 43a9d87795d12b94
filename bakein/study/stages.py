"""Running one node: supervised training, RL, or the frozen evaluation."""

import contextlib
import dataclasses
import functools
import math
import time
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax

from bakein import mesh as mesh_lib
from bakein.data.packing import Packing
from bakein.data.pipeline import make_batches, read_ledger
from bakein.data.tokenizers import EOS, PAD
from bakein.evals.evaluate import evaluate, recall_facts
from bakein.model import Decoder, abstract_params, flops_per_token
from bakein.rl.grading import heldout_accuracy
from bakein.rl.grpo import GRPO, advance, make_update
from bakein.rl.rollout import SamplerConfig
from bakein.rl.step import PolicyConfig
from bakein.rl.stream import PromptStream
from bakein.study.dag import Dag, Node
from bakein.study.digest import digest, plain, seed_of
from bakein.study.materials import Materials, describe, mixture
from bakein.study.programs import Programs
from bakein.study.schema import RLConfig, Study, SupervisedConfig
from bakein.study.workdir import StageDir, Workdir
from bakein.train.checkpoints import Checkpoints, abstract_of
from bakein.train.loop import LoopConfig, Stage, run_loop
from bakein.train.optimizer import make_optimizer, make_schedule
from bakein.train.state import Params, TrainState, init_params, new_state, state_shardings
from bakein.train.step import make_train_step


@dataclasses.dataclass(frozen=True)
class Shop:
    """What every stage of a run works with.

    Attributes:
        study: the study.
        dag: its nodes.
        materials: its data.
        workdir: where it stands.
        mesh: the devices.
        programs: compiled programs.
        orbax: held while a checkpoint is written or read.
        warn: prints one line.
    """

    study: Study
    dag: Dag
    materials: Materials
    workdir: Workdir
    mesh: jax.sharding.Mesh
    programs: Programs
    orbax: contextlib.AbstractContextManager
    warn: Callable[[str], None]

    @functools.cached_property
    def decoder(self) -> Decoder:
        """The model of the study."""
        return Decoder(self.study.model_config(self.materials.tokenizer.vocab_size))

    def folder(self, id: str) -> StageDir:
        """The folder of a node."""
        return self.workdir.stage(id, self.dag.nodes[id].name.replace(" ", "-"))

    def checkpoints(self, id: str) -> Checkpoints:
        """The checkpoints of a node."""
        return Checkpoints(self.folder(id).checkpoints, self.orbax, self.warn)

    def key(self, node: Node, purpose: str) -> jax.Array:
        """A random key of a node: the same in every arm, another for every member and purpose."""
        return jax.random.key(seed_of(self.study.seed, "member", node.seed, node.stage, purpose))

    def params(self, node: Node, shardings: Params) -> Params:
        """The parameters that a node starts from: its parent's, or random ones."""
        if node.parent:
            return self.load_params(node.parent)
        make = functools.partial(init_params, self.decoder)
        init = self.programs.get("init", lambda: jax.jit(make, out_shardings=shardings))
        return init(self.key(node, "init"))

    def load_params(self, id: str) -> Params:
        """The parameters that a finished node ended with."""
        boxed = abstract_params(self.decoder.config)
        shardings = mesh_lib.logical_sharding(self.mesh, boxed)
        return self.checkpoints(id).restore_params(abstract_of(nn.unbox(boxed), shardings))


def work_of(node: Node, shop: Shop) -> float:
    """FLOPs that a node will cost, about: for progress and plans."""
    model, config = shop.decoder.config, node.config
    if isinstance(config, SupervisedConfig):
        return 3 * flops_per_token(model, config.length / 2) * config.tokens / config.fill
    if isinstance(config, RLConfig):
        positions = config.prompt_length + config.max_new_tokens
        rows = config.steps * config.prompts * config.group
        return (1 + 3 * config.epochs) * flops_per_token(model, positions / 2) * rows * positions
    positions = 2 * config.max_new_tokens
    rows = config.problems * (config.samples + 1) + config.facts
    return flops_per_token(model, positions / 2) * rows * positions


def run_node(node: Node, shop: Shop, progress: Callable[[float], None]) -> None:
    """Runs a node to its end, or from where it was interrupted.

    Args:
        node: what to run; its parent is finished.
        shop: what it works with.
        progress: called with the share that is done; may raise to stop the node.

    Raises:
        NonFinite: the training broke down.
        NoUsableCheckpoint: a checkpoint that is needed is damaged.
        OSError: the disk is full.
    """
    folder = shop.folder(node.id)
    folder.create()
    begun = {
        "id": node.id,
        "kind": node.kind,
        "stage": node.stage,
        "seed": node.seed,
        "parents": [node.parent] if node.parent else [],
        "config": plain(node.config),
        "fingerprint": node.fingerprint,
        "status": "running",
    }
    folder.write_info(begun)
    run = {"supervised": _run_supervised, "rl": _run_rl, "eval": _run_eval}[node.kind]
    started = time.monotonic()
    with contextlib.closing(folder.records):
        result = run(node, shop, folder, progress)
    seconds = time.monotonic() - started
    folder.write_info({**begun, "status": "finished", **result, "seconds": round(seconds, 3)})


def _run_supervised(
    node: Node, shop: Shop, folder: StageDir, progress: Callable[[float], None]
) -> dict[str, Any]:
    config: SupervisedConfig = node.config
    sources = shop.materials.sources(node.stage, config, node.seed)
    packing = Packing(config.batch, config.length, config.fill, config.shards)
    blend = mixture(node.stage, config)
    batches = make_batches(
        sources, blend, packing, jax.process_index(), jax.process_count(), config.prefetch
    )
    steps = packing.steps(blend.tokens)
    tx, schedule = make_optimizer(config.optimizer, steps), make_schedule(config.optimizer, steps)
    shardings = state_shardings(shop.decoder, tx, shop.mesh)
    rows = mesh_lib.batch_sharding(shop.mesh)

    def programs():
        step = make_train_step(shop.decoder, tx, schedule, config.accumulation, config.z_loss)
        return (
            jax.jit(functools.partial(new_state, tx=tx), out_shardings=shardings),
            jax.jit(
                step,
                in_shardings=(shardings, rows),
                out_shardings=(shardings, mesh_lib.replicated(shop.mesh)),
                donate_argnums=0,
            ),
        )

    key = digest(["supervised", config.optimizer, steps, config.accumulation, config.z_loss])
    start, train_step = shop.programs.get(key, programs)

    def advance_supervised(_: int, state: TrainState):
        before = batches.get_state()
        batch = next(batches)
        after = batches.get_state()
        global_batch = {
            name: jax.make_array_from_process_local_data(rows, array)
            for name, array in batch.items()
        }
        state, metrics = train_step(state, global_batch)
        return state, metrics, lambda: describe(before, after)

    state = start(shop.params(node, shardings.params))
    run_loop(
        state,
        abstract_of(state, shardings),
        Stage(advance_supervised, lambda *_: [], batches, lambda made: progress(made / steps)),
        LoopConfig(steps, config.log_every, config.save_every, observe_every=0),
        shop.checkpoints(node.id),
        folder.records,
    )
    ledger = read_ledger([batches.get_state()], sources)
    positions = steps * config.batch * config.length
    per_token = flops_per_token(shop.decoder.config, config.length / 2)
    return {
        "steps": steps,
        "ledger": ledger,
        "tokens": {name: counts["tokens"] for name, counts in ledger.items()},
        "flops": 3 * per_token * positions,
    }


def _run_rl(
    node: Node, shop: Shop, folder: StageDir, progress: Callable[[float], None]
) -> dict[str, Any]:
    config: RLConfig = node.config
    world = shop.study.worlds[config.world]
    stream = PromptStream(
        shop.materials.prompts(node.stage, config, node.seed),
        config.prompts,
        seed_of(shop.study.seed, "member", node.seed, node.stage, "order"),
    )
    policy = _policy(config)
    tx = make_optimizer(config.optimizer, config.steps * policy.updates)
    shardings = state_shardings(shop.decoder, tx, shop.mesh)
    rows = mesh_lib.batch_sharding(shop.mesh)
    replicated = mesh_lib.replicated(shop.mesh)
    initial = shop.params(node, shardings.params)
    has_reference = config.kl_coefficient > 0

    def programs():
        start = jax.jit(functools.partial(new_state, tx=tx), out_shardings=shardings)
        update = jax.jit(
            make_update(shop.decoder, tx, policy),
            in_shardings=(
                shardings,
                shardings.params if has_reference else None,
                rows,
                rows,
                rows,
                rows,
            ),
            out_shardings=(shardings, replicated),
            donate_argnums=0,
        )
        return start, update

    key = digest(["rl", config.optimizer, config.steps, policy])
    start, update = shop.programs.get(key, programs)
    grpo = GRPO(
        decoder=shop.decoder,
        tokenizer=shop.materials.tokenizer,
        world=world,
        reward=config.reward,
        group=config.group,
        slots=config.prompt_length,
        normalise=config.normalise,
        sampler=_sampler(config.max_new_tokens, config.temperature, config.top_k, config.top_p),
        key=shop.key(node, "rollouts"),
        rows=rows,
    )
    held_out = shop.materials.curve_problems(config) if config.curve_every else []
    draw = _sampler(config.max_new_tokens, 1.0, 0, 1.0)

    def observe(made: int, state: TrainState) -> list[dict[str, Any]]:
        accuracy = heldout_accuracy(
            shop.decoder,
            state.params,
            shop.materials.tokenizer,
            world,
            held_out,
            config.curve_samples,
            shop.key(node, "curve"),
            draw,
            rows=_whole_rows(len(held_out) * config.curve_samples, shop.mesh),
            sharding=rows,
        )
        return [
            {
                "step": made,
                "samples": stream.completions,
                "sampled_tokens": stream.tokens,
                "flops": rl_flops(stream),
                "heldout": accuracy,
            }
        ]

    def rl_flops(stream: PromptStream) -> float:
        """Sampling costs one forward pass per position, learning three per pass and epoch."""
        sampled = stream.completions * config.prompt_length + stream.tokens
        learnt = stream.completions * (config.prompt_length + config.max_new_tokens - 1)
        passes = 3 * config.epochs + has_reference
        per_token = flops_per_token(
            shop.decoder.config, (config.prompt_length + config.max_new_tokens) / 2
        )
        return per_token * (sampled + passes * learnt)

    reference = jax.tree.map(lambda x: x.copy(), initial) if has_reference else None
    state = start(initial)
    run_loop(
        state,
        abstract_of(state, shardings),
        Stage(
            lambda _, state: advance(grpo, stream, update, reference, state),
            observe,
            stream,
            lambda made: progress(made / config.steps),
        ),
        LoopConfig(config.steps, config.log_every, config.save_every, config.curve_every),
        shop.checkpoints(node.id),
        folder.records,
    )
    ledger = stream.ledger(config.world)
    return {
        "steps": config.steps,
        "ledger": ledger,
        "tokens": {name: counts["tokens"] for name, counts in ledger.items()},
        "samples": stream.completions,
        "flops": rl_flops(stream),
    }


def _run_eval(
    node: Node, shop: Shop, folder: StageDir, progress: Callable[[float], None]
) -> dict[str, Any]:
    config = shop.study.evaluation
    params = shop.load_params(node.parent)
    # Common random numbers: a member is sampled with the same key after every stage of every arm.
    key = jax.random.key(seed_of(shop.study.seed, "member", node.seed, "evaluation"))
    rows = mesh_lib.batch_sharding(shop.mesh)
    shared = (shop.decoder, params, shop.materials.tokenizer)
    result = evaluate(
        *shared,
        shop.study.worlds[config.world],
        shop.materials.test_problems(config),
        key,
        config.sampling,
        sharding=rows,
    )
    progress(0.9)
    records = list(result.records)
    if config.recall:
        facts = shop.materials.facts(config)
        records += recall_facts(
            *shared, shop.study.worlds[config.recall], facts, key, config.sampling, sharding=rows
        )
    folder.write_lines("records.jsonl", records)
    folder.write_lines("samples.jsonl", result.samples)
    return {"steps": 0, "ledger": {}, "tokens": {}, "flops": work_of(node, shop)}


def _policy(config: RLConfig) -> PolicyConfig:
    names = [field.name for field in dataclasses.fields(PolicyConfig)]
    return PolicyConfig(**{name: getattr(config, name) for name in names})


def _sampler(tokens: int, temperature: float, top_k: int, top_p: float) -> SamplerConfig:
    return SamplerConfig(tokens, temperature, top_k, top_p, stop_id=EOS, pad_id=PAD)


def _whole_rows(rows: int, mesh: jax.sharding.Mesh) -> int:
    """Rows rounded up to what the mesh divides."""
    parts = math.prod(mesh.shape[axis] for axis in mesh_lib.BATCH_AXES)
    return -(-rows // parts) * parts
