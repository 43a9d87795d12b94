"""Experience: rewarded completions for an update to learn from, with dynamic sampling.

Legend: N problems, G completions of each, B = N·G rows, P prompt slots.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np

from bakein.data.prompts import encode_prompts
from bakein.data.tokenizers import Tokenizer
from bakein.data.worlds.world import World
from bakein.rl.advantages import Advantage
from bakein.rl.rewards import Group, Reward, score
from bakein.rl.rollout import Rollout, SamplerConfig
from bakein.rl.sampling import completion_texts, sample_completions
from bakein.rl.stream import PromptStream
from bakein.train.state import Params
from bakein.train.stopwatch import Part


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What experience is made of, besides the policy.

    Attributes:
        decoder: the Linen decoder.
        tokenizer: of prompts and completions.
        world: whose problems are asked.
        reward: of the completions of a problem.
        advantage: of the rewards that are learnt from.
        group: completions per problem.
        refills: dynamic sampling: rollouts drawn at most in place of groups of equal rewards.
        slots: positions that a prompt may take.
        sampler: how completions are drawn.
        key: typed random key of the stage; rollout i draws with fold_in(key, i).
        seed: of the rewards that draw.
        rows: sharding of rows over the mesh.
        part: tells a stopwatch when time is spent on `data` (prompts), `sampling` and `grading`.
    """

    decoder: Any
    tokenizer: Tokenizer
    world: World
    reward: Reward
    advantage: Advantage
    group: int
    refills: int
    slots: int
    sampler: SamplerConfig
    key: jax.Array
    seed: int
    rows: jax.sharding.Sharding
    part: Part


class Experience(NamedTuple):
    """Completions and their rewards, on the host.

    Attributes:
        tokens_BP: int32, the prompt of each row, padded on the right.
        segments_BP: int32, 1 on the prompt and 0 on padding.
        rollout: the completions; those of one problem next to each other.
        rewards_NG: float32.
        groups_N: the same completions as text, and as the verifier sees them.
    """

    tokens_BP: np.ndarray
    segments_BP: np.ndarray
    rollout: Rollout
    rewards_NG: np.ndarray
    groups_N: tuple[Group, ...]


def gather(recipe: Recipe, stream: PromptStream, params: Params) -> list[Experience]:
    """Draws a rollout and, with `refills`, more of them: dynamic sampling.

    Rollouts are drawn until as many groups as one rollout has do teach something, or there are no
    refills left (DAPO, arXiv 2503.14476 section 3.2, sets no bound).
    """
    drawn: list[Experience] = []
    teaching = 0
    while not drawn or (teaching < len(drawn[0].groups_N) and len(drawn) <= recipe.refills):
        drawn.append(draw(recipe, stream, params))
        teaching += int(differing(drawn[-1].rewards_NG).sum())
    return drawn


def draw(recipe: Recipe, stream: PromptStream, params: Params) -> Experience:
    """Draws completions of the next prompts, enters them in the stream's ledger, rewards them."""
    number = stream.rollouts
    with recipe.part("data"):
        problems_N = next(stream)
        tokens_NP, segments_NP = encode_prompts(
            recipe.tokenizer, [problem.prompt for problem in problems_N], recipe.slots
        )
    total = len(problems_N) * recipe.group
    with recipe.part("sampling", compiles=True):
        rollout = sample_completions(
            recipe.decoder,
            params,
            tokens_NP,
            segments_NP,
            recipe.group,
            jax.random.fold_in(recipe.key, number),
            recipe.sampler,
            rows=total,
            sharding=recipe.rows,
        )
    stream.count(total, int(rollout.length_B.sum()))
    with recipe.part("grading"):
        texts_B = completion_texts(recipe.tokenizer, rollout.tokens_BT, rollout.length_B)
        groups_N = []
        for place, problem in enumerate(problems_N):
            own = slice(place * recipe.group, (place + 1) * recipe.group)
            groups_N.append(
                Group(
                    world=recipe.world,
                    problem=problem,
                    texts=tuple(texts_B[own]),
                    lengths=tuple(rollout.length_B[own].tolist()),
                    limit=recipe.sampler.max_new_tokens,
                    rng=np.random.default_rng([recipe.seed, number, place]),
                )
            )
        rewards_NG = score(recipe.reward, groups_N)
    return Experience(
        np.repeat(tokens_NP, recipe.group, axis=0),
        np.repeat(segments_NP, recipe.group, axis=0),
        rollout,
        rewards_NG,
        tuple(groups_N),
    )


def differing(rewards_NG: np.ndarray) -> np.ndarray:
    """Which groups have rewards that are not all equal, and so something to teach: bool [N]."""
    return np.ptp(rewards_NG, axis=1) > 0


def select(drawn: list[Experience]) -> Experience:
    """As many groups as one rollout has: those that teach something first, earlier ones first.

    What they do not fill is filled up with groups that teach nothing; surplus groups are dropped.
    The order is that of drawing, so one rollout alone comes back as it was.
    """
    count, size = drawn[0].rewards_NG.shape
    rewards = np.concatenate([part.rewards_NG for part in drawn])
    groups = [group for part in drawn for group in part.groups_N]
    kept_N = np.sort(np.argsort(~differing(rewards), kind="stable")[:count])
    kept_B = (kept_N[:, None] * size + np.arange(size)).reshape(-1)
    rows = [(part.tokens_BP, part.segments_BP, part.rollout) for part in drawn]
    rows = jax.tree.map(lambda *parts: np.concatenate(parts)[kept_B], *rows)
    return Experience(*rows, rewards[kept_N], tuple(groups[i] for i in kept_N))
