"""From a ConfigDict to frozen dataclasses: the only reader of configuration.

Every mistake that can be seen before training is found here or in `checks`, and said in one line.
"""

import dataclasses
import re
import types
import typing
from collections.abc import Callable, Mapping, Set
from typing import Any

from ml_collections import ConfigDict

from bakein.model import ModelConfig
from bakein.study.checks import check_study
from bakein.study.errors import ConfigError, naming, require, unknown
from bakein.study.probes import AttackProbe, BudgetProbe, EvaluationProbe
from bakein.study.questions import (
    CatchUpConfig,
    ComparisonConfig,
    ConditionalConfig,
    ContrastConfig,
    DoseConfig,
    FrontierConfig,
    GainsConfig,
    JailbreakConfig,
    MixtureCheckConfig,
    MixtureConfig,
    PermanenceConfig,
    PersistenceConfig,
    RLSpeedConfig,
    SpuriousConfig,
    SymmetryConfig,
    WrongTracesConfig,
)
from bakein.study.schema import (
    BootstrapConfig,
    DatasetSource,
    EvaluationConfig,
    MeshConfig,
    RLConfig,
    StageConfig,
    Study,
    SupervisedConfig,
    TextSource,
    TokenizerConfig,
    WorldSource,
)

_SOURCES = {"world": WorldSource, "text": TextSource, "dataset": DatasetSource}
_STAGES = {"supervised": SupervisedConfig, "rl": RLConfig}
_PROBES = {"evaluation": EvaluationProbe, "budget": BudgetProbe, "attack": AttackProbe}
_QUESTIONS = {
    "comparison": ComparisonConfig,
    "conditional": ConditionalConfig,
    "dose": DoseConfig,
    "mixture": MixtureConfig,
    "mixture_check": MixtureCheckConfig,
    "persistence": PersistenceConfig,
    "permanence": PermanenceConfig,
    "symmetry": SymmetryConfig,
    "rl_speed": RLSpeedConfig,
    "spurious": SpuriousConfig,
    "wrong_traces": WrongTracesConfig,
    "catch_up": CatchUpConfig,
    "frontier": FrontierConfig,
    "gains": GainsConfig,
    "jailbreak": JailbreakConfig,
}


def resolve(config: ConfigDict) -> Study:
    """Checks a study's configuration and freezes it.

    Raises:
        ConfigError: one line that names the key, what was given and what is allowed.
    """
    declared = [field.name for field in dataclasses.fields(Study)]
    known = {*declared, "seeds", "first_seed"} - {"members"}
    for key in config:
        if key not in known:
            raise unknown("config", key, known)
    for key in known:
        if key not in config:
            raise ConfigError(f"config: {key} is missing; begin with base.study(...)")
    for key, least in (("seeds", 1), ("first_seed", 0), ("seed", 0), ("workers", 0)):
        value = _value(f"config.{key}", config[key], int)
        require(f"config.{key}", value, value >= least, f"at least {least}")
    if "stages" in config.stages:  # an arm says with it what it goes through
        raise ConfigError("config.stages: 'stages' is taken; give the stage another name")
    groups = {key: config[key] for key in ("stages", "arms", "probes")}
    for path, group in {**groups, "name": [config.name]}.items():
        for name in group:
            ok = isinstance(name, str) and re.fullmatch(r"[\w+=@-]+", name)
            require(f"config.{path}", name, bool(ok), "made of letters, digits and _+=@-")
    worlds = {name: _world(f"config.worlds.{name}", g) for name, g in config.worlds.items()}
    sources = {
        name: _of_kind(f"config.sources.{name}", group, _SOURCES)
        for name, group in config.sources.items()
    }
    study = Study(
        name=config.name,
        seed=config.seed,
        members=tuple(range(config.first_seed, config.first_seed + config.seeds)),
        workers=config.workers,
        model=_values("config.model", config.model, ModelConfig, without={"vocab_size"}),
        mesh=_read("config.mesh", config.mesh, MeshConfig),
        tokenizer=_read("config.tokenizer", config.tokenizer, TokenizerConfig),
        worlds=worlds,
        sources=sources,
        stages=tuple(_parents_first(config.stages)),
        arms=_arms(config),
        evaluation=_read("config.evaluation", config.evaluation, EvaluationConfig),
        probes={
            name: _of_kind(f"config.probes.{name}", group, _PROBES)
            for name, group in config.probes.items()
        },
        questions={
            name: _of_kind(f"config.questions.{name}", group, _QUESTIONS)
            for name, group in config.questions.items()
        },
        contrasts={
            name: _read(f"config.contrasts.{name}", group, ContrastConfig)
            for name, group in config.contrasts.items()
        },
        bootstrap=_read("config.bootstrap", config.bootstrap, BootstrapConfig),
        published=_value("config.published", config.published, str),
    )
    check_study(study)
    return study


def _read(path: str, group: Any, cls: type) -> Any:
    """A frozen dataclass from a group of the same keys, each of the declared type."""
    with naming(path):
        return cls(**_values(path, group, cls))


def _values(path: str, group: Any, cls: type, without: Set[str] = frozenset()) -> dict[str, Any]:
    """The fields of a dataclass from a group of the same keys."""
    if not isinstance(group, ConfigDict):
        raise ConfigError(f"{path} is {group!r}; it must be a group of keys")
    hints = typing.get_type_hints(cls)
    known = [field.name for field in dataclasses.fields(cls) if field.name not in without]
    for key in group:
        if key not in known:
            raise unknown(path, key, known)
    for key in known:
        if key not in group:
            raise ConfigError(f"{path}.{key} is missing")
    return {key: _value(f"{path}.{key}", group[key], hints[key]) for key in known}


def _value(path: str, value: Any, hint: Any) -> Any:
    """`value` as the declared type; ints pass for floats, and nothing else for anything else."""
    origin = typing.get_origin(hint)
    if origin is types.UnionType:
        kinds = [kind for kind in typing.get_args(hint) if kind is not types.NoneType]
        if value is None or isinstance(value, tuple(kinds)):
            return value
        return _value(path, value, kinds[0])
    if dataclasses.is_dataclass(hint):
        return _read(path, value, hint)
    if origin in (Callable, typing.get_origin(Callable[..., Any])):
        require(path, value, callable(value), "a function")
        return value
    if isinstance(value, ConfigDict):
        element = typing.get_args(hint)[1] if typing.get_args(hint) else Any
        require(path, value, origin is not None, f"a {getattr(hint, '__name__', hint)}")
        return types.MappingProxyType(
            {k: _value(f"{path}.{k}", v, element) for k, v in value.items()}
        )
    if origin is tuple:
        require(path, value, isinstance(value, tuple | list), "a tuple")
        return tuple(
            _value(f"{path}[{i}]", v, typing.get_args(hint)[0]) for i, v in enumerate(value)
        )
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    right = isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
    require(path, value, right, f"{'an' if hint is int else 'a'} {hint.__name__}")
    return value


def _of_kind(path: str, group: Any, kinds: Mapping[str, type]) -> Any:
    if not isinstance(group, ConfigDict) or "kind" not in group:
        module = "ask" if kinds is _QUESTIONS else "base"
        raise ConfigError(f"{path} is {group!r}; make it with a function of bakein.study.{module}")
    if group.kind not in kinds:
        raise unknown(f"{path}.kind", group.kind, kinds)
    return _read(path, group, kinds[group.kind])


def _world(path: str, group: ConfigDict) -> Any:
    """Calls the world's class with the group's other keys, which must be its fields."""
    made = isinstance(group, ConfigDict) and group.get("make")
    if not (isinstance(made, type) and dataclasses.is_dataclass(made)):
        raise ConfigError(
            f"{path}: make it with base.world(ItsClass, field=value, ...), of a dataclass"
        )
    fields = {key: value for key, value in group.items() if key != "make"}
    known = {f.name: f for f in dataclasses.fields(group.make) if f.init}
    for key in fields:
        if key not in known:
            raise unknown(path, key, known)
    for name, field in known.items():
        if name not in fields and field.default is field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{path}.{name} is missing; {group.make.__name__} declares it")
    with naming(path):
        return group.make(**fields)


def _arms(config: ConfigDict) -> dict[str, dict[str, StageConfig]]:
    """Every arm's stages: the study's, with the arm's overrides, parents before children."""
    if not config.stages:
        raise ConfigError("config.stages: none; a study needs at least one stage")
    if not config.arms:
        raise ConfigError("config.arms: none; a study needs at least one arm (base.arm())")
    arms = {}
    for arm, overrides in config.arms.items():
        stages = config.stages.copy_and_resolve_references()  # which sorts them
        path = f"config.arms.{arm}"
        if not isinstance(overrides, ConfigDict):
            raise ConfigError(f"{path} is {overrides!r}; make it with base.arm(...)")
        changes = dict(overrides)
        names = changes.pop("stages", ())
        with stages.ignore_type():  # `_value` checks types, and says more
            _override(path, stages, changes)
        order = _parents_first({name: stages[name] for name in config.stages})
        kept = _stages_of(path, names, stages)
        arms[arm] = {
            name: _of_kind(f"config.stages.{name} (arm {arm})", stages[name], _STAGES)
            for name in order
            if name in kept
        }
    return arms


def _stages_of(path: str, names: Any, stages: ConfigDict) -> tuple[str, ...]:
    """The stages that an arm goes through: those named, or all of the `stages` as it has them."""
    names = _value(f"{path}.stages", names, tuple[str, ...])
    for name in names:
        if name not in stages:
            raise unknown(f"{path}.stages", name, stages)
        parent = stages[name].parent
        ok = not parent or parent in names
        require(f"{path}.stages", names, ok, f"with {parent!r}, the parent of {name!r}")
    return names or tuple(stages)


def _override(path: str, target: ConfigDict, overrides: Mapping[str, Any]) -> None:
    for key, value in overrides.items():
        if key not in target:
            raise unknown(path, key, target)
        if isinstance(value, ConfigDict) and isinstance(target[key], ConfigDict):
            _override(f"{path}.{key}", target[key], value)
        else:
            target[key] = value


def _parents_first(stages: Mapping[str, ConfigDict]) -> list[str]:
    for name, stage in stages.items():
        if not isinstance(stage, ConfigDict) or "parent" not in stage:
            raise ConfigError(f"config.stages.{name}: make it with base.supervised() or base.rl()")
        if stage.parent and stage.parent not in stages:
            raise unknown(f"config.stages.{name}.parent", str(stage.parent), stages)
    order: list[str] = []
    while len(order) < len(stages):
        ready = [n for n, s in stages.items() if n not in order and s.parent in ("", *order)]
        if not ready:
            rest = ", ".join(sorted(set(stages) - set(order)))
            raise ConfigError(f"config.stages: the parents of {rest} form a cycle")
        order.append(ready[0])
    return order
