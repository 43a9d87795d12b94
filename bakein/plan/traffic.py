"""What a compiled module moves: through the memory of a device, and between devices.

Bytes are of one device. Of a collective they are those that a device sends with the best algorithm:
of n devices, (n - 1)/n of the result of an all-gather, of the operand of a reduce-scatter or an
all-to-all, and twice that of an all-reduce [2408.13356, section 2].
"""

import collections
import dataclasses
import re

import numpy as np

from bakein.plan import hlo
from bakein.plan.hlo import Instruction, Module

COLLECTIVES = (
    "all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute",
)  # fmt: skip

# What costs no traffic of its own: names for what is there, and what is counted elsewhere.
_FREE = {
    "parameter", "constant", "get-tuple-element", "tuple", "bitcast", "after-all", "while", "call",
    "conditional", "partition-id", "replica-id", "opt-barrier", "add-dependency", "async-start",
}  # fmt: skip
_TRANSFER = re.compile(r'_xla_megascale_transfer_type="(\w+)"')
_SLICES = re.compile(r'_xla_megascale_target="\{([\d,]+)\}')
_PASS_ON = ("bitcast", "reshape", "copy", "convert", "transpose")


@dataclasses.dataclass(frozen=True)
class Collective:
    """A collective of a module.

    Attributes:
        kind: of `COLLECTIVES`.
        bytes: that a device sends, each time.
        group: numbers of the devices of one of its groups; () where all take part.
        times: how often it is run.
        loops: scopes of the loops around it.
        between: all of it goes to other slices; what goes on inside them is another collective.
    """

    kind: str
    bytes: float
    group: tuple[int, ...]
    times: float
    loops: tuple[str, ...]
    between: bool


def collectives(module: Module, devices: int, unknown: int) -> list[Collective]:
    """All collectives of a module; `unknown` is for `hlo.walk`.

    Between slices the TPU compiler sends through the hosts: what is left of a collective there
    stands in the attributes of a `send`.
    """
    found = []
    for place in hlo.walk(module, unknown):
        instruction = place.instruction
        kind = instruction.op.removesuffix("-start")
        if kind in COLLECTIVES:
            if kind == "all-reduce" and _scatters(module, place):
                kind = "reduce-scatter"
            group = _group(instruction, devices)
            n, between = len(group) or devices, False
        elif transfer := kind == "send" and _TRANSFER.search(instruction.attributes):
            kind, group, between = _kind(transfer[1]), (), True
            slices = _SLICES.search(instruction.attributes)
            n = len(slices[1].split(",")) if slices else 2  # of one to one it does not matter
        else:
            continue
        sent = _sent(_operand_size(module, place.computation, instruction), kind, n)
        found.append(Collective(kind, sent, group, place.times, place.loops, between))
    return found


def _scatters(module: Module, place: hlo.Place) -> bool:
    """Whether a fusion slices an all-reduce: so the TPU compiler writes a reduce-scatter."""
    instructions = module.computations[place.computation]
    result = _made(instructions, module.root(place.computation))
    if not (place.fused and result.op == "dynamic-slice"):
        return False
    return _made(instructions, instructions[result.operands[0]]) == place.instruction


def _kind(transfer: str) -> str:
    """The collective that a transfer between slices is: ALL_REDUCE, ..., ONE_TO_ONE."""
    kind = transfer.lower().replace("_", "-")
    return kind if kind in COLLECTIVES else "collective-permute"


def _sent(operands: int, kind: str, n: int) -> float:
    """Bytes that one of `n` devices sends, of a collective over so many bytes of operands."""
    share = (n - 1) / n
    if kind == "all-gather":  # its result, by its operand: that of -start is a pair of both
        return operands * (n - 1)
    if kind == "collective-permute":
        return operands
    return operands * share * (2 if kind == "all-reduce" else 1)


def _operand_size(module: Module, computation: str, instruction: Instruction) -> int:
    instructions = module.computations[computation]
    return sum(hlo.size(instructions[name].type) for name in instruction.operands)


def _group(instruction: Instruction, devices: int) -> tuple[int, ...]:
    """Devices of one group of a collective, from any of the ways in which they are written."""
    attributes = instruction.attributes
    pairs = re.search(r"source_target_pairs=\{(.*?\})\}", attributes)
    if pairs:  # the ring that the first device is on
        to = dict(tuple(map(int, p)) for p in re.findall(r"\{(\d+),(\d+)\}", pairs[1] + "}"))
        ring = [min(to)]
        while (following := to.get(ring[-1])) not in (None, *ring):
            ring.append(following)
        return tuple(ring)
    listed = re.search(r"replica_groups=\{\{([\d,]+)\}", attributes)
    if listed:
        return tuple(map(int, listed[1].split(",")))
    iota = re.search(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", attributes)
    if iota:
        groups, sizes = _numbers(iota[1]), _numbers(iota[2])
        order = _numbers(iota[3]) if iota[3] else range(len(sizes))
        ids = np.arange(np.prod(sizes)).reshape(sizes).transpose(order).reshape(groups)
        return tuple(ids[0].tolist())
    named = re.search(r"replica_groups=mesh\[(.*?)\] ?\{(.*?)\}", attributes)
    if named and "device_ids=[" not in attributes:
        axes = {n: int(s) for n, s in re.findall(r"'(\w+)'=(\d+)", named[1])}
        over = re.findall(r"'(\w+)'(?!:)", named[2])
        if set(over) <= set(axes) and ":" not in named[2]:
            ids = np.arange(np.prod([*axes.values()])).reshape([*axes.values()])
            index = tuple(slice(None) if axis in over else 0 for axis in axes)
            return tuple(np.ravel(ids[index]).tolist())
    return ()


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def moved(module: Module, unknown: int) -> dict[tuple[str, ...], float]:
    """Bytes read from and written to the main memory: scopes of the loops around -> bytes.

    Of a fusion, its operands and its result. What it only takes a slice of counts as the slice, and
    what it updates in place as the update. What stays in a memory on the chip does not count.
    """
    total: dict[tuple[str, ...], float] = collections.defaultdict(float)
    for place in hlo.walk(module, unknown):
        if not place.fused:
            count = _bytes(module, place.computation, place.instruction)
            total[place.loops] += place.times * count
    return dict(total)


def _main(type_text: str) -> int:
    return sum(count for count, main in hlo.arrays(type_text) if main)


def _bytes(module: Module, computation: str, instruction: Instruction) -> int:
    op, instructions = instruction.op, module.computations[computation]
    if op in _FREE or op.endswith("-done") or "AllocateBuffer" in instruction.attributes:
        return 0
    if op in ("dynamic-slice", "slice", "gather"):
        return 2 * _main(instruction.type)
    if op in ("dynamic-update-slice", "scatter"):
        return 2 * _main(instructions[instruction.operands[-1 if op == "scatter" else 1]].type)
    if op.endswith("-start"):  # its type holds operand and result
        return _main(instruction.type)
    if op == "fusion":
        fused = instruction.called["calls"]
        read = sum(
            min(_read(module, fused, index), _main(instructions[name].type))
            for index, name in enumerate(instruction.operands)
        )
        return read + _written(module, fused, instruction)
    return _main(instruction.type) + sum(_main(instructions[n].type) for n in instruction.operands)


def _made(instructions: dict[str, Instruction], value: Instruction) -> Instruction:
    """What made a value, before it was reshaped, converted or copied."""
    while value.op in _PASS_ON:
        value = instructions[value.operands[0]]
    return value


def _read(module: Module, computation: str, index: int) -> int:
    """Bytes of a fusion's parameter that it reads."""
    instructions = module.computations[computation]
    parameter = module.parameters(computation).get(index)
    if parameter is None:
        return 0
    count, names = 0, [parameter.name]
    for name in names:  # grows while it is walked
        for user in instructions.values():
            if name not in user.operands:
                continue
            first = user.operands[0] == name
            if user.op in _PASS_ON:
                names.append(user.name)
            elif first and user.op in ("dynamic-slice", "slice", "gather"):
                count += hlo.size(user.type)
            elif first and user.op == "dynamic-update-slice":
                continue
            elif user.op == "fusion":
                inner = user.called["calls"]
                count += sum(
                    _read(module, inner, i) for i, n in enumerate(user.operands) if n == name
                )
            else:
                return _main(parameter.type)
    return count


def _written(module: Module, computation: str, fusion: Instruction) -> int:
    """Bytes of a fusion's result that it writes."""
    instructions = module.computations[computation]
    root = module.root(computation)
    roots = [instructions[n] for n in root.operands] if root.op == "tuple" else [root]
    count = 0
    for result, (whole, main) in zip(roots, hlo.arrays(fusion.type), strict=False):
        result = _made(instructions, result)
        if result.op == "dynamic-update-slice":
            whole = hlo.size(instructions[result.operands[1]].type)
        count += whole if main else 0
    return count
