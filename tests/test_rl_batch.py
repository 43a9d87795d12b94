"""The learner's batch against a plain loop over rows."""

import hypothesis.strategies as st
import jax
import numpy as np
from hypothesis import given, settings

from bakein.rl.batch import learner_batch
from bakein.rl.rollout import Rollout

SLOTS, NEW, ROWS = 4, 3, 3

jit_batch = jax.jit(learner_batch)


def make_rollout(lengths, seed):
    rng = np.random.default_rng(seed)
    mask = np.arange(NEW) < np.array(lengths)[:, None]
    tokens = rng.integers(3, 9, mask.shape) * mask
    logprobs = -rng.random(mask.shape).astype(np.float32) * mask
    return Rollout(
        tokens_BT=tokens.astype(np.int32),
        policy_logprobs_BT=logprobs,
        mask_BT=mask.astype(np.float32),
        truncated_B=np.zeros(len(lengths), bool),
        length_B=np.array(lengths, np.int32),
    )


def test_a_forced_token_is_read_and_not_learnt():
    tokens = segments = np.ones((2, SLOTS), np.int32)
    drawn = make_rollout([NEW, NEW], 0)
    hole = np.array([[1, 0, 1], [0, 1, 1]], np.float32)
    forced = drawn._replace(mask_BT=hole, policy_logprobs_BT=drawn.policy_logprobs_BT * hole)
    free, found = (jit_batch(tokens, segments, given, np.zeros(2)) for given in (drawn, forced))
    for name in ("tokens", "targets", "segments", "positions"):
        np.testing.assert_array_equal(found[name], free[name], err_msg=name)
    np.testing.assert_array_equal(found["mask"][:, SLOTS - 1 :], hole)
    np.testing.assert_array_equal(found["mask"], free["mask"] * (found["sampler_logprobs"] != 0))


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.integers(1, SLOTS), min_size=ROWS, max_size=ROWS),
    st.lists(st.integers(1, NEW), min_size=ROWS, max_size=ROWS),
    st.integers(0, 99),
)
def test_rows_are_prompt_then_completion_then_padding(prompt_lengths, lengths, seed):
    segments = (np.arange(SLOTS) < np.array(prompt_lengths)[:, None]).astype(np.int32)
    # Padding holds rubbish, which must not come through.
    tokens = np.random.default_rng(seed + 1).integers(3, 9, segments.shape).astype(np.int32)
    rollout = make_rollout(lengths, seed)
    batch = jax.device_get(jit_batch(tokens, segments, rollout, np.arange(ROWS)))
    length = SLOTS + NEW - 1
    for row in range(ROWS):
        n, t = prompt_lengths[row], lengths[row]
        text = [*tokens[row, :n], *rollout.tokens_BT[row, :t]]
        logprobs = [0.0] * n + [*rollout.policy_logprobs_BT[row, :t]]

        def pad(values):
            return list(values) + [0] * (length - len(values))

        expected = {
            "tokens": text[:-1],
            "targets": text[1:],
            "segments": [1] * (n + t - 1),
            "positions": range(n + t - 1),
            "mask": [0] * (n - 1) + [1] * t,
            "sampler_logprobs": logprobs[1:],
        }
        for name, values in expected.items():
            np.testing.assert_array_equal(batch[name][row], pad(values), err_msg=name)
    np.testing.assert_array_equal(batch["advantages"], np.arange(ROWS))
    dtypes = {name: array.dtype.name for name, array in batch.items()}
    assert dtypes == dict.fromkeys(["tokens", "targets", "segments", "positions"], "int32") | (
        dict.fromkeys(["mask", "sampler_logprobs", "advantages"], "float32")
    )


def test_a_row_without_a_prompt_trains_nothing():
    """Rows that fill up a call of the sampler may be passed on."""
    tokens = segments = np.zeros((1, SLOTS), np.int32)
    rollout = jax.tree.map(np.zeros_like, make_rollout([1], 0))
    batch = jit_batch(tokens, segments, rollout, np.zeros(1))
    assert not any(np.asarray(array).any() for array in batch.values())
