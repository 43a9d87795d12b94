"""A plan for the terminal, within 100 columns, and as JSON."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from bakein.plan import roofline
from bakein.plan.chips import PRICES_OF
from bakein.plan.memory import TooMuch
from bakein.plan.search import Found
from bakein.plan.study import Planned, StudyPlan
from bakein.plan.traffic import COLLECTIVES

_NAME = 31  # columns of a program's name
_SHORT = {"collective-permute": "permute", "reduce-scatter": "red.-scatter"}
_KINDS = [_SHORT.get(kind, kind) for kind in COLLECTIVES]

_HOW = """\
All of this is an estimate. The peak of memory is the most that lives at a time: on a TPU less than
its parts come to where temporaries take turns. Compiling is at the lowest effort; at a run's full
effort the peak was between 16 % lower and 6 % higher. FLOPs are those of the matrix products that a
device executes, recomputed ones included; bytes are read off the compiled program, times the turns
of its loops. A call takes as long as the slowest of computing, memory, links inside a slice and
network between slices, each at its published peak and all at once; real ones take longer. MFU
counts what the model needs, not what is computed twice. Input, checkpoints, restarts, compiling,
idle chips and energy are left out."""


def show(plan: StudyPlan) -> str:
    """The plan as text."""
    shape = ", ".join(f"{axis} {size}" for axis, size in plan.mesh.items() if size > 1) or "1"
    topology = plan.topology
    lines = [
        f"{plan.study} on {topology.name}: {topology.chips} x {topology.kind}, mesh {shape}, "
        f"model of {_count(plan.params)} parameters",
        "",
        *_memory(plan),
        "",
        *_time(plan),
        "",
        *_sent(plan),
        "",
        *_study(plan),
        "",
        _HOW,
    ]
    return "\n".join(line.rstrip() for line in lines)


def _memory(plan: StudyPlan) -> list[str]:
    capacity = plan.capacity
    last = f"of {_gib(capacity)}" if capacity else ""
    rows = [
        ["MEMORY of a device, GiB", "arguments", "outputs", "temporary", "beside", "peak", last]
    ]
    for planned in plan.programs:
        memory, name = planned.memory, planned.program.name
        share = f"{memory.peak / capacity:.0%}" if capacity else ""
        if isinstance(memory, TooMuch):
            parts = ["?", "?", "?", _gib(planned.program.resident)]
        else:
            parts = [_gib(memory.arguments), _gib(memory.outputs)]
            parts += [_gib(memory.temporary), _gib(memory.resident)]
        rows.append([name, *parts, _gib(memory.peak), share])
    return [*_align(rows), *_verdict(plan)]


def _verdict(plan: StudyPlan) -> list[str]:
    if plan.capacity is None:
        return ["How much memory a device has is not known: whether it fits is not said."]
    lines = _too_large(plan)
    if lines:
        return [*lines, "`--search` looks for a mesh, micro-batches and recomputing that fit."]
    largest = max(plan.programs, key=lambda planned: planned.memory.peak)
    left = plan.capacity - largest.memory.peak
    return [f"Fits: the largest, {largest.program.name}, leaves {_gib(left)} GiB."]


def _too_large(plan: StudyPlan) -> list[str]:
    """What does not fit; of samplers, what takes less."""
    lines, sampled = [], False
    for planned in plan.programs:
        over = planned.memory.peak - plan.capacity
        if over > 0:
            lines.append(
                f"DOES NOT FIT: {planned.program.name} takes {_gib(planned.memory.peak)} GiB, "
                f"{_gib(over)} GiB more than there are."
            )
        elif isinstance(planned.memory, TooMuch):
            lines.append(f"DOES NOT FIT: {planned.program.name}: {planned.memory.message[:70]}")
        else:
            continue
        sampled |= planned.program.phases[0].name == "prefill"
    if sampled:
        lines.append("Fewer rows at a time take less: of the evaluation, a probe, or RL's prompts.")
    return lines


def _time(plan: StudyPlan) -> list[str]:
    heads = ["TIME of a call, ms, * binds", "TFLOP", "compute", "memory", "links", "slices"]
    rows = [[*heads, "tokens/s", "MFU"]]
    for planned in plan.programs:
        for phase, costs in zip(planned.program.phases, planned.costs, strict=True):
            row = [_phase_name(planned, phase.name), _whole(costs.flops / 1e12)]
            if costs.seconds is None:
                row += ["?"] * 4 + ["?", "?"]
            else:
                row += [
                    _whole(costs.seconds[bound] * 1e3) + ("*" if bound == costs.bound else " ")
                    for bound in roofline.BOUNDS
                ]
                row.append(_count(phase.tokens / costs.time))
                row.append(f"{roofline.mfu(phase.flops, costs.time, plan.topology):.1%}")
            rows.append(row)
    lines = _align(rows)
    if plan.topology.chip is None:
        lines.append("No published figures of this device: no times, rates or price.")
    guessed = [planned.program.name for planned in plan.programs if planned.guessed]
    if guessed:
        lines.append(f"Loops of unknown length, taken at their longest: {', '.join(guessed)}.")
    return lines


def _sent(plan: StudyPlan) -> list[str]:
    rows = [["MOVED and SENT by a device, GB", "memory", *_KINDS]]
    for planned in plan.programs:
        for phase, costs in zip(planned.program.phases, planned.costs, strict=True):
            unknown = isinstance(planned.memory, TooMuch)
            counts = [costs.moved, *(costs.sent.get(kind, 0.0) for kind in COLLECTIVES)]
            shown = ["?" if unknown else _whole(count / 1e9) for count in counts]
            rows.append([_phase_name(planned, phase.name), *shown])
    return _align(rows)


def _study(plan: StudyPlan) -> list[str]:
    rows = [["STUDY", "calls", "chip-hours", "US $", "used for"]]
    for planned in plan.programs:
        hours = None if planned.time is None else planned.time * plan.topology.chips / 3600
        hours = None if hours is None else hours * planned.program.calls
        dollars = None if None in (hours, plan.price) else hours * plan.price
        uses = ", ".join(planned.program.uses)
        row = [
            planned.program.name,
            f"{planned.program.calls:,.0f}",
            _whole(hours),
            _whole(dollars),
        ]
        rows.append([*row, uses if len(uses) <= 30 else f"{uses[:27]}..."])
    rows.append(["all", "", _whole(plan.chip_hours), _whole(plan.dollars), ""])
    lines = _align(rows, left=(0, 4))
    refilled = [planned.program for planned in plan.programs if planned.program.refills]
    lines += [
        f"Dynamic sampling at its most: {program.refills:,.0f} calls of {_short(program.name)} "
        "are refills."
        for program in refilled
    ]
    if plan.dollars is not None:
        own = plan.topology.chip is None or plan.price != plan.topology.chip.price
        source = "--price" if own else f"list price on demand, {PRICES_OF}; yours: --price"
        days = plan.chip_hours / plan.topology.chips / 24
        least = "With them at least" if refilled else "At least"
        lines.append(f"{least} {days:,.3g} days here. ${plan.price:.2f} a chip-hour: {source}.")
    return lines


def _phase_name(planned: Planned, phase: str) -> str:
    name = planned.program.name
    return name if len(planned.program.phases) == 1 else f"{name} {phase}"


def _align(
    rows: Sequence[Sequence[str]], left: Sequence[int] = (0,), name: int = _NAME
) -> list[str]:
    rows = [[_short(row[0]), *row[1:]] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    widths[0] = max(widths[0], name)
    return [
        "  ".join(
            cell.ljust(width) if index in left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _short(name: str) -> str:
    return name if len(name) <= _NAME else f"{name[: _NAME - 3]}..."


def _gib(count: float) -> str:
    return f"{count / 2**30:.2f}" if not 0 < count < 2**30 / 10 else f"{count / 2**30:.1g}"


def _whole(value: float | None) -> str:
    if value is None:
        return "?"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}" if value >= 0.01 else f"{value:.2g}"


def _count(value: float) -> str:
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def show_search(found: Found) -> str:
    """What a search found, as text."""
    topology = found.topology
    rows = [
        ["data", "fsdp", "tensor", "accumulation", "remat", "GiB", "fits", "ms", "MFU", "binds"]
    ]
    for each in found.tried:
        choice, costs, phase = each.choice, each.step.costs[0], each.step.program.phases[0]
        sizes = [str(size) for size in dataclasses.astuple(choice.mesh)]
        row = [*sizes, str(choice.accumulation), choice.remat, _gib(each.step.memory.peak)]
        row.append("yes" if each.step_fits else "no")
        if costs.time is None:
            row += ["?", "?", "?"]
        else:
            row.append(_whole(costs.time * 1e3))
            row += [f"{roofline.mfu(phase.flops, costs.time, topology):.1%}", costs.bound]
        rows.append(row)
    lines = [
        f"{found.stage} on {topology.name}: {len(found.tried)} compiled of {found.considered} "
        "combinations, ranked by arithmetic",
        "",
        *_align(rows, left=(), name=0),
        "",
    ]
    if found.best:
        # One flag a line, to be pasted behind the command.
        flags = found.best.choice.flags(found.stage).replace(" --", " \\\n--").splitlines()
        programs = len(found.best.study.programs)
        lines += [f"Cheapest with which all {programs} programs of the study fit:", *flags]
        lines += [_cost(found.best.study)]
    elif not found.tried[0].step_fits:
        lines.append("None of them fits: more chips, a shorter length or a smaller batch are left.")
    else:
        lines.append("The step fits, but with none of them all of the study does. With the first:")
        lines += _too_large(found.tried[0].study)
    lines += ["Estimates at the roofline, as in the plan."]
    return "\n".join(line.rstrip() for line in lines)


def _cost(plan: StudyPlan) -> str:
    dollars = "" if plan.dollars is None else f", ${_whole(plan.dollars)}"
    return f"The study takes {_whole(plan.chip_hours)} chip-hours{dollars}."


def search_record(found: Found) -> dict[str, Any]:
    """What a search found, as JSON."""
    tried = []
    for each in found.tried:
        row = {**dataclasses.asdict(each.choice), "step_fits": each.step_fits}
        row["flags"] = each.choice.flags(found.stage)
        row["peak_bytes"] = each.step.memory.peak
        row["roofline_seconds"], row["bound"] = each.step.time, each.step.costs[0].bound or None
        row["study"] = each.study and record(each.study)
        tried.append(row)
    return {
        "stage": found.stage,
        "estimate": True,
        "topology": str(found.topology.name),
        "capacity_bytes": found.topology.chip.memory,
        "best": found.best and found.best.choice.flags(found.stage),
        "considered": found.considered,
        "tried": tried,
    }


def record(plan: StudyPlan) -> dict[str, Any]:
    """The plan as JSON: bytes, seconds, FLOPs and US dollars; null is "not known"."""
    return {
        "study": plan.study,
        "estimate": True,
        "topology": str(plan.topology.name),
        "device": plan.topology.kind,
        "devices": len(plan.topology.devices),
        "chips": plan.topology.chips,
        "chip": dataclasses.asdict(plan.topology.chip) if plan.topology.chip else None,
        "mesh": plan.mesh,
        "parameters": plan.params,
        "capacity_bytes": plan.capacity,
        "fits": plan.fits,
        "peak_bytes": plan.peak,
        "chip_hours": plan.chip_hours,
        "price_per_chip_hour": plan.price,
        "prices_of": PRICES_OF,
        "dollars": plan.dollars,
        "programs": [_program_record(planned, plan) for planned in plan.programs],
    }


def _fits(planned: Planned, capacity: int | None) -> bool | None:
    if isinstance(planned.memory, TooMuch):
        return False
    return None if capacity is None else planned.memory.peak <= capacity


def _program_record(planned: Planned, plan: StudyPlan) -> dict[str, Any]:
    program, memory = planned.program, planned.memory
    phases = []
    for phase, costs in zip(program.phases, planned.costs, strict=True):
        time = costs.time
        phases.append(
            {
                "phase": phase.name,
                "tokens": phase.tokens,
                "model_flops": phase.flops,
                "device_flops": costs.flops,
                "device_bytes_moved": costs.moved,
                "device_bytes_sent": costs.sent,
                "seconds": costs.seconds,
                "roofline_seconds": time,
                "bound": costs.bound or None,
                "tokens_per_second": None if time is None else phase.tokens / time,
                "mfu": None if time is None else roofline.mfu(phase.flops, time, plan.topology),
            }
        )
    return {
        "name": program.name,
        "uses": list(program.uses),
        "calls": program.calls,
        "refills": program.refills,
        "fits": _fits(planned, plan.capacity),
        "memory_bytes": dataclasses.asdict(memory),
        "loops_of_unknown_length": planned.guessed,
        "compile_seconds": round(planned.seconds, 2),
        "phases": phases,
    }
