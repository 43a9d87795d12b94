"""The one loop: restore, advance, record, save. Supervised training and RL both run in it.

What differs between stages is passed in as functions; what is the same stands here once: resuming
bit for bit, records that agree with the checkpoint, and the stop at the first non-finite number.
"""

import dataclasses
import functools
import math
import operator
import time
from collections.abc import Callable
from typing import Any, Protocol

import jax

from bakein import processes
from bakein.processes import Preempted
from bakein.train.checkpoints import Checkpoints, Position
from bakein.train.state import TrainState
from bakein.train.stopwatch import Part, Stopwatch

Record = dict[str, Any]


class Records(Protocol):
    """An append-only file of records, each with the number of updates made as `step`."""

    def append(self, records: list[Record]) -> None:
        """Adds records at the end."""

    def flush(self) -> None:
        """When this returns, they outlive the machine."""

    def keep_until(self, step: int) -> None:
        """Drops the records of steps after `step`: the process died before their checkpoint."""


@dataclasses.dataclass(frozen=True)
class LoopConfig:
    """How long, and how often.

    Attributes:
        steps: updates in all.
        log_every: updates between two records.
        save_every: updates between two checkpoints; the last update always makes one.
        save_seconds: and where a record is due and the last checkpoint is so old, 0 for never.
        observe_every: updates between two observations (see `run_loop`); 0 for none.
    """

    steps: int
    log_every: int
    save_every: int
    save_seconds: float
    observe_every: int


class NonFinite(RuntimeError):
    """A loss, a gradient or a parameter was not a finite number; the stage was stopped."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """What the loop is told about one stage, as functions.

    Attributes:
        advance: (number of updates made, state) -> (state, metrics, context): one update. Metrics
            are scalars, on the device or the host, or functions that find one where a record is
            written, together with the other processes; context says what the update learnt from,
            in words, and is called only to report a failure.
        observe: (number of updates made, state) -> records, such as a held-out accuracy.
        data: whose position is part of the state, or None.
        progress: called with the number of updates made; may raise to stop the loop.
        preempted: asked after every update; True saves and leaves.
    """

    advance: Callable[[int, TrainState], tuple[TrainState, dict[str, Any], Callable[[], str]]]
    observe: Callable[[int, TrainState], list[Record]]
    data: Position | None
    progress: Callable[[int], None]
    preempted: Callable[[], bool]


def run_loop(
    begin: Callable[[], TrainState],
    abstract: TrainState,
    stage: Stage,
    config: LoopConfig,
    checkpoints: Checkpoints,
    records: Records,
    watch: Stopwatch,
) -> float:
    """Runs a stage to its end, from its newest checkpoint if there is one.

    Args:
        begin: makes the state before the first update; not called where one is restored, so that
            there never are two.
        abstract: shapes, dtypes and shardings of the state, for restoring.
        stage: what an update is.
        config: how long, and how often.
        checkpoints: where the state goes.
        records: where the metrics go.
        watch: is told what the time is spent on: `compute` is handing over an update and waiting
            for its metrics; `checkpoint`, `evaluation` (observing) and `records` are what they
            say; the rest is told by `stage`. Of a session, the first update and the first
            observation are `compile`.

    Returns:
        Useful seconds, see `Stopwatch.useful`, of the updates that led to the end: of all sessions,
        without what was done after a checkpoint and lost.

    Raises:
        NonFinite: with the step, what it learnt from, and the last good checkpoint.
        Preempted: `stage.preempted` said so; the state is saved.
    """
    part = watch.part
    restored = checkpoints.restore(abstract, stage.data)
    start, useful = 0, 0.0
    before = watch.useful()
    if restored is None:
        state = begin()
        records.keep_until(-1)
        observed = _observation(stage, config, 0, state, part)
        with part("records"):
            records.append(observed)
    else:
        start, state, useful = restored
        del restored  # the first update takes over its buffers
        records.keep_until(start)
    pending, saved = [], time.monotonic()
    for made in range(start + 1, config.steps + 1):
        with part("compute", compiles=True):
            state, metrics, context = stage.advance(made - 1, state)
        pending.append((made, metrics, context))
        saving = made % config.save_every == 0 or made == config.steps
        if config.save_seconds and made % config.log_every == 0 and not saving:
            old = functools.partial(operator.ge, time.monotonic() - saved, config.save_seconds)
            saving = processes.agree(old)
        observed = _observation(stage, config, made, state, part)
        leaving = stage.preempted() and made < config.steps
        if saving or leaving or observed or made % config.log_every == 0:
            with part("compute"):
                lines = _fetch(pending, config, checkpoints)
            with part("records"):
                records.append(lines + observed)
            pending = []
            if saving or leaving:
                with part("records"):
                    records.flush()  # a checkpoint never knows of more updates than they do
                kept = useful + watch.useful() - before
                with part("checkpoint"):
                    checkpoints.save(made, state, stage.data, kept)
                saved = time.monotonic()
            if leaving:
                with part("checkpoint"):
                    checkpoints.wait()
                raise Preempted
            stage.progress(made)
    with part("checkpoint"):
        checkpoints.wait()
    return useful + watch.useful() - before


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
    numbers = [{n: v for n, v in m.items() if not callable(v)} for _, m, _ in pending]
    lines = []
    for (made, metrics, context), fetched in zip(pending, jax.device_get(numbers), strict=True):
        line = {n: v if isinstance(v, int) else float(v) for n, v in fetched.items()}
        bad = [name for name, value in line.items() if not math.isfinite(value)]
        if bad:
            checkpoints.wait()
            saved = checkpoints.steps()
            last = f"step {saved[-1]}" if saved else "none yet"
            raise NonFinite(
                f"{bad[0]} is {line[bad[0]]} at step {made}, learning from {context()}; "
                f"last good checkpoint: {last} in {checkpoints.path}"
            )
        if made % config.log_every == 0 or made == config.steps:
            counts = {n: v() for n, v in metrics.items() if callable(v)}
            lines.append({"step": made, **line, **counts})
    return lines
