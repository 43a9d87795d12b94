"""Register programs: a few operations, applied in turn to a row of digits.

```
prompt   ?rot swp inc nop 407=       `slots` slots, `level` of them real operations, the rest nop
trace    >074>704>804>804!804        the state after each slot, then the answer
direct   !804                        the answer alone
atomic   #rot 407>074                the first real step alone
retry    >111?074>704>804>804!804    how a trace takes a step back; see `corruption.retry`
```

Every slot and every step has the same width, so the operation that is needed next stands at a
constant distance: small models with relative positions learn that. There are 10**digits answers,
so guessing does not inflate pass@k.

**The split.** A problem's key is its real operations and its first state: neither the template nor
the places of the nops. Its parts are the problems inside it: every contiguous run of its real
operations, from the state where that run begins. A training problem is one with no held-out part;
a test problem is held out as a whole while all its proper parts belong to training. So no held-out
problem is ever solved inside a training document, be it as a direct answer, as an atomic step or
as a stretch of a longer trace, and the test problems are otherwise drawn like the training ones.
"""

import functools
import itertools
import re
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
    require_between,
    require_test_share,
    split_of_whole,
)

# What each operation does to states digits_ND.
OPERATIONS = {
    "nop": lambda digits_ND: digits_ND,
    "rot": lambda digits_ND: np.roll(digits_ND, -1, axis=1),
    "swp": lambda digits_ND: np.hstack([digits_ND[:, 1::-1], digits_ND[:, 2:]]),
    "rev": lambda digits_ND: digits_ND[:, ::-1],
    "inc": lambda digits_ND: np.hstack([(digits_ND[:, :1] + 1) % 10, digits_ND[:, 1:]]),
    "dec": lambda digits_ND: np.hstack([digits_ND[:, :-1], (digits_ND[:, -1:] - 1) % 10]),
    "neg": lambda digits_ND: 9 - digits_ND,
}
NAMES = tuple(OPERATIONS)

# (separator of the operations, prompt): what a problem can look like. 0 is the plain one.
TEMPLATES = (
    (" ", "?{operations} {state}="),
    (" ", "?{state} {operations}="),
    (",", "?{operations} {state}="),
    (",", "?{state}:{operations}="),
    ("-", "?{operations}:{state}="),
    ("-", "?({state}){operations}="),
)

_BLOCK = 256  # problems made at once by a training sequence
_CHUNK = 128  # candidates drawn at once


@functools.cache
def transitions(digits: int) -> np.ndarray:
    """The next state of each operation and state: int32 [len(NAMES), 10**digits]."""
    states_N = np.arange(10**digits)
    powers_D = 10 ** np.arange(digits - 1, -1, -1)
    digits_ND = states_N[:, None] // powers_D % 10
    return np.stack([op(digits_ND) @ powers_D for op in OPERATIONS.values()]).astype(np.int32)


@dataclass(frozen=True)
class Registers:
    """The world of register programs.

    Attributes:
        slots: Operations in a prompt; levels are the numbers of real ones, 1 to `slots`.
        digits: Digits of a state, 3 to 5.
        templates: How many of `TEMPLATES` are in use (diversity of surface), at least 1.
        test_share: Share of all keys that is held out, in (0, 1).
    """

    slots: int
    digits: int
    templates: int
    test_share: float

    forms: ClassVar[tuple[str, ...]] = ("trace", "direct", "atomic")
    retry: ClassVar[str] = traces.RETRY

    def __post_init__(self):
        if self.slots < 1:
            raise DataError(f"slots: {self.slots}; at least 1 is allowed")
        require_between("digits", self.digits, 3, 5)
        require_between("templates", self.templates, 1, len(TEMPLATES))
        # A program of n operations has n(n+1)/2 parts.
        parts = self.slots * (self.slots + 1) / 2
        require_test_share(self.test_share, parts, f"with {self.slots} slots")

    @property
    def alphabet(self) -> str:
        """Operations, digits and the marks of the templates in use."""
        surface = "".join(sum(TEMPLATES[: self.templates], ())).replace("operations", "")
        marks = re.sub(r"\{.*?\}", "", surface)
        return "".join(sorted({*"".join(NAMES), *"0123456789", *marks, *"# >!"}))

    @property
    def levels(self) -> tuple[int, ...]:
        """Numbers of real operations."""
        return tuple(range(1, self.slots + 1))

    def train(self, seed: int) -> Endless:
        """Endless problems, their levels uniform."""
        return Endless(functools.partial(self._block, seed), _BLOCK)

    def test(self, n: int, seed: int) -> list[Problem]:
        """`n` problems with distinct keys, levels in turn."""
        rng = generator("registers", "test", seed)
        streams = {level: distinct(self._stream(rng, level, "test")) for level in self.levels}
        return self._fill(balanced(n, self.levels), streams)

    def document(self, problem: Problem, form: str, steps: Sequence[str]) -> Document:
        """Renders `problem`; the stated answer is the last of `steps`."""
        if form == "trace":
            return Document(problem.prompt, traces.write(steps, steps[-1]))
        if form == "direct":
            return Document(problem.prompt, traces.write((), steps[-1]))
        if form == "atomic":
            state = re.search("[0-9]+", problem.prompt)[0]
            operations = re.findall("[a-z]{3}", problem.prompt)
            first, name = next((i, op) for i, op in enumerate(operations) if op != "nop")
            return Document(f"#{name} {state}", f">{steps[first]}")
        raise DataError(f"form: {form!r}; {', '.join(self.forms)} are allowed")

    def wrong_step(self, problem: Problem, index: int, rng: np.random.Generator) -> str:
        """Any state but the right one, uniformly."""
        shift = rng.integers(1, 10**self.digits)
        return _names(self.digits)[(int(problem.steps[index]) + shift) % 10**self.digits]

    def check(self, problem: Problem, completion: str) -> Check:
        """Verifies a completion, see `traces.verify`; every operation is one-to-one."""
        state = f"[0-9]{{{self.digits}}}"
        return traces.verify(problem, completion, state, state)

    def _block(self, seed: int, number: int) -> list[Problem]:
        rng = generator("registers", "train", seed, number)
        levels = rng.integers(1, self.slots + 1, size=_BLOCK).tolist()
        return self._fill(levels, {n: self._stream(rng, n, "train") for n in self.levels})

    def _fill(self, levels, streams) -> list[Problem]:
        # Level 1 is the smallest, with 6 * 10**digits keys: 20 times as many draws miss one of
        # them with probability e**-20.
        return fill(levels, streams, 120 * 10**self.digits, "registers")

    def _stream(self, rng: np.random.Generator, level: int, split: str) -> Stream:
        """Candidates of one level; None where a candidate does not belong to `split`."""
        for operations, states, (separator, surface) in self._candidates(rng, level):
            program = [op for op in operations if op != "nop"]
            before = [s for op, s in zip(operations, states, strict=False) if op != "nop"]
            key = _key(program, before[0])
            ends = itertools.combinations(range(level + 1), 2)
            parts = (_key(program[i:j], before[i]) for i, j in ends)
            if split_of_whole(key, parts, self.test_share) != split:
                yield None
                continue
            prompt = surface.format(operations=separator.join(operations), state=states[0])
            yield key, Problem(prompt, states[-1], tuple(states[1:]), level)

    def _candidates(
        self, rng: np.random.Generator, level: int
    ) -> Iterator[tuple[list[str], list[str], tuple[str, str]]]:
        """Programs with `level` real operations: its slots, its `slots + 1` states, its look."""
        table = transitions(self.digits)
        names = _names(self.digits)
        while True:
            real_CS = rng.random((_CHUNK, self.slots)).argsort(axis=1) < level
            operations_CS = np.zeros((_CHUNK, self.slots), np.int64)
            operations_CS[real_CS] = rng.integers(1, len(NAMES), _CHUNK * level)
            states_SC = [rng.integers(10**self.digits, size=_CHUNK)]
            for operations_C in operations_CS.T:
                states_SC.append(table[operations_C, states_SC[-1]])
            looks_C = rng.integers(self.templates, size=_CHUNK)
            for operations, states, look in zip(
                operations_CS.tolist(),
                np.stack(states_SC, axis=1).tolist(),
                looks_C.tolist(),
                strict=True,
            ):
                yield [NAMES[o] for o in operations], [names[s] for s in states], TEMPLATES[look]


def _key(program: Sequence[str], state: str) -> str:
    return f"registers {'.'.join(program)} {state}"


@functools.cache
def _names(digits: int) -> tuple[str, ...]:
    return tuple(f"{state:0{digits}d}" for state in range(10**digits))
