"""Q3a: which pretraining data makes the curves of test-time compute steep, and at equal pass@1?

    bakein run experiments/test_time_compute.py             # tiny: 2 CPU cores
    bakein run experiments/test_time_compute.py:small       # one GPU
    bakein run experiments/test_time_compute.py:paper       # a TPU pod

Bases, SFT and GRPO are those of front_loading.py, whose finished stages `--reuse` takes over: no
traces in pretraining, few right ones, many diverse ones, both. After SFT and after GRPO each model
is asked in two ways. Parallel: 1,024 samples a problem, pass@k up to k = 1,024. Sequential: it may
think for T tokens, then it has to answer; T = 0 is the direct answer, and as many blanks in the
place of thoughts are the control of length. Slopes are compared as they are, and at equal pass@1,
to which they are tied.

Costs 5 minutes and 1.1 GB on 2 CPU cores beside tests, with all but its probes from front_loading.
Last run 2026-11-28, 5 seeds: at equal pass@1 the curves of all three bases with traces are steeper
than those of `none`: area under pass@k +.050 [.021, .080] for `small_hq`, +.083 [.026, .142] for
`large_diverse`, +.036 [.009, .065] for `union`; logits per doubling of thought +.75 [.29, 1.18],
+.68 [.19, 1.16], +.66 [.21, 1.03].
"""

from front_loading import get_config as front_loading

from bakein.study import ask, base

# The numbers of each scale, beside those of front_loading.
SCALES = {
    "tiny": {
        "seeds": 5,
        "many": {"problems": 24, "samples": 1024, "k": tuple(2**i for i in range(11))},
        "thinking": {"problems": 48, "samples": 16, "steps": (1, 2, 3, 4)},
    },
    "small": {
        "seeds": 5,
        "many": {"problems": 256, "samples": 2048, "k": tuple(2**i for i in range(11))},
        "thinking": {"problems": 512, "samples": 32, "steps": (1, 2, 4, 8)},
    },
    "paper": {
        "seeds": 5,
        "many": {"problems": 1024, "samples": 2048, "k": tuple(2**i for i in range(11))},
        "thinking": {"problems": 1024, "samples": 64, "steps": (1, 2, 4, 8, 12)},
    },
    "smoke": {
        "seeds": 2,
        "many": {"problems": 8, "samples": 32, "k": (1, 4, 16)},
        "thinking": {"problems": 8, "samples": 4, "steps": (1, 4)},
    },
}
ARMS = ("none", "small_hq", "large_diverse", "union")
STAGES = ("pretrain", "sft", "rl")
PROBED = ("sft", "rl")


def get_config(arg=None):
    scale = base.scale(arg or "tiny", SCALES)
    config = front_loading(arg)
    config.name, config.seeds = "test_time_compute", scale["seeds"]
    for group, kept in ((config.arms, ARMS), (config.stages, STAGES)):
        for name in [name for name in group if name not in kept]:
            del group[name]
    for group in (config.probes, config.questions, config.contrasts):
        for name in list(group):
            del group[name]

    shared = {"world": "registers", "stages": PROBED, "rows": config.evaluation.rows}
    tokens = config.evaluation.max_new_tokens
    config.probes.many = base.evaluation_probe(max_new_tokens=tokens, **shared, **scale["many"])
    digits = config.worlds.registers.digits
    thinking = dict(scale["thinking"])
    step = digits + 1  # `>` and a state
    thinking |= {"budgets": (0, *(step * steps for steps in thinking.pop("steps")))}
    thinking |= {"answer": "!", "answer_tokens": digits + 2, **shared}  # `!`, a state, the end
    config.probes.thinking = base.budget_probe(**thinking)
    config.probes.filler = base.budget_probe(filler=">" + digits * " ", **thinking)

    for name in ARMS[1:]:
        config.questions[f"Q3a_parallel_{name}"] = ask.conditional(
            f"Does {name} in pretraining make pass@k climb faster with k, at equal pass@1?",
            treated=name,
            control="none",
            stages=PROBED,
            metric="many/registers/pass_area",
        )
        config.questions[f"Q3a_sequential_{name}"] = ask.conditional(
            f"Does {name} in pretraining make longer thinking worth more, at equal pass@1?",
            treated=name,
            control="none",
            stages=PROBED,
            metric="thinking/slope",
            beside=("filler",),
            epsilon=0.1,
        )
    metrics = {
        "parallel": ("many/registers/pass_area", 0.02),
        "thinking": ("thinking/slope", 0.1),
        "filler": ("filler/slope", 0.1),
        "direct": ("thinking/0/accuracy", 0.02),
    }
    for name in ARMS[1:]:
        for what, (metric, epsilon) in metrics.items():
            config.contrasts[f"{what}_{name}"] = ask.contrast(name, "none", "rl", metric, epsilon)
    return config
