"""What a question is judged on: scores and metrics by place, and the settings of the bootstrap.

Shape suffixes: S seeds, P problems.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bakein.analysis import bootstrap, verdicts
from bakein.report.records import RecordError, Study
from bakein.report.scores import Scores

Row = dict[str, Any]
Place = tuple[str, str]  # (arm, stage)


@dataclass(frozen=True)
class Evidence:
    """All that has been measured.

    Attributes:
        study: its records.
        scores: the evaluation after every place that has one.
        metrics: place -> metric -> scores [S, P], or [S, 1] of what a seed has as a whole.
        settings: of the bootstrap: resamples, seed, level.
    """

    study: Study
    scores: Mapping[Place, Scores]
    metrics: Mapping[Place, Mapping[str, np.ndarray]]
    settings: Row

    def seeds(self, places: Iterable[Place]) -> tuple[int, ...]:
        """The seeds that all of these places have; none where a place has no evaluation."""
        sets = [set(self.scores[p].seeds) if p in self.scores else set() for p in places]
        return tuple(sorted(set.intersection(*sets))) if sets else ()

    def metric(self, place: Place, name: str, seeds: tuple[int, ...]) -> np.ndarray:
        """Scores [S, P] of a metric, for these seeds.

        Raises:
            RecordError: the metric was not measured there.
        """
        found = self.metrics[place]
        if name not in found:
            arm, stage = place
            raise RecordError(
                f"{self.study.workdir / 'study.json'}: metric {name!r} of {arm} after {stage} was "
                f"not measured; there is: {', '.join(found)}"
            )
        return found[name][self.scores[place].rows(seeds)]

    def tokens(self, place: Place, sources: Iterable[str] | None = None) -> float:
        """Tokens that a stage read, of these sources or of all: a mean over its finished seeds."""
        ledgers = [self.study.stages[node.id].info["ledger"] for node in self.scores[place].nodes]
        return float(
            np.mean(
                [
                    sum(
                        counts["tokens"]
                        for name, counts in ledger.items()
                        if sources is None or name in sources
                    )
                    for ledger in ledgers
                ]
            )
        )

    def resampling(self) -> tuple[int, float, np.random.Generator]:
        """Resamples, level and a generator, as the functions of `analysis` take them last."""
        return self.settings["resamples"], self.settings["level"], self.rng()

    def rng(self) -> np.random.Generator:
        """A generator of its own for every judgement, so that none depends on another's draws."""
        return np.random.default_rng(self.settings["seed"])


def places_of(question: Row) -> list[Place]:
    """The (arm, stage) that a question reads, in its kind's order."""
    return [(arm, stage) for arm, stage in question["places"]]


def limits(interval: bootstrap.Interval) -> list[float] | None:
    """Both ends; None with one seed."""
    return [interval.low, interval.high] if interval.seeds > 1 else None


def unmeasured(rule: str) -> Row:
    """The answer to what no seed has measured."""
    return {
        "effect": None,
        "ci": None,
        "level": None,
        "mde": None,
        "seeds": 0,
        "verdict": str(verdicts.Comparison.UNDERPOWERED),
        "rule": rule,
        "sentence": "Not measured yet: no seed has finished all that this question compares.",
    }
