"""Chained modular arithmetic: every variable is made of the one before it.

```
prompt   ?a=17;b=a+5;c=b*2;c=        `level` equations after the first, here mod 97
trace    >b=22>c=44!44               the value of every variable, then the answer
direct   !44                         the answer alone
atomic   #17+5>22                    the first step alone, without names
retry    >b=71?b=22>c=44!44          how a trace takes a step back; see `corruption.retry`
```

Operations are +1 to +9, -1 to -9, and * by those of 2 to 9 that have no divisor in common with the
modulus. So each is one-to-one, all answers are equally likely, and a guess is right once in
`modulus`. Values have the width of the largest: steps of one world are equally long.

Depths of training and of the test are chosen apart, so that tests can lie inside, at the edge of
and outside what was trained.

**The split** is that of register programs: a problem's key is its first value and its operations,
not its look. Its parts are the contiguous runs of its operations, each from the value where it
begins. A training problem has no held-out part; a test problem is held out as a whole while all
its proper parts belong to training. Worlds that differ only in depths and templates agree on it.
"""

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bakein.data.errors import DataError
from bakein.data.worlds import traces
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
    require_ascending,
    require_between,
    require_test_share,
    split_of_whole,
)

DEEPEST = 12
NAMES = "abcdefghijklm"  # of the first value and of each step

# (separator of the equations, reading order of the equations, prompt). 0 is the plain one.
TEMPLATES = (
    (";", 1, "?{equations};{last}="),
    (" ", 1, "?{equations} {last}="),
    (",", 1, "?{last}:{equations}="),
    (";", -1, "?{equations};{last}="),
    (" ", -1, "?{last}:{equations}="),
)

Operation = tuple[str, int]  # a symbol and its operand

_BLOCK = 256  # problems made at once by a training sequence
_CHUNK = 128  # candidates drawn at once


def operations(modulus: int) -> tuple[Operation, ...]:
    """The operations mod `modulus`, all of them one-to-one."""
    terms = [(symbol, k) for symbol in "+-" for k in range(1, 10)]
    factors = [("*", k) for k in range(2, 10) if math.gcd(k, modulus) == 1]
    return (*terms, *factors)


@dataclass(frozen=True)
class Chain:
    """The world of chained modular arithmetic.

    Attributes:
        modulus: 10 to 1000; the number of answers.
        train_depths: Numbers of operations of training problems, ascending, in 1 to 12.
        test_depths: The same of test problems.
        templates: How many of `TEMPLATES` are in use (diversity of surface), at least 1.
        test_share: Share of all keys that is held out, in (0, 1).
    """

    modulus: int
    train_depths: tuple[int, ...]
    test_depths: tuple[int, ...]
    templates: int
    test_share: float

    forms: ClassVar[tuple[str, ...]] = ("trace", "direct", "atomic")
    retry: ClassVar[str] = traces.RETRY

    def __post_init__(self):
        require_between("modulus", self.modulus, 10, 1000)
        for name in ("train_depths", "test_depths"):
            require_ascending(name, getattr(self, name), 1, DEEPEST)
        require_between("templates", self.templates, 1, len(TEMPLATES))
        # A chain of n operations has n(n+1)/2 parts.
        deepest = self.levels[-1]
        parts = deepest * (deepest + 1) / 2
        require_test_share(self.test_share, parts, f"at depth {deepest}")

    @property
    def alphabet(self) -> str:
        """Names, digits, operations and the marks of the templates in use."""
        marks = "".join(separator for separator, *_ in TEMPLATES[: self.templates])
        return "".join(sorted({*NAMES, *"0123456789", *marks, *"+-*=?:#>! "}))

    @property
    def levels(self) -> tuple[int, ...]:
        """Depths, of training and of the test."""
        return tuple(sorted({*self.train_depths, *self.test_depths}))

    def train(self, seed: int) -> Endless:
        """Endless problems, uniform over the training depths."""
        return Endless(functools.partial(self._block, seed), _BLOCK)

    def test(self, n: int, seed: int) -> list[Problem]:
        """`n` problems with distinct keys, the test depths in turn."""
        rng = generator("chain", "test", seed)
        streams = {depth: distinct(self._stream(rng, depth, "test")) for depth in self.test_depths}
        return self._fill(balanced(n, self.test_depths), streams)

    def document(self, problem: Problem, form: str, steps: Sequence[str]) -> Document:
        """Renders `problem`; the stated answer is the value of the last of `steps`."""
        if form == "trace":
            return Document(problem.prompt, traces.write(steps, _value(steps[-1])))
        if form == "direct":
            return Document(problem.prompt, traces.write((), _value(steps[-1])))
        if form == "atomic":
            start, (symbol, operand) = self._first(problem)
            versions = traces.RETRY.join(map(_value, steps[0].split(traces.RETRY)))
            return Document(f"#{start}{symbol}{operand}", f">{versions}")
        raise DataError(f"form: {form!r}; {', '.join(self.forms)} are allowed")

    def wrong_step(self, problem: Problem, index: int, rng: np.random.Generator) -> str:
        """The same variable with any value but the right one, uniformly."""
        name, _, value = problem.steps[index].partition("=")
        shifted = int(value) + int(rng.integers(1, self.modulus))
        return f"{name}={self._digits(shifted % self.modulus)}"

    def check(self, problem: Problem, completion: str) -> Check:
        """Verifies a completion, see `traces.verify`; every operation is one-to-one."""
        value = f"[0-9]{{{self._width}}}"
        return traces.verify(problem, completion, f"[{NAMES}]={value}", value)

    @property
    def _width(self) -> int:
        return len(str(self.modulus - 1))

    def _digits(self, value: int) -> str:
        return f"{value:0{self._width}d}"

    def _first(self, problem: Problem) -> tuple[str, Operation]:
        """The first value and the first operation, read from the prompt."""
        a, b = NAMES[:2]
        start = problem.prompt.partition(f"{a}=")[2][: self._width]
        symbol, operand = problem.prompt.partition(f"{b}={a}")[2][:2]
        return start, (symbol, int(operand))

    def _block(self, seed: int, number: int) -> list[Problem]:
        rng = generator("chain", "train", seed, number)
        depths = rng.choice(self.train_depths, size=_BLOCK).tolist()
        return self._fill(depths, {n: self._stream(rng, n, "train") for n in self.train_depths})

    def _fill(self, levels, streams) -> list[Problem]:
        # Depth 1 is the smallest, with at most 26 * modulus keys: 20 times as many draws miss one
        # of them with probability e**-20. The floor is for deep chains, of which few are held out.
        return fill(levels, streams, max(520 * self.modulus, 100_000), "chain")

    def _stream(self, rng: np.random.Generator, depth: int, split: str) -> Stream:
        """Candidates of one depth; None where a candidate does not belong to `split`."""
        for start, chain, (separator, order, surface) in self._candidates(rng, depth):
            values = list(itertools.accumulate(chain, self._apply, initial=start))
            texts = [f"{symbol}{operand}" for symbol, operand in chain]
            keys = (
                self._key(values[i], texts[i:j])
                for i, j in itertools.combinations(range(depth + 1), 2)
            )
            key = self._key(start, texts)
            if split_of_whole(key, keys, self.test_share) != split:
                yield None
                continue
            steps = [f"{NAMES[i]}={self._digits(value)}" for i, value in enumerate(values)]
            rest = [f"{NAMES[i + 1]}={NAMES[i]}{text}" for i, text in enumerate(texts)]
            equations = separator.join([steps[0], *rest][::order])
            prompt = surface.format(equations=equations, last=NAMES[depth])
            yield key, Problem(prompt, _value(steps[-1]), tuple(steps[1:]), depth)

    def _candidates(
        self, rng: np.random.Generator, depth: int
    ) -> Iterator[tuple[int, list[Operation], tuple[str, int, str]]]:
        """Chains of `depth` operations, all equally likely: first value, operations, look."""
        choices = operations(self.modulus)
        while True:
            starts_C = rng.integers(self.modulus, size=_CHUNK).tolist()
            chosen_CD = rng.integers(len(choices), size=(_CHUNK, depth)).tolist()
            looks_C = rng.integers(self.templates, size=_CHUNK).tolist()
            for start, chosen, look in zip(starts_C, chosen_CD, looks_C, strict=True):
                yield start, [choices[i] for i in chosen], TEMPLATES[look]

    def _apply(self, value: int, operation: Operation) -> int:
        symbol, operand = operation
        if symbol == "*":
            return value * operand % self.modulus
        return (value + operand if symbol == "+" else value - operand) % self.modulus

    def _key(self, value: int, texts: Sequence[str]) -> str:
        return f"chain {self.modulus} {value}{''.join(texts)}"


def _value(step: str) -> str:
    return step.rpartition("=")[2]
