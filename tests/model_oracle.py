"""What the model's tests share: small families, parameters by formula, a decoder in plain numpy.

The numpy decoder is written from the papers' equations, one token and one head at a time, in
float64; it shares no code with `bakein.model`.
"""

import dataclasses
import functools
import zlib

import flax.traverse_util as traverse
import jax
import jax.numpy as jnp
import numpy as np

from bakein.model import Decoder, Llama3Scaling, ModelConfig, abstract_params, presets


def families(**changes) -> dict[str, ModelConfig]:
    """Every family's preset, shrunk to where each of its options still matters."""
    small = {"vocab_size": 19, "d_model": 16, "layers": 3, "head_dim": 6, "d_ff": 20}
    small |= {"dtype": "float32", "scan_layers": False, "remat": "none", **changes}
    grouped = {"heads": 4, "kv_heads": 2}

    def shrink(preset, **sizes):
        return dataclasses.replace(preset, **(small | sizes))

    return {
        "tiny": shrink(presets.tiny(19), heads=2, kv_heads=2),
        "llama3": shrink(
            presets.llama3_1b(), **grouped, rope_scaling=Llama3Scaling(8.0, 1.0, 4.0, 16)
        ),
        "qwen2": shrink(presets.qwen2_0_5b(), **grouped),
        "qwen3": shrink(presets.qwen3_0_6b(), **grouped),
        "olmo2": shrink(presets.olmo2_1b(), heads=3, kv_heads=3),
        "gemma2": shrink(presets.gemma2_2b(), **grouped, window=3),
        "gemma3": shrink(presets.gemma3_1b(), heads=4, kv_heads=1, window=2, global_every=3),
    }


FAMILIES = tuple(families())


def formula_params(config: ModelConfig):
    """Parameters that depend on their path and shape alone: not on Linen, nor on jax's keys."""
    flat = dataclasses.replace(config, scan_layers=False)
    shapes = traverse.flatten_dict(
        jax.tree.map(lambda box: box.value.shape, abstract_params(flat), is_leaf=_is_box), sep="/"
    )
    params = {}
    for path, shape in shapes.items():
        noise = np.random.default_rng(zlib.crc32(path.encode())).standard_normal(shape)
        if path.endswith("scale"):
            params[path] = 1.0 - config.norm_offset + 0.2 * noise
        else:
            params[path] = noise * (0.2 if path.endswith("bias") else shape[0] ** -0.5)
    params = traverse.unflatten_dict({k: np.float32(v) for k, v in params.items()}, sep="/")
    return stack_layers(params) if config.scan_layers else params


def stack_layers(params):
    """The parameters of separate layers as those of scanned layers."""
    names = sorted((k for k in params if k.startswith("layer_")), key=lambda k: int(k[6:]))
    rest = {k: v for k, v in params.items() if k not in names}
    return rest | {"layers": jax.tree.map(lambda *x: np.stack(x), *(params[k] for k in names))}


def packed_rows(vocab_size: int, seed: int = 0):
    """Two rows of 12: documents of 5 and 4 tokens and padding, and one document of 12."""
    tokens = np.random.default_rng(seed).integers(0, vocab_size, (2, 12))
    segments = np.array([[1] * 5 + [2] * 4 + [0] * 3, [1] * 12])
    positions = np.array([[*range(5), *range(4), 0, 0, 0], [*range(12)]])
    return tuple(jnp.asarray(x, jnp.int32) for x in (tokens, positions, segments))


@functools.partial(jax.jit, static_argnums=0)
def apply(config: ModelConfig, params, *rows):
    """Logits; compiled once for a configuration and shape, for all tests together."""
    return Decoder(config).apply({"params": params}, *rows)


def _is_box(x):
    return hasattr(x, "names")


def numpy_logits(config: ModelConfig, params, tokens) -> np.ndarray:
    """Logits [L, V] of one document, from position 0."""
    c = config
    params = jax.tree.map(np.float64, params)
    x = params["embed"]["embedding"][np.asarray(tokens)] * c.embed_scale
    for i in range(c.layers):
        w = params[f"layer_{i}"]
        is_global = c.window is None or i % c.global_every == c.global_every - 1
        for name, function in (("attention", _attention), ("mlp", _mlp)):
            h = _norm(c, x, w[f"{name}_pre_norm"]["scale"]) if c.pre_norm else x
            h = function(c, w[name], h, is_global)
            x = x + (_norm(c, h, w[f"{name}_post_norm"]["scale"]) if c.post_norm else h)
    x = _norm(c, x, params["final_norm"]["scale"])
    tied = c.tied_embeddings
    logits = x @ (params["embed"]["embedding"].T if tied else params["unembed"]["kernel"])
    return logits if c.logit_softcap is None else _cap(logits, c.logit_softcap)


def numpy_attention(q, k, v, visible, scale, cap):
    """q [L, N, H]; k, v [S, K, H]; visible(l, s) -> bool. One query and head at a time."""
    length, heads, _ = q.shape
    out = np.zeros_like(q)
    for n in range(heads):
        kv = n * k.shape[1] // heads
        for i in range(length):
            keys = [s for s in range(k.shape[0]) if visible(i, s)]
            scores = np.array([q[i, n] @ k[s, kv] * scale for s in keys])
            scores = scores if cap is None else _cap(scores, cap)
            weights = np.exp(scores - scores.max())
            out[i, n] = sum(
                p * v[s, kv] for p, s in zip(weights / weights.sum(), keys, strict=True)
            )
    return out


def _attention(c, w, x, is_global):
    def project(name):
        y = np.einsum("ld,dnh->lnh", x, w[name]["kernel"])
        return y + w[name]["bias"] if c.qkv_bias else y

    q, k, v = project("query"), project("key"), project("value")
    if c.qk_norm == "head":
        q, k = _norm(c, q, w["query_norm"]["scale"]), _norm(c, k, w["key_norm"]["scale"])
    if c.qk_norm == "projection":
        q = _norm(c, q.reshape(len(q), -1), w["query_norm"]["scale"].ravel()).reshape(q.shape)
        k = _norm(c, k.reshape(len(k), -1), w["key_norm"]["scale"].ravel()).reshape(k.shape)
    q, k = _rope(c, q, is_global), _rope(c, k, is_global)

    def visible(i, s):
        return s <= i if is_global else i - c.window < s <= i

    scale = c.head_dim**-0.5 if c.query_scale is None else c.query_scale
    y = numpy_attention(q, k, v, visible, scale, c.attention_softcap)
    return np.einsum("lnh,nhd->ld", y, w["output"]["kernel"])


def _rope(c, x, is_global):
    out = np.empty_like(x)
    half = c.head_dim // 2
    theta = c.rope_theta if is_global else c.local_rope_theta
    for j in range(half):
        freq = theta ** (-2 * j / c.head_dim)
        if is_global and isinstance(c.rope_scaling, Llama3Scaling):
            freq = _llama3(freq, c.rope_scaling)
        for i in range(len(x)):
            z = (x[i, :, j] + 1j * x[i, :, j + half]) * np.exp(1j * i * freq)
            out[i, :, j], out[i, :, j + half] = z.real, z.imag
    return out


def _llama3(freq, s):
    wavelength = 2 * np.pi / freq
    if wavelength > s.original_context / s.low_frequency_factor:
        return freq / s.factor
    if wavelength < s.original_context / s.high_frequency_factor:
        return freq
    smooth = s.original_context / wavelength - s.low_frequency_factor
    smooth /= s.high_frequency_factor - s.low_frequency_factor
    return (1 - smooth) * freq / s.factor + smooth * freq


def _mlp(c, w, x, _):
    gate, up = x @ w["gate_up"]["kernel"][:, 0], x @ w["gate_up"]["kernel"][:, 1]
    if c.activation == "silu":
        gate = gate / (1 + np.exp(-gate))
    else:
        gate = 0.5 * gate * (1 + np.tanh(np.sqrt(2 / np.pi) * (gate + 0.044715 * gate**3)))
    return (gate * up) @ w["down"]["kernel"]


def _norm(c, x, scale):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + c.norm_eps) * (c.norm_offset + scale)


def _cap(x, cap):
    return cap * np.tanh(x / cap)
