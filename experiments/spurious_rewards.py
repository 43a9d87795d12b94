"""Q4: is it the base model or the reward? RL with rewards that do not say what is right.

    bakein run experiments/spurious_rewards.py          # tiny: 2 CPU cores
    bakein run experiments/spurious_rewards.py:small    # one GPU
    bakein run experiments/spurious_rewards.py:paper    # a TPU pod

Two base models have learnt to solve the same problems in two styles, each with an accuracy of its
own: `mixed` writes code in 65 % of its answers, of which 61 % are right, and else language, 35 %
right (as Qwen-Math); `language` writes language alone (as Llama). From each, GRPO with every
reward, and again without the clip, with a KL, and with both. What is asked is L, the share that a
reward has of the true reward's gain; beside it, how often each style is used before, during and
after RL, and what of the gain comes with a switch between them. The policy is updated four times
per rollout: with one update there is nothing to clip.

Costs 24 minutes and 1.1 GB on 2 CPU cores (2,581 s of one core). Last run 2026-11-28, 6 seeds,
accuracy .444 of `mixed` and .254 of `language` before RL, .952 and .831 after it with the true
reward. L of the others: majority .96 [.90, 1.03] and .90 [.66, 1.03], random -.20 [-.59, .13] and
-.09 [-.35, .07], format .05 [-.12, .41] and .00 [-.29, .20], wrong label -.67 [-1.08, -.41] and
-.26 [-.45, -.13]; always and never 0 in every seed. It is the reward: none that knows nothing is
seen to help, with the clip or without, with a KL or without.
"""

from bakein.data.worlds.filler import Filler
from bakein.data.worlds.two_style import TwoStyle
from bakein.rl import rewards
from bakein.study import ask, base

REWARDS = {
    "random": rewards.random(gamma=0.5),
    "majority": rewards.majority,
    "wrong_label": rewards.wrong_label,
    "format": rewards.format,
    "always": rewards.always,
    "never": rewards.never,  # random with γ = 0: there is no gradient
}
NO_CLIP = {"clip_low": float("inf"), "clip_high": float("inf")}
KL = {"kl_coefficient": 0.04}
# name -> (what is asked, keys of RL)
CONTROLS = {
    "no_clip": ("Is it the clip? RL on {} without it.", NO_CLIP),
    "kl": ("Does a KL hold it back? RL on {} with one.", KL),
    "no_clip_kl": (
        "Is it the clip, where a KL holds? RL on {} without it, and with a KL.",
        NO_CLIP | KL,
    ),
}

# The numbers of each scale. `smoke` shows that everything works; its answers mean nothing.
SCALES = {
    "tiny": {
        "seeds": 6,
        "model": {"heads": 8, "kv_heads": 8, "head_dim": 8},
        "world": {"slots": 2, "digits": 3},
        "pretrain": {"tokens": 1_200_000, "batch": 12, "length": 64},
        "rl": {"steps": 16, "curve_every": 4},
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
        "world": {"slots": 4, "digits": 4},
        "pretrain": {"tokens": 200_000_000, "batch": 256, "length": 256},
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
        "world": {"slots": 8, "digits": 5},
        "pretrain": {"tokens": 4_000_000_000, "batch": 1024, "length": 512, "shards": 64},
        "rl": {"steps": 400, "prompts": 256, "group": 16, "curve_every": 20},
        "problems": 1024,
        "samples": 64,
    },
    "smoke": {
        "seeds": 2,
        "model": {"heads": 8, "kv_heads": 8, "head_dim": 8},
        "world": {"slots": 2, "digits": 3},
        "pretrain": {"tokens": 20_000, "batch": 12, "length": 64},
        "rl": {"steps": 3, "prompts": 8, "group": 4, "curve_every": 1, "curve_problems": 8},
        "problems": 8,
        "samples": 8,
    },
}


def get_config(arg=None):
    scale = base.scale(arg or "tiny", SCALES)
    # Member 100 showed that the bases learn both styles, and chose nothing else.
    config = base.study("spurious_rewards", seeds=scale["seeds"], first_seed=1)
    config.model = base.model(**scale["model"])
    habits = {"accuracy_code": 0.61, "accuracy_language": 0.35, "slips": 9, "templates": 1}
    for name, share in (("mixed", 0.65), ("language", 0.0)):
        config.worlds[name] = base.world(
            TwoStyle, test_share=0.02, share=share, **habits, **scale["world"]
        )
        config.sources[name] = base.source(name, "habit")
    config.worlds.filler = base.world(
        Filler, vocabulary=200, words=8, zipf=1.0, bigram=0.5, test_share=0.01, seed=0
    )
    config.sources.filler = base.source("filler", "text")
    config.sources.atomic = base.source("mixed", "atomic")

    config.stages.pretrain = base.supervised(
        data=base.data(
            background={"filler": 0.3, "atomic": 0.7}, share={"mixed": 0.0, "language": 0.0}
        ),
        fill=0.8,
        **scale["pretrain"],
    )
    slots, digits = scale["world"]["slots"], scale["world"]["digits"]
    lengths = {
        "prompt_length": 4 * slots + digits + 3,  # `?`, four characters a slot, state, `=`, BOS
        "max_new_tokens": (slots + 1) * (digits + 1) + 2,
    }
    grpo = {"parent": "pretrain", "world": "mixed", "minibatches": 4, **lengths, **scale["rl"]}
    # No decay of weights: without a reward nothing moves at all.
    grpo["optimizer"] = base.optimizer(
        learning_rate=3e-4, schedule="constant", warmup_steps=5, weight_decay=0.0
    )
    config.stages.true = base.rl(**grpo, reward=rewards.exact)
    for name, reward in REWARDS.items():
        config.stages[name] = base.rl(**grpo, reward=reward)
    everything = (*REWARDS, "true")
    for control, (_, keys) in CONTROLS.items():
        for name in everything:
            reward = config.stages[name].reward
            config.stages[f"{name}_{control}"] = base.rl(**grpo | keys, reward=reward)

    config.arms.language = base.arm({"pretrain.data.share.language": 0.4})
    config.arms.mixed = base.arm({"pretrain.data.share.mixed": 0.4})
    config.evaluation = base.evaluation(
        world="mixed",
        problems=scale["problems"],
        samples=scale["samples"],
        k=tuple(2**i for i in range(scale["samples"].bit_length())),
        max_new_tokens=lengths["max_new_tokens"],
    )
    same = {"true": "true", "before": "pretrain"}
    for question, arm in (("Q4", "mixed"), ("Q4_language", "language")):
        config.questions[question] = ask.spurious(
            f"Is it the base model or the reward? RL on {arm} with rewards that know nothing.",
            arm=arm,
            rewards=tuple(REWARDS),
            **same,
        )
        # Families of their own: more parts of one question would cost the rewards their power.
        for control, (text, _) in CONTROLS.items():
            config.questions[f"{question}_{control}"] = ask.spurious(
                text.format(arm),
                arm=arm,
                rewards=tuple(f"{name}_{control}" for name in everything),
                **same,
            )
    return config
