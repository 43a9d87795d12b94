"""`bakein report`, `plan` and `data`."""

import argparse
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bakein.paths import Path

_SEARCHED = 6  # combinations that a search compiles: some minutes at 8 billion parameters


def report(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Rebuilds the report of a study, or the page over several."""
    from bakein.paths import path_of

    _no_overrides(overrides)
    folder = path_of(arguments.workdir)
    if (folder / "study.json").exists() or not folder.is_dir():
        return print_report(folder)
    from bakein.report.index import build_index, index_summary
    from bakein.report.records import RecordError

    results, broken = build_index(folder)
    print(index_summary(results, folder / "index.html"))
    if broken:
        raise RecordError("; ".join(f"{name} left out: {why}" for name, why in broken.items()))
    return 0


def print_report(workdir: "Path") -> int:
    """Builds the report of a study and prints its answers."""
    from bakein.report.build import build_report
    from bakein.report.terminal import terminal_summary

    results = build_report(workdir)
    print(terminal_summary(results, workdir / "report" / "index.html"))
    return 0


def plan(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Prints what a study needs and costs on a machine that need not be there."""
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
        found = search(study, topology, arguments.price, _SEARCHED, say)
        print(json.dumps(search_record(found), indent=1) if arguments.json else show_search(found))
        return 1 if arguments.require_fit and found.best is None else 0
    planned = plan_study(study, topology, arguments.price, say)
    print(json.dumps(record(planned), indent=1) if arguments.json else show(planned))
    return 1 if arguments.require_fit and planned.fits is False else 0


def data(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Writes a source's documents as a TFDS data set."""
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
