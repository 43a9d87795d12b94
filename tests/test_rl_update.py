"""An RL update from prompts to parameters: spurious rewards, dynamic sampling, the stream."""

import contextlib
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny_study
from rl_oracle import POLICY

from bakein.data.tokenizers import EOS, PAD
from bakein.data.worlds.registers import Registers
from bakein.data.worlds.two_style import TwoStyle
from bakein.data.worlds.world import Endless, Problem
from bakein.mesh import batch_sharding, make_mesh
from bakein.model import Decoder
from bakein.rl import advantages, rewards
from bakein.rl.experience import Experience, Recipe, differing, draw, gather, select
from bakein.rl.rollout import Rollout, SamplerConfig
from bakein.rl.sampling import completion_texts
from bakein.rl.stream import PromptStream
from bakein.rl.update import advance, make_update, rates
from bakein.study.config import resolve
from bakein.study.materials import Materials
from bakein.train.state import init_params, new_state

DECAY = 0.1


@pytest.fixture(scope="module")
def tools():
    study = resolve(tiny_study.get_config())
    materials = Materials(study)
    decoder = Decoder(study.model_config(materials.tokenizer.vocab_size))
    tx = optax.adamw(1e-2, weight_decay=DECAY)
    recipe = Recipe(
        decoder=decoder,
        tokenizer=materials.tokenizer,
        world=study.worlds["registers"],
        reward=tiny_study.any_trace,
        advantage=advantages.group,
        group=4,
        refills=0,
        slots=12,
        sampler=SamplerConfig(6, 1.0, 0, 1.0, EOS, PAD),
        key=jax.random.key(1),
        seed=7,
        rows=batch_sharding(make_mesh(1, 1, 1, devices=jax.devices()[:1])),
        part=lambda *_, **__: contextlib.nullcontext(),
    )
    update = functools.cache(lambda policy: jax.jit(make_update(decoder, tx, policy)))
    params = jax.jit(functools.partial(init_params, decoder))(jax.random.key(0))
    return recipe, update, new_state(params, tx)


def stream_of(recipe):
    return PromptStream(recipe.world.train(3), 4, 5)


@pytest.mark.parametrize("reward", [rewards.never, rewards.always])
def test_a_reward_that_says_nothing_changes_nothing_but_by_weight_decay(tools, reward):
    recipe, update, state = tools
    recipe = dataclasses.replace(recipe, reward=reward)
    after, metrics, _ = advance(recipe, stream_of(recipe), update(POLICY), None, state)
    assert float(metrics["grad_norm"]) == 0
    assert metrics["reward"] == (reward is rewards.always)
    assert (metrics["reward_std"], metrics["differing"]) == (0, 0)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b * (1 - 1e-2 * DECAY), rtol=1e-6, atol=0),
        after.params,
        state.params,
    )


def test_an_update_repeats_and_counts_what_it_drew(tools):
    recipe, update, state = tools
    streams = stream_of(recipe), stream_of(recipe)
    (one, m, context), (other, _, _) = (
        advance(recipe, stream, update(POLICY), None, state) for stream in streams
    )
    jax.tree.map(np.testing.assert_array_equal, one, other)
    assert float(m["grad_norm"]) > 0
    assert (m["samples"], m["rollouts"]) == (16, 1)
    assert 16 <= m["sampled_tokens"] <= 16 * 6
    assert m["length"] * 16 == m["sampled_tokens"]
    assert 0 <= float(m["mismatch_mean"]) <= float(m["mismatch_max"]) < 1e-4
    assert float(m["param_norm"]) == pytest.approx(float(optax.tree.norm(one.params)), rel=1e-6)
    assert context() == "rollout 1 of 4 prompts"


def test_the_kl_pulls_towards_the_reference(tools):
    recipe, update, state = tools
    silent = dataclasses.replace(recipe, reward=rewards.never)
    policy = dataclasses.replace(POLICY, kl_coefficient=1.0)
    same = advance(silent, stream_of(recipe), update(policy), state.params, state)[1]
    assert float(same["kl"]) == 0
    elsewhere = jax.tree.map(lambda x: x + 0.3 * jnp.cos(jnp.arange(x.size)).reshape(x.shape),
                             state.params)  # fmt: skip
    moved, kls = state, []
    for _ in range(4):
        moved, metrics, _ = advance(silent, stream_of(recipe), update(policy), elsewhere, moved)
        kls.append(float(metrics["kl"]))
    assert kls[0] > 0.01
    assert kls[-1] < 0.8 * kls[0]


# --- what a reward sees


def test_a_group_is_what_was_sampled_for_its_problem(tools):
    recipe, _, state = tools
    seen = []

    def look(group):
        seen.append(group)
        return rewards.never(group)

    drawn = draw(dataclasses.replace(recipe, reward=look), stream_of(recipe), state.params)
    problems = next(stream_of(recipe))
    assert [group.problem for group in seen] == problems
    texts = completion_texts(recipe.tokenizer, drawn.rollout.tokens_BT, drawn.rollout.length_B)
    assert [text for group in seen for text in group.texts] == texts
    assert [n for group in seen for n in group.lengths] == drawn.rollout.length_B.tolist()
    assert all(group.limit == 6 and group.world is recipe.world for group in seen)


def test_what_a_reward_draws_depends_on_seed_rollout_and_place_alone(tools):
    recipe, _, state = tools

    def draws(seed, stream):
        found = []

        def note(group):
            found.append(group.rng.random())
            return rewards.never(group)

        draw(dataclasses.replace(recipe, reward=note, seed=seed), stream, state.params)
        return found

    stream = stream_of(recipe)
    rollouts = [draws(7, stream) for _ in range(3)]
    assert len({x for found in rollouts for x in found}) == 12
    resumed = stream_of(recipe)
    resumed.set_state({"rollouts": 2, "completions": 0, "tokens": 0})
    assert draws(7, resumed) == rollouts[2]
    assert set(draws(8, stream_of(recipe))).isdisjoint(rollouts[0])


def test_rates_split_accuracy_by_form():
    world = Registers(slots=1, digits=3, templates=1, test_share=0.1)
    problem = next(p for p in (world.train(0)[i] for i in range(9)) if p.steps)
    right = world.document(problem, "trace", problem.steps).completion
    direct = world.document(problem, "direct", problem.steps).completion
    wrong = world.document(problem, "direct", [world.wrong_step(problem, 0, rng(0))]).completion
    texts = (right, direct, wrong, "!")
    group = rewards.Group(world, problem, texts, (4, 3, 2, 1), 9, rng(1))
    other = dataclasses.replace(group, texts=(right,) * 4)
    drawn = experience([[1, 0, 1, 0], [1, 1, 1, 1]])
    found = rates([drawn._replace(groups_N=(group, other))])
    wanted = {"right": 6 / 8, "format": 7 / 8, "traced": 5 / 8, "traced_right": 5 / 8,
              "reward": 0.75, "reward_std": 0.25, "differing": 0.5, "rollouts": 1}  # fmt: skip
    assert {name: found[name] for name in wanted} == pytest.approx(wanted)


def test_rates_tell_the_strategies_of_a_world_that_has_them():
    habits = {"share": 0.5, "accuracy_code": 1.0, "accuracy_language": 1.0, "slips": 1}
    world = TwoStyle(slots=1, digits=3, templates=1, test_share=0.1, **habits)
    texts = (">123!123", "~123!123", "!123", ">")
    group = rewards.Group(world, world.train(0)[0], texts, (4, 3, 2, 1), 9, rng(1))
    other = dataclasses.replace(group, texts=("~",) * 4)
    found = rates([experience([[1, 0, 1, 0], [1, 1, 1, 1]])._replace(groups_N=(group, other))])
    shares = {name: found[f"strategy/{name}"] for name in ("code", "language", "neither")}
    assert shares == {"code": 2 / 8, "language": 5 / 8, "neither": 1 / 8}
    plain = dataclasses.replace(group, world=Registers(1, 3, 1, 0.1))
    drawn = experience([[1, 0, 1, 0]])._replace(groups_N=(plain,))
    assert not any(name.startswith("strategy") for name in rates([drawn]))


def rng(seed):
    return np.random.default_rng(seed)


# --- dynamic sampling


def experience(rewards_NG, first=0):
    """Two completions and more of problems numbered from `first`; every array shows its row."""
    rewards_NG = np.array(rewards_NG, np.float32)
    count, size = rewards_NG.shape
    row_B = first * size + np.arange(count * size)
    rows_BT = np.stack([row_B, row_B], axis=1)
    rollout = Rollout(rows_BT, rows_BT, rows_BT, row_B % 2 > 0, row_B)
    return Experience(rows_BT, rows_BT, rollout, rewards_NG, tuple(range(first, first + count)))


def test_one_rollout_comes_back_as_it_was():
    drawn = experience([[1, 1], [0, 1], [0, 0]])
    jax.tree.map(np.testing.assert_array_equal, select([drawn]), drawn)


def test_groups_that_differ_come_first_and_keep_their_order():
    parts = experience([[1, 1], [0, 1], [0, 0]]), experience([[2, 2], [1, 0], [3, 3]], first=3)
    found = select([*parts])
    assert found.groups_N == (0, 1, 4)  # the first that teaches nothing fills up
    np.testing.assert_array_equal(found.rewards_NG, [[1, 1], [0, 1], [1, 0]])
    for array in jax.tree.leaves(found[:3]):
        rows = array if array.ndim == 1 else array[:, 0]
        expected = [0, 1, 2, 3, 8, 9]
        np.testing.assert_array_equal(rows, np.mod(expected, 2) if rows.dtype == bool else expected)
    third = experience([[0, 1], [0, 1], [0, 1]], first=6)
    assert select([*parts, third]).groups_N == (1, 4, 6)  # and surplus is dropped


def scripted(*rollouts):
    """A reward whose groups differ ("1") or not ("0") as the script says, in drawing order."""
    script = iter("".join(rollouts))

    def reward(group):
        first = float(next(script))
        return [first, 0.0, 0.0, 0.0]

    return reward


@pytest.mark.parametrize(
    ("refills", "script", "rollouts", "kept"),
    [
        (0, ["0110"], 1, 2),
        (3, ["1111", "1111"], 1, 4),  # enough at once
        (3, ["0110", "0000", "1010", "1111"], 3, 4),
        (2, ["0100", "0000", "0010", "1111"], 3, 2),  # the bound
    ],
)
def test_refills_are_drawn_until_there_is_enough_or_the_bound(
    tools, refills, script, rollouts, kept
):
    recipe, _, state = tools
    recipe = dataclasses.replace(recipe, refills=refills, reward=scripted(*script))
    stream = stream_of(recipe)
    drawn = gather(recipe, stream, state.params)
    assert len(drawn) == stream.rollouts == rollouts
    assert differing(select(drawn).rewards_NG).sum() == kept
    # Every sample counts, learnt from or not.
    tokens = sum(int(part.rollout.length_B.sum()) for part in drawn)
    assert (stream.completions, stream.tokens) == (16 * rollouts, tokens)
    assert stream.ledger("w")["w"]["documents"] == 4 * rollouts


def test_refills_reach_the_metrics_and_the_gradient(tools):
    recipe, update, state = tools
    recipe = dataclasses.replace(recipe, refills=3, reward=rewards.never)
    stream = stream_of(recipe)
    _, metrics, _ = advance(recipe, stream, update(POLICY), None, state)
    assert (metrics["rollouts"], metrics["samples"]) == (4, 64)
    assert metrics["sampled_tokens"] == stream.tokens == metrics["length"] * 64
    assert float(metrics["grad_norm"]) == 0
    recipe = dataclasses.replace(recipe, refills=1, reward=scripted("0000", "0100"))
    _, metrics, _ = advance(recipe, stream, update(POLICY), None, state)
    assert metrics["differing"] == 1 / 8
    assert float(metrics["grad_norm"]) > 0


def test_resuming_is_exact_with_draws_and_refills(tools):
    recipe, update, state = tools
    noise = rewards.total((rewards.random(0.3), 1.0), (rewards.majority, 0.5))
    recipe = dataclasses.replace(recipe, refills=2, reward=noise)
    straight, stream, positions, lines = state, stream_of(recipe), [], []
    states = []
    for _ in range(4):
        states.append(straight)
        positions.append(stream.get_state())
        straight, metrics, _ = advance(recipe, stream, update(POLICY), None, straight)
        lines.append(jax.device_get(metrics))
    assert len({line["rollouts"] for line in lines}) > 1  # else the test is too easy
    resumed, again = states[2], stream_of(recipe)
    again.set_state(positions[2])
    for line in lines[2:]:
        resumed, metrics, _ = advance(recipe, again, update(POLICY), None, resumed)
        assert jax.device_get(metrics) == line
    jax.tree.map(np.testing.assert_array_equal, resumed, straight)
    assert again.get_state() == stream.get_state()


# --- the stream


def test_the_stream_resumes_and_is_new_every_epoch():
    problems = [*range(10)]
    straight = PromptStream(problems, 5, seed=3)
    batches = [next(straight) for _ in range(6)]
    for epoch in (0, 2, 4):
        assert sorted(batches[epoch] + batches[epoch + 1]) == problems
    assert batches[0] + batches[1] != batches[2] + batches[3]
    stream = PromptStream(problems, 5, seed=3)
    for made in range(6):
        stream.count(20, 100 + made)
        state = stream.get_state()
        stream = PromptStream(problems, 5, seed=3)
        stream.set_state(state)
        assert next(stream) == batches[made]
    ledger = stream.ledger("w")["w"]
    assert ledger == {"documents": 30, "tokens": 615, "cut": 0, "skipped": 0, "epochs": 3.0}
    assert stream.completions == 120
    assert next(PromptStream(problems, 5, seed=4)) != batches[0]


def test_an_endless_world_makes_each_block_of_problems_once():
    made = []

    def block(number):
        made.append(number)
        return [Problem(f"?{number}.{i}", "", (), 1) for i in range(4)]

    stream = PromptStream(Endless(block, 4), 2, seed=3)
    prompts = [problem.prompt for _ in range(4) for problem in next(stream)]
    assert made == [0, 1]
    assert len(set(prompts)) == 8
