"""The search for a cheaper plan: what it compiles, what it proposes, and what it says."""

import dataclasses
import json

import pytest
import tiny_study
from test_plan_table import GIB, plan, planned

from bakein.cli import main
from bakein.plan import search as search_lib
from bakein.plan.search import search
from bakein.plan.table import search_record, show_search
from bakein.plan.topology import make_topology, parse
from bakein.study import base
from bakein.study.config import resolve


@pytest.fixture
def compiled(monkeypatch):
    """Nothing is compiled: what steps take, in their order, and with which of them all fits."""
    steps, fit, asked = [], [], []

    def plan_program(program, topology, mesh):
        asked.append(program)
        return dataclasses.replace(steps.pop(0), program=program)

    def plan_study(study, topology, price, tell):
        sampled = planned(
            "sampling 9 x (2+3)", 7 if fit.pop(0) else 700, 0.1, ("prefill", "decode")
        )
        memory = dataclasses.replace(sampled.memory, peak=sampled.memory.peak * GIB)
        sampled = dataclasses.replace(sampled, memory=memory)
        asked.append(study.mesh)
        return plan(planned("pretrain", GIB, 0.5), sampled, price=price, topology="v5e:2x2")

    monkeypatch.setattr(search_lib, "plan_program", plan_program)
    monkeypatch.setattr(search_lib, "plan_study", plan_study)
    return steps, fit, asked


def found_of(config, most, price=None):
    study, topology = resolve(config), make_topology(parse("v5e:2x2"))
    return search(study, topology, price, most, lambda _: None)


def test_the_fastest_step_is_proposed_with_which_all_of_the_study_fits(compiled):
    steps, fit, asked = compiled
    times = 0.4, 0.2, None, 0.3  # None: the step does not fit
    steps += [planned("pretrain", GIB if time else 99 * GIB, time) for time in times]
    fit += [False, True]
    found = found_of(tiny_study.get_config(), 4, price=2.0)
    assert [each.step.time for each in found.tried] == [0.2, 0.3, 0.4, None]
    assert [each.study and each.study.fits for each in found.tried] == [False, True, None, None]
    assert found.best is found.tried[1]
    assert asked[4:] == [each.choice.mesh for each in found.tried[:2]]
    text = show_search(found)
    flags = found.best.choice.flags("pretrain").replace(" --", " \\\n--")
    assert f"Cheapest with which all 2 programs of the study fit:\n{flags}\n" in text
    dollars = found.best.study.chip_hours * 2.0
    assert f"The study takes {found.best.study.chip_hours:.2g} chip-hours, ${dollars:.3g}." in text
    record = json.loads(json.dumps(search_record(found)))
    assert record["best"] == record["tried"][1]["flags"]
    assert [each["step_fits"] for each in record["tried"]] == [True, True, True, False]
    assert record["tried"][1]["study"]["fits"] is True
    assert record["tried"][2]["study"] is None


def test_what_does_not_fit_beside_the_step_is_said(compiled):
    steps, fit, _ = compiled
    steps += [planned("pretrain", GIB, time) for time in (0.4, 0.2)]
    fit += [False, False]
    found = found_of(tiny_study.get_config(), 2)
    assert found.best is None
    text = show_search(found)
    assert "The step fits, but with none of them all of the study does. With the first:\n" in text
    assert "DOES NOT FIT: sampling 9 x (2+3) takes 700.00 GiB" in text
    assert "Fewer rows at a time take less: of the evaluation, a probe, or RL's prompts." in text
    assert "Cheapest" not in text


def test_no_step_that_fits(compiled):
    steps, _, asked = compiled
    steps += [planned("pretrain", 99 * GIB, None)] * 2
    found = found_of(tiny_study.get_config(), 2)
    assert found.best is None
    assert len(asked) == 2  # of the study, nothing else
    assert "None of them fits: more chips, a shorter length or a smaller batch are left." in (
        show_search(found)
    )


def test_arms_that_train_otherwise(compiled):
    """The longest of them is compiled; what is proposed divides the batches of all."""
    steps, fit, asked = compiled
    steps += [planned("pretrain", GIB, 0.4)] * 20
    fit += [True]
    config = tiny_study.get_config()
    config.stages.pretrain.batch = 64
    config.arms.odd = base.arm({"pretrain.batch": 24, "pretrain.tokens": 3200})
    found = found_of(config, 20)
    assert {program.phases[0].tokens for program in asked[:-1]} == {24 * 32}
    # Of 8 rows, which is what 64 and 24 have in common, on 4 devices.
    assert {each.choice.accumulation for each in found.tried} == {1, 2}


def test_what_other_trainings_should_not_fit_with_is_not_compiled_first(compiled):
    """Remat is for all of them; micro-batches are those of one."""
    steps, fit, _ = compiled
    first = []
    for batch in (8, 2**26):
        steps.append(planned("pretrain", GIB, 0.4))
        fit.append(True)
        config = tiny_study.get_config()
        config.stages.sft.batch, config.stages.sft.tokens = batch, 2**33
        config.stages.pretrain.tokens = 2**40
        (only,) = found_of(config, 1).tried
        first.append(only.choice.remat)
    assert first == ["dots_no_batch", "full"]


@pytest.mark.parametrize(("fits", "code"), [(True, 0), (False, 1)])
def test_a_search_may_require_that_all_fits(compiled, capsys, fits, code):
    steps, fit, _ = compiled
    steps += [planned("pretrain", GIB, 0.4)] * 6
    fit += [fits] * 6
    command = ["plan", tiny_study.FILE, "--topology", "v5e:2x2", "--search", "--json"]
    assert main([*command, "--require-fit", "--price=3"]) == code
    found = json.loads(capsys.readouterr().out)
    assert found["tried"][0]["study"]["price_per_chip_hour"] == 3.0
    assert (found["best"] is None) == (not fits)
