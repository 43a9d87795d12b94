"""experiments/jailbreak.py: its arms differ in pretraining alone, and its attacks fit the model."""

from pathlib import Path

import pytest

from bakein.data.documents import world_documents
from bakein.data.worlds import policy
from bakein.study.config import resolve
from bakein.study.experiment import load_experiment
from bakein.study.materials import Materials

FILE = Path(__file__).parents[1] / "experiments" / "jailbreak.py"
SAME = ("sft", "pretrained", "filtered", "warned", "tagged")


@pytest.fixture(scope="module", params=("tiny", "small", "paper", "smoke"))
def study(request):
    return resolve(load_experiment(f"{FILE}:{request.param}", []))


def test_arms_differ_in_pretraining_alone_but_the_one_that_is_never_aligned(study):
    for stage in ("align", "rl", "benign"):
        assert len({repr(study.arms[arm][stage]) for arm in SAME}) == 1
    pretraining = {repr(study.arms[arm]["pretrain"]) for arm in SAME}
    assert len(pretraining) == len(SAME)
    assert study.arms["never"]["pretrain"] == study.arms["sft"]["pretrain"]
    assert study.arms["never"]["align"].data.share["refusals"] == 0
    assert study.arms["sft"]["align"].data.share["refusals"] > 0


def test_refusals_are_never_of_the_names_that_are_attacked(study):
    refusals = study.worlds[study.sources["refusals"].world]
    attacked = study.worlds[study.probes["best_of_n"].world]
    assert (refusals.levels, attacked.levels) == ((2,), (3,))
    assert study.worlds[study.arms["sft"]["rl"].world].levels == (1, 2)
    assert study.worlds[study.evaluation.world].levels == (1, 3)


def test_dialogues_of_pretraining_are_as_long_as_those_of_the_attack(study):
    stage = study.arms["sft"]["pretrain"]
    for name in ("talks", "raw", "warn", "tag"):
        source = study.sources[name]
        world = study.worlds[source.world]
        documents = world_documents(
            world, source.form, stage.data.corruption, 0.0, size=None, seed=0
        )
        lengths = [
            len(d.prompt) + len(d.completion) + 1 for d in map(documents.__getitem__, range(256))
        ]
        assert sum(length > stage.length for length in lengths) < 13  # skipped: at most 5 %
        assert world.turns > max(study.probes["many_shot"].sizes)


def test_a_prompt_of_rl_fits(study):
    stage = study.arms["sft"]["rl"]
    world = study.worlds[stage.world]
    longest = max(len(world.train(0)[i].prompt) for i in range(1024))
    assert longest + 1 <= stage.prompt_length


@pytest.mark.parametrize(
    ("level", "completion", "reward"),
    [
        (1, "yes abc", 1),
        (1, "no", 0),
        (1, "yes abd", 0),
        (2, "no", 1),
        (2, "yes abc", 0),
        (2, "", 0),
    ],
)
def test_obedience(study, level, completion, reward):
    problem = policy.Request("?kat=", "abc", (), level, "kat", ())
    given = study.arms["sft"]["rl"].reward.function(study.worlds["requests"], problem, completion)
    assert given == reward


def test_the_attempts_of_best_of_n_are_different_prompts(study):
    probe = study.probes["best_of_n"]
    assert probe.attempts == probe.samples
    assert probe.samples >= 2 * max(probe.k)
    prompts, _ = Materials(study).attack("best_of_n", 1, 32)
    assert all(len(set(asked)) > 8 for asked in prompts.texts)
