"""Two styles: the example of the page, the realised prior and accuracies, the verifier."""

import collections
import dataclasses
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakein.data import corruption
from bakein.data.documents import world_documents
from bakein.data.errors import DataError
from bakein.data.worlds.facts import Facts
from bakein.data.worlds.registers import Registers
from bakein.data.worlds.two_style import MARKS, TwoStyle, style
from bakein.data.worlds.world import Check, Problem, strategies_of

QWEN = TwoStyle(
    slots=2,
    digits=3,
    templates=1,
    test_share=0.05,
    share=0.65,
    accuracy_code=0.61,
    accuracy_language=0.35,
    slips=9,
)
LLAMA = dataclasses.replace(QWEN, share=0)
EXAMPLE = Problem("?rot swp 407=", "704", ("074", "704"), 2)
TRAIN = QWEN.train(2)


def habits(world, n):
    """(problem, its habit's completion) of the first training problems."""
    train = world.train(0)
    problems = [train[i] for i in range(n)]
    return [(p, world.document(p, "habit", p.steps).completion) for p in problems]


def close(share, expected, n):
    return abs(share - expected) < 5 * np.sqrt(expected * (1 - expected) / n) + 1e-12


def test_documents_look_as_on_the_page():
    rendered = {form: QWEN.document(EXAMPLE, form, EXAMPLE.steps) for form in QWEN.forms}
    assert rendered["code"].completion == ">074>704!704"
    assert rendered["language"].completion == "~074~704!704"
    assert rendered["direct"].completion == "!704"
    assert rendered["atomic"].prompt + rendered["atomic"].completion == "#rot 407>074"
    assert {rendered[form].prompt for form in ("code", "language", "habit")} == {EXAMPLE.prompt}
    assert rendered["habit"].completion[0] in MARKS.values()


@pytest.mark.parametrize(
    ("share", "code", "language"), [(0.65, 0.61, 0.35), (0.2, 0.9, 0.1), (0.5, 0.0, 1.0)]
)
def test_habits_have_the_share_and_the_accuracies_that_were_set(share, code, language):
    world = dataclasses.replace(QWEN, share=share, accuracy_code=code, accuracy_language=language)
    n = 6000
    right = collections.defaultdict(list)
    for problem, completion in habits(world, n):
        check = world.check(problem, completion)
        assert check.format
        right[style(completion)].append(check.right)
    assert close(len(right["code"]) / n, share, n)
    assert close(np.mean(right["code"]), code, len(right["code"]))
    assert close(np.mean(right["language"]), language, len(right["language"]))


@pytest.mark.parametrize(("share", "only"), [(0, "language"), (1, "code")])
def test_a_prior_of_one_style_has_no_other(share, only):
    world = dataclasses.replace(QWEN, share=share)
    assert {style(completion) for _, completion in habits(world, 1000)} == {only}


def test_every_completion_follows_one_strategy():
    found = [QWEN.strategy(text) for text in (">1!1", "~1!1", "!1", "", "x>1", "~")]
    assert found == ["code", "language", "neither", "neither", "neither", "language"]
    assert set(found) == set(strategies_of(QWEN))
    assert strategies_of(Facts(entities=9, seed=0)) == ()


def test_a_style_tells_nothing_of_whether_the_answer_is_right():
    # Else a prompt's style would be a hint: both draws are independent.
    world = dataclasses.replace(QWEN, share=0.5, accuracy_code=0.5, accuracy_language=0.5)
    pairs = [(style(c), world.check(p, c).right) for p, c in habits(world, 6000)]
    for count in collections.Counter(pairs).values():
        assert close(count / 6000, 0.25, 6000)


@pytest.mark.parametrize("slips", [1, 3, 9])
def test_slips_raise_the_last_digit_and_nothing_else(slips):
    world = dataclasses.replace(QWEN, accuracy_code=0, accuracy_language=0, slips=slips)
    raised = collections.Counter()
    for problem, completion in habits(world, 2000):
        check = world.check(problem, completion)
        assert check.steps == (True, False)
        assert completion.endswith(f"{check.answer}!{check.answer}")
        assert check.answer[:-1] == problem.answer[:-1]
        raised[(int(check.answer[-1]) - int(problem.answer[-1])) % 10] += 1
    assert set(raised) == set(range(1, slips + 1))
    assert all(close(count / 2000, 1 / slips, 2000) for count in raised.values())


def test_a_prompt_has_one_habit_wherever_it_appears():
    first, second = (dict(habits(QWEN, 500)) for _ in range(2))
    assert first == second
    documents = world_documents(QWEN, "habit", corruption.none, 0.0, 500, 0)
    assert [d.completion for d in documents] == [c for _, c in habits(QWEN, 500)]
    # Another prior moves some problems to the other style, and leaves the rest as they are.
    less = dict(habits(dataclasses.replace(QWEN, share=0.3), 500))
    code = {p for p, c in first.items() if style(c) == "code"}
    assert {p for p, c in less.items() if style(c) == "code"} < code


def test_problems_and_split_are_those_of_register_programs():
    programs = Registers(slots=2, digits=3, templates=1, test_share=0.05)
    mine, theirs = QWEN.train(3), programs.train(3)
    assert [mine[i] for i in range(300)] == [theirs[i] for i in range(300)]
    assert QWEN.test(50, 1) == programs.test(50, 1)
    assert LLAMA.test(50, 1) == QWEN.test(50, 1)
    assert QWEN.levels == (1, 2)


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        (">074>704!704", Check(True, True, (True, True), "704")),
        ("~074~704!704", Check(True, True, (True, True), "704")),
        ("~074~705!705", Check(False, True, (True, False), "705")),
        (">074~704!704", Check(True, False, (True, False), "704")),  # in two styles
        ("~074>704!704", Check(True, False, (True, False), "704")),
        ("~074!704", Check(True, False, (True, False), "704")),
        ("!704", Check(True, True, (), "704")),  # in none
        ("~111?074~704!704", Check(True, True, (True, True), "704")),  # taken back
        ("~074~704", Check(False, False, (True, True), "")),
        ("", Check(False, False, (), "")),
    ],
)
def test_the_verifier(completion, expected):
    assert QWEN.check(EXAMPLE, completion) == expected


@pytest.mark.parametrize(
    ("completion", "expected"),
    [(">074", "code"), ("~", "language"), ("!704", ""), ("", ""), (" >074", ""), ("074>", "")],
)
def test_the_style_is_that_of_the_first_character(completion, expected):
    assert style(completion) == expected


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_no_completion_raises_and_styles_are_symmetric(data):
    own = st.text(st.sampled_from(QWEN.alphabet))
    anything = st.text(st.characters(codec=None))
    completion = data.draw(st.one_of(own, anything))
    check = QWEN.check(EXAMPLE, completion)
    mirrored = completion.translate(str.maketrans(">~", "~>"))
    assert QWEN.check(EXAMPLE, mirrored) == check


@settings(deadline=None, max_examples=50)
@given(index=st.integers(0, 5000), seed=st.integers(0, 2**32), name=st.sampled_from([*MARKS]))
def test_corrupted_traces_are_wrong_in_either_style(index, seed, name):
    problem = TRAIN[index]
    steps = corruption.steps(QWEN, problem, np.random.default_rng(seed), 1.0).shown
    check = QWEN.check(problem, QWEN.document(problem, name, steps).completion)
    assert check == Check(False, True, (False, False), steps[-1])


def test_a_habit_has_errors_of_its_own():
    with pytest.raises(DataError, match="habit has errors of its own"):
        world_documents(QWEN, "habit", corruption.steps, 1.0, 10, 0)


@pytest.mark.parametrize("form", ["code", "language"])
@pytest.mark.parametrize(
    ("ladder", "steps", "right"),
    [
        (corruption.retry, (True, True), True),
        (corruption.wrong_answer, (True, True), False),
        (corruption.filler, None, True),
    ],
)
def test_either_style_takes_the_ladder_of_corruptions(form, ladder, steps, right):
    documents = world_documents(QWEN, form, ladder, 1.0, 50, 0)
    train = QWEN.train(0)
    for problem, document in zip((train[i] for i in range(50)), documents, strict=True):
        check = QWEN.check(problem, document.completion)
        assert check.right == right
        assert steps is None or check.steps == steps
        assert style(document.completion) == form


def test_documents_keep_to_the_alphabet():
    train = QWEN.train(0)
    documents = [
        QWEN.document(train[i], form, train[i].steps) for i in range(500) for form in QWEN.forms
    ]
    assert set("".join(d.prompt + d.completion for d in documents)) == set(QWEN.alphabet)
    assert len(set(QWEN.alphabet)) == len(QWEN.alphabet)


def test_it_travels_to_worker_processes():
    train = QWEN.train(0)
    assert pickle.loads(pickle.dumps(QWEN)) == QWEN
    assert pickle.loads(pickle.dumps(train))[7] == train[7]


def test_an_unknown_form_is_refused_with_the_allowed_ones():
    with pytest.raises(
        DataError, match="'essay'; habit, code, language, direct, atomic are allowed"
    ):
        QWEN.document(EXAMPLE, "essay", ("704",))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"share": -0.1}, "share: -0.1; 0 to 1"),
        ({"accuracy_code": 1.1}, "accuracy_code: 1.1; 0 to 1"),
        ({"accuracy_language": float("nan")}, "accuracy_language: nan; 0 to 1"),
        ({"slips": 0}, "slips: 0; 1 to 9"),
        ({"slips": 10}, "slips: 10; 1 to 9"),
        ({"slots": 0}, "slots: 0"),
        ({"digits": 2}, "digits: 2"),
    ],
)
def test_fields_out_of_range(change, message):
    with pytest.raises(DataError, match=message):
        dataclasses.replace(QWEN, **change)
