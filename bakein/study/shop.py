"""What every stage of a run works with."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Mapping

import jax

from bakein import mesh as mesh_lib
from bakein import processes
from bakein.model import Decoder, ModelConfig, flops_per_token
from bakein.study.dag import Dag, Node
from bakein.study.digest import seed_of
from bakein.study.errors import naming
from bakein.study.materials import Materials
from bakein.study.probes import ProbeConfig
from bakein.study.programs import Programs
from bakein.study.schema import RLConfig, Study, SupervisedConfig
from bakein.study.workdir import StageDir, Workdir
from bakein.train.checkpoints import Checkpoints
from bakein.train.loop import Stage
from bakein.train.profile import traced
from bakein.train.state import Params, init_params, params_on
from bakein.train.stopwatch import Part


@dataclasses.dataclass(frozen=True)
class Shop:
    """What every stage of a run works with.

    Attributes:
        study: the study.
        dag: its nodes.
        materials: its data.
        workdir: where it stands.
        programs: jitted programs.
        orbax: held while a checkpoint is written or read.
        mending: held while a parent's parameters are loaded, and made again if need be.
        warn: prints one line.
        preempted: whether to save and leave now, see `processes.Notice`.
        traces: id of a node -> updates to trace, by the number of updates made before each.
    """

    study: Study
    dag: Dag
    materials: Materials
    workdir: Workdir
    programs: Programs
    orbax: contextlib.AbstractContextManager
    mending: contextlib.AbstractContextManager
    warn: Callable[[str], None]
    preempted: Callable[[], bool]
    traces: Mapping[str, range]

    @functools.cached_property
    def mesh(self) -> jax.sharding.Mesh:
        """The devices of this process; before it is asked for, none of them is touched."""
        with naming("config.mesh"):
            return mesh_lib.make_mesh(**dataclasses.asdict(self.study.mesh))

    @functools.cached_property
    def model(self) -> ModelConfig:
        """The model of the study."""
        return self.study.model_config(self.materials.tokenizer.vocab_size)

    @functools.cached_property
    def decoder(self) -> Decoder:
        """The model of the study on its mesh."""
        return make_decoder(self.study, self.materials, self.mesh)

    def folder(self, id: str) -> StageDir:
        """The folder of a node."""
        return self.workdir.stage(id, board_of(self.dag.nodes[id]))

    def checkpoints(self, id: str) -> Checkpoints:
        """The checkpoints of a node."""
        path = self.folder(id).checkpoints
        return Checkpoints(path, self.orbax, self.warn, background=not self.side_by_side)

    @property
    def side_by_side(self) -> bool:
        """Whether several stages may run at a time in this process.

        Programs on a mesh of one CPU device leave cores idle; others take all there is.
        """
        return self.mesh.size == 1 and jax.default_backend() == "cpu"

    def traced(
        self, node: Node, stage: Stage, part: Part
    ) -> contextlib.AbstractContextManager[Stage]:
        """The stage of a node, with the trace that was asked for, if any."""
        folder = self.workdir.profile(board_of(node))
        return traced(stage, self.traces.get(node.id, range(0)), folder, part)

    def key(self, node: Node, purpose: str) -> jax.Array:
        """A random key of a node: the same in every arm, another for every member and purpose."""
        return jax.random.key(seed_of(self.study.seed, "member", node.seed, node.stage, purpose))

    def init_params(self, node: Node) -> Params:
        """Random parameters."""

        def program():
            shardings = jax.tree.map(lambda x: x.sharding, params_on(self.decoder, self.mesh))
            make = functools.partial(init_params, self.decoder)
            return jax.jit(make, out_shardings=shardings)

        return self.programs.get("init", program)(self.key(node, "init"))

    def load_params(self, id: str) -> Params | None:
        """The parameters that a node ended with; None if it is not whole.

        Its checkpoint is damaged, or another process, which found it so, is mending it.
        """
        info = processes.agree(self.folder(id).info)
        if info.get("status") != "finished":
            return None
        steps = info["steps"]
        return self.checkpoints(id).load_params(steps, params_on(self.decoder, self.mesh))


def board_of(node: Node) -> str:
    """What TensorBoard calls a node: with a letter between its parts that none of them can have."""
    return node.name.replace(" ", ".")


def make_decoder(study: Study, materials: Materials, mesh: jax.sharding.Mesh) -> Decoder:
    """The model of a study, on a mesh."""
    config = study.model_config(materials.tokenizer.vocab_size)
    return Decoder(config, **mesh_lib.decoder_shardings(mesh))


def work_of(node: Node, shop: Shop) -> float:
    """FLOPs that a node will cost, about: for progress and plans."""
    model, config = shop.model, node.config
    if isinstance(config, SupervisedConfig):
        return 3 * flops_per_token(model, 0, config.length) * config.tokens / config.fill
    if isinstance(config, RLConfig):
        positions = config.prompt_length + config.max_new_tokens
        rows = config.steps * config.prompts * config.group
        return (1 + 3 * config.epochs) * flops_per_token(model, 0, positions) * rows * positions
    positions = 2 * config.max_new_tokens
    rows = config.problems * (config.samples + 1)
    rows = rows * len(config.variants) if isinstance(config, ProbeConfig) else rows + config.facts
    return flops_per_token(model, 0, positions) * rows * positions
