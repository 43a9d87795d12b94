"""Questions, as frozen dataclasses; `ask` says what their keys mean.

A question's `places` are the (arm, stage) that it reads, in the order in which the report reads
them; they are written into study.json with it. What one group alone can tell is checked in its
`__post_init__`, and in `checks` that arms, stages and metrics are there.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Protocol

Places = tuple[tuple[str, str], ...]


class Question(Protocol):
    """What all kinds have."""

    kind: str
    text: str
    epsilon: float

    @property
    def places(self) -> Places:
        """(arm, stage) of everything that is read."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics that are read at every place."""


class _OneMetric:
    """What questions share that have a `metric`, and read no other."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """The one."""
        return (self.metric,)


def _by_amount(amounts: Mapping[str, float]) -> list[str]:
    """Names by what they get, the least first."""
    return sorted(amounts, key=amounts.__getitem__)


def _after_each(arms: tuple[str, ...], stages: tuple[str, ...]) -> Places:
    """Every arm after every stage, arm by arm."""
    return tuple((arm, stage) for arm in arms for stage in stages)


def _check_shares(key: str, names: tuple[str, ...], epsilon: float) -> None:
    if not names:
        raise ValueError(f"{key} is (); it must name at least one")
    if not epsilon < 1:
        raise ValueError(f"epsilon is {epsilon!r}; it must be a share, above 0 and below 1")


@dataclasses.dataclass(frozen=True)
class ContrastConfig(_OneMetric):
    """See `ask.contrast`."""

    treated: str
    control: str
    stage: str
    metric: str
    epsilon: float

    @property
    def places(self) -> Places:
        """Treated, control."""
        return (self.treated, self.stage), (self.control, self.stage)


@dataclasses.dataclass(frozen=True)
class ComparisonConfig(ContrastConfig):
    """See `ask.comparison`."""

    kind: str
    text: str


@dataclasses.dataclass(frozen=True)
class PersistenceConfig(_OneMetric):
    """See `ask.persistence`."""

    kind: str
    text: str
    treated: str
    control: str
    stages: tuple[str, ...]
    metric: str
    epsilon: float

    def __post_init__(self):
        if not self.stages:
            raise ValueError("stages are (); they must be at least one stage")

    @property
    def places(self) -> Places:
        """Treated after every stage, then control."""
        return _after_each((self.treated, self.control), self.stages)


@dataclasses.dataclass(frozen=True)
class WrongTracesConfig(_OneMetric):
    """See `ask.wrong_traces`."""

    kind: str
    text: str
    corrupted: tuple[str, ...]
    correct: str
    none: str
    stage: str
    metric: str
    epsilon: float

    def __post_init__(self):
        _check_shares("corrupted", self.corrupted, self.epsilon)

    @property
    def places(self) -> Places:
        """The whole, the zero, and what has shares of it."""
        return _after_each((self.correct, self.none, *self.corrupted), (self.stage,))


@dataclasses.dataclass(frozen=True)
class CatchUpConfig(_OneMetric):
    """See `ask.catch_up`."""

    kind: str
    text: str
    treated: str
    controls: Mapping[str, float]
    stage: str
    spent: str
    front: str
    sources: tuple[str, ...]
    metric: str
    epsilon: float

    def __post_init__(self):
        for key, names in (("controls", self.controls), ("sources", self.sources)):
            if not names:
                raise ValueError(f"{key} are empty; they must name at least one")
        multiples = [*self.controls.values()]
        if not (min(multiples) > 0 and len({*multiples}) == len(multiples)):
            raise ValueError(f"controls have {multiples}; they must be different, and above 0")

    @property
    def places(self) -> Places:
        """Treated, then the controls by their budget."""
        return _after_each((self.treated, *_by_amount(self.controls)), (self.stage,))


@dataclasses.dataclass(frozen=True)
class SpuriousConfig(_OneMetric):
    """See `ask.spurious`."""

    kind: str
    text: str
    arm: str
    rewards: tuple[str, ...]
    true: str
    before: str
    metric: str
    epsilon: float

    def __post_init__(self):
        _check_shares("rewards", self.rewards, self.epsilon)

    @property
    def places(self) -> Places:
        """The whole, the zero, and what has shares of it."""
        return _after_each((self.arm,), (self.true, self.before, *self.rewards))


@dataclasses.dataclass(frozen=True)
class DoseConfig(_OneMetric):
    """See `ask.dose`."""

    kind: str
    text: str
    doses: Mapping[str, float]
    dose_unit: str
    stage: str
    metric: str
    epsilon: float

    def __post_init__(self):
        amounts = list(self.doses.values())
        different = len(amounts) > 1 and len(set(amounts)) == len(amounts)
        if not different or not all(0 <= amount < math.inf for amount in amounts):
            raise ValueError(
                f"doses are {dict(self.doses)}; they must be at least two different amounts of "
                "0 or more"
            )

    @property
    def places(self) -> Places:
        """By rising dose."""
        return _after_each(tuple(_by_amount(self.doses)), (self.stage,))


@dataclasses.dataclass(frozen=True)
class JailbreakConfig:
    """See `ask.jailbreak`."""

    kind: str
    text: str
    treated: str
    control: str
    stage: str
    probe: str
    benign: str
    size: int
    stages: tuple[str, ...]
    others: tuple[str, ...]
    prefill: str
    many_shot: str
    shots: tuple[int, ...]
    false_positives: float
    limit: int
    epsilon: float

    def __post_init__(self):
        if self.stage not in self.stages:
            raise ValueError(f"stages are {self.stages}; {self.stage!r} must be among them")
        if bool(self.many_shot) != bool(self.shots):
            raise ValueError(
                f"many_shot is {self.many_shot!r} and shots are {self.shots}; both or neither"
            )
        if list(self.shots) != sorted({*self.shots}):
            raise ValueError(f"shots are {self.shots}; they must increase")
        if self.shots[-1:] == (0,):
            raise ValueError("shots are (0,); at least one must be above 0")
        if not 0 <= self.false_positives < 1:
            raise ValueError(f"false_positives is {self.false_positives}; it must be 0 to below 1")
        if self.limit < 1:
            raise ValueError(f"limit is {self.limit}; it must be at least 1")

    @property
    def places(self) -> Places:
        """Every arm after every stage, stage by stage."""
        arms = (self.treated, self.control, *self.others)
        return tuple((arm, stage) for stage in self.stages for arm in arms)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Success of the attacks, and what is shown beside it."""
        shots = (f"{self.many_shot}/{n}/nll" for n in self.shots)
        named = (self.benign, *((self.prefill,) if self.prefill else ()))
        return (f"{self.probe}/{self.size}/accuracy", *named, *shots)


@dataclasses.dataclass(frozen=True)
class FrontierConfig(_OneMetric):
    """See `ask.frontier`."""

    kind: str
    text: str
    shares: Mapping[str, float]
    metric: str
    epsilon: float

    def __post_init__(self):
        for name in self.shares:
            if name.count("/") != 1:
                raise ValueError(f"shares name {name!r}; they must name ARM/STAGE")
        shares = sorted(self.shares.values())
        different = len(shares) > 1 and len(set(shares)) == len(shares)
        if not different or (shares[0], shares[-1]) != (0, 1):
            raise ValueError(
                f"shares are {dict(self.shares)}; they must be different ones, of which the least "
                "is 0 and the largest 1"
            )

    @property
    def places(self) -> Places:
        """By rising share."""
        names = _by_amount(self.shares)
        return tuple((arm, stage) for arm, _, stage in (name.partition("/") for name in names))


@dataclasses.dataclass(frozen=True)
class GainsConfig(_OneMetric):
    """See `ask.gains`."""

    kind: str
    text: str
    arm: str
    gains: tuple[tuple[str, ...], ...]
    metric: str
    epsilon: float

    def __post_init__(self):
        if not self.gains:
            raise ValueError("gains are (); they must be at least one pair of stages")
        for pair in self.gains:
            if len(pair) != 2 or pair[0] == pair[1]:
                raise ValueError(f"gains have {pair!r}; it must be two stages: (after, before)")

    @property
    def places(self) -> Places:
        """Every stage once, in the order of the gains."""
        return tuple((self.arm, s) for s in dict.fromkeys(s for pair in self.gains for s in pair))


@dataclasses.dataclass(frozen=True)
class ConditionalConfig:
    """See `ask.conditional`."""

    kind: str
    text: str
    treated: str
    control: str
    stages: tuple[str, ...]
    metric: str
    beside: tuple[str, ...]
    epsilon: float

    def __post_init__(self):
        if not self.stages:
            raise ValueError("stages are (); they must be at least one stage")
        probe, *rest = self.metric.split("/")
        if self.metric != "pass_area" and rest != ["slope"] and rest[1:] != ["pass_area"]:
            raise ValueError(
                f"metric is {self.metric!r}; it must be a slope: PROBE/slope, "
                "PROBE/VARIANT/pass_area or pass_area"
            )
        if self.beside and rest != ["slope"]:
            raise ValueError(f"beside is {self.beside}; only PROBE/slope has probes beside it")
        if probe in self.beside or len({*self.beside}) < len(self.beside):
            raise ValueError(f"beside is {self.beside}; it must name different probes")

    @property
    def places(self) -> Places:
        """Treated after every stage, then control."""
        return _after_each((self.treated, self.control), self.stages)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The one, and the slopes beside it."""
        return (self.metric, *(f"{probe}/slope" for probe in self.beside))


@dataclasses.dataclass(frozen=True)
class RLSpeedConfig:
    """See `ask.rl_speed`."""

    kind: str
    text: str
    treated: str
    control: str
    stage: str
    threshold: float | None
    epsilon: float

    def __post_init__(self):
        if self.threshold is not None and not 0 < self.threshold < 1:
            raise ValueError(
                f"threshold is {self.threshold!r}; it must be an accuracy, above 0 and below 1, or "
                "None for the control's last"
            )

    @property
    def places(self) -> Places:
        """Treated, control."""
        return (self.treated, self.stage), (self.control, self.stage)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The one that every RL curve has."""
        return ("rl_area",)


@dataclasses.dataclass(frozen=True)
class SymmetryConfig:
    """See `ask.symmetry`."""

    kind: str
    text: str
    arms: Mapping[str, tuple[str, ...]]
    shown: tuple[str, ...]
    aligned: str
    attacks: Mapping[str, tuple[str, ...]]
    counted: tuple[str, ...]
    forbidden: int
    refusal: str
    success: str
    aligned_at: float
    misaligned_at: float
    epsilon: float

    def __post_init__(self):
        for key in ("arms", "shown", "attacks"):
            if not getattr(self, key):
                raise ValueError(f"{key} is empty; it must name at least one")
        for arm, lesser in self.arms.items():
            if not lesser:
                raise ValueError(f"arms.{arm} is (); it must name an arm that was shown nothing")
        sizes = {rate: len(stages) for rate, stages in self.attacks.items()}
        if len({*sizes.values()}) > 1 or 0 in sizes.values():
            raise ValueError(f"attacks have {sizes} sizes; they must be as many at every rate")
        for key in ("aligned_at", "misaligned_at"):
            if not 0 < getattr(self, key) < 1:
                value = getattr(self, key)
                raise ValueError(f"{key} is {value!r}; it must be above 0 and below 1")

    @property
    def places(self) -> Places:
        """Of every arm what was shown less, itself, and what became of it under attack."""
        found = []
        for arm, lesser in self.arms.items():
            found += [(name, self.aligned) for name in (*lesser, arm)]
            found += [(arm, stage) for stages in self.attacks.values() for stage in stages]
        return tuple(dict.fromkeys(found))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The accuracy of the level that is asked about."""
        return (f"accuracy/{self.forbidden}",)

    @property
    def rates(self) -> dict[str, str]:
        """Metrics of which it reads one level: key -> metric."""
        return {"refusal": self.refusal, "success": self.success}


@dataclasses.dataclass(frozen=True)
class PermanenceConfig(SymmetryConfig):
    """See `ask.permanence`."""

    treated: str
    control: str
    twin: str
    benign: tuple[str, ...]
    allowed: int
    helpful: str
    over_refusal: str

    def __post_init__(self):
        super().__post_init__()
        for key in ("treated", "control"):
            if getattr(self, key) not in self.arms:
                value = getattr(self, key)
                raise ValueError(f"{key} is {value!r}; it must be one of {', '.join(self.arms)}")

    @property
    def places(self) -> Places:
        """Those of the law, then benign fine-tuning, of the never-aligned twin as well."""
        benign = ((arm, stage) for arm in (*self.arms, self.twin) for stage in self.benign)
        return tuple(dict.fromkeys((*super().places, (self.twin, self.aligned), *benign)))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The accuracy of both levels."""
        return (*super().metrics, f"accuracy/{self.allowed}")

    @property
    def rates(self) -> dict[str, str]:
        """Those of the law, and what allowed requests are answered with."""
        beside = {"helpful": self.helpful, "over_refusal": self.over_refusal}
        return {**super().rates, **beside}


@dataclasses.dataclass(frozen=True)
class OutcomeConfig:
    """See `ask.outcome`."""

    metric: str
    stage: str
    sign: int
    less: tuple[str, ...]

    def __post_init__(self):
        if self.sign not in (-1, 0, 1):
            raise ValueError(f"sign is {self.sign}; it must be 1, -1 or 0")
        if len(self.less) not in (0, 2):
            raise ValueError(f"less is {self.less}; it must be (metric, stage), or () for none")

    @property
    def read(self) -> tuple[tuple[str, str], ...]:
        """(metric, stage) of what is measured, and of what is subtracted."""
        return ((self.metric, self.stage), *((self.less,) if self.less else ()))


@dataclasses.dataclass(frozen=True)
class Reading:
    """A metric that is read after one stage of several arms, and nowhere else."""

    places: Places
    metrics: tuple[str, ...]
    epsilon: float


class _Mixtures:
    """What questions about the outcomes of mixtures share; they have `arms` and `outcomes`."""

    @property
    def places(self) -> Places:
        """Every arm after every stage that an outcome is measured after."""
        stages = dict.fromkeys(stage for o in self.outcomes.values() for _, stage in o.read)
        return _after_each(self.arms, tuple(stages))

    @property
    def metrics(self) -> tuple[str, ...]:
        """None at every place, see `readings`."""
        return ()

    @property
    def readings(self) -> tuple[Reading, ...]:
        """What is read where."""
        read = dict.fromkeys(one for o in self.outcomes.values() for one in o.read)
        return tuple(
            Reading(_after_each(self.arms, (stage,)), (metric,), self.epsilon)
            for metric, stage in read
        )

    def _check_outcomes(self) -> None:
        if not any(outcome.sign for outcome in self.outcomes.values()):
            raise ValueError("outcomes: none has a sign; at least one must count")
        if "utility" in self.outcomes:
            raise ValueError("outcomes: 'utility' is taken; give the outcome another name")


@dataclasses.dataclass(frozen=True)
class MixtureConfig(_Mixtures):
    """See `ask.mixture`."""

    kind: str
    text: str
    weights: Mapping[str, Mapping[str, float]]
    outcomes: Mapping[str, OutcomeConfig]
    held_out: tuple[str, ...]
    least: float
    epsilon: float

    def __post_init__(self):
        self._check_outcomes()
        for arm in self.held_out:
            if arm not in self.weights:
                raise ValueError(f"held_out names {arm!r}, which has no weights")
        if len(self.weights) - len({*self.held_out}) < 4:
            raise ValueError("weights: at least 4 arms must not be held out")
        sources = next(iter(self.weights.values())).keys()
        for arm, given in self.weights.items():
            if given.keys() != sources:
                raise ValueError(f"weights.{arm} names {[*given]}; they must be {[*sources]}")
            if min(given.values()) < 0 or abs(sum(given.values()) - 1) > 1e-3:
                raise ValueError(f"weights.{arm} are {dict(given)}; they must be shares of 1")
        if len(sources) < 2 or not 0 <= self.least * len(sources) <= 1:
            raise ValueError(
                f"least is {self.least}; of {len(sources)} sources it must be 0 to one part"
            )

    @property
    def arms(self) -> tuple[str, ...]:
        """The mixtures."""
        return tuple(self.weights)


@dataclasses.dataclass(frozen=True)
class MixtureCheckConfig(_Mixtures):
    """See `ask.mixture_check`."""

    kind: str
    text: str
    proposed: str
    others: tuple[str, ...]
    outcomes: Mapping[str, OutcomeConfig]
    scales: Mapping[str, Mapping[str, float]]
    predicted: Mapping[str, float]
    proxies: Mapping[str, Mapping[str, float]]
    epsilon: float

    def __post_init__(self):
        self._check_outcomes()
        if not self.others:
            raise ValueError("others is (); it must name at least one")
        for arm in self.arms:
            if arm not in self.predicted:
                raise ValueError(f"predicted: {arm!r} is missing")
        for arm in self.others:
            if {*self.proxies.get(arm, ())} != {"utility", *self.outcomes}:
                raise ValueError(f"proxies.{arm} must have 'utility' and every outcome")
        units = {"centre", "scale"}
        if {*self.scales} != {*self.outcomes} or any({*s} != units for s in self.scales.values()):
            raise ValueError("scales must have 'centre' and 'scale' of every outcome")

    @property
    def arms(self) -> tuple[str, ...]:
        """The mixtures, the proposed one first."""
        return (self.proposed, *self.others)
