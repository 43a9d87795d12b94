"""A study of two arms and two seeds that takes seconds: what the tests of the runner run."""

import dataclasses
import json
from pathlib import Path

import numpy as np

from bakein.data.worlds.facts import Facts
from bakein.data.worlds.registers import Registers
from bakein.rl import rewards
from bakein.study import ask, base

FILE = str(Path(__file__).resolve())
# What a clock said, and which machine and commit it was.
CIRCUMSTANCES = ("seconds", "useful_seconds", "time", "made_by")
ARMS, STAGES, SEEDS = ("standard", "baked_in"), ("pretrain", "sft", "rl"), (0, 1)


def any_trace(group):
    """A reward that a model of no ability earns now and then, so that RL has a gradient.

    A part of it is drawn, so that runs which were killed show whether a draw comes out as before.
    """
    luck = group.rng.random(len(group.texts)) < 0.5
    chance = [len(text) % 3 == 0 for text in group.texts]
    return np.array(rewards.exact(group)) + chance + 0.5 * luck


def get_config(arg=None):
    config = base.study("tiny", seeds=2)
    config.model = base.model(
        d_model=16, layers=1, heads=2, kv_heads=1, head_dim=8, d_ff=16, rope_theta=100.0
    )
    config.worlds.registers = base.world(Registers, slots=1, digits=3, templates=1, test_share=0.1)
    config.worlds.facts = base.world(Facts, entities=16, seed=0)
    config.sources.facts = base.source("facts", "direct")
    config.sources.direct = base.source("registers", "direct")
    config.sources.traces = base.source("registers", "trace")
    config.sources.examples = base.source("registers", "direct", documents=40)

    shape = {"batch": 8, "length": 32, "fill": 0.7, "log_every": 2, "save_every": 4}
    config.stages.pretrain = base.supervised(
        data=base.data(background={"facts": 0.5, "direct": 0.5}, share={"traces": 0.0}),
        tokens=1600,
        optimizer=base.optimizer(warmup_steps=2),
        **shape,
    )
    config.stages.sft = base.supervised(
        parent="pretrain",
        data=base.data(background={"examples": 1.0}, mask_prompt=True),
        tokens=900,
        optimizer=base.optimizer(warmup_steps=2),
        **shape,
    )
    config.stages.rl = base.rl(
        parent="sft",
        world="registers",
        reward=any_trace,
        steps=5,
        prompts=4,
        group=4,
        prompt_length=12,
        max_new_tokens=6,
        curve_every=2,
        curve_problems=8,
        curve_samples=2,
        save_every=2,
        kl_coefficient=0.01,
    )
    config.arms.standard = base.arm()
    config.arms.baked_in = base.arm({"pretrain.data.share.traces": 0.2})
    config.evaluation = base.evaluation(
        world="registers",
        problems=8,
        samples=4,
        k=(1, 2, 4),
        max_new_tokens=6,
        rows=32,
        shown=1,
        recall="facts",
        facts=8,
    )
    config.bootstrap.resamples = 100
    config.questions.Q1 = ask.comparison("Does it?", "baked_in", "standard", "rl")
    config.questions.Q2 = ask.persistence("Does it last?", "baked_in", "standard", STAGES)
    if arg == "probes":
        add_probes(config)
    if arg == "one arm":  # whose batches come from several shards
        del config.arms.standard, config.questions.Q1, config.questions.Q2
        config.seeds = 1
        config.stages.pretrain.shards = 2
    return config


def noisy(world, problem, size, rng):
    """An attack: a random digit before the prompt."""
    return dataclasses.replace(problem, prompt=str(rng.integers(10)) + problem.prompt)


def examples(world, problem, size, rng):
    """An attack: `size` solved problems before the prompt."""
    shown = [world.train(0)[i] for i in rng.integers(256, size=9)][:size]
    documents = [world.document(p, "direct", p.steps) for p in shown]
    text = "".join(document.prompt + document.completion for document in documents)
    return dataclasses.replace(problem, prompt=text + problem.prompt)


def add_probes(config):
    """Every kind of probe, and questions about them; no RL, which they would not see."""
    del config.stages.rl
    config.worlds.harder = base.world(Registers, slots=2, digits=3, templates=1, test_share=0.1)
    draws = {"problems": 4, "samples": 4, "rows": 32, "k": (1, 4)}
    config.probes.harder = base.evaluation_probe(world="harder", max_new_tokens=6, **draws)
    draws |= {"world": "registers", "stages": ("sft",)}
    thinking = {"answer": "!", "answer_tokens": 5, **draws}
    config.probes.budgets = base.budget_probe(budgets=(0, 3), **thinking)
    config.probes.longer = base.budget_probe(
        budgets=(3,), continuation=">", continuations=2, **thinking
    )
    config.probes.best_of_n = base.attack_probe(change=noisy, attempts=4, max_new_tokens=6, **draws)
    config.probes.many_shot = base.attack_probe(
        change=examples, sizes=(0, 2), prefill="!", target="direct", max_new_tokens=6, **draws
    )
    arms = ("baked_in", "standard")
    config.questions.Q1 = ask.comparison("With thought?", *arms, "sft", "budgets/3/accuracy")
    config.questions.Q2 = ask.persistence(
        "Form?", *arms, ("pretrain", "sft"), metric="harder/harder/format"
    )
    config.contrasts.likelier = ask.contrast(*arms, "sft", "many_shot/2/nll", 0.1)


def read_lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def nodes(workdir):
    """(arm, stage, seed) -> folder of the training node."""
    study = json.loads((workdir / "study.json").read_text("utf-8"))
    return {
        (node["arm"], node["stage"], node["seed"]): workdir / "stages" / node["id"]
        for node in study["nodes"]
    }


def evaluation(workdir, folder):
    """The folder of a training node's evaluation."""
    study = json.loads((workdir / "study.json").read_text("utf-8"))
    return workdir / "stages" / study["evals"][folder.name]


def stage_info(folder):
    return json.loads((folder / "stage.json").read_text("utf-8"))


def without_seconds(value):
    if isinstance(value, dict):
        return {k: without_seconds(v) for k, v in value.items() if k not in CIRCUMSTANCES}
    return [without_seconds(v) for v in value] if isinstance(value, list) else value


def last_params(folder):
    """Every array of a stage's last checkpoint, by its path, and where its data stands."""
    import jax
    from orbax.checkpoint import v1 as ocp

    step = max(int(p.name) for p in (folder / "checkpoints").iterdir() if p.name.isdigit())
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    with ocp.training.Checkpointer(folder / "checkpoints") as checkpointer:
        saved = checkpointer.checkpointables_metadata(step).metadata
        trees = {name: saved[name] for name in ("params", "optimizer")}
        abstract = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here), trees
        )
        loaded = checkpointer.load_checkpointables(step, {**abstract, "meta": None})
    meta = loaded.pop("meta")
    leaves = jax.tree_util.tree_leaves_with_path({"step": step, **loaded})
    arrays = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}
    return arrays | {name: np.array(json.dumps(meta[name])) for name in ("checksums", "data")}


def outcome(workdir):
    """All that a run leaves and that must not depend on how often it was killed."""
    found = {
        "results": without_seconds(json.loads((workdir / "report" / "results.json").read_text()))
    }
    for folder in sorted((workdir / "stages").iterdir()):
        found[folder.name, "stage"] = without_seconds(stage_info(folder))
        for name in ("records.jsonl", "samples.jsonl"):
            if (folder / name).exists():
                found[folder.name, name] = (folder / name).read_bytes()
        if (folder / "checkpoints").exists():
            for path, leaf in last_params(folder).items():
                found[folder.name, path] = (leaf.dtype, leaf.shape, np.asarray(leaf).tobytes())
    return found


def differences(left, right):
    return [key for key in {*left, *right} if left.get(key) != right.get(key)]
