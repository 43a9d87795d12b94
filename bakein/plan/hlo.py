"""Reads the text of a compiled module: computations, instructions, and how often loops turn.

Only what a plan needs: the sizes of results, who reads what, and what calls what. The format is
XLA's own, for people; its parts that are read here are the same on CPU, GPU and TPU, and where one
cannot be read the plan says so instead of guessing.
"""

import dataclasses
import functools
import re
from collections.abc import Iterator

from bakein.plan.branches import shares

_BITS = {
    "pred": 8, "s2": 2, "u2": 2, "s4": 4, "u4": 4, "s8": 8, "u8": 8, "s16": 16, "u16": 16,
    "s32": 32, "u32": 32, "s64": 64, "u64": 64, "f4e2m1fn": 4, "f16": 16, "bf16": 16, "f32": 32,
    "f64": 64, "c64": 64, "c128": 128,
}  # fmt: skip
_ARRAY = re.compile(r"([a-z][a-z0-9]*)\[([\d,]*)\](?:\{([^{}]*)\})?")
_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_NAME = re.compile(r"%([\w.\-]+)")
_CALLED = re.compile(r"\b(calls|to_apply|body|condition)=%?([\w.\-]+)")
_EITHER = re.compile(r"\b(?:true|false)_computation=%?([\w.\-]+)")  # in this order
_BRANCHES = re.compile(r"\bbranch_computations=\{([^}]*)\}")


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation.

    Attributes:
        name: unique in its module.
        op: what it does: "fusion", "all-gather", ...
        type: of its result, as text.
        operands: names of instructions.
        arguments: all that stands between its brackets: a constant's value, a parameter's number.
        attributes: what stands behind them.
        root: it is the result of its computation.
    """

    name: str
    op: str
    type: str
    operands: tuple[str, ...]
    arguments: str
    attributes: str
    root: bool

    @functools.cached_property
    def called(self) -> dict[str, str]:
        """The computations that it calls: "body", "condition", "calls", "to_apply", "branch0"."""
        found = dict(_CALLED.findall(self.attributes))
        listed = _BRANCHES.search(self.attributes)
        branches = _NAME.findall(listed[1]) if listed else _EITHER.findall(self.attributes)[::-1]
        return found | {f"branch{index}": name for index, name in enumerate(branches)}

    @property
    def scope(self) -> str:
        """Where it stands in the program that was compiled, as jax names it; "" if unknown."""
        match = re.search(r'op_name="([^"]*)"', self.attributes)
        return match[1] if match else ""


@dataclasses.dataclass(frozen=True)
class Module:
    """A compiled module.

    Attributes:
        computations: name -> its instructions by name.
        entry: name of the first.
    """

    computations: dict[str, dict[str, Instruction]]
    entry: str

    def root(self, computation: str) -> Instruction:
        """The result of a computation."""
        return next(i for i in self.computations[computation].values() if i.root)

    def parameters(self, computation: str) -> dict[int, Instruction]:
        """The parameters of a computation, by number."""
        found = (i for i in self.computations[computation].values() if i.op == "parameter")
        return {int(i.arguments): i for i in found}


def parse(text: str) -> Module:
    """Reads what `jax.stages.Compiled.as_text` prints."""
    computations: dict[str, dict[str, Instruction]] = {}
    entry, current = "", None
    for line in text.splitlines():
        if current is None:
            header = _HEADER.match(line)
            if header:
                current = computations.setdefault(header[2], {})
                entry = header[2] if header[1] else entry
        elif line == "}" or line.startswith("}, execution_thread="):
            current = None
        else:
            instruction = _instruction(line)
            if instruction is not None:
                current[instruction.name] = instruction
    return Module(computations, entry)


def _instruction(line: str) -> Instruction | None:
    left, found, right = line.strip().partition(" = ")
    if not found:
        return None
    end = _closing(right, 0) if right.startswith("(") else right.index(" ") - 1
    shape, rest = right[: end + 1], right[end + 1 :].lstrip()
    op, _, _ = rest.partition("(")
    close = _closing(rest, len(op))
    arguments = rest[len(op) + 1 : close]
    return Instruction(
        name=left.removeprefix("ROOT ").lstrip("%"),
        op=op,
        type=shape,
        operands=tuple(_NAME.findall(arguments)),
        arguments=arguments,
        attributes=rest[close + 1 :],
        root=left.startswith("ROOT "),
    )


def _closing(text: str, start: int) -> int:
    """Index of the bracket that closes the one at `start`."""
    depth = 0
    for index in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[index], 0)
        if depth == 0:
            return index
    raise ValueError(f"no closing bracket: {text[start : start + 60]}")


def arrays(type_text: str) -> list[tuple[int, bool]]:
    """Bytes of every array of a type, and whether it lies in the main memory.

    A layout that ends in S(1) or so is in a smaller memory on the chip. Padding of tiles is left
    out.
    """
    found = []
    for kind, sizes, layout in _ARRAY.findall(type_text):
        bits = _BITS.get(kind, 8 if kind.startswith("f8") else 0)
        for size in filter(None, sizes.split(",")):
            bits *= int(size)
        found.append((-(-bits // 8), not re.search(r"S\([1-9]\d*\)", layout)))
    return found


def size(type_text: str) -> int:
    """Bytes of a type, of all its arrays."""
    return sum(count for count, _ in arrays(type_text))


def trips(module: Module, computation: str, loop: Instruction) -> int | None:
    """How often a while loop turns; None where the text does not say.

    A compiler that knows it writes it down. Else it is read off a counter: its bound from the
    condition, its start from the loop's operand, and what the body adds to it.
    """
    known = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', loop.attributes)
    if known:
        return int(known[1])
    condition = module.computations[loop.called["condition"]]
    compares = [
        i for i in condition.values() if i.op == "compare" and "direction=LT" in i.attributes
    ]
    for compare in compares:
        index = _index(condition, compare.operands[0])
        bound = _constant(condition, compare.operands[1])
        if bound is None:  # carried along, because nobody folded it
            place = _index(condition, compare.operands[1])
            bound = _initial(module, computation, loop, place)
        start = _initial(module, computation, loop, index)
        step = _step(module.computations[loop.called["body"]], index)
        if None not in (bound, start, step) and step > 0:
            return max(-(-(bound - start) // step), 0)
    return None


def _follow(instructions: dict[str, Instruction], name: str) -> Instruction:
    """What a value was before it was copied."""
    while instructions[name].op in ("copy", "bitcast", "reshape", "convert"):
        name = instructions[name].operands[0]
    return instructions[name]


def _constant(instructions: dict[str, Instruction], name: str) -> int | None:
    value = _follow(instructions, name)
    whole = value.op == "constant" and re.fullmatch(r"-?\d+", value.arguments)
    return int(value.arguments) if whole else None


def _index(instructions: dict[str, Instruction], name: str) -> int | None:
    """Which element of a loop's tuple a value is."""
    value = _follow(instructions, name)
    match = re.search(r"\bindex=(\d+)", value.attributes)
    return int(match[1]) if value.op == "get-tuple-element" and match else None


def _initial(module: Module, computation: str, loop: Instruction, index: int | None) -> int | None:
    """The value that an element of a loop's tuple begins with."""
    instructions = module.computations[computation]
    carried = _follow(instructions, loop.operands[0])
    if index is None or carried.op != "tuple":
        return None
    return _constant(instructions, carried.operands[index])


def _step(body: dict[str, Instruction], index: int | None) -> int | None:
    """What a turn adds to an element of a loop's tuple."""
    root = next(i for i in body.values() if i.root)
    if index is None or root.op != "tuple":
        return None
    value = _follow(body, root.operands[index])
    if value.op != "add":
        return None
    added = [_constant(body, operand) for operand in value.operands]
    own = [_index(body, operand) == index for operand in value.operands]
    return next((a for a, other in zip(added, reversed(own), strict=True) if other), None)


@dataclasses.dataclass(frozen=True)
class Place:
    """An instruction as it is run.

    Attributes:
        instruction: it.
        computation: where it stands.
        times: how often it is run, on average over the layers that choose by layer.
        loops: scopes of the loops around it, outermost first.
        fused: it stands inside a fusion, and moves nothing through the main memory of its own.
        guessed: the number of turns of a loop around it was not in the text.
    """

    instruction: Instruction
    computation: str
    times: float
    loops: tuple[str, ...]
    fused: bool
    guessed: bool


def walk(module: Module, unknown: int) -> Iterator[Place]:
    """Every instruction with how often it is run.

    Of a conditional whose scope does not say how often each branch is taken, all of them count.

    Args:
        module: what was compiled.
        unknown: turns of a loop whose number is not in the text.
    """

    def visit(computation: str, times: float, loops: tuple[str, ...], fused: bool, guessed: bool):
        for instruction in module.computations[computation].values():
            yield Place(instruction, computation, times, loops, fused, guessed)
            called = instruction.called
            if instruction.op == "while":
                turns = trips(module, computation, instruction)
                inner = times * (unknown if turns is None else turns)
                around = (*loops, instruction.scope)
                yield from visit(called["body"], inner, around, fused, guessed or turns is None)
            elif instruction.op == "conditional":
                often = shares(instruction.scope, len(called)) or [1.0] * len(called)
                for branch, share in enumerate(often):
                    yield from visit(
                        called[f"branch{branch}"], times * share, loops, fused, guessed
                    )
            elif instruction.op in ("fusion", "call", "async-start"):
                within = fused or instruction.op == "fusion"
                for name in called.values():
                    yield from visit(name, times, loops, within, guessed)

    yield from visit(module.entry, 1, (), False, False)
