"""World knowledge: facts, key → value.

```
@abc:xyz        prompt `@abc:`, completion `xyz`
```

The facts are fixed by the world's own seed, so that every member of a study is taught the same
ones; a member's seed decides their order alone. Test and training problems are the same by
design: a fact cannot be derived, only recalled, so what is measured is whether what was taught is
still there (what did reasoning tokens displace, what did fine-tuning wipe out).
"""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bakein.data.errors import DataError
from bakein.data.worlds.world import (
    Check,
    Document,
    Problem,
    generator,
    require_between,
    sample,
)

LETTERS = "abcdefghijklmnopqrstuvwxyz"
_WIDTH = 3  # letters of a key and of a value


@dataclass(frozen=True)
class Facts:
    """The world of facts.

    Attributes:
        entities: Number of facts, 1 to 26**3; their keys are distinct.
        seed: Decides which facts hold in this world.
    """

    entities: int
    seed: int

    alphabet: ClassVar[str] = ":@" + LETTERS
    levels: ClassVar[tuple[int, ...]] = (1,)
    forms: ClassVar[tuple[str, ...]] = ("direct",)

    def __post_init__(self):
        require_between("entities", self.entities, 1, len(LETTERS) ** _WIDTH)

    def train(self, seed: int) -> Sequence[Problem]:
        """Every fact once."""
        return sample(self._problems, self.entities, seed, "facts")

    def test(self, n: int, seed: int) -> list[Problem]:
        """`n` distinct facts of those taught."""
        return sample(self._problems, n, seed, "facts")

    def document(self, problem: Problem, form: str, steps: Sequence[str]) -> Document:
        """Renders a fact; `steps` is `()`."""
        if form not in self.forms:
            raise DataError(f"form: {form!r}; {', '.join(self.forms)} is allowed")
        return Document(problem.prompt, problem.answer)

    def wrong_step(self, problem: Problem, index: int, rng: np.random.Generator) -> str:
        """Raises: facts have no steps."""
        raise DataError("facts have no steps to corrupt")

    def check(self, problem: Problem, completion: str) -> Check:
        """Right if the completion is the value; well formed if it could be one."""
        answer = completion if re.fullmatch(f"[a-z]{{{_WIDTH}}}", completion) else ""
        return Check(answer == problem.answer, bool(answer), (), answer)

    @functools.cached_property
    def _problems(self) -> tuple[Problem, ...]:
        rng = generator("facts", self.seed)
        keys = rng.permutation(len(LETTERS) ** _WIDTH)[: self.entities].tolist()
        values = rng.integers(len(LETTERS) ** _WIDTH, size=self.entities).tolist()
        return tuple(
            Problem(f"@{_word(key)}:", _word(value), (), 1)
            for key, value in zip(keys, values, strict=True)
        )


def _word(number: int) -> str:
    base = len(LETTERS)
    return "".join(LETTERS[number // base**place % base] for place in reversed(range(_WIDTH)))
