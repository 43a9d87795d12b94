"""Persistence: does the treated arm's gain in pretraining outlive post-training (metric 9)?

Legend: T stages in order, the first is pretraining; S seeds, P problems of one frozen evaluation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bakein.analysis import bootstrap


@dataclass(frozen=True)
class StageGain:
    """One stage: Δ_t = mean[treated − control], and the retention ρ_t = Δ_t/Δ_pretraining.

    `retention` is None, undefined, where the interval of Δ_pretraining includes 0: a ratio to a
    gain that may be nothing has no bounded interval.
    """

    stage: str
    gain: bootstrap.Interval
    retention: bootstrap.Interval | None


def retention(
    stages: Sequence[str],
    treated_TSP: ArrayLike,
    control_TSP: ArrayLike,
    largest_T: Sequence[float],
    resamples: int,
    level: float,
    rng: np.random.Generator,
) -> tuple[StageGain, ...]:
    """Gain and retention of every stage, from the same resampled seeds and problems throughout.

    Args:
        stages: names in order, pretraining first.
        treated_TSP: scores of the treated arm; for metric 9 `passk.jeffreys_logit` of the counts.
        control_TSP: scores of the control; the same seeds and problems at each place.
        largest_T: the largest difference of two scores that there can be; see `bootstrap.bounded`.
        resamples: bootstrap draws, at least 100.
        level: of the intervals, for instance 0.95.
        rng: the source of draws.

    Raises:
        ValueError: shapes differ or do not match the stages; otherwise as `bootstrap.draw`.
    """
    treated, control = np.asarray(treated_TSP, float), np.asarray(control_TSP, float)
    if treated.shape != control.shape or treated.ndim != 3 or len(treated) != len(stages):
        raise ValueError(
            f"treated has shape {treated.shape}, control {control.shape}; "
            f"allowed: one shape [{len(stages)} stages, seeds, problems]"
        )
    draws = bootstrap.draw(treated - control, resamples, rng)
    return tuple(
        StageGain(
            stage,
            bootstrap.bounded(draws.interval(level, t), treated[t].size, -largest, largest),
            draws.ratio(level, t, 0),
        )
        for t, (stage, largest) in enumerate(zip(stages, largest_T, strict=True))
    )
