"""Questions, as frozen dataclasses; `ask` says what their keys mean.

A question's `places` are the (arm, stage) that it reads, in the order in which the report reads
them; they are written into study.json with it. What one group alone can tell is checked in its
`__post_init__`, and in `checks` that arms, stages and metrics are there.
"""

from bakein.study.questions.comparisons import (
    CatchUpConfig,
    ComparisonConfig,
    ContrastConfig,
    DoseConfig,
    FrontierConfig,
    GainsConfig,
    PersistenceConfig,
)
from bakein.study.questions.mixtures import (
    MixtureCheckConfig,
    MixtureConfig,
    OutcomeConfig,
    Reading,
)
from bakein.study.questions.permanence import PermanenceConfig, SymmetryConfig
from bakein.study.questions.question import Question
from bakein.study.questions.shares import SpuriousConfig, WrongTracesConfig
from bakein.study.questions.slopes import ConditionalConfig, JailbreakConfig, RLSpeedConfig

__all__ = [
    "CatchUpConfig",
    "ComparisonConfig",
    "ConditionalConfig",
    "ContrastConfig",
    "DoseConfig",
    "FrontierConfig",
    "GainsConfig",
    "JailbreakConfig",
    "MixtureCheckConfig",
    "MixtureConfig",
    "OutcomeConfig",
    "PermanenceConfig",
    "PersistenceConfig",
    "Question",
    "RLSpeedConfig",
    "Reading",
    "SpuriousConfig",
    "SymmetryConfig",
    "WrongTracesConfig",
]
