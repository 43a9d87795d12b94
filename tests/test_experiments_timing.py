"""timing.py and spurious_rewards.py: every scale resolves, and the arms are what they claim."""

from pathlib import Path

import pytest

from bakein.data.schedules import Phase
from bakein.data.sources import encode_document
from bakein.rl import rewards
from bakein.study.config import resolve
from bakein.study.experiment import load_experiment
from bakein.study.materials import Materials

ROOT = Path(__file__).parents[1] / "experiments"
SCALES = ("tiny", "small", "paper", "smoke")


def study_of(name, scale):
    return resolve(load_experiment(f"{ROOT / name}.py:{scale}", []))


@pytest.fixture(scope="module", params=SCALES)
def timing(request):
    return study_of("timing", request.param)


def spent(phases: tuple[Phase, ...], source: str) -> float:
    """Tokens of a source."""
    return sum(p.tokens * (p.start[source] + p.end[source]) / 2 for p in phases)


def test_arms_differ_in_when_and_how_often_and_not_in_how_much(timing):
    tokens = {}
    for arm, stages in timing.arms.items():
        stage = stages["pretrain"]
        phases = stage.data.schedule(stage.data.share, stage.tokens)
        tokens[arm] = sum(spent(phases, source) for source in stage.data.share) / stage.tokens
    shares = {"none": 0.0} | {f"share_{share}": share / 100 for share in (1, 5, 10, 20, 40)}
    same = dict.fromkeys(("early", "late", "annealed", "repeat_4", "repeat_16"), 0.2)
    assert tokens == pytest.approx(shares | same, abs=1e-4)


def test_the_repeated_traces_are_seen_that_often(timing):
    tokenizer, world = Materials(timing).tokenizer, timing.worlds["registers"]
    problems = [world.train(1)[i] for i in range(4)]
    documents = [world.document(problem, "trace", problem.steps) for problem in problems]
    (length,) = {encode_document(tokenizer, d, False)["tokens"].size for d in documents}
    for times in (4, 16):
        tokens = timing.arms[f"repeat_{times}"]["pretrain"].tokens
        epochs = 0.2 * tokens / length / timing.sources[f"traces_{times}"].documents
        assert epochs == pytest.approx(times, rel=0.05)


@pytest.mark.parametrize("scale", SCALES)
def test_every_reward_is_tried_and_the_controls_are_crossed(scale):
    study = study_of("spurious_rewards", scale)
    stages = study.arms["mixed"]
    made = {name: stage.reward for name, stage in stages.items() if stage.kind == "rl"}
    assert made["true"] is rewards.exact
    for name in ("true", "random", "majority", "wrong_label", "format", "always", "never"):
        settings = {
            stage.removeprefix(name): (
                stages[stage].clip_high == float("inf"),
                stages[stage].kl_coefficient > 0,
            )
            for stage in made
            if stage == name or stage.removeprefix(f"{name}_") in ("no_clip", "kl", "no_clip_kl")
        }
        assert settings == {
            "": (False, False),
            "_no_clip": (True, False),
            "_kl": (False, True),
            "_no_clip_kl": (True, True),
        }
        assert len({made[f"{name}{suffix}"] for suffix in settings}) == 1
