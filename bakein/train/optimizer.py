"""AdamW with its learning-rate schedule."""

import dataclasses

import jax
import optax


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """One optimizer. Steps are optimizer updates.

    Attributes:
        learning_rate: the peak.
        schedule: "cosine" (warm-up, cosine to `final_share`), "wsd" (warm-up, stable, linear
            decay over the last `decay_share` of the steps) or "constant" (warm-up, constant).
        warmup_steps: linear from 0 to the peak.
        final_share: last learning rate as a share of the peak.
        decay_share: share of the steps that "wsd" spends decaying.
        b1: decay of the first moment.
        b2: decay of the second moment.
        eps: added to the root of the second moment.
        weight_decay: decoupled, on matrices only.
        clip_norm: global gradient norm above which gradients are scaled down; 0 turns it off.
    """

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

    SCHEDULES = ("cosine", "wsd", "constant")

    def __post_init__(self):
        """Refuses values that no optimizer can use."""
        if self.schedule not in self.SCHEDULES:
            raise ValueError(f"schedule is {self.schedule!r}, allowed: {', '.join(self.SCHEDULES)}")
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
    decay = max(1, round(config.decay_share * steps))
    falling = optax.linear_schedule(peak, peak * config.final_share, decay)
    return optax.join_schedules(
        [rising, optax.constant_schedule(peak), falling], [warmup, max(warmup, steps - decay)]
    )


def is_matrix(params):
    """True for the leaves that weight decay applies to: kernels and embeddings, by their names."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: path[-1].key in ("kernel", "embedding"), params
    )


def make_optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """Clipping, then AdamW [Loshchilov and Hutter, 1711.05101] with the schedule inside."""
    clip = optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity()
    return optax.chain(
        clip,
        optax.adamw(
            make_schedule(config, steps),
            b1=config.b1,
            b2=config.b2,
            eps=config.eps,
            weight_decay=config.weight_decay,
            mask=is_matrix,
        ),
    )
