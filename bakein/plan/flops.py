"""The floating-point operations of a program, counted in what jax traced.

Two for each multiplication and addition of a matrix product, as everybody counts; element-wise
work, which is next to nothing beside them, is left out. What is recomputed (remat) counts again,
and so do keys that the mask leaves out, but for blocks that a kernel skips: this is what a device
executes, not what the model needs, which is `bakein.model.flops_per_token`. The count is over all
devices.
"""

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr

from bakein.model.kernels import RUNS
from bakein.plan.branches import shares

# FLOPs by the names of the scopes that they stand in, joined by "/".
Count = dict[str, float]


def count(jaxpr: ClosedJaxpr, unknown: int) -> Count:
    """FLOPs of a traced program, by scope; `unknown` is how often a `while_loop` turns."""
    total: Count = {}
    _add(total, jaxpr.jaxpr, "", 1.0, unknown)
    return total


def matching(total: Count, scope: Callable[[str], bool]) -> float:
    """The sum over the scopes that a function says yes to."""
    return sum(flops for name, flops in total.items() if scope(name))


def _add(total: Count, jaxpr: Jaxpr, scope: str, times: float, unknown: int) -> None:
    for equation in jaxpr.eqns:
        name, params = equation.primitive.name, equation.params
        inner = f"{scope}/{equation.source_info.name_stack}"
        if name == "dot_general":
            total[inner] = total.get(inner, 0.0) + times * _dot(equation)
        elif name == "pallas_call":
            total[inner] = total.get(inner, 0.0) + times * _kernel(params, inner, unknown)
        elif name == "cond":
            branches: list[Count] = [{} for _ in params["branches"]]
            for branch, each in zip(params["branches"], branches, strict=True):
                _add(each, branch.jaxpr, inner, times, unknown)
            often = shares(inner, len(branches))
            if often is None:
                most = max(range(len(branches)), key=lambda i: sum(branches[i].values()))
                often = [float(i == most) for i in range(len(branches))]
            for share, branch in zip(often, branches, strict=True):
                for key, value in branch.items():
                    total[key] = total.get(key, 0.0) + share * value
        else:
            often = {"scan": params.get("length"), "while": unknown}.get(name, 1)
            if name == "shard_map":  # what is traced inside is the part of one device, or of a few
                # The newer name goes first.
                axes = params["manual_axes" if "manual_axes" in params else "newly_manual_axes"]
                often = math.prod(params["mesh"].shape[axis] for axis in axes)
            for part in _inner(params):
                _add(total, part, inner, times * often, unknown)


def _inner(params: dict[str, Any]) -> Iterator[Jaxpr]:
    for value in params.values():
        for part in value if isinstance(value, tuple | list) else (value,):
            if isinstance(part, ClosedJaxpr):
                yield part.jaxpr
            elif isinstance(part, Jaxpr):
                yield part


def _dot(equation: Any) -> float:
    (contracted, _), _ = equation.params["dimension_numbers"]
    left = equation.invars[0].aval.shape
    return 2.0 * math.prod(equation.outvars[0].aval.shape) * math.prod(left[i] for i in contracted)


def _kernel(params: dict[str, Any], scope: str, unknown: int) -> float:
    """A kernel says what it costs; else every step of its grid counts as a whole.

    Of attention the scope says how many of the blocks of queries and keys, which are its steps, are
    run: the others are skipped.
    """
    estimate = params.get("cost_estimate")
    if estimate is not None:
        return float(estimate.flops)
    inside: Count = {}
    for part in _inner(params):
        _add(inside, part, "", 1.0, unknown)
    runs = re.findall(rf"{RUNS}(\d+)_of_(\d+)", scope)
    share = int(runs[-1][0]) / int(runs[-1][1]) if runs else 1.0
    return sum(inside.values()) * math.prod(params["grid_mapping"].grid) * share
