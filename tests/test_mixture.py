"""The mixture follows its shares in tokens, holds its phases, and keeps the background's order."""

import random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bakein.data.errors import DataError
from bakein.data.ledger import empty_ledger, total_tokens
from bakein.data.mixture import Mixture
from bakein.data.schedules import Phase, constant, early, late, linear

LONGEST = 30


def walk(mixture, seed=0, longest=LONGEST):
    """Draws documents to the end, of lengths that depend on (seed, source, index) only."""
    ledger = empty_ledger(mixture.names)
    emitted = 0
    while emitted < mixture.tokens:
        name, left = mixture.pick(ledger, emitted)
        counts = ledger[name]
        whole = random.Random(f"{seed}/{name}/{counts['documents']}").randint(1, longest)
        size = min(whole, left)
        counts["documents"] += 1
        counts["tokens"] += size
        counts["cut"] += whole - size
        emitted += size
        yield name, emitted, ledger


@st.composite
def mixtures(draw, positive=False):
    background = draw(
        st.dictionaries(st.sampled_from("uvw"), st.floats(0.1, 5.0), min_size=1, max_size=3)
    )
    names = draw(st.sets(st.sampled_from("abc"), max_size=3))
    share = st.floats(0.02 if positive else 0.0, 0.3)
    shares = st.fixed_dictionaries(dict.fromkeys(sorted(names), share))
    phase = st.builds(Phase, st.integers(1, 900), shares, shares)
    return Mixture(background, tuple(draw(st.lists(phase, min_size=1, max_size=3))))


@settings(deadline=None, max_examples=60)
@given(mixtures(positive=True), st.integers(0, 99))
def test_no_source_strays_from_its_target(mixture, seed):
    named = len(mixture.names) - len(mixture.background)
    for _, emitted, ledger in walk(mixture, seed):
        for name, target in mixture.targets(emitted).items():
            ahead = ledger[name]["tokens"] - target
            assert ahead <= LONGEST + 1e-6
            # One competitor: within a document. More: the greedy bound, one each.
            assert -ahead <= named * LONGEST + 1e-6


@settings(deadline=None, max_examples=60)
@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 99))
def test_one_source_in_a_background_is_within_one_document(start, end, seed):
    mixture = Mixture({"u": 1.0}, (Phase(700, {"a": start}, {"a": end}),))
    for _, emitted, ledger in walk(mixture, seed):
        assert abs(ledger["a"]["tokens"] - mixture.targets(emitted)["a"]) <= LONGEST + 1e-6


@pytest.mark.parametrize("share", [0.1, 0.5, 0.93])
def test_documents_of_one_token_are_dealt_to_the_token(share):
    mixture = Mixture({"u": 1.0}, constant({"a": share}, 500))
    for _, emitted, ledger in walk(mixture, longest=1):
        assert abs(ledger["a"]["tokens"] - share * emitted) <= 1


@settings(deadline=None, max_examples=40)
@given(mixtures(), st.integers(0, 99))
def test_background_follows_its_weights_within_a_document_each(mixture, seed):
    *_, (_, _, ledger) = walk(mixture, seed)
    drawn = {name: ledger[name]["tokens"] + ledger[name]["cut"] for name in mixture.background}
    total = sum(mixture.background.values())
    for name, weight in mixture.background.items():
        assert drawn[name] - weight / total * sum(drawn.values()) <= LONGEST + 1e-6


@settings(deadline=None, max_examples=60)
@given(mixtures(), st.integers(0, 99))
def test_every_phase_ends_on_its_last_token(mixture, seed):
    passed = {emitted for _, emitted, _ in walk(mixture, seed)}
    end = 0
    for phase in mixture.phases:
        end += phase.tokens
        assert end in passed
    assert max(passed) == mixture.tokens


@settings(deadline=None, max_examples=40)
@given(mixtures(), mixtures(), st.integers(0, 99))
def test_background_order_is_the_same_in_every_arm(one, other, seed):
    """Whatever is mixed in, whenever, and wherever documents are cut."""
    other = Mixture(one.background, other.phases)
    orders = [
        [name for name, *_ in walk(mixture, seed) if name in one.background]
        for mixture in (one, other)
    ]
    common = min(map(len, orders))
    assert orders[0][:common] == orders[1][:common]


@settings(deadline=None, max_examples=40)
@given(mixtures(), st.data())
def test_target_is_the_integral_of_the_share(mixture, data):
    emitted = data.draw(st.integers(0, mixture.tokens))
    expected = dict.fromkeys(mixture.names[len(mixture.background) :], 0.0)
    done = 0
    for phase in mixture.phases:
        for x in range(min(phase.tokens, emitted - done)):
            for name, start in phase.start.items():
                middle = (x + 0.5) / phase.tokens
                expected[name] += start + (phase.end[name] - start) * middle
        done = min(emitted, done + phase.tokens)
    assert mixture.targets(emitted) == pytest.approx(expected, abs=1e-6)


@settings(deadline=None)
@given(mixtures(), st.integers(1, 7))
def test_shards_add_up_phase_by_phase(mixture, count):
    assume(any(phase.tokens >= count for phase in mixture.phases))
    shards = [mixture.shard(index, count) for index in range(count)]
    assert sum(shard.tokens for shard in shards) == mixture.tokens
    for shard in shards:
        assert abs(shard.tokens * count - mixture.tokens) <= count * len(mixture.phases)


def test_a_share_of_zero_is_no_document_at_all():
    shares = {"a": 0.25}
    arms = {
        "none": constant({"a": 0.0}, 800),
        "early": early(shares, 800, 0.5),
        "late": late(shares, 800, 0.5),
    }
    drawn = {}
    for arm, phases in arms.items():
        drawn[arm] = [
            emitted for name, emitted, _ in walk(Mixture({"u": 1.0}, phases)) if name == "a"
        ]
    assert drawn["none"] == []
    assert drawn["early"]
    assert max(drawn["early"]) <= 400
    assert drawn["late"]
    assert min(drawn["late"]) > 400


def test_zero_weight_in_the_background_is_no_document_at_all():
    mixture = Mixture({"u": 0.0, "v": 2.0}, constant({}, 300))
    assert {name for name, *_ in walk(mixture)} == {"v"}


def test_sources_without_background():
    mixture = Mixture({}, constant({"a": 0.1, "b": 0.2, "c": 0.7}, 2000))
    *_, (_, emitted, ledger) = walk(mixture)
    assert emitted == total_tokens(ledger) == 2000
    assert ledger["c"]["tokens"] == pytest.approx(1400, abs=2 * LONGEST)


def test_a_ramp_is_followed_along_the_way():
    mixture = Mixture({"u": 1.0}, linear({"a": 0.5}, 4000, 0.0))
    at = {emitted: ledger["a"]["tokens"] for _, emitted, ledger in walk(mixture)}
    halfway = min(at, key=lambda emitted: abs(emitted - 2000))
    assert at[halfway] == pytest.approx(500, abs=2 * LONGEST)  # the integral: a quarter of 2000


def test_a_shard_without_tokens_is_told():
    mixture = Mixture({"u": 1.0}, constant({}, 1) + constant({}, 1))
    assert mixture.shard(0, 2).tokens == 2
    with pytest.raises(DataError, match="tokens: 2, too few for 2 shards"):
        mixture.shard(1, 2)


@pytest.mark.parametrize(
    ("background", "phases", "message"),
    [
        ({"u": 1.0}, (), "phases: none"),
        ({"u": -1.0}, constant({}, 9), "background weight of 'u': -1, must not be negative"),
        ({"u": float("nan")}, constant({}, 9), "background weight of 'u': nan"),
        ({"u": 0.0}, constant({}, 9), "all 0"),
        ({"a": 1.0}, constant({"a": 0.5}, 9), "source 'a': in the background and in a phase"),
        ({}, constant({"a": 0.5}, 9), "sum 0.5, must be 1 where there is no background"),
    ],
)
def test_impossible_mixtures_are_told(background, phases, message):
    with pytest.raises(DataError, match=message):
        Mixture(background, phases)
