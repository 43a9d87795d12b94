"""What every configuration of the decoder must do: causality, packing, scan, remat, bf16, vmap."""

import dataclasses
import os
import pathlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_oracle import FAMILIES, apply, families, formula_params, packed_rows, stack_layers

from bakein.model import Decoder, presets
from bakein.model.remat import POLICIES

GOLDEN = pathlib.Path(__file__).parent / "golden" / "decoder_logits.txt"


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_depend_on_earlier_tokens_of_the_document_only(family):
    """By gradients: of position i's logits, in the embeddings of all positions."""
    config = dataclasses.replace(families()[family], vocab_size=12, tied_embeddings=False)
    params = formula_params(config)
    _, positions, segments = packed_rows(12)
    tokens = jnp.arange(12)[None]  # one token per position: its row of the table stands for it

    @jax.jit
    def reach(row_positions, row_segments):
        def logits(table):
            changed = params | {"embed": {"embedding": table}}
            rows = tokens, row_positions[None], row_segments[None]
            return Decoder(config).apply({"params": changed}, *rows)[0]

        # The sum over logits hides nothing: a random direction in logit space is generic.
        direction = jax.random.normal(jax.random.key(0), (12,))
        jacobian = jax.jacrev(lambda t: logits(t) @ direction)(params["embed"]["embedding"])
        return jnp.abs(jacobian).max(-1)

    for row in range(2):
        influence = np.asarray(reach(positions[row], segments[row]))
        for i in range(12):
            for j in range(12):
                seen = segments[row, i] == segments[row, j] and j <= i
                if segments[row, i] != 0 and not seen:
                    assert influence[i, j] == 0.0, (i, j)
                elif segments[row, i] != 0:
                    assert influence[i, j] > 0.0, (i, j)  # depth carries past the window


@pytest.mark.parametrize("family", FAMILIES)
def test_neighbours_and_place_do_not_change_a_document(family):
    config = families()[family]
    params = formula_params(config)
    tokens, positions, segments = packed_rows(config.vocab_size)
    packed = apply(config, params, tokens, positions, segments)
    assert np.isfinite(packed).all()  # padding included

    other = tokens.at[0, :5].set((tokens[0, :5] + 7) % config.vocab_size)
    beside = apply(config, params, other, positions, segments)
    np.testing.assert_array_equal(packed[0, 5:9], beside[0, 5:9])
    assert np.abs(packed[0, :5] - beside[0, :5]).max() > 0.1

    # The second document moved to the start of a row of its own.
    moved = [jnp.zeros_like(x).at[0, :4].set(x[0, 5:9]) for x in (tokens, positions, segments)]
    alone = apply(config, params, *moved)
    np.testing.assert_allclose(packed[0, 5:9], alone[0, :4], atol=1e-5)


@pytest.mark.parametrize("family", ["llama3", "olmo2", "gemma3"])
def test_scanned_layers_equal_separate_layers(family):
    rows = packed_rows(19)
    config, scanned = families()[family], families(scan_layers=True)[family]
    params = formula_params(config)
    np.testing.assert_allclose(
        apply(scanned, stack_layers(params), *rows), apply(config, params, *rows), atol=2e-5
    )


def remat_loss(config):
    """A loss of the parameters, and parameters."""
    rows = packed_rows(19)

    def loss(params):
        logits = Decoder(config).apply({"params": params}, *rows)
        return jnp.square(logits).mean()

    return loss, formula_params(config)


@pytest.mark.parametrize(
    ("scan", "remat"), [(False, "full"), (True, "full"), (True, "dots_no_batch")]
)
def test_remat_changes_no_gradient(scan, remat):
    def gradient(remat):
        loss, params = remat_loss(families(scan_layers=scan, remat=remat, layers=2)["gemma2"])
        return jax.jit(jax.grad(loss))(params)

    plain, found = gradient("none"), gradient(remat)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), plain, found)
    assert all(np.abs(g).max() > 0 for g in jax.tree.leaves(plain))


def test_remat_computes_anew_what_its_policy_does_not_keep():
    """Counted in matrix products of the gradient: a layer has 6 of weights, and 2 of attention."""

    def products(remat):
        loss, params = remat_loss(families(remat=remat, layers=2)["qwen3"])
        return str(jax.make_jaxpr(jax.grad(loss))(params)).count("dot_general")

    plain, layers = products("none"), 2
    anew = {remat: products(remat) - plain for remat in POLICIES}
    assert anew == {
        "none": 0,
        "dots": 0,
        "dots_no_batch": 2 * layers,
        # The last product of a layer is an input of none of its gradients.
        "attention": 7 * layers,
        "full": 7 * layers,
    }


@pytest.mark.parametrize("family", ["tiny", "gemma2"])
def test_bfloat16_is_close_to_float32(family):
    config = families()[family]
    params, rows = formula_params(config), packed_rows(19)
    exact = apply(config, params, *rows)
    coarse = apply(dataclasses.replace(config, dtype="bfloat16"), params, *rows)
    assert coarse.dtype == exact.dtype == jnp.float32
    error = np.abs(coarse - exact)[rows[2] != 0]
    assert 0 < error.mean() < 0.02 * np.std(exact)


def test_members_under_vmap_equal_each_alone():
    config = families()["qwen3"]
    decoder = Decoder(config)
    rows = [packed_rows(19, seed) for seed in (0, 1)]
    one = formula_params(config)
    members = [one, jax.tree.map(lambda x: 0.9 * x, one)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *members)
    together = jax.jit(jax.vmap(lambda p, *r: decoder.apply({"params": p}, *r)))(
        stacked, *(jnp.stack(x) for x in zip(*rows, strict=True))
    )
    for member in range(2):
        alone = apply(config, members[member], *rows[member])
        np.testing.assert_allclose(together[member], alone, atol=1e-5)


def test_a_fresh_model_is_unsure_and_its_residual_branches_do_not_explode():
    config = presets.tiny(52)
    rows = packed_rows(52)
    params = nn.unbox(jax.jit(Decoder(config).init)(jax.random.key(0), *rows))["params"]
    logits = apply(config, params, *rows)
    assert 0.5 < np.std(logits) < 2.0
    kernel = params["layer_0"]["attention"]["query"]["kernel"]
    assert np.std(kernel) == pytest.approx(64**-0.5, rel=0.05)


def test_a_token_beyond_the_vocabulary_is_not_silently_another_token():
    config = families()["tiny"]
    tokens, *rest = packed_rows(19)
    logits = apply(config, formula_params(config), tokens.at[1, 3].set(19), *rest)
    assert np.isnan(logits[1, 3:]).all()


def test_golden_logits():
    """Fixed parameters, tokens and logits: a rewrite of the model must reproduce these.

    Written anew by `BAKEIN_UPDATE_GOLDEN=1 pytest tests/test_model_decoder.py`.
    """
    config = families()["gemma3"]
    logits = apply(config, formula_params(config), *packed_rows(19))[:, :9].reshape(-1, 19)
    if "BAKEIN_UPDATE_GOLDEN" in os.environ:
        np.savetxt(GOLDEN, logits, fmt="%.5f")
    np.testing.assert_allclose(logits, np.loadtxt(GOLDEN), atol=5e-5)
