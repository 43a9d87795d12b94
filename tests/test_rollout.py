"""The sampler against the full forward pass, exact distributions and itself."""

import dataclasses

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from jax.sharding import NamedSharding, PartitionSpec
from rl_tiny import (
    DECODER,
    PLAIN,
    VOCAB,
    full_logits,
    jit_rollout,
    log_softmax,
    make_keys,
    make_params,
    make_prompts,
)

from bakein.rl.rollout import Rollout, SamplerConfig, rollout, truncate_logits

LENGTHS = (5, 1, 3, 4, 5, 2, 5, 3)


def draw(config=PLAIN, *, lengths=LENGTHS, slots=5, seed=0, params_seed=0):
    tokens, segments = make_prompts(lengths, slots)
    keys = make_keys(seed, len(lengths))
    drawn = jit_rollout(DECODER, make_params(params_seed), tokens, segments, keys, config)
    return tokens, segments, jax.device_get(drawn)


def full_rows(tokens, segments, drawn):
    """(prompt + completion, length of the prompt) of every row, by plain Python."""
    for row, (prompt, segment) in enumerate(zip(tokens, segments, strict=True)):
        n = int(segment.sum())
        yield np.r_[prompt[:n], drawn.tokens_BT[row, : drawn.length_B[row]]], n


def expected_logits(tokens, segments, drawn):
    """Logits that the model, without a cache, gives at every drawn token."""
    for row, n in full_rows(tokens, segments, drawn):
        padded = np.zeros(5 + PLAIN.max_new_tokens, np.int32)  # one shape, one compilation
        padded[: len(row)] = row
        logits = full_logits(DECODER, make_params(0), padded[None])[0]
        yield np.asarray(logits)[n - 1 : len(row) - 1]


@pytest.mark.parametrize("temperature", [1.0, 0.7, 0.0])
def test_policy_logprobs_are_the_full_forward_ones(temperature):
    tokens, segments, drawn = draw(dataclasses.replace(PLAIN, temperature=temperature))
    for row, logits in enumerate(expected_logits(tokens, segments, drawn)):
        length = drawn.length_B[row]
        expected = log_softmax(logits / (temperature or 1.0))
        expected = expected[np.arange(length), drawn.tokens_BT[row, :length]]
        np.testing.assert_allclose(drawn.policy_logprobs_BT[row, :length], expected, atol=1e-4)


def test_policy_logprobs_are_those_before_truncation():
    config = dataclasses.replace(PLAIN, temperature=1.5, top_k=3)
    tokens, segments, drawn = draw(config)
    for row, logits in enumerate(expected_logits(tokens, segments, drawn)):
        length = drawn.length_B[row]
        expected = log_softmax(logits / 1.5)
        expected = expected[np.arange(length), drawn.tokens_BT[row, :length]]
        np.testing.assert_allclose(drawn.policy_logprobs_BT[row, :length], expected, atol=1e-4)


def test_greedy_is_the_argmax_of_the_full_forward_repeated():
    config = dataclasses.replace(PLAIN, temperature=0.0)
    tokens, segments, drawn = draw(config)
    for row, logits in enumerate(expected_logits(tokens, segments, drawn)):
        length = drawn.length_B[row]
        np.testing.assert_array_equal(drawn.tokens_BT[row, :length], logits.argmax(-1))
    np.testing.assert_array_equal(draw(config, seed=1)[2].tokens_BT, drawn.tokens_BT)


@pytest.mark.parametrize(
    "config",
    [
        dataclasses.replace(PLAIN, max_new_tokens=1, temperature=1.3),
        dataclasses.replace(PLAIN, max_new_tokens=1, temperature=2.0, top_k=5, top_p=0.9),
    ],
)
def test_frequencies_follow_the_distribution(config):
    rows = 4096
    tokens, segments = (np.repeat(a, rows, axis=0) for a in make_prompts([4], 4))
    drawn = jit_rollout(DECODER, make_params(0), tokens, segments, make_keys(3, rows), config)
    counts = np.bincount(np.asarray(drawn.tokens_BT)[:, 0], minlength=VOCAB)
    logits = np.asarray(full_logits(DECODER, make_params(0), tokens[:1]))[0, -1]
    probs = truncated_probs(logits / config.temperature, config.top_k, config.top_p)
    assert (counts[probs == 0] == 0).all()
    kept = probs > 0
    assert kept.sum() > 2
    assert scipy.stats.chisquare(counts[kept], rows * probs[kept]).pvalue > 1e-3


def truncated_probs(logits, top_k, top_p):
    """Top-k, then top-p, token by token; equal logits in the order of their ids."""
    probs = np.exp(log_softmax(logits))
    ranked = sorted(range(len(probs)), key=lambda i: (-logits[i], i))[: top_k or None]
    mass, kept = sum(probs[i] for i in ranked), []
    for i in ranked:
        if kept and top_p < 1 and sum(probs[j] for j in kept) / mass >= top_p:
            break
        kept.append(i)
    result = np.zeros_like(probs)
    result[kept] = probs[kept] / probs[kept].sum()
    return result


@settings(deadline=None, max_examples=60)
@given(
    # Few distinct values, so that ties happen; offsets by id keep sums off the top_p boundary.
    hnp.arrays(np.float32, 9, elements=st.integers(-3, 3).map(float)),
    st.integers(0, 12),
    st.sampled_from([1.0, 0.9137, 0.5171, 0.0631]),
)
def test_support_of_top_k_and_top_p(logits, top_k, top_p):
    kept = np.isfinite(np.asarray(truncate_logits(jnp.asarray(logits)[None], top_k, top_p))[0])
    np.testing.assert_array_equal(kept, truncated_probs(logits, top_k, top_p) > 0)


def test_truncation_costs_nothing_when_off():
    logits = jnp.zeros((2, 5))
    assert not jax.make_jaxpr(lambda x: truncate_logits(x, 0, 1.0))(logits).eqns


def test_nothing_follows_the_stop_token():
    config = dataclasses.replace(PLAIN, temperature=3.0, max_new_tokens=12)
    _, _, drawn = draw(config, lengths=[3] * 64)
    assert drawn.truncated_B.any()
    assert not drawn.truncated_B.all()
    for row in range(64):
        stops = np.flatnonzero(drawn.tokens_BT[row] == config.stop_id)
        assert drawn.truncated_B[row] == (len(stops) == 0)
        length = stops[0] + 1 if len(stops) else config.max_new_tokens
        assert drawn.length_B[row] == length
        np.testing.assert_array_equal(drawn.mask_BT[row], np.arange(12) < length)
        assert (drawn.tokens_BT[row, length:] == config.pad_id).all()
        assert (drawn.policy_logprobs_BT[row, length:] == 0).all()
        assert (drawn.policy_logprobs_BT[row, :length] < 0).all()


def test_a_row_depends_on_its_prompt_and_key_alone():
    tokens, segments = make_prompts(LENGTHS, 5)
    keys, params = make_keys(0, len(LENGTHS)), make_params(0)
    whole = jit_rollout(DECODER, params, tokens, segments, keys, PLAIN)
    order = np.array([3, 0, 6])
    wide = [np.pad(array[order], ((0, 2), (0, 4))) for array in (tokens, segments)]
    part = jit_rollout(DECODER, params, *wide, jnp.r_[keys[order], keys[:2]], PLAIN)
    for name in Rollout._fields:
        np.testing.assert_allclose(
            getattr(part, name)[:3], getattr(whole, name)[order], atol=1e-5, err_msg=name
        )
    # Rows of padding alone draw nothing.
    assert not part.mask_BT[3:].any()
    assert not part.tokens_BT[3:].any()
    assert not part.truncated_B[3:].any()


def test_the_loop_ends_with_the_last_row():
    calls = []

    class Counting:
        config = DECODER.config

        def apply(self, *args):
            jax.debug.callback(lambda: calls.append(1))
            return DECODER.apply(*args)

    tokens, segments = make_prompts([3, 3], 3)
    config = dataclasses.replace(PLAIN, max_new_tokens=40, temperature=5.0)
    drawn = jit_rollout(Counting(), make_params(0), tokens, segments, make_keys(1, 2), config)
    jax.effects_barrier()
    assert drawn.length_B.max() < 40
    assert len(calls) == 1 + drawn.length_B.max()


def test_vmap_over_members_is_each_alone():
    prompts = [make_prompts(LENGTHS, 5, seed=m) for m in range(2)]
    params = [make_params(m) for m in range(2)]
    keys = [make_keys(m, len(LENGTHS)) for m in range(2)]
    stack = lambda trees: jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)  # noqa: E731
    both = jax.jit(jax.vmap(lambda p, t, s, k: rollout(DECODER, p, t, s, k, PLAIN)))(
        stack(params), *stack(prompts), stack(keys)
    )
    for m in range(2):
        alone = jit_rollout(DECODER, params[m], *prompts[m], keys[m], PLAIN)
        for name in Rollout._fields:
            np.testing.assert_allclose(
                getattr(both, name)[m], getattr(alone, name), atol=1e-5, err_msg=name
            )


def test_the_mesh_changes_nothing():
    tokens, segments = make_prompts(LENGTHS, 5)
    keys, params = make_keys(0, len(LENGTHS)), make_params(0)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = NamedSharding(mesh, PartitionSpec("data"))
    everywhere = NamedSharding(mesh, PartitionSpec())
    sharded = jit_rollout(
        DECODER,
        jax.device_put(params, everywhere),
        *jax.device_put((tokens, segments, keys), rows),
        PLAIN,
    )
    alone = jit_rollout(DECODER, params, tokens, segments, keys, PLAIN)
    np.testing.assert_array_equal(sharded.tokens_BT, alone.tokens_BT)
    np.testing.assert_allclose(sharded.policy_logprobs_BT, alone.policy_logprobs_BT, atol=1e-5)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("max_new_tokens", 0),
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("top_k", -1),
        ("top_p", 0.0),
        ("top_p", 1.1),
    ],
)
def test_values_out_of_range_are_refused(key, value):
    with pytest.raises(ValueError, match=f"sampler {key} is {value}"):
        SamplerConfig(**dataclasses.asdict(PLAIN) | {key: value})
