"""What no group can tell alone: names that must exist, numbers that must fit together."""

import inspect
import math
from collections.abc import Callable
from typing import Any

from bakein.data import corruption as corruptions
from bakein.rl.rewards import Reward
from bakein.study.asked import COUNTS, check_question
from bakein.study.errors import naming, require, unknown
from bakein.study.materials import mixture
from bakein.study.probes import AttackProbe, BudgetProbe, ProbeConfig
from bakein.study.schema import (
    DataConfig,
    EvaluationConfig,
    RLConfig,
    Study,
    SupervisedConfig,
    TextSource,
    WorldSource,
)


def check_study(study: Study) -> None:
    """What one group alone cannot tell."""
    for name, source in study.sources.items():
        if isinstance(source, WorldSource):
            path = f"config.sources.{name}"
            if source.world not in study.worlds:
                raise unknown(f"{path}.world", source.world, study.worlds)
            if source.form not in study.worlds[source.world].forms:
                raise unknown(f"{path}.form", source.form, study.worlds[source.world].forms)
            require(f"{path}.documents", source.documents, source.documents >= 0, "0 (all) or more")
        if isinstance(source, TextSource):
            path = f"config.sources.{name}"
            require(f"{path}.window", source.window, source.window >= 2, "at least 2")
            require(f"{path}.paths", source.paths, bool(source.paths), "at least one path")
    _check_tokenizer(study)
    _check_evaluation(study)
    for name, probe in study.probes.items():
        _check_probe(name, probe, study)
    for arm, stages in study.arms.items():
        for name, stage in stages.items():
            path = f"config.stages.{name} (arm {arm})"
            check = _check_supervised if isinstance(stage, SupervisedConfig) else _check_rl
            check(path, stage, study)
    for name, question in study.questions.items():
        check_question(f"config.questions.{name}", question, study)
    for name, contrast in study.contrasts.items():
        check_question(f"config.contrasts.{name}", contrast, study)
    bootstrap, path = study.bootstrap, "config.bootstrap"
    require(f"{path}.resamples", bootstrap.resamples, bootstrap.resamples >= 100, "at least 100")
    require(f"{path}.level", bootstrap.level, 0 < bootstrap.level < 1, "above 0 and below 1")
    require(f"{path}.seed", bootstrap.seed, bootstrap.seed >= 0, "0 or more")
    with naming("config"):
        study.model_config(vocab_size=8)


def _check_tokenizer(study: Study) -> None:
    tokenizer = study.tokenizer
    if tokenizer.kind not in ("characters", "bpe"):
        raise unknown("config.tokenizer.kind", tokenizer.kind, ("characters", "bpe"))
    documents = tokenizer.documents
    require("config.tokenizer.documents", documents, documents >= 0, "0 (all) or more")
    for name in tokenizer.sources:
        if name not in study.sources:
            raise unknown("config.tokenizer.sources", name, study.sources)
    if tokenizer.kind == "bpe":
        require(
            "config.tokenizer.vocabulary",
            tokenizer.vocabulary,
            tokenizer.vocabulary >= 260,
            "at least 260: 256 bytes and the special tokens",
        )
        require(
            "config.tokenizer.sources",
            tokenizer.sources,
            bool(tokenizer.sources),
            "the names of the sources to train on",
        )


def _check_draws(path: str, config: EvaluationConfig | ProbeConfig, study: Study) -> None:
    if config.world not in study.worlds:
        raise unknown(f"{path}.world", config.world, study.worlds)
    require(f"{path}.problems", config.problems, config.problems >= 1, "at least 1")
    with naming(path):
        _ = config.sampling
    require(f"{path}.k", config.k, bool(config.k), "at least one number")
    for k in config.k:
        allowed = f"1 to {config.samples}, the samples drawn"
        require(f"{path}.k", k, 1 <= k <= config.samples, allowed)


def _check_evaluation(study: Study) -> None:
    e, path = study.evaluation, "config.evaluation"
    _check_draws(path, e, study)
    if e.recall and e.recall not in study.worlds:
        raise unknown(f"{path}.recall", e.recall, study.worlds)
    require(
        f"{path}.facts",
        e.facts,
        e.facts >= (1 if e.recall else 0),
        "at least 1 where facts are recalled",
    )


def _check_probe(name: str, probe: ProbeConfig, study: Study) -> None:
    path, stages = f"config.probes.{name}", study.stages
    require("config.probes", name, name not in COUNTS, "another name than a metric's")
    for stage in probe.stages:
        if stage not in stages:
            raise unknown(f"{path}.stages", stage, stages)
    if isinstance(probe, BudgetProbe | AttackProbe):
        key = f"{path}.{'budgets' if isinstance(probe, BudgetProbe) else 'sizes'}"
        numbers = probe.variants
        require(key, numbers, len(numbers) > 0, "at least one number")
        require(key, numbers, min(numbers) >= 0, "numbers of 0 or more")
        require(key, numbers, len({*numbers}) == len(numbers), "different numbers")
    _check_draws(path, probe, study)
    if isinstance(probe, BudgetProbe):
        with naming(path):
            _ = probe.thinking
    if isinstance(probe, AttackProbe):
        allowed = f"1 to {probe.samples}, the samples drawn"
        require(f"{path}.attempts", probe.attempts, 1 <= probe.attempts <= probe.samples, allowed)
        allowed = "a function (world, problem, size, rng)"
        require(f"{path}.change", probe.change, _takes(probe.change, *"1234"), allowed)
        forms = study.worlds[probe.world].forms
        if probe.target and probe.target not in forms:
            raise unknown(f"{path}.target", probe.target, forms)


def _check_supervised(path: str, stage: SupervisedConfig, study: Study) -> None:
    data = stage.data
    for group in ("background", "share"):
        for name, value in getattr(data, group).items():
            if name not in study.sources:
                raise unknown(f"{path}.data.{group}", name, study.sources)
            require(f"{path}.data.{group}.{name}", value, 0 <= value < math.inf, "0 or more")
    _check_corruption(path, data, study)
    for name, value in {**data.background, **data.share}.items():
        source = study.sources[name]
        if value > 0 and isinstance(source, TextSource):
            fits = source.window <= stage.length
            allowed = f"at most {stage.length}, the length of a row of {path}"
            require(f"config.sources.{name}.window", source.window, fits, allowed)
    allowed = "a function of shares and tokens; functools.partial(schedules.early, span=0.5), say"
    takes = _takes(data.schedule, {}, stage.tokens)
    require(f"{path}.data.schedule", data.schedule, takes, allowed)
    with naming(f"{path}.data"):
        mixture(stage)
    for key in ("tokens", "batch", "shards", "accumulation", "log_every", "save_every"):
        require(f"{path}.{key}", getattr(stage, key), getattr(stage, key) >= 1, "at least 1")
    for key in ("prefetch", "z_loss", "save_seconds"):
        require(f"{path}.{key}", getattr(stage, key), getattr(stage, key) >= 0, "0 or more")
    require(f"{path}.fill", stage.fill, 0 < stage.fill <= 1, "above 0 and at most 1")
    require(f"{path}.length", stage.length, stage.length >= 2, "at least 2")
    require(
        f"{path}.batch",
        stage.batch,
        stage.batch % stage.accumulation == 0,
        f"a multiple of accumulation ({stage.accumulation})",
    )
    require(
        f"{path}.batch",
        stage.batch,
        stage.batch % stage.shards == 0,
        f"a multiple of shards ({stage.shards})",
    )


def _check_corruption(path: str, data: DataConfig, study: Study) -> None:
    """A corruption and its rate go together, and to sources whose traces can be corrupted."""
    require(f"{path}.data.rate", data.rate, 0 <= data.rate <= 1, "0 to 1")
    shares = [name for name, value in data.share.items() if value > 0]
    if not shares:
        return
    none = data.corruption is corruptions.none
    allowed = "0, as data.corruption is none" if none else "above 0, as there is a data.corruption"
    require(f"{path}.data.rate", data.rate, none == (data.rate == 0), allowed)
    for name in shares:
        kept = none or isinstance(study.sources[name], WorldSource)
        allowed = f"none, as source {name} is no world's, and has no steps to corrupt"
        require(f"{path}.data.corruption", data.corruption, kept, allowed)


def _check_rl(path: str, stage: RLConfig, study: Study) -> None:
    if stage.world not in study.worlds:
        raise unknown(f"{path}.world", stage.world, study.worlds)
    for key in (
        "steps",
        "prompts",
        "prompt_length",
        "max_new_tokens",
        "epochs",
        "minibatches",
        "accumulation",
        "log_every",
        "save_every",
    ):
        require(f"{path}.{key}", getattr(stage, key), getattr(stage, key) >= 1, "at least 1")
    require(
        f"{path}.group", stage.group, stage.group >= 2, "at least 2: advantages compare a group"
    )
    for key in ("curve_every", "refills", "save_seconds"):
        require(f"{path}.{key}", getattr(stage, key), getattr(stage, key) >= 0, "0 (none) or more")
    for key in ("curve_problems", "curve_samples") if stage.curve_every else ():
        require(f"{path}.{key}", getattr(stage, key), getattr(stage, key) >= 1, "at least 1")
    require(
        f"{path}.reward",
        stage.reward,
        _takes_a_group(stage.reward),
        "a function of a group of completions; rewards.each(f) makes one of a function "
        "f(world, problem, completion)",
    )
    allowed = "a function (logprobs, old, advantages, mask, clip_low=, clip_high=); see rl.losses"
    takes = _takes(stage.loss, *"1234", clip_low=0.2, clip_high=0.2)
    require(f"{path}.loss", stage.loss, takes, allowed)
    allowed = "a function (logprobs, reference, mask); see rl.losses"
    require(f"{path}.kl", stage.kl, _takes(stage.kl, *"123"), allowed)
    allowed = "a function (rewards of groups); see rl.advantages"
    require(f"{path}.advantage", stage.advantage, _takes(stage.advantage, "rewards"), allowed)
    with naming(path):
        _ = stage.policy, stage.sampler
    rows, parts = stage.prompts * stage.group, stage.minibatches * stage.accumulation
    require(
        f"{path}.minibatches",
        stage.minibatches,
        rows % parts == 0,
        f"such that its product with accumulation divides the {rows} completions",
    )


def _takes_a_group(reward: Reward) -> bool:
    """A class is a reward that lacks its parameters."""
    return _takes(reward, "a group") and not isinstance(reward, type)


def _takes(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> bool:
    """Whether a function can be called so; of one that does not say what it takes, no."""
    try:
        inspect.signature(function).bind(*arguments, **keywords)
    except (TypeError, ValueError):
        return False
    return True
