"""The vocabulary of study files: every key that exists, declared once, with what it means.

A study file calls these functions from its `get_config` and changes what it must. Each returns a
`ConfigDict`, so every number in it can be overridden on the command line
(`--config.stages.pretrain.tokens=200_000`). Nothing downstream has a default.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

from bakein.data import corruption as corruptions
from bakein.data import schedules
from bakein.evals import attacks
from bakein.model import ModelConfig, presets
from bakein.rl import advantages, losses, rewards
from bakein.study.errors import unknown


def _group(what: str, declared: dict[str, Any], given: Mapping[str, Any]) -> ConfigDict:
    """The declared keys, overridden by the given ones; an undeclared key is an error."""
    for key in given:
        if key not in declared:
            raise unknown(what, key, declared)
    return ConfigDict({**declared, **given})


def _names() -> ConfigDict:
    """A group whose keys are names that the study chooses; it keeps their order."""
    return ConfigDict(sort_keys=False)


def scale(arg: str, scales: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The numbers of one scale, chosen by the argument of an experiment file.

    Raises:
        ConfigError: there is no such scale.
    """
    if arg not in scales:
        raise unknown("argument of the experiment", arg, scales)
    return scales[arg]


def study(name: str, **keys: Any) -> ConfigDict:
    """A study without stages yet.

    Args:
        name: of the study; the default work directory is runs/NAME.
        **keys: overrides of the keys below.
    """
    return _group(
        "study",
        {
            "name": name,
            "seed": 0,  # of everything that members share: which problems are evaluated
            "seeds": 5,  # members of every arm; each has its own initialisation, data and sampling
            "first_seed": 0,  # number of the first member
            "workers": 0,  # stages run at a time on one CPU device; 0: one per core, at most 4
            "model": model(),
            "mesh": mesh(),
            "tokenizer": tokenizer(),
            "worlds": _names(),  # name -> world()
            "sources": _names(),  # name -> source(), text() or dataset()
            "stages": _names(),  # name -> supervised() or rl(); a tree by `parent`
            "arms": _names(),  # name -> arm(): what differs from `stages`
            "evaluation": evaluation(),
            "probes": _names(),  # name -> evaluation_probe(), budget_probe() or attack_probe()
            "questions": _names(),  # name -> a question of `bakein.study.ask`
            "contrasts": _names(),  # name -> ask.contrast(): further comparisons to report
            "bootstrap": ConfigDict({"resamples": 2000, "seed": 0, "level": 0.95}),
            # Tables of a paper, to be shown beside the study's own gaps; "" for none. See
            # `bakein.analysis.published`.
            "published": "",
        },
        keys,
    )


def model(preset: ModelConfig | None = None, **keys: Any) -> ConfigDict:
    """The decoder; `bakein.model.ModelConfig` says what every key means.

    Args:
        preset: one of `bakein.model.presets`; `tiny`, of 100,000 parameters, where not given.
        **keys: overrides of its values. `query_scale` 0 stands for head_dim ** -0.5; the size of
            the vocabulary is not a key, it is the tokenizer's.
    """
    declared = dataclasses.asdict(preset or presets.tiny(vocab_size=1))
    del declared["vocab_size"]
    if preset is None:
        declared["query_scale"] = 0.0
    # Not by asdict: a RoPE scaling is a value of its own.
    declared["rope_scaling"] = preset.rope_scaling if preset else None
    return _group("model", declared, keys)


def mesh(**keys: Any) -> ConfigDict:
    """Devices along the mesh axes; -1 for one axis takes the devices that are left."""
    return _group("mesh", {"data": -1, "fsdp": 1, "tensor": 1}, keys)


def tokenizer(**keys: Any) -> ConfigDict:
    """How text becomes tokens."""
    return _group(
        "tokenizer",
        {
            "kind": "characters",  # "characters": of the worlds' alphabets; "bpe": byte-level BPE
            "vocabulary": 0,  # BPE: its size
            "sources": (),  # BPE: names of the sources that it is trained on
            "documents": 0,  # BPE: how many documents of each; 0 for all of a finite source
        },
        keys,
    )


def world(make: Callable[..., Any], **fields: Any) -> ConfigDict:
    """A world: its class and all its fields. See `bakein.data.worlds`."""
    return ConfigDict({"make": make, **fields})


def source(world: str, form: str, documents: int = 0) -> ConfigDict:
    """Training documents of a world.

    Args:
        world: its name in `config.worlds`.
        form: how its problems are written, one of the world's forms.
        documents: how many distinct ones there are, seen again each epoch; 0 for all it has.
    """
    return ConfigDict({"kind": "world", "world": world, "form": form, "documents": documents})


def text(paths: tuple[str, ...], field: str = "", window: int = 128) -> ConfigDict:
    """Text files, or JSON lines with the text in `field`, in windows of `window` positions."""
    return ConfigDict({"kind": "text", "paths": paths, "field": field, "window": window})


def dataset(path: str, split: str = "train") -> ConfigDict:
    """Documents that `bakein data` wrote with TensorFlow Datasets, read back from ArrayRecord."""
    return ConfigDict({"kind": "dataset", "path": path, "split": split})


def optimizer(**keys: Any) -> ConfigDict:
    """AdamW, or Muon; see `bakein.train.optimizer.OptimizerConfig`."""
    return _group(
        "optimizer",
        {
            "algorithm": "adamw",  # or "muon", for the layers' matrices, with AdamW for the rest
            "learning_rate": 3e-3,
            "schedule": "cosine",  # "cosine", "wsd" or "constant", after the warm-up
            "warmup_steps": 50,
            "final_share": 0.1,  # learning rate over the peak, one update past the last
            "decay_share": 0.2,  # "wsd": share of the steps that decay
            "b1": 0.9,
            "b2": 0.98,
            "eps": 1e-8,
            "weight_decay": 0.01,
            "clip_norm": 1.0,  # 0 turns clipping off
            "mu_dtype": "float32",  # of the first moment as it is kept; or "bfloat16"
        },
        keys,
    )


def data(**keys: Any) -> ConfigDict:
    """What a supervised stage reads."""
    return _group(
        "data",
        {
            "background": _names(),  # source -> relative weight in tokens
            "share": _names(),  # source -> absolute share of all tokens; the rest is background
            # When the shares are spent: (shares, tokens) -> phases. For another knob setting use
            # functools.partial(schedules.early, span=0.25).
            "schedule": schedules.constant,
            "corruption": corruptions.none,  # of the traces of the sources under `share`
            "rate": 0.0,  # how much the corruption spoils, 0 to 1
            "mask_prompt": False,  # SFT: learn the completions only
        },
        keys,
    )


def supervised(**keys: Any) -> ConfigDict:
    """A stage of supervised learning: pretraining, SFT, or a fine-tuning attack."""
    return _group(
        "supervised stage",
        {
            "kind": "supervised",
            "parent": "",  # stage whose parameters it starts from; "" starts from random ones
            "data": data(),
            "tokens": 1_000_000,  # budget, exact and the same for every arm
            "batch": 16,  # rows
            "length": 96,  # positions of a row
            "fill": 0.9,  # part of the positions that hold tokens; the rest is lost in packing
            "shards": 1,  # virtual data shards; with one per process, none is packed twice
            "prefetch": 2,  # batches made ahead, in a thread
            "accumulation": 1,  # micro-batches per update
            "z_loss": 0.0,
            "optimizer": optimizer(),
            "log_every": 20,  # updates between records
            "save_every": 250,  # updates between checkpoints
            # and at the first record that is due so long after the last one; 0 for never
            "save_seconds": 0.0,
        },
        keys,
    )


def rl(**keys: Any) -> ConfigDict:
    """A stage of reinforcement learning: GRPO [2402.03300] with a verifiable reward.

    Other algorithms are groups of its keys: `base.rl(**algorithms.dapo, ...)`.
    """
    return _group(
        "rl stage",
        {
            "kind": "rl",
            "parent": "",
            "world": "",  # whose training problems are the prompts
            "reward": rewards.exact,  # of a problem's completions; or another of `rl.rewards`
            "steps": 30,  # rollouts, refills not counted
            "prompts": 32,  # problems per rollout
            "group": 8,  # completions per problem
            # Dynamic sampling: rollouts drawn at most, at each step, in place of groups whose
            # rewards are all equal; 0 is off.
            "refills": 0,
            "prompt_length": 32,  # positions that a prompt may take
            "max_new_tokens": 24,
            "temperature": 1.0,
            "top_k": 0,  # 0 is off
            "top_p": 1.0,  # 1 is off
            "advantage": advantages.group,  # or another of `rl.advantages`
            "loss": losses.clipped,  # or another of `rl.losses`
            "clip_low": 0.2,  # bounds of the ratio, below and above 1; inf is off
            "clip_high": 0.2,
            "importance_cap": 0.0,  # of the weights against the sampler's mismatch; 0 is off
            "kl": losses.k3,  # how the KL to the parent is estimated in the loss; or k1, k2
            "kl_coefficient": 0.0,  # its weight
            # "token": mean over tokens; "sequence": over completions of their means; "fixed": sum
            # over tokens by completions times max_new_tokens.
            "aggregation": "token",
            "epochs": 1,  # passes over a rollout
            "minibatches": 1,  # updates per pass
            "accumulation": 1,
            "optimizer": optimizer(learning_rate=3e-4, schedule="constant", warmup_steps=5),
            "curve_every": 5,  # rollouts between points of the RL curve; 0 for none
            "curve_problems": 64,  # held-out problems of a point
            "curve_samples": 4,  # completions of each
            "log_every": 1,
            "save_every": 10,
            "save_seconds": 0.0,
        },
        keys,
    )


def evaluation(**keys: Any) -> ConfigDict:
    """The frozen evaluation: the same problems after every stage of every arm and seed."""
    return _group(
        "evaluation",
        {
            "world": "",  # whose held-out problems
            "problems": 128,
            "samples": 64,  # completions of each at temperature 1
            "k": (1, 2, 4, 8, 16, 32, 64),  # of pass@k; none may exceed `samples`
            "max_new_tokens": 24,
            "rows": 256,  # completions drawn at once; more are slower on a CPU, faster on a GPU
            "shown": 2,  # problems per level whose completions the report shows
            "recall": "",  # world whose facts are asked for, what reasoning might displace; "" none
            "facts": 0,  # how many of them
        },
        keys,
    )


def _probe(kind: str, declared: dict[str, Any], given: Mapping[str, Any]) -> ConfigDict:
    """A kind of probe: what all have, and its own keys."""
    common = {
        "kind": kind,
        "stages": (),  # after which it is made; () for all
        "world": "",  # whose held-out problems; of one world they are those of the evaluation
        "problems": 128,
        "samples": 16,  # completions of each at temperature 1, for each variant
        "k": (1,),  # of pass@k; none may exceed `samples`
        "rows": 256,  # completions drawn at once
        "shown": 1,  # problems per level whose completions are kept in samples.jsonl
    }
    return _group(f"{kind} probe", {**common, **declared}, given)


def evaluation_probe(**keys: Any) -> ConfigDict:
    """One more evaluation: on another world, of more samples. Its variant is the world's name."""
    return _probe("evaluation", {"max_new_tokens": 24}, keys)


def budget_probe(**keys: Any) -> ConfigDict:
    """Forced thinking budgets: a budget's variant is its number of tokens."""
    return _probe(
        "budget",
        {
            "budgets": (0, 4, 8, 16),  # tokens that a model may think before it has to answer
            "answer": "",  # text that begins an answer, by a token that thoughts do not hold
            "answer_tokens": 8,  # tokens after the budget, `answer` and the stop token among them
            "filler": "",  # text written over and over in the place of thoughts; "" for none
            "continuation": "",  # text written where thinking would end early; "" for none
            "continuations": 0,  # how often at most in a completion
        },
        keys,
    )


def attack_probe(**keys: Any) -> ConfigDict:
    """An attack on prompts: its variants are its sizes. ASR(N) is the pass@N of its world."""
    return _probe(
        "attack",
        {
            "max_new_tokens": 24,
            "change": attacks.unchanged,  # (world, problem, size, rng) -> problem as it is asked
            "sizes": (0,),  # what the function is given as size: how many examples, say
            "attempts": 1,  # prompts made of each problem; samples take them in turn
            "prefill": "",  # first characters of every completion
            "target": "",  # form of the world in which the answer that is sought is written, whose
            # negative log-likelihood is the metric `nll`; "" for none
        },
        keys,
    )


def arm(overrides: Mapping[str, Any] | None = None, stages: tuple[str, ...] = ()) -> ConfigDict:
    """What an arm changes, as {"stage.key.key": value}.

    Args:
        overrides: of keys of the stages.
        stages: those that the arm goes through, with their parents; () for all.
    """
    nested = ConfigDict({"stages": stages} if stages else {})
    for path, value in (overrides or {}).items():
        *groups, leaf = path.split(".")
        node = nested
        for group in groups:
            if group not in node:
                node[group] = ConfigDict()
            node = node[group]
        node[leaf] = value
    return nested
