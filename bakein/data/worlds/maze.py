"""Grid search: the shortest way through a maze, found by A*.

```
prompt   ?A>I BF=                        from A to I; B and F are walls
trace    +A04-A04+D13-D13+E22+G22-E22+H31-H31+I40-I40!ADEHI
direct   !ADEHI                          the plan alone
retry    +A04-B13?-A04+D13 …             how a trace takes a step back; see `corruption.retry`
```

The cells of this maze are `ABC` above `DEF` above `GHI`: one letter each, so one token. A step of
the trace is one operation of the search [2402.14083]: `+` creates a node, `-` closes it; then the
cell, its cost from the start, and the least that the rest can cost. Every step is four characters
wide. Ties are broken in one way (see `grid.search`), so a problem has one right trace. The plan is
read off the trace backwards (see `grid.read_plan`), so a wrong last step leads to a wrong plan.

Levels are the moves of the shortest plan. Any shortest plan is right; a longer one is not.

**The split** is by the walls, whatever the start and the goal: a plan solves every problem inside
it, too, and those have the same walls.
"""

import functools
import itertools
import operator
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bakein.data.errors import DataError
from bakein.data.worlds import traces
from bakein.data.worlds.grid import LETTERS, distances, neighbours, read_plan, search
from bakein.data.worlds.world import (
    Check,
    Document,
    Endless,
    Problem,
    Stream,
    balanced,
    distinct,
    fill,
    generator,
    require_between,
    split_of,
)

# What a problem can look like. 0 is the plain one.
TEMPLATES = (
    "?{start}>{goal} {walls}=",
    "?{walls} {start}>{goal}=",
    "?{start}>{goal}:{walls}=",
    "?{walls}:{start}>{goal}=",
    "?{start}>{goal}({walls})=",
    "?({walls}){start}>{goal}=",
)

# A cost must be a digit. What is created is one move from a cell that could lie on a shortest
# plan, so no cost is above the plan's by more than 1.
_MOST_MOVES = 8

_BLOCK = 256  # problems made at once by a training sequence
_CHUNK = 128  # candidates drawn at once
_PATIENCE = 100_000  # candidates without a new problem


@dataclass(frozen=True)
class Maze:
    """The world of mazes.

    Attributes:
        side: Cells along each side of the square, 3 to 7.
        walls: How many cells are walls, 1 to a third of all.
        moves: The highest level, 1 to 2 (side − 1) and at most 8; levels are 1 to `moves`.
        templates: How many of `TEMPLATES` are in use (diversity of surface), at least 1.
        test_share: Share of all mazes that is held out, in (0, 1).
    """

    side: int
    walls: int
    moves: int
    templates: int
    test_share: float

    forms: ClassVar[tuple[str, ...]] = ("trace", "direct")
    retry: ClassVar[str] = traces.RETRY

    def __post_init__(self):
        require_between("side", self.side, 3, 7)
        for name, most in (
            ("walls", self.side**2 // 3),
            ("moves", min(_MOST_MOVES, 2 * (self.side - 1))),
            ("templates", len(TEMPLATES)),
        ):
            require_between(name, getattr(self, name), 1, most)
        if not 0 < self.test_share < 1:
            raise DataError(f"test_share: {self.test_share}; between 0 and 1 is allowed")

    @property
    def alphabet(self) -> str:
        """Cells, digits, signs and the marks of the templates in use."""
        marks = re.sub(r"\{.*?\}", "", "".join(TEMPLATES[: self.templates]))
        return "".join(sorted({*self._cells, *"0123456789", *marks, *"+-!"}))

    @property
    def levels(self) -> tuple[int, ...]:
        """Numbers of moves."""
        return tuple(range(1, self.moves + 1))

    def train(self, seed: int) -> Endless:
        """Endless problems, their levels uniform."""
        return Endless(functools.partial(self._block, seed), _BLOCK)

    def test(self, n: int, seed: int) -> list[Problem]:
        """`n` distinct problems in held-out mazes, levels in turn."""
        rng = generator("maze", "test", seed)
        streams = {level: distinct(self._stream(rng, level, "test")) for level in self.levels}
        return fill(balanced(n, self.levels), streams, _PATIENCE, "maze")

    def document(self, problem: Problem, form: str, steps: Sequence[str]) -> Document:
        """Renders `problem`; the stated answer is the plan that `steps` lead to."""
        answer = f"!{read_plan(self.side, steps)}"
        if form == "trace":
            return Document(problem.prompt, "".join(steps) + answer)
        if form == "direct":
            return Document(problem.prompt, answer)
        raise DataError(f"form: {form!r}; {', '.join(self.forms)} are allowed")

    def wrong_step(self, problem: Problem, index: int, rng: np.random.Generator) -> str:
        """Any operation on any cell but the right one, at any costs, uniformly."""
        right = LETTERS.index(problem.steps[index][1])
        cell = self._cells[(right + rng.integers(1, self.side**2)) % self.side**2]
        return f"{'+-'[rng.integers(2)]}{cell}{rng.integers(100):02d}"

    def check(self, problem: Problem, completion: str) -> Check:
        """Verifies a completion.

        The plan is what stands after the first `!`. It is right if it is a shortest way from the
        start to the goal; `answer` is then the problem's own plan, so that right answers are one
        answer. Whatever stands before the `!` is a trace. A step is right if it and all before it
        are those of A*, as each follows from all that came before; the last version of a step
        counts. Steps missing or malformed are wrong.
        """
        trace, _, plan = completion.partition("!")
        stated = re.fullmatch(f"[{self._cells}]+", plan) is not None
        answer = self._as_one(problem, plan) if stated else ""
        step = f"[+-][{self._cells}][0-9][0-9]"
        versions = rf"{step}(?:\{self.retry}{step})*"
        parsed = re.match(f"(?:{versions})*", trace)[0]
        shown = [text[-4:] for text in re.findall(versions, parsed)]
        true = [a == b for a, b in itertools.zip_longest(shown, problem.steps)] if trace else []
        return Check(
            right=answer == problem.answer,
            format=stated and parsed == trace,
            steps=tuple(itertools.accumulate(true, operator.and_)),
            answer=answer,
        )

    @property
    def _cells(self) -> str:
        return LETTERS[: self.side**2]

    def _as_one(self, problem: Problem, plan: str) -> str:
        """The plan of the right trace if `plan` is as good, else `plan`."""
        best = read_plan(self.side, problem.steps)
        walls = set(problem.prompt) - {best[0], best[-1]}
        is_good = (
            (plan[0], plan[-1], len(plan)) == (best[0], best[-1], len(best))
            and walls.isdisjoint(plan)
            and all(b in neighbours(self.side)[a] for a, b in itertools.pairwise(plan))
        )
        return best if is_good else plan

    def _block(self, seed: int, number: int) -> list[Problem]:
        rng = generator("maze", "train", seed, number)
        levels = rng.integers(1, self.moves + 1, size=_BLOCK).tolist()
        streams = {level: self._stream(rng, level, "train") for level in self.levels}
        return fill(levels, streams, _PATIENCE, "maze")

    def _stream(self, rng: np.random.Generator, level: int, split: str) -> Stream:
        """Candidates of one level; None where a candidate does not belong to `split`."""
        for walls, start, others, template in self._candidates(rng):
            goal = None
            if split_of(f"maze {self.side} {walls}", self.test_share) == split:
                moves = distances(self.side, walls, start)
                goal = next((cell for cell in others if moves.get(cell) == level), None)
            if goal is None:
                yield None
                continue
            asked = {"walls": walls, "start": start, "goal": goal}
            steps = search(self.side, **asked)
            plan = read_plan(self.side, steps)
            problem = Problem(template.format(**asked), plan, steps, level)
            yield TEMPLATES[0].format(**asked), problem

    def _candidates(self, rng: np.random.Generator) -> Iterator[tuple[str, str, list[str], str]]:
        """Walls, a start, the other free cells in random order, and a template."""
        cells_CN = np.tile(list(self._cells), (_CHUNK, 1))
        while True:
            templates_C = rng.integers(self.templates, size=_CHUNK).tolist()
            drawn_CN = rng.permuted(cells_CN, axis=1).tolist()
            for cells, template in zip(drawn_CN, templates_C, strict=True):
                walls, (start, *others) = cells[: self.walls], cells[self.walls :]
                yield "".join(sorted(walls)), start, others, TEMPLATES[template]
