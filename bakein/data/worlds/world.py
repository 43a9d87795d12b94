"""What a world is, and what procedural worlds share.

A world is a source of problems with an exact verifier. To write one: a frozen dataclass with the
members of `World`. `filler.py` is the shortest procedural example, `facts.py` the shortest finite
one.
"""

import hashlib
import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bakein.data.errors import DataError


@dataclass(frozen=True)
class Problem:
    """One problem: what is asked, the true answer and the right trace (`()` if there is none)."""

    prompt: str
    answer: str
    steps: tuple[str, ...]
    level: int


@dataclass(frozen=True)
class Document:
    """One training text, `prompt + completion`; supervised fine-tuning masks the prompt."""

    prompt: str
    completion: str


@dataclass(frozen=True)
class Check:
    """What a verifier found in one completion.

    Attributes:
        right: The stated answer is the true one, whether or not the completion is well formed.
        format: The completion is well formed.
        steps: One entry per step of the trace, is it right; `()` for a direct answer.
        answer: The answer as stated, `""` where none is (majority votes count these).
    """

    right: bool
    format: bool
    steps: tuple[bool, ...]
    answer: str = ""


class World(Protocol):
    """The members of every world; worlds are frozen dataclasses and are passed as objects."""

    @property
    def alphabet(self) -> str:
        """Every character that a document may contain, each once."""

    @property
    def levels(self) -> tuple[int, ...]:
        """Levels of difficulty, ascending."""

    @property
    def forms(self) -> tuple[str, ...]:
        """The forms that `document` can render, e.g. `("trace", "direct", "atomic")`."""

    def train(self, seed: int) -> Sequence[Problem]:
        """Training problems, random access; item i depends on (world, seed, i) alone.

        Procedural worlds are endless (length 2**31). Finite worlds hold each of their problems
        once, in an order drawn from `seed`.
        """

    def test(self, n: int, seed: int) -> list[Problem]:
        """`n` distinct held-out problems; a `DataError` if there are not so many.

        Procedural worlds deal the levels out in turn, so every prefix is balanced over them. No
        text of a training document, in whatever form, shows a held-out problem's solution.
        """

    def document(self, problem: Problem, form: str, steps: Sequence[str]) -> Document:
        """Renders a problem in a form with these steps, which may be corrupted.

        The stated answer follows the last of `steps`. A form that states an answer ends as the
        form `direct` does.
        """

    def wrong_step(self, problem: Problem, index: int, rng: np.random.Generator) -> str:
        """A well-formed step that is wrong in the place of `problem.steps[index]`."""

    def check(self, problem: Problem, completion: str) -> Check:
        """Verifies the answer and every step exactly; never raises, whatever the completion."""


class Strategic(World, Protocol):
    """What a world may have besides: strategies, of which every completion follows one."""

    @property
    def strategies(self) -> tuple[str, ...]:
        """Their names, the one that is watched first."""

    def strategy(self, completion: str) -> str:
        """The one that a completion follows, one of `strategies`; never raises."""


def strategies_of(world: World) -> tuple[str, ...]:
    """The strategies of a world; () where it tells none apart."""
    return getattr(world, "strategies", ())


def generator(*names: object) -> np.random.Generator:
    """A random generator that depends on the names alone: purpose, seed, block and so on."""
    digest = hashlib.blake2b("/".join(map(str, names)).encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def split_of(key: str, test_share: float) -> str:
    """`"test"` for a share `test_share` of all keys, else `"train"`: by hash, on every machine."""
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return "test" if int.from_bytes(digest, "big") < test_share * 2**64 else "train"


def split_of_whole(key: str, parts: Iterable[str], test_share: float) -> str | None:
    """The split of a problem with other problems inside it; None if one of them is held out.

    So no training problem shows the solution of a held-out one on its way, and held-out problems
    are otherwise like the training ones.

    Args:
        key: The problem's own key.
        parts: Keys of the problems that are solved on the way to it; its own may be among them.
        test_share: As for `split_of`.
    """
    if any(part != key and split_of(part, test_share) == "test" for part in parts):
        return None
    return split_of(key, test_share)


class Endless(Sequence[Problem]):
    """Problems 0 .. 2**31 − 1, made in blocks when first asked for.

    Args:
        block: `block(b)` makes problems `b * size .. (b + 1) * size − 1`, a pure function of `b`.
        size: Problems in a block.
    """

    _KEPT = 8  # blocks; several readers may stand at different places of one sequence

    def __init__(self, block: Callable[[int], Sequence[Problem]], size: int):
        self._block = block
        self._size = size
        self._blocks: dict[int, Sequence[Problem]] = {}

    def __len__(self) -> int:
        return 2**31

    def __getitem__(self, index: int) -> Problem:
        index = operator.index(index)
        if not 0 <= index < len(self):
            raise IndexError(f"problem {index} of {len(self)}")
        number, offset = divmod(index, self._size)
        block = self._blocks.get(number)
        if block is None:
            block = self._block(number)
            # A new dict, not a change to the old one: reader threads need no lock.
            kept = list(self._blocks.items())[1 - self._KEPT :]
            self._blocks = dict([*kept, (number, block)])
        return block[offset]

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_blocks": {}}  # a worker process makes its own


def balanced(n: int, levels: Sequence[int]) -> list[int]:
    """The levels of `n` test problems: dealt out in turn."""
    if n < 1:
        raise DataError(f"test problems: {n}; at least 1 is allowed")
    return list(itertools.islice(itertools.cycle(levels), n))


def require_between(name: str, value: int, least: int, most: int) -> None:
    """Raises a `DataError` unless a field is in a range, its ends included."""
    if not least <= value <= most:
        raise DataError(f"{name}: {value}; {least} to {most} are allowed")


def require_share(name: str, value: float) -> None:
    """Raises a `DataError` unless a field is a share of a whole."""
    if not 0 <= value <= 1:
        raise DataError(f"{name}: {value}; 0 to 1 is allowed")


def require_test_share(value: float, parts: float, where: str) -> None:
    """Raises a `DataError` unless a world that holds out `value` of all keys has enough problems.

    Args:
        value: The share that is held out.
        parts: Problems inside its largest problem: at least 1 in 10 draws must survive them all.
        where: What the bound depends on, for the message: `with 4 slots`.
    """
    most = 1 - 0.1 ** (1 / parts)
    if not 0 < value <= most:
        raise DataError(f"test_share: {value}; above 0 and, {where}, up to {most:.3g} is allowed")


def require_ascending(name: str, values: object, least: int, most: int) -> None:
    """Raises a `DataError` unless a field is a tuple of integers in a range, ascending."""
    allowed = range(least, most + 1)
    fine = isinstance(values, tuple) and values and set(values) <= set(allowed)
    if not fine or list(values) != sorted(set(values)):
        raise DataError(
            f"{name}: {values}; a tuple of numbers from {least} to {most}, ascending, is allowed"
        )


def sample(problems: Sequence[Problem], n: int, seed: int, where: str) -> list[Problem]:
    """`n` of the problems of a finite world, without replacement, in an order drawn from `seed`."""
    if not 1 <= n <= len(problems):
        raise DataError(f"{where}: {n} test problems; 1 to {len(problems)} are allowed")
    order = generator(where, "sample", seed).permutation(len(problems))[:n]
    return [problems[i] for i in order]


Stream = Iterator[tuple[str, Problem] | None]
"""Candidates: (key, problem), or None where the draw was rejected."""


def distinct(stream: Stream) -> Stream:
    """The stream with every repetition of a key rejected."""
    seen: set[str] = set()
    for candidate in stream:
        if candidate is not None and candidate[0] in seen:
            candidate = None
        if candidate is not None:
            seen.add(candidate[0])
        yield candidate


def fill(
    levels: Iterable[int], streams: Mapping[int, Stream], patience: int, where: str
) -> list[Problem]:
    """One accepted problem for each of `levels`, from the stream of its level.

    Raises:
        DataError: `patience` candidates in a row were rejected: there are no more such problems.
    """
    problems = []
    for level in levels:
        found = next(filter(None, itertools.islice(streams[level], patience)), None)
        if found is None:
            raise DataError(
                f"{where}: level {level} has only {sum(p.level == level for p in problems)} such "
                "problems; ask for fewer, or raise test_share"
            )
        problems.append(found[1])
    return problems
