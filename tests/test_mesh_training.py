"""One study on four meshes of eight devices: the same loss curve, the same completions.

Everything is real: the pipeline, the jitted step with its shardings, the loop, the sampler.
"""

import functools

import jax
import numpy as np
import pytest
import tiny_study

from bakein.data.pipeline import make_batches
from bakein.data.prompts import encode_prompts
from bakein.data.tokenizers import EOS, PAD
from bakein.mesh import batch_sharding, logical_sharding, make_mesh, replicated
from bakein.model import Decoder, abstract_params
from bakein.rl.rollout import SamplerConfig
from bakein.rl.sampling import completion_texts, sample_completions
from bakein.study.config import resolve
from bakein.study.materials import Materials, mixture, packing
from bakein.train.optimizer import make_optimizer, make_schedule
from bakein.train.state import init_params, new_state, params_on, state_shardings
from bakein.train.step import make_train_step

STEPS = 20
MESHES = {
    "one device": {"data": 1, "fsdp": 1, "tensor": 1},
    "data 8": {"data": 8, "fsdp": 1, "tensor": 1},
    "fsdp 4, tensor 2": {"data": 1, "fsdp": 4, "tensor": 2},
    "data 2, fsdp 2, tensor 2": {"data": 2, "fsdp": 2, "tensor": 2},
}


@pytest.fixture(scope="module")
def study():
    config = tiny_study.get_config()
    config.model.kv_heads = 2
    config.stages.pretrain.tokens = 8000
    study = resolve(config)
    return study, Materials(study)


def train_on(mesh, study, materials, accumulation=1):
    """20 steps and 8 greedy completions: (losses, texts, parameters)."""
    config = study.arms["baked_in"]["pretrain"]
    shape, blend = packing("pretrain", config), mixture(config)
    batches = make_batches(
        materials.sources("pretrain", config, 0), blend, shape, range(shape.shards), config.prefetch
    )
    # One id more than the tokenizer has: tensor 2 divides it.
    decoder = Decoder(study.model_config(materials.tokenizer.vocab_size + 1))
    tx = make_optimizer(config.optimizer, STEPS)
    shardings, rows = state_shardings(decoder, tx, mesh), batch_sharding(mesh)
    init = jax.jit(functools.partial(init_params, decoder), out_shardings=shardings.params)
    step = jax.jit(
        make_train_step(decoder, tx, make_schedule(config.optimizer, STEPS), accumulation, 1e-4),
        in_shardings=(shardings, rows),
        out_shardings=(shardings, replicated(mesh)),
        donate_argnums=0,
    )
    start = jax.jit(functools.partial(new_state, tx=tx), out_shardings=shardings)
    state, losses = start(init(jax.random.key(0))), []
    for _ in range(STEPS):
        batch = {
            name: jax.make_array_from_process_local_data(rows, array)
            for name, array in next(batches).items()
        }
        state, metrics = step(state, batch)
        losses.append(metrics["loss"])
    problems = study.worlds["registers"].test(8, 0)
    prompts = encode_prompts(materials.tokenizer, [p.prompt for p in problems], 12)
    greedy = SamplerConfig(6, temperature=0.0, top_k=0, top_p=1.0, stop_id=EOS, pad_id=PAD)
    drawn = sample_completions(
        decoder, state.params, *prompts, 1, jax.random.key(1), greedy, rows=8, sharding=rows
    )
    texts = completion_texts(materials.tokenizer, drawn.tokens_BT, drawn.length_B)
    return np.array(jax.device_get(losses)), texts, state


@pytest.fixture(scope="module")
def alone(study):
    mesh = make_mesh(**MESHES["one device"], devices=jax.devices()[:1])
    return train_on(mesh, *study)


@pytest.mark.parametrize("name", list(MESHES)[1:])
def test_every_mesh_gives_the_same_curve_and_the_same_completions(study, alone, name):
    mesh = make_mesh(**MESHES[name])
    losses, texts, state = train_on(mesh, *study)
    expected, expected_texts, _ = alone
    assert expected[-1] < expected[0] - 0.5
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    assert texts == expected_texts
    assert len(set(texts)) > 1
    # And the state is spread as the table says, parameters and moments alike.
    spread = {
        leaf.sharding.shard_shape(leaf.shape) != leaf.shape for leaf in jax.tree.leaves(state)
    }
    assert (True in spread) == (name != "data 8")


def test_accumulation_on_a_mesh_is_the_full_batch(study, alone):
    mesh = make_mesh(data=2, fsdp=1, tensor=1, devices=jax.devices()[:2])
    losses, _, _ = train_on(mesh, *study, accumulation=4)
    np.testing.assert_allclose(losses, alone[0], rtol=1e-4)


def test_params_on_says_shape_and_sharding_of_every_parameter(study):
    model = study[0].model_config(30)
    mesh = make_mesh(**MESHES["fsdp 4, tensor 2"])
    found = params_on(Decoder(model), mesh)
    expected = logical_sharding(mesh, abstract_params(model))
    assert jax.tree.map(lambda x: x.sharding, found) == expected
