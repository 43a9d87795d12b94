"""Exact arithmetic on text, against Python's own on what Python would allow."""

import ast
import contextlib
import operator
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakein.data.worlds.arithmetic import LONGEST, evaluate

OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}


def oracle(node: ast.AST) -> Fraction:
    if isinstance(node, ast.BinOp):
        return Fraction(OPERATORS[type(node.op)](oracle(node.left), oracle(node.right)))
    if isinstance(node, ast.UnaryOp):
        return -oracle(node.operand) if isinstance(node.op, ast.USub) else oracle(node.operand)
    return Fraction(str(node.value))


expressions = st.recursive(
    st.one_of(st.integers(0, 99).map(str), st.sampled_from(["0.5", "3.25", ".1", "2."])),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", " - "]), inner).map("".join),
        inner.map("({})".format),
        inner.map("-{}".format),
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(expressions)
def test_it_agrees_with_pythons_grammar(expression):
    try:
        expected = oracle(ast.parse(expression, mode="eval").body)
    except ZeroDivisionError:
        with pytest.raises(ValueError, match="division by zero"):
            evaluate(expression)
    else:
        assert evaluate(expression) == expected


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("48/2", Fraction(24)),
        ("2/3*3", Fraction(2)),
        ("0.1+0.2", Fraction(3, 10)),
        ("1-2-3", Fraction(-4)),
        ("560//10", Fraction(56)),
        ("(-7)//2", Fraction(-4)),
        (" 1 + 2 ", Fraction(3)),
        ("007", Fraction(7)),
    ],
)
def test_values(expression, value):
    assert evaluate(expression) == value


@pytest.mark.parametrize(
    "expression",
    [
        "", " ", "1+", "*1", "(1", "1)", "()", "1 2", "1..2", "x", "2**9", "9^9", "1e9", "1_0",
        "1,000", "٣", "2²", "__import__('os')", "1/0", "1//(2-2)", "(" * 99 + "1" + ")" * 99,
        "-" * 150 + "1", "9" * (LONGEST + 1), "\ud800", "1\x00",
    ],
)  # fmt: skip
def test_everything_else_is_a_value_error(expression):
    with pytest.raises(ValueError, match=r"\w"):
        evaluate(expression)


@settings(deadline=None)
@given(st.text(st.sampled_from("0123456789+-*/(). ")))
def test_garbage_is_a_value_or_a_value_error(text):
    with contextlib.suppress(ValueError):
        assert isinstance(evaluate(text), Fraction)
