"""The same question on real text: do GSM8K's traces, mixed into pretraining, help after SFT and RL?

bakein run experiments/gsm8k.py:tiny,data=DIR
"""

from bakein.data.worlds.gsm8k import GSM8K
from bakein.study import base

SCALES = {
    "smoke": {
        "text": ("wikitext2/valid.txt",),
        "vocabulary": 2048,
        "seeds": 2,
        "model": {
            "d_model": 32,
            "layers": 1,
            "heads": 2,
            "kv_heads": 1,
            "head_dim": 16,
            "d_ff": 64,
        },
        "pretrain": {"tokens": 20_000, "batch": 8, "length": 384, "fill": 0.8},
        "sft": {"tokens": 10_000, "batch": 8, "length": 384, "fill": 0.7},
        "rl": {
            "steps": 2,
            "prompts": 4,
            "group": 2,
            "prompt_length": 320,
            "max_new_tokens": 16,
            "curve_every": 1,
            "curve_problems": 4,
            "curve_samples": 2,
        },
        "evaluation": {
            "problems": 12,
            "samples": 4,
            "k": (1, 2, 4),
            "max_new_tokens": 16,
            "rows": 64,
        },
    },
    "tiny": {
        "text": ("wikitext2/valid.txt", "wikitext2/test.txt"),
        "vocabulary": 2048,
        "seeds": 2,
        "model": {
            "d_model": 128,
            "layers": 2,
            "heads": 4,
            "kv_heads": 1,
            "head_dim": 32,
            "d_ff": 352,
        },
        "pretrain": {"tokens": 600_000, "batch": 8, "length": 384, "fill": 0.85},
        "sft": {"tokens": 240_000, "batch": 8, "length": 384, "fill": 0.75},
        "rl": {
            "steps": 12,
            "prompts": 8,
            "group": 8,
            "prompt_length": 320,
            "max_new_tokens": 256,
            "accumulation": 4,
            "curve_every": 4,
            "curve_problems": 32,
            "curve_samples": 2,
        },
        "evaluation": {
            "problems": 64,
            "samples": 8,
            "k": (1, 2, 4, 8),
            "max_new_tokens": 256,
            "rows": 64,
        },
    },
}


def get_config(arg=None):
    name, _, data = (arg or "").partition(",data=")
    scale = base.scale(name or "tiny", SCALES)
    data = data or "../shared/data"
    length = scale["pretrain"]["length"]

    config = base.study("gsm8k", seeds=scale["seeds"])
    config.tokenizer = base.tokenizer(
        kind="bpe", vocabulary=scale["vocabulary"], sources=("text", "traces")
    )
    config.model = base.model(tied_embeddings=True, rope_theta=10_000.0, **scale["model"])
    config.worlds.gsm8k = base.world(
        GSM8K, train_path=f"{data}/gsm8k/train.jsonl", test_path=f"{data}/gsm8k/test.jsonl"
    )
    config.sources.text = base.text([f"{data}/{path}" for path in scale["text"]], window=length)
    config.sources.traces = base.source("gsm8k", "trace")

    config.stages.pretrain = base.supervised(
        data=base.data(background={"text": 1.0}, share={"traces": 0.0}), **scale["pretrain"]
    )
    config.stages.sft = base.supervised(
        parent="pretrain",
        data=base.data(background={"traces": 1.0}, mask_prompt=True),
        optimizer=base.optimizer(learning_rate=2e-3, warmup_steps=10),
        **scale["sft"],
    )
    config.stages.rl = base.rl(parent="sft", world="gsm8k", **scale["rl"])

    config.arms.standard = base.arm()
    config.arms.baked_in = base.arm({"pretrain.data.share.traces": 0.2})
    config.evaluation = base.evaluation(world="gsm8k", **scale["evaluation"])
    config.questions.Q1 = base.comparison(
        "Does a model that met GSM8K's traces in pretraining solve more of its test problems?",
        treated="baked_in",
        control="standard",
        stage="rl",
        epsilon=0.005,
    )
    config.questions.Q2 = base.persistence(
        "Does what the traces gave in pretraining persist through SFT and RL?",
        treated="baked_in",
        control="standard",
        stages=("pretrain", "sft", "rl"),
    )
    return config
