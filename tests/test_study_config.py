"""From a ConfigDict to a study: the grammar of base, overrides, arms, and their order."""

import functools

import pytest
import tiny_study

from bakein.data import corruption, schedules
from bakein.rl import rewards
from bakein.study import ask, base
from bakein.study.config import resolve
from bakein.study.errors import ConfigError
from bakein.study.experiment import apply_overrides, load_experiment


def resolved(*overrides, change=lambda config: None):
    config = tiny_study.get_config()
    change(config)
    return resolve(apply_overrides(config, overrides))


def test_overrides_reach_every_arm_with_their_type():
    study = resolved(
        "--config.stages.sft.optimizer.learning_rate=1",
        "--config.seeds=3",
        "--config.first_seed=7",
        "--config.evaluation.k=(1,4)",
        "--config.model.tied_embeddings=true",
    )
    for arm in tiny_study.ARMS:
        rate = study.arms[arm]["sft"].optimizer.learning_rate
        assert rate == 1.0
        assert isinstance(rate, float)
    assert study.members == (7, 8, 9)
    assert study.evaluation.k == (1, 4)
    assert study.model["tied_embeddings"] is True


def test_an_arm_changes_what_it_says_and_nothing_else():
    study = resolved("--config.arms.baked_in.pretrain.data.share.traces=0.3")
    standard, baked_in = study.arms["standard"], study.arms["baked_in"]
    assert (standard["pretrain"].data.share, baked_in["pretrain"].data.share) == (
        {"traces": 0.0},
        {"traces": 0.3},
    )
    assert standard["sft"] == baked_in["sft"]
    assert standard["rl"] == baked_in["rl"]


def test_arms_and_stages_come_as_declared_and_parents_first():
    def change(config):
        config.stages.extra = base.supervised(
            parent="late", data=base.data(background={"facts": 1.0})
        )
        config.stages.late = base.supervised(data=base.data(background={"facts": 1.0}))
        config.arms.a_later_one = base.arm()

    study = resolved(change=change)
    assert list(study.arms) == ["standard", "baked_in", "a_later_one"]
    assert [list(stages) for stages in study.arms.values()] == [
        ["pretrain", "sft", "rl", "late", "extra"]
    ] * 3


def test_an_arm_may_put_a_stage_elsewhere_in_the_tree():
    def change(config):
        config.arms.from_base = base.arm({"rl.parent": "pretrain"})
        config.arms.backwards = base.arm({"sft.parent": "", "pretrain.parent": "sft"})

    study = resolved(change=change)
    assert study.arms["from_base"]["rl"].parent == "pretrain"
    assert list(study.arms["backwards"])[:2] == ["sft", "pretrain"]


def test_an_arm_goes_through_the_parents_that_it_says_itself():
    def change(config):
        config.arms.x = base.arm({"rl.parent": "pretrain"}, stages=("pretrain", "rl"))

    assert list(resolved(change=change).arms["x"]) == ["pretrain", "rl"]

    def change(config):
        config.stages.rl.parent = "pretrain"
        config.arms.x = base.arm({"rl.parent": "sft"}, stages=("pretrain", "rl"))

    with pytest.raises(ConfigError, match=r"arms\.x\.stages is .*with 'sft', the parent of 'rl'"):
        resolved(change=change)


def test_sizes_pass_where_tokens_do_not_tell_how_many_documents_they_are():
    def change(config):
        for name, tokens, source in (("a", 80, "direct"), ("b", 20, "facts")):
            data = base.data(background={source: 1.0})
            config.stages[name] = base.supervised(parent="pretrain", tokens=tokens, data=data)
        config.stages.c = base.rl(parent="pretrain", world="registers", reward=rewards.exact)
        config.questions.Q6 = ask.symmetry(
            "Why?",
            {"baked_in": ("standard",)},
            shown=("traces",),
            aligned="pretrain",
            attacks={"low": ("a", "b", "c", "a")},
            forbidden=1,
            refusal="accuracy",
        )

    assert resolved(change=change).questions["Q6"].attacks["low"] == ("a", "b", "c", "a")


def test_functions_can_be_overridden_by_functions_of_another_kind():
    schedule = functools.partial(schedules.early, span=0.5)

    def change(config):
        config.arms.other = base.arm(
            {"pretrain.data.schedule": schedule, "pretrain.data.corruption": corruption.steps}
        )

    data = resolved(change=change).arms["other"]["pretrain"].data
    assert (data.schedule, data.corruption) == (schedule, corruption.steps)


def test_arm_nests_paths():
    arm = base.arm({"a.b.c": 1, "a.b.d": 2, "a.e": (3,)})
    assert arm.to_dict() == {"a": {"b": {"c": 1, "d": 2}, "e": (3,)}}


@pytest.mark.parametrize("make", [base.supervised, base.rl, base.evaluation, base.study])
def test_an_undeclared_key_is_an_error_at_once(make):
    name = {"name": "x"} if make is base.study else {}
    with pytest.raises(ConfigError, match="no 'stepz'"):
        make(**name, stepz=3)


def test_an_experiment_is_called_with_its_argument_and_may_import_its_neighbours(tmp_path):
    (tmp_path / "neighbour.py").write_text("NAME = 'from_next_door'\n")
    path = tmp_path / "json.py"  # a name that an installed module has too
    path.write_text(
        "from neighbour import NAME\nfrom bakein.study import base\n"
        "def get_config(arg=None):\n    return base.study(NAME, seeds=int(arg))\n"
    )
    config = load_experiment(f"{path}:4", ["--config.seed=5"])
    assert (config.name, config.seeds, config.seed) == ("from_next_door", 4, 5)
    import json

    assert json.loads("1") == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def get_config(arg=None)\n    pass\n", r"x.py.*SyntaxError"),
        ("import no_such_module_at_all\n", r"x\.py:1: ModuleNotFoundError.*no_such_module"),
        ("def get_config(arg=None):\n    return {}['a']\n", r"x\.py:2: KeyError: 'a'"),
        ("def get_config(arg=None):\n    return 3\n", "must return a ConfigDict"),
        ("x = 1\n", "must define get_config"),
    ],
)
def test_a_broken_experiment_says_where(tmp_path, text, says):
    (tmp_path / "x.py").write_text(text)
    with pytest.raises(ConfigError, match=says):
        load_experiment(str(tmp_path / "x.py"), [])
