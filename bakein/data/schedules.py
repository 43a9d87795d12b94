"""Phases: which share of the tokens each named source takes over the course of training.

A share is a share of tokens, never of documents. Shares are absolute; whatever they leave is the
background's. The schedules are pure functions from (shares, tokens, one knob) to phases, and all of
them spend the same tokens on every named source, so that arms differ in the *when* alone.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from bakein.data.errors import DataError

# Room for the rounding of shares such as 0.1 + 0.2 + 0.7.
SHARE_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Phase:
    """A stretch of training over which every share ramps linearly from `start` to `end`.

    Attributes:
        tokens: Length of the phase in tokens, at least 1. A phase holds exactly its tokens.
        start: Share of each named source at the phase's first token, in [0, 1]; the sum is at
            most 1.
        end: The same at its last token; names the same sources as `start`.

    Raises:
        DataError: If a number is out of range or `start` and `end` name different sources.
    """

    tokens: int
    start: Mapping[str, float]
    end: Mapping[str, float]

    def __post_init__(self):
        if self.tokens < 1:
            raise DataError(f"phase tokens: {self.tokens}, must be at least 1")
        if set(self.start) != set(self.end):
            raise DataError(
                f"phase shares: start names {sorted(self.start)}, end names {sorted(self.end)}; "
                "both must name the same sources"
            )
        for shares in (self.start, self.end):
            for name, share in shares.items():
                if not 0 <= share <= 1 + SHARE_TOLERANCE:
                    raise DataError(f"share of {name!r}: {share:g}, must be between 0 and 1")
            if sum(shares.values()) > 1 + SHARE_TOLERANCE:
                raise DataError(
                    f"shares of {sorted(shares)}: sum {sum(shares.values()):g}, must be at most 1"
                )


def constant(shares: Mapping[str, float], tokens: int) -> tuple[Phase, ...]:
    """The same shares from the first token to the last."""
    return (Phase(tokens, shares, shares),)


def early(shares: Mapping[str, float], tokens: int, span: float) -> tuple[Phase, ...]:
    """All tokens of the named sources in the first `span` (a fraction in (0, 1]) of training."""
    dense = _dense_tokens(tokens, span)
    phases = constant(_concentrated(shares, tokens, dense), dense)
    return phases if dense == tokens else phases + constant(_scaled(shares, 0), tokens - dense)


def late(shares: Mapping[str, float], tokens: int, span: float) -> tuple[Phase, ...]:
    """All tokens of the named sources in the last `span` (a fraction in (0, 1]) of training."""
    dense = _dense_tokens(tokens, span)
    phases = constant(_concentrated(shares, tokens, dense), dense)
    return phases if dense == tokens else constant(_scaled(shares, 0), tokens - dense) + phases


def linear(shares: Mapping[str, float], tokens: int, start: float) -> tuple[Phase, ...]:
    """A ramp from `start` times the shares to 2 - `start` times: 0 rises, 1 is flat, 2 falls."""
    if not 0 <= start <= 2:
        raise DataError(f"linear start: {start:g}, must be between 0 and 2 (times the share)")
    return (Phase(tokens, _scaled(shares, start), _scaled(shares, 2 - start)),)


def _dense_tokens(tokens: int, span: float) -> int:
    if not 0 < span <= 1:
        raise DataError(f"span: {span:g}, must be above 0 and at most 1 (a fraction of training)")
    # Rounded up, so that a share equal to the span fits.
    return min(tokens, math.ceil(span * tokens))


def _concentrated(shares: Mapping[str, float], tokens: int, dense: int) -> dict[str, float]:
    if sum(shares.values()) * tokens > dense * (1 + SHARE_TOLERANCE):
        raise DataError(
            f"span: {dense / tokens:g} of training cannot hold shares that sum to "
            f"{sum(shares.values()):g}; it must be at least that sum"
        )
    return _scaled(shares, tokens / dense)


def _scaled(shares: Mapping[str, float], factor: float) -> dict[str, float]:
    return {name: share * factor for name, share in shares.items()}
