"""The golden record of what train steps at real sizes take, by the TPU compiler.

    python benchmarks/peak_bytes.py                      compile all, and say what differs
    python benchmarks/peak_bytes.py --write              and write tests/golden/peak_bytes.json
    python benchmarks/peak_bytes.py --only dense_150m    only those of this preset

Compiling takes half a minute each of a processor; the suite compiles the smallest and compares it.
Bytes are of one device, at the compiler's lowest effort; `seconds` are of the processor.
"""

import argparse
import dataclasses
import json
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

from bakein import mesh as mesh_lib
from bakein.model import Decoder, presets
from bakein.plan import libtpu
from bakein.plan.memory import Memory
from bakein.plan.programs import train_program
from bakein.plan.study import Planned, plan_program
from bakein.plan.topology import Topology, make_topology, parse
from bakein.study.config import resolve
from bakein.study.experiment import load_experiment

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden" / "peak_bytes.json"


@dataclasses.dataclass(frozen=True)
class Case:
    """A preset's train step on a machine: FSDP over all chips, splash attention, full remat.

    Attributes:
        preset: a function of `bakein.model.presets`.
        topology: v5e-16, v5p-128 (TensorCores, so 64 chips) or v6e-256.
        rows: of one device.
        length: positions of a row.
    """

    preset: str
    topology: str
    rows: int
    length: int

    @property
    def name(self) -> str:
        """Of its record."""
        return f"{self.preset} on {self.topology}, {self.rows} x {self.length} a device"


CASES = (
    Case("dense_150m", "v5e:4x4", 8, 2048),
    Case("llama3_1b", "v5e:4x4", 2, 4096),
    Case("llama3_1b", "v5p:4x4x4", 8, 4096),
    Case("llama3_8b", "v5p:4x4x4", 4, 8192),
    Case("llama3_8b", "v6e:16x16", 2, 8192),
    Case("llama3_70b", "v5p:4x4x4", 2, 8192),
)


def plan_step(
    case: Case,
    topology: Topology,
    attention: str = "splash",
    logits_chunk: int = 1024,
    remat: str = "full",
) -> Planned:
    """Compiles a case."""
    mesh = mesh_lib.make_mesh(data=1, fsdp=-1, tensor=1, devices=topology.devices)
    config = dataclasses.replace(
        getattr(presets, case.preset)(),
        attention=attention,
        logits_chunk=logits_chunk,
        remat=remat,
    )
    study = resolve(load_experiment(f"{ROOT / 'experiments' / 'front_loading.py'}:paper", []))
    batch = case.rows * len(topology.devices)
    stage = dataclasses.replace(
        study.arms["none"]["pretrain"], batch=batch, length=case.length, shards=1, accumulation=1
    )
    decoder = Decoder(config, **mesh_lib.decoder_shardings(mesh))
    return plan_program(train_program(case.preset, stage, decoder, mesh), topology, mesh)


def measure(case: Case, attention: str = "splash", logits_chunk: int = 1024) -> dict[str, Any]:
    """Compiles a case: bytes per device, and seconds of the processor."""
    topology = make_topology(parse(case.topology))
    started = time.process_time()
    planned = plan_step(case, topology, attention, logits_chunk)
    seconds = time.process_time() - started
    memory, fits = planned.memory, planned.memory.peak <= topology.chip.memory
    parts = dataclasses.asdict(memory) if isinstance(memory, Memory) else {"peak": memory.peak}
    return {**parts, "fits": fits and isinstance(memory, Memory), "seconds": round(seconds, 1)}


def versions() -> dict[str, str]:
    """What compiled: another compiler lays out memory differently."""
    return {"jax": jax.__version__, "libtpu": metadata.version("libtpu")}


def main() -> int:
    """Compiles, compares, and writes where it is asked to; 1 where something differs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    libtpu.hush()
    golden = json.loads(GOLDEN.read_text("utf-8")) if GOLDEN.exists() else {"cases": {}}
    known, differs = golden["cases"], False
    for case in CASES:
        if not case.preset.startswith(arguments.only):
            continue
        found, before = measure(case), known.get(case.name, {})
        kept = {key: value for key, value in before.items() if key != "seconds"}
        same = kept == {key: value for key, value in found.items() if key != "seconds"}
        differs |= not same
        print(case.name, found, "" if same else f"was {before}", flush=True)
        if arguments.write:
            known[case.name] = found
            text = json.dumps({"versions": versions(), "cases": known}, indent=1)
            GOLDEN.write_text(text + "\n", encoding="utf-8")
    return int(differs and not arguments.write)


if __name__ == "__main__":
    sys.exit(main())
