"""Node ids: what they depend on, what they do not, and what arms share."""

import dataclasses
import functools
import importlib.util
import json
import math
import sys

import numpy as np
import pytest
import tiny_study

from bakein.rl import rewards
from bakein.study import base
from bakein.study.config import resolve
from bakein.study.dag import build_dag
from bakein.study.digest import digest, plain, seed_of
from bakein.study.errors import ConfigError
from bakein.study.experiment import apply_overrides
from bakein.study.materials import Materials


def places(*overrides, change=lambda config: None):
    """(arm, stage, seed) -> id, and the same for evaluations under the stage `stage eval`."""
    config = tiny_study.get_config()
    change(config)
    study = resolve(apply_overrides(config, ["--config.seeds=1", *overrides]))
    dag = build_dag(study, Materials(study))
    evals = {(a, f"{s} eval", m): dag.evals[id] for (a, s, m), id in dag.places.items()}
    return {**dag.places, **evals}


@pytest.fixture(scope="module")
def original():
    return places()


def changed(original, *overrides, change=lambda config: None, arm="baked_in"):
    after = places(*overrides, change=change)
    keys = [key for key in original if key[0] == arm and key[2] == 0]
    return {stage for a, stage, m in keys if after[a, stage, m] != original[a, stage, m]}


ALL = {"pretrain", "pretrain eval", "sft", "sft eval", "rl", "rl eval"}
SFT_ON = {"sft", "sft eval", "rl", "rl eval"}
RL_ON = {"rl", "rl eval"}
EVALS = {"pretrain eval", "sft eval", "rl eval"}


@pytest.mark.parametrize(
    ("override", "stages"),
    [
        ("--config.stages.pretrain.tokens=1601", ALL),
        ("--config.stages.pretrain.data.share.traces=0.1", set()),  # the arm's own value stands
        ("--config.arms.baked_in.pretrain.data.share.traces=0.1", ALL),
        ("--config.stages.sft.optimizer.learning_rate=0.1", SFT_ON),
        ("--config.sources.examples.documents=41", SFT_ON),
        ("--config.stages.rl.clip_high=0.3", RL_ON),
        ("--config.stages.rl.curve_problems=9", RL_ON),
        ("--config.evaluation.samples=8", EVALS),
        ("--config.evaluation.facts=9", EVALS),
        ("--config.worlds.facts.entities=17", ALL),
        ("--config.worlds.facts.seed=1", {"pretrain", "pretrain eval"} | SFT_ON),
        ("--config.model.d_ff=8", ALL),
        ("--config.seed=1", ALL),
        # How a study is run, and what is asked of it, is not what its stages are.
        ("--config.stages.pretrain.save_every=7", set()),
        ("--config.stages.rl.save_seconds=600.0", set()),
        ("--config.stages.pretrain.prefetch=0", set()),
        ("--config.workers=1", set()),
        ("--config.bootstrap.resamples=200", set()),
        ("--config.questions.Q1.epsilon=0.5", set()),
        ("--config.mesh.fsdp=2", set()),
        ("--config.name=other", set()),
    ],
)
def test_a_changed_key_changes_what_depends_on_it(original, override, stages):
    assert changed(original, override) == stages


def test_ids_are_the_same_in_another_study_of_the_same_stages(original):
    assert places() == original


def test_arms_share_what_they_do_not_change(original):
    def change(config):
        config.arms.other_rl = base.arm({"rl.clip_high": 0.5})
        config.arms.same_as_standard = base.arm()

    found = places(change=change)
    for stage in ("pretrain", "sft", "sft eval"):
        assert found["other_rl", stage, 0] == found["standard", stage, 0]
    assert found["other_rl", "rl", 0] != found["standard", "rl", 0]
    assert all(found["same_as_standard", stage, 0] == found["standard", stage, 0] for stage in ALL)
    assert len(set(found.values())) == 2 * len(ALL) + 2


def test_members_do_not_share(original):
    two = places("--config.seeds=2")
    assert not {id for (_, _, m), id in two.items() if m == 0} & {
        id for (_, _, m), id in two.items() if m == 1
    }
    assert {k: v for k, v in two.items() if k[2] == 0} == original


REWARD = "def reward(group):\n    return [{value}] * len(group.texts)\n"


def load_reward(path, value):
    path.write_text(REWARD.format(value=value))
    spec = importlib.util.spec_from_file_location("reward_file", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.reward


def test_the_source_of_a_function_is_part_of_what_depends_on_it(original, tmp_path):
    def with_reward(value):
        reward = load_reward(tmp_path / f"reward{value}.py", value)

        def change(config):
            with config.stages.rl.ignore_type():
                config.stages.rl.reward = reward

        return places(change=change)

    one, two, again = with_reward(1.0), with_reward(2.0), with_reward(1.0)
    assert one == again
    assert {
        stage for _, stage, _ in one if one["standard", stage, 0] != two["standard", stage, 0]
    } == RL_ON


CALLABLE = """
import dataclasses

@dataclasses.dataclass(frozen=True)
class Constant:
    value: float

    def __call__(self, group):
        return [{factor} * self.value for _ in group.texts]
"""


def test_a_reward_with_parameters_is_its_fields_and_its_source(tmp_path, monkeypatch):
    def load(name, factor):
        path = tmp_path / f"{name}.py"
        path.write_text(CALLABLE.format(factor=factor))
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)  # where its source is looked for
        spec.loader.exec_module(module)
        return plain(module.Constant(0.5))

    one, two, again = load("one", 1), load("two", 2), load("again", 1)
    assert one["value"] == 0.5
    source = [found["class"].split()[1] for found in (one, two, again)]
    assert source[0] == source[2] != source[1]


def test_composed_rewards_are_told_apart():
    def one(world, problem, completion):
        return 1.0

    def two(world, problem, completion):
        return 2.0

    values = [
        rewards.each(one),
        rewards.each(two),
        rewards.random(0.5),
        rewards.random(0.25),
        rewards.length(3),
        rewards.total((rewards.exact, 1.0), (rewards.each(one), 1.0)),
        rewards.total((rewards.exact, 1.0), (rewards.each(two), 1.0)),
        rewards.total((rewards.exact, 1.0), (rewards.each(one), 2.0)),
        rewards.total((rewards.format, 1.0), (rewards.each(one), 1.0)),
    ]
    assert len({digest(value) for value in values}) == len(values)
    assert digest(rewards.each(one)) == digest(rewards.each(one))


def test_a_bound_that_is_off_can_be_written_as_json(original):
    assert changed(original, "--config.stages.rl.clip_low=inf") == RL_ON
    config = resolve(apply_overrides(tiny_study.get_config(), ["--config.stages.rl.clip_low=inf"]))
    text = json.dumps(plain(config.arms["standard"]["rl"]), allow_nan=False)
    assert json.loads(text)["clip_low"] == "inf"


def test_arms_of_one_member_read_the_same_documents():
    study = resolve(tiny_study.get_config())
    materials = Materials(study)
    arms = [
        materials.sources("pretrain", study.arms[arm]["pretrain"], 0) for arm in tiny_study.ARMS
    ]
    for name in ("facts", "direct", "traces"):
        left, right = (sources[name] for sources in arms)
        assert left.seed == right.seed
        assert [left.documents[i] for i in range(16)] == [right.documents[i] for i in range(16)]
    other = materials.sources("pretrain", study.arms["standard"]["pretrain"], 1)
    assert other["direct"].seed != arms[0]["direct"].seed


def test_parents_come_first_and_every_node_has_an_evaluation():
    study = resolve(tiny_study.get_config())
    dag = build_dag(study, Materials(study))
    seen = set()
    for node in dag.nodes.values():
        assert node.parent in {"", *seen}
        seen.add(node.id)
    assert len(dag.nodes) == 24
    assert {dag.nodes[id].parent for id in dag.evals.values()} == set(dag.places.values())
    names = [node.name for node in dag.nodes.values()]
    assert len(set(names)) == len(names)


class Called:
    def __init__(self, value):
        self.value = value

    def __call__(self, group):
        return [self.value for _ in group.texts]


def holding(value):
    return lambda group: [value for _ in group.texts]


def with_keyword(value):
    def reward(group, *, value=value):
        return [value for _ in group.texts]

    return reward


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (object(), "a"),
        (Called(0.5), "a"),
        (functools.wraps(len)(Called(0.5)), "a"),  # a name does not make it a function
        (Called(0.5).__call__, "a"),
        (holding(np.zeros(3)), "a.value"),
        (functools.partial(len, object()), "a"),
        (with_keyword(b"0.5"), "a.value"),
    ],
)
def test_plain_refuses_what_has_no_text(value, path):
    with pytest.raises(ConfigError, match="cannot stand in a configuration") as error:
        plain({"a": value})
    line = str(error.value)
    assert line.startswith(f"{path}: ")
    assert "make it a frozen dataclass or functools.partial" in line
    assert "\n" not in line


def scaled(factor):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(group):
            return [factor * value for value in function(group)]

        return wrapper

    return decorate


def negated(function):
    @functools.wraps(function)
    def wrapper(group):
        return [-value for value in function(group)]

    return wrapper


def halved(function):
    @functools.wraps(function)
    def wrapper(group):
        return [value / 2 for value in function(group)]

    return wrapper


def made_here(value):
    @dataclasses.dataclass(frozen=True)
    class Constant:
        def __call__(self, group):
            return [value for _ in group.texts]

    return Constant()


@dataclasses.dataclass(frozen=True)
class Scorer:
    value: float

    def score(self, group):
        return [self.value for _ in group.texts]

    @functools.cache  # noqa: B019
    def kept(self, group):
        return self.score(group)


MAKERS = {
    "a closure": holding,
    "a default argument": lambda value: lambda group, value=value: [value] * len(group.texts),
    "a keyword's default": with_keyword,
    "a cached closure": lambda value: functools.cache(holding(value)),
    "a closure over a closure": lambda value: holding(holding(value)),
    "a closure over a dict": lambda value: holding({"weights": (1, [value])}),
    "a partial of a closure": lambda value: functools.partial(holding(value), limit=3),
    "a decorator's argument": lambda value: scaled(value)(rewards.exact),
    "a decorated closure": lambda value: negated(holding(value)),
    "a cached decorated closure": lambda value: functools.cache(negated(holding(value))),
    "a cached decorator's argument": lambda value: functools.cache(scaled(value)(rewards.exact)),
    "a method": lambda value: Scorer(value).score,
    "a cached method": lambda value: Scorer(value).kept,
    "a method made in C": lambda value: {"value": value}.get,
    "a class made inside a function": made_here,
    "a reward of a closure": lambda value: rewards.each(holding(value)),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_what_a_function_holds_counts(make):
    assert digest(make(0.1)) == digest(make(0.1)) != digest(make(0.9))


def test_decorators_are_told_apart_and_plain_functions_are_their_source():
    values = [rewards.exact, negated(rewards.exact), halved(rewards.exact), scaled(1)(negated)]
    assert len({digest(value) for value in values}) == len(values)
    found = [plain(value) for value in (rewards.exact, rewards.random, len, np.mean, Called)]
    assert [text.split()[0] for text in found] == [
        "rewards.exact",
        "rewards.random",
        "builtins.len",
        "numpy.mean",
        "test_study_dag.Called",
    ]
    assert digest(holding(np)) != digest(holding(math))
    assert digest(holding(np.mean)) != digest(holding(np.max))
    assert digest(holding(str.upper)) != digest(holding(str.lower))


def test_lambdas_of_one_line_are_told_apart():
    first, second = (lambda group: [0.0] * len(group.texts)), (lambda group: [1.0])  # fmt: skip
    assert digest(first) != digest(second)
    assert digest(first) == digest(first)


def test_functions_that_capture_themselves_or_nothing_yet_end():
    def make(value):
        def count(n):
            return value if n == 0 else other(n - 1)

        def other(n):
            return count(n)

        return count

    assert digest(make(1)) == digest(make(1)) != digest(make(2))

    def early():
        return late

    unassigned = digest(early)
    late = 1
    assert digest(early) != unassigned


def test_arms_that_differ_in_what_a_reward_captured_are_trained_apart(original):
    def rewarded(value):
        def change(config):
            config.stages.rl.reward = holding(value)

        return places(change=change)

    one, again, other = rewarded(0.1), rewarded(0.1), rewarded(0.9)
    assert one == again
    assert {key[1] for key in one if one[key] != other[key]} == RL_ON


@dataclasses.dataclass(frozen=True)
class Lenient(tiny_study.Registers):
    """A world that only its verifier makes another one."""

    tolerance: int = 0


def test_what_only_a_verifier_reads_changes_what_is_verified():
    def with_tolerance(value):
        def change(config):
            given = {k: v for k, v in config.worlds.registers.items() if k != "make"}
            config.worlds.registers = base.world(Lenient, tolerance=value, **given)

        return places(change=change)

    strict, lenient = with_tolerance(0), with_tolerance(2)
    assert {key[1] for key in strict if strict[key] != lenient[key]} == {*EVALS, *RL_ON}


def test_a_reward_that_cannot_be_told_is_one_clear_line():
    def change(config):
        config.stages.rl.reward = holding(object())

    with pytest.raises(
        ConfigError, match=r"^reward\.value: <object object .*cannot stand in a conf"
    ):
        places(change=change)


def test_digests_tell_values_apart():
    @dataclasses.dataclass(frozen=True)
    class A:
        x: float

    values = [1, 1.5, "1", True, None, (1,), {"1": 1}, A(1.0), A(2.0), len, sorted]
    assert len({digest(value) for value in values}) == len(values)
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest([1, 2]) == digest((1, 2))


def test_seeds_are_functions_of_names():
    assert seed_of(0, "a") == seed_of(0, "a")
    assert len({seed_of(i, name) for i in range(50) for name in "ab"}) == 100
    assert seed_of("ab", "c") != seed_of("a", "bc")
    assert all(0 <= seed_of(i) < 2**32 for i in range(50))
