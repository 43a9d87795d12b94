"""The frozen evaluation: counts as recounted by hand, the same at every size and every time."""

import collections
import dataclasses
import json

import jax
import pytest
from rl_tiny import DECODER, make_params

from bakein.data.tokenizers import EOS, PAD, CharTokenizer
from bakein.data.worlds.world import Check, Problem
from bakein.evals.evaluate import EvalConfig, evaluate, recall_facts
from bakein.rl.grading import check_texts, heldout_shares
from bakein.rl.rewards import is_verified
from bakein.rl.rollout import SamplerConfig
from bakein.rl.sampling import completion_texts, fixed_prompts, sample_completions

TOKENIZER = CharTokenizer("abcdefghi")  # 12 tokens, as rl_tiny's decoder has
CONFIG = EvalConfig(samples=8, max_new_tokens=6, rows=16, shown=1)
KEY = jax.random.key(3)


class Letters:
    """A world that an untrained model is right in now and then: name one of some letters."""

    def check(self, problem, completion):
        answer = completion[:1]
        return Check(
            right=bool(answer) and answer in problem.answer,
            format=len(completion) % 2 == 0,
            steps=tuple(letter > "d" for letter in completion[1:3]),
            answer=answer,
        )


WORLD = Letters()


@pytest.fixture(scope="module")
def params():
    return make_params(0)


@pytest.fixture(scope="module")
def problems():
    prompts = ("abc", "", "ih", "g", "ee", "fade")
    return [Problem(prompt, "abcd", ("x",), 1 + i % 2) for i, prompt in enumerate(prompts)]


def draw(params, problems, temperature=1.0, samples=CONFIG.samples):
    """(texts, checks, truncated) per problem, from the sampler itself."""
    sampler = SamplerConfig(CONFIG.max_new_tokens, temperature, 0, 1.0, EOS, PAD)
    drawn = sample_completions(
        DECODER, params, *fixed_prompts(TOKENIZER, problems), samples, KEY, sampler, rows=16
    )
    texts = completion_texts(TOKENIZER, drawn.tokens_BT, drawn.length_B)
    result = []
    for index, problem in enumerate(problems):
        own = slice(index * samples, (index + 1) * samples)
        checks = [WORLD.check(problem, text) for text in texts[own]]
        result.append((texts[own], checks, drawn.truncated_B[own]))
    return result


@pytest.fixture(scope="module")
def evaluation(params, problems):
    return evaluate(DECODER, params, TOKENIZER, WORLD, problems, KEY, CONFIG)


def test_records_are_the_counts(params, problems, evaluation):
    sampled, greedy = draw(params, problems), draw(params, problems, 0.0, 1)
    assert len(evaluation.records) == len(problems)
    for index, record in enumerate(evaluation.records):
        problem = problems[index]
        _, checks, truncated = sampled[index]
        answers = collections.Counter(text[:1] for text in sampled[index][0])
        assert record == {
            "problem": index,
            "level": problem.level,
            "n": 8,
            "correct": sum(check.right for check in checks),
            "verified": sum(is_verified(problem, check) for check in checks),
            "format": sum(check.format for check in checks),
            "truncated": sum(truncated.tolist()),
            "greedy": int(greedy[index][1][0].right),
            "greedy_format": int(greedy[index][1][0].format),
            "answer": problem.answer,
            "answers": dict(answers),
        }
        assert list(record["answers"]) == sorted(answers)
    totals = collections.Counter()
    for record in evaluation.records:
        totals.update(
            {name: record[name] for name in ("correct", "verified", "format", "truncated")}
        )
    assert all(0 < total < 48 for total in totals.values()), "the case must show every count"


class Strategic(Letters):
    """The same with two strategies: to begin with an early letter, or not."""

    strategies = ("early", "late")

    def strategy(self, completion):
        return "early" if completion[:1] in tuple("abc") else "late"


def test_strategies_are_counted_where_a_world_has_them(params, problems, evaluation):
    world = Strategic()
    found = evaluate(DECODER, params, TOKENIZER, world, problems, KEY, CONFIG)
    assert found.samples == evaluation.samples
    for record, plain, (texts, checks, _) in zip(
        found.records, evaluation.records, draw(params, problems), strict=True
    ):
        right = [[check.right for text, check in zip(texts, checks, strict=True)
                  if world.strategy(text) == name] for name in world.strategies]  # fmt: skip
        counts = {n: [len(r), sum(r)] for n, r in zip(world.strategies, right, strict=True)}
        assert record == plain | {"strategies": counts}
        assert sum(one for _, one in counts.values()) == record["correct"]
    used = [record["strategies"]["early"][0] for record in found.records]
    assert 0 < sum(used) < 48, "the case must show both"


def test_samples_show_greedy_right_and_wrong(params, problems, evaluation):
    """Of one problem per level; the first two problems are of levels 1 and 2."""
    lines = [(line["problem"], line["kind"], line["right"]) for line in evaluation.samples]
    greedy = [record["greedy"] == 1 for record in evaluation.records]
    for index in range(2):
        own = [line for line in lines if line[0] == index]
        both = [(index, "sample", True), (index, "sample", False)]
        assert own == [(index, "greedy", greedy[index]), *both]
    assert {line[0] for line in lines} == {0, 1}
    sampled = draw(params, problems)
    for line in evaluation.samples:
        if line["kind"] == "greedy":
            continue
        texts, checks, _ = sampled[line["problem"]]
        place = [check.right for check in checks].index(line["right"])
        assert line == {
            "problem": line["problem"],
            "level": line["problem"] + 1,
            "prompt": problems[line["problem"]].prompt,
            "completion": texts[place],
            "answer": "abcd",
            "right": checks[place].right,
            "format": checks[place].format,
            "steps": list(checks[place].steps),
            "kind": "sample",
        }


def test_lines_are_json(evaluation):
    for line in [*evaluation.records, *evaluation.samples]:
        assert json.loads(json.dumps(line)) == line


def test_the_same_at_every_time_and_every_size(params, problems, evaluation):
    again = evaluate(DECODER, params, TOKENIZER, WORLD, problems, KEY, CONFIG)
    assert again == evaluation
    other = dataclasses.replace(CONFIG, rows=7)
    assert evaluate(DECODER, params, TOKENIZER, WORLD, problems, KEY, other) == evaluation


def test_a_point_of_the_curve_is_the_accuracy_of_each_problem(params, problems, evaluation):
    sampler = SamplerConfig(CONFIG.max_new_tokens, 1.0, 0, 1.0, EOS, PAD)
    shares = heldout_shares(DECODER, params, TOKENIZER, WORLD, problems, 8, KEY, sampler, rows=16)
    assert shares == [record["correct"] / 8 for record in evaluation.records]


def test_facts_are_recalled_greedily(params, problems):
    greedy = [checks[0].right for _, checks, _ in draw(params, problems, 0.0, 1)]
    records = recall_facts(DECODER, params, TOKENIZER, WORLD, problems, KEY, CONFIG)
    assert records == [{"fact": i, "recalled": int(right)} for i, right in enumerate(greedy)]
    forgotten = [dataclasses.replace(problem, answer="") for problem in problems]
    records = recall_facts(DECODER, params, TOKENIZER, WORLD, forgotten, KEY, CONFIG)
    assert [record["recalled"] for record in records] == [0] * len(problems)


def test_equal_completions_are_checked_once():
    asked = []

    class Counting(Letters):
        def check(self, problem, completion):
            asked.append(completion)
            return super().check(problem, completion)

    problem = Problem("", "ab", (), 1)
    checks = check_texts(Counting(), problem, ["a", "i", "a", "bi"])
    assert [check.right for check in checks] == [True, False, True, True]
    assert asked == ["a", "i", "bi"]


def test_a_verifier_that_does_not_answer_with_bools_is_named():
    class Counted(Letters):
        def check(self, problem, completion):
            return dataclasses.replace(super().check(problem, completion), right=1)

    with pytest.raises(TypeError, match=r"Counted\.check gave .*; it must be of bools"):
        check_texts(Counted(), Problem("", "ab", (), 1), ["a"])


@pytest.mark.parametrize(
    ("key", "value"), [("samples", 0), ("max_new_tokens", 0), ("rows", -1), ("shown", -1)]
)
def test_values_out_of_range_are_refused(key, value):
    with pytest.raises(ValueError, match=f"eval {key} is {value}; it must be >="):
        dataclasses.replace(CONFIG, **{key: value})
