"""The decoder and its parts against plain numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_oracle import (
    FAMILIES,
    apply,
    families,
    formula_params,
    numpy_attention,
    numpy_logits,
    packed_rows,
)

from bakein.model import LinearScaling
from bakein.model.attention import attend, attention_mask
from bakein.model.rope import frequencies, rotate, rotation


@pytest.mark.parametrize("family", FAMILIES)
def test_decoder_matches_numpy(family):
    config = families()[family]
    params = formula_params(config)
    tokens, positions, segments = packed_rows(config.vocab_size)
    logits = apply(config, params, tokens, positions, segments)
    for row, document in ((0, slice(0, 5)), (0, slice(5, 9)), (1, slice(0, 12))):
        expected = numpy_logits(config, params, tokens[row, document])
        assert np.ptp(expected) > 1  # logits that differ, or the comparison would be idle
        np.testing.assert_allclose(logits[row, document], expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("kv_heads", [1, 2, 6])
@pytest.mark.parametrize("cap", [None, 1.5])
def test_grouped_attention_matches_numpy(kv_heads, cap):
    rng = np.random.default_rng(0)
    q = rng.standard_normal((5, 6, 4))
    k, v = rng.standard_normal((2, 7, kv_heads, 4))
    mask = rng.random((5, 7)) < 0.6
    mask[:, 0] = True
    out = attend(
        jnp.float32(q)[None],
        jnp.float32(k.swapaxes(0, 1))[None],
        jnp.float32(v.swapaxes(0, 1))[None],
        jnp.asarray(mask)[None],
        0.7,
        cap,
    )
    expected = numpy_attention(q, k, v, lambda i, s: mask[i, s], 0.7, cap)
    np.testing.assert_allclose(out[0], expected, atol=1e-5)


@settings(deadline=None, max_examples=30)
@given(
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    padding=st.integers(0, 3),
    window=st.none() | st.integers(1, 4),
)
def test_mask_shows_the_same_document_up_to_here(lengths, padding, window):
    document = [d for d, n in enumerate(lengths, 1) for _ in range(n)] + [0] * padding
    position = [i for n in lengths for i in range(n)] + [0] * padding
    where = np.array([position]), np.array([document])
    mask = np.asarray(attention_mask(*where, *where, window))[0]
    for i, here in enumerate(document):
        for j, there in enumerate(document):
            near = window is None or i - j < window
            assert mask[i, j] == (here == there != 0 and j <= i and near)


def test_rope_scores_depend_on_the_distance_alone():
    q, k = jax.random.normal(jax.random.key(0), (2, 1, 1, 1, 8))
    freqs = frequencies(8, 100.0, None)

    def score(i, j):
        turn = [rotation(jnp.array([[p]]), freqs) for p in (i, j)]
        return float(jnp.vdot(rotate(q, *turn[0]), rotate(k, *turn[1])))

    assert score(5, 3) == pytest.approx(score(102, 100), abs=1e-4)
    assert abs(score(5, 3) - score(5, 4)) > 1e-3


def test_linear_scaling_stretches_positions():
    plain, stretched = frequencies(8, 100.0, None), frequencies(8, 100.0, LinearScaling(4.0))
    for got, want in zip(
        rotation(jnp.array([[12]]), stretched), rotation(jnp.array([[3]]), plain), strict=True
    ):
        np.testing.assert_allclose(got, want, atol=1e-6)
