"""The arguments of every command."""

import argparse
import re
from pathlib import Path
from typing import NoReturn


class UsageError(Exception):
    """Arguments that the command does not have."""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, like every other mistake."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")


_PLAN_HELP = """\
topologies:
  v4:2x2x1  v5e:4x4  v5p:8x8x4  v6e:16x16  tpu7x:4x4x4    chips along each axis of a slice
  2xv5e:16x16    two slices; the mesh's `data` goes between them, e.g. --config.mesh.data=2
  cpu:8          this machine's processor as 8 devices
  local          the devices of this machine
TPUs need no TPU, only its compiler: pip install -e '.[tpu]'.

Every key can be overridden, as with `bakein run`:
  bakein plan experiments/front_loading.py:paper --topology v6e:16x16 \\
      --config.mesh.tensor=4 --config.stages.pretrain.accumulation=4

Peak memory of a TPU is the most that lives at a time, by the compiler's own measure; arguments,
outputs and temporary may come to more, as temporaries take turns. What the compiler refuses does
not fit. Elsewhere the peak is their sum.

All of it is an estimate, and the table says how it is made. A study that does not fit is an answer
(exit code 0), and says by how much; a study or topology that is wrong is not (2)."""


def make_parser() -> argparse.ArgumentParser:
    """The parser; `command` of what it finds is the name of the command.

    Its `parse_known_args` leaves the overrides of the study.

    Raises:
        UsageError: when it parses, arguments that the command does not have.
    """
    parser = _Parser(
        prog="bakein",
        description="Is reasoning baked in during pretraining, or bolted on?",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")

    run = commands.add_parser(
        "run",
        help="run a study, or what is left of it, and report",
        epilog="Every key of the study can be overridden: --config.seeds=3 "
        "--config.stages.pretrain.tokens=200_000",
        allow_abbrev=False,
    )
    run.add_argument("experiment", help="FILE.py or FILE.py:ARG, which calls get_config(ARG)")
    run.add_argument("--workdir", help="a folder, or gs://BUCKET/PREFIX; default: runs/NAME")
    run.add_argument(
        "--reuse",
        action="append",
        default=[],
        metavar="DIR",
        help="copy the finished stages that another study's work directory has in common",
    )
    run.add_argument("--dry-run", action="store_true", help="print the stages and what they cost")
    run.add_argument(
        "--profile",
        type=_updates,
        metavar="START:STOP",
        help="trace the first stage of each name from START updates made until STOP, for XProf; "
        "one stage runs at a time then",
    )
    several = run.add_argument_group(
        "several processes", "each is this same command, on a machine with devices of its own"
    )
    several.add_argument(
        "--distributed",
        action="store_true",
        help="find the others by the metadata of TPUs, GKE, SLURM or MPI",
    )
    several.add_argument(
        "--coordinator", metavar="HOST:PORT", help="or say where the first one listens,"
    )
    several.add_argument("--processes", type=int, metavar="N", help="how many there are,")
    several.add_argument("--process", type=int, metavar="I", help="and which this is, from 0")
    many = run.add_argument_group("many machines", "which see the work directory by the same path")
    many.add_argument(
        "--executor",
        choices=("local", "ray"),
        default="local",
        help="what runs the stages: this process (the default), or workers of a Ray cluster",
    )
    many.add_argument(
        "--resources",
        metavar="CPU=1,GPU=1",
        help="with --executor=ray: what a stage needs of its machine (default: CPU=1)",
    )
    many.add_argument(
        "--retries",
        type=int,
        metavar="N",
        help="with --executor=ray: how often a stage goes on after its worker died (default: 3)",
    )

    report = commands.add_parser(
        "report", help="rebuild a report from its records alone", allow_abbrev=False
    )
    report.add_argument("workdir", help="of a study, or a directory of such: runs/")

    plan = commands.add_parser(
        "plan",
        help="what a study needs and costs on a machine that need not be there",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Compiles every program of a study for a machine, without the machine and\n"
        "without allocating anything, and prints memory, time at the roofline and price.",
        epilog=_PLAN_HELP,
        allow_abbrev=False,
    )
    plan.add_argument("experiment", help="FILE.py or FILE.py:ARG")
    plan.add_argument(
        "--topology", required=True, help="v5p:8x8x4, 2xv5e:16x16 (two slices), cpu:8, or local"
    )
    plan.add_argument("--price", type=float, help="US dollars of a chip-hour; default: list price")
    plan.add_argument(
        "--search",
        action="store_true",
        help="try meshes, micro-batches and recomputing for the longest training stage, and "
        "whether all of the study fits with them",
    )
    plan.add_argument("--json", action="store_true", help="print JSON: bytes, seconds, FLOPs")
    plan.add_argument(
        "--require-fit", action="store_true", help="exit with code 1 where it does not fit"
    )

    data = commands.add_parser(
        "data",
        help="write a source's documents as a TFDS data set (ArrayRecord)",
        allow_abbrev=False,
    )
    data.add_argument("experiment", help="FILE.py or FILE.py:ARG")
    data.add_argument("--source", required=True, help="its name in config.sources")
    data.add_argument("--documents", type=int, required=True, help="how many")
    data.add_argument("--out", type=Path, required=True, help="directory to write to")
    return parser


def _updates(given: str) -> range:
    found = re.fullmatch(r"([0-9]{1,12}):([0-9]{1,12})", given)
    updates = range(int(found[1]), int(found[2])) if found else range(0)
    if not updates:
        raise argparse.ArgumentTypeError(
            f"{given!r} is not START:STOP, numbers of updates with START < STOP, such as 10:15"
        )
    return updates
