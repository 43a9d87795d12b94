"""Questions, as frozen dataclasses; `ask` says what their keys mean.

A question's `places` are the (arm, stage) that it reads, in the order in which the report reads
them; they are written into study.json with it. What one group alone can tell is checked in its
`__post_init__`, and in `checks` that arms, stages and metrics are there.
"""

import dataclasses
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


@dataclasses.dataclass(frozen=True)
class ContrastConfig:
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

    @property
    def metrics(self) -> tuple[str, ...]:
        """The one."""
        return (self.metric,)


@dataclasses.dataclass(frozen=True)
class ComparisonConfig(ContrastConfig):
    """See `ask.comparison`."""

    kind: str
    text: str


@dataclasses.dataclass(frozen=True)
class PersistenceConfig:
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
        return tuple((arm, s) for arm in (self.treated, self.control) for s in self.stages)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The one."""
        return (self.metric,)


@dataclasses.dataclass(frozen=True)
class WrongTracesConfig:
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
        return tuple((arm, self.stage) for arm in (self.correct, self.none, *self.corrupted))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The one."""
        return (self.metric,)


@dataclasses.dataclass(frozen=True)
class SpuriousConfig:
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
        return tuple((self.arm, stage) for stage in (self.true, self.before, *self.rewards))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The one."""
        return (self.metric,)


def _check_shares(key: str, names: tuple[str, ...], epsilon: float) -> None:
    if not names:
        raise ValueError(f"{key} is (); it must name at least one")
    if not epsilon < 1:
        raise ValueError(f"epsilon is {epsilon!r}; it must be a share, above 0 and below 1")
