"""What a question asks for: its arms, stages and metrics are there, and can be compared."""

from bakein.data.worlds.world import strategies_of
from bakein.study.errors import ConfigError, require, unknown
from bakein.study.growing import check_growing
from bakein.study.probes import AttackProbe, ProbeConfig
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
from bakein.study.questions.question import Places
from bakein.study.schema import EvaluationConfig, RLConfig, StageConfig, Study

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
COUNTS = ("accuracy", "greedy", "verified", "format", "truncation")


def check_question(path: str, question: ContrastConfig | Question, study: Study) -> None:
    """What a question or a contrast, which stands at `path`, cannot tell alone.

    Raises:
        ConfigError: one line that names the key, what was given and what is allowed.
    """
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
        _check_rl_area(f"{path}.metric", places, study)
    for metric in question.metrics:
        _check_metric(f"{path}.metric", metric, question, study)
    require(f"{path}.epsilon", question.epsilon, question.epsilon > 0, "above 0")


def _check_rl_area(path: str, places: Places, study: Study) -> None:
    """Areas are of one set of problems, over the samples that all curves of a stage have."""
    stages = [study.arms[arm][stage] for arm, stage in places]
    asked = {(stage.world, stage.curve_problems) for stage in stages}
    allowed = "of RL curves over the same held-out problems (world, curve_problems)"
    require(path, "rl_area", len(asked) == 1, allowed)
    for name in dict.fromkeys(stage for _, stage in places):
        drawn = [
            [steps * stage.prompts * stage.group for steps in (stage.curve_every, stage.steps)]
            for stage in (arm.get(name) for arm in study.arms.values())
            if _has_curve(stage)
        ]
        firsts, lasts = zip(*drawn, strict=True)
        allowed = (
            f"of RL curves that share samples: in stage {name} some arm's begins, after 0, at "
            f"{max(firsts)}, and some arm's ends at {min(lasts)}"
        )
        require(path, "rl_area", max(firsts) < min(lasts), allowed)


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
    drawn = all(_has_curve(study.arms[arm][stage]) for arm, stage in question.places)
    return ("pass_area",) * (len({*study.evaluation.k}) > 1) + ("rl_area",) * drawn


def _has_curve(stage: StageConfig | None) -> bool:
    """Whether a stage is RL with points of a curve between its ends."""
    return isinstance(stage, RLConfig) and 0 < stage.curve_every < stage.steps


def _measured(
    config: EvaluationConfig | ProbeConfig, study: Study, logits: bool
) -> tuple[str, ...]:
    """What is measured of an evaluation's completions; only of counts can a logit be taken."""
    if logits:
        return COUNTS
    ks = (f"pass@{k}" for k in config.k)
    levels = (f"accuracy/{level}" for level in study.worlds[config.world].levels)
    shares = (f"share/{name}" for name in strategies_of(study.worlds[config.world]))
    nll = ["nll"] if isinstance(config, AttackProbe) and config.target else []
    return (*COUNTS, *ks, *levels, *shares, *nll)
