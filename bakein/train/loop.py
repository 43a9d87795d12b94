"""The one loop: restore, advance, record, save. Supervised training and RL both run in it.

What differs between stages is passed in as functions; what is the same stands here once: resuming
bit for bit, records that agree with the checkpoint, and the stop at the first non-finite number.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Protocol

import jax

from bakein.train.checkpoints import Checkpoints
from bakein.train.state import TrainState
from bakein.train.stopwatch import Part

Record = dict[str, Any]


class Records(Protocol):
    """An append-only file of records, each with the number of updates made as `step`."""

    def append(self, records: list[Record]) -> None:
        """Adds records at the end."""

    def keep_until(self, step: int) -> None:
        """Drops the records of steps after `step`: the process died before their checkpoint."""


@dataclasses.dataclass(frozen=True)
class LoopConfig:
    """How long, and how often.

    Attributes:
        steps: updates in all.
        log_every: updates between two records.
        save_every: updates between two checkpoints; the last update always makes one.
        observe_every: updates between two observations (see `run_loop`); 0 for none.
    """

    steps: int
    log_every: int
    save_every: int
    observe_every: int


class NonFinite(RuntimeError):
    """A loss, a gradient or a parameter was not a finite number; the stage was stopped."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """What the loop is told about one stage, as functions.

    Attributes:
        advance: (number of updates made, state) -> (state, metrics, context): one update. Metrics
            are scalars, on the device or the host; context says what the update learnt from, in
            words, and is called only to report a failure.
        observe: (number of updates made, state) -> records, such as a held-out accuracy.
        data: the grain iterator whose position is part of the state, or None.
        progress: called with the number of updates made; may raise to stop the loop.
    """

    advance: Callable[[int, TrainState], tuple[TrainState, dict[str, Any], Callable[[], str]]]
    observe: Callable[[int, TrainState], list[Record]]
    data: Any
    progress: Callable[[int], None]


def run_loop(
    state: TrainState,
    abstract: TrainState,
    stage: Stage,
    config: LoopConfig,
    checkpoints: Checkpoints,
    records: Records,
    part: Part,
) -> TrainState:
    """Runs a stage to its end, from its newest checkpoint if there is one.

    Args:
        state: the state before the first update.
        abstract: shapes, dtypes and shardings of `state`, for restoring.
        stage: what an update is.
        config: how long, and how often.
        checkpoints: where the state goes.
        records: where the metrics go.
        part: tells a stopwatch what the time is spent on: `compute` is handing over an update and
            waiting for its metrics; `checkpoint`, `evaluation` (observing) and `records` are what
            they say; the rest is told by `stage`. Of a session, the first update and the first
            observation are `compile`.

    Returns:
        The state after `config.steps` updates.

    Raises:
        NonFinite: with the step, what it learnt from, and the last good checkpoint.
    """
    restored = checkpoints.restore(abstract, stage.data)
    start = 0
    if restored is None:
        records.keep_until(-1)
        observed = _observation(stage, config, 0, state, part)
        with part("records"):
            records.append(observed)
    else:
        start, state = restored
        records.keep_until(start)
    pending = []
    for made in range(start + 1, config.steps + 1):
        with part("compute", compiles=True):
            state, metrics, context = stage.advance(made - 1, state)
        pending.append((made, metrics, context))
        saving = made % config.save_every == 0 or made == config.steps
        observed = _observation(stage, config, made, state, part)
        if saving or observed or made % config.log_every == 0:
            with part("compute"):
                lines = _fetch(pending, config, checkpoints)
            with part("records"):
                records.append(lines + observed)
            pending = []
            if saving:
                with part("checkpoint"):
                    checkpoints.save(made, state, stage.data)
            stage.progress(made)
    return state


def _observation(
    stage: Stage, config: LoopConfig, made: int, state: TrainState, part: Part
) -> list[Record]:
    """What there is to observe after `made` updates."""
    if not config.observe_every:
        return []
    if made % config.observe_every and made != config.steps:
        return []
    with part("evaluation", compiles=True):
        return stage.observe(made, state)


def _fetch(pending, config: LoopConfig, checkpoints: Checkpoints) -> list[Record]:
    """Fetches the pending metrics in one transfer, checks every one, returns each `log_every`th."""
    fetched = jax.device_get([metrics for _, metrics, _ in pending])
    lines = []
    for (made, _, context), metrics in zip(pending, fetched, strict=True):
        line = {n: v if isinstance(v, int) else float(v) for n, v in metrics.items()}
        bad = [name for name, value in line.items() if not math.isfinite(value)]
        if bad:
            saved = checkpoints.steps()
            last = f"step {saved[-1]}" if saved else "none yet"
            raise NonFinite(
                f"{bad[0]} is {line[bad[0]]} at step {made}, learning from {context()}; "
                f"last good checkpoint: {last} in {checkpoints.path}"
            )
        if made % config.log_every == 0 or made == config.steps:
            lines.append({"step": made, **line})
    return lines
