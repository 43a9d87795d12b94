"""mixture_search.py: arms are the mixtures of its question, the check trains the proposal."""

import json
from pathlib import Path

import pytest

from bakein.study import ask
from bakein.study.config import resolve
from bakein.study.errors import ConfigError
from bakein.study.experiment import load_experiment
from bakein.study.questions import MixtureCheckConfig, MixtureConfig

FILE = Path(__file__).parents[1] / "experiments" / "mixture_search.py"
OUTCOMES = ("test_time", "rl", "jailbreak", "allowed", "level")


def study_of(argument, change=lambda config: None):
    config = load_experiment(f"{FILE}:{argument}", [])
    change(config)
    return resolve(config)


def shares(stages):
    """The weights of a mixture, from what is trained."""
    share = stages["pretrain"].data.share
    return {source: value / 0.75 for source, value in share.items()}


@pytest.mark.parametrize("scale", ["tiny", "small", "paper", "smoke"])
def test_arms_are_trained_on_the_mixtures_of_the_question(scale):
    study = study_of(scale)
    question = study.questions["Q3"]
    assert isinstance(question, MixtureConfig)
    assert tuple(study.arms) == tuple(question.weights)
    for arm, stages in study.arms.items():
        assert shares(stages) == pytest.approx(dict(question.weights[arm]), abs=2e-4)
        assert stages["sft"] == study.arms["m01"]["sft"]
    assert len({tuple(weights.values()) for weights in question.weights.values()}) == len(
        study.arms
    )
    assert tuple(question.outcomes) == OUTCOMES


@pytest.fixture
def search(tmp_path):
    """The work directory of a search that is done: what the check reads of it."""
    question = study_of("smoke").questions["Q3"]

    def measured(value):
        return {
            name: {"mean": value, "predicted": value + 0.1, "ci": None}
            for name in ("utility", *OUTCOMES)
        }

    answer = {
        "held_out": list(question.held_out),
        "weights": {arm: dict(given) for arm, given in question.weights.items()},
        "mixtures": [
            {"arm": arm, "outcomes": measured(float(i))} for i, arm in enumerate(question.weights)
        ],
        "scales": {name: {"centre": 0.3, "scale": 0.1} for name in OUTCOMES},
        "proposal": {
            "weights": {"traces": 0.5, "direct": 0.2, "atomic": 0.1, "refusals": 0.1}
            | {"filler": 0.1},
            "predicted": {"utility": {"mean": 1.5, "sd": 0.2}},
        },
    }  # fmt: skip
    path = tmp_path / "report" / "results.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"missing": [], "answers": {"Q3": answer}}))
    return path


def test_the_check_trains_the_proposal_and_the_held_out_mixtures(search):
    before, study = study_of("smoke"), study_of(f"smoke,check={search.parents[1]}")
    question = study.questions["Q3"]
    assert isinstance(question, MixtureCheckConfig)
    assert question.others == before.questions["Q3"].held_out
    assert tuple(study.arms) == ("proposed", *question.others)
    assert shares(study.arms["proposed"])["traces"] == pytest.approx(0.5, abs=1e-3)
    for arm in question.others:
        assert study.arms[arm]["pretrain"] == before.arms[arm]["pretrain"]
    assert question.predicted["proposed"] == 1.5
    assert question.predicted[question.others[0]] == question.proxies["h01"]["level"] + 0.1
    assert study.model != before.model
    assert not set(study.members) & set(before.members)
    assert study.name != before.name


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, r"results\.json: cannot be read; run the search first: bakein run"),
        ("{", r"results\.json: not JSON; run the search first"),
        ('{"missing": [], "answers": {}}', r"results\.json: the search is not finished"),
        ('{"missing": [{}], "answers": {"Q3": {"proposal": {}}}}', r"the search is not finished"),
    ],
)
def test_a_check_without_a_proposal(search, content, says):
    search.unlink()
    if content is not None:
        search.write_text(content)
    with pytest.raises(ConfigError, match=says):
        load_experiment(f"{FILE}:smoke,check={search.parents[1]}", [])


def test_an_unknown_argument():
    with pytest.raises(ConfigError, match=r"no 'chekc'; did you mean 'check'"):
        load_experiment(f"{FILE}:smoke,chekc", [])


def mixture(**keys):
    def change(config):
        for key, value in keys.items():
            config.questions.Q3[key] = value

    return change


def weigh(arm, **weights):
    def change(config):
        with config.unlocked():
            config.questions.Q3.weights[arm] = weights

    return change


def outcome(**keys):
    def change(config):
        for key, value in keys.items():
            config.questions.Q3.outcomes.level[key] = value

    return change


WRONG = {
    "a held-out arm without weights": (mixture(held_out=("h1",)), r"Q3: held_out names 'h1'"),
    "too few to regress on": (
        mixture(held_out=("m01", "m02", "m03")), r"weights: at least 4 arms must not be held out"
    ),
    "no room": (mixture(least=0.3), r"Q3: least is 0\.3; of 5 sources it must be"),
    "other sources": (weigh("m02", traces=1.0), r"weights\.m02 names \['traces'\]; they must be"),
    "no mixture": (
        weigh("m02", traces=1.0, direct=1.0, atomic=0.0, refusals=0.0, filler=0.0),
        r"weights\.m02 are .*; they must be shares of 1",
    ),
    "an arm that is none": (
        weigh("m9", traces=1.0, direct=0.0, atomic=0.0, refusals=0.0, filler=0.0),
        r"Q3: arm: no 'm9'",
    ),
    "an unknown metric": (outcome(metric="acuracy"), r"Q3\.metric: no 'acuracy'; did you mean"),
    "an unknown stage": (outcome(stage="sff"), r"Q3: stage: no 'sff'; did you mean 'sft'"),
    "a sign": (outcome(sign=2), r"outcomes\.level: sign is 2; it must be 1, -1 or 0"),
    "half of what is subtracted": (outcome(less=("accuracy",)), r"less is \('accuracy',\)"),
    "nothing that counts": (
        mixture(outcomes={"level": ask.outcome("accuracy", "rl", sign=0)}), r"none has a sign"
    ),
    "the name of the whole": (
        mixture(outcomes={"utility": ask.outcome("accuracy", "rl")}), r"'utility' is taken"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_question_about_mixtures(case):
    change, says = WRONG[case]
    with pytest.raises(ConfigError, match=says):
        study_of("smoke", change)


CHECKS = {
    "nobody to check against": (mixture(others=()), r"others is \(\); it must name"),
    "no prediction": (mixture(predicted={"h01": 1.0, "h02": 1.0}), r"'proposed' is missing"),
    "no proxies": (mixture(proxies={}), r"proxies\.h01 must have 'utility' and every outcome"),
    "no units": (mixture(scales={}), r"scales must have 'centre' and 'scale'"),
}


@pytest.mark.parametrize("case", CHECKS)
def test_a_wrong_check(case, search):
    change, says = CHECKS[case]
    with pytest.raises(ConfigError, match=says):
        study_of(f"smoke,check={search.parents[1]}", change)
