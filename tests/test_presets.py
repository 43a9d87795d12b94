"""Presets at real sizes: they lower on machines that are not there, and their golden records."""

import dataclasses
import importlib.util
import json
import os
from pathlib import Path

import jax
import pytest

from bakein import mesh as mesh_lib
from bakein.model import Decoder, abstract_params, count_params, presets
from bakein.plan.programs import train_program
from bakein.plan.topology import make_topology, parse
from bakein.study.config import resolve
from bakein.study.experiment import load_experiment

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden"
ALL = (
    presets.dense_150m, presets.llama3_1b, presets.llama3_8b, presets.llama3_70b,
    presets.qwen2_0_5b, presets.qwen3_0_6b, presets.olmo2_1b, presets.gemma2_2b, presets.gemma3_1b,
)  # fmt: skip


def test_the_smallest_has_150_million_parameters():
    assert count_params(presets.dense_150m()) == 151_020_288


@pytest.mark.parametrize("preset", ALL[:4], ids=lambda preset: preset.__name__)
def test_the_train_step_lowers_for_an_absent_machine(preset):
    topology = make_topology(parse("v6e:4x4"))
    mesh = mesh_lib.make_mesh(data=1, fsdp=8, tensor=2, devices=topology.devices)
    decoder = Decoder(preset(), **mesh_lib.decoder_shardings(mesh))
    study = resolve(load_experiment(f"{ROOT / 'experiments' / 'front_loading.py'}:paper", []))
    stage = dataclasses.replace(study.arms["none"]["pretrain"], batch=16, length=256, shards=1)
    text = train_program("step", stage, decoder, mesh).trace().lower().as_text()
    # One stacked layer, compiled once: the program does not grow with the number of layers.
    assert text.count("dot_general") < 60


def test_golden_shardings_of_the_presets():
    """Which parameter lies on which mesh axes; a change shows up as a diff.

    Written anew by `BAKEIN_UPDATE_GOLDEN=1 pytest tests/test_presets.py`.
    """
    mesh = mesh_lib.make_mesh(data=2, fsdp=4, tensor=1)
    lines = []
    for preset in ALL:
        boxed = abstract_params(preset())
        shardings = mesh_lib.logical_sharding(mesh, boxed)
        lines.append(preset.__name__)
        flat = jax.tree_util.tree_flatten_with_path(shardings)[0]
        for (path, sharding), leaf in zip(flat, jax.tree.leaves(boxed), strict=True):
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            spec = ", ".join(str(axis) for axis in sharding.spec)
            lines.append(f"  {name:38} {leaf.shape!s:24} {spec}")
    text, golden = "\n".join(lines) + "\n", GOLDEN / "shardings_presets.txt"
    if "BAKEIN_UPDATE_GOLDEN" in os.environ:
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def peak_bytes():
    path = ROOT / "benchmarks" / "peak_bytes.py"
    spec = importlib.util.spec_from_file_location("peak_bytes", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_golden_peak_bytes_of_the_smallest(peak_bytes):
    """The others are compiled and compared by `benchmarks/peak_bytes.py`, which writes all."""
    golden = json.loads((GOLDEN / "peak_bytes.json").read_text("utf-8"))
    case = peak_bytes.CASES[0]
    found, known = peak_bytes.measure(case), golden["cases"][case.name]
    assert found["arguments"] == known["arguments"]  # shapes, dtypes and shardings alone
    # Another compiler lays out memory differently.
    tolerance = 0.01 if golden["versions"] == peak_bytes.versions() else 0.25
    assert found["peak"] == pytest.approx(known["peak"], rel=tolerance)


def test_every_record_is_of_a_case_and_fits(peak_bytes):
    golden = json.loads((GOLDEN / "peak_bytes.json").read_text("utf-8"))["cases"]
    assert {*golden} <= {case.name for case in peak_bytes.CASES}
    assert all(record["fits"] for record in golden.values())
