"""The front door: `bakein run`, `report`, `plan`, `data`.

A user's mistake ends with exit code 2 and one line on standard error; a stage that broke down with
exit code 1 and one line; a run whose machine was wanted back with exit code 75 and one line, which
asks for the same command again; a programmer's mistake with its traceback.
"""

import os
from collections.abc import Sequence

from bakein.cli.arguments import UsageError, make_parser
from bakein.cli.commands import data, plan, report
from bakein.cli.outcome import line_of, outcome_of, say, silence_of
from bakein.cli.run import run
from bakein.plan.libtpu import hush
from bakein.study.startup import prepare_jax

# Imports that start jax stand inside the functions of this room: `_prepare` must come before them,
# and `--help` should not wait for them.

COMMANDS = {"run": run, "report": report, "plan": plan, "data": data}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    try:
        arguments, rest = make_parser().parse_known_args(argv)
    except UsageError as error:
        return say(2, line_of(error))
    _prepare(getattr(arguments, "topology", ""))
    from bakein.paths import unanswered
    from bakein.processes import PREEMPTED

    try:
        return say(*outcome_of(lambda: COMMANDS[arguments.command](arguments, rest)))
    except Exception as error:
        if not unanswered(error):
            raise
        return say(PREEMPTED, silence_of(error))


def _prepare(topology: str) -> None:
    """Settings that jax reads once, when it starts; `topology` is that of a plan, or ""."""
    hush()
    if topology and topology != "local":
        os.environ["JAX_PLATFORMS"] = "cpu"  # planning takes nobody's GPU
    prepare_jax()
    kind, _, count = topology.partition(":")
    if kind == "cpu" and count.isdecimal() and "device_count" not in os.environ["XLA_FLAGS"]:
        os.environ["XLA_FLAGS"] += f" --xla_force_host_platform_device_count={count}"
