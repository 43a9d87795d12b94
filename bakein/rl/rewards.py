"""Rewards: functions of a world, a problem and the text of a completion.

A reward is any function of this shape; the three here ask the world's exact verifier. A study
passes the function itself, so a new reward needs nothing from this file.
"""

from collections.abc import Callable, Sequence

import numpy as np

from bakein.data.worlds.world import Check, Problem, World

Reward = Callable[[World, Problem, str], float]


def is_verified(problem: Problem, check: Check) -> bool:
    """The answer and every step of the trace are right.

    A right answer without a trace is verified only where the problem has no steps to show.
    """
    return check.right and all(check.steps) and bool(check.steps or not problem.steps)


def exact(world: World, problem: Problem, completion: str) -> float:
    """1 where the answer is right, whatever the trace."""
    return float(world.check(problem, completion).right)


def verified(world: World, problem: Problem, completion: str) -> float:
    """1 where the answer and every step are right."""
    return float(is_verified(problem, world.check(problem, completion)))


def format(world: World, problem: Problem, completion: str) -> float:
    """1 where the completion is well-formed, right or wrong."""
    return float(world.check(problem, completion).format)


def score(
    world: World, problems: Sequence[Problem], texts_NG: Sequence[Sequence[str]], reward: Reward
) -> np.ndarray:
    """Rewards of every completion of every problem, float32 [N, G]."""
    return np.array(
        [
            [reward(world, problem, text) for text in texts]
            for problem, texts in zip(problems, texts_NG, strict=True)
        ],
        np.float32,
    )
