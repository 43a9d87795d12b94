"""Rewards are the verifier's word, and a new one is only a function."""

import numpy as np
import pytest

from bakein.data.worlds.registers import Registers
from bakein.data.worlds.world import Problem
from bakein.rl import rewards

WORLD = Registers(slots=4, digits=3, templates=1, test_share=0.05)
PROBLEM = Problem("?rot swp inc nop 407=", "804", ("074", "704", "804", "804"), 3)


@pytest.mark.parametrize(
    ("completion", "exact", "verified", "well_formed"),
    [
        (">074>704>804>804!804", 1, 1, 1),
        ("!804", 1, 0, 1),  # right, but nothing to verify
        (">074>704>804>111!804", 1, 0, 1),  # right in spite of a wrong step
        (">074>704>804>804!111", 0, 0, 1),
        (">074!804", 1, 0, 0),
        ("!999", 0, 0, 1),
        ("", 0, 0, 0),
        ("\ufffd!804", 1, 0, 0),
    ],
)
def test_rewards_of_a_completion(completion, exact, verified, well_formed):
    assert rewards.exact(WORLD, PROBLEM, completion) == exact
    assert rewards.verified(WORLD, PROBLEM, completion) == verified
    assert rewards.format(WORLD, PROBLEM, completion) == well_formed


def test_a_problem_without_steps_is_verified_by_its_answer():
    check = WORLD.check(PROBLEM, "!804")
    assert rewards.is_verified(Problem("", "804", (), 1), check)
    assert not rewards.is_verified(PROBLEM, check)


def test_score_takes_any_function():
    def brevity(world, problem, completion):
        return -len(completion) / problem.level

    texts = [["", "abc"], ["abcdef", "x"]]
    scores = rewards.score(WORLD, [PROBLEM, PROBLEM], texts, brevity)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, [[0, -1], [-2, -1 / 3]])
    with pytest.raises(ValueError, match="zip"):
        rewards.score(WORLD, [PROBLEM], texts, brevity)
