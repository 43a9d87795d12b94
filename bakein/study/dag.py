"""Arms × stages × seeds as a DAG of content-addressed nodes, parents before children."""

import dataclasses

import bakein
from bakein.study.digest import digest
from bakein.study.materials import Materials
from bakein.study.probes import ProbeConfig
from bakein.study.schema import EvaluationConfig, StageConfig, Study

# What changes how a stage is run, and not what comes out.
_OPERATIONAL = ("prefetch", "save_every", "save_seconds")
# What changes after which stages a probe is made, or what is read off it, and not what it finds.
_ELSEWHERE = ("stages", "k")


@dataclasses.dataclass(frozen=True)
class Node:
    """One stage of one member: trained once, however many arms share it.

    Attributes:
        id: hash of all that the node depends on.
        kind: "supervised", "rl", "eval" or "probe".
        stage: its name in the study; of an evaluation or a probe, the stage that it is made after.
        seed: number of the member.
        arm: the first arm that needs it.
        parent: id of the node whose parameters it starts from, "" for none.
        config: of the stage.
        fingerprint: of its data.
        probe: its name in the study, "" for other kinds.
    """

    id: str
    kind: str
    stage: str
    seed: int
    arm: str
    parent: str
    config: StageConfig | EvaluationConfig | ProbeConfig
    fingerprint: str
    probe: str

    @property
    def name(self) -> str:
        """For people; unique in a study, not across changes of it."""
        what = {"eval": " evaluation", "probe": f" probe {self.probe}"}.get(self.kind, "")
        return f"{self.arm} {self.stage}{what} {self.seed}"


@dataclasses.dataclass(frozen=True)
class Dag:
    """All nodes of a study.

    Attributes:
        nodes: id -> node, parents before children, and member by member.
        places: (arm, stage, seed) -> id of the training node there.
        evals: id of a training node -> id of its evaluation.
        probes: probe -> id of a training node -> id of the probe there.
    """

    nodes: dict[str, Node]
    places: dict[tuple[str, str, int], str]
    evals: dict[str, str]
    probes: dict[str, dict[str, str]]


def build_dag(study: Study, materials: Materials) -> Dag:
    """The nodes of a study. Equal nodes of different arms are one node.

    An id is a hash of the stage's configuration, its member's seed, the study's seed, the model,
    the tokenizer, a fingerprint of its data, and its parent's id.
    """
    model = digest(study.model)
    tokenizer = digest(materials.tokenizer)
    nodes: dict[str, Node] = {}
    places: dict[tuple[str, str, int], str] = {}
    evals: dict[str, str] = {}
    probes: dict[str, dict[str, str]] = {name: {} for name in study.probes}
    fingerprints: dict[str, str] = {}

    def add(kind: str, stage: str, seed: int, arm: str, parent: str, config, probe="") -> str:
        values = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
        left_out = _OPERATIONAL + (_ELSEWHERE if probe else ())
        kept = {key: value for key, value in values.items() if key not in left_out}
        # A stage's data depends on its own configuration and member, not on its parent.
        reads = probe or stage
        data_key = digest([kind, reads, None if kind in ("eval", "probe") else seed, kept])
        if data_key not in fingerprints:
            fingerprints[data_key] = materials.fingerprint(reads, config, seed)
        identity = {
            "version": bakein.__version__,
            "kind": kind,
            "stage": stage,
            "config": kept,
            "model": model,
            "tokenizer": tokenizer,
            "study_seed": study.seed,
            "seed": seed,
            "fingerprint": fingerprints[data_key],
            "parent": parent,
        }
        if probe:
            identity["probe"] = probe
        id = digest(identity)
        if id not in nodes:
            data = fingerprints[data_key]
            nodes[id] = Node(id, kind, stage, seed, arm, parent, config, data, probe)
        return id

    for seed in study.members:
        for arm, stages in study.arms.items():
            for stage, config in stages.items():
                parent = places[arm, config.parent, seed] if config.parent else ""
                id = add(config.kind, stage, seed, arm, parent, config)
                places[arm, stage, seed] = id
                evals[id] = add("eval", stage, seed, arm, id, study.evaluation)
                for name, probe in study.probes.items():
                    if probe.follows(stage):
                        probes[name][id] = add("probe", stage, seed, arm, id, probe, name)
    return Dag(nodes=nodes, places=places, evals=evals, probes=probes)
