"""The parity mix [2510.11495]: long answers that can be learnt, short ones that cannot.

```
prompt   ?0110=
trace    0100        the parity of every prefix; the last one is the answer
direct   0           the answer alone
mixed    0100 or 0   the trace for a share `long_share` of all problems, by hash
retry    00?100      how a trace takes a step back; see `corruption.retry`
```

Nothing but its length tells a trace from a direct answer: both begin with a bit. That is what
makes the mix solvable on paper, see `filtered_share` and `greedy_switch`.

**The split.** A problem's key is its bits. Its parts are its prefixes, as far as they are as long
as some other problem: the trace shows their parities. No training problem has a held-out part.
"""

import functools
import re
from collections.abc import Sequence
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
    require_share,
    require_test_share,
    split_of,
    split_of_whole,
)

LONGEST = 64

# (separator of the bits, prompt): what a problem can look like. 0 is the plain one.
TEMPLATES = (("", "?{bits}="), (" ", "?{bits}="), (",", "?{bits}="), ("", "?({bits})="))

_BLOCK = 64  # problems made at once by a training sequence
_PATIENCE = 100_000  # draws without a new problem
_STEP = re.compile(rf"[01 ](?:\{traces.RETRY}[01 ])*")  # a blank is a step without content
_BITS = re.compile(rf"(?:{_STEP.pattern})*")


def filtered_share(share: float) -> float:
    """The share of long answers after one round of filtering on right answers: 2p / (1 + p).

    A model that has learnt the mix answers at length with probability p, and is then right. With
    probability 1 − p it answers with one bit, and as it cannot compute the parity at once it is
    right half of the time. By Bayes' rule the share of long ones among the right is
    p / (p + (1 − p)/2). In odds p / (1 − p), every round doubles them.

    Args:
        share: p, the share of long answers before, in [0, 1].
    """
    return 2 * share / (1 + share)


def greedy_switch() -> float:
    """The share of traces above which greedy decoding answers at length: 1/3.

    The first bit of a trace is the first bit of the problem, x. A direct answer is, to a model
    that cannot compute the parity at once, x or the other bit with probability 1/2 each. So x comes
    first with probability (1 + p)/2, the greedy choice for every p. Given x, the document is a
    trace with probability p / (p + (1 − p)/2) = 2p / (1 + p), by Bayes' rule as in
    `filtered_share`; otherwise it ends here. Greedy decoding goes on where that exceeds 1/2:
    p > 1/3. After two bits nothing but a trace is left.
    """
    return 1 / 3


@dataclass(frozen=True)
class Parity:
    """The world of the parity mix.

    Attributes:
        lengths: Numbers of bits of a problem, ascending, in 2 to 64; they are the levels.
        long_share: Share of all problems that the form `mixed` answers at length, in [0, 1].
        templates: How many of `TEMPLATES` are in use (diversity of surface), at least 1.
        test_share: Share of all keys that is held out, in (0, 1).
    """

    lengths: tuple[int, ...]
    long_share: float
    templates: int
    test_share: float

    forms: ClassVar[tuple[str, ...]] = ("trace", "direct", "mixed")
    retry: ClassVar[str] = traces.RETRY

    def __post_init__(self):
        require_ascending("lengths", self.lengths, 2, LONGEST)
        require_share("long_share", self.long_share)
        require_between("templates", self.templates, 1, len(TEMPLATES))
        # A problem has at most one part of each length.
        parts = len(self.lengths)
        require_test_share(self.test_share, parts, f"with {parts} lengths")

    @property
    def alphabet(self) -> str:
        """Bits, the marks of the templates in use, and a blank for steps without content."""
        surface = "".join(sum(TEMPLATES[: self.templates], ())).replace("{bits}", "")
        return "".join(sorted({*surface, *"01 "}))

    @property
    def levels(self) -> tuple[int, ...]:
        """Numbers of bits."""
        return self.lengths

    def train(self, seed: int) -> Endless:
        """Endless problems, uniform over the lengths."""
        return Endless(functools.partial(self._block, seed), _BLOCK)

    def test(self, n: int, seed: int) -> list[Problem]:
        """`n` distinct problems, the lengths in turn."""
        rng = generator("parity", "test", seed)
        streams = {length: distinct(self._stream(rng, length, "test")) for length in self.lengths}
        return fill(balanced(n, self.lengths), streams, _PATIENCE, "parity")

    def document(self, problem: Problem, form: str, steps: Sequence[str]) -> Document:
        """Renders `problem`; the stated answer is the bit that ends the last of `steps`."""
        if form == "mixed":
            long = split_of(f"parity mix {_bits(problem)}", self.long_share) == "test"
            form = "trace" if long else "direct"
        if form == "trace":
            return Document(problem.prompt, "".join(steps))
        if form == "direct":
            return Document(problem.prompt, steps[-1][-1])
        raise DataError(f"form: {form!r}; {', '.join(self.forms)} are allowed")

    def wrong_step(self, problem: Problem, index: int, rng: np.random.Generator) -> str:
        """The other bit."""
        return "01"[problem.steps[index] == "0"]

    def check(self, problem: Problem, completion: str) -> Check:
        """Verifies a completion: one bit is a direct answer, more are a trace.

        A step is right if it states the true parity and the step before it does too. The answer is
        the last bit of a completion of either length; of any other it is unknown. Blanks stand for
        steps, as `corruption.filler` leaves them, but are not well formed.
        """
        parsed = _BITS.match(completion)[0]
        shown = [step[-1] for step in _STEP.findall(parsed)]
        whole = parsed == completion and len(shown) in (1, len(problem.steps))
        answer = shown[-1].strip() if whole else ""
        direct = not completion or (whole and len(shown) == 1)
        return Check(
            right=answer == problem.answer,
            format=whole and " " not in completion,
            steps=() if direct else traces.credited(shown, problem.steps),
            answer=answer,
        )

    def _block(self, seed: int, number: int) -> list[Problem]:
        rng = generator("parity", "train", seed, number)
        levels = rng.choice(self.lengths, size=_BLOCK).tolist()
        streams = {length: self._stream(rng, length, "train") for length in self.lengths}
        return fill(levels, streams, _PATIENCE, "parity")

    def _stream(self, rng: np.random.Generator, length: int, split: str) -> Stream:
        """Candidates of one length; None where a candidate does not belong to `split`."""
        while True:
            bits_L = rng.integers(2, size=length)
            bits = "".join(map(str, bits_L))
            parts = (f"parity {bits[:end]}" for end in self.lengths if end <= length)
            if split_of_whole(f"parity {bits}", parts, self.test_share) != split:
                yield None
                continue
            separator, surface = TEMPLATES[rng.integers(self.templates)]
            steps = tuple(map(str, np.cumsum(bits_L) % 2))
            prompt = surface.format(bits=separator.join(bits))
            yield bits, Problem(prompt, steps[-1], steps, length)


def _bits(problem: Problem) -> str:
    return re.sub("[^01]", "", problem.prompt)
