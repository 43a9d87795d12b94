"""Questions about shares of a gain."""

import dataclasses

from bakein.study.questions.question import OneMetric, Places, after_each, check_shares


@dataclasses.dataclass(frozen=True)
class WrongTracesConfig(OneMetric):
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
        check_shares("corrupted", self.corrupted, self.epsilon)

    @property
    def places(self) -> Places:
        """The whole, the zero, and what has shares of it."""
        return after_each((self.correct, self.none, *self.corrupted), (self.stage,))


@dataclasses.dataclass(frozen=True)
class SpuriousConfig(OneMetric):
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
        check_shares("rewards", self.rewards, self.epsilon)

    @property
    def places(self) -> Places:
        """The whole, the zero, and what has shares of it."""
        return after_each((self.arm,), (self.true, self.before, *self.rewards))
