"""Cached decoding against the full forward pass."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_oracle import FAMILIES, apply, families, formula_params

from bakein.model import Decoder, init_cache

PROMPT, NEW = 5, 4
LENGTHS = np.array([5, 2, 4])  # of the prompts; right-padded to PROMPT
TOKENS = np.random.default_rng(0).integers(0, 19, (3, PROMPT + NEW)).astype(np.int32)


def full_log_probs(family):
    """[B, L, V]: every row as one document, without padding, cache or scan."""
    config = families()[family]
    positions = jnp.broadcast_to(jnp.arange(PROMPT + NEW), TOKENS.shape)
    rows = TOKENS, positions, jnp.ones_like(positions)
    return jax.nn.log_softmax(apply(config, formula_params(config), *rows))


def cached_log_probs(config, params, prefill=(PROMPT,), dtype="float32"):
    """[B, LENGTH + NEW, V] of the same rows: prompts right-padded, then one token at a time."""
    decoder = Decoder(config)
    slot = np.arange(PROMPT)
    real = slot < LENGTHS[:, None]
    prompt = np.where(real, TOKENS[:, :PROMPT], 3)  # padding that would be noticed
    positions, segments = np.broadcast_to(slot, real.shape).astype(np.int32), np.int32(real)

    @jax.jit
    def run(params):
        cache = init_cache(config, len(TOKENS), PROMPT + NEW + 2, dtype)
        parts, start = [], 0
        for size in prefill:
            part = slice(start, start + size)
            logits, cache = decoder.apply(
                {"params": params}, prompt[:, part], positions[:, part], segments[:, part], cache
            )
            parts.append(logits)
            start += size

        def step(cache, t):
            at = LENGTHS[:, None] + t
            token = jnp.take_along_axis(TOKENS, at, axis=1)
            logits, cache = decoder.apply({"params": params}, token, at, jnp.ones_like(at), cache)
            return cache, logits[:, 0]

        cache, new = jax.lax.scan(step, cache, jnp.arange(NEW))
        return jnp.concatenate(parts, 1), jnp.swapaxes(new, 0, 1), cache

    prompt_logits, new_logits, cache = run(params)
    rows = [
        jax.nn.log_softmax(np.concatenate([prompt_logits[i, :n], new_logits[i]]))
        for i, n in enumerate(LENGTHS)
    ]
    return rows, cache


@pytest.mark.parametrize(
    ("family", "scan"), [("tiny", False), ("gemma3", False), *((f, True) for f in FAMILIES)]
)
def test_cached_decoding_equals_the_full_forward_pass(family, scan):
    config = families(scan_layers=scan)[family]
    full = full_log_probs(family)
    rows, cache = cached_log_probs(config, formula_params(config))
    for i, row in enumerate(rows):
        np.testing.assert_allclose(row, full[i, : len(row)], atol=1e-4)
    assert int(cache.index) == PROMPT + NEW
    assert cache.k.shape == (3, 3, config.kv_heads, PROMPT + NEW + 2, config.head_dim)


def test_a_prompt_may_be_prefilled_in_parts():
    config = families(scan_layers=True)["gemma3"]
    full = full_log_probs("gemma3")
    rows, _ = cached_log_probs(config, formula_params(config), prefill=(2, 3))
    for i, row in enumerate(rows):
        np.testing.assert_allclose(row, full[i, : len(row)], atol=1e-4)


def test_a_bfloat16_cache_under_float32_compute_is_close():
    config = families(scan_layers=True)["llama3"]
    rows, cache = cached_log_probs(config, formula_params(config), dtype="bfloat16")
    assert cache.k.dtype == jnp.bfloat16
    full = full_log_probs("llama3")
    for i, row in enumerate(rows):
        np.testing.assert_allclose(row, full[i, : len(row)], atol=0.05)


@pytest.mark.parametrize("scan", [False, True], ids=["separate", "scanned"])
def test_members_under_vmap_decode_as_each_alone(scan):
    config = families(scan_layers=scan, layers=2)["gemma2"]
    one = formula_params(config)
    two = jax.tree.map(lambda x: 0.9 * x, one)
    both = jax.tree.map(lambda *x: jnp.stack(x), one, two)
    decoder = Decoder(config)

    def decode(params, tokens_BL):
        def step(cache, t):
            at = jnp.broadcast_to(t, (tokens_BL.shape[0], 1))
            now = jnp.take_along_axis(tokens_BL, at, axis=1), at, jnp.ones_like(at)
            logits, cache = decoder.apply({"params": params}, *now, cache)
            return cache, logits

        return jax.lax.scan(step, init_cache(config, *tokens_BL.shape, "float32"), jnp.arange(4))[1]

    tokens = jnp.stack([TOKENS[:, :4], TOKENS[:, 4:8]])
    together = jax.jit(jax.vmap(decode))(both, tokens)
    alone = jax.jit(decode)
    for member, params in enumerate((one, two)):
        np.testing.assert_allclose(together[member], alone(params, tokens[member]), atol=1e-5)
