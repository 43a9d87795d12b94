"""When to bake reasoning in, how much of it, what repetition costs, and what it displaces.

    bakein run experiments/timing.py             # tiny: 2 CPU cores
    bakein run experiments/timing.py:small       # one GPU
    bakein run experiments/timing.py:paper       # a TPU pod

All arms see the same number of pretraining tokens and go through the same SFT and the same GRPO.
`none` has no reasoning traces in pretraining; in `share_1` to `share_40` 1, 5, 10, 20 and 40 % of
all tokens are traces, spread evenly, each seen once. With a share of 20 %, `early` and `late` see
them in the first and in the last half of training, `annealed` more and more of them, and `repeat_4`
and `repeat_16` have a fourth and a sixteenth as many different ones, which they see that often.

Costs 22 minutes and 1.0 GB on 2 CPU cores shared with other work (1,580 s of one core). Last run
2026-11-27, 5 seeds, accuracy after RL: it rises with the share, .178, .207, .213, .249, .493, .737,
the first that is above none being 20 %; it falls with repetition, .493, .448, .349; `early` .443
and `late` .457 are not told apart, nor is `annealed`, .524, from `share_20`. Facts pay for it: of
250, .94 are known after pretraining without traces and .14 with 40 %, .51 after SFT's replay.
"""

import functools

from bakein.data import schedules
from bakein.data.worlds.facts import Facts
from bakein.data.worlds.filler import Filler
from bakein.data.worlds.registers import Registers
from bakein.study import ask, base

# The numbers of each scale. `smoke` shows that everything works; its answers mean nothing.
SCALES = {
    "tiny": {
        "seeds": 5,
        "model": {"heads": 8, "kv_heads": 8, "head_dim": 8},
        "world": {"slots": 3, "digits": 3, "test_share": 0.05},
        "facts": 250,  # each seen 24 times in `none`, 14 in `share_40`; at 13 none stays, at 27 all
        "pretrain": {"tokens": 540_000, "batch": 8, "length": 72},
        "sft": {"tokens": 100_000, "batch": 8, "length": 96},
        "rl": {"steps": 12, "accumulation": 8, "curve_every": 4},
        "problems": 96,
        "samples": 32,
    },
    "small": {
        "seeds": 5,
        "model": {
            "layers": 6,
            "d_model": 384,
            "d_ff": 1024,
            "heads": 12,
            "kv_heads": 12,
            "head_dim": 32,
        },
        "world": {"slots": 8, "digits": 4, "test_share": 0.01},
        "facts": 5_000,
        "pretrain": {"tokens": 200_000_000, "batch": 256, "length": 256},
        "sft": {"tokens": 10_000_000, "batch": 128, "length": 256},
        "rl": {"steps": 100, "prompts": 64, "group": 16, "curve_every": 10},
        "problems": 512,
        "samples": 64,
    },
    "paper": {
        "seeds": 5,
        "model": {
            "layers": 12,
            "d_model": 768,
            "d_ff": 2048,
            "heads": 24,
            "kv_heads": 24,
            "head_dim": 32,
        },
        "world": {"slots": 12, "digits": 5, "test_share": 0.01},
        "facts": 10_000,
        "pretrain": {"tokens": 4_000_000_000, "batch": 1024, "length": 512, "shards": 64},
        "sft": {"tokens": 100_000_000, "batch": 512, "length": 512, "shards": 64},
        "rl": {"steps": 400, "prompts": 256, "group": 16, "curve_every": 20},
        "problems": 1024,
        "samples": 64,
    },
    "smoke": {
        "seeds": 2,
        "model": {"heads": 8, "kv_heads": 8, "head_dim": 8},
        "world": {"slots": 2, "digits": 3, "test_share": 0.05},
        "facts": 32,
        "pretrain": {"tokens": 20_000, "batch": 12, "length": 72},
        "sft": {"tokens": 8_000, "batch": 12, "length": 96},
        "rl": {"steps": 3, "prompts": 8, "group": 4, "curve_every": 1, "curve_problems": 8},
        "problems": 8,
        "samples": 8,
    },
}

SHARES = (1, 5, 10, 20, 40)  # % of the pretraining tokens
SHARE = 20  # % in the arms that differ in when and how often
WHEN = {
    "early": functools.partial(schedules.early, span=0.5),
    "late": functools.partial(schedules.late, span=0.5),
    "annealed": functools.partial(schedules.linear, start=0.0),
}
REPEATS = (4, 16)


def get_config(arg=None):
    scale = base.scale(arg or "tiny", SCALES)
    # Member 100 chose the recipe: it learns the trace, and none of its arms is near 1.
    config = base.study("timing", seeds=scale["seeds"], first_seed=1)
    config.model = base.model(**scale["model"])
    config.worlds.registers = base.world(Registers, templates=1, **scale["world"])
    config.worlds.facts = base.world(Facts, entities=scale["facts"], seed=0)
    config.worlds.filler = base.world(
        Filler, vocabulary=200, words=8, zipf=1.0, bigram=0.5, test_share=0.01, seed=0
    )
    config.sources.filler = base.source("filler", "text")
    config.sources.facts = base.source("facts", "direct")
    config.sources.atomic = base.source("registers", "atomic")
    config.sources.direct = base.source("registers", "direct")
    config.sources.traces = base.source("registers", "trace")
    config.sources.sft_traces = base.source("registers", "trace", documents=1000)
    config.sources.sft_direct = base.source("registers", "direct", documents=1000)

    slots, digits = scale["world"]["slots"], scale["world"]["digits"]
    prompt = 4 * slots + digits + 3  # `?`, four characters a slot, the state, `=`, and BOS
    answer = (slots + 1) * (digits + 1) + 1  # as many steps, the answer, and EOS
    # A document has a position less than characters: its last one is only predicted.
    traces = scale["pretrain"]["tokens"] * SHARE // 100 // (prompt + answer - 1)
    for times in REPEATS:
        repeated = base.source("registers", "trace", documents=round(traces / times))
        config.sources[f"traces_{times}"] = repeated

    config.stages.pretrain = base.supervised(
        data=base.data(
            background={"filler": 0.3, "facts": 0.1, "atomic": 0.4, "direct": 0.2},
            share={"traces": 0.0} | {f"traces_{times}": 0.0 for times in REPEATS},
        ),
        **scale["pretrain"],
    )
    config.stages.sft = base.supervised(
        parent="pretrain",
        data=base.data(
            # Half the answers direct: RL then has a strategy to find. Replay keeps the facts.
            background={"sft_traces": 0.4, "sft_direct": 0.4, "facts": 0.1, "filler": 0.1},
            mask_prompt=True,
        ),
        optimizer=base.optimizer(learning_rate=2e-3, warmup_steps=10),
        **scale["sft"],
    )
    config.stages.rl = base.rl(
        parent="sft",
        world="registers",
        prompt_length=prompt,
        max_new_tokens=answer + 1,
        **scale["rl"],
    )

    config.arms.none = base.arm()
    for share in SHARES:
        config.arms[f"share_{share}"] = base.arm({"pretrain.data.share.traces": share / 100})
    for arm, schedule in WHEN.items():
        config.arms[arm] = base.arm(
            {"pretrain.data.share.traces": SHARE / 100, "pretrain.data.schedule": schedule}
        )
    for times in REPEATS:
        share = f"pretrain.data.share.traces_{times}"
        config.arms[f"repeat_{times}"] = base.arm({share: SHARE / 100})

    config.evaluation = base.evaluation(
        world="registers",
        problems=scale["problems"],
        samples=scale["samples"],
        k=tuple(2**i for i in range(scale["samples"].bit_length())),
        max_new_tokens=answer + 1,
        recall="facts",
        facts=scale["facts"],
    )
    config.questions.Q2_when = ask.comparison(
        "When is reasoning best baked in: early in pretraining, or late?",
        treated="early",
        control="late",
        stage="rl",
    )
    shares = {"none": 0} | {f"share_{share}": share for share in SHARES}
    config.questions.Q1_share = ask.dose(
        "How much reasoning should be baked in?",
        doses=shares,
        dose_unit="% of the pretraining tokens",
        stage="rl",
    )
    config.questions.Q1_repeats = ask.dose(
        "What does it cost to repeat the same reasoning traces?",
        doses={f"share_{SHARE}": 1} | {f"repeat_{times}": times for times in REPEATS},
        dose_unit="times that every trace is seen",
        stage="rl",
    )
    config.questions.Q1_displaced = ask.dose(
        "What is displaced: are fewer facts known where more reasoning was baked in?",
        doses=shares,
        dose_unit="% of the pretraining tokens",
        stage="pretrain",
        metric="recall",
    )
    uniform = f"share_{SHARE}"
    for name, treated, control in (
        ("early_uniform", "early", uniform),
        ("late_uniform", "late", uniform),
        ("annealed_uniform", "annealed", uniform),
        ("annealed_early", "annealed", "early"),
        ("annealed_late", "annealed", "late"),
    ):
        config.contrasts[name] = ask.contrast(treated, control, "rl", "accuracy", 0.02)
    return config
