"""The configuration: what it refuses, what the presets amount to, what a token costs."""

import dataclasses
import math

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest
from model_oracle import FAMILIES, families

from bakein.model import Decoder, abstract_params, count_params, flops_per_token, presets

# Published sizes, from the models' own checkpoints.
PUBLISHED = {
    presets.llama3_8b: 8_030_261_248,
    presets.llama3_70b: 70_553_706_496,
    presets.llama3_1b: 1_235_814_400,
    presets.qwen2_0_5b: 494_032_768,
    presets.qwen3_0_6b: 596_049_920,
    presets.olmo2_1b: 1_484_916_736,
    presets.gemma2_2b: 2_614_341_888,
    presets.gemma3_1b: 999_885_952,
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": 0}, "model.layers is 0; it must be at least 1"),
        ({"vocab_size": -1}, "model.vocab_size is -1; it must be at least 1"),
        ({"heads": 4, "kv_heads": 3}, "model.kv_heads is 3; it must be a divisor of heads (4)"),
        ({"head_dim": 7}, "model.head_dim is 7; it must be even, for RoPE"),
        ({"rope_theta": 0.0}, "model.rope_theta is 0.0; it must be above 0"),
        ({"logit_softcap": -1.0}, "model.logit_softcap is -1.0; it must be above 0, or None"),
        ({"query_scale": 0.0}, "model.query_scale is 0.0; it must be above 0, or None"),
        ({"qk_norm": "heads"}, "model.qk_norm is 'heads'; it must be one of ('none', 'head', "),
        ({"activation": "relu"}, "model.activation is 'relu'; it must be one of ('silu', 'gelu')"),
        ({"dtype": "float16"}, "model.dtype is 'float16'; it must be one of ('float32', "),
        ({"remat": "dot"}, "model.remat is 'dot'; it must be one of ('none', 'dots', "),
        ({"attention": "flash"}, "model.attention is 'flash'; it must be one of ('reference', "),
        ({"attention": "cudnn"}, "model.attention is 'cudnn'; it must be another where dtype is"),
        ({"logits_chunk": -1}, "model.logits_chunk is -1; it must be at least 0"),
        ({"global_every": 0}, "model.global_every is 0; it must be at least 1"),
        ({"window": 4}, "model.window is 4; it must be a number of positions if and only if"),
        ({"global_every": 2}, "model.window is None; it must be a number of positions if and only"),
        ({"pre_norm": False}, "model.pre_norm is False; it must be True where post_norm is False"),
    ],
)
def test_contradictions_are_one_clear_line(changes, message):
    with pytest.raises(ValueError, match="model") as error:
        dataclasses.replace(presets.tiny(52), **changes)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_local_layers_follow_the_published_patterns():
    assert presets.gemma2_2b().local_layers[:4] == (True, False, True, False)
    assert presets.gemma3_1b().local_layers[:7] == (True,) * 5 + (False, True)
    assert not any(presets.llama3_1b().local_layers)


@pytest.mark.parametrize("preset", PUBLISHED, ids=lambda f: f.__name__)
def test_presets_have_the_published_size_and_lower_abstractly(preset):
    config = preset()
    assert count_params(config) == PUBLISHED[preset]
    row = jax.ShapeDtypeStruct((2, 8), jnp.int32)
    logits = jax.eval_shape(Decoder(config).apply, {"params": abstract_params(config)}, *[row] * 3)
    assert logits.shape == (2, 8, config.vocab_size)
    assert logits.dtype == jnp.float32


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("scan", [False, True])
def test_every_parameter_is_float32_and_names_every_axis(family, scan):
    config = families(scan_layers=scan)[family]
    boxes = jax.tree.leaves(abstract_params(config), is_leaf=lambda x: hasattr(x, "names"))
    for box in boxes:
        assert len(box.names) == box.value.ndim
        assert all(isinstance(name, str) for name in box.names)
        assert box.value.dtype == jnp.float32


@pytest.mark.parametrize("family", ["tiny", "qwen2", "olmo2"])
def test_flops_are_those_of_the_traced_matrix_products(family):
    config = families()[family]
    batch, length = 2, 8
    row = jax.ShapeDtypeStruct((batch, length), jnp.int32)
    jaxpr = jax.make_jaxpr(Decoder(config).apply)(
        {"params": abstract_params(config)}, row, row, row
    )
    # The traced attention multiplies the whole square: every token sees `length` keys.
    assert flops_per_token(config, length, length) * batch * length == _matmul_flops(jaxpr.jaxpr)


def test_flops_count_at_most_the_window_in_local_layers():
    config = families()["gemma2"]  # 2 local layers of window 3, 1 global one
    per_key = 4 * config.heads * config.head_dim
    at = lambda keys: flops_per_token(config, keys, keys)  # noqa: E731
    assert at(10) - at(4) == per_key * (10 - 4)
    assert at(3) - at(2) == 3 * per_key


@pytest.mark.parametrize(("first", "last"), [(0, 2), (0, 40), (1, 40), (5, 40)])
def test_flops_of_a_row_are_the_mean_over_its_tokens(first, last):
    config = families()["gemma2"]
    steps = np.linspace(first, last, 20_001)
    mean = np.mean([flops_per_token(config, keys, keys) for keys in steps])
    np.testing.assert_allclose(flops_per_token(config, first, last), mean, rtol=1e-4)


def _matmul_flops(jaxpr):
    total = 0
    for eqn in jaxpr.eqns:
        for inner in jax.extend.core.jaxprs_in_params(eqn.params):
            total += _matmul_flops(inner)
        if eqn.primitive.name == "dot_general":
            (contract, _), _ = eqn.params["dimension_numbers"]
            lhs = eqn.invars[0].aval.shape
            total += 2 * math.prod(eqn.outvars[0].aval.shape) * math.prod(lhs[i] for i in contract)
    return total
