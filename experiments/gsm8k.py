r"""Real text: do GSM8K's reasoning traces, mixed into pretraining, help after SFT and RL?

    bakein run experiments/gsm8k.py                     # tiny, files in ../shared/data
    bakein run experiments/gsm8k.py:smoke,data=DIR      # another scale, files in DIR

Two arms see the same number of pretraining tokens: `standard` reads text alone, in `baked_in` a
share of the tokens is GSM8K's training problems with their traces. Both then go through the same
SFT on GSM8K and the same GRPO, whose reward is a right answer as GSM8K defines it. Every stage is
scored on problems of GSM8K's test file. What DIR holds:

    gsm8k/train.jsonl, gsm8k/test.jsonl      github.com/openai/grade-school-math
    wikitext2/valid.txt, wikitext2/test.txt  smoke, tiny: WikiText-2, rare words as <unk>
    text.jsonl                               small, paper: JSON lines with a field "text"

    from=https://raw.githubusercontent.com
    curl --create-dirs --output-dir DIR/gsm8k --remote-name-all \
        $from/openai/grade-school-math/master/grade_school_math/data/{train,test}.jsonl
    curl --create-dirs --output-dir DIR/wikitext2 --remote-name-all \
        $from/pytorch/examples/main/word_language_model/data/wikitext-2/{valid,test}.txt

`tiny` costs 10 minutes and 2.3 GB on 2 CPU cores. Last run 2026-11-21, accuracy after RL:
`baked_in` .009, `standard` .007; the difference +.003 [-.007, .016]: too hard for models of 220,000
parameters, so undecided. The form of a solution is undecided as well: +1.59 logits [-0.41, 4.63].
"""

from bakein.data.worlds.gsm8k import GSM8K
from bakein.study import ask, base

# The numbers of each scale. A prompt of GSM8K's training file takes up to 312 positions of the
# tiny tokenizer, its solution up to 388: so RL leaves no problem out, SFT one in a hundred.
SCALES = {
    "tiny": {  # two CPU cores
        "seeds": 3,
        "text": ("wikitext2/valid.txt", "wikitext2/test.txt"),
        "vocabulary": 2048,
        "share": 0.2,  # of the pretraining tokens of `baked_in`
        "model": {"layers": 2, "d_model": 64, "heads": 2, "kv_heads": 1, "embed_scale": 8.0},
        "pretrain": {"tokens": 500_000, "batch": 6, "length": 384, "fill": 0.8},
        "sft": {"tokens": 300_000, "batch": 6, "length": 384, "fill": 0.7},
        "rates": (8e-3, 5e-3, 3e-4),  # of learning: pretraining, SFT, RL
        "rl": {
            "steps": 10,
            "prompts": 8,
            "group": 8,
            "accumulation": 4,
            "prompt_length": 320,
            "max_new_tokens": 256,
            "curve_every": 5,
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
    "smoke": {  # shows that everything works; its answers mean nothing
        "seeds": 2,
        "text": ("wikitext2/valid.txt",),
        "vocabulary": 2048,
        "share": 0.2,
        "model": {"layers": 1, "d_model": 32, "heads": 1, "kv_heads": 1, "d_ff": 88},
        "pretrain": {"tokens": 16_000, "batch": 8, "length": 384, "fill": 0.75},
        "sft": {"tokens": 8_000, "batch": 8, "length": 384, "fill": 0.7},
        "rates": (8e-3, 5e-3, 3e-4),
        "rl": {
            "steps": 2,
            "prompts": 4,
            "group": 2,
            "prompt_length": 384,
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
            "rows": 48,
        },
    },
    "small": {  # one GPU: 27 M parameters
        "seeds": 3,
        "text": ("text.jsonl",),  # 1 GB
        "vocabulary": 8192,
        "share": 0.05,  # ten epochs; at 20 % the traces would be learnt by heart
        "model": {
            "layers": 8,
            "d_model": 512,
            "heads": 8,
            "kv_heads": 2,
            "head_dim": 64,
            "d_ff": 1408,
            "dtype": "bfloat16",
            "scan_layers": True,
        },
        "pretrain": {"tokens": 250_000_000, "batch": 64, "length": 1024, "save_every": 1000},
        "sft": {"tokens": 4_000_000, "batch": 32, "length": 1024},
        "rates": (1e-3, 3e-4, 3e-5),
        "rl": {
            "steps": 200,
            "prompts": 32,
            "group": 16,
            "accumulation": 4,
            "prompt_length": 320,
            "max_new_tokens": 384,
            "curve_every": 20,
            "curve_problems": 256,
        },
        "evaluation": {"problems": 1319, "max_new_tokens": 384, "rows": 1024},
    },
    "paper": {  # a TPU pod: 110 M parameters, 20 tokens for each
        "seeds": 5,
        "text": ("text.jsonl",),  # 10 GB, read whole by every host
        "vocabulary": 32_768,
        "share": 0.005,  # ten epochs
        "model": {
            "layers": 12,
            "d_model": 768,
            "heads": 12,
            "kv_heads": 12,
            "head_dim": 64,
            "d_ff": 2048,
            "dtype": "bfloat16",
            "scan_layers": True,
            "remat": "full",
        },
        "mesh": {"fsdp": 8},
        "pretrain": {
            "tokens": 2_200_000_000,
            "batch": 512,
            "length": 1024,
            "shards": 64,
            "save_every": 500,
        },
        "sft": {"tokens": 4_000_000, "batch": 64, "length": 1024, "shards": 64},
        "rates": (6e-4, 1e-4, 1e-5),
        "rl": {
            "steps": 400,
            "prompts": 128,
            "group": 16,
            "accumulation": 4,
            "prompt_length": 320,
            "max_new_tokens": 384,
            "curve_every": 20,
            "curve_problems": 512,
        },
        "evaluation": {"problems": 1319, "max_new_tokens": 384, "rows": 4096},
    },
}


def get_config(arg=None):
    name, _, data = (arg or "tiny").partition(",data=")
    scale = base.scale(name, SCALES)
    data = data or "../shared/data"
    pretrain_rate, sft_rate, rl_rate = scale["rates"]

    config = base.study("gsm8k", seeds=scale["seeds"], mesh=base.mesh(**scale.get("mesh", {})))
    config.model = base.model(tied_embeddings=True, **scale["model"])
    config.tokenizer = base.tokenizer(
        kind="bpe", vocabulary=scale["vocabulary"], sources=("text", "traces")
    )
    config.worlds.gsm8k = base.world(
        GSM8K, train_path=f"{data}/gsm8k/train.jsonl", test_path=f"{data}/gsm8k/test.jsonl"
    )
    config.sources.text = base.text(
        tuple(f"{data}/{file}" for file in scale["text"]),
        field="text" if scale["text"][0].endswith(".jsonl") else "",
        window=scale["pretrain"]["length"],
    )
    config.sources.traces = base.source("gsm8k", "trace")

    config.stages.pretrain = base.supervised(
        data=base.data(background={"text": 1.0}, share={"traces": 0.0}),
        optimizer=base.optimizer(learning_rate=pretrain_rate),
        **scale["pretrain"],
    )
    config.stages.sft = base.supervised(
        parent="pretrain",
        data=base.data(background={"traces": 1.0}, mask_prompt=True),
        optimizer=base.optimizer(learning_rate=sft_rate, warmup_steps=10),
        **scale["sft"],
    )
    config.stages.rl = base.rl(
        parent="sft",
        world="gsm8k",
        optimizer=base.optimizer(learning_rate=rl_rate, schedule="constant", warmup_steps=5),
        **scale["rl"],
    )

    config.arms.standard = base.arm()
    config.arms.baked_in = base.arm({"pretrain.data.share.traces": scale["share"]})
    config.evaluation = base.evaluation(world="gsm8k", **scale["evaluation"])
    config.questions.Q1 = ask.comparison(
        "Does a model that has read GSM8K's traces in pretraining solve more of its test problems "
        "after SFT and RL?",
        treated="baked_in",
        control="standard",
        stage="rl",
        epsilon=0.01,
    )
    config.questions.Q2 = ask.persistence(
        "Does what the traces gave in pretraining persist through SFT and RL?",
        treated="baked_in",
        control="standard",
        stages=("pretrain", "sft", "rl"),
    )
    # Models too small to calculate may still have learnt to write a solution.
    config.questions.Q3 = ask.persistence(
        "And the form of a solution, a last line with #### and a number?",
        treated="baked_in",
        control="standard",
        stages=("pretrain", "sft", "rl"),
    )
    config.questions.Q3.metric = "format"
    return config
