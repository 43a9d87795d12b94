"""The plan of a study: each of its programs compiled for a machine, and what they come to."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator

import jax
from jax.experimental.compilation_cache import compilation_cache

from bakein import mesh as mesh_lib
from bakein.model import abstract_params, count_params
from bakein.plan import flops as flops_lib
from bakein.plan import hlo, roofline, traffic
from bakein.plan.memory import Memory, TooMuch, memory_of, too_much
from bakein.plan.programs import Program, study_programs
from bakein.plan.roofline import Costs
from bakein.plan.topology import Topology
from bakein.study.errors import naming
from bakein.study.materials import Materials
from bakein.study.runner import check_fit
from bakein.study.schema import Study


@dataclasses.dataclass(frozen=True)
class Planned:
    """A program on a machine.

    Attributes:
        program: the program.
        memory: what it takes; `TooMuch` where the compiler gave up.
        costs: of each of its phases. Of a program that the compiler gave up on, its FLOPs alone.
        guessed: loops whose length was not in the compiled text, and was taken from the program's.
        seconds: that compiling took.
    """

    program: Program
    memory: Memory | TooMuch
    costs: tuple[Costs, ...]
    guessed: int
    seconds: float

    @property
    def time(self) -> float | None:
        """Seconds of a call at the roofline; None where they are not known."""
        times = [costs.time for costs in self.costs]
        return None if None in times else sum(times)


@dataclasses.dataclass(frozen=True)
class StudyPlan:
    """A study on a machine.

    Attributes:
        study: its name.
        params: of its model.
        topology: the machine.
        mesh: sizes of the mesh's axes.
        capacity: bytes that a program may use, per device; None where that is not known.
        programs: all of them.
        price: US dollars of a chip-hour; None where it is not known.
    """

    study: str
    params: int
    topology: Topology
    mesh: dict[str, int]
    capacity: int | None
    programs: tuple[Planned, ...]
    price: float | None

    @property
    def peak(self) -> int:
        """The most bytes that any program takes, per device."""
        return max(planned.memory.peak for planned in self.programs)

    @property
    def fits(self) -> bool | None:
        """Whether all programs fit; None where the memory is not known."""
        if any(isinstance(planned.memory, TooMuch) for planned in self.programs):
            return False
        return None if self.capacity is None else self.peak <= self.capacity

    @property
    def chip_hours(self) -> float | None:
        """Of all calls of all programs, at the roofline."""
        times = [planned.time for planned in self.programs]
        if None in times:
            return None
        calls = [planned.program.calls for planned in self.programs]
        seconds = sum(n * seconds for n, seconds in zip(calls, times, strict=True))
        return seconds * self.topology.chips / 3600

    @property
    def dollars(self) -> float | None:
        """What the chip-hours cost."""
        known = None not in (self.chip_hours, self.price)
        return self.chip_hours * self.price if known else None


def plan_study(
    study: Study, topology: Topology, price: float | None, tell: Callable[[str], None]
) -> StudyPlan:
    """Compiles every program of a study for a machine.

    Args:
        study: the study.
        topology: the machine.
        price: US dollars of a chip-hour; None for the list price.
        tell: called with a line before each compilation.

    Raises:
        ConfigError: the study's mesh or batches do not fit the machine.
        DataError: the study's data cannot be made.
    """
    materials = Materials(study)
    model = study.model_config(materials.tokenizer.vocab_size)
    with naming(f"config.mesh on {topology.name}"):
        sizes = dataclasses.asdict(study.mesh)
        mesh = mesh_lib.make_mesh(**sizes, devices=topology.devices)
        mesh_lib.logical_sharding(mesh, abstract_params(model))
    check_fit(study, materials, mesh)
    programs = study_programs(study, materials, mesh)
    planned = []
    for index, program in enumerate(programs):
        tell(f"{index + 1}/{len(programs)} {program.name}")
        planned.append(plan_program(program, topology, mesh))
    if price is None and topology.chip is not None:
        price = topology.chip.price
    return StudyPlan(
        study=study.name,
        params=count_params(model),
        topology=topology,
        mesh=dict(mesh.shape),
        capacity=capacity_of(topology),
        programs=tuple(planned),
        price=price,
    )


def capacity_of(topology: Topology) -> int | None:
    """Bytes that a program may use on a device; None where that is not known."""
    if topology.chip is not None:
        return topology.chip.memory
    if topology.name.kind == "local":
        return (topology.devices[0].memory_stats() or {}).get("bytes_limit")
    return None


def plan_program(program: Program, topology: Topology, mesh: jax.sharding.Mesh) -> Planned:
    """Compiles one program for a machine, and reads what it takes."""
    devices = list(mesh.devices.flat)
    started = time.monotonic()
    with _quick(), _uncached() if topology.absent else contextlib.nullcontext():
        traced = program.trace()
        counted = flops_lib.count(traced.jaxpr, program.turns)
        try:
            compiled = traced.lower().compile()
        except jax.errors.JaxRuntimeError as error:
            memory = too_much(error, program.resident)
            if memory is None:
                raise
            compiled, module, guessed = None, None, 0
        else:
            memory = memory_of(compiled, program.resident, devices[0].platform)
            module = hlo.parse(compiled.as_text())
            guessed = sum(
                place.instruction.op == "while"
                and hlo.trips(module, place.computation, place.instruction) is None
                for place in hlo.walk(module, program.turns)
            )
    seconds = time.monotonic() - started
    found = traffic.collectives(module, len(devices), program.turns) if module else []
    moved = traffic.moved(module, program.turns) if module else {}

    def phase_costs(name: str) -> Costs:
        executed = flops_lib.matching(counted, lambda scope: program.phase([scope]) == name)
        return roofline.costs(
            executed / len(devices),
            sum(count for loops, count in moved.items() if program.phase(loops) == name),
            [each for each in found if program.phase(each.loops) == name],
            topology,
            devices,
        )

    costs = tuple(phase_costs(phase.name) for phase in program.phases)
    if compiled is None:  # its traffic is not known, and so neither is its time
        costs = tuple(dataclasses.replace(each, seconds=None) for each in costs)
    return Planned(program, memory, costs, guessed, seconds)


@contextlib.contextmanager
def _uncached() -> Iterator[None]:
    """Keeps no compiled programs: those of a machine that is not there cannot be read back."""
    before = jax.config.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()  # which remembers whether it is used
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", before)
        compilation_cache.reset_cache()


@contextlib.contextmanager
def _quick() -> Iterator[None]:
    """Compiles at the lowest effort: in a quarter of the time, to a peak some per cent off.

    Not to one side: against full effort it was between 6 % lower and 19 % higher.
    """
    before = jax.config.jax_optimization_level
    jax.config.update("jax_optimization_level", "O0")
    try:
        yield
    finally:
        jax.config.update("jax_optimization_level", before)
