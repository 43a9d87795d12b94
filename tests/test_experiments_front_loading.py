"""The front-loading study: what its arms read, at every scale, and its world of long problems."""

import re

import pytest

from bakein.data.worlds.registers import NAMES, transitions
from bakein.study.config import resolve
from bakein.study.experiment import load_experiment
from bakein.study.materials import Materials, mixture

FILE = "experiments/front_loading.py"
BASES = ("none", "small_hq", "large_diverse", "union", "filtered")


@pytest.fixture(scope="module", params=("tiny", "small", "paper", "smoke"))
def study(request, root):
    return resolve(load_experiment(f"{root / FILE}:{request.param}", []))


@pytest.fixture(scope="module")
def root(pytestconfig):
    return pytestconfig.rootpath


def shares(stage, config):
    """Source -> share of all tokens, at the end of a stage."""
    data, mixed = config.data, mixture(config)
    targets = {n: t / config.tokens for n, t in mixed.targets(config.tokens).items()}
    left, weights = 1 - sum(targets.values()), sum(data.background.values())
    targets |= {n: left * w / weights for n, w in data.background.items()}
    return {n: share for n, share in targets.items() if share > 0}


def test_a_fifth_of_every_base_but_none_is_traces_and_the_rest_is_the_same(study):
    traces = {
        "none": {},
        "small_hq": {"few": 0.2},
        "large_diverse": {"diverse": 0.2},
        "union": {"few": 0.1, "diverse": 0.1},
        "filtered": {"long": 0.2},
    }
    for arm in BASES:
        found = shares("pretrain", study.arms[arm]["pretrain"])
        own = {name: share for name, share in found.items() if name in ("few", "diverse", "long")}
        assert own == pytest.approx(traces[arm])
        rest = {"filler": 0.3, "facts": 0.1, "atomic": 0.4, "direct": 0.2}
        kept = 1 - sum(own.values())
        assert {n: found[n] for n in rest} == pytest.approx({n: kept * w for n, w in rest.items()})


def test_sft_is_the_same_for_the_bases_and_has_more_tokens_or_other_traces_elsewhere(study):
    first = study.arms["none"]["sft"]
    assert all(study.arms[arm]["sft"] == first for arm in BASES)
    for multiple in (2, 4, 8):
        more = study.arms[f"none_{multiple}x"]
        assert more["sft"].tokens == multiple * first.tokens
        assert more["sft"].data == first.data
        assert more["pretrain"] == study.arms["none"]["pretrain"]
    plain = shares("sft", first)
    for arm, name in (("sft_diverse", "diverse"), ("sft_filtered", "long")):
        other = shares("sft", study.arms[f"large_diverse_{arm}"]["sft"])
        assert other.pop(name) == pytest.approx(plain["traces"])
        assert other == pytest.approx({n: s for n, s in plain.items() if n != "traces"})


@pytest.fixture(scope="module")
def smoke(root):
    return resolve(load_experiment(f"{root / FILE}:smoke", []))


def test_the_small_set_is_right_and_the_large_one_has_errors_and_notations(smoke):
    materials = Materials(smoke)

    def read(arm, name):
        config = smoke.arms[arm]["pretrain"]
        return materials.sources("pretrain", config, 1)[name].documents

    few, large, long = read("union", "few"), read("union", "diverse"), read("filtered", "long")
    assert len(few) == 30
    notations = [{d.prompt[1].isdigit() for d in map(docs.__getitem__, range(30))}
                 for docs in (few, large, long)]  # fmt: skip
    assert notations == [{False}, {False, True}, {False, True}]
    assert errors(few[i] for i in range(30)) == 0
    for documents in (large, long):
        assert errors(documents[i] for i in range(400)) == pytest.approx(0.1, abs=0.03)


def errors(documents):
    """Share of the steps that are not what the prompt's program gives."""
    wrong, steps = 0, 0
    for document in documents:
        state = int(re.search("[0-9]+", document.prompt)[0])
        shown = document.completion.partition("!")[0].split(">")[1:]
        for name, step in zip(re.findall("[a-z]{3}", document.prompt), shown, strict=True):
            state = int(transitions(3)[NAMES.index(name), state])
            wrong, steps = wrong + (step != f"{state:03}"), steps + 1
    return wrong / steps


def test_long_problems_are_training_problems_with_many_operations(smoke):
    world, whole = smoke.worlds["long"], smoke.worlds["diverse"]
    problems, others = world.train(3), whole.train(3)
    first = [problems[i] for i in range(600)]
    assert {p.level for p in first} == {3, 4}
    assert all(p.prompt.count("nop") == 4 - p.level for p in first)
    known = {others[i].prompt for i in range(24 * 256)}
    assert {p.prompt for p in first} <= known
    assert len({p.prompt for p in first}) > 590  # blocks do not repeat each other
    assert [problems[i] for i in range(256)] == [world.train(3)[i] for i in range(256)]
