"""Countdown: reach a target with 3 or 4 numbers, each of them used exactly once.

```
prompt   ?3 25 4=97:
trace    >25*4=100>100-3=97!(25*4)-3          straight to the target, then the expression
search   >25+4=29>29-3=26?n<<>25*4=100>100-3=97?y!(25*4)-3
failed   >25+4=29>29-3=26?n!(25+4)-3          a search that never arrives; states its last try
direct   !(25*4)-3
retry    >25+4=31<>25*4=100>100-3=97!…        how a trace takes a step back
```

`countdown_traces.py` says what the marks of a search mean, and counts them: `habits`. As every
solution uses all numbers, all are equally long, and a straight one is optimal.

The answer is an expression, right if it has the target's value and uses the numbers exactly once
[2503.01307]; `Check.answer` is its exact value, so that majority votes count what was reached and
not how it is written, and `""` where it uses other numbers.

**The split** is by the numbers, whatever the target, as a dead end reaches other targets. The parts
of a problem are any 3 numbers that stand side by side on the way: 3 of the 4 given ones, and the 3
that are left after an operation. No text of a training document, dead ends included, combines three
numbers that are held out together.
"""

import functools
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import numpy as np

from bakein.data.errors import DataError
from bakein.data.worlds import arithmetic
from bakein.data.worlds.countdown_traces import (
    LARGEST,
    STEP,
    SYMBOLS,
    Habits,
    Hand,
    expression,
    moves,
    read,
    result,
    search,
)
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
    split_of_whole,
)

SIZES = (3, 4)

# (separator of the numbers, prompt): what a problem can look like. 0 is the plain one.
TEMPLATES = (
    (" ", "?{numbers}={target}:"),
    (" ", "?{target}={numbers}:"),
    (",", "?{numbers}={target}:"),
    (",", "?{target}={numbers}:"),
)

_BLOCK = 64  # problems made at once by a training sequence
_PATIENCE = 100_000  # draws without a new problem
_MOST_HELD_OUT = 0.3  # so that at least 1 in 10 draws survives: a problem of 4 has 6 parts


@dataclass(frozen=True)
class Countdown:
    """The world of Countdown.

    Attributes:
        sizes: How many numbers problems have, 3, 4 or both; they are the levels.
        largest_number: The given numbers are 1 to this, 5 to 100.
        largest_target: Targets are 1 to this, 10 to 9999.
        width: Operations that a search tries at a node at most, at least 1. It takes up to
            width + width² steps with 3 numbers, and width³ more with 4.
        templates: How many of `TEMPLATES` are in use (diversity of surface), at least 1.
        test_share: Share of all sets of numbers that is held out, in (0, 0.3].
    """

    sizes: tuple[int, ...]
    largest_number: int
    largest_target: int
    width: int
    templates: int
    test_share: float

    forms: ClassVar[tuple[str, ...]] = ("trace", "search", "failed", "direct")
    retry: ClassVar[str] = "<>"

    def __post_init__(self):
        if self.sizes not in ((3,), (4,), SIZES):
            raise DataError(f"sizes: {self.sizes}; (3,), (4,) and {SIZES} are allowed")
        for name, least, most in (
            ("largest_number", 5, 100),
            ("largest_target", 10, LARGEST),
            ("width", 1, 8),
            ("templates", 1, len(TEMPLATES)),
        ):
            require_between(name, getattr(self, name), least, most)
        if not 0 < self.test_share <= _MOST_HELD_OUT:
            raise DataError(
                f"test_share: {self.test_share}; above 0 and up to {_MOST_HELD_OUT} is allowed"
            )

    @property
    def alphabet(self) -> str:
        """Digits, operations, the marks of traces and those of the templates in use."""
        separators = "".join(separator for separator, _ in TEMPLATES[: self.templates])
        return "".join(sorted({*"0123456789", *separators, *SYMBOLS, *"()=:?ny<>! "}))

    @property
    def levels(self) -> tuple[int, ...]:
        """How many numbers problems have."""
        return self.sizes

    def train(self, seed: int) -> Endless:
        """Endless problems, uniform over the sizes."""
        return Endless(functools.partial(self._block, seed), _BLOCK)

    def test(self, n: int, seed: int) -> list[Problem]:
        """`n` distinct problems, the sizes in turn."""
        rng = generator("countdown", "test", seed)
        streams = {size: distinct(self._stream(rng, size, "test")) for size in self.sizes}
        return fill(balanced(n, self.sizes), streams, _PATIENCE, "countdown")

    def document(self, problem: Problem, form: str, steps: Sequence[str]) -> Document:
        """Renders `problem`; the stated answer is the expression that `steps` make.

        The dead ends of a problem's searches are drawn by its prompt. They stay as they are when
        `steps` are corrupted, and a failed search does not come to `steps` at all.
        """
        if form not in self.forms:
            raise DataError(f"form: {form!r}; {', '.join(self.forms)} are allowed")
        hand, target = asked(problem)
        trace = ""
        if form == "trace":
            trace = "".join(f">{step}" for step in steps)
        elif form in ("search", "failed"):
            solution, shown = (problem.steps, steps) if form == "search" else ((), ())
            rng = generator("countdown", form, problem.prompt)
            trace = search(hand, target, solution, shown, self.width, rng, self._in_training)
        if form == "failed":
            trace = trace.rstrip("<")
            steps = read(hand, target, trace).path
        return Document(problem.prompt, f"{trace}!{expression(steps)}")

    def wrong_step(self, problem: Problem, index: int, rng: np.random.Generator) -> str:
        """The same numbers with another operation, and a result that is wrong for it, too.

        So neither the step is exact, nor does the expression that it leads to have the right
        value. The result has as many digits as the right one, and is no number of the problem.
        """
        a, symbol, b, value = STEP.fullmatch(problem.steps[index]).groups()
        others = [s for s in SYMBOLS if s != symbol and result(int(a), s, int(b)) != int(value)]
        other = others[rng.integers(len(others))]
        taken = {*asked(problem)[0], result(int(a), other, int(b))}
        taken |= {int(step.partition("=")[2]) for step in problem.steps}
        wrong = int(value)
        while wrong in taken:
            wrong = int(rng.integers(10 ** (len(value) - 1), 10 ** len(value)))
        return f"{a}{other}{b}={wrong}"

    def check(self, problem: Problem, completion: str) -> Check:
        """Verifies a completion.

        The answer is what stands after the first `!`. What stands before it is a trace; its steps
        are those that are not taken back, and each is right if it and all before it are exact, with
        numbers that are at hand. Missing ones are wrong.
        """
        hand, target = asked(problem)
        trace, _, stated = completion.partition("!")
        reading = read(hand, target, trace)
        value = _value(stated)
        fair = sorted(re.findall("[0-9]+", stated)) == sorted(map(str, hand))
        answer = str(value) if value is not None and fair else ""
        missing = len(hand) - 1 - len(reading.path) if trace else 0
        return Check(
            right=answer == problem.answer,
            format=value is not None and reading.whole and not missing,
            steps=reading.right + (False,) * missing,
            answer=answer,
        )

    def _in_training(self, hand: Hand) -> bool:
        return len(hand) < SIZES[0] or split_of(_key(hand), self.test_share) == "train"

    def _block(self, seed: int, number: int) -> list[Problem]:
        rng = generator("countdown", "train", seed, number)
        sizes = rng.choice(self.sizes, size=_BLOCK).tolist()
        streams = {size: self._stream(rng, size, "train") for size in self.sizes}
        return fill(sizes, streams, _PATIENCE, "countdown")

    def _stream(self, rng: np.random.Generator, size: int, split: str) -> Stream:
        """Candidates of one size; None where a candidate does not belong to `split`."""
        while True:
            numbers = tuple(rng.integers(1, self.largest_number + 1, size=size).tolist())
            parts = map(_key, itertools.combinations(numbers, SIZES[0]))
            mine = split_of_whole(_key(numbers), parts, self.test_share) == split
            steps, target = self._solution(rng, numbers) if mine else ((), 0)
            if not 1 <= target <= self.largest_target:
                yield None
                continue
            separator, surface = TEMPLATES[rng.integers(self.templates)]
            prompt = surface.format(numbers=separator.join(map(str, numbers)), target=target)
            yield f"{_key(numbers)}={target}", Problem(prompt, str(target), steps, size)

    def _solution(self, rng: np.random.Generator, hand: Hand) -> tuple[tuple[str, ...], int]:
        """Operations until one number is left, and that number; 0 if there is no way."""
        steps: list[str] = []
        while len(hand) > 1:
            ways = {step: left for step, left in moves(hand).items() if self._in_training(left)}
            if not ways:
                return (), 0
            steps.append(list(ways)[rng.integers(len(ways))])
            hand = ways[steps[-1]]
        return tuple(steps), hand[0]


def asked(problem: Problem) -> tuple[Hand, int]:
    """The numbers and the target of a problem, read from its prompt."""
    sides = [re.findall("[0-9]+", side) for side in problem.prompt.split("=")]
    target, numbers = sorted(sides, key=len)
    return tuple(map(int, numbers)), int(target[0])


def habits(problem: Problem, completion: str) -> Habits:
    """What the trace of a completion does: steps, backtracking, verification, and slips in them.

    A trace is read up to the first malformed place; a direct answer has no habits.
    """
    return read(*asked(problem), completion.partition("!")[0]).habits


def _key(numbers: Hand) -> str:
    return f"countdown {' '.join(map(str, sorted(numbers)))}"


def _value(stated: str) -> Fraction | None:
    """The exact value of an expression of whole numbers, + - * / and brackets."""
    if not re.fullmatch("[-+*/() 0-9]*", stated) or "//" in stated:
        return None
    try:
        return arithmetic.evaluate(stated)
    except ValueError:
        return None
