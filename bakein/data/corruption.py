"""Corruptions of traces: functions `(world, problem, rng, rate) -> steps`.

They change steps alone; a world's `document` lets the stated answer follow the last step.
"""

from collections.abc import Callable

import numpy as np

from bakein.data.errors import DataError
from bakein.data.worlds.world import Problem, World

Corruption = Callable[[World, Problem, np.random.Generator, float], tuple[str, ...]]


def none(world: World, problem: Problem, rng: np.random.Generator, rate: float) -> tuple[str, ...]:
    """The right steps, whatever the rate."""
    return problem.steps


def steps(world: World, problem: Problem, rng: np.random.Generator, rate: float) -> tuple[str, ...]:
    """Each step replaced by a wrong one with probability `rate`, independently."""
    if not 0 <= rate <= 1:
        raise DataError(f"corruption rate: {rate}; 0 to 1 is allowed")
    wrong = rng.random(len(problem.steps)) < rate
    return tuple(
        world.wrong_step(problem, index, rng) if wrong[index] else step
        for index, step in enumerate(problem.steps)
    )
