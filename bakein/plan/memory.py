"""The memory of a compiled program, as the compiler lays it out."""

import dataclasses
import re
from typing import Any


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes per device.

    Attributes:
        arguments: what goes in.
        outputs: what comes out, without what takes over the memory of arguments (donation).
        temporary: what lies there in between, and the program itself.
        resident: what the study keeps beside it.
        peak: the most at a time.
    """

    arguments: int
    outputs: int
    temporary: int
    resident: int
    peak: int


@dataclasses.dataclass(frozen=True)
class TooMuch:
    """The compiler gave up: a program that does not fit has no layout.

    Attributes:
        peak: bytes per device that it would take, with what lies beside it.
        message: the compiler's.
    """

    peak: int
    message: str


def memory_of(compiled: Any, resident: int) -> Memory:
    """The memory of a `jax.stages.Compiled`."""
    stats = compiled.memory_analysis()
    outputs = stats.output_size_in_bytes - stats.alias_size_in_bytes
    temporary = stats.temp_size_in_bytes + stats.generated_code_size_in_bytes
    peak = stats.argument_size_in_bytes + outputs + temporary + resident
    return Memory(stats.argument_size_in_bytes, outputs, temporary, resident, peak)


_NEEDED = (
    r"Used ([\d.]+)([KMGT]) of [\d.]+[KMGT] hbm",
    r"total memory required for HLO temporaries \(([\d.]+)([KMGT])\)",
)


def too_much(error: Exception, resident: int) -> TooMuch | None:
    """What a compiler's complaint says is needed; None where it complains of something else."""
    message = str(error)
    if "RESOURCE_EXHAUSTED" not in message:
        return None
    for pattern in _NEEDED:
        match = re.search(pattern, message)
        if match:
            unit = 2 ** (10 * ("KMGT".index(match[2]) + 1))
            return TooMuch(int(float(match[1]) * unit) + resident, message.splitlines()[0])
    return None
