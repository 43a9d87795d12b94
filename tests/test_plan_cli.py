"""`bakein plan` from end to end: on this machine's processor, and for TPUs that are not there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_study

from bakein.cli import main

ROOT = Path(__file__).resolve().parents[1]
# Four programs of it are left, which is what takes the time.
SMALL = ["--config.stages.rl.curve_every=0", "--config.evaluation.rows=16"]


def plan(capsys, *arguments, file=tiny_study.FILE):
    code = main(["plan", file, *arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_on_the_processor(capsys):
    code, text, told = plan(capsys, "--topology", "cpu:8", *SMALL)
    assert code == 0
    assert "tiny on cpu:8: 8 x cpu, mesh data 8, model of " in text
    assert "rl update" in text
    assert "No published figures of this device" in text
    assert "1/" in told
    assert max(map(len, text.splitlines())) <= 100


def test_on_absent_tpus_as_json(capsys):
    code, text, _ = plan(capsys, "--topology", "v5e:2x2", "--json", "--price=0.5", *SMALL)
    found = json.loads(text)
    assert code == 0
    assert (found["device"], found["chips"], found["fits"]) == ("TPU v5 lite", 4, True)
    assert found["dollars"] == pytest.approx(found["chip_hours"] * 0.5)
    kinds = {p["phase"] for program in found["programs"] for p in program["phases"]}
    assert kinds == {"step", "prefill", "decode"}
    for program in found["programs"]:
        assert program["loops_of_unknown_length"] == 0
        memory = program["memory_bytes"]
        assert memory["peak"] >= memory["arguments"] > 0
        for phase in program["phases"]:
            assert phase["bound"] in ("compute", "memory", "interconnect")
            assert 0 < phase["mfu"] < 1
            assert phase["device_bytes_moved"] > 0
            assert phase["device_flops"] > 0
    update = next(p for p in found["programs"] if p["name"] == "rl update")
    assert update["phases"][0]["device_bytes_sent"]["all-reduce"] > 0  # the gradients


def test_programs_for_absent_tpus_are_not_looked_up(tmp_path):
    """Where the user keeps compiled programs: those could not be read back."""
    environment = {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    code = """
import jax
from bakein.plan import study, topology
from bakein.plan.programs import Phase, Program

found = topology.make_topology(topology.parse("v5e:2x2"))
mesh = jax.sharding.Mesh(found.devices, "x")
one = jax.sharding.SingleDeviceSharding(found.devices[0])
x = jax.ShapeDtypeStruct((8,), "float32", sharding=one)
trace = lambda: jax.jit(lambda x: x + 1).trace(x)
for _ in range(2):
    study.plan_program(Program("x", (), 1.0, trace, (Phase("step", 8, 8.0),), 1, 0), found, mesh)
assert jax.numpy.arange(3).sum() == 3  # and what this machine runs is kept
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    kept = [path.name for path in tmp_path.iterdir()]
    assert kept
    assert not [name for name in kept if "lambda" in name]


def test_a_search_proposes_what_it_compiled(capsys, monkeypatch):
    monkeypatch.setattr("bakein.cli.commands._SEARCHED", 2)
    code, text, _ = plan(
        capsys, "--topology", "v5e:2x2", "--search", "--config.model.scan_layers=True", *SMALL
    )
    assert code == 0
    assert "2 compiled of " in text
    assert "Cheapest with which all 3 programs of the study fit:\n--config.mesh.data=" in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--topology", "v5x:4x4"), "--topology: no 'v5x'; did you mean"),
        (("--topology", "v5e:3x3"), "--topology v5e:3x3: hosts have 2x2 chips; "),
        (("--topology", "v5e:2x2", "--config.mesh.data=3"), "config.mesh on v5e:2x2: mesh"),
        (("--topology", "2xv5e:2x2", "--config.mesh.data=1", "--config.mesh.fsdp=8"), "config.m"),
        (("--topology", "v5e:4x4"), "config.stages.pretrain: batch / accumulation is 8; it must"),
        (("--topology", "v5e:2x2", "--price=-1"), "--price is -1.0; it must be 0 or more"),
        (("--topology", "v5e:2x2", "--price=much"), "argument --price: invalid float value"),
        (("--topology", "cpu:4", "--search"), "--search: nothing is published of cpu:4"),
        ((), "the following arguments are required: --topology"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(capsys, arguments, message):
    code, text, told = plan(capsys, *arguments)
    assert (code, text) == (2, "")
    assert told.startswith(f"bakein: {message}")
    assert told.count("\n") == 1


def test_where_there_is_no_tpu_its_driver_is_silent():
    """Installed for its compiler, libtpu is loaded by every run that names no platform."""
    code = "from bakein.cli import _prepare; _prepare(''); import jax; print(jax.devices())"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "TPU_"))}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert "Device" in done.stdout
    assert done.stderr == ""


def test_help_names_the_topologies(capsys):
    with pytest.raises(SystemExit):
        main(["plan", "--help"])
    text = capsys.readouterr().out
    assert "2xv5e:16x16" in text
    assert "tpu7x" in text
