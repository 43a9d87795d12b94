"""The plan as text and as JSON, of programs that are made up."""

import dataclasses
import json

import pytest

from bakein.plan.memory import Memory, TooMuch
from bakein.plan.programs import Phase, Program
from bakein.plan.roofline import Costs
from bakein.plan.search import Choice, Found, Tried
from bakein.plan.study import Planned, StudyPlan
from bakein.plan.table import record, show, show_search
from bakein.plan.topology import make_topology, parse
from bakein.study.schema import MeshConfig

GIB = 2**30


def program(name, *phases, calls=10.0, uses=("pretrain",)):
    return Program(name, uses, calls, lambda: None, phases, 1, 0)


def planned(name, peak, seconds, phases=("step",), uses=("pretrain",), guessed=0):
    memory = Memory(peak // 2, 0, peak - peak // 2, 0, peak)
    if seconds is None:
        memory = TooMuch(peak, "RESOURCE_EXHAUSTED: Used 40.00G of 15.75G hbm.")
    parts = {"compute": seconds, "memory": 0.1, "interconnect": 0.0, "network": 0.0}
    parts = None if seconds is None else parts
    costs = tuple(Costs(1e12, 2e9, {"all-gather": 3e9}, parts) for _ in phases)
    made = program(name, *(Phase(p, 1000, 1e12) for p in phases), uses=uses)
    return Planned(made, memory, costs, guessed, 1.0)


def plan(*programs, price=1.2, topology="v5e:4x4"):
    found = make_topology(parse(topology))
    capacity = found.chip.memory if found.chip else None
    mesh = {"member": 1, "data": 1, "fsdp": 16, "tensor": 1}
    return StudyPlan("study", 8_030_000_000, found, mesh, capacity, programs, price)


def test_a_newcomer_reads_what_fits_what_binds_and_what_it_costs():
    text = show(
        plan(
            planned("pretrain", 6 * GIB, 0.5),
            planned("sampling 8 x (2+3)", 7 * GIB, 0.05, ("prefill", "decode"), guessed=1),
        )
    )
    assert max(map(len, text.splitlines())) <= 100
    assert "study on v5e:4x4: 16 x TPU v5 lite, mesh fsdp 16, model of 8.03B parameters" in text
    assert "Fits: the largest, sampling 8 x (2+3), leaves 8.75 GiB." in text
    assert "All of this is an estimate." in text
    step = next(line for line in text.splitlines() if line.startswith("pretrain") and "*" in line)
    assert "500*" in step  # compute binds
    assert f"{1e12 / (0.5 * 16 * 197e12):.1%}" in step
    decode = next(line for line in text.splitlines() if "decode" in line)
    assert "100*" in decode  # memory binds
    assert "Loops of unknown length, taken at their longest: sampling 8 x (2+3)." in text
    # 10 calls of 0.5 s and 10 of 0.1 + 0.1 s, on 16 chips.
    hours = 10 * (0.5 + 0.2) * 16 / 3600
    assert f"{hours:.3g}" in text
    assert "$1.20 a chip-hour: list price on demand, 2026; yours: --price." in text


def test_an_own_price_is_said_to_be_one():
    text = show(plan(planned("pretrain", GIB, 0.5), price=0.5))
    assert "$0.50 a chip-hour: --price." in text


def test_refills_of_dynamic_sampling_are_said_to_be_counted():
    rollouts = planned("sampling 4096 x (8192+16384), forced", GIB, 0.5)
    refilled = dataclasses.replace(rollouts.program, calls=3000.0, refills=2700.0)
    made = plan(dataclasses.replace(rollouts, program=refilled))
    said = "Dynamic sampling at its most: 2,700 calls of sampling 4096 x (8192+16384)... are "
    assert f"{said}refills." in show(made).splitlines()
    assert "With them at least " in show(made)
    assert max(map(len, show(made).splitlines())) <= 100
    assert record(made)["programs"][0]["refills"] == 2700
    assert "Dynamic" not in show(plan(rollouts))


def test_what_does_not_fit_says_by_how_much():
    close = plan(planned("pretrain", 20 * GIB, 0.5))
    text = show(close)
    assert "DOES NOT FIT: pretrain takes 20.00 GiB, 4.25 GiB more than there are." in text
    assert close.fits is False
    refused = plan(planned("pretrain", 40 * GIB, None))
    assert "DOES NOT FIT: pretrain takes 40.00 GiB, 24.25 GiB more" in show(refused)
    assert (refused.fits, refused.chip_hours, refused.dollars) == (False, None, None)


def test_nothing_is_promised_of_an_unpublished_device():
    parts = Costs(1e12, 2e9, {}, None)
    made = program("pretrain", Phase("step", 10, 1e12))
    unknown = plan(
        Planned(made, Memory(1, 0, 1, 0, 2), (parts,), 0, 1.0), price=None, topology="cpu:8"
    )
    text = show(unknown)
    assert (unknown.fits, unknown.chip_hours) == (None, None)
    assert "No published figures of this device: no times, rates or price." in text
    assert "whether it fits is not said" in text
    assert "$" not in text.replace("US $", "")


def test_the_record_is_json_with_the_same_numbers():
    made = plan(planned("pretrain", 6 * GIB, 0.5))
    found = json.loads(json.dumps(record(made)))
    assert (found["estimate"], found["fits"], found["chips"]) == (True, True, 16)
    assert found["dollars"] == pytest.approx(found["chip_hours"] * 1.2)
    (step,) = found["programs"]
    assert step["memory_bytes"]["peak"] == 6 * GIB
    (phase,) = step["phases"]
    assert phase["bound"] == "compute"
    assert phase["roofline_seconds"] == 0.5
    assert phase["tokens_per_second"] == 2000
    refused = record(plan(planned("pretrain", GIB, None)))
    assert refused["fits"] is refused["programs"][0]["fits"] is False


def test_a_search_shows_milliseconds_of_small_studies():
    topology = make_topology(parse("v5e:4x4"))
    step = planned("pretrain", GIB, 0.0)
    parts = {"compute": 3.2e-4, "memory": 0.0, "interconnect": 0.0, "network": 0.0}
    step = dataclasses.replace(step, costs=(Costs(1e9, 1e9, {}, parts),))
    choice = Choice(MeshConfig(data=1, fsdp=16, tensor=1), 1, "full")
    found = Found("pretrain", topology, 1, (Tried(choice, step, True, plan(step)),))
    heads, values = show_search(found).splitlines()[2:4]
    assert values.split()[heads.split().index("ms")] == "0.32"
