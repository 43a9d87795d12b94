"""The published families as configurations, at their real sizes.

They are compiled abstractly and counted in the tests; importing their weights comes later.
Gemma: [2408.00118], [2503.19786]. Llama 3: [2407.21783]. OLMo 2: [2501.00656].
Qwen: [2412.15115], [2505.09388].
"""

import dataclasses

from bakein.model.config import Llama3Scaling, ModelConfig


def tiny(vocab_size: int) -> ModelConfig:
    """A Llama of 2 layers and 64 channels: the quickstart's size, about 100,000 parameters."""
    return ModelConfig(
        vocab_size=vocab_size,
        d_model=64,
        layers=2,
        heads=2,
        kv_heads=2,
        head_dim=32,
        d_ff=176,
        tied_embeddings=False,
        embed_scale=1.0,
        logit_softcap=None,
        qkv_bias=False,
        qk_norm="none",
        query_scale=None,
        attention_softcap=None,
        window=None,
        global_every=1,
        rope_theta=1000.0,
        rope_scaling=None,
        local_rope_theta=1000.0,
        pre_norm=True,
        post_norm=False,
        norm_offset=0.0,
        norm_eps=1e-6,
        activation="silu",
        dtype="float32",
        scan_layers=False,
        remat="none",
        attention="reference",
        shard_length=False,
        logits_chunk=0,
    )


def dense_150m() -> ModelConfig:
    """A Llama of 151 million parameters, for a vocabulary of 32,768: a first run at scale."""
    return _at_scale(
        vocab_size=32_768,
        d_model=768,
        layers=16,
        heads=12,
        kv_heads=4,
        head_dim=64,
        d_ff=2048,
        rope_theta=10_000.0,
    )


def llama3_1b() -> ModelConfig:
    """Llama 3.2 1B."""
    return _at_scale(
        vocab_size=128_256,
        d_model=2048,
        layers=16,
        heads=32,
        kv_heads=8,
        head_dim=64,
        d_ff=8192,
        tied_embeddings=True,
        rope_theta=500_000.0,
        rope_scaling=Llama3Scaling(32.0, 1.0, 4.0, 8192),
        norm_eps=1e-5,
    )


def llama3_8b() -> ModelConfig:
    """Llama 3.1 8B."""
    return _at_scale(
        vocab_size=128_256,
        d_model=4096,
        layers=32,
        heads=32,
        kv_heads=8,
        head_dim=128,
        d_ff=14_336,
        rope_theta=500_000.0,
        rope_scaling=Llama3Scaling(8.0, 1.0, 4.0, 8192),
        norm_eps=1e-5,
        logits_chunk=1024,
    )


def llama3_70b() -> ModelConfig:
    """Llama 3.1 70B."""
    return _at_scale(
        vocab_size=128_256,
        d_model=8192,
        layers=80,
        heads=64,
        kv_heads=8,
        head_dim=128,
        d_ff=28_672,
        rope_theta=500_000.0,
        rope_scaling=Llama3Scaling(8.0, 1.0, 4.0, 8192),
        norm_eps=1e-5,
        logits_chunk=1024,
    )


def qwen2_0_5b() -> ModelConfig:
    """Qwen 2.5 0.5B: biases on queries, keys and values."""
    return _at_scale(
        vocab_size=151_936,
        d_model=896,
        layers=24,
        heads=14,
        kv_heads=2,
        head_dim=64,
        d_ff=4864,
        tied_embeddings=True,
        qkv_bias=True,
        rope_theta=1_000_000.0,
    )


def qwen3_0_6b() -> ModelConfig:
    """Qwen 3 0.6B: QK-norm instead of biases, heads wider than d_model / heads."""
    return _at_scale(
        vocab_size=151_936,
        d_model=1024,
        layers=28,
        heads=16,
        kv_heads=8,
        head_dim=128,
        d_ff=3072,
        tied_embeddings=True,
        qk_norm="head",
        rope_theta=1_000_000.0,
    )


def olmo2_1b() -> ModelConfig:
    """OLMo 2 1B: norms after the branches only, QK-norm over the whole projection."""
    return _at_scale(
        vocab_size=100_352,
        d_model=2048,
        layers=16,
        heads=16,
        kv_heads=16,
        head_dim=128,
        d_ff=8192,
        qk_norm="projection",
        pre_norm=False,
        post_norm=True,
        rope_theta=500_000.0,
    )


def gemma2_2b() -> ModelConfig:
    """Gemma 2 2B: soft-caps, every other layer local."""
    return _at_scale(
        vocab_size=256_000,
        d_model=2304,
        layers=26,
        heads=8,
        kv_heads=4,
        head_dim=256,
        d_ff=9216,
        embed_scale=2304**0.5,
        logit_softcap=30.0,
        attention_softcap=50.0,
        window=4096,
        global_every=2,
        rope_theta=10_000.0,
        **_GEMMA,
    )


def gemma3_1b() -> ModelConfig:
    """Gemma 3 1B: QK-norm, five local layers to each global one, two RoPE bases."""
    return _at_scale(
        vocab_size=262_144,
        d_model=1152,
        layers=26,
        heads=4,
        kv_heads=1,
        head_dim=256,
        d_ff=6912,
        embed_scale=1152**0.5,
        qk_norm="head",
        window=512,
        global_every=6,
        rope_theta=1_000_000.0,
        **_GEMMA,
    )


_GEMMA = {
    "tied_embeddings": True,
    "local_rope_theta": 10_000.0,
    "post_norm": True,
    "norm_offset": 1.0,
    "activation": "gelu",
}


def _at_scale(**family) -> ModelConfig:
    # What `family` does not say is as in `tiny`; billions of parameters want these three.
    computation = {"dtype": "bfloat16", "scan_layers": True, "remat": "full"}
    return dataclasses.replace(tiny(vocab_size=1), **computation, **family)
