"""A decoder of a few thousand parameters and ragged prompts, shared by the RL tests."""

import dataclasses
import functools

import jax
import numpy as np

from bakein.model import Decoder
from bakein.model.presets import tiny
from bakein.rl.rollout import SamplerConfig, rollout
from bakein.train.state import init_params

VOCAB = 12
DECODER = Decoder(
    dataclasses.replace(tiny(VOCAB), d_model=16, head_dim=8, d_ff=32, query_scale=8**-0.5)
)
PLAIN = SamplerConfig(max_new_tokens=6, temperature=1.0, top_k=0, top_p=1.0, stop_id=2, pad_id=0)

jit_rollout = functools.partial(jax.jit, static_argnums=(0, 5))(rollout)
make_params = jax.jit(lambda seed: init_params(DECODER, jax.random.key(seed)))


def make_keys(seed, rows):
    return jax.random.split(jax.random.key(seed), rows)


def make_prompts(lengths, slots, seed=0):
    """Right-padded random prompts that begin with BOS: (tokens, segments)."""
    rng = np.random.default_rng(seed)
    segments = (np.arange(slots) < np.array(lengths)[:, None]).astype(np.int32)
    tokens = rng.integers(3, VOCAB, segments.shape).astype(np.int32)
    tokens[:, 0] = 1
    return tokens * segments, segments


@functools.partial(jax.jit, static_argnums=0)
def full_logits(decoder, params, tokens_BL):
    """Logits of whole rows of one document, without a cache."""
    positions_BL = jax.numpy.broadcast_to(jax.numpy.arange(tokens_BL.shape[1]), tokens_BL.shape)
    return decoder.apply({"params": params}, tokens_BL, positions_BL, positions_BL * 0 + 1)


def log_softmax(logits):
    logits = np.asarray(logits, np.float64)
    logits = logits - logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))
