"""Questions about the outcomes of mixtures."""

import dataclasses
from collections.abc import Mapping

from bakein.study.questions.question import Places, after_each


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
        return after_each(self.arms, tuple(stages))

    @property
    def metrics(self) -> tuple[str, ...]:
        """None at every place, see `readings`."""
        return ()

    @property
    def readings(self) -> tuple[Reading, ...]:
        """What is read where."""
        read = dict.fromkeys(one for o in self.outcomes.values() for one in o.read)
        return tuple(
            Reading(after_each(self.arms, (stage,)), (metric,), self.epsilon)
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
