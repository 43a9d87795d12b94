r"""Reasoning Gym: the procedural tasks of the `reasoning-gym` package [2505.24760] as worlds.

```
prompt   State the final answer to the following arithmetic problem: 4 + 3 =\nAnswer:
direct   ' 7'
```

Answers are verified by the package's own `score_answer`; right is the full score. There are no
steps to verify. The package is an extra: `pip install bakein[gym]`.

Item i of the package's data set with seed s is, in nearly all tasks, item 0 of the one with seed
s + i, so every block of problems has a seed of its own, far from the others'. Train and test are
divided by hash of the question. A draw is passed over if its text has a character outside the
alphabet, or if the verifier does not give the package's own answer the full score. Tasks in
`REFUSED` cannot be used at all.
"""

import difflib
import functools
import itertools
import json
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from bakein.data.errors import DataError
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
    split_of,
)

# Why a task of the package cannot be a world, as found in its version 0.1.25.
_WHY = {
    "its verifier runs answers as Python code": (
        "binary_matrix",
        "countdown",
        "intermediate_integration",
        "n_queens",
        "polynomial_multiplication",
        "puzzle24",
        "simple_integration",
        "spiral_matrix",
        "string_insertion",
    ),
    "its problems depend on the state of global random numbers": (
        "codeio",
        "list_functions",
        "pool_matrix",
    ),
    "its problems have no answer of their own": (
        "boxnet",
        "graph_color",
        "propositional_logic",
        "rubiks_cube",
        "rush_hour",
    ),
    "its verifier takes nonsense for an answer": ("game_of_life_halting",),
}
REFUSED = {task: why for why, tasks in _WHY.items() for task in tasks}

_ASCII = string.digits + string.ascii_letters + string.punctuation + " \n"
_SAMPLE = 16  # questions that are looked at for further characters of a task
_BLOCK = 32  # problems made at once by a training sequence; some tasks take their time
_PATIENCE = 2_000  # draws without a new problem


@dataclass(frozen=True)
class Item(Problem):
    """A problem with its place in a data set of the package, which makes it again to verify it."""

    seed: int
    index: int


@dataclass(frozen=True)
class Gym:
    """The world of one task.

    Attributes:
        task: Its name in the package.
        options: Fields of the task's configuration in the package but `seed` and `size`; what is
            not named is the package's default.
        test_share: Share of all questions that is held out, in (0, 1).
    """

    task: str
    options: Mapping[str, Any] = field(hash=False)
    test_share: float

    levels: ClassVar[tuple[int, ...]] = (1,)
    forms: ClassVar[tuple[str, ...]] = ("direct",)

    def __post_init__(self):
        if not 0 < self.test_share < 1:
            raise DataError(f"test_share: {self.test_share}; between 0 and 1 is allowed")
        if self.task in REFUSED:
            raise DataError(f"task: {self.task} is refused, {REFUSED[self.task]}")
        object.__setattr__(self, "options", {key: self.options[key] for key in self.options})
        self._dataset(0)

    @functools.cached_property
    def alphabet(self) -> str:
        """Printable ASCII, the line break, and what the task's first questions have besides."""
        dataset = self._dataset(0)
        texts = (text for index in range(_SAMPLE) for text in _texts(dataset[index]))
        return "".join(sorted(set(_ASCII).union(*texts)))

    def train(self, seed: int) -> Endless:
        """Endless problems."""
        return Endless(functools.partial(self._block, seed), _BLOCK)

    def test(self, n: int, seed: int) -> list[Problem]:
        """`n` problems with distinct questions."""
        return self._fill(balanced(n, self.levels), distinct(self._stream("test", seed)))

    def document(self, problem: Problem, form: str, steps: Sequence[str]) -> Document:
        """The question and the answer to it; `steps` is `()`."""
        if form not in self.forms:
            raise DataError(f"form: {form!r}; {', '.join(self.forms)} is allowed")
        return Document(problem.prompt, f" {problem.answer}")

    def wrong_step(self, problem: Problem, index: int, rng: np.random.Generator) -> str:
        """Raises: the package has no steps."""
        raise DataError(f"{self.task} has no steps to corrupt")

    def check(self, problem: Item, completion: str) -> Check:
        """Verifies by the package; well formed: a space, then any answer.

        Where the problem's answer is not the package's (a wrong label), it is right to repeat it.
        Right answers that are written differently are one answer in a vote.
        """
        answer = completion[1:] if completion.startswith(" ") else ""
        dataset = self._dataset(problem.seed)
        entry = dataset[problem.index]
        if problem.answer == entry["answer"]:
            right = _is_right(dataset, answer, entry)
        else:
            right = answer == problem.answer
        return Check(right, bool(answer), (), problem.answer if right else answer)

    def _dataset(self, seed: int) -> Any:
        return _dataset(self.task, json.dumps(self.options), seed)

    def _block(self, seed: int, number: int) -> list[Problem]:
        return self._fill([1] * _BLOCK, self._stream("train", seed, number))

    def _fill(self, levels: list[int], stream: Stream) -> list[Problem]:
        return fill(levels, {1: stream}, _PATIENCE, self.task)

    def _stream(self, split: str, *names: int) -> Stream:
        """Problems of a data set of its own; None where one is passed over."""
        seed = int(generator("gym", split, *names).integers(2**31))
        dataset = self._dataset(seed)
        for index in itertools.count():
            entry = dataset[index]
            question, answer = _texts(entry)
            fits = (
                split_of(f"gym {self.task} {question}", self.test_share) == split
                and set(question + answer) <= set(self.alphabet)
                and _is_right(dataset, answer, entry)
            )
            problem = Item(f"{question}\nAnswer:", answer, (), 1, seed, index)
            yield (question, problem) if fits else None


@functools.lru_cache(maxsize=16)
def _dataset(task: str, options: str, seed: int) -> Any:
    """A data set of the package.

    Raises:
        DataError: The package is not installed, or does not know the task or an option of it.
    """
    try:
        import reasoning_gym  # costs seconds; most studies do not need it
        from reasoning_gym.factory import DATASETS
    except ImportError as error:
        raise DataError(f"reasoning-gym: {error}; pip install bakein[gym]") from None
    if task not in DATASETS:
        near = ", ".join(difflib.get_close_matches(task, DATASETS)) or "none"
        raise DataError(f"task: reasoning-gym has no {task!r}; similar: {near}")
    try:
        return reasoning_gym.create_dataset(task, seed=seed, **json.loads(options))
    except (AssertionError, TypeError, ValueError) as error:
        raise DataError(f"options: {task} refuses {options}: {error}") from None


def _texts(entry: dict[str, Any]) -> tuple[str, str]:
    return entry["question"], entry["answer"]


def _is_right(dataset: Any, answer: str, entry: dict[str, Any]) -> bool:
    """Whether the package gives the answer the full score."""
    try:
        return bool(answer) and bool(dataset.score_answer(answer, entry) == 1)
    except Exception:  # verifiers of the package may raise anything on what is not an answer
        return False
