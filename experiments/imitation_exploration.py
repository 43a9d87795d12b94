"""Q7: imitation (SFT) against exploration (RL): what does each add, and where to spend a budget?

    bakein run experiments/imitation_exploration.py          # tiny: 2 CPU cores
    bakein run experiments/imitation_exploration.py:small    # one GPU
    bakein run experiments/imitation_exploration.py:paper    # a TPU pod

From two base models, `standard` without reasoning traces in pretraining and `baked_in` with a fifth
of its tokens, one budget of FLOPs is divided between SFT, which is spent first, and RL: `sft_25` is
a quarter of it in SFT, and `rl_75` after it the rest in RL; `sft_100` is imitation alone, `rl_100`
exploration alone, straight from the base. `rl_after_sft` is both in sequence, each with all of the
budget: twice the price. What is imitated are right traces; the arm `mixed_examples`, which starts
from `baked_in`, gets bare answers in half of its examples, so that there is a better habit to find
than the one that is imitated. What is asked is which share spent before is the best, what each
stage adds, and whether that is sharpening or expansion.

An RL step is priced as stage.json counts it, with completions of three quarters of their longest
length. How long they are is an outcome, so the FLOPs match to a few percent; the report prints
what they were.

Costs 23 minutes and 1.4 GB on 2 CPU cores (2,475 s of one core). Last run 2026-11-28, 9 seeds:
`standard` does best with all of the budget in SFT, .649, +.456 [.287, .598] over all in RL. For
`baked_in` three quarters or all of it before may be best (.961 and .972, all in RL .822), and for
`mixed_examples` all up to a half (.80 to .82 against .50 with SFT alone); more seeds would not
settle these two. In sequence, for twice the price, RL adds +.412 [.341, .472] to SFT on half bare
answers, nothing that matters to `baked_in` after SFT on traces, -.005 [-.015, .004], and +.022
[-.002, .045] to `standard` after it, which is undecided.
"""

import dataclasses

from bakein.data.worlds.facts import Facts
from bakein.data.worlds.filler import Filler
from bakein.data.worlds.registers import Registers
from bakein.model import flops_per_token, presets
from bakein.study import ask, base

# The numbers of each scale; the budget is in RL steps. `smoke` shows that everything works; its
# answers mean nothing.
SCALES = {
    "tiny": {
        "seeds": 9,
        "model": {"heads": 8, "kv_heads": 8, "head_dim": 8},
        "world": {"slots": 4, "digits": 3, "test_share": 0.05},
        "pretrain": {"tokens": 1_200_000, "batch": 12, "length": 64},
        "examples": 4_000,
        "sft": {"batch": 8, "length": 128},
        "budget": 20,
        "rl": {"accumulation": 8},
        "problems": 64,
    },
    "small": {
        "seeds": 5,
        "model": {
            "layers": 6,
            "d_model": 384,
            "heads": 12,
            "kv_heads": 12,
            "head_dim": 32,
            "d_ff": 1024,
        },
        "world": {"slots": 8, "digits": 4, "test_share": 0.01},
        "pretrain": {"tokens": 200_000_000, "batch": 256, "length": 256},
        "examples": 100_000,
        "sft": {"batch": 128, "length": 256},
        "budget": 100,
        "rl": {"prompts": 64, "group": 16, "curve_every": 10},
        "problems": 512,
    },
    "paper": {
        "seeds": 5,
        "model": {
            "layers": 12,
            "d_model": 768,
            "heads": 24,
            "kv_heads": 24,
            "head_dim": 32,
            "d_ff": 2048,
        },
        "world": {"slots": 12, "digits": 5, "test_share": 0.01},
        "pretrain": {"tokens": 4_000_000_000, "batch": 1024, "length": 512, "shards": 64},
        "examples": 1_000_000,
        "sft": {"batch": 512, "length": 512, "shards": 64},
        "budget": 400,
        "rl": {"prompts": 256, "group": 16, "curve_every": 20},
        "problems": 1024,
    },
    "smoke": {
        "seeds": 2,
        "model": {"heads": 8, "kv_heads": 8, "head_dim": 8},
        "world": {"slots": 4, "digits": 3, "test_share": 0.05},
        "pretrain": {"tokens": 20_000, "batch": 12, "length": 64},
        "examples": 200,
        "sft": {"batch": 8, "length": 128},
        "budget": 20,
        "rl": {"prompts": 4, "group": 4, "curve_every": 10, "curve_problems": 8},
        "problems": 8,
    },
}
SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)


def get_config(arg=None):
    scale = base.scale(arg or "tiny", SCALES)
    # Member 100 showed that SFT learns the traces from both bases; members 1 to 5 chose nothing.
    config = base.study("imitation_exploration", seeds=scale["seeds"], first_seed=1)
    config.model = base.model(**scale["model"])
    config.worlds.registers = base.world(Registers, templates=1, **scale["world"])
    config.worlds.facts = base.world(Facts, entities=200, seed=0)
    config.worlds.filler = base.world(
        Filler, vocabulary=200, words=8, zipf=1.0, bigram=0.5, test_share=0.01, seed=0
    )
    config.sources.filler = base.source("filler", "text")
    config.sources.facts = base.source("facts", "direct")
    config.sources.atomic = base.source("registers", "atomic")
    config.sources.direct = base.source("registers", "direct")
    config.sources.traces = base.source("registers", "trace")
    config.sources.examples = base.source("registers", "trace", documents=scale["examples"])
    config.sources.bare_examples = base.source("registers", "direct", documents=scale["examples"])

    config.stages.pretrain = base.supervised(
        data=base.data(
            background={"filler": 0.3, "facts": 0.1, "atomic": 0.4, "direct": 0.2},
            share={"traces": 0.0},
        ),
        **scale["pretrain"],
    )
    imitated = base.data(  # replay keeps the facts
        background={"examples": 0.8, "bare_examples": 0.0, "facts": 0.1, "filler": 0.1},
        mask_prompt=True,
    )
    slots, digits = scale["world"]["slots"], scale["world"]["digits"]
    prompt = 4 * slots + digits + 3  # `?`, four characters a slot, the state, `=`, and BOS
    answer = (slots + 1) * (digits + 1) + 2
    budget = scale["budget"]
    grpo = {"world": "registers", "prompt_length": prompt, "max_new_tokens": answer, **scale["rl"]}
    tokens = budget * tokens_of_step(
        scale["model"], base.supervised(**scale["sft"]), base.rl(**grpo)
    )
    ends = {}  # share spent before -> the last stage
    for share in SHARES:
        before, after = f"sft_{share:.0%}".rstrip("%"), f"rl_{1 - share:.0%}".rstrip("%")
        if share > 0:
            config.stages[before] = base.supervised(
                parent="pretrain",
                tokens=round(share * tokens),
                data=imitated,
                optimizer=base.optimizer(learning_rate=2e-3, warmup_steps=10),
                **scale["sft"],
            )
        if share < 1:
            config.stages[after] = base.rl(
                parent=before if share > 0 else "pretrain",
                steps=round((1 - share) * budget),
                **grpo,
            )
        ends[share] = after if share < 1 else before
    config.stages.rl_after_sft = base.rl(parent="sft_100", steps=budget, **grpo)

    config.arms.standard = base.arm()
    config.arms.baked_in = base.arm({"pretrain.data.share.traces": 0.2})
    mixed = {"examples": 0.4, "bare_examples": 0.4}
    config.arms.mixed_examples = base.arm(
        {"pretrain.data.share.traces": 0.2}
        | {
            f"{stage}.data.background.{source}": weight
            for stage in config.stages
            if stage.startswith("sft_")
            for source, weight in mixed.items()
        }
    )
    config.evaluation = base.evaluation(
        world="registers",
        problems=scale["problems"],
        max_new_tokens=answer,
        recall="facts",
        facts=200,
    )
    for arm in config.arms:
        name = "Q7" if arm == "standard" else f"Q7_{arm}"
        config.questions[name] = ask.frontier(
            f"Imitation or exploration: where is a unit of compute best spent? ({arm})",
            shares={f"{arm}/{stage}": share for share, stage in ends.items()},
        )
        config.questions[f"{name}_gains"] = ask.gains(
            f"What does exploration add to imitation, and what does each add alone? ({arm})",
            arm=arm,
            gains=(
                ("rl_after_sft", "sft_100"),
                ("rl_after_sft", "rl_100"),
                ("sft_100", "pretrain"),
                ("rl_100", "pretrain"),
                ("rl_100", "sft_100"),
            ),
        )
    for stage in ("sft_100", "rl_100", "rl_after_sft"):
        config.contrasts[f"base {stage}"] = ask.contrast(
            "baked_in", "standard", stage, "accuracy", 0.02
        )
    for stage in ("sft_100", "rl_after_sft"):
        config.contrasts[f"examples {stage}"] = ask.contrast(
            "baked_in", "mixed_examples", stage, "accuracy", 0.02
        )
    return config


def tokens_of_step(model, sft, rl):
    """How many tokens of SFT cost what one step of RL does, in the FLOPs that stage.json counts."""
    config = dataclasses.replace(presets.tiny(vocab_size=64), **model)
    token = 3 * flops_per_token(config, 0, sft.length) / sft.fill
    # Sampling passes over every position once, learning three times.
    positions = rl.prompt_length + rl.max_new_tokens
    passes = rl.prompt_length + 0.75 * rl.max_new_tokens + 3 * rl.epochs * (positions - 1)
    step = flops_per_token(config, 0, positions) * rl.prompts * rl.group * passes
    return step / token
