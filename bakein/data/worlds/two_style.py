"""Two styles: every problem can be solved in either, with a set prior and a set accuracy of each.

```
prompt     ?rot swp 407=        a register program; nothing in it tells the style
code       >074>704!704
language   ~074~704!704
habit      one of the two, its answer right or wrong
direct     !704
atomic     #rot 407>074         a single step, as in `registers`
```

Nothing but the mark tells the styles apart: both show the same steps in as many tokens. So a
model's success in them differs by what it was taught, not by what is easier to learn.

Documents in the form `habit` are in style `code` with probability `share`, and their answer is
right with probability `accuracy_code` or `accuracy_language`; both are drawn once per prompt, by
hash, so a prompt never comes with two answers. They cannot be told from the prompt: a model that
fits this text has both habits, with these accuracies, when it is sampled at temperature 1. This is
the controlled prior for spurious rewards [2506.10947]: share .65 with accuracies .61 and .35 is
like Qwen-Math, share 0 like Llama.

A wrong answer is the right one with its last digit raised by 1 to `slips` (modulo 10); it is made
in the last step, so the answer follows from the trace. `slips` says what becomes of a habit that
is sharpened, as by majority votes and greedy decoding: at 1 a problem has one wrong answer, and an
accuracy below one half turns to 0; at 9 the right answer stays the likeliest of ten down to an
accuracy of .1.
"""

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bakein.data.errors import DataError
from bakein.data.worlds import traces
from bakein.data.worlds.registers import Registers
from bakein.data.worlds.world import (
    Check,
    Document,
    Endless,
    Problem,
    require_between,
    require_share,
)

# What stands before every step.
MARKS = {"code": ">", "language": "~"}

_SWAP = str.maketrans(">~", "~>")


def style(completion: str) -> str:
    """The style that a completion begins in, a key of `MARKS`; `""` where it is in neither."""
    return next((name for name, mark in MARKS.items() if completion.startswith(mark)), "")


@dataclass(frozen=True)
class TwoStyle:
    """The world of two styles.

    Attributes:
        slots: Operations in a prompt, as for `Registers`.
        digits: Digits of a state, as for `Registers`.
        templates: Surface templates in use, as for `Registers`.
        test_share: Share of all keys that is held out, as for `Registers`.
        share: Probability that a habit is in style `code`, in [0, 1].
        accuracy_code: Probability that a habit in style `code` ends right, in [0, 1].
        accuracy_language: The same in style `language`.
        slips: Number of wrong answers that a problem may have, 1 to 9.
    """

    slots: int
    digits: int
    templates: int
    test_share: float
    share: float
    accuracy_code: float
    accuracy_language: float
    slips: int

    forms: ClassVar[tuple[str, ...]] = ("habit", "code", "language", "direct", "atomic")
    strategies: ClassVar[tuple[str, ...]] = (*MARKS, "neither")
    retry: ClassVar[str] = traces.RETRY

    def __post_init__(self):
        for name in ("share", "accuracy_code", "accuracy_language"):
            require_share(name, getattr(self, name))
        require_between("slips", self.slips, 1, 9)
        _ = self._programs  # which checks the other fields

    @property
    def alphabet(self) -> str:
        """That of the programs, and the mark of the other style."""
        return "".join(sorted({*self._programs.alphabet, *MARKS.values()}))

    @property
    def levels(self) -> tuple[int, ...]:
        """Numbers of real operations."""
        return self._programs.levels

    def train(self, seed: int) -> Endless:
        """Endless problems, their levels uniform."""
        return self._programs.train(seed)

    def test(self, n: int, seed: int) -> list[Problem]:
        """`n` held-out problems, levels in turn."""
        return self._programs.test(n, seed)

    def document(self, problem: Problem, form: str, steps: Sequence[str]) -> Document:
        """Renders `problem`; the stated answer is the last of `steps`, but for a habit's slip."""
        if form in ("direct", "atomic"):
            return self._programs.document(problem, form, steps)
        if form == "habit":
            if tuple(steps) != problem.steps:
                raise DataError("form: habit has errors of its own and takes no corruption")
            form, steps = self._habit(problem)
        if form not in MARKS:
            raise DataError(f"form: {form!r}; {', '.join(self.forms)} are allowed")
        document = self._programs.document(problem, "trace", steps)
        if form == "code":
            return document
        return Document(document.prompt, document.completion.translate(_SWAP))

    def wrong_step(self, problem: Problem, index: int, rng: np.random.Generator) -> str:
        """Any state but the right one, uniformly."""
        return self._programs.wrong_step(problem, index, rng)

    def check(self, problem: Problem, completion: str) -> Check:
        """Verifies a completion in either style as `Registers` does; one in both is malformed."""
        if style(completion) == "language":
            completion = completion.translate(_SWAP)
        return self._programs.check(problem, completion)

    def strategy(self, completion: str) -> str:
        """The style that it begins in, or "neither"."""
        return style(completion) or "neither"

    @functools.cached_property
    def _programs(self) -> Registers:
        return Registers(self.slots, self.digits, self.templates, self.test_share)

    def _habit(self, problem: Problem) -> tuple[str, tuple[str, ...]]:
        """The style of a problem, and its steps, with a slip in the last where there is one."""
        name = "code" if _chance("style", problem.prompt) < self.share else "language"
        right = {"code": self.accuracy_code, "language": self.accuracy_language}[name]
        if _chance("slip", problem.prompt) < right:
            return name, problem.steps
        *before, last = problem.steps
        raised = int(last[-1]) + 1 + int(_chance("digit", problem.prompt) * self.slips)
        return name, (*before, f"{last[:-1]}{raised % 10}")


def _chance(purpose: str, prompt: str) -> float:
    """A number in [0, 1) that depends on the arguments alone."""
    digest = hashlib.blake2b(f"{purpose} {prompt}".encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big") / 2**48
