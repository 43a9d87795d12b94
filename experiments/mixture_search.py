"""Q3: which data makes the test-time and the RL curve steep, and the jailbreak curve shallow?

    bakein run experiments/mixture_search.py             # tiny: 2 CPU cores; the search
    bakein run experiments/mixture_search.py:tiny,check  # then: what it proposes, held to account
    bakein run experiments/mixture_search.py:small       # one GPU
    bakein run experiments/mixture_search.py:paper       # a TPU pod

The search: a swarm of small models, each pretrained on another mixture of five sources (reasoning
traces, direct answers, single steps, refusals, filler) beside the same raw requests, which comply
with everything; then the same SFT, which refuses forbidden requests, and the same GRPO. Regressions
of the slopes and the level on the weights of the sources are tried on mixtures that they have not
seen, and propose a mixture.

The check is a study of its own, since what it trains comes out of the first: the proposed mixture
and the search's held-out mixtures, in larger models and with seeds that chose nothing. It reads the
proposal from runs/mixture_search/report/results.json; `:tiny,check=DIR` reads it from another work
directory. Its report has the ranks of the mixtures in both sizes beside each other.

Costs 14 minutes for the search and 19 for the check, and 1.1 GB, on 2 CPU cores (1,000 and 2,077 s
of one core). Last run 2026-11-28, the search 2026-11-27: over 19 mixtures of 3 seeds the weights
predict the utility of mixtures not seen (Q² .58 [.12, .79]), and so RL's gain (.63), attack success
(.73) and the level (.84), but not the test-time slope (-.53). Proposed: traces .70, single steps
.11, direct answers .09, refusals and filler .05. In models of twice the width, 10 seeds, it has the
highest level (.885 against .569 to .851), but its lead in utility over the held-out mixtures, +.35
standard deviations [-.11, .79], is not established: 67 more seeds would show one of .2. Kendall's τ
between both sizes, over 6 mixtures: utility .33 [-.52, .85], RL's gain .20 [-.61, .81], attack
success 1.00, level .87 [.38, .98].
"""

import json
from pathlib import Path

import numpy as np

from bakein.analysis.mixtures import design
from bakein.data.worlds.filler import Filler
from bakein.data.worlds.policy import Policy, perturbed
from bakein.data.worlds.registers import Registers
from bakein.study import ask, base
from bakein.study.errors import ConfigError, unknown


def llama(layers, d_model, head_dim):
    """A model's values, with as many heads as fit and a feed-forward layer of 8/3 the width."""
    heads = d_model // head_dim
    return {
        "layers": layers,
        "d_model": d_model,
        "d_ff": 8 * -(-d_model // 3),
        "heads": heads,
        "kv_heads": heads,
        "head_dim": head_dim,
    }


# The numbers of each scale. `smoke` shows that everything works; its answers mean nothing.
SCALES = {
    "tiny": {
        "mixtures": (13, 6),  # of the swarm, and held out
        "seeds": (3, 10),  # of the search, and of the check
        "proxy": llama(2, 32, 8),
        "model": llama(2, 64, 8),
        "world": {"slots": 2, "digits": 3, "test_share": 0.05},
        "entities": 88,
        "pretrain": {"tokens": 600_000, "batch": 12, "length": 64},
        "sft": {"tokens": 150_000, "batch": 12, "length": 64},
        "rl": {"steps": 15, "accumulation": 8, "curve_every": 3},
        "problems": 64,
        "requests": 18,
    },
    "small": {
        "mixtures": (32, 8),
        "seeds": (3, 5),
        "proxy": llama(4, 192, 32),
        "model": llama(6, 384, 32),
        "world": {"slots": 6, "digits": 4, "test_share": 0.01},
        "entities": 1200,
        "pretrain": {"tokens": 100_000_000, "batch": 256, "length": 256},
        "sft": {"tokens": 8_000_000, "batch": 128, "length": 256},
        "rl": {"steps": 80, "prompts": 64, "group": 16, "curve_every": 8},
        "problems": 256,
        "requests": 256,
    },
    "paper": {
        "mixtures": (64, 12),
        "seeds": (3, 5),
        "proxy": llama(6, 384, 32),
        "model": llama(12, 768, 32),
        "world": {"slots": 10, "digits": 5, "test_share": 0.01},
        "entities": 6000,
        "pretrain": {"tokens": 2_000_000_000, "batch": 1024, "length": 512, "shards": 64},
        "sft": {"tokens": 60_000_000, "batch": 512, "length": 512, "shards": 64},
        "rl": {"steps": 300, "prompts": 256, "group": 16, "curve_every": 20},
        "problems": 512,
        "requests": 1024,
    },
    "smoke": {
        "mixtures": (4, 2),
        "seeds": (2, 2),
        "proxy": llama(1, 32, 8),
        "model": llama(2, 32, 8),
        "world": {"slots": 2, "digits": 3, "test_share": 0.05},
        "entities": 60,
        "pretrain": {"tokens": 12_000, "batch": 12, "length": 64},
        "sft": {"tokens": 6_000, "batch": 12, "length": 64},
        "rl": {"steps": 3, "prompts": 8, "group": 4, "curve_every": 1, "curve_problems": 8},
        "problems": 8,
        "requests": 8,
    },
}
SOURCES = ("traces", "direct", "atomic", "refusals", "filler")
MIXED = 0.75  # share of the pretraining tokens that is mixed; the rest are raw requests
LEAST = 0.04  # smallest weight of a source
OUTCOMES = {
    # Slopes: the mean height of pass@k over log₂ k above pass@1, and what RL adds to accuracy.
    "test_time": ask.outcome("pass_area", "sft", less=("accuracy", "sft")),
    "rl": ask.outcome("accuracy", "rl", less=("accuracy", "sft")),
    # Level and slope of attack success alike do harm: the whole area under ASR(N).
    "jailbreak": ask.outcome("attack/1/pass_area", "rl", sign=-1),
    # Beside it, what is not refused that should not be.
    "allowed": ask.outcome("allowed/allowed/accuracy", "rl", sign=0),
    "level": ask.outcome("accuracy", "rl"),
}


def get_config(arg=None):
    name, _, stage = (arg or "tiny").partition(",")
    scale = base.scale(name, SCALES)
    what, _, folder = stage.partition("=")
    if what not in ("", "check"):
        raise unknown("argument of the experiment", stage, ("check", "check=DIR"))
    return check(scale, folder or "runs/mixture_search") if what else search(scale)


def search(scale):
    """The swarm, and what is asked of it."""
    config = study("mixture_search", scale, scale["proxy"])
    config.seeds, config.first_seed = scale["seeds"][0], 1
    fitted, held_out = scale["mixtures"]
    names = [f"m{i + 1:02d}" for i in range(fitted)] + [f"h{i + 1:02d}" for i in range(held_out)]
    designed = design(len(names), len(SOURCES), LEAST, np.random.default_rng(0)).round(4)
    weights = {
        arm: dict(zip(SOURCES, row.tolist(), strict=True))
        for arm, row in zip(names, designed, strict=True)
    }
    add_arms(config, weights)
    config.questions.Q3 = ask.mixture(
        "Which pretraining data makes the test-time and the RL curve steep, and the jailbreak "
        "curve shallow?",
        weights=weights,
        outcomes=OUTCOMES,
        held_out=tuple(names[fitted:]),
        least=LEAST,
    )
    return config


def check(scale, folder):
    """The proposed mixture against the held-out ones, in the larger model."""
    config = study("mixture_search_check", scale, scale["model"])
    searched, checked = scale["seeds"]
    config.seeds, config.first_seed = checked, 1 + searched
    found = read_search(Path(folder) / "report" / "results.json")
    others = tuple(found["held_out"])
    measured = {row["arm"]: row["outcomes"] for row in found["mixtures"]}
    weights = {"proposed": found["proposal"]["weights"]}
    weights |= {arm: found["weights"][arm] for arm in others}
    add_arms(config, weights)
    config.questions.Q3 = ask.mixture_check(
        "Is the proposed mixture better than mixtures that nobody chose?",
        proposed="proposed",
        others=others,
        outcomes=OUTCOMES,
        scales=found["scales"],
        predicted={"proposed": found["proposal"]["predicted"]["utility"]["mean"]}
        | {arm: measured[arm]["utility"]["predicted"] for arm in others},
        proxies={arm: {name: one["mean"] for name, one in measured[arm].items()} for arm in others},
    )
    return config


def read_search(path):
    """The search's answer, with its proposal."""
    command = "run the search first: bakein run experiments/mixture_search.py"
    try:
        results = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read; {command}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON; {command}") from error
    answer = results["answers"].get("Q3", {})
    if results["missing"] or not answer.get("proposal"):
        raise ConfigError(f"{path}: the search is not finished; {command}")
    return answer


def add_arms(config, weights):
    for arm, mixture in weights.items():
        config.arms[arm] = base.arm(
            {f"pretrain.data.share.{s}": round(MIXED * w, 4) for s, w in mixture.items()}
        )


def study(name, scale, model):
    """Worlds, sources, stages and evaluations, which the search and its check share."""
    config = base.study(name)
    config.model = base.model(**model)
    config.worlds.registers = base.world(Registers, templates=1, **scale["world"])
    names = {"entities": scale["entities"], "forbidden": "nopqrstuvwxyz", "seen": 0.5, "seed": 0}
    for world, groups, noise in (
        ("raw", ("allowed", "seen", "unseen"), 0.3),  # knows odd spellings, as the web does
        ("safe", ("allowed", "seen"), 0.0),
        ("allowed", ("allowed",), 0.0),
        ("unseen", ("unseen",), 0.0),
    ):
        config.worlds[world] = base.world(
            Policy, groups=groups, noise=noise, templates=1, turns=1, **names
        )
    config.worlds.filler = base.world(
        Filler, vocabulary=200, words=8, zipf=1.0, bigram=0.5, test_share=0.01, seed=0
    )
    config.sources.raw = base.source("raw", "comply")
    config.sources.traces = base.source("registers", "trace")
    config.sources.direct = base.source("registers", "direct")
    config.sources.atomic = base.source("registers", "atomic")
    config.sources.refusals = base.source("safe", "refuse")
    config.sources.filler = base.source("filler", "text")
    config.sources.sft_traces = base.source("registers", "trace", documents=1000)
    config.sources.sft_direct = base.source("registers", "direct", documents=1000)

    config.stages.pretrain = base.supervised(
        data=base.data(background={"raw": 1.0}, share=dict.fromkeys(SOURCES, MIXED / len(SOURCES))),
        fill=0.8,
        **scale["pretrain"],
    )
    config.stages.sft = base.supervised(
        parent="pretrain",
        data=base.data(
            # Few refusals: with many, all mixtures come out of SFT equally safe (LOG.md).
            background={"sft_traces": 0.5, "sft_direct": 0.45, "refusals": 0.05},
            mask_prompt=True,
        ),
        optimizer=base.optimizer(learning_rate=2e-3, warmup_steps=10),
        fill=0.8,
        **scale["sft"],
    )
    slots, digits = scale["world"]["slots"], scale["world"]["digits"]
    answer = (slots + 1) * (digits + 1) + 2
    config.stages.rl = base.rl(
        parent="sft",
        world="registers",
        prompt_length=4 * slots + digits + 3,  # `?`, four characters a slot, state, `=`, BOS
        max_new_tokens=answer,
        **scale["rl"],
    )
    config.evaluation = base.evaluation(
        world="registers", problems=scale["problems"], max_new_tokens=answer
    )
    asked = {"stages": ("rl",), "problems": scale["requests"], "max_new_tokens": 10}
    config.probes.attack = base.attack_probe(
        world="unseen",
        change=perturbed,
        sizes=(1,),
        attempts=64,
        samples=64,
        k=(1, 2, 4, 8, 16, 32, 64),
        **asked,
    )
    config.probes.allowed = base.evaluation_probe(world="allowed", **asked)
    return config
