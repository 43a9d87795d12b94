"""Exact arithmetic on text that a model wrote: a small grammar, no `eval`.

```
sum     = product (("+" | "-") product)*
product = sign (("*" | "//" | "/") sign)*
sign    = ("+" | "-")* atom
atom    = number | "(" sum ")"
```

There is no power, and expressions are short, so every value stays small.
"""

import re
from fractions import Fraction

LONGEST = 200  # characters

_TOKEN = re.compile(r"\s*([0-9]+\.?[0-9]*|\.[0-9]+|//|[-+*/()])")
_DEEPEST = 32  # nested parentheses and signs


def evaluate(expression: str) -> Fraction:
    """The exact value of an expression.

    Raises:
        ValueError: It is not in the grammar, too long, too deep, or divides by zero.
    """
    if len(expression) > LONGEST:
        raise ValueError(f"longer than {LONGEST} characters")
    tokens, end = [], 0
    stripped = expression.rstrip()
    while end < len(stripped):
        match = _TOKEN.match(stripped, end)
        if match is None:
            raise ValueError(f"{stripped[end]!r} is not arithmetic")
        tokens.append(match[1])
        end = match.end()
    try:
        value, rest = _sum([*tokens, ""], 0, 0)
    except ZeroDivisionError:
        raise ValueError("division by zero") from None
    if rest != len(tokens):
        raise ValueError(f"unexpected {tokens[rest]!r}")
    return value


# Each takes the tokens and the index of its first, and returns its value and the index after it.


def _sum(tokens: list[str], at: int, depth: int) -> tuple[Fraction, int]:
    value, at = _product(tokens, at, depth)
    while tokens[at] in ("+", "-"):
        term, after = _product(tokens, at + 1, depth)
        value = value + term if tokens[at] == "+" else value - term
        at = after
    return value, at


def _product(tokens: list[str], at: int, depth: int) -> tuple[Fraction, int]:
    value, at = _sign(tokens, at, depth)
    while tokens[at] in ("*", "/", "//"):
        factor, after = _sign(tokens, at + 1, depth)
        if tokens[at] == "*":
            value *= factor
        elif tokens[at] == "/":
            value /= factor
        else:
            value = Fraction(value // factor)
        at = after
    return value, at


def _sign(tokens: list[str], at: int, depth: int) -> tuple[Fraction, int]:
    if depth > _DEEPEST:
        raise ValueError(f"nested deeper than {_DEEPEST}")
    token = tokens[at]
    if token in ("+", "-"):
        value, at = _sign(tokens, at + 1, depth + 1)
        return (-value if token == "-" else value), at
    if token == "(":
        value, at = _sum(tokens, at + 1, depth + 1)
        if tokens[at] != ")":
            raise ValueError("a parenthesis is not closed")
        return value, at + 1
    if not token or not (token[0].isdigit() or token[0] == "."):
        raise ValueError("a number is missing")
    return Fraction(token), at + 1
