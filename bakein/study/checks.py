"""What no group can tell alone: names that must exist, numbers that must fit together."""

import inspect
import math
from collections.abc import Callable
from typing import Any

from bakein.data import corruption as corruptions
from bakein.data.worlds.world import strategies_of
from bakein.rl.rewards import Reward
from bakein.study.errors import ConfigError, naming, unknown
from bakein.study.growing import check_growing
from bakein.study.probes import AttackProbe, BudgetProbe, ProbeConfig
from bakein.study.questions import (
    CatchUpConfig,
    ConditionalConfig,
    ContrastConfig,
    JailbreakConfig,
    MixtureCheckConfig,
    MixtureConfig,
    PermanenceConfig,
    PersistenceConfig,
    Question,
    Reading,
    RLSpeedConfig,
    SymmetryConfig,
)
from bakein.study.schema import (
    DataConfig,
    EvaluationConfig,
    RLConfig,
    Study,
    SupervisedConfig,
    TextSource,
    WorldSource,
)

# Questions about a treated arm and its control.
_Pair = (
    ContrastConfig
    | ConditionalConfig
    | JailbreakConfig
    | PermanenceConfig
    | PersistenceConfig
    | RLSpeedConfig
)
# What is counted of an evaluation's completions.
_COUNTS = ("accuracy", "greedy", "verified", "format", "truncation")


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
    for name, probe in study.probes.items():
        _check_probe(name, probe, study)
    for arm, stages in study.arms.items():
        for name, stage in stages.items():
            path = f"config.stages.{name} (arm {arm})"
            check = _check_supervised if isinstance(stage, SupervisedConfig) else _check_rl
            check(path, stage, study)
    for name, question in study.questions.items():
        path = f"config.questions.{name}"
        if isinstance(question, _Pair):
            _check_pair(path, question, study)
        _check_places(path, question, study)
        if isinstance(question, MixtureConfig | MixtureCheckConfig):
            for reading in question.readings:
                _check_places(path, reading, study)
        if isinstance(question, SymmetryConfig):
            _check_rates(path, question, study)
            check_growing(path, question, study)
        if isinstance(question, CatchUpConfig):
            _check_catch_up(path, question, study)
        if isinstance(question, ConditionalConfig):
            _check_conditional(path, question, study)
        if isinstance(question, JailbreakConfig):
            k = study.probes[question.probe].k
            require(f"config.probes.{question.probe}.k", k, len({*k}) > 1, "at least two numbers")
    for name, contrast in study.contrasts.items():
        _check_pair(f"config.contrasts.{name}", contrast, study)
        _check_places(f"config.contrasts.{name}", contrast, study)
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
    require("config.probes", name, name not in _COUNTS, "another name than a metric's")
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


def _check_pair(path: str, question: _Pair, study: Study) -> None:
    for key in ("treated", "control"):
        if getattr(question, key) not in study.arms:
            raise unknown(f"{path}.{key}", getattr(question, key), study.arms)
    different = question.treated != question.control
    require(f"{path}.treated", question.treated, different, "another arm")


def _check_places(path: str, question: ContrastConfig | Question | Reading, study: Study) -> None:
    places = question.places
    for arm, stage in places:
        if arm not in study.arms:
            raise unknown(f"{path}: arm", arm, study.arms)
        if stage not in study.stages:
            raise unknown(f"{path}: stage", stage, study.stages)
        if stage not in study.arms[arm]:
            raise unknown(f"{path}: stage of arm {arm}", stage, study.arms[arm])
    names = [f"{arm} {stage}" for arm, stage in places]
    require(path, names, len(set(names)) == len(names), "about different arms or stages")
    if isinstance(question, RLSpeedConfig):
        drawn = "rl_area" in _areas(question, study)
        require(f"{path}.stage", question.stage, drawn, "RL with points of a curve (curve_every)")
    if "rl_area" in question.metrics and "rl_area" in _areas(question, study):
        stages = [study.arms[arm][stage] for arm, stage in places]
        asked = {(stage.world, stage.curve_problems) for stage in stages}
        allowed = "of RL curves over the same held-out problems (world, curve_problems)"
        require(f"{path}.metric", "rl_area", len(asked) == 1, allowed)
    for metric in question.metrics:
        _check_metric(f"{path}.metric", metric, question, study)
    require(f"{path}.epsilon", question.epsilon, question.epsilon > 0, "above 0")


def _check_catch_up(path: str, question: CatchUpConfig, study: Study) -> None:
    """Tokens are counted of `spent` in all arms, and of `sources` in the treated arm's `front`."""
    for arm in (question.treated, *question.controls):
        if question.spent not in study.arms[arm]:
            raise unknown(f"{path}.spent", question.spent, study.arms[arm])
    stages = study.arms[question.treated]
    if question.front not in stages:
        raise unknown(f"{path}.front", question.front, stages)
    front = stages[question.front]
    read = {} if isinstance(front, RLConfig) else {**front.data.background, **front.data.share}
    for name in question.sources:
        if name not in read:
            raise unknown(f"{path}.sources", name, read)
        require(f"{path}.sources", name, read[name] > 0, f"read by {question.treated}")


def _check_conditional(path: str, question: ConditionalConfig, study: Study) -> None:
    """A slope over budgets is compared at the evaluation's pass@1, so of the same world."""
    probe, *rest = question.metric.split("/")
    for name in (probe, *question.beside) if rest == ["slope"] else ():
        world = study.probes[name].world
        same = world == study.evaluation.world
        allowed = f"{study.evaluation.world!r}, as {path} compares at the evaluation's pass@1"
        require(f"config.probes.{name}.world", world, same, allowed)


def _check_rates(path: str, question: SymmetryConfig, study: Study) -> None:
    """Of its rates one level is read, so they are of every problem; its samples have sources."""
    strategies = strategies_of(study.worlds[study.evaluation.world])
    names = ("accuracy", "format", *(f"share/{strategy}" for strategy in strategies))
    for key, metric in question.rates.items():
        if metric not in names:
            raise unknown(f"{path}.{key}", metric, names)
    for key, known in (("shown", study.sources), ("counted", study.stages)):
        for name in getattr(question, key):
            if name not in known:
                raise unknown(f"{path}.{key}", name, known)


def _check_metric(
    path: str, metric: str, question: ContrastConfig | Question | Reading, study: Study
) -> None:
    """PROBE/VARIANT/METRIC, PROBE/slope: measured by a probe; any other, by the evaluation."""
    logits = isinstance(question, PersistenceConfig)
    probe, *rest = metric.split("/", 2)
    if probe not in study.probes and len(rest) < 2 and rest != ["slope"]:
        recall = ("recall",) if study.evaluation.recall else ()
        names = (*_measured(study.evaluation, study, logits), *recall)
        if not logits:
            names += _areas(question, study)
        if metric not in names:
            raise unknown(path, metric, names)
        return
    if probe not in study.probes:
        raise unknown(f"{path}: probe", probe, study.probes)
    config = study.probes[probe]
    if rest == ["slope"] and not logits:
        allowed = "of at least two positive budgets: there is no slope without"
        require(f"{path}: probe", probe, bool(config.doublings), allowed)
    else:
        variant, name = (*rest, "", "")[:2]
        variants, names = [*map(str, config.variants)], _measured(config, study, logits)
        if len({*config.k}) > 1 and not logits:
            names += ("pass_area",)
        if variant not in variants:
            raise unknown(f"{path}: variant of probe {probe}", variant, variants)
        if name not in names:
            raise unknown(f"{path}: metric of probe {probe}", name, names)
    for _, stage in question.places:
        if not config.follows(stage):
            raise ConfigError(f"{path}: probe {probe} is not made after {stage}, see its stages")


def _areas(question: ContrastConfig | Question | Reading, study: Study) -> tuple[str, ...]:
    """Areas under curves: of pass@k over log₂ k, and of the RL curve where one is drawn."""
    stages = [study.arms[arm][stage] for arm, stage in question.places]
    drawn = all(isinstance(s, RLConfig) and 0 < s.curve_every < s.steps for s in stages)
    return ("pass_area",) * (len({*study.evaluation.k}) > 1) + ("rl_area",) * drawn


def _measured(
    config: EvaluationConfig | ProbeConfig, study: Study, logits: bool
) -> tuple[str, ...]:
    """What is measured of an evaluation's completions; only of counts can a logit be taken."""
    if logits:
        return _COUNTS
    ks = (f"pass@{k}" for k in config.k)
    levels = (f"accuracy/{level}" for level in study.worlds[config.world].levels)
    shares = (f"share/{name}" for name in strategies_of(study.worlds[config.world]))
    nll = ["nll"] if isinstance(config, AttackProbe) and config.target else []
    return (*_COUNTS, *ks, *levels, *shares, *nll)
