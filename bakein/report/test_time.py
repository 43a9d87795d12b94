"""Slopes of test-time compute as metrics: over thinking budgets, and areas under pass@k (4 and 5).

Of a probe, PROBE/slope is what a doubling of its thinking budget adds to the logit of accuracy, and
PROBE/VARIANT/pass_area the mean height of pass@k over log₂ k.

Shape suffixes: T budgets, S seeds, P problems, K attempts counts.
"""

from collections.abc import Mapping

import numpy as np

from bakein.analysis import budgets, passk, slopes
from bakein.report.records import Record
from bakein.report.scores import Scores


def slope_metrics(scores: Scores, probes: Mapping[str, Record]) -> dict[str, np.ndarray]:
    """Scores [S, P] of one place's probes by metric: slopes and areas.

    Args:
        scores: one arm after one stage.
        probes: of study.json.
    """
    found = {}
    for (probe, variant), part in scores.probes.items():
        ks = sorted({*probes[probe]["k"]})
        if len(ks) > 1:
            area_SP = pass_areas(part.correct_SP, part.samples, ks)
            found[f"{probe}/{variant}/pass_area"] = area_SP
    for probe in dict.fromkeys(probe for probe, _ in scores.probes):
        sizes = probes[probe].get("budgets", ())
        if sizes:
            correct_TSP, samples = thinking_counts(scores, probe, sizes)
            found[f"{probe}/slope"] = budgets.slopes(sizes, correct_TSP, samples)
    return found


def thinking_counts(scores: Scores, probe: str, sizes: list[int]) -> tuple[np.ndarray, int]:
    """Right samples [T, S, P] under each budget of a probe, and the samples of a problem."""
    parts = [scores.probes[probe, str(size)] for size in sizes]
    return np.array([part.correct_SP for part in parts]), parts[0].samples


def pass_areas(correct_SP: np.ndarray, samples: int, ks: list[int]) -> np.ndarray:
    """The area [S, P] under each problem's pass@k over log₂ k; `ks` increase."""
    pass_KSP = np.array([passk.pass_at_k(correct_SP, samples, k) for k in ks])
    return slopes.area_over_log2(ks, pass_KSP)
