"""Q3b: which pretraining data makes RL fast?

    bakein run experiments/rl_slope.py             # tiny: 2 CPU cores
    bakein run experiments/rl_slope.py:small       # one GPU
    bakein run experiments/rl_slope.py:paper       # a TPU pod

Four bases and their SFT are those of front_loading.py, whose finished stages `--reuse` takes over:
no traces in pretraining, few right ones, many diverse ones, both. From each, GRPO after SFT and
GRPO straight from the base, with points of the held-out curve close enough to fit R(C). What is
asked is how many times the samples another base takes to the same held-out accuracy; who never gets
there gives a bound.

Costs 22 minutes and 1.2 GB on 2 CPU cores (2,484 s of one core), less with `--reuse`. Last run
2026-11-28, 9 seeds: after SFT all three bases with traces reach .3 on every seed, `none` on one: it
takes at least 9.6 times the samples of `small_hq` [6.2, ∞), 9.8 times those of `union` [6.7, ∞),
most of whose seeds are there before RL begins, and 4.9 times those of `large_diverse` [2.3, ∞).
Between `large_diverse` and `small_hq` it is undecided, as in some seeds neither needs any RL; and
so it is straight from the base, where `union` gets to .25 in 8 of 9 seeds and `none` in 2, in one
of them before RL.
"""

from front_loading import get_config as front_loading

from bakein.study import ask, base

# The numbers of each scale, beside those of front_loading: of RL, and the accuracy to be reached
# after SFT and from the base. Member 100 chose the thresholds: above where its bases with traces
# begin (.16 to .25 and .04 to .14), and between where the one without ends (.14 and .20) and where
# two or three of those with traces do (.31 to .51, and .27 and .32).
SCALES = {
    "tiny": {
        "seeds": 9,
        "rl": {"steps": 24, "curve_every": 2, "curve_problems": 128},
        "threshold": {"rl": 0.3, "rl_from_base": 0.25},
    },
    "small": {
        "seeds": 5,
        "rl": {"steps": 100, "curve_every": 5, "curve_problems": 512},
        "threshold": {"rl": 0.3, "rl_from_base": 0.25},
    },
    "paper": {
        "seeds": 5,
        "rl": {"steps": 400, "curve_every": 10, "curve_problems": 1024},
        "threshold": {"rl": 0.3, "rl_from_base": 0.25},
    },
    "smoke": {
        "seeds": 2,
        "rl": {"steps": 5, "curve_every": 1, "curve_problems": 8},
        "threshold": {"rl": 0.3, "rl_from_base": 0.25},
    },
}
ARMS = ("none", "small_hq", "large_diverse", "union")
STAGES = ("pretrain", "sft", "rl")


def get_config(arg=None):
    scale = base.scale(arg or "tiny", SCALES)
    config = front_loading(arg)
    config.name, config.seeds = "rl_slope", scale["seeds"]
    for group, kept in ((config.arms, ARMS), (config.stages, STAGES)):
        for name in [name for name in group if name not in kept]:
            del group[name]
    for group in (config.probes, config.questions, config.contrasts):
        for name in list(group):
            del group[name]

    config.stages.rl.update(scale["rl"])
    config.stages.rl_from_base = config.stages.rl.copy_and_resolve_references()
    config.stages.rl_from_base.parent = "pretrain"

    for name in ARMS[1:]:
        config.questions[f"Q3b_{name}"] = ask.rl_speed(
            f"Does {name} in pretraining make RL faster than no traces do?",
            treated=name,
            control="none",
            stage="rl",
            threshold=scale["threshold"]["rl"],
        )
    config.questions.Q3b_data = ask.rl_speed(
        "Is RL faster after much, diverse and noisy data than after little of high quality?",
        treated="large_diverse",
        control="small_hq",
        stage="rl",
        threshold=scale["threshold"]["rl"],
    )
    config.questions.Q3b_from_base = ask.rl_speed(
        "And straight from the base model?",
        treated="union",
        control="none",
        stage="rl_from_base",
        threshold=scale["threshold"]["rl_from_base"],
    )
    config.questions.Q3b_last = ask.rl_speed(
        "How soon is a base with traces where the one without ends?",
        treated="union",
        control="none",
        stage="rl",
    )
    for stage in ("rl", "rl_from_base"):
        for name in ARMS[1:]:
            config.contrasts[f"{name}_{stage}"] = ask.contrast(name, "none", stage, "rl_area", 0.02)
    return config
