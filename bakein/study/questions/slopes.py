"""Questions about slopes: of test-time compute, RL and jailbreaks."""

import dataclasses

from bakein.study.questions.question import Places, after_each


@dataclasses.dataclass(frozen=True)
class ConditionalConfig:
    """See `ask.conditional`."""

    kind: str
    text: str
    treated: str
    control: str
    stages: tuple[str, ...]
    metric: str
    beside: tuple[str, ...]
    epsilon: float

    def __post_init__(self):
        if not self.stages:
            raise ValueError("stages are (); they must be at least one stage")
        probe, *rest = self.metric.split("/")
        if self.metric != "pass_area" and rest != ["slope"] and rest[1:] != ["pass_area"]:
            raise ValueError(
                f"metric is {self.metric!r}; it must be a slope: PROBE/slope, "
                "PROBE/VARIANT/pass_area or pass_area"
            )
        if self.beside and rest != ["slope"]:
            raise ValueError(f"beside is {self.beside}; only PROBE/slope has probes beside it")
        if probe in self.beside or len({*self.beside}) < len(self.beside):
            raise ValueError(f"beside is {self.beside}; it must name different probes")

    @property
    def places(self) -> Places:
        """Treated after every stage, then control."""
        return after_each((self.treated, self.control), self.stages)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The one, and the slopes beside it."""
        return (self.metric, *(f"{probe}/slope" for probe in self.beside))


@dataclasses.dataclass(frozen=True)
class RLSpeedConfig:
    """See `ask.rl_speed`."""

    kind: str
    text: str
    treated: str
    control: str
    stage: str
    threshold: float
    epsilon: float

    def __post_init__(self):
        if not 0 <= self.threshold < 1:
            raise ValueError(
                f"threshold is {self.threshold!r}; it must be an accuracy, below 1, or 0 for the "
                "lower of both last ones"
            )

    @property
    def places(self) -> Places:
        """Treated, control."""
        return (self.treated, self.stage), (self.control, self.stage)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The one that every RL curve has."""
        return ("rl_area",)


@dataclasses.dataclass(frozen=True)
class JailbreakConfig:
    """See `ask.jailbreak`."""

    kind: str
    text: str
    treated: str
    control: str
    stage: str
    probe: str
    benign: str
    size: int
    stages: tuple[str, ...]
    others: tuple[str, ...]
    prefill: str
    many_shot: str
    shots: tuple[int, ...]
    false_positives: float
    limit: int
    epsilon: float

    def __post_init__(self):
        if self.stage not in self.stages:
            raise ValueError(f"stages are {self.stages}; {self.stage!r} must be among them")
        if bool(self.many_shot) != bool(self.shots):
            raise ValueError(
                f"many_shot is {self.many_shot!r} and shots are {self.shots}; both or neither"
            )
        if list(self.shots) != sorted({*self.shots}):
            raise ValueError(f"shots are {self.shots}; they must increase")
        if self.shots[-1:] == (0,):
            raise ValueError("shots are (0,); at least one must be above 0")
        if not 0 <= self.false_positives < 1:
            raise ValueError(f"false_positives is {self.false_positives}; it must be 0 to below 1")
        if self.limit < 1:
            raise ValueError(f"limit is {self.limit}; it must be at least 1")

    @property
    def places(self) -> Places:
        """Every arm after every stage, stage by stage."""
        arms = (self.treated, self.control, *self.others)
        return tuple((arm, stage) for stage in self.stages for arm in arms)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Success of the attacks, and what is shown beside it."""
        shots = (f"{self.many_shot}/{n}/nll" for n in self.shots)
        named = (self.benign, *((self.prefill,) if self.prefill else ()))
        return (f"{self.probe}/{self.size}/accuracy", *named, *shots)
