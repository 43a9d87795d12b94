"""One RL update: rollout → reward → advantage → policy update, whatever the algorithm.

Legend: B rows, P prompt slots.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax

from bakein import processes
from bakein.data.worlds.world import strategies_of
from bakein.rl.batch import learner_batch
from bakein.rl.experience import Experience, Recipe, differing, gather, select
from bakein.rl.rollout import Rollout
from bakein.rl.step import Metrics, PolicyConfig, make_rl_step, rollout_logprobs
from bakein.rl.stream import PromptStream
from bakein.train.state import Params, TrainState
from bakein.train.step import guarded

Update = Callable[..., tuple[TrainState, Metrics]]


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
            batch["ref_logprobs"] = rollout_logprobs(decoder, reference, batch, config)
        state, metrics = step(state, batch)
        return state, {**metrics, "param_norm": optax.tree.norm(state.params)}

    return update


def advance(
    recipe: Recipe,
    stream: PromptStream,
    update: Update,
    reference: Params | None,
    state: TrainState,
) -> tuple[TrainState, dict[str, Any], Callable[[], str]]:
    """Draws the next prompts, rolls out, rewards, and updates the policy once.

    Args:
        recipe: what stays the same.
        stream: the prompts; its ledger is entered.
        update: the jitted `make_update`.
        reference: see `make_update`.
        state: the policy.

    Returns:
        The new state, metrics (`rates`, the learner's, and the running count of samples and
        sampled tokens), and what was learnt from, in words.
    """
    number = stream.rollouts
    drawn = gather(recipe, stream, state.params)
    learnt = select(drawn)
    advantages_B = recipe.advantage(learnt.rewards_NG).reshape(-1)
    rows = (learnt.tokens_BP, learnt.segments_BP, learnt.rollout, advantages_B)
    state, learner = guarded(update)(state, reference, *processes.place(rows, recipe.rows))
    with recipe.part("grading"):  # of what the reward did not look at
        sampled = rates(drawn)
    metrics = {
        **sampled,
        "samples": stream.completions,
        "sampled_tokens": stream.tokens,
        **learner,
    }
    return state, metrics, lambda: f"rollout {number + 1} of {len(learnt.groups_N)} prompts"


def rates(drawn: list[Experience]) -> dict[str, Any]:
    """What the completions were like: all that were drawn, whether learnt from or not.

    Means over completions: `reward` as trained on, `right`, `format`, `truncation`, `length` in
    tokens, `traced` (steps were found) and `traced_right` (and the answer is right), which split
    accuracy by form of answer. Means over groups: `reward_std`, and `differing`, the share whose
    rewards are not all equal. And the number of `rollouts`. Of a world with strategies also
    `strategy/NAME`, the share of completions that follow each.
    """
    rewards = np.concatenate([part.rewards_NG for part in drawn])
    groups = [group for part in drawn for group in part.groups_N]
    checks = [check for group in groups for check in group.checks]
    strategies = strategies_of(groups[0].world)
    texts = [(group.world, text) for group in groups for text in group.texts]
    followed = [world.strategy(text) for world, text in texts] if strategies else []
    return {
        "reward": float(rewards.mean()),
        "reward_std": float(rewards.std(axis=1).mean()),
        "differing": float(differing(rewards).mean()),
        "right": float(np.mean([check.right for check in checks])),
        "format": float(np.mean([check.format for check in checks])),
        "traced": float(np.mean([bool(check.steps) for check in checks])),
        "traced_right": float(np.mean([bool(check.steps) and check.right for check in checks])),
        "truncation": float(np.mean([part.rollout.truncated_B for part in drawn])),
        "length": sum(int(part.rollout.length_B.sum()) for part in drawn) / len(checks),
        "rollouts": len(drawn),
        **{f"strategy/{name}": followed.count(name) / len(checks) for name in strategies},
    }
