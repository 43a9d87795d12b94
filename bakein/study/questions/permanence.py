"""Questions about what it takes to align, and to misalign."""

import dataclasses
from collections.abc import Mapping

from bakein.study.questions.question import Places


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
