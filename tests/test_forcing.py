"""Forced tokens against a plain-Python writer that asks the model, without a cache, each time."""

import jax
import numpy as np
import pytest
from rl_tiny import DECODER, PLAIN, full_logits, jit_rollout, make_keys, make_params, make_prompts

from bakein.rl.forcing import Forcing

LENGTHS = (5, 1, 3, 4, 5, 2, 5, 3)
ANSWER, STOP = 5, 2
LONGEST = 12


def forcing(budget, answer=(ANSWER,), filler=(), continuation=(), continuations=0, limit=LONGEST):
    texts = (np.array(text, np.int32) for text in (answer, filler, continuation))
    return Forcing(np.int32(budget), np.int32(limit), *texts, np.int32(continuations))


def sampler(temperature=2.0):
    return PLAIN.__class__(LONGEST, temperature, 0, 1.0, STOP, 0)


def draw(how, temperature=2.0, seed=0):
    """(prompts, keys, rollout) as numpy arrays."""
    tokens, segments = make_prompts(LENGTHS, 5)
    keys = make_keys(seed, len(LENGTHS))
    drawn = jit_rollout(DECODER, make_params(0), tokens, segments, keys, sampler(temperature), how)
    prompts = [row[: int(s.sum())].tolist() for row, s in zip(tokens, segments, strict=True)]
    return prompts, keys, jax.device_get(drawn)


def write(how, choose):
    """One completion: (tokens, which of them were chosen); `choose` is asked what comes next."""
    answer, filler, continuation = (list(x) for x in how[2:5])
    tokens, chosen, pending = [], [], []
    answering, left = False, int(how.continuations)
    while len(tokens) < how.limit and (not chosen or not (chosen[-1] and tokens[-1] == STOP)):
        choice = choose(tokens)
        if not answering and len(tokens) == how.budget:
            answering, pending = True, list(answer)
        if not answering and not pending:
            if filler:
                pending = [filler[len(tokens) % len(filler)]]
            elif choice in (answer[0], STOP) and continuation and left:
                pending, left = list(continuation), left - 1
        chosen.append(not pending)
        tokens.append(pending.pop(0) if pending else choice)
        answering = answering or (chosen[-1] and tokens[-1] == answer[0])
    return tokens, chosen


def chooser(prompt, key, temperature):
    """What the model would draw after `prompt` and the given tokens, by its full forward pass."""

    def choose(tokens):
        row = np.zeros((1, 5 + LONGEST), np.int32)
        text = prompt + tokens
        row[0, : len(text)] = text
        logits = full_logits(DECODER, make_params(0), row)[0, len(text) - 1]
        step_key = jax.random.fold_in(key, len(tokens))
        return int(jax.random.categorical(step_key, logits / temperature))

    return choose


CASES = {
    "a direct answer": forcing(0),
    "a short budget": forcing(2),
    "no room": forcing(2, limit=3),
    "an answer of three tokens": forcing(1, answer=(ANSWER, 9, 3)),
    "filler": forcing(5, filler=(7, 8)),
    "continued twice": forcing(9, continuation=(4, 6), continuations=2),
    "a long continuation": forcing(11, continuation=(4, 6, 10, 7, 8), continuations=2),
    "continued until the budget is spent": forcing(4, continuation=(4, 6, 10), continuations=99),
    "a budget that is never spent": forcing(LONGEST),
}


@pytest.mark.parametrize("case", CASES)
def test_completions_are_those_of_a_plain_writer(case):
    how = CASES[case]
    prompts, keys, drawn = draw(how)
    for row, prompt in enumerate(prompts):
        tokens, chosen = write(how, chooser(prompt, keys[row], 2.0))
        length = len(tokens)
        assert drawn.length_B[row] == length
        assert drawn.tokens_BT[row].tolist() == tokens + [0] * (LONGEST - length)
        assert drawn.mask_BT[row].tolist() == [*map(float, chosen), *[0.0] * (LONGEST - length)]
        assert drawn.truncated_B[row] == (tokens[-1] != STOP)
    # Nothing may be learnt from a token that was not chosen: no log-probability, no mask.
    assert ((drawn.policy_logprobs_BT < 0) == (drawn.mask_BT > 0)).all()


def test_the_cases_force_what_they_are_about():
    forced = {case: draw(how)[2] for case, how in CASES.items()}
    assert (forced["a direct answer"].tokens_BT[:, 0] == ANSWER).all()
    assert (forced["filler"].tokens_BT[:, :6] == [7, 8, 7, 8, 7, ANSWER]).all()
    assert forced["no room"].length_B.max() == 3
    twice = forced["continued twice"]
    continued = (twice.tokens_BT == 4) & (twice.mask_BT == 0)
    continued &= np.arange(LONGEST) < twice.length_B[:, None]
    assert continued.sum(axis=1).max() == 2
    assert forced["a budget that is never spent"].mask_BT.sum() == sum(
        forced["a budget that is never spent"].length_B
    )


@pytest.mark.parametrize("temperature", [2.0, 0.0])
def test_a_row_that_ends_its_thinking_within_its_budget_is_as_if_it_had_none(temperature):
    tokens, segments = (np.repeat(array, 32, axis=0) for array in make_prompts(LENGTHS, 5))
    keys = make_keys(1, len(tokens))
    shared = (DECODER, make_params(0), tokens, segments, keys, sampler(temperature))
    free = jax.device_get(jit_rollout(*shared))
    ends = (free.tokens_BT == ANSWER) | (free.tokens_BT == STOP)
    thought_B = np.where(ends.any(axis=1), ends.argmax(axis=1), LONGEST)
    shares = []
    for budget in (1, 3, 6, LONGEST):
        forced = jax.device_get(jit_rollout(*shared, forcing(budget)))
        within = thought_B < budget
        for name in free._fields:  # bit for bit
            np.testing.assert_array_equal(
                getattr(forced, name)[within], getattr(free, name)[within]
            )
        # The others thought the same until they were cut.
        before = (slice(None), slice(budget))
        np.testing.assert_array_equal(forced.tokens_BT[before], free.tokens_BT[before])
        if budget < LONGEST:
            assert (forced.tokens_BT[~within, budget] == ANSWER).all()
        shares.append(within.mean())
    if temperature:
        assert 0 < shares[0] < shares[1] < shares[2] <= shares[3]


def test_all_budgets_share_one_compilation():
    traces = []

    class Counting:
        config = DECODER.config

        def apply(self, *args):
            traces.append(1)
            return DECODER.apply(*args)

    tokens, segments = make_prompts(LENGTHS, 5)
    decoder = Counting()
    shared = (decoder, make_params(0), tokens, segments, make_keys(0, 8), sampler())
    jit_rollout(*shared, forcing(0))
    first = len(traces)
    for budget, limit in ((2, 5), (7, LONGEST)):
        drawn = jit_rollout(*shared, forcing(budget, limit=limit))
        assert drawn.length_B.max() <= limit
    assert len(traces) == first
