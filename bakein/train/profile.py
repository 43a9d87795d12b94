"""XProf traces of some of a stage's updates: what the host and the devices did, and when."""

import contextlib
import dataclasses
import pathlib
import tempfile
from collections.abc import Iterator

import jax

from bakein.paths import Path, copy_tree, in_bucket
from bakein.train.loop import Stage
from bakein.train.stopwatch import Part


@contextlib.contextmanager
def traced(stage: Stage, updates: range, folder: Path, part: Part) -> Iterator[Stage]:
    """The stage, which writes a trace of some of its updates while it runs.

    The profiler is the process's: what other threads do meanwhile is in the trace as well.

    Args:
        stage: what is traced.
        updates: by the number of updates made before; one range; an empty one: no trace.
        folder: where the trace goes, into `plugins/profile/TIME`, as TensorBoard's plugin wants it.
        part: tells a stopwatch what tracing itself costs, as `profile`.

    Yields:
        the stage to run.
    """
    if not updates:
        yield stage
        return
    options = jax.profiler.ProfileOptions()
    # Every Python call, which makes the host look slow; the parts of the stopwatch are named.
    options.python_tracer_level = 0
    with contextlib.ExitStack() as outside, contextlib.ExitStack() as trace:
        desk = folder
        if in_bucket(folder):  # where the profiler cannot write
            desk = pathlib.Path(outside.enter_context(tempfile.TemporaryDirectory()))
            outside.callback(copy_tree, desk, folder)
        begun = False

        def advance(made, state):
            nonlocal begun
            if made not in updates:
                return stage.advance(made, state)
            if not begun:
                with part("profile"):
                    jax.block_until_ready(state)  # nothing of the update before
                    jax.profiler.start_trace(desk, profiler_options=options)
                trace.callback(jax.profiler.stop_trace)
                begun = True
            with jax.profiler.StepTraceAnnotation("train", step_num=made + 1):
                result = stage.advance(made, state)
            if made + 1 == updates.stop:
                with part("profile"):
                    jax.block_until_ready(result[:2])
                    trace.close()
            return result

        yield dataclasses.replace(stage, advance=advance)
