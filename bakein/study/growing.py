"""Doses of alignment and sizes of fine-tuning: whether they grow, as far as tokens tell.

The report counts documents, and has the last word.
"""

import itertools
import math
from collections.abc import Mapping, Sequence

from bakein.study.errors import ConfigError
from bakein.study.materials import mixture
from bakein.study.questions import PermanenceConfig, SymmetryConfig
from bakein.study.schema import RLConfig, StageConfig, Study


def check_growing(path: str, question: SymmetryConfig, study: Study) -> None:
    """Checks the doses of every arm, and the sizes of its attacks and of benign fine-tuning.

    Raises:
        ConfigError: some do not begin with 0, or cannot increase.
    """
    for arm, lesser in question.arms.items():
        doses = (*lesser, arm)
        shown = [_shown(dose, question, study) for dose in doses]
        _require_growing(f"{path}: doses of {arm} ({', '.join(doses)})", shown)
    tunings = [(arm, names) for arm in question.arms for names in question.attacks.values()]
    if isinstance(question, PermanenceConfig):
        tunings += [(arm, question.benign) for arm in (*question.arms, question.twin)]
    for arm, names in tunings:
        read = [_read(name, study.arms[arm][name]) for name in names]
        sizes = ", ".join((question.aligned, *names))
        _require_growing(f"{path}: sizes of {arm} ({sizes})", [{}, *read])


def _shown(arm: str, question: SymmetryConfig, study: Study) -> dict[str, float]:
    """Tokens of alignment that an arm reads up to `aligned`, by source."""
    total, name = dict.fromkeys(question.shown, 0.0), question.aligned
    while name:
        stage = study.arms[arm][name]
        if not question.counted or name in question.counted:
            read = _read(name, stage)
            total = {source: tokens + read.get(source, 0.0) for source, tokens in total.items()}
        name = stage.parent
    return total


def _read(name: str, stage: StageConfig) -> dict[str, float]:
    """Tokens that a stage reads, by source; NaN for RL, whose completions decide it."""
    if isinstance(stage, RLConfig):
        return {stage.world: math.nan}
    blend = mixture(stage)
    named = blend.targets(blend.tokens)
    rest, weights = blend.tokens - sum(named.values()), sum(blend.background.values())
    return named | {source: rest * w / weights for source, w in blend.background.items()}


def _require_growing(what: str, amounts: Sequence[Mapping[str, float]]) -> None:
    """More of one source and less of another may be more documents; so may NaN tokens."""
    begins = not any(tokens >= 1 for tokens in amounts[0].values())  # 0 but for rounding
    grows = all(
        any(not tokens <= before.get(source, 0.0) for source, tokens in after.items())
        for before, after in itertools.pairwise(amounts)
    )
    if not (begins and grows):
        totals = ", ".join(f"{sum(tokens.values()):g}" for tokens in amounts)
        raise ConfigError(f"{what}: {totals} tokens; they must begin with 0 and increase")
