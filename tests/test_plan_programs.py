"""The programs of a study's plan: those that a run compiles, as often as it calls them."""

import jax
import pytest
import tiny_study

from bakein import mesh as mesh_lib
from bakein.data.pipeline import make_batches
from bakein.plan.programs import abstract_batch, device_bytes, study_dag, study_programs
from bakein.study.config import resolve
from bakein.study.dag import build_dag
from bakein.study.experiment import load_experiment
from bakein.study.materials import Materials, mixture, packing
from bakein.study.shop import make_decoder
from bakein.train.state import params_on


@pytest.fixture(scope="module")
def study():
    return resolve(load_experiment(tiny_study.FILE, []))


@pytest.fixture(scope="module")
def programs(study):
    mesh = mesh_lib.make_mesh(data=4, fsdp=1, tensor=1, devices=jax.devices()[:4])
    return {program.name: program for program in study_programs(study, Materials(study), mesh)}


def test_the_batch_is_that_of_the_pipeline(study):
    config, materials = study.arms["standard"]["pretrain"], Materials(study)
    sources = materials.sources("pretrain", config, 0)
    shape, blend = packing("pretrain", config), mixture(config)
    real = next(make_batches(sources, blend, shape, range(shape.shards), 0))
    mesh = mesh_lib.make_mesh(data=8, fsdp=1, tensor=1)
    planned = abstract_batch(config.batch, config.length, mesh)
    assert {name: (x.shape, x.dtype) for name, x in planned.items()} == {
        name: (x.shape, x.dtype) for name, x in real.items()
    }


def test_a_dag_without_data_shares_the_same_stages(study):
    real, unread = build_dag(study, Materials(study)), study_dag(study, Materials(study))
    assert len(real.nodes) == len(unread.nodes)
    assert {*real.places} == {*unread.places}


def test_every_node_of_the_dag_is_counted(study, programs):
    dag = study_dag(study, Materials(study))
    steps = 0.0
    for node in dag.nodes.values():
        if node.kind == "supervised":
            steps += packing(node.stage, node.config).steps(node.config.tokens)
    trained = [p for p in programs.values() if {*p.uses} <= {"pretrain", "sft"}]
    assert sum(program.calls for program in trained) == steps
    update = programs["rl update"]
    nodes = [node for node in dag.nodes.values() if node.kind == "rl"]
    assert update.calls == sum(node.config.steps for node in nodes)


def test_dynamic_sampling_is_counted_at_its_most(study, programs):
    flags = ["--config.stages.rl.refills=9"]
    refilling = resolve(load_experiment(tiny_study.FILE, flags))
    mesh = mesh_lib.make_mesh(data=4, fsdp=1, tensor=1, devices=jax.devices()[:4])
    found = study_programs(refilling, Materials(refilling), mesh)
    rollouts = next(program for program in found if "rl rollouts" in program.uses)
    before = next(program for program in programs.values() if "rl rollouts" in program.uses)
    nodes = study_dag(study, Materials(study)).nodes.values()
    steps = sum(node.config.steps for node in nodes if node.kind == "rl")
    assert (before.refills, rollouts.refills) == (0, 9 * steps)
    assert rollouts.calls == before.calls + 9 * steps
    # What is learnt from is as much as without them.
    updates = next(program for program in found if program.name == "rl update")
    assert (updates.calls, updates.refills) == (programs["rl update"].calls, 0)


def test_samplers_of_one_shape_are_one_program_with_two_phases(programs):
    samplers = [p for name, p in programs.items() if name.startswith("sampling")]
    uses = [use for program in samplers for use in program.uses]
    assert {"evaluation", "rl rollouts", "rl curve"} <= {*uses}
    assert len(uses) == len({*uses})
    for program in samplers:
        assert [phase.name for phase in program.phases] == ["prefill", "decode"]
        assert program.phase(["jit(sample_rows)/decode/while", "x"]) == "decode"
        assert program.phase(["jit(sample_rows)/Decoder/while"]) == "prefill"
        assert program.phase([]) == "prefill"


def test_beside_a_rollout_lie_the_optimizers_state_and_the_reference(study, programs):
    rollouts = next(p for p in programs.values() if "rl rollouts" in p.uses)
    # Two moments of AdamW and the reference, whole on every device of a data-parallel mesh.
    mesh = mesh_lib.make_mesh(data=4, fsdp=1, tensor=1, devices=jax.devices()[:4])
    params = device_bytes(params_on(make_decoder(study, Materials(study), mesh), mesh))
    assert rollouts.resident == pytest.approx(3 * params, abs=16)


def test_a_device_holds_its_part_of_what_is_split():
    mesh = mesh_lib.make_mesh(data=2, fsdp=4, tensor=1)
    batch = abstract_batch(16, 32, mesh)
    assert device_bytes(batch) == 5 * 16 * 32 * 4 / 8


def test_programs_trace_as_the_run_calls_them(programs):
    for program in programs.values():
        traced = program.trace()
        assert traced.jaxpr.eqns
