"""alignment_permanence.py: every scale resolves, arms are as told, wrong questions are named."""

from pathlib import Path

import pytest

from bakein.data.sources import encode_document
from bakein.study.config import resolve
from bakein.study.errors import ConfigError
from bakein.study.experiment import load_experiment
from bakein.study.materials import Materials

FILE = Path(__file__).parents[1] / "experiments" / "alignment_permanence.py"


def study_of(scale, *overrides):
    return resolve(load_experiment(f"{FILE}:{scale}", overrides))


@pytest.fixture(scope="module", params=["tiny", "small", "paper", "smoke"])
def study(request):
    return study_of(request.param)


def refusals(study, arm, stage):
    data = study.arms[arm][stage].data
    return data.share["refusals"] * study.arms[arm][stage].tokens


def test_doses_grow_from_none_and_arms_differ_where_they_say(study):
    for question in study.questions.values():
        for arm, lesser in question.arms.items():
            counted = question.counted or ("pretrain", "align")
            doses = [
                sum(refusals(study, name, stage) for stage in counted) for name in (*lesser, arm)
            ]
            assert doses[0] == 0
            assert doses == sorted(set(doses))
            assert tuple(study.arms[arm]) == study.stages
    when = {}
    for arm in ("pretrained", "early", "late"):
        stage = study.arms[arm]["pretrain"]
        phases = stage.data.schedule(stage.data.share, stage.tokens)
        when[arm] = (phases[0].start["refusals"] > 0, phases[-1].end["refusals"] > 0)
    assert when == {"pretrained": (True, True), "early": (True, False), "late": (False, True)}
    pretrained = {arm for arm in study.arms if refusals(study, arm, "pretrain")}
    assert {arm.rstrip("_0123") for arm in pretrained} == {*when, "baked_in"}
    after = {arm for arm in study.arms if refusals(study, arm, "align")}
    assert after.isdisjoint({"never", "baked_in", "baked_in_1", "pretrained_0", "early_0"})
    same = [study.arms[arm]["pretrain"].data.background for arm in ("baked_in", "tagged")]
    assert same[0] == same[1]


def test_forbidden_names_are_told_of_in_one_way(study):
    told = {"sft": "raw", "never": "raw", "pretrained": "raw", "filtered": ""}
    told |= {"warned": "warn", "tagged": "tag", "baked_in": "tag"}
    for arm, kept in told.items():
        background = study.arms[arm]["pretrain"].data.background
        assert {name for name in ("raw", "tag", "warn") if background[name]} == ({kept} - {""})


def test_attacks_read_as_many_documents_as_they_say(study):
    materials = Materials(study)
    for world in ("attacked", "benign"):
        problems = [study.worlds[world].train(1)[i] for i in range(8)]
        documents = [study.worlds[world].document(problem, "comply", ()) for problem in problems]
        (length,) = {
            encode_document(materials.tokenizer, document, False)["tokens"].size
            for document in documents
        }
        for name, stage in study.arms["sft"].items():
            if name.startswith(("attack_", "benign_")):
                assert stage.tokens == length * int(name.rpartition("_")[2])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("Q6.treated=never", r"Q6: treated is 'never'; it must be one of baked_in, "),
        ("Q6.control=baked_in", r"Q6\.treated is 'baked_in'; it must be another arm"),
        ("Q6.twin=nver", r"Q6: arm: no 'nver'; did you mean 'never'"),
        ("Q6.twin=sft_3", r"Q6: stage of arm sft_3: no 'benign_2'"),
        ("Q6.benign=('benign_3',)", r"Q6: stage: no 'benign_3'"),
        ("Q6.forbidden=2", r"Q6\.metric: no 'accuracy/2'"),
        ("Q6.over_refusal=share/refusd", r"Q6\.over_refusal: no 'share/refusd'; .*share/refused"),
        ("Q6_law.aligned_at=1.0", r"Q6_law: aligned_at is 1\.0; it must be above 0 and below 1"),
        ("Q6_law.arms.sft=()", r"Q6_law: arms\.sft is \(\); it must name an arm that was shown"),
        ("Q6_law.attacks.low=('attack_low_2',)", r"Q6_law: attacks have .* sizes; they must be as"),
        ("Q6_law.shown=()", r"Q6_law: shown is empty; it must name at least one"),
        ("Q6_law.shown=('refusal',)", r"Q6_law\.shown: no 'refusal'; did you mean 'refusals'"),
        ("Q6_law.counted=('alin',)", r"Q6_law\.counted: no 'alin'; did you mean 'align'"),
    ],
)
def test_a_wrong_question_is_named_before_anything_runs(override, message):
    with pytest.raises(ConfigError, match=message):
        study_of("smoke", f"--config.questions.{override}")
