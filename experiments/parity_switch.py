"""The parity oracle: at which share of long traces does greedy decoding begin to answer at length?

    bakein run experiments/parity_switch.py             # tiny: 2 CPU cores
    bakein run experiments/parity_switch.py:small       # one GPU
    bakein run experiments/parity_switch.py:paper       # a TPU pod

In the parity mix [2510.11495] a share p of all problems is answered by the parities of every
prefix, which can be learnt, and the rest by the last of them alone, which cannot. On paper greedy
decoding answers at length from p = 1/3 on, and is right; below it guesses. And of the sampled
answers that are right a share 2p / (1 + p) is long, which is what a round of RL has to go by. The
arms are shares of long traces around a third; what the figures should be stands in
`bakein.data.worlds.parity`, so this study checks the whole chain from documents to results.

Costs 18 minutes and .8 GB on 2 CPU cores shared with other work (1,507 s of one core). Last run
2026-11-27, 5 seeds: greedy accuracy .458 (guessing), .487, .588, .675, .887, .894, 1.000, half way
at a share of .335; long answers among the right samples .335, .440, .473, .479, .522, .540, .660,
where 2p / (1 + p) is .333, .438, .473, .496, .519, .551, .667. RL takes `p28` to .509 long and
right answers and `p20` to .456, a difference that five seeds do not establish.
"""

from bakein.data.worlds.parity import Parity
from bakein.study import ask, base

# The numbers of each scale. `smoke` shows that everything works; its answers mean nothing.
SCALES = {
    "tiny": {
        "seeds": 5,
        "model": {"heads": 8, "kv_heads": 8, "head_dim": 8},
        "bits": 12,
        "pretrain": {"tokens": 1_200_000, "batch": 12, "length": 64},
        "rl": {"steps": 20, "accumulation": 8, "curve_every": 4},
        "problems": 96,
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
        "bits": 24,
        "pretrain": {"tokens": 100_000_000, "batch": 256, "length": 256},
        "rl": {"steps": 100, "prompts": 64, "group": 16, "curve_every": 10},
        "problems": 512,
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
        "bits": 48,
        "pretrain": {"tokens": 2_000_000_000, "batch": 1024, "length": 512, "shards": 64},
        "rl": {"steps": 400, "prompts": 256, "group": 16, "curve_every": 20},
        "problems": 1024,
    },
    "smoke": {
        "seeds": 2,
        "model": {"heads": 8, "kv_heads": 8, "head_dim": 8},
        "bits": 12,
        "pretrain": {"tokens": 20_000, "batch": 12, "length": 64},
        "rl": {"steps": 3, "prompts": 8, "group": 4, "curve_every": 1, "curve_problems": 8},
        "problems": 8,
    },
}

# Percent of the problems that are answered at length.
SHARES = (20, 28, 31, 33, 35, 38, 50)
BEFORE, AFTER = "p28", "p38"  # the switch is to lie between them


def get_config(arg=None):
    scale = base.scale(arg or "tiny", SCALES)
    config = base.study("parity_switch", seeds=scale["seeds"], first_seed=1)
    config.model = base.model(**scale["model"])
    for share in SHARES:
        config.worlds[f"p{share}"] = base.world(
            Parity, lengths=(scale["bits"],), long_share=share / 100, templates=1, test_share=0.05
        )
        config.sources[f"p{share}"] = base.source(f"p{share}", "mixed")
        config.arms[f"p{share}"] = base.arm({f"pretrain.data.background.p{share}": 1.0})
    config.stages.pretrain = base.supervised(
        data=base.data(background={f"p{share}": 0.0 for share in SHARES}),
        fill=0.8,
        **scale["pretrain"],
    )
    config.stages.rl = base.rl(
        parent="pretrain",
        world=BEFORE,  # the problems of all of them are the same
        prompt_length=scale["bits"] + 3,  # `?`, `=` and BOS
        max_new_tokens=scale["bits"] + 2,
        **scale["rl"],
    )
    config.evaluation = base.evaluation(
        world=BEFORE, problems=scale["problems"], max_new_tokens=scale["bits"] + 2
    )
    config.questions.switch = ask.comparison(
        "Does the greedy answer become long, and so right, between shares of .28 and .38?",
        treated=AFTER,
        control=BEFORE,
        stage="pretrain",
        metric="greedy",
        epsilon=0.1,
    )
    config.questions.rl = ask.comparison(
        "Does RL on right answers take a model from below the switch to long answers?",
        treated=BEFORE,
        control="p20",
        stage="rl",
        metric="verified",
        epsilon=0.1,
    )
    for share in SHARES[1:]:
        config.contrasts[f"p{share}"] = ask.contrast(
            f"p{share}", "p20", "pretrain", "greedy", epsilon=0.1
        )
    return config
