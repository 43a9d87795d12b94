"""The front door: `bakein run`, `report`, `plan`, `data`.

A user's mistake ends with exit code 2 and one line on standard error; a stage that broke down with
exit code 1 and one line; a run whose machine was wanted back with exit code 75 and one line, which
asks for the same command again; a programmer's mistake with its traceback.
"""

import argparse
import contextlib
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from bakein.plan.libtpu import hush
from bakein.study.startup import prepare_jax

# Imports that start jax stand inside the functions: `_prepare_jax` must come before them, and
# `--help` should not wait for them.


class _UsageError(Exception):
    """Arguments that the command does not have."""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, like every other mistake."""

    def error(self, message: str) -> NoReturn:
        raise _UsageError(f"{message}; see {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    try:
        arguments, rest = _parser().parse_known_args(argv)
    except _UsageError as error:
        return _say(2, _line(error))
    _prepare_jax(getattr(arguments, "topology", ""))
    return _say(*_outcome(arguments.command, arguments, rest))


Command = Callable[[argparse.Namespace, list[str]], int]


def _outcome(command: Command, arguments: argparse.Namespace, rest: list[str]) -> tuple[int, str]:
    """Runs a command: its exit code, and the line that says what went wrong, "" for nothing."""
    from bakein.data.errors import DataError
    from bakein.processes import PREEMPTED, Preempted
    from bakein.report.records import RecordError
    from bakein.study.errors import ConfigError, WorkerDied
    from bakein.train.checkpoints import NoUsableCheckpoint
    from bakein.train.loop import NonFinite

    try:
        return command(arguments, rest), ""
    except (ConfigError, DataError, RecordError, NoUsableCheckpoint, OSError) as error:
        return 2, _line(error)
    except (NonFinite, WorkerDied) as error:
        return 1, _line(error)
    except Preempted:
        return PREEMPTED, "asked to leave (SIGTERM): all is saved; the same command goes on"
    except KeyboardInterrupt:
        return 130, "interrupted; the same command goes on from here"


def _say(code: int, line: str) -> int:
    if line:
        print(f"bakein: {line}", file=sys.stderr)
    return code


def _line(error: BaseException) -> str:
    text = str(error)
    if isinstance(error, OSError) and error.errno and error.filename:
        text = f"{error.filename}: {error.strerror}"
    # Ours have one line; grain adds longer ones about its own traceback.
    notes = [note for note in getattr(error, "__notes__", ()) if "\n" not in note]
    where = "".join(f" [{note}]" for note in notes)
    return f"{' '.join(text.split())}{where}"


_SEARCHED = 6  # combinations that a search compiles: some minutes at 8 billion parameters

_PLAN_HELP = """\
topologies:
  v4:2x2x1  v5e:4x4  v5p:8x8x4  v6e:16x16  tpu7x:4x4x4    chips along each axis of a slice
  2xv5e:16x16    two slices; the mesh's `data` goes between them, e.g. --config.mesh.data=2
  cpu:8          this machine's processor as 8 devices
  local          the devices of this machine
TPUs need no TPU, only its compiler: pip install 'bakein[tpu]'.

Every key can be overridden, as with `bakein run`:
  bakein plan experiments/front_loading.py:paper --topology v6e:16x16 \\
      --config.mesh.tensor=4 --config.stages.pretrain.accumulation=4

All of it is an estimate, and the table says how it is made. A study that does not fit is an answer
(exit code 0), and says by how much; a study or topology that is wrong is not (2)."""


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="bakein",
        description="Is reasoning baked in during pretraining, or bolted on?",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser(
        "run",
        help="run a study, or what is left of it, and report",
        epilog="Every key of the study can be overridden: --config.seeds=3 "
        "--config.stages.pretrain.tokens=200_000",
        allow_abbrev=False,
    )
    run.add_argument("experiment", help="FILE.py or FILE.py:ARG, which calls get_config(ARG)")
    run.add_argument("--workdir", type=Path, help="default: runs/NAME")
    run.add_argument(
        "--reuse",
        type=Path,
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
    run.set_defaults(command=_run)

    report = commands.add_parser(
        "report", help="rebuild a report from its records alone", allow_abbrev=False
    )
    report.add_argument("workdir", type=Path, help="of a study, or a directory of such: runs/")
    report.set_defaults(command=_report)

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
        help="try meshes, micro-batches and recomputing for the longest training stage",
    )
    plan.add_argument("--json", action="store_true", help="print JSON: bytes, seconds, FLOPs")
    plan.add_argument(
        "--require-fit", action="store_true", help="exit with code 1 where it does not fit"
    )
    plan.set_defaults(command=_plan)

    data = commands.add_parser(
        "data",
        help="write a source's documents as a TFDS data set (ArrayRecord)",
        allow_abbrev=False,
    )
    data.add_argument("experiment", help="FILE.py or FILE.py:ARG")
    data.add_argument("--source", required=True, help="its name in config.sources")
    data.add_argument("--documents", type=int, required=True, help="how many")
    data.add_argument("--out", type=Path, required=True, help="directory to write to")
    data.set_defaults(command=_data)
    return parser


def _updates(given: str) -> range:
    found = re.fullmatch(r"([0-9]{1,12}):([0-9]{1,12})", given)
    updates = range(int(found[1]), int(found[2])) if found else range(0)
    if not updates:
        raise argparse.ArgumentTypeError(
            f"{given!r} is not START:STOP, numbers of updates with START < STOP, such as 10:15"
        )
    return updates


def _prepare_jax(topology: str) -> None:
    """Settings that jax reads once, when it starts; `topology` is that of a plan, or ""."""
    hush()
    if topology and topology != "local":
        os.environ["JAX_PLATFORMS"] = "cpu"  # planning takes nobody's GPU
    prepare_jax()
    kind, _, count = topology.partition(":")
    if kind == "cpu" and count.isdecimal() and "device_count" not in os.environ["XLA_FLAGS"]:
        os.environ["XLA_FLAGS"] += f" --xla_force_host_platform_device_count={count}"


def _run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Runs a study, in this process or as one of several."""
    from bakein import processes
    from bakein.study.cluster import join_cluster

    notice = processes.Notice()
    peers = join_cluster(
        arguments.distributed, arguments.coordinator, arguments.processes, arguments.process
    )
    if peers is None:
        with notice.listening():
            return _run_study(arguments, overrides, notice, lambda: None)

    def together(arguments: argparse.Namespace, overrides: list[str]) -> int:
        return _run_study(arguments, overrides, notice, peers.leave)

    try:
        code, line = _outcome(together, arguments, overrides)
    except Exception as error:
        code, line = processes.PREEMPTED, f"lost another process, see its messages: {_line(error)}"
        if not processes.lost_peer(error):
            traceback.print_exc()  # the others have to hear of a programmer's mistake as well
            code, line = 1, f"{type(error).__name__}: {_line(error)}"
        _say(code, line)
        peers.fail(code, line)
    if code == processes.PREEMPTED:
        peers.leave()
        return _say(code, line if processes.first() else "")
    _say(code, line)
    if code and peers.joined:
        peers.fail(code, line)
    return code


def _run_study(
    arguments: argparse.Namespace,
    overrides: list[str],
    preempted: Callable[[], bool],
    leave: Callable[[], None],
) -> int:
    """What every process does; `leave` parts from the others, once all is trained."""
    from bakein import processes
    from bakein.analysis.verdicts import RULES
    from bakein.study.config import resolve
    from bakein.study.description import describe_study
    from bakein.study.digest import plain
    from bakein.study.dry_run import show_dry_run
    from bakein.study.executors.options import open_executor, ray_options
    from bakein.study.experiment import load_experiment
    from bakein.study.profile import profile
    from bakein.study.programs import keep_programs
    from bakein.study.progress import say
    from bakein.study.runner import check_devices, make_plan, reuse, run_plan
    from bakein.study.workdir import Workdir

    first = processes.first()

    def warn(line: str) -> None:
        if first:
            say(f"bakein: {line}")

    def tell(line: str) -> None:
        if first:
            print(line, flush=True)

    alone = {name: getattr(arguments, name) for name in ("profile", "distributed", "coordinator")}
    ray = ray_options(arguments.executor, arguments.resources, arguments.retries, alone)
    config = load_experiment(arguments.experiment, overrides)
    study = resolve(config)
    published = _published(study.published)
    workdir = Workdir(arguments.workdir or Path("runs") / study.name)
    if first and not arguments.dry_run:
        workdir.prepare(study.name)
    if not (ray or arguments.dry_run):
        keep_programs(workdir.path / "programs")
    plan = make_plan(study, workdir, warn, preempted)
    if not ray:
        check_devices(plan.shop)
    if arguments.dry_run:
        tell(show_dry_run(plan))
        leave()
        return 0
    for folder in arguments.reuse:
        before = len(plan.todo)
        plan = reuse(plan, Workdir(folder))
        tell(f"{before - len(plan.todo)} stages taken over from {folder}")
    if arguments.profile:
        plan = profile(plan, arguments.profile)
    if plan.todo:
        tell(f"{len(plan.todo)} of {len(plan.dag.nodes)} stages to run in {workdir.path}")
    else:
        tell(f"nothing to run: all {len(plan.dag.nodes)} stages in {workdir.path} are done")
    words = (arguments.experiment, overrides, workdir.path, study.workers)
    with open_executor(ray, *words) as (executor, device):
        record = describe_study(study, plan.dag, device, plain(config.to_dict()), RULES, published)
        save = plan.shop.materials.tokenizer.save
        with workdir.open(record, save) if first else contextlib.nullcontext():
            run_plan(plan, executor)
            leave()
            return _print_report(workdir.path) if first else 0


def _published(path: str) -> dict[str, Any] | None:
    """The published gaps that a study names, for its record."""
    from bakein.analysis import published
    from bakein.study.errors import ConfigError, naming

    if not path:
        return None
    try:
        with naming("config.published"):
            return published.record(published.read(Path(path)))
    except OSError as error:
        raise ConfigError(f"config.published: {path}: {error.strerror}") from error


def _report(arguments: argparse.Namespace, overrides: list[str]) -> int:
    _no_overrides(overrides)
    folder = arguments.workdir
    if (folder / "study.json").exists() or not folder.is_dir():
        return _print_report(folder)
    from bakein.report.index import build_index, index_summary

    print(index_summary(build_index(folder), folder / "index.html"))
    return 0


def _print_report(workdir: Path) -> int:
    from bakein.report.build import build_report
    from bakein.report.terminal import terminal_summary

    results = build_report(workdir)
    print(terminal_summary(results, workdir / "report" / "index.html"))
    return 0


def _plan(arguments: argparse.Namespace, overrides: list[str]) -> int:
    from bakein.plan.search import search
    from bakein.plan.study import plan_study
    from bakein.plan.table import record, search_record, show, show_search
    from bakein.plan.topology import make_topology, parse
    from bakein.study.config import resolve
    from bakein.study.errors import ConfigError
    from bakein.study.experiment import load_experiment
    from bakein.study.progress import say

    name = parse(arguments.topology)
    if arguments.price is not None and not 0 <= arguments.price < float("inf"):
        raise ConfigError(f"--price is {arguments.price}; it must be 0 or more, in US dollars")
    config = load_experiment(arguments.experiment, overrides)
    study, topology = resolve(config), make_topology(name)
    if arguments.search:
        found = search(study, topology, _SEARCHED, say)
        print(json.dumps(search_record(found), indent=1) if arguments.json else show_search(found))
        return 1 if arguments.require_fit and not found.fits(found.tried[0][1]) else 0
    plan = plan_study(study, topology, arguments.price, say)
    print(json.dumps(record(plan), indent=1) if arguments.json else show(plan))
    return 1 if arguments.require_fit and plan.fits is False else 0


def _data(arguments: argparse.Namespace, overrides: list[str]) -> int:
    from bakein.study.config import resolve
    from bakein.study.experiment import load_experiment
    from bakein.study.export import export_source

    study = resolve(load_experiment(arguments.experiment, overrides))
    count, path = export_source(study, arguments.source, arguments.documents, arguments.out)
    print(f"{count} documents written; read them with base.dataset({str(path)!r})")
    return 0


def _no_overrides(overrides: list[str]) -> None:
    from bakein.study.errors import ConfigError

    if overrides:
        raise ConfigError(f"{overrides[0]}: not an argument of this command; see --help")
