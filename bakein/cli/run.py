"""`bakein run`: a study, in this process or as one of several."""

import argparse
import contextlib
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bakein.cli.commands import print_report
from bakein.cli.outcome import line_of, outcome_of, say, silence_of


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Runs a study, in this process or as one of several."""
    from bakein import processes
    from bakein.paths import unanswered
    from bakein.study.cluster import join_cluster

    peers = join_cluster(
        arguments.distributed, arguments.coordinator, arguments.processes, arguments.process
    )
    notice = processes.Notice(peers)
    if peers is None:
        with notice.listening():
            return _run_study(arguments, overrides, notice, lambda: None, processes.end)

    def lost(code: int, line: str) -> None:
        peers.fail(say(code, line), line)

    try:
        code, line = outcome_of(lambda: _run_study(arguments, overrides, notice, peers.leave, lost))
    except Exception as error:
        line = f"lost another process, see its messages: {line_of(error)}"
        code = processes.PREEMPTED
        if unanswered(error):
            line = silence_of(error)
        elif not processes.lost_peer(error):
            traceback.print_exc()  # the others have to hear of a programmer's mistake as well
            code, line = 1, f"{type(error).__name__}: {line_of(error)}"
        say(code, line)
        peers.fail(code, line)
    if code == processes.PREEMPTED:
        peers.leave()
        return say(code, line if processes.first() else "")
    say(code, line)
    if code and peers.joined:
        peers.fail(code, line)
    return code


def _run_study(
    arguments: argparse.Namespace,
    overrides: list[str],
    preempted: Callable[[], bool],
    leave: Callable[[], None],
    lost: Callable[[int, str], None],
) -> int:
    """What every process does.

    `leave` parts from the others, once all is trained; `lost` ends all, see `Workdir`.
    """
    from bakein import processes
    from bakein.analysis.verdicts import RULES
    from bakein.study import progress
    from bakein.study.config import resolve
    from bakein.study.description import describe_study
    from bakein.study.digest import plain
    from bakein.study.dry_run import show_dry_run
    from bakein.study.executors.options import open_executor, ray_options
    from bakein.study.experiment import load_experiment
    from bakein.study.profile import profile
    from bakein.study.programs import keep_programs
    from bakein.study.runner import check_devices, make_plan, reuse, run_plan
    from bakein.study.workdir import Workdir

    first = processes.first()

    def warn(line: str) -> None:
        if first:
            progress.say(f"bakein: {line}")

    def tell(line: str) -> None:
        if first:
            print(line, flush=True)

    alone = {name: getattr(arguments, name) for name in ("profile", "distributed", "coordinator")}
    ray = ray_options(arguments.executor, arguments.resources, arguments.retries, alone)
    config = load_experiment(arguments.experiment, overrides)
    study = resolve(config)
    published = _published(study.published)
    workdir = Workdir(arguments.workdir or Path("runs") / study.name, lost)
    if first and not arguments.dry_run:
        workdir.prepare(study.name)
    if not (ray or arguments.dry_run):
        keep_programs(workdir.path / "programs")
    plan = make_plan(study, workdir, warn, preempted)
    if not ray:
        check_devices(plan.shop)
    for folder in arguments.reuse:
        before = len(plan.todo)
        plan = reuse(plan, Workdir(folder), dry=arguments.dry_run)
        tell(f"{before - len(plan.todo)} stages taken over from {folder}")
    if arguments.profile:
        plan = profile(plan, arguments.profile)
    if arguments.dry_run:
        tell(show_dry_run(plan))
        leave()
        return 0
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
            return print_report(workdir.path) if first else 0


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
