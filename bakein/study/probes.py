"""Probes: evaluations of any stage beside the frozen one; `base` says what their keys mean."""

import dataclasses
from collections.abc import Callable

from bakein.data.worlds.world import Problem
from bakein.evals.attacks import Attack
from bakein.evals.budgets import Thinking
from bakein.evals.evaluate import EvalConfig


@dataclasses.dataclass(frozen=True)
class ProbeConfig:
    """What all probes have. A kind adds `max_new_tokens` and `variants`, what it does in turn."""

    kind: str
    stages: tuple[str, ...]
    world: str
    problems: int
    samples: int
    k: tuple[int, ...]
    rows: int
    shown: int

    @property
    def sampling(self) -> EvalConfig:
        """How much is drawn for each variant."""
        return EvalConfig(self.samples, self.max_new_tokens, self.rows, self.shown)

    @property
    def doublings(self) -> tuple[int, ...]:
        """Thinking budgets over whose log₂ there is a slope, increasing; () where there is none."""
        return ()

    def follows(self, stage: str) -> bool:
        """Whether the probe is made after a stage."""
        return not self.stages or stage in self.stages


@dataclasses.dataclass(frozen=True)
class EvaluationProbe(ProbeConfig):
    """See `base.evaluation_probe`."""

    max_new_tokens: int

    @property
    def variants(self) -> tuple[str, ...]:
        """One, named after its world."""
        return (self.world,)


@dataclasses.dataclass(frozen=True)
class BudgetProbe(ProbeConfig):
    """See `base.budget_probe`."""

    budgets: tuple[int, ...]
    answer: str
    answer_tokens: int
    filler: str
    continuation: str
    continuations: int

    @property
    def variants(self) -> tuple[int, ...]:
        """The budgets."""
        return self.budgets

    @property
    def doublings(self) -> tuple[int, ...]:
        """The positive ones, where they are at least two."""
        positive = tuple(sorted(budget for budget in self.budgets if budget > 0))
        return positive if len(positive) > 1 else ()

    @property
    def max_new_tokens(self) -> int:
        """Of the largest budget and its answer, so that all of them share one program."""
        return max(self.budgets) + self.answer_tokens

    @property
    def thinking(self) -> Thinking:
        """How a budget is spent."""
        return Thinking(
            self.answer, self.answer_tokens, self.filler, self.continuation, self.continuations
        )


@dataclasses.dataclass(frozen=True)
class AttackProbe(ProbeConfig):
    """See `base.attack_probe`."""

    max_new_tokens: int
    change: Callable[..., Problem]
    sizes: tuple[int, ...]
    attempts: int
    prefill: str
    target: str

    @property
    def variants(self) -> tuple[int, ...]:
        """The sizes."""
        return self.sizes

    @property
    def attack(self) -> Attack:
        """What is done to a problem."""
        return Attack(self.change, self.attempts, self.prefill)
