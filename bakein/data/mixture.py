"""Mixture: from the ledger to the source of the next document, by stateless arithmetic.

Two levels. Named sources and the background as a whole compete by token deficit: the integral of
their share up to now, less the tokens they were given. Inside the background the sources compete by
their fixed weights among themselves only, so the background is one stream, the same in every arm,
whatever is mixed into it and whenever.
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

from bakein.data.errors import DataError
from bakein.data.ledger import Ledger
from bakein.data.schedules import SHARE_TOLERANCE, Phase


class _Ramp(NamedTuple):
    """One named source in one phase."""

    name: str
    before: float  # target tokens of the phases before
    share: float  # at the phase's start
    slope: float  # share per token

    def share_at(self, x: int) -> float:
        return self.share + self.slope * x

    def target_at(self, x: int) -> float:
        """Target tokens of the source, x tokens into the phase: the integral of its share."""
        return self.before + (self.share + self.slope * x / 2) * x


@dataclass(frozen=True)
class Mixture:
    """Background weights and the phases of the sources mixed into it.

    Attributes:
        background: Relative token weights of the background's sources; they fill what the phases
            leave. May be empty if the phases' shares sum to 1 throughout.
        phases: Phases of the named sources, in order; a source that a phase does not name has
            share 0 in it.

    Raises:
        DataError: If a weight is negative, a source is in both, or nothing fills a phase.
    """

    background: Mapping[str, float]
    phases: tuple[Phase, ...]

    def __post_init__(self):
        if not self.phases:
            raise DataError("phases: none, a mixture needs at least one")
        for name, weight in self.background.items():
            if not weight >= 0:
                raise DataError(f"background weight of {name!r}: {weight:g}, must not be negative")
        if self.background and not sum(self.background.values()) > 0:
            raise DataError("background weights: all 0, one at least must be positive")
        for phase in self.phases:
            if both := sorted(set(phase.start) & set(self.background)):
                raise DataError(f"source {both[0]!r}: in the background and in a phase's shares")
            least = min(sum(phase.start.values()), sum(phase.end.values()))
            if not self.background and least < 1 - SHARE_TOLERANCE:
                raise DataError(
                    f"shares of {sorted(phase.start)}: sum {least:g}, must be 1 where there is no "
                    "background"
                )

    @property
    def names(self) -> tuple[str, ...]:
        """Every source: the background's, then the named ones."""
        named = dict.fromkeys(name for phase in self.phases for name in phase.start)
        return (*self.background, *named)

    @property
    def tokens(self) -> int:
        """Tokens of all phases."""
        return self._ends[-1]

    def shard(self, index: int, count: int) -> "Mixture":
        """The part of shard `index` of `count`: every phase split to whole tokens that add up.

        Raises:
            DataError: If that leaves the shard no tokens.
        """
        split = [
            (phase, phase.tokens // count + (index < phase.tokens % count)) for phase in self.phases
        ]
        phases = tuple(replace(phase, tokens=tokens) for phase, tokens in split if tokens)
        if not phases:
            raise DataError(f"tokens: {self.tokens}, too few for {count} shards")
        return replace(self, phases=phases)

    def targets(self, emitted: int) -> dict[str, float]:
        """Target tokens of each named source when `emitted` tokens are out, of all sources."""
        index, x = self._locate(emitted)
        return {ramp.name: ramp.target_at(x) for ramp in self._ramps[index]}

    def pick(self, ledger: Ledger, emitted: int) -> tuple[str, int]:
        """The source of the next document, and the tokens left in the phase it falls in.

        The largest deficit wins; on a tie the background, then the first named. Only a source
        whose share is above 0 now is eligible. No source is ever ahead of its target by more than
        one document, nor (all others being so) two competitors behind by more than one; with more
        competitors the largest deficit can grow with the logarithm of their number.

        Args:
            ledger: Counts of every source of `names`.
            emitted: Tokens of all sources in the ledger, below `tokens`.
        """
        index, x = self._locate(emitted)
        rest_share, rest_deficit = 1.0, float(emitted)
        best_name, best_deficit = "", float("-inf")
        rest_tokens = emitted
        for ramp in self._ramps[index]:
            share, target = ramp.share_at(x), ramp.target_at(x)
            tokens = ledger[ramp.name]["tokens"]
            rest_share -= share
            rest_deficit -= target
            rest_tokens -= tokens
            if share > 0 and target - tokens > best_deficit:
                best_name, best_deficit = ramp.name, target - tokens
        rest_deficit -= rest_tokens
        if self.background and rest_share > SHARE_TOLERANCE and rest_deficit >= best_deficit:
            best_name = self._pick_background(ledger)
        return best_name, self._ends[index] - emitted

    def _pick_background(self, ledger: Ledger) -> str:
        # Whole documents count, cut ends included: so a cut, which falls elsewhere in another arm,
        # does not change the order of what follows.
        drawn = {name: ledger[name]["tokens"] + ledger[name]["cut"] for name, _ in self._background}
        total = sum(drawn.values())
        return max(self._background, key=lambda item: item[1] * total - drawn[item[0]])[0]

    def _locate(self, emitted: int) -> tuple[int, int]:
        """Index of the phase that the next token falls in, and the tokens into it."""
        index = min(bisect_right(self._ends, emitted), len(self._ends) - 1)
        return index, emitted - (self._ends[index] - self.phases[index].tokens)

    @cached_property
    def _ends(self) -> tuple[int, ...]:
        return tuple(accumulate(phase.tokens for phase in self.phases))

    @cached_property
    def _background(self) -> tuple[tuple[str, float], ...]:
        total = sum(self.background.values())
        return tuple((name, weight / total) for name, weight in self.background.items() if weight)

    @cached_property
    def _ramps(self) -> tuple[tuple[_Ramp, ...], ...]:
        before = dict.fromkeys(self.names[len(self.background) :], 0.0)
        table = []
        for phase in self.phases:
            ramps = []
            for name in before:
                start, end = phase.start.get(name, 0.0), phase.end.get(name, 0.0)
                ramps.append(_Ramp(name, before[name], start, (end - start) / phase.tokens))
                before[name] = ramps[-1].target_at(phase.tokens)
            table.append(tuple(ramps))
        return tuple(table)
