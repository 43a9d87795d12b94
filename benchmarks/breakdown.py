"""What the step-time breakdown costs: the same loop with its stopwatch and without.

    python benchmarks/breakdown.py [--seconds 60] [--updates 10]

The two take turns, a few updates at a time, in an order that alternates; the figure is the median
over the pairs of (with / without − 1), with its quartiles, of wall time and of the CPU time of all
threads, which other processes disturb less. The last line is the stopwatch alone: the parts of an
update, without the update. The model is the quickstart's, on a batch of its size: larger ones
have longer updates and the same parts.
"""

import argparse
import contextlib
import functools
import statistics
import time
from collections.abc import Callable

import jax
from throughput import SIZES, machine, training

from bakein.train.loop import LoopConfig, Stage, run_loop
from bakein.train.state import TrainState
from bakein.train.stopwatch import Stopwatch

LOG_EVERY = 10
NOTHING = contextlib.nullcontext()


class Nowhere:
    """Checkpoints and records that go nowhere: what they cost is not measured here."""

    def restore(self, *_: object) -> None:
        """There is none."""

    def save(self, *_: object) -> None:
        """Is not done."""

    def wait(self) -> None:
        """For nothing."""

    def append(self, *_: object) -> None:
        """Is not done."""

    def flush(self) -> None:
        """Nothing."""

    def keep_until(self, *_: object) -> None:
        """Is not done."""


class Untimed:
    """No stopwatch."""

    def part(self, name: str, *, compiles: bool = False) -> contextlib.AbstractContextManager[None]:
        """Counts nothing."""
        return NOTHING

    def useful(self) -> float:
        """Not known."""
        return 0.0


def make_loop(updates: int) -> Callable[[Stopwatch | Untimed], None]:
    """A loop of `updates` updates of the quickstart's model; called again, it goes on."""
    step, state, batch = training(SIZES["quickstart"])
    config = LoopConfig(updates, LOG_EVERY, updates, save_seconds=0.0, observe_every=0)

    def loop(watch: Stopwatch | Untimed) -> None:
        def advance(_: int, made_of: TrainState):
            nonlocal state
            with watch.part("data"):
                rows = jax.device_put(batch)
            state, metrics = step(made_of, rows)
            return state, metrics, str

        stage = Stage(advance, lambda *_: [], None, lambda _: None, lambda: False)
        run_loop(lambda: state, state, stage, config, Nowhere(), Nowhere(), watch)

    return loop


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Seconds of wall time and of CPU time."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def alone(updates: int) -> float:
    """CPU seconds of the stopwatch for one update: its parts, and a tenth of those of a record."""
    part = Stopwatch(time.monotonic, {}).part
    start = time.process_time()
    for made in range(1, updates + 1):
        with part("compute", compiles=True), part("data"):
            pass
        if made % LOG_EVERY == 0:
            with part("compute"):
                pass
            with part("records"):
                pass
    return (time.process_time() - start) / updates


def report(updates: int, seconds: float) -> str:
    """The measurements as text."""
    loop = make_loop(updates)
    loop(Untimed())
    pairs: list[tuple[tuple[float, float], tuple[float, float]]] = []
    end = time.perf_counter() + seconds
    while len(pairs) < 3 or time.perf_counter() < end:
        # As in a stage: a stopwatch is made once, for all its updates.
        ways = {"with": Stopwatch(time.monotonic, {}), "without": Untimed()}
        order = list(ways) if len(pairs) % 2 else list(reversed(ways))
        taken = {way: timed(functools.partial(loop, ways[way])) for way in order}
        pairs.append((taken["with"], taken["without"]))
    lines = [machine(), "", f"{len(pairs)} pairs of {updates} updates"]
    medians = []
    for index, name in enumerate(("wall", "CPU")):
        medians.append(statistics.median(without[index] for _, without in pairs) / updates)
        ratios = [timed[index] / without[index] - 1 for timed, without in pairs]
        low, middle, high = statistics.quantiles(ratios, n=4)
        lines.append(
            f"{name:<6}{middle:+7.2%}  (quartiles {low:+.2%} to {high:+.2%}) "
            f"of {1000 * medians[-1]:.2f} ms an update"
        )
    cost = min(alone(10_000) for _ in range(10))
    lines.append(f"alone {cost / medians[1]:+7.2%}  of CPU ({1e6 * cost:.1f} µs an update)")
    return "\n".join(lines)


def main() -> None:
    """Measures what the command line asks for."""
    parser = argparse.ArgumentParser(description="The cost of the step-time breakdown.")
    parser.add_argument("--seconds", type=float, default=60.0, help="time for all pairs")
    parser.add_argument("--updates", type=int, default=10, help="of each turn")
    args = parser.parse_args()
    print(report(args.updates, args.seconds))


if __name__ == "__main__":
    main()
