"""What all kinds of question have, and what several share."""

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


class OneMetric:
    """What questions share that have a `metric`, and read no other."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """The one."""
        return (self.metric,)


def by_amount(amounts: Mapping[str, float]) -> list[str]:
    """Names by what they get, the least first."""
    return sorted(amounts, key=amounts.__getitem__)


def after_each(arms: tuple[str, ...], stages: tuple[str, ...]) -> Places:
    """Every arm after every stage, arm by arm."""
    return tuple((arm, stage) for arm in arms for stage in stages)


def check_shares(key: str, names: tuple[str, ...], epsilon: float) -> None:
    """Raises `ValueError` where `key` has no names, or epsilon is no share."""
    if not names:
        raise ValueError(f"{key} is (); it must name at least one")
    if not epsilon < 1:
        raise ValueError(f"epsilon is {epsilon!r}; it must be a share, above 0 and below 1")
