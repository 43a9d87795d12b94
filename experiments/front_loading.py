"""Q1, Q2: is reasoning better front-loaded into pretraining, and which data, there and in SFT?

    bakein run experiments/front_loading.py             # tiny: 2 CPU cores
    bakein run experiments/front_loading.py:small       # one GPU
    bakein run experiments/front_loading.py:paper       # a TPU pod: 7B parameters, 1T tokens
    bakein plan experiments/front_loading.py:paper --topology v6e:16x16     # before it is paid for

`paper` is Llama 3.1 8B but for the vocabulary, which is that of the worlds' characters: 6.98
billion parameters.

After Front-Loading Reasoning [2510.03264], with seeds, and SFT matched in tokens. Five bases read
the same number of pretraining tokens; in all but `none` a fifth of them are reasoning traces:

    small_hq        a few hundred right traces in one notation, read many times over
    large_diverse   endless traces in three notations, none seen twice, a step in ten wrong
    union           half of the one, half of the other
    filtered        of large_diverse the long answers: at least 3 of 4 operations are real ones

An answer takes the same number of characters here, however many of its steps do something; so the
filter by length is one by depth, and leaves tokens and documents matched. All bases get the same
SFT on right traces and the same GRPO. Other arms change the SFT: `none_2x` to `none_8x` have as
many times its tokens, all of them of new documents (do they catch up?), `union_2x` too; and
`..._sft_diverse` and `..._sft_filtered` are fine-tuned on traces like that base's. Every stage is
scored on problems in the one notation, the end also in all three (probe `notations`).

Costs 25 minutes and 1.2 GB on 2 CPU cores beside tests, with pretraining and SFT of 5 of its 9
seeds taken over (2,778 s of one core); 5 seeds alone took 24 (2,386 s), so 9 fill both cores for
36. Last run 2026-11-28, 9 seeds, accuracy after RL: `none` .176, `small_hq` .815, `large_diverse`
.565, `union` .786, `filtered` .755. `union` − `none` +.610 [.466, .728], the lead persists; few
right traces beat many diverse ones with errors in pretraining, `large_diverse` − `small_hq` −.250
[−.420, −.090]; and `none` catches up with `union` at 2.97 [2.32, 3.70] times its SFT, 2.48 tokens
of SFT for each token of early traces.
"""

import dataclasses
import itertools
from pathlib import Path

from bakein.data import corruption
from bakein.data.worlds.facts import Facts
from bakein.data.worlds.filler import Filler
from bakein.data.worlds.registers import Registers
from bakein.model import presets
from bakein.study import ask, base

# The numbers of each scale. `smoke` shows that everything works; its answers mean nothing.
SCALES = {
    "tiny": {
        "seeds": 9,
        "few": 300,  # documents of the small set: 19 epochs
        "model": {"heads": 8, "kv_heads": 8, "head_dim": 8},
        "world": {"slots": 4, "digits": 3, "test_share": 0.05},
        "pretrain": {"tokens": 1_200_000, "batch": 12, "length": 64},
        "sft": {"tokens": 200_000, "batch": 12, "length": 96},
        "rl": {"steps": 20, "accumulation": 8},
        "evaluation": {"problems": 96},
        "notations": {"problems": 48, "samples": 32},
    },
    "small": {
        "seeds": 5,
        "few": 20_000,
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
        "evaluation": {"problems": 512, "rows": 1024},
        "notations": {"problems": 512, "samples": 32, "rows": 1024},
    },
    "paper": {
        "seeds": 5,
        "few": 200_000,
        "preset": presets.llama3_8b(),
        "model": {"attention": "splash", "logits_chunk": 0},  # its vocabulary is small
        "mesh": {"data": 1, "fsdp": -1},
        "world": {"slots": 12, "digits": 5, "test_share": 0.01},
        "pretrain": {
            "tokens": 1_000_000_000_000,
            "batch": 1024,
            "length": 4096,
            "shards": 128,
            "optimizer": base.optimizer(
                learning_rate=3e-4, warmup_steps=2000, b2=0.95, weight_decay=0.1
            ),
            "log_every": 50,
            "save_every": 1000,
        },
        "sft": {
            "tokens": 2_000_000_000,
            "batch": 512,
            "length": 4096,
            "shards": 128,
            "optimizer": base.optimizer(learning_rate=2e-5, warmup_steps=50, b2=0.95),
        },
        "rl": {
            "steps": 400,
            "prompts": 256,
            "group": 16,
            "accumulation": 8,
            "optimizer": base.optimizer(
                learning_rate=1e-6, schedule="constant", warmup_steps=20, b2=0.95
            ),
            "curve_every": 20,
        },
        "evaluation": {"problems": 1024, "rows": 4096},
        "notations": {"problems": 1024, "samples": 32, "rows": 4096},
    },
    "smoke": {
        "seeds": 2,
        "few": 30,
        "model": {"heads": 8, "kv_heads": 8, "head_dim": 8},
        "world": {"slots": 4, "digits": 3, "test_share": 0.05},
        "pretrain": {"tokens": 20_000, "batch": 12, "length": 64},
        "sft": {"tokens": 4_000, "batch": 12, "length": 96},
        "rl": {"steps": 3, "prompts": 8, "group": 4, "curve_every": 1, "curve_problems": 8},
        "evaluation": {"problems": 8, "samples": 8, "k": (1, 2, 4, 8)},
        "notations": {"problems": 8, "samples": 8},
    },
}
SHARE = 0.2  # of the pretraining tokens
NOISE = 0.1  # of the steps of the large sets
MULTIPLES = (2, 4, 8)  # of the SFT of `none`
PUBLISHED = Path("../shared/data/front_loading/tables.json")  # figures of the paper


@dataclasses.dataclass(frozen=True)
class LongRegisters(Registers):
    """Register programs whose training problems have at least `shortest` real operations.

    Attributes:
        shortest: 1 to `slots`; 1 leaves nothing out.
    """

    shortest: int

    def _block(self, seed, number):
        draw = super()._block
        size, problems = 256, []
        # A level is one of `slots`, evenly: so many blocks hold twice as many as are needed.
        for block in itertools.count(number * 2 * self.slots):
            problems += [p for p in draw(seed, block) if p.level >= self.shortest]
            if len(problems) >= size:
                return problems[:size]


def get_config(arg=None):
    scale = base.scale(arg or "tiny", SCALES)
    # Member 100 chose the budget of pretraining: after 800,000 tokens no base led `none` yet.
    config = base.study("front_loading", seeds=scale["seeds"], first_seed=1)
    config.published = str(PUBLISHED) if PUBLISHED.exists() else ""
    config.model = base.model(scale.get("preset"), **scale["model"])
    config.mesh = base.mesh(**scale.get("mesh", {}))
    slots, digits = scale["world"]["slots"], scale["world"]["digits"]
    config.worlds.registers = base.world(Registers, templates=1, **scale["world"])
    config.worlds.diverse = base.world(Registers, templates=3, **scale["world"])
    config.worlds.long = base.world(
        LongRegisters, templates=3, shortest=slots // 2 + 1, **scale["world"]
    )
    config.worlds.facts = base.world(Facts, entities=200, seed=0)
    config.worlds.filler = base.world(
        Filler, vocabulary=200, words=8, zipf=1.0, bigram=0.5, test_share=0.01, seed=0
    )
    config.sources.filler = base.source("filler", "text")
    config.sources.facts = base.source("facts", "direct")
    config.sources.atomic = base.source("registers", "atomic")
    config.sources.direct = base.source("registers", "direct")
    config.sources.traces = base.source("registers", "trace")
    config.sources.few = base.source("registers", "trace", documents=scale["few"])
    config.sources.diverse = base.source("diverse", "trace")
    config.sources.long = base.source("long", "trace")

    # Corruption spoils what is under `share`; the right traces are therefore background.
    noise = {"corruption": corruption.steps, "rate": NOISE}
    config.stages.pretrain = base.supervised(
        data=base.data(
            background={"filler": 0.3, "facts": 0.1, "atomic": 0.4, "direct": 0.2, "few": 0.0},
            share={"diverse": 0.0, "long": 0.0},
            **noise,
        ),
        **scale["pretrain"],
    )
    config.stages.sft = base.supervised(
        parent="pretrain",
        data=base.data(
            # Half the answers direct: RL then has a strategy to find. Replay keeps the facts.
            background={"traces": 0.4, "direct": 0.4, "facts": 0.1, "filler": 0.1},
            share={"diverse": 0.0, "long": 0.0},
            mask_prompt=True,
            **noise,
        ),
        **{"optimizer": base.optimizer(learning_rate=2e-3, warmup_steps=10), **scale["sft"]},
    )
    prompt = 4 * slots + digits + 3  # `?`, four characters a slot, the state, `=`, and BOS
    answer = (slots + 1) * (digits + 1) + 2
    config.stages.rl = base.rl(
        parent="sft",
        world="registers",
        prompt_length=prompt,
        max_new_tokens=answer,
        **scale["rl"],
    )

    bases = {
        "none": {},
        "small_hq": {"pretrain.data.background.few": SHARE / (1 - SHARE)},
        "large_diverse": {"pretrain.data.share.diverse": SHARE},
        "union": {
            "pretrain.data.background.few": SHARE / 2 / (1 - SHARE),
            "pretrain.data.share.diverse": SHARE / 2,
        },
        "filtered": {"pretrain.data.share.long": SHARE},
    }
    for name, changes in bases.items():
        config.arms[name] = base.arm(changes)
    for multiple in MULTIPLES:
        config.arms[f"none_{multiple}x"] = base.arm(more_sft(config, multiple))
    config.arms.union_2x = base.arm({**bases["union"], **more_sft(config, 2)})
    large = bases["large_diverse"]
    config.arms.large_diverse_sft_diverse = base.arm({**large, **sft_on("diverse")})
    config.arms.large_diverse_sft_filtered = base.arm({**large, **sft_on("long")})

    config.evaluation = base.evaluation(
        world="registers",
        max_new_tokens=answer,
        recall="facts",
        facts=200,
        **scale["evaluation"],
    )
    config.probes.notations = base.evaluation_probe(
        stages=("rl",), world="diverse", max_new_tokens=answer, **scale["notations"]
    )
    ask_all(config)
    return config


def more_sft(config, multiple):
    """Overrides of an arm: so many times the tokens of SFT."""
    return {"sft.tokens": multiple * config.stages.sft.tokens}


def sft_on(source):
    """Overrides of an arm: SFT on these traces in the place of the right ones."""
    return {"sft.data.background.traces": 0.0, "sft.data.share": {source: 0.4}}


def ask_all(config):
    """The questions, and further contrasts."""
    config.questions.Q1 = ask.comparison(
        "Can reasoning be baked in during pretraining, instead of bolted on afterwards?",
        treated="union",
        control="none",
        stage="rl",
    )
    config.questions.Q2 = ask.persistence(
        "Do the gains of early reasoning persist through SFT and RL, or are they washed out?",
        treated="union",
        control="none",
        stages=("pretrain", "sft", "rl"),
    )
    config.questions.Q1_diversity = ask.comparison(
        "In pretraining: is much, diverse and noisy data better than little of high quality?",
        treated="large_diverse",
        control="small_hq",
        stage="rl",
    )
    config.questions.Q1_quality = ask.comparison(
        "In SFT: is data of high quality better than diverse and noisy data?",
        treated="large_diverse",
        control="large_diverse_sft_diverse",
        stage="rl",
    )
    budgets = {"none": 1, **{f"none_{multiple}x": multiple for multiple in MULTIPLES}}
    for name, stage, after in (
        ("Q1_catch_up", "rl", "SFT and RL"),
        ("Q1_catch_up_sft", "sft", "SFT"),
    ):
        config.questions[name] = ask.catch_up(
            f"How much more SFT makes up for no reasoning in pretraining, after {after}?",
            treated="union",
            controls=budgets,
            stage=stage,
            spent="sft",
            front="pretrain",
            sources=("few", "diverse"),
        )
    pairs = {
        "small_hq": ("small_hq", "none"),
        "large_diverse": ("large_diverse", "none"),
        "filtered": ("filtered", "none"),
        "union_over_large": ("union", "large_diverse"),
        "filter_of_pretraining": ("filtered", "large_diverse"),
        "filter_of_sft": ("large_diverse_sft_filtered", "large_diverse_sft_diverse"),
        "both_2x": ("union_2x", "none_2x"),
        "union_2x": ("union_2x", "union"),
    }
    for name, (treated, control) in pairs.items():
        config.contrasts[name] = ask.contrast(treated, control, "rl", "accuracy", 0.02)
    config.contrasts.diversity_in_all_notations = ask.contrast(
        "large_diverse", "small_hq", "rl", "notations/diverse/accuracy", 0.02
    )
    config.contrasts.quality_in_all_notations = ask.contrast(
        "large_diverse",
        "large_diverse_sft_diverse",
        "rl",
        "notations/diverse/accuracy",
        0.02,
    )
