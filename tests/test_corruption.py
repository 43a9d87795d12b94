"""Corruption of traces."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakein.data import corruption
from bakein.data.errors import DataError
from bakein.data.worlds.facts import Facts
from bakein.data.worlds.registers import Registers

WORLD = Registers(slots=6, digits=3, templates=2, test_share=0.02)
TRAIN = WORLD.train(0)


@settings(deadline=None, max_examples=50)
@given(index=st.integers(0, 1000), seed=st.integers(0, 2**32))
def test_rate_one_makes_every_step_wrong(index, seed):
    problem = TRAIN[index]
    wrong = corruption.steps(WORLD, problem, np.random.default_rng(seed), 1.0)
    assert all(now != right for now, right in zip(wrong, problem.steps, strict=True))
    document = WORLD.document(problem, "trace", wrong)
    assert document.completion.endswith(f">{wrong[-1]}!{wrong[-1]}")


def test_rate_zero_and_none_change_nothing():
    rng = np.random.default_rng(0)
    for i in range(50):
        assert corruption.steps(WORLD, TRAIN[i], rng, 0.0) == TRAIN[i].steps
        assert corruption.none(WORLD, TRAIN[i], rng, 1.0) == TRAIN[i].steps


def test_the_rate_is_the_share_of_wrong_steps_at_every_place():
    rng = np.random.default_rng(0)
    wrong = np.array(
        [
            [a != b for a, b in zip(corruption.steps(WORLD, p, rng, 0.3), p.steps, strict=True)]
            for p in (TRAIN[i] for i in range(4000))
        ]
    )
    np.testing.assert_allclose(wrong.mean(axis=0), 0.3, atol=0.04)
    np.testing.assert_allclose(np.corrcoef(wrong.T), np.eye(6), atol=0.08)  # independent


def test_it_depends_on_the_generator_alone():
    first, again, other = (
        corruption.steps(WORLD, TRAIN[0], np.random.default_rng(seed), 0.5) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_a_world_without_steps_stays_as_it_is():
    world = Facts(entities=5, seed=0)
    assert corruption.steps(world, world.train(0)[0], np.random.default_rng(0), 1.0) == ()


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_a_rate_out_of_range(rate):
    with pytest.raises(DataError, match=f"corruption rate: {rate}; 0 to 1"):
        corruption.steps(WORLD, TRAIN[0], np.random.default_rng(0), rate)
