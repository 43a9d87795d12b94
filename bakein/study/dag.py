"""Arms × stages × seeds as a DAG of content-addressed nodes, parents before children."""

import dataclasses

import bakein
from bakein.study.digest import digest
from bakein.study.materials import Materials
from bakein.study.schema import EvaluationConfig, StageConfig, Study

# What changes how a stage is run, and not what comes out.
_OPERATIONAL = ("prefetch", "save_every")


@dataclasses.dataclass(frozen=True)
class Node:
    """One stage of one member: trained once, however many arms share it.

    Attributes:
        id: hash of all that the node depends on.
        kind: "supervised", "rl" or "eval".
        stage: its name in the study.
        seed: number of the member.
        arm: the first arm that needs it.
        parent: id of the node whose parameters it starts from, "" for none.
        config: of the stage.
        fingerprint: of its data.
    """

    id: str
    kind: str
    stage: str
    seed: int
    arm: str
    parent: str
    config: StageConfig | EvaluationConfig
    fingerprint: str

    @property
    def name(self) -> str:
        """For people; unique in a study, not across changes of it."""
        evaluation = " evaluation" if self.kind == "eval" else ""
        return f"{self.arm} {self.stage}{evaluation} {self.seed}"


@dataclasses.dataclass(frozen=True)
class Dag:
    """All nodes of a study.

    Attributes:
        nodes: id -> node, parents before children, and member by member.
        places: (arm, stage, seed) -> id of the training node there.
        evals: id of a training node -> id of its evaluation.
    """

    nodes: dict[str, Node]
    places: dict[tuple[str, str, int], str]
    evals: dict[str, str]


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
    fingerprints: dict[str, str] = {}

    def add(kind: str, stage: str, seed: int, arm: str, parent: str, config) -> str:
        values = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
        kept = {key: value for key, value in values.items() if key not in _OPERATIONAL}
        # A stage's data depends on its own configuration and member, not on its parent.
        data_key = digest([stage, seed if kind != "eval" else None, kept])
        if data_key not in fingerprints:
            fingerprints[data_key] = materials.fingerprint(stage, config, seed)
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
        id = digest(identity)
        if id not in nodes:
            nodes[id] = Node(id, kind, stage, seed, arm, parent, config, fingerprints[data_key])
        return id

    for seed in study.members:
        for arm, stages in study.arms.items():
            for stage, config in stages.items():
                parent = places[arm, config.parent, seed] if config.parent else ""
                id = add(config.kind, stage, seed, arm, parent, config)
                places[arm, stage, seed] = id
                evals[id] = add("eval", stage, seed, arm, id, study.evaluation)
    return Dag(nodes=nodes, places=places, evals=evals)
