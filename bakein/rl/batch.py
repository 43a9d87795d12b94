"""The learner's batch: what a rollout gives the RL step to learn from.

Shapes: B rows, P prompt slots, T new tokens at most, L = P + T - 1 positions.
"""

import jax
import jax.numpy as jnp

from bakein.rl.rollout import Rollout


def learner_batch(
    tokens_BP: jax.Array, segments_BP: jax.Array, rollout: Rollout, advantages_B: jax.Array
) -> dict[str, jax.Array]:
    """Joins prompts and completions into rows for the learner; pure, for use under `jit`, `vmap`.

    Each row is its prompt, its completion and then padding, without a gap, so positions simply
    count. The mask is the rollout's: 1 where the target is a token that the completion's row chose
    (its stop token included), 0 where it was forced.

    Args:
        tokens_BP: int32 prompts, padded on the right, as the sampler saw them.
        segments_BP: int32, 1 on the prompt and 0 on padding.
        rollout: their completions.
        advantages_B: float32, one per completion.

    Returns:
        {tokens, targets, segments, positions: int32, mask: float32, sampler_logprobs: float32},
        all [B, L], and advantages [B]. `sampler_logprobs` are the policy's, as the sampler
        computed them; 0 outside the mask.
    """
    slots, new = tokens_BP.shape[1], rollout.tokens_BT.shape[1]
    length = slots + new - 1
    prompt_B1 = jnp.sum(segments_BP > 0, axis=1, dtype=jnp.int32)[:, None]
    end_B1 = prompt_B1 + rollout.length_B[:, None]
    column_L = jnp.arange(length + 1, dtype=jnp.int32)
    source_BL = jnp.where(column_L < prompt_B1, column_L, slots + column_L - prompt_B1)
    source_BL = jnp.minimum(source_BL, slots + new - 1)

    def gather(prompt_BP, completion_BT):
        joined = jnp.concatenate([prompt_BP, completion_BT], axis=1)
        return jnp.take_along_axis(joined, source_BL, axis=1)

    text_BL = jnp.where(column_L < end_B1, gather(tokens_BP, rollout.tokens_BT), 0)
    zeros_BP = jnp.zeros(tokens_BP.shape, jnp.float32)
    logprobs_BL = gather(zeros_BP, rollout.policy_logprobs_BT)
    mask_BL = gather(zeros_BP, rollout.mask_BT)
    written_BL = (column_L >= prompt_B1) & (column_L < end_B1)
    column_L = column_L[:-1]
    # The last token of a row is a target only: nothing is predicted from it.
    fed_BL = column_L < end_B1 - 1
    return {
        "tokens": jnp.where(fed_BL, text_BL[:, :-1], 0),
        "targets": text_BL[:, 1:],
        "segments": fed_BL.astype(jnp.int32),
        "positions": jnp.where(fed_BL, column_L, 0),
        "mask": jnp.where(written_BL, mask_BL, 0.0)[:, 1:],
        "sampler_logprobs": jnp.where(written_BL, logprobs_BL, 0.0)[:, 1:],
        "advantages": jnp.asarray(advantages_B, jnp.float32),
    }
