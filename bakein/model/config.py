"""What a decoder is made of: one frozen dataclass that every model family is a value of."""

import dataclasses

import jax.numpy as jnp

from bakein.model.remat import POLICIES

# Each closed set of words is written once; the error messages print it.
_QK_NORMS = ("none", "head", "projection")
_ACTIVATIONS = ("silu", "gelu")
_DTYPES = ("float32", "bfloat16")
_ATTENTIONS = ("reference", "splash", "cudnn")


@dataclasses.dataclass(frozen=True)
class LinearScaling:
    """Position interpolation: every RoPE frequency is divided by `factor` [2306.15595]."""

    factor: float


@dataclasses.dataclass(frozen=True)
class Llama3Scaling:
    """Llama 3.1's RoPE scaling: low frequencies are divided by `factor`, high ones are kept.

    Wavelengths above `original_context / low_frequency_factor` tokens are low, those below
    `original_context / high_frequency_factor` are high; in between the two are interpolated.
    """

    factor: float
    low_frequency_factor: float
    high_frequency_factor: float
    original_context: int


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """A decoder-only transformer. Llama, Qwen, OLMo 2 and Gemma differ only in these values.

    Raises `ValueError` with one line where the values contradict each other.
    """

    # Sizes
    vocab_size: int
    d_model: int
    layers: int
    heads: int  # query heads
    kv_heads: int  # divides heads; fewer than heads is grouped-query attention
    head_dim: int  # even; free of d_model / heads
    d_ff: int

    # Embeddings and logits
    tied_embeddings: bool  # the unembedding is the transposed embedding
    embed_scale: float  # multiplies token embeddings; sqrt(d_model) in Gemma, else 1
    logit_softcap: float | None  # logits become cap * tanh(logits / cap)

    # Attention
    qkv_bias: bool
    qk_norm: str  # "none", "head": over each head_dim, "projection": over all heads at once
    query_scale: float | None  # multiplies query · key; None: head_dim ** -0.5
    attention_softcap: float | None
    window: int | None  # local layers see this many latest positions, their own included
    global_every: int  # every n-th layer is global, the others local; 1: all are global

    # Rotary position embedding
    rope_theta: float
    rope_scaling: LinearScaling | Llama3Scaling | None  # of the global layers only
    local_rope_theta: float  # of the local layers

    # Norms: x + post(f(pre(x))), each norm present or not
    pre_norm: bool
    post_norm: bool
    norm_offset: float  # the weight is offset + scale: 1 in Gemma, else 0
    norm_eps: float

    # Feed-forward
    activation: str  # "silu" (SwiGLU) or "gelu" (GeGLU, tanh approximation)

    # Computation: changes speed and memory, not the function
    dtype: str  # of activations; parameters and logits are always float32
    scan_layers: bool  # one stacked layer, compiled once, instead of `layers` copies
    remat: str  # what each layer's backward pass computes anew: "none", ... see `model.remat`
    attention: str  # "reference"; a kernel: "splash" on TPUs, "cudnn" on GPUs; not while decoding
    shard_length: bool  # on a mesh, split the residual stream along L too, over the tensor axis
    logits_chunk: int  # positions whose logits a loss makes at a time; 0: all at once

    def __post_init__(self):
        """Checks every value on its own, then together."""
        for field in ("vocab_size", "d_model", "layers", "heads", "kv_heads", "head_dim", "d_ff"):
            _require(getattr(self, field) >= 1, field, self, "at least 1")
        for field in ("embed_scale", "rope_theta", "local_rope_theta", "norm_eps"):
            _require(getattr(self, field) > 0, field, self, "above 0")
        for field in ("logit_softcap", "attention_softcap", "query_scale", "window"):
            value = getattr(self, field)
            _require(value is None or value > 0, field, self, "above 0, or None")
        _require(self.qk_norm in _QK_NORMS, "qk_norm", self, f"one of {_QK_NORMS}")
        _require(self.activation in _ACTIVATIONS, "activation", self, f"one of {_ACTIVATIONS}")
        _require(self.dtype in _DTYPES, "dtype", self, f"one of {_DTYPES}")
        _require(self.remat in POLICIES, "remat", self, f"one of {tuple(POLICIES)}")
        _require(self.attention in _ATTENTIONS, "attention", self, f"one of {_ATTENTIONS}")
        if self.attention == "cudnn":
            capped = self.attention_softcap is not None
            _require(not capped, "attention", self, "another where attention_softcap is set")
            half = self.dtype == "bfloat16"
            _require(half, "attention", self, "another where dtype is not 'bfloat16'")
            ok = self.head_dim % 8 == 0
            _require(ok, "attention", self, "another where head_dim is no multiple of 8")
        _require(self.logits_chunk >= 0, "logits_chunk", self, "at least 0")
        _require(
            self.heads % self.kv_heads == 0, "kv_heads", self, f"a divisor of heads ({self.heads})"
        )
        _require(self.head_dim % 2 == 0, "head_dim", self, "even, for RoPE")
        _require(self.global_every >= 1, "global_every", self, "at least 1")
        _require(
            (self.window is None) == (self.global_every == 1),
            "window",
            self,
            f"a number of positions if and only if global_every ({self.global_every}) is above 1",
        )
        _require(self.pre_norm or self.post_norm, "pre_norm", self, "True where post_norm is False")

    @property
    def compute_dtype(self) -> jnp.dtype:
        """The dtype of activations."""
        return jnp.dtype(self.dtype)

    @property
    def attention_scale(self) -> float:
        """What multiplies query · key."""
        return self.head_dim**-0.5 if self.query_scale is None else self.query_scale

    @property
    def local_layers(self) -> tuple[bool, ...]:
        """For each layer, whether it attends within `window` only; the last of a period does not.

        Layer i is global where (i + 1) % global_every == 0, as in Gemma 2 (every 2) and 3 (6).
        """
        return tuple((i + 1) % self.global_every != 0 for i in range(self.layers))


def _require(condition: bool, field: str, config: ModelConfig, allowed: str) -> None:
    if not condition:
        raise ValueError(f"model.{field} is {getattr(config, field)!r}; it must be {allowed}")
