"""Policy losses against a plain loop over tokens."""

import math

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from bakein.rl import losses

ROWS, LENGTH = 3, 5
CLIP = {"clip_low": 0.2, "clip_high": 0.3}


def make_arrays(seed):
    """(logprobs, old, ref, advantages, mask), NaN wherever the mask is 0."""
    rng = np.random.default_rng(seed)
    mask = (rng.random((ROWS, LENGTH)) < 0.6).astype(np.float32)
    old = rng.uniform(-3, 0, mask.shape)
    near = [old + rng.normal(0, 0.3, mask.shape) for _ in range(2)]
    logprobs, old, ref = (np.where(mask > 0, x, np.nan) for x in (near[0], old, near[1]))
    advantages = rng.normal(0, 1, ROWS) * rng.integers(0, 2, ROWS)
    return tuple(np.float32(x) for x in (logprobs, old, ref, advantages, mask))


def reference(logprobs, old, ref, advantages, mask, clip_low, clip_high, kl, aggregation):
    """(loss sum, weight, clipped tokens, kl sum), token by token in Python floats."""
    total = weight = clipped = kl_total = 0.0
    for row in range(ROWS):
        places = [i for i in range(LENGTH) if mask[row, i]]
        for i in places:
            a, p, q, r = (
                float(x) for x in (advantages[row], logprobs[row, i], old[row, i], ref[row, i])
            )
            ratio = math.exp(p - q)
            bounded = min(max(ratio, 1 - clip_low), 1 + clip_high)
            loss = -min(ratio * a, bounded * a)
            k3 = math.exp(r - p) - (r - p) - 1
            share = 1.0 if aggregation == "token" else 1.0 / len(places)
            total += share * (loss + kl * k3)
            weight += share
            kl_total += k3
            clipped += (a > 0 and ratio > 1 + clip_high) or (a < 0 and ratio < 1 - clip_low)
    return total, weight, clipped, kl_total


@settings(deadline=None, max_examples=80)
@given(
    seed=st.integers(0, 10**6),
    clip_low=st.floats(0, 0.9),
    clip_high=st.floats(0, 2),
    kl=st.sampled_from([0.0, 0.04, 1.0]),
    aggregation=st.sampled_from(["token", "sequence"]),
)
def test_loss_equals_the_plain_reference(seed, clip_low, clip_high, kl, aggregation):
    logprobs, old, ref, advantages, mask = make_arrays(seed)
    loss, clipped = losses.clipped_policy_loss(
        logprobs, old, advantages, mask, clip_low=clip_low, clip_high=clip_high
    )
    penalty = losses.kl_penalty(logprobs, ref, mask)
    weights = losses.token_weights(jnp.asarray(mask), aggregation)
    got = losses.weighted_sum(loss + kl * penalty, weights)
    total, weight, clipped_total, kl_total = reference(
        logprobs, old, ref, advantages, mask, clip_low, clip_high, kl, aggregation
    )
    np.testing.assert_allclose(got.total, total, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got.weight, weight, rtol=1e-5)
    np.testing.assert_allclose(losses.weighted_sum(penalty, mask).total, kl_total, rtol=1e-4)
    assert losses.weighted_sum(clipped, mask).total == clipped_total


def loss_sum(logprobs, old, ref, advantages, mask, kl=0.1):
    loss, _ = losses.clipped_policy_loss(logprobs, old, advantages, mask, **CLIP)
    return losses.weighted_sum(loss + kl * losses.kl_penalty(logprobs, ref, mask), mask).total


def test_masked_tokens_get_no_gradient():
    arrays = make_arrays(1)
    gradient = np.asarray(jax.grad(loss_sum)(*arrays))
    mask = arrays[-1]
    assert (gradient[mask == 0] == 0).all()
    assert np.isfinite(gradient).all()
    assert (gradient[mask > 0] != 0).all()


def test_zero_advantage_gives_exactly_zero_gradient():
    logprobs, old, ref, advantages, mask = make_arrays(2)
    gradient = jax.grad(loss_sum)(logprobs, old, ref, advantages * 0, mask, 0.0)
    assert (np.asarray(gradient) == 0).all()
    # Even where the policies are so far apart that the ratio overflows.
    gradient = jax.grad(loss_sum)(logprobs + 500, old, ref, advantages * 0, mask, 0.0)
    assert (np.asarray(gradient) == 0).all()


def test_clipped_tokens_get_no_gradient_and_are_those_counted():
    advantages = np.array([1, 1, 1, -1, -1, -1], np.float32)
    ratios = np.array([1.5, 1.1, 0.5, 1.5, 0.9, 0.5], np.float32)
    logprobs = np.log(ratios)[:, None]
    mask = np.ones_like(logprobs)
    _, clipped = losses.clipped_policy_loss(logprobs, mask * 0, advantages, mask, **CLIP)
    np.testing.assert_array_equal(clipped[:, 0], [1, 0, 0, 0, 0, 1])
    gradient = jax.grad(loss_sum)(logprobs, mask * 0, mask, advantages, mask, 0.0)
    expected = np.where(clipped[:, 0], 0, -advantages * ratios)
    np.testing.assert_allclose(gradient[:, 0], expected, rtol=1e-5)


def test_on_policy_gradient_is_reinforce():
    """At ratio 1 the gradient of the loss is minus the advantage, token by token."""
    _, old, ref, advantages, mask = make_arrays(3)
    gradient = jax.grad(loss_sum)(old, old, ref, advantages, mask, 0.0)
    np.testing.assert_allclose(gradient, -advantages[:, None] * mask, rtol=1e-6)


def test_kl_estimate_is_unbiased():
    """E over p of k3 is KL(p || r); never negative."""
    rng = np.random.default_rng(0)
    p, r = (np.log(rng.dirichlet(np.ones(8))) for _ in range(2))
    k3 = np.asarray(losses.kl_penalty(*(np.float32(x[None]) for x in (p, r)), np.ones((1, 8))))
    assert (k3 >= 0).all()
    np.testing.assert_allclose((np.exp(p) * k3[0]).sum(), (np.exp(p) * (p - r)).sum(), rtol=1e-4)


def test_weights_add_up():
    mask = jnp.array([[1.0, 1, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(losses.token_weights(mask, "token"), mask)
    by_row = losses.token_weights(mask, "sequence").sum(axis=1)
    np.testing.assert_allclose(by_row, [1, 1, 0])
    with pytest.raises(ValueError, match="aggregation is 'rows'; it must be 'token' or 'sequence'"):
        losses.token_weights(mask, "rows")
