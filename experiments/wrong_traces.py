"""Q5: do reasoning traces in pretraining help RL even when the traces are wrong?

    bakein run experiments/wrong_traces.py             # tiny: 2 CPU cores
    bakein run experiments/wrong_traces.py:small       # one GPU
    bakein run experiments/wrong_traces.py:paper       # a TPU pod

Eight arms see the same pretraining tokens. In `none` all are background, in the others a fifth are
traces: right ones in `correct`, and in between the ladder of `bakein.data.corruption`. Then all go
through the same SFT and the same GRPO. What is asked is W, the share that an arm gets of what
correct traces add to the area under the RL curve.

Last run 2026-11-28, 6 seeds: 22 minutes and 1.0 GB on 2 CPU cores beside tests (2,409 s of one
core). Of the gain of `correct`: `wrong_answer` .97 [.77, 1.23] and `retry` .48 [.16, .69] help,
`filler` -.05 [-.27, .11] does not; `half_steps` .16 [-.07, .45], `all_steps` .09 [-.19, .31] and
`swapped` .06 [-.15, .24] are undecided.
"""

from bakein.data import corruption
from bakein.data.worlds.facts import Facts
from bakein.data.worlds.filler import Filler
from bakein.data.worlds.registers import Registers
from bakein.study import ask, base

# The numbers of each scale. `smoke` shows that everything works; its answers mean nothing.
SCALES = {
    "tiny": {
        "seeds": 6,
        "model": {"heads": 8, "kv_heads": 8, "head_dim": 8},
        "world": {"slots": 4, "digits": 3, "test_share": 0.05},
        "pretrain": {"tokens": 1_200_000, "batch": 12, "length": 64},
        "sft": {"tokens": 230_000, "batch": 12, "length": 96},
        "rl": {"steps": 20, "accumulation": 8, "curve_every": 4},
        "problems": 96,
        "samples": 16,  # the question reads the RL curve, not these
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
        "pretrain": {"tokens": 4_000_000_000, "batch": 1024, "length": 512, "shards": 64},
        "sft": {"tokens": 100_000_000, "batch": 512, "length": 512, "shards": 64},
        "rl": {"steps": 400, "prompts": 256, "group": 16, "curve_every": 20},
        "problems": 1024,
        "samples": 64,
    },
    "smoke": {
        "seeds": 2,
        "model": {"heads": 8, "kv_heads": 8, "head_dim": 8},
        "world": {"slots": 4, "digits": 3, "test_share": 0.05},
        "pretrain": {"tokens": 20_000, "batch": 12, "length": 64},
        "sft": {"tokens": 8_000, "batch": 12, "length": 96},
        "rl": {"steps": 3, "prompts": 8, "group": 4, "curve_every": 1, "curve_problems": 8},
        "problems": 8,
        "samples": 16,
    },
}

# arm -> what becomes of its traces, and how often
LADDER = {
    "filler": (corruption.filler, 1.0),
    "swapped": (corruption.swapped, 1.0),
    "all_steps": (corruption.steps, 1.0),
    "half_steps": (corruption.steps, 0.5),
    "wrong_answer": (corruption.wrong_answer, 1.0),
    "retry": (corruption.retry, 0.25),
    "correct": (corruption.none, 0.0),
}


def get_config(arg=None):
    scale = base.scale(arg or "tiny", SCALES)
    # Members 0 and 100 to 103 chose the recipe, which is the quickstart's (LOG.md).
    config = base.study("wrong_traces", seeds=scale["seeds"], first_seed=1)
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
    config.sources.sft_traces = base.source("registers", "trace", documents=1000)
    config.sources.sft_direct = base.source("registers", "direct", documents=1000)

    config.stages.pretrain = base.supervised(
        data=base.data(
            background={"filler": 0.3, "facts": 0.1, "atomic": 0.4, "direct": 0.2},
            share={"traces": 0.0},
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
    slots, digits = scale["world"]["slots"], scale["world"]["digits"]
    prompt = 4 * slots + digits + 3  # `?`, four characters a slot, the state, `=`, and BOS
    answer = (slots + 1) * (digits + 1) + 2
    config.stages.rl = base.rl(
        parent="sft",
        world="registers",
        prompt_length=prompt,
        max_new_tokens=answer,
        **scale["rl"],
    )

    config.arms.none = base.arm()
    for arm, (corrupt, rate) in LADDER.items():
        config.arms[arm] = base.arm(
            {
                "pretrain.data.share.traces": 0.2,
                "pretrain.data.corruption": corrupt,
                "pretrain.data.rate": rate,
            }
        )
    config.evaluation = base.evaluation(
        world="registers",
        problems=scale["problems"],
        samples=scale["samples"],
        k=tuple(2**i for i in range(scale["samples"].bit_length())),
        max_new_tokens=answer,
        recall="facts",
        facts=200,
    )
    config.questions.Q5 = ask.wrong_traces(
        "Do reasoning traces in pretraining help RL even when the traces are wrong?",
        corrupted=("all_steps", "half_steps", "wrong_answer", "swapped", "filler", "retry"),
        correct="correct",
        none="none",
        stage="rl",
    )
    for arm in LADDER:
        config.contrasts[arm] = ask.contrast(arm, "none", "rl", "accuracy", 0.02)
    return config
