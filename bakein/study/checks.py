"""What no group can tell alone: names that must exist, numbers that must fit together."""

import math
from typing import Any

from bakein.study.errors import ConfigError, naming, unknown
from bakein.study.schema import (
    PersistenceConfig,
    RLConfig,
    Study,
    SupervisedConfig,
    TextSource,
    WorldSource,
)

# What a question may be asked of; pass@k and accuracy by level are added from the study itself.
_METRICS = ("accuracy", "greedy", "verified", "format", "truncation", "recall")


def require(path: str, value: Any, ok: bool, allowed: str) -> None:
    """Raises a `ConfigError` that names the key, the value and what is allowed, unless `ok`."""
    if not ok:
        raise ConfigError(f"{path} is {value!r}; it must be {allowed}")


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
    for arm, stages in study.arms.items():
        for name, stage in stages.items():
            path = f"config.stages.{name} (arm {arm})"
            check = _check_supervised if isinstance(stage, SupervisedConfig) else _check_rl
            check(path, stage, study)
    for name, question in study.questions.items():
        stages = question.stages if isinstance(question, PersistenceConfig) else (question.stage,)
        _check_contrast(f"config.questions.{name}", question, stages, study)
        require(f"config.questions.{name}.stages", stages, bool(stages), "at least one stage")
    for name, contrast in study.contrasts.items():
        _check_contrast(f"config.contrasts.{name}", contrast, (contrast.stage,), study)
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


def _check_evaluation(study: Study) -> None:
    e, path = study.evaluation, "config.evaluation"
    if e.world not in study.worlds:
        raise unknown(f"{path}.world", e.world, study.worlds)
    if e.recall and e.recall not in study.worlds:
        raise unknown(f"{path}.recall", e.recall, study.worlds)
    require(f"{path}.problems", e.problems, e.problems >= 1, "at least 1")
    require(
        f"{path}.facts",
        e.facts,
        e.facts >= (1 if e.recall else 0),
        "at least 1 where facts are recalled",
    )
    require(f"{path}.k", e.k, bool(e.k), "at least one number")
    for k in e.k:
        require(f"{path}.k", k, 1 <= k <= e.samples, f"1 to {e.samples}, the samples drawn")
    with naming(path):
        _ = e.sampling


def _check_supervised(path: str, stage: SupervisedConfig, study: Study) -> None:
    data = stage.data
    for group in ("background", "share"):
        for name, value in getattr(data, group).items():
            if name not in study.sources:
                raise unknown(f"{path}.data.{group}", name, study.sources)
            require(f"{path}.data.{group}.{name}", value, 0 <= value < math.inf, "0 or more")
    require(f"{path}.data.rate", data.rate, 0 <= data.rate <= 1, "0 to 1")
    for key in ("tokens", "batch", "shards", "accumulation", "log_every", "save_every"):
        require(f"{path}.{key}", getattr(stage, key), getattr(stage, key) >= 1, "at least 1")
    for key in ("prefetch", "z_loss"):
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
    require(f"{path}.curve_every", stage.curve_every, stage.curve_every >= 0, "0 (none) or more")
    for key in ("curve_problems", "curve_samples") if stage.curve_every else ():
        require(f"{path}.{key}", getattr(stage, key), getattr(stage, key) >= 1, "at least 1")
    with naming(path):
        _ = stage.policy, stage.sampler
    rows, parts = stage.prompts * stage.group, stage.minibatches * stage.accumulation
    require(
        f"{path}.minibatches",
        stage.minibatches,
        rows % parts == 0,
        f"such that its product with accumulation divides the {rows} completions",
    )


def _check_contrast(path: str, question, stages: tuple[str, ...], study: Study) -> None:
    for key in ("treated", "control"):
        if getattr(question, key) not in study.arms:
            raise unknown(f"{path}.{key}", getattr(question, key), study.arms)
    require(
        f"{path}.treated", question.treated, question.treated != question.control, "another arm"
    )
    known_stages = next(iter(study.arms.values()))
    for stage in stages:
        if stage not in known_stages:
            raise unknown(f"{path}: stage", stage, known_stages)
    levels = study.worlds[study.evaluation.world].levels
    metrics = (
        *_METRICS,
        *(f"pass@{k}" for k in study.evaluation.k),
        *(f"accuracy/{level}" for level in levels),
    )
    if question.metric not in metrics:
        raise unknown(f"{path}.metric", question.metric, metrics)
    require(f"{path}.epsilon", question.epsilon, question.epsilon > 0, "above 0")
