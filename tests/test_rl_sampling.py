"""Sampling in calls of a fixed size: nothing depends on the size, and nothing hides in a text."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rl_tiny import DECODER, PLAIN, make_params, make_prompts

from bakein.data.tokenizers import BOS, EOS, PAD, CharTokenizer
from bakein.data.worlds.world import Problem
from bakein.rl.rollout import Rollout
from bakein.rl.sampling import (
    completion_text,
    completion_texts,
    fixed_prompts,
    sample_completions,
    sample_rows,
)

TOKENIZER = CharTokenizer("abcdefghi")  # 12 tokens, as rl_tiny's decoder has
KEY = jax.random.key(7)


def sample(lengths=(3, 1, 5), samples=4, rows=12, **changes):
    prompts = make_prompts(lengths, 5)
    config = dataclasses.replace(PLAIN, **changes)
    return sample_completions(DECODER, make_params(0), *prompts, samples, KEY, config, rows=rows)


def assert_same(got, wanted):
    for name in Rollout._fields:
        np.testing.assert_allclose(
            getattr(got, name), getattr(wanted, name), atol=1e-5, err_msg=name
        )


def test_the_size_of_the_calls_changes_nothing():
    whole = sample()
    assert whole.tokens_BT.shape == (12, PLAIN.max_new_tokens)
    assert isinstance(whole.tokens_BT, np.ndarray)
    assert_same(sample(rows=5), whole)  # the last of three calls is filled up
    assert_same(sample(), whole)


def test_more_samples_keep_those_there_were():
    few = sample(samples=2)
    wanted = jax.tree.map(lambda x: x.reshape(3, 4, *x.shape[1:])[:, :2], sample())
    assert_same(few, jax.tree.map(lambda x: x.reshape(6, *x.shape[2:]), wanted))


def test_samples_and_equal_prompts_differ():
    prompts = make_prompts([4], 5)
    twice = [np.repeat(array, 2, axis=0) for array in prompts]
    drawn = sample_completions(DECODER, make_params(0), *twice, 6, KEY, PLAIN, rows=12)
    assert len({row.tobytes() for row in drawn.tokens_BT}) > 9


def test_rows_over_a_mesh():
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    params = jax.device_put(
        make_params(0), jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    )
    prompts = make_prompts((3, 1, 5), 5)
    got = sample_completions(DECODER, params, *prompts, 4, KEY, PLAIN, rows=12, sharding=rows)
    assert_same(got, sample())


def test_vmap_over_members_is_each_alone():
    """The jitted part of sampling, and so of the evaluation."""
    prompts = [make_prompts((3, 1, 5, 2), 5, seed=member) for member in range(2)]
    params = [make_params(member) for member in range(2)]
    keys = [jax.random.key(member) for member in range(2)]
    numbers = jnp.arange(4), jnp.zeros(4, jnp.int32)
    stack = lambda trees: jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)  # noqa: E731
    both = jax.vmap(lambda p, t, s, k: sample_rows(DECODER, p, t, s, *numbers, k, PLAIN))(
        stack(params), *stack(prompts), stack(keys)
    )
    for member in range(2):
        alone = sample_rows(
            DECODER, params[member], *prompts[member], *numbers, keys[member], PLAIN
        )
        assert_same(jax.tree.map(lambda x, m=member: x[m], both), alone)


@pytest.mark.parametrize("wrong", [{"lengths": ()}, {"samples": 0}, {"rows": 0}])
def test_nothing_to_sample_is_refused(wrong):
    with pytest.raises(ValueError, match="each must be >= 1"):
        sample(**wrong)


def test_fixed_prompts_are_as_wide_as_the_longest():
    problems = [Problem(prompt, "", (), 1) for prompt in ("abc", "", "ih")]
    tokens, segments = fixed_prompts(TOKENIZER, problems)
    np.testing.assert_array_equal(tokens, [[1, 3, 4, 5], [1, 0, 0, 0], [1, 11, 10, 0]])
    np.testing.assert_array_equal(segments, tokens > 0)


@pytest.mark.parametrize(
    ("ids", "length", "text"),
    [
        ([3, 4, EOS, PAD], 3, "ab"),
        ([3, 4, 5, 6], 4, "abcd"),
        ([EOS, PAD, PAD, PAD], 1, ""),
        ([3, PAD, 4, EOS], 4, "a\ufffdb"),  # not "ab"
        ([BOS, 3, EOS, PAD], 3, "\ufffda"),
        ([3, BOS, EOS, PAD], 3, "a\ufffd"),
    ],
)
def test_text_ends_at_the_stop_token_and_shows_special_ones(ids, length, text):
    assert completion_text(TOKENIZER, np.array(ids), length) == text


def test_texts_of_many_rows():
    tokens = np.array([[3, 4, EOS], [3, 4, EOS], [5, 3, 4], [3, EOS, PAD]], np.int32)
    assert completion_texts(TOKENIZER, tokens, [3, 3, 3, 2]) == ["ab", "ab", "cab", "a"]
