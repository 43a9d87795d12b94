"""Corruptions of traces: functions `(world, problem, rng, rate) -> Trace`.

The ladder of wrong traces, from nothing to right. `T` is the true answer, of which `x` is none:

```
an arm without traces
filler         >   >   >   !T       blanks instead of steps, the true answer [2404.15758]
swapped        >614>641>241!T       the trace of another problem, the true answer [2505.13775]
steps          >074>111>804!804     each step wrong with probability `rate`, and what follows
wrong_answer   >074>704>804!x       every step right, the answer wrong
retry          >111?074>704>804!T   a wrong step, taken back, then the right one [2408.16293]
none           >074>704>804!T       every step right
```

All are as long as the right document, character by character, in worlds whose steps have one width
(registers, chain, parity). Elsewhere `filler` is; `swapped` is as near as the world has traces;
`steps` and `wrong_answer` are but for what they replace. `retry` is longer by a step and a mark per
error: arms with it are matched in tokens by their stage's budget, and see fewer problems.

Corruptions know the steps of a problem, not the form of a document: a direct answer has no steps
to lose, and states what the trace would have stated. Problems without steps stay as they are.
"""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from bakein.data.errors import DataError
from bakein.data.worlds.world import Problem, World, require_share

Steps = tuple[str, ...]


class Trace(NamedTuple):
    """What a document is rendered from.

    Attributes:
        shown: The steps that the document shows.
        followed: The steps whose last one gives the stated answer. Right and corrupted traces lead
            to their own answer; a document that contradicts itself follows other steps.
    """

    shown: Steps
    followed: Steps


Corruption = Callable[[World, Problem, np.random.Generator, float], Trace]

_BLANK = " "
_DONORS = 4096  # problems whose traces are given to others


def none(world: World, problem: Problem, rng: np.random.Generator, rate: float) -> Trace:
    """The right steps, whatever the rate."""
    return Trace(problem.steps, problem.steps)


def steps(world: World, problem: Problem, rng: np.random.Generator, rate: float) -> Trace:
    """Each step replaced by a wrong one with probability `rate`, independently."""
    require_share("corruption rate", rate)
    wrong = rng.random(len(problem.steps)) < rate
    shown = tuple(
        world.wrong_step(problem, index, rng) if wrong[index] else step
        for index, step in enumerate(problem.steps)
    )
    return Trace(shown, shown)


def filler(world: World, problem: Problem, rng: np.random.Generator, rate: float) -> Trace:
    """All steps replaced by as many blanks with probability `rate`; the answer is the true one.

    Nothing is left of the trace but its length: what it still gives is time to compute, as in
    "Let's think dot by dot" [2404.15758].
    """
    require_share("corruption rate", rate)
    if problem.steps and _BLANK not in world.alphabet:
        raise DataError(f"corruption filler: {type(world).__name__} has no blank in its alphabet")
    blank = rng.random() < rate
    shown = tuple(_BLANK * len(step) if blank else step for step in problem.steps)
    return Trace(shown, problem.steps)


def swapped(world: World, problem: Problem, rng: np.random.Generator, rate: float) -> Trace:
    """With probability `rate` the trace of another problem; the answer is the true one.

    As in "Beyond Semantics" [2505.13775], where problems keep their solutions and only the traces
    change places. It is a trace of as many steps and characters, or of nearly as many where the
    world has no such, and comes from a training problem: no held-out solution is shown.
    """
    require_share("corruption rate", rate)
    if not problem.steps or rng.random() >= rate:
        return none(world, problem, rng, rate)
    donors = _donors(world)
    count, length = _size(problem.steps)
    for size in sorted(donors, key=lambda of: (abs(of[0] - count), abs(of[1] - length), of)):
        others = [trace for trace in donors[size] if trace != problem.steps]
        if others:
            return Trace(others[rng.integers(len(others))], problem.steps)
    raise DataError(f"corruption swapped: {type(world).__name__} has no two different traces")


def wrong_answer(world: World, problem: Problem, rng: np.random.Generator, rate: float) -> Trace:
    """The right steps, and with probability `rate` a wrong answer after them."""
    require_share("corruption rate", rate)
    followed = problem.steps
    if rng.random() < rate:
        for index in reversed(range(len(followed))):
            wrong = world.wrong_step(problem, index, rng)
            if wrong != followed[index]:  # some steps say nothing that could be wrong
                followed = (*followed[:index], wrong, *followed[index + 1 :])
                break
    return Trace(problem.steps, followed)


def retry(world: World, problem: Problem, rng: np.random.Generator, rate: float) -> Trace:
    """Before each step, with probability `rate`, a wrong one that is taken back.

    As in Physics of Language Models 2.2 [2408.16293], whose `[BACK]` is the world's own `retry`
    mark here; but there is at most one error per step, so that traces stay of bounded length.
    """
    require_share("corruption rate", rate)
    mark = getattr(world, "retry", None)
    if problem.steps and mark is None:
        raise DataError(f"corruption retry: {type(world).__name__} takes no step back")
    errs = rng.random(len(problem.steps)) < rate
    shown = tuple(
        f"{world.wrong_step(problem, index, rng)}{mark}{step}" if errs[index] else step
        for index, step in enumerate(problem.steps)
    )
    return Trace(shown, problem.steps)


@functools.lru_cache(maxsize=8)
def _donors(world: World) -> Mapping[tuple[int, int], tuple[Steps, ...]]:
    """The traces of the world's first training problems, by their size."""
    problems = world.train(0)
    found: dict[tuple[int, int], list[Steps]] = {}
    for index in range(min(_DONORS, len(problems))):
        found.setdefault(_size(problems[index].steps), []).append(problems[index].steps)
    return {size: tuple(traces) for size, traces in found.items()}


def _size(trace: Steps) -> tuple[int, int]:
    return len(trace), sum(map(len, trace))
