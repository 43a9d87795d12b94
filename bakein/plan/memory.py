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
        temporary: what lies there in between, and the program itself. Not all of it lives at the
            same time, so that arguments, outputs and temporary may come to more than the peak.
        resident: what the study keeps beside it.
        peak: the most that lives at a time, with the program and what is resident.
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
        peak: bytes per device that it would take, with what lies beside it; of the TPU compiler on
            the same scale as `Memory.peak`.
        message: the compiler's.
    """

    peak: int
    message: str


def memory_of(compiled: Any, resident: int, platform: str) -> Memory:
    """The memory of a `jax.stages.Compiled`.

    The TPU compiler refuses a program by the most that lives at a time, the gaps between buffers,
    which it does not tell, and the program's code: what it has compiled is laid out, and fits. What
    lies beside it may meet the gaps. What another compiler reports as a peak may leave temporaries
    out (that of a CPU does), so there all of them count.

    Args:
        compiled: the program.
        resident: bytes per device that lie beside it.
        platform: of the devices.
    """
    stats = compiled.memory_analysis()
    arguments, code = stats.argument_size_in_bytes, stats.generated_code_size_in_bytes
    outputs = stats.output_size_in_bytes - stats.alias_size_in_bytes
    temporary = stats.temp_size_in_bytes + code
    tells = platform == "tpu"
    peak = stats.peak_memory_in_bytes + code if tells else arguments + outputs + temporary
    return Memory(arguments, outputs, temporary, resident, peak + resident)


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
