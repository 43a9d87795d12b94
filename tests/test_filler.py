"""Filler: the statistics it promises, and its split."""

import collections
import dataclasses
import itertools

import numpy as np
import pytest

from bakein.data.errors import DataError
from bakein.data.worlds.filler import Filler
from bakein.data.worlds.world import Check, split_of

WORLD = Filler(vocabulary=200, words=12, zipf=1.0, bigram=0.6, test_share=0.1, seed=3)


def texts(world: Filler, n: int) -> list[list[str]]:
    train = world.train(0)
    return [train[i].prompt.split(" ") for i in range(n)]


def test_the_text_is_the_completion():
    problem = WORLD.train(0)[0]
    document = WORLD.document(problem, "text", ())
    assert (document.prompt, document.completion) == ("", problem.prompt)
    assert len(document.completion.split(" ")) == 12
    assert (problem.answer, problem.steps) == ("", ())


def test_the_worlds_own_seed_decides_the_language():
    words = {word for text in texts(WORLD, 500) for word in text}
    others = {word for text in texts(dataclasses.replace(WORLD, seed=4), 500) for word in text}
    assert 100 < len(words) <= 200
    assert len(words & others) < 50


def test_words_follow_zipfs_law():
    world = dataclasses.replace(WORLD, bigram=0.0)
    counts = collections.Counter(word for text in texts(world, 4000) for word in text)
    ordered = np.array([count for _, count in counts.most_common(20)], float)
    harmonic = (1 / np.arange(1, 201)).sum()
    expected = 48_000 / np.arange(1, 21) / harmonic
    np.testing.assert_allclose(ordered, expected, rtol=0.15)
    common, rare = (sorted(counts, key=counts.get)[-20:], sorted(counts, key=counts.get)[:20])
    assert sum(map(len, common)) < sum(map(len, rare))  # frequent words are short


def test_the_next_word_depends_on_the_one_before_it():
    def share_of_four_favourites(world):
        after = collections.defaultdict(collections.Counter)
        for text in texts(world, 4000):
            for word, following in itertools.pairwise(text):
                after[word][following] += 1
        top = max(after, key=lambda word: after[word].total())
        return sum(n for _, n in after[top].most_common(4)) / after[top].total()

    # bigram, plus what the four get from the unigram draws
    assert share_of_four_favourites(dataclasses.replace(WORLD, bigram=1.0)) == 1
    assert 0.6 <= share_of_four_favourites(WORLD) < 0.85
    assert share_of_four_favourites(dataclasses.replace(WORLD, bigram=0.0)) < 0.45


def test_training_and_test_texts_are_split_by_hash():
    train = {" ".join(text) for text in texts(WORLD, 2000)}
    test = {problem.prompt for problem in WORLD.test(200, 0)}
    assert {split_of(f"filler {text}", 0.1) for text in train} == {"train"}
    assert {split_of(f"filler {text}", 0.1) for text in test} == {"test"}


def test_a_language_that_is_too_small_for_so_many_texts():
    tiny = Filler(vocabulary=3, words=2, zipf=1.0, bigram=0.5, test_share=0.5, seed=0)
    with pytest.raises(DataError, match=r"level 1 has only \d such problems"):
        tiny.test(50, 0)


def test_there_is_nothing_to_be_right_about():
    problem = WORLD.train(0)[0]
    assert WORLD.check(problem, problem.prompt) == Check(False, True, ())
    assert WORLD.check(problem, "Xyzzy") == Check(False, False, ())
    assert WORLD.check(problem, "") == Check(False, False, ())
    with pytest.raises(DataError, match="no steps"):
        WORLD.wrong_step(problem, 0, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("vocabulary", 0),
        ("vocabulary", 10_001),
        ("words", 0),
        ("zipf", -1.0),
        ("zipf", float("inf")),
        ("bigram", 1.1),
        ("bigram", float("nan")),
        ("test_share", 0.0),
        ("test_share", 1.0),
    ],
)
def test_fields_out_of_range(field, value):
    with pytest.raises(DataError, match=f"{field}: {value}"):
        dataclasses.replace(WORLD, **{field: value})
