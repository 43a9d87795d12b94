"""Questions about levels: differences, over stages, doses and shares of a budget."""

import dataclasses
import math
from collections.abc import Mapping

from bakein.study.questions.question import OneMetric, Places, after_each, by_amount


@dataclasses.dataclass(frozen=True)
class ContrastConfig(OneMetric):
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
class PersistenceConfig(OneMetric):
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
        return after_each((self.treated, self.control), self.stages)


@dataclasses.dataclass(frozen=True)
class CatchUpConfig(OneMetric):
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
        return after_each((self.treated, *by_amount(self.controls)), (self.stage,))


@dataclasses.dataclass(frozen=True)
class DoseConfig(OneMetric):
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
        return after_each(tuple(by_amount(self.doses)), (self.stage,))


@dataclasses.dataclass(frozen=True)
class FrontierConfig(OneMetric):
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
        names = by_amount(self.shares)
        return tuple((arm, stage) for arm, _, stage in (name.partition("/") for name in names))


@dataclasses.dataclass(frozen=True)
class GainsConfig(OneMetric):
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
