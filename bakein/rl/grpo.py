"""One GRPO update [2402.03300]: rollout → reward → advantage → policy update.

Legend: N problems, G completions of each, B = N·G rows, P prompt slots.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax

from bakein.data.prompts import encode_prompts
from bakein.data.tokenizers import Tokenizer
from bakein.data.worlds.world import World
from bakein.rl.advantages import group_advantages
from bakein.rl.batch import learner_batch
from bakein.rl.grading import check_texts
from bakein.rl.rewards import Reward, score
from bakein.rl.rollout import Rollout, SamplerConfig
from bakein.rl.sampling import completion_texts, sample_completions
from bakein.rl.step import Metrics, PolicyConfig, learner_logprobs, make_rl_step
from bakein.rl.stream import PromptStream
from bakein.train.state import Params, TrainState

Update = Callable[..., tuple[TrainState, Metrics]]


@dataclasses.dataclass(frozen=True)
class GRPO:
    """What one update needs besides the state.

    Attributes:
        decoder: the Linen decoder.
        tokenizer: of prompts and completions.
        world: whose verifier the reward asks.
        reward: (world, problem, completion) -> float.
        group: completions per problem.
        slots: positions that a prompt may take.
        normalise: divide advantages by the group's standard deviation.
        sampler: how completions are drawn.
        key: typed random key of the stage; update i draws with fold_in(key, i).
        rows: sharding of rows over the mesh.
    """

    decoder: Any
    tokenizer: Tokenizer
    world: World
    reward: Reward
    group: int
    slots: int
    normalise: bool
    sampler: SamplerConfig
    key: jax.Array
    rows: jax.sharding.Sharding


def make_update(decoder: Any, tx: Any, config: PolicyConfig) -> Update:
    """The pure part, to be jitted: (state, reference, tokens, segments, rollout, advantages).

    `reference` is the parameters of the KL's reference policy; it is read only where the
    coefficient is above 0, and may be None elsewhere.
    """
    step = make_rl_step(decoder, tx, config)

    def update(
        state: TrainState,
        reference: Params | None,
        tokens_BP: jax.Array,
        segments_BP: jax.Array,
        rollout: Rollout,
        advantages_B: jax.Array,
    ) -> tuple[TrainState, Metrics]:
        batch = learner_batch(tokens_BP, segments_BP, rollout, advantages_B)
        if config.kl_coefficient > 0:
            batch["ref_logprobs"] = learner_logprobs(decoder, reference, batch, config.temperature)
        state, metrics = step(state, batch)
        return state, {**metrics, "param_norm": optax.tree.norm(state.params)}

    return update


def advance(
    grpo: GRPO, stream: PromptStream, update: Update, reference: Params | None, state: TrainState
) -> tuple[TrainState, dict[str, Any], Callable[[], str]]:
    """Draws the next prompts, rolls out, rewards, and updates the policy once.

    Args:
        grpo: what stays the same.
        stream: the prompts; its ledger is entered.
        update: the jitted `make_update`.
        reference: see `make_update`.
        state: the policy.

    Returns:
        The new state, metrics (rewards and rates of this rollout, the learner's, and the running
        count of samples and sampled tokens), and what was learnt from, in words.
    """
    number = stream.rollouts
    problems_N = next(stream)
    tokens_NP, segments_NP = encode_prompts(
        grpo.tokenizer, [problem.prompt for problem in problems_N], grpo.slots
    )
    total = len(problems_N) * grpo.group
    rollout = sample_completions(
        grpo.decoder,
        state.params,
        tokens_NP,
        segments_NP,
        grpo.group,
        jax.random.fold_in(grpo.key, number),
        grpo.sampler,
        rows=total,
        sharding=grpo.rows,
    )
    texts_B = completion_texts(grpo.tokenizer, rollout.tokens_BT, rollout.length_B)
    texts_NG = [texts_B[i : i + grpo.group] for i in range(0, total, grpo.group)]
    rewards_NG = score(grpo.world, problems_N, texts_NG, grpo.reward)
    advantages_NG = group_advantages(rewards_NG, normalise=grpo.normalise)
    checks = [
        check
        for problem, texts in zip(problems_N, texts_NG, strict=True)
        for check in check_texts(grpo.world, problem, texts)
    ]
    tokens = int(rollout.length_B.sum())
    stream.count(total, tokens)
    tokens_BP, segments_BP = (np.repeat(x, grpo.group, axis=0) for x in (tokens_NP, segments_NP))
    put = jax.device_put((tokens_BP, segments_BP, rollout, advantages_NG.reshape(-1)), grpo.rows)
    state, learner = update(state, reference, *put)
    metrics = {
        "reward": float(rewards_NG.mean()),
        "reward_std": float(rewards_NG.std(axis=1).mean()),
        "right": float(np.mean([check.right for check in checks])),
        "format": float(np.mean([check.format for check in checks])),
        "truncation": float(rollout.truncated_B.mean()),
        "length": tokens / total,
        "samples": stream.completions,
        "sampled_tokens": stream.tokens,
        **learner,
    }
    return state, metrics, lambda: f"rollout {number + 1} of {len(problems_N)} prompts"
