"""The loss over the vocabulary in chunks: the same numbers, and never the logits of all positions.

Of the supervised loss, of RL's log-probabilities and of the likelihood evaluation.
"""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_oracle import families, formula_params, packed_rows

from bakein.evals.likelihood import completion_logprobs
from bakein.mesh import decoder_shardings, logical_sharding, make_mesh, replicated
from bakein.model import Decoder, abstract_params, score_positions
from bakein.rl.step import learner_logprobs
from bakein.train.losses import next_token_loss, token_scores

SOFTCAPPED, UNTIED = "gemma2", "tiny"  # the first with tied embeddings


def decoder_of(family, chunk, rows=None, **sizes):
    sizes = {"layers": 1, "logits_chunk": chunk, **sizes}
    return Decoder(families(**sizes)[family], rows)


def batch_of(vocab_size, length, rows=2):
    """Rows of two documents and padding, and one of one document; a third is not learnt from."""
    batch = dict(zip(("tokens", "positions", "segments"), packed_rows(vocab_size), strict=True))
    rng = np.random.default_rng(0)
    batch["targets"] = jnp.asarray(rng.integers(0, vocab_size, (2, 12)), jnp.int32)
    batch["mask"] = jnp.asarray((rng.random((2, 12)) < 0.7) * (batch["segments"] > 0), jnp.float32)
    return {name: jnp.tile(x[:, :length], (rows // 2, 1)) for name, x in batch.items()}


def assert_close(found, expected):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), found, expected
    )


def supervised(decoder, params, batch):
    inputs = batch["tokens"], batch["positions"], batch["segments"]
    scores = score_positions(decoder, params, *inputs, token_scores, batch["targets"])
    return next_token_loss(scores, batch["mask"], 0.1)["loss"] / batch["mask"].sum()


def policy(decoder, params, batch):
    """What an RL step differentiates: the log-probabilities at a temperature, each weighted."""
    logprobs_BL = learner_logprobs(decoder, params, batch, 0.7)
    weights_BL = jnp.sin(jnp.arange(logprobs_BL.size)).reshape(logprobs_BL.shape)
    return jnp.sum(logprobs_BL * weights_BL * batch["mask"])


@pytest.mark.parametrize(
    ("family", "loss"),
    [
        (SOFTCAPPED, supervised),
        (UNTIED, supervised),
        (SOFTCAPPED, policy),
    ],
)
def test_chunks_change_neither_the_value_nor_a_gradient(family, loss):
    batch = batch_of(19, 11)
    params = formula_params(decoder_of(family, 0).config)

    def value_and_gradients(chunk):
        decoder = decoder_of(family, chunk)
        return jax.jit(jax.value_and_grad(lambda p: loss(decoder, p, batch)))(params)

    whole = value_and_gradients(0)
    assert all(np.abs(x).max() > 1e-4 for x in jax.tree.leaves(whole))
    # At most 5 positions: 3 chunks of 4, of which one position is not there.
    assert_close(value_and_gradients(5), whole)


def test_the_logits_of_all_positions_never_exist():
    """Neither forward nor backward, in no dtype."""
    batch = batch_of(19, 12)
    params = formula_params(decoder_of(UNTIED, 0).config)

    def sizes(chunk):
        decoder = decoder_of(UNTIED, chunk)
        gradient = jax.grad(lambda p: supervised(decoder, p, batch))
        shapes = re.findall(r"\w\d+\[([\d,]+)\]", str(jax.make_jaxpr(gradient)(params)))
        shapes = {tuple(map(int, shape.split(","))) for shape in shapes}
        return {np.prod(shape) for shape in shapes if 19 in shape}

    assert 2 * 12 * 19 in sizes(0)
    assert 2 * 12 * 19 in sizes(12)
    assert max(sizes(4)) == max(2 * 4 * 19, 16 * 19)  # a chunk's logits, or the unembedding


def test_the_likelihood_of_completions_in_chunks():
    prompts = np.array([[1, 5, 7, 0], [1, 4, 0, 0]], np.int32)
    texts = np.array([[3, 4, 6, 8, 2], [9, 2, 0, 0, 0]], np.int32)
    params = formula_params(decoder_of(UNTIED, 0).config)
    found = [
        completion_logprobs(
            decoder_of(UNTIED, chunk),
            params,
            *map(jnp.asarray, (prompts, np.int32(prompts > 0), texts, np.int32(texts > 0))),
        )
        for chunk in (0, 2)
    ]
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)


def collectives(text):
    """(in a loop or not, operation, shapes) of every collective of a compiled module."""
    found = []
    operation = r"= (.*?) (all-gather|all-reduce|all-to-all|reduce-scatter|collective-permute)\("
    for part in re.split(r"\n(?=%|ENTRY)", text):
        for shapes, name in re.findall(operation, part):
            shapes = [tuple(map(int, s.split(","))) for s in re.findall(r"\[([\d,]+)\]", shapes)]
            found.append((not part.startswith("ENTRY"), name, shapes))
    return found


@pytest.mark.parametrize("family", [SOFTCAPPED, UNTIED])
def test_on_a_mesh_every_device_scores_its_own_rows(family):
    """The same numbers on 8 devices, and inside the chunks only what splitting V itself costs.

    Outside of them the head is gathered, and of its gradient each gets the part that it keeps.
    """
    mesh = make_mesh(data=2, fsdp=2, tensor=2)
    shardings = decoder_shardings(mesh)
    rows = shardings["rows"]
    # 24 rows, 6 on a device; 38 words, 19 on a device: no other size is like these.
    sizes = {"vocab_size": 38, "kv_heads": 2, "heads": 2}
    alone = decoder_of(family, 5, **sizes)
    spread = dataclasses.replace(alone, **shardings)
    params, batch = formula_params(alone.config), batch_of(38, 11, rows=24)
    expected = jax.jit(jax.value_and_grad(lambda p: supervised(alone, p, batch)))(params)

    placed = logical_sharding(mesh, abstract_params(alone.config))
    step = jax.jit(
        jax.value_and_grad(lambda p, batch: supervised(spread, p, batch)),
        in_shardings=(placed, rows),
        out_shardings=(replicated(mesh), placed),
    )
    compiled = step.lower(params, batch).compile()
    found = compiled(jax.device_put(params, placed), jax.device_put(batch, rows))
    assert_close(found, expected)

    made = collectives(compiled.as_text())
    looped = [(name, shapes) for inside, name, shapes in made if inside]
    assert looped
    for name, shapes in looped:
        assert name == "all-reduce"
        assert all(shape[:2] == (6, 4) for shape in shapes), shapes
    outside = {(name, shape) for inside, name, shapes in made if not inside for shape in shapes}
    # V by D, or D by V, as it is kept in the parameters.
    turned = slice(None) if alone.config.tied_embeddings else slice(None, None, -1)
    assert {("all-gather", (19, 16)[turned]), ("reduce-scatter", (19, 8)[turned])} <= outside
    assert ("all-reduce", (19, 16)[turned]) not in outside
    assert not {(38, 16), (16, 38)} & {shape for _, shape in outside}
