"""Builds report/ of a work directory from its records alone."""

import json

from bakein.paths import Path, write_text
from bakein.report.page import render
from bakein.report.plots import draw
from bakein.report.records import read_study
from bakein.report.results import Results, assemble


def build_report(workdir: Path) -> Results:
    """Writes report/results.json, report/*.svg and report/index.html; returns the results.

    The same records give the same bytes. Each file is replaced whole or not at all.

    Raises:
      ValueError: a record is broken (names file and line).
      OSError: the records cannot be read or the report cannot be written.
    """
    study = read_study(workdir)
    results = assemble(study)
    plots = draw(results)
    folder = study.workdir / "report"
    folder.mkdir(exist_ok=True)
    for plot in plots:
        write_text(folder / f"{plot.name}.svg", plot.svg)
    write_text(folder / "results.json", json.dumps(results, indent=1, allow_nan=False) + "\n")
    write_text(folder / "index.html", render(results, study, plots))
    return results
