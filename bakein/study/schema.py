"""What a study is made of, as frozen dataclasses; `base` says what the keys mean."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from bakein.data.corruption import Corruption
from bakein.data.schedules import Phase
from bakein.data.tokenizers import EOS, PAD
from bakein.evals.evaluate import EvalConfig
from bakein.model import ModelConfig
from bakein.rl.advantages import Advantage
from bakein.rl.losses import Penalty, PolicyLoss
from bakein.rl.rewards import Reward
from bakein.rl.rollout import SamplerConfig
from bakein.rl.step import PolicyConfig
from bakein.study.probes import ProbeConfig
from bakein.study.questions import ContrastConfig, Question
from bakein.train.optimizer import OptimizerConfig


def _part(config: Any, cls: type) -> Any:
    """A dataclass from the fields of the same names."""
    return cls(**{field.name: getattr(config, field.name) for field in dataclasses.fields(cls)})


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """Devices along each mesh axis; -1 takes what is left."""

    data: int
    fsdp: int
    tensor: int


@dataclasses.dataclass(frozen=True)
class TokenizerConfig:
    """See `base.tokenizer`."""

    kind: str
    vocabulary: int
    sources: tuple[str, ...]
    documents: int


@dataclasses.dataclass(frozen=True)
class WorldSource:
    """See `base.source`."""

    kind: str
    world: str
    form: str
    documents: int


@dataclasses.dataclass(frozen=True)
class TextSource:
    """See `base.text`."""

    kind: str
    paths: tuple[str, ...]
    field: str
    window: int


@dataclasses.dataclass(frozen=True)
class DatasetSource:
    """See `base.dataset`."""

    kind: str
    path: str
    split: str


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """See `base.data`."""

    background: Mapping[str, float]
    share: Mapping[str, float]
    schedule: Callable[[Mapping[str, float], int], tuple[Phase, ...]]
    corruption: Corruption
    rate: float
    mask_prompt: bool


@dataclasses.dataclass(frozen=True)
class SupervisedConfig:
    """See `base.supervised`."""

    kind: str
    parent: str
    data: DataConfig
    tokens: int
    batch: int
    length: int
    fill: float
    shards: int
    prefetch: int
    accumulation: int
    z_loss: float
    optimizer: OptimizerConfig
    log_every: int
    save_every: int
    save_seconds: float


@dataclasses.dataclass(frozen=True)
class RLConfig:
    """See `base.rl`."""

    kind: str
    parent: str
    world: str
    reward: Reward
    steps: int
    prompts: int
    group: int
    refills: int
    prompt_length: int
    max_new_tokens: int
    temperature: float
    top_k: int
    top_p: float
    advantage: Advantage
    loss: PolicyLoss
    clip_low: float
    clip_high: float
    importance_cap: float
    kl: Penalty
    kl_coefficient: float
    aggregation: str
    epochs: int
    minibatches: int
    accumulation: int
    optimizer: OptimizerConfig
    curve_every: int
    curve_problems: int
    curve_samples: int
    log_every: int
    save_every: int
    save_seconds: float

    @property
    def policy(self) -> PolicyConfig:
        """The learner's part."""
        return _part(self, PolicyConfig)

    @property
    def sampler(self) -> SamplerConfig:
        """How completions are drawn to learn from."""
        return SamplerConfig(
            self.max_new_tokens, self.temperature, self.top_k, self.top_p, EOS, PAD
        )

    @property
    def curve_sampler(self) -> SamplerConfig:
        """How completions are drawn for the RL curve: as in the frozen evaluation."""
        return SamplerConfig(self.max_new_tokens, 1.0, 0, 1.0, EOS, PAD)


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """See `base.evaluation`."""

    world: str
    problems: int
    samples: int
    k: tuple[int, ...]
    max_new_tokens: int
    rows: int
    shown: int
    recall: str
    facts: int

    @property
    def sampling(self) -> EvalConfig:
        """The part that `bakein.evals` reads."""
        return _part(self, EvalConfig)


@dataclasses.dataclass(frozen=True)
class BootstrapConfig:
    """Resamples of the bootstrap, its seed, and the level of its intervals."""

    resamples: int
    seed: int
    level: float


StageConfig = SupervisedConfig | RLConfig
SourceConfig = WorldSource | TextSource | DatasetSource


@dataclasses.dataclass(frozen=True)
class Study:
    """A whole study, checked.

    Attributes:
        name: its name.
        seed: of what all members share.
        members: the seeds of the members.
        workers: stages at a time; 0 lets the runner choose.
        model: the decoder's values, without the size of the vocabulary.
        mesh: devices.
        tokenizer: how text becomes tokens.
        worlds: name -> world object.
        sources: name -> where documents come from.
        stages: names of all stages, parents first.
        arms: arm -> stage -> its configuration, parents first.
        evaluation: the frozen evaluation.
        probes: name -> further evaluation.
        questions: name -> question.
        contrasts: name -> further contrasts.
        bootstrap: of the intervals.
        published: path of published tables that the report shows beside its own, "" for none.
    """

    name: str
    seed: int
    members: tuple[int, ...]
    workers: int
    model: Mapping[str, Any]
    mesh: MeshConfig
    tokenizer: TokenizerConfig
    worlds: Mapping[str, Any]
    sources: Mapping[str, SourceConfig]
    stages: tuple[str, ...]
    arms: Mapping[str, Mapping[str, StageConfig]]
    evaluation: EvaluationConfig
    probes: Mapping[str, ProbeConfig]
    questions: Mapping[str, Question]
    contrasts: Mapping[str, ContrastConfig]
    bootstrap: BootstrapConfig
    published: str

    def model_config(self, vocab_size: int) -> ModelConfig:
        """The decoder's configuration for a tokenizer's vocabulary."""
        values = dict(self.model)
        values["query_scale"] = values["query_scale"] or values["head_dim"] ** -0.5
        return ModelConfig(vocab_size=vocab_size, **values)
