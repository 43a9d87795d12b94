"""Tokens per second of the train step and of the sampler, at two sizes of model.

    python benchmarks/throughput.py [--seconds 5] [--sizes quickstart 10M]

Each figure is the median over the repetitions that fit into --seconds (at least three), after one
that compiles; the range is that of the repetitions. A trained token is a position of the batch,
a sampled token one that the decode loop drew; the prompts' prefill is part of the time.
"""

import argparse
import dataclasses
import os
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from bakein.model import Decoder, ModelConfig, count_params, presets
from bakein.rl.rollout import SamplerConfig, rollout
from bakein.train.optimizer import OptimizerConfig, make_optimizer, make_schedule
from bakein.train.state import TrainState, init_params, new_state
from bakein.train.step import make_train_step


@dataclasses.dataclass(frozen=True)
class Size:
    """A model, the batch it trains on and the completions it samples (rows and tokens)."""

    model: ModelConfig
    train_rows: int
    train_length: int
    sample_rows: int
    prompt: int
    completion: int


SIZES = {
    "quickstart": Size(
        dataclasses.replace(
            presets.tiny(vocab_size=64), heads=8, kv_heads=8, head_dim=8, query_scale=8**-0.5
        ),
        *(12, 64, 256, 22, 22),
    ),
    "10M": Size(
        dataclasses.replace(
            presets.tiny(vocab_size=4096),
            d_model=256,
            layers=10,
            heads=4,
            kv_heads=4,
            head_dim=64,
            query_scale=64**-0.5,
            d_ff=704,
            scan_layers=True,
        ),
        *(8, 128, 64, 32, 32),
    ),
}
OPTIMIZER = OptimizerConfig(
    algorithm="adamw",
    learning_rate=1e-3,
    schedule="constant",
    warmup_steps=0,
    final_share=1.0,
    decay_share=0.0,
    b1=0.9,
    b2=0.98,
    eps=1e-8,
    weight_decay=0.01,
    clip_norm=1.0,
    mu_dtype="float32",
)


def rates(work: Callable[[], object], tokens: int, seconds: float) -> list[float]:
    """Tokens per second of each repetition of `work`, which handles `tokens` tokens."""
    jax.block_until_ready(work())
    found = []
    end = time.perf_counter() + seconds
    while len(found) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        jax.block_until_ready(work())
        found.append(tokens / (time.perf_counter() - start))
    return found


def training(size: Size) -> tuple[Any, TrainState, dict[str, np.ndarray]]:
    """The jitted supervised step with its optimizer, a first state and a batch of host arrays."""
    decoder = Decoder(size.model)
    tx = make_optimizer(OPTIMIZER, steps=1000)
    step = make_train_step(decoder, tx, make_schedule(OPTIMIZER, 1000), accumulation=1, z_loss=0.0)
    shape = (size.train_rows, size.train_length)
    tokens_BL = np.random.default_rng(0).integers(1, size.model.vocab_size, shape, np.int32)
    batch = {
        "tokens": tokens_BL,
        "targets": np.roll(tokens_BL, -1, axis=1),
        "segments": np.ones(shape, np.int32),
        "positions": np.broadcast_to(np.arange(shape[1], dtype=np.int32), shape),
        "mask": np.ones(shape, np.float32),
    }
    state = new_state(jax.jit(partial(init_params, decoder))(jax.random.key(0)), tx)
    return jax.jit(step, donate_argnums=0), state, batch


def train_rates(size: Size, seconds: float) -> list[float]:
    """Rates of the supervised step, with its optimizer."""
    step, state, batch = training(size)
    tokens = batch["tokens"].size
    batch = jax.device_put(batch)

    def work():
        nonlocal state
        state, metrics = step(state, batch)
        return metrics

    return rates(work, tokens, seconds)


def sample_rates(size: Size, seconds: float) -> list[float]:
    """Rates of the sampler at temperature 1; no token stops a row, so all are full length."""
    decoder = Decoder(size.model)
    params = jax.jit(partial(init_params, decoder))(jax.random.key(0))
    config = SamplerConfig(
        max_new_tokens=size.completion, temperature=1.0, top_k=0, top_p=1.0, stop_id=-1, pad_id=0
    )
    shape = (size.sample_rows, size.prompt)
    prompts_BP = jax.random.randint(jax.random.key(1), shape, 1, size.model.vocab_size)
    keys_B = jax.random.split(jax.random.key(2), size.sample_rows)
    draw = jax.jit(partial(rollout, decoder, config=config))
    segments_BP = np.ones(shape, np.int32)
    work = partial(draw, params, prompts_BP, segments_BP, keys_B)
    return rates(work, size.sample_rows * size.completion, seconds)


def machine() -> str:
    """The accelerator, or for a CPU its model and how many cores this process may use."""
    device = jax.devices()[0]
    name = f"{jax.device_count()} x {device.device_kind}"
    cpuinfo = Path("/proc/cpuinfo")
    if device.platform == "cpu" and cpuinfo.exists():
        models = [line for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = models[0].partition(":")[2].strip() if models else platform.machine()
        name = f"{model}, {len(os.sched_getaffinity(0))} cores"
    return f"{name}; jax {jax.__version__}, Python {platform.python_version()}"


def table(names: list[str], seconds: float) -> str:
    """The measurements as text."""
    lines = [machine(), "", f"{'model':<12}{'parameters':>12}  {'':<24}tokens/s  (range)"]
    for name in names:
        size = SIZES[name]
        train = f"train {size.train_rows} x {size.train_length}"
        sample = f"sample {size.sample_rows} x {size.prompt} + {size.completion}"
        for label, measure in ((train, train_rates), (sample, sample_rates)):
            found = measure(size, seconds)
            lines.append(
                f"{name:<12}{count_params(size.model):>12,}  {label:<22}"
                f"{statistics.median(found):>10,.0f}  ({min(found):,.0f} to {max(found):,.0f})"
            )
    return "\n".join(lines)


def main() -> None:
    """Measures what the command line asks for."""
    parser = argparse.ArgumentParser(description="Tokens per second of training and sampling.")
    parser.add_argument("--seconds", type=float, default=5.0, help="time for each figure")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    args = parser.parse_args()
    print(table(args.sizes, args.seconds))


if __name__ == "__main__":
    main()
