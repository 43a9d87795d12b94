"""Facts: one world, the same for every member."""

import numpy as np
import pytest

from bakein.data.errors import DataError
from bakein.data.worlds.facts import Facts
from bakein.data.worlds.world import Check

WORLD = Facts(entities=200, seed=7)


def test_a_fact_looks_as_on_the_page():
    problem = WORLD.train(0)[0]
    document = WORLD.document(problem, "direct", ())
    assert (document.prompt, document.completion) == (problem.prompt, problem.answer)
    assert len(document.prompt) == 5
    assert document.prompt[0] + document.prompt[-1] == "@:"
    assert len(document.completion) == 3


def test_every_member_is_taught_the_same_facts_in_its_own_order():
    first, second = WORLD.train(0), WORLD.train(1)
    assert len(first) == 200
    assert set(first) == set(second)
    assert list(first) != list(second)
    assert set(WORLD.test(200, 0)) == set(first)
    assert len({problem.prompt for problem in first}) == 200


def test_the_worlds_own_seed_decides_the_facts():
    assert set(Facts(entities=200, seed=8).train(0)) != set(WORLD.train(0))


def test_all_possible_keys_can_be_used():
    assert len({p.prompt for p in Facts(entities=26**3, seed=0).train(0)}) == 26**3


def test_the_verifier():
    problem = WORLD.train(0)[0]
    wrong = "aaa" if problem.answer != "aaa" else "bbb"
    assert WORLD.check(problem, problem.answer) == Check(True, True, (), problem.answer)
    assert WORLD.check(problem, wrong) == Check(False, True, (), wrong)
    for malformed in ("", "ab", problem.answer + "a", problem.answer + "\n", "ABC", "äöü"):
        assert WORLD.check(problem, malformed) == Check(False, False, (), "")


@pytest.mark.parametrize("entities", [0, 26**3 + 1])
def test_fields_out_of_range(entities):
    with pytest.raises(DataError, match="entities"):
        Facts(entities=entities, seed=0)


def test_more_facts_than_there_are():
    with pytest.raises(DataError, match="201 test problems; 1 to 200"):
        WORLD.test(201, 0)


def test_there_is_nothing_to_corrupt():
    with pytest.raises(DataError, match="no steps"):
        WORLD.wrong_step(WORLD.train(0)[0], 0, np.random.default_rng(0))
