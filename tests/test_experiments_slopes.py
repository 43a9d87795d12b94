"""test_time_compute.py and rl_slope.py: every scale resolves, and stages are front_loading's."""

from pathlib import Path

import pytest

from bakein.data.worlds.world import Problem
from bakein.study.config import resolve
from bakein.study.dag import build_dag
from bakein.study.experiment import load_experiment
from bakein.study.materials import Materials

ROOT = Path(__file__).parents[1] / "experiments"
SCALES = ("tiny", "small", "paper", "smoke")
ARMS = ["none", "small_hq", "large_diverse", "union"]


def study_of(name, scale, *overrides):
    return resolve(load_experiment(f"{ROOT / name}.py:{scale}", overrides))


@pytest.mark.parametrize("scale", SCALES)
def test_thoughts_are_cut_after_whole_steps_and_filler_is_as_long(scale):
    study = study_of("test_time_compute", scale)
    assert list(study.arms) == ARMS
    thinking, filler = study.probes["thinking"], study.probes["filler"]
    world = study.worlds["registers"]
    trace = world.document(Problem("", "", (), 1), "trace", ["0" * world.digits] * world.slots)
    thoughts = trace.completion.index(thinking.answer)  # characters are tokens here
    assert thinking.budgets[0] == 0
    assert thinking.budgets[-1] == thoughts
    assert all(budget % (world.digits + 1) == 0 for budget in thinking.budgets)
    assert filler.budgets == thinking.budgets
    assert thoughts % len(filler.filler) == 0
    # With the stop token, of which the trace has no character.
    assert len(trace.completion) + 1 == thinking.max_new_tokens
    assert study.probes["many"].max_new_tokens >= thinking.max_new_tokens
    assert max(study.probes["many"].k) == (16 if scale == "smoke" else 1024)
    assert all(n.metric.startswith(("many/", "thinking/")) for n in study.questions.values())


@pytest.mark.parametrize("scale", SCALES)
def test_rl_is_the_same_after_sft_and_from_the_base(scale):
    study = study_of("rl_slope", scale)
    for arm in ARMS:
        stages = study.arms[arm]
        assert stages["rl"].parent == "sft"
        assert stages["rl_from_base"].parent == "pretrain"
        for stage in (stages["rl"], stages["rl_from_base"]):
            assert stage.steps // stage.curve_every > 4  # R(C) has three parameters
            assert stage.steps % stage.curve_every == 0
        keys = set(vars(stages["rl"])) - {"parent"}
        assert all(getattr(stages["rl"], k) == getattr(stages["rl_from_base"], k) for k in keys)


def test_finished_stages_of_front_loading_are_taken_over():
    """Equal ids are what `--reuse` goes by."""
    one = "--config.seeds=1"
    ids = {}
    for name in ("front_loading", "test_time_compute", "rl_slope"):
        study = study_of(name, "smoke", one)
        dag = build_dag(study, Materials(study))
        ids[name] = {
            **dag.places,
            **{(*place, "eval"): dag.evals[i] for place, i in dag.places.items()},
        }
    for name, own in (("test_time_compute", ()), ("rl_slope", ("rl", "rl_from_base"))):
        for place, id in ids[name].items():
            if place[1] not in own:
                assert ids["front_loading"][place] == id, (name, place)
