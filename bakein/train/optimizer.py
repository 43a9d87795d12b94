"""AdamW, or Muon beside it, with the learning-rate schedule."""

import dataclasses
import math

import jax
import optax
from optax.contrib import MuonDimensionNumbers

# The matrices of a layer, and which of their axes are contracted and which come out; counted from
# the end, as scanned layers have one more in front. Gate and up are two matrices.
_MATRICES = {
    "query": MuonDimensionNumbers((-3,), (-2, -1)),
    "key": MuonDimensionNumbers((-3,), (-2, -1)),
    "value": MuonDimensionNumbers((-3,), (-2, -1)),
    "output": MuonDimensionNumbers((-3, -2), (-1,)),
    "gate_up": MuonDimensionNumbers((-3,), (-1,)),
    "down": MuonDimensionNumbers((-2,), (-1,)),
}
_MUON_RMS = 0.2  # of an update's entries, about AdamW's: one learning rate does for both


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """One optimizer. Steps are optimizer updates.

    Attributes:
        algorithm: "adamw", or "muon": Muon for the matrices of the layers and AdamW for the rest.
        learning_rate: the peak.
        schedule: "cosine" (warm-up, cosine to `final_share`), "wsd" (warm-up, stable, linear
            decay over the last `decay_share` of the steps) or "constant" (warm-up, constant).
        warmup_steps: linear from 0 to the peak.
        final_share: where the decay ends, as a share of the peak. It ends one update past the
            last: update `steps` would have this rate, and `steps` - 1 is one short of it.
        decay_share: share of the steps that "wsd" spends decaying; less where the warm-up, which
            goes first, leaves less.
        b1: decay of the first moment; Muon's momentum.
        b2: decay of the second moment.
        eps: added to the root of the second moment.
        weight_decay: decoupled, on matrices only.
        clip_norm: global gradient norm above which gradients are scaled down; 0 turns it off.
        mu_dtype: of the first moment as it is kept, "float32" or "bfloat16".
    """

    algorithm: str
    learning_rate: float
    schedule: str
    warmup_steps: int
    final_share: float
    decay_share: float
    b1: float
    b2: float
    eps: float
    weight_decay: float
    clip_norm: float
    mu_dtype: str

    ALGORITHMS = ("adamw", "muon")
    SCHEDULES = ("cosine", "wsd", "constant")
    MU_DTYPES = ("float32", "bfloat16")

    def __post_init__(self):
        """Refuses values that no optimizer can use."""
        words = {
            "algorithm": self.ALGORITHMS,
            "schedule": self.SCHEDULES,
            "mu_dtype": self.MU_DTYPES,
        }
        for name, allowed in words.items():
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}, allowed: {', '.join(allowed)}"
                )
        positive = ("learning_rate", "eps")
        for name in positive:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, allowed: above 0")
        for name in ("warmup_steps", "weight_decay", "clip_norm"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}, allowed: 0 or more")
        for name in ("final_share", "decay_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, allowed: 0 to 1")
        for name in ("b1", "b2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, allowed: 0 to below 1")


def make_schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """The learning rate as a function of the update's number, over `steps` updates."""
    peak, warmup = config.learning_rate, min(config.warmup_steps, steps)
    rising = optax.linear_schedule(peak / (warmup + 1), peak, warmup)
    if config.schedule == "constant":
        return optax.join_schedules([rising, optax.constant_schedule(peak)], [warmup])
    if config.schedule == "cosine":
        falling = optax.cosine_decay_schedule(peak, max(1, steps - warmup), config.final_share)
        return optax.join_schedules([rising, falling], [warmup])
    begin = max(warmup, steps - max(1, round(config.decay_share * steps)))
    falling = optax.linear_schedule(peak, peak * config.final_share, max(1, steps - begin))
    return optax.join_schedules([rising, optax.constant_schedule(peak), falling], [warmup, begin])


def is_matrix(params):
    """True for the leaves that weight decay applies to: kernels and embeddings, by their names."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: path[-1].key in ("kernel", "embedding"), params
    )


def make_optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """Clipping, then AdamW [1711.05101] or Muon [2502.16982], with the schedule inside."""
    clip = optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity()
    adamw = optax.adamw(
        make_schedule(config, steps),
        b1=config.b1,
        b2=config.b2,
        eps=config.eps,
        weight_decay=config.weight_decay,
        mask=is_matrix,
        mu_dtype=config.mu_dtype,
    )
    if config.algorithm == "adamw":
        return optax.chain(clip, adamw)
    muon = optax.chain(
        optax.contrib.scale_by_muon(
            beta=config.b1,
            eps=config.eps,
            mu_dtype=config.mu_dtype,
            weight_dimension_numbers=lambda params: _by_matrix(lambda _, axes: axes, params),
        ),
        optax.stateless(lambda updates, _: _by_matrix(_scale_by_shape, updates)),
        optax.add_decayed_weights(config.weight_decay),
        optax.scale_by_learning_rate(make_schedule(config, steps)),
    )
    # Not `optax.contrib.muon`: its AdamW has Nesterov momentum, and one weight decay for all.
    return optax.chain(clip, optax.partition({"muon": muon, "adamw": adamw}, muon_or_adamw))


def muon_or_adamw(params):
    """Which of the two updates each leaf, by its name: "muon" the matrices of the layers.

    Raises:
        ValueError: a layer has a kernel of which it is not known how it is a matrix.
    """

    def which(path, _):
        names = [part.key for part in path]
        if not names[0].startswith("layer") or names[-1] != "kernel":
            return "adamw"
        if names[-2] not in _MATRICES:
            raise ValueError(f"{'/'.join(names)}: Muon does not know which of its axes come out")
        return "muon"

    return jax.tree_util.tree_map_with_path(which, params)


def _by_matrix(function, params):
    """function(leaf, axes=its dimension numbers) of every matrix of the layers."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: function(leaf, axes=_MATRICES[path[-2].key]), params
    )


def _scale_by_shape(update, axes):
    """An orthogonal matrix [m, n] times √max(m, n) has entries of RMS 1 [2502.16982, eq. 4]."""
    sides = (math.prod(update.shape[i] for i in side) for side in axes)
    return update * (_MUON_RMS * max(sides) ** 0.5)
