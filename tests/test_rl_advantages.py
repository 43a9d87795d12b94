"""Group advantages: exact zeros, zero mean, unit deviation."""

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from bakein.rl.advantages import group_advantages

REWARDS = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 4), st.integers(1, 9)), elements=st.floats(-100, 100)
)


@given(st.floats(-1e6, 1e6), st.integers(1, 9), st.booleans())
def test_equal_rewards_give_exactly_zero(reward, group, normalise):
    assert (group_advantages(np.full((2, group), reward), normalise=normalise) == 0).all()


@given(REWARDS, st.booleans())
def test_each_group_has_mean_zero_and_keeps_its_order(rewards, normalise):
    advantages = group_advantages(rewards, normalise=normalise)
    assert advantages.dtype == np.float32
    assert np.isfinite(advantages).all()
    np.testing.assert_allclose(advantages.mean(axis=1), 0, atol=1e-4)
    order = np.argsort(rewards, axis=1, kind="stable")
    assert (np.diff(np.take_along_axis(advantages, order, axis=1), axis=1) >= -1e-5).all()
    if normalise:
        varied = np.ptp(rewards, axis=1) > 1e-6
        np.testing.assert_allclose(advantages[varied].std(axis=1), 1, rtol=1e-4)


def test_by_hand():
    rewards = [[1, 0, 0, 1], [3, 1, 1, 1], [2, 2, 2, 2]]
    np.testing.assert_allclose(
        group_advantages(rewards, normalise=False),
        [[0.5, -0.5, -0.5, 0.5], [1.5, -0.5, -0.5, -0.5], [0, 0, 0, 0]],
    )
    root = 3**0.5
    np.testing.assert_allclose(
        group_advantages(rewards, normalise=True),
        [[1, -1, -1, 1], [root, -1 / root, -1 / root, -1 / root], [0, 0, 0, 0]],
        rtol=1e-6,
    )


def test_a_member_axis_passes_through():
    rewards = np.random.default_rng(0).random((2, 3, 4))
    both = group_advantages(rewards, normalise=True)
    for member in range(2):
        alone = group_advantages(rewards[member], normalise=True)
        np.testing.assert_array_equal(both[member], alone)


@pytest.mark.parametrize("reward", [np.nan, np.inf])
def test_rewards_that_are_not_finite_are_refused(reward):
    with pytest.raises(ValueError, match="not finite"):
        group_advantages([[0.0, reward]], normalise=True)
