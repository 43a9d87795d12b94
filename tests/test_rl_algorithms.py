"""The named algorithms: keys of a study, what tells them apart, and that each of them learns."""

import contextlib
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny_study
from rl_tiny import DECODER

from bakein.data.tokenizers import CharTokenizer
from bakein.data.worlds.world import Check, Problem
from bakein.mesh import batch_sharding, make_mesh
from bakein.model import Decoder
from bakein.rl import algorithms, rewards
from bakein.rl.experience import Recipe
from bakein.rl.step import policy_sums
from bakein.rl.stream import PromptStream
from bakein.rl.update import advance, make_update
from bakein.study import base
from bakein.study.config import resolve
from bakein.train.state import init_params, new_state

NAMES = ("grpo", "dr_grpo", "dapo", "rloo", "gspo", "cispo", "reinforce")
SHALLOW = Decoder(dataclasses.replace(DECODER.config, layers=1))


def stage(name, **keys):
    """The stage of a study that is written with an algorithm's keys."""
    config = tiny_study.get_config()
    config.stages.rl = base.rl(parent="sft", world="registers", **getattr(algorithms, name) | keys)
    return resolve(config).arms["standard"]["rl"]


@pytest.mark.parametrize("name", NAMES)
def test_a_study_can_be_written_with_each(name):
    keys = getattr(algorithms, name)
    assert set(keys) == set(algorithms.grpo)
    found = stage(name)
    assert {key: getattr(found, key) for key in keys} == keys
    assert stage(name, refills=1).refills == 1


def test_no_two_are_the_same():
    keys = [tuple(getattr(algorithms, name).items()) for name in NAMES]
    assert len(set(keys)) == len(NAMES)
    public = {name for name, value in vars(algorithms).items() if isinstance(value, dict)}
    assert {name for name in public if not name.startswith("__")} == set(NAMES)


# --- a two-armed bandit: the policy is a table of logits, so an update costs no model

LENGTH, ROWS, GROUP = 3, 64, 8
BANDIT_TX = optax.adam(0.1)


@functools.cache
def bandit_update(policy):
    """(logits [LENGTH, 2], optimizer state, tokens, batch) -> (logits, state, gradient, sums)."""

    def loss(logits, tokens_BL, batch):
        logprobs_BL = jax.nn.log_softmax(logits)[jnp.arange(LENGTH), tokens_BL]
        sums = policy_sums(logprobs_BL, batch, policy)
        return sums["loss"].total / sums["loss"].weight, sums

    @jax.jit
    def update(logits, state, tokens_BL, batch):
        gradient, sums = jax.grad(loss, has_aux=True)(logits, tokens_BL, batch)
        change, state = BANDIT_TX.update(gradient, state)
        return optax.apply_updates(logits, change), state, gradient, sums

    return update


def play_bandit(name, rollouts, reward, updates=1, **keys):
    """Arm 1 of the first token is right; the tokens after it are for nothing, and may be missing.

    Returns for every update: (share of right arms, largest gradient, share that was clipped).
    """
    config, rng = stage(name, max_new_tokens=LENGTH, **keys), np.random.default_rng(0)
    logits, lines = jnp.zeros((LENGTH, 2)), []
    state, reference = BANDIT_TX.init(logits), jnp.log(jnp.full((ROWS, LENGTH), 0.5))
    for _ in range(rollouts):
        probability = np.asarray(jax.nn.softmax(logits))[:, 1]
        tokens = (rng.random((ROWS, LENGTH)) < probability).astype(int)
        mask = (np.arange(LENGTH) < rng.integers(1, LENGTH + 1, (ROWS, 1))).astype(np.float32)
        old = jax.nn.log_softmax(logits)[np.arange(LENGTH), tokens]
        rewards = reward(tokens[:, 0]).astype(np.float32).reshape(-1, GROUP)
        batch = {"mask": mask, "advantages": config.advantage(rewards).reshape(-1)}
        batch |= {"old_logprobs": old, "sampler_logprobs": old}
        batch |= {"ref_logprobs": reference} if config.kl_coefficient else {}
        for _ in range(updates):
            step = bandit_update(config.policy)
            logits, state, gradient, sums = step(logits, state, tokens, batch)
            clipped = float(sums["clip_fraction"].total / sums["clip_fraction"].weight)
            lines.append((tokens[:, 0].mean(), float(jnp.abs(gradient).max()), clipped))
    return np.array(lines)


@pytest.mark.parametrize("name", NAMES)
def test_each_climbs_on_a_two_armed_bandit(name):
    right, _, clipped = play_bandit(name, 40, lambda arms: arms).T
    assert 0.3 < right[0] < 0.7
    assert right[-5:].mean() > 0.9
    assert not clipped.any()  # one update on each rollout: every ratio is 1


@pytest.mark.parametrize("name", ["dapo", "gspo", "cispo"])
def test_each_climbs_off_policy_where_its_clip_is_felt(name):
    bounds = {"clip_high": 0.05} if name == "cispo" else {}
    right, _, clipped = play_bandit(name, 20, lambda arms: arms, updates=4, **bounds).T
    assert right[-5:].mean() > 0.9
    assert clipped.max() > 0


@pytest.mark.parametrize("constant", [0, 1])
@pytest.mark.parametrize("name", NAMES)
def test_none_learns_from_equal_rewards(name, constant):
    _, gradient, _ = play_bandit(
        name, 3, lambda arms: np.full(arms.shape, constant), kl_coefficient=0.0
    ).T
    assert (gradient == 0).all()


# --- and once through everything


class Arms:
    """Five letters are right and four are wrong: an arm is pulled by the first token."""

    def check(self, problem, completion):
        return Check(completion in {*"acegi"}, True, (), answer=completion)


def test_a_model_climbs_with_dynamic_sampling():
    # Few refills: late in the game every group is right, and none has anything to teach.
    shape = {"prompts": 8, "group": 8, "max_new_tokens": 1, "prompt_length": 4}
    config = stage("dapo", **shape | {"refills": 1})
    recipe = Recipe(
        decoder=SHALLOW,
        tokenizer=CharTokenizer("abcdefghi"),
        world=Arms(),
        reward=rewards.exact,
        advantage=config.advantage,
        group=config.group,
        refills=config.refills,
        slots=config.prompt_length,
        sampler=config.sampler,
        key=jax.random.key(0),
        seed=0,
        rows=batch_sharding(make_mesh(1, 1, 1, devices=jax.devices()[:1])),
        part=lambda *_, **__: contextlib.nullcontext(),
    )
    problems = [Problem(prompt, "", (), 1) for prompt in ("abc", "bad", "hie", "fig")]
    stream, tx = PromptStream(problems, config.prompts, seed=0), optax.adam(1e-2)
    update = jax.jit(make_update(SHALLOW, tx, config.policy))
    params = jax.jit(functools.partial(init_params, SHALLOW))(jax.random.key(0))
    state, lines = new_state(params, tx), []
    for _ in range(30):
        state, metrics, _ = advance(recipe, stream, update, None, state)
        lines.append(metrics)
    right = [line["right"] for line in lines]
    assert 0.3 < right[0] < 0.7
    assert np.mean(right[-5:]) > 0.9
    assert {line["rollouts"] for line in lines} == {1, 2}
