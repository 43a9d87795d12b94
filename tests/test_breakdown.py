"""The benchmark of the stopwatch runs and prints its three figures. No time is asserted."""

import re
import runpy
from pathlib import Path

import jax

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def test_the_report_names_the_machine_and_has_its_figures(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)  # as when it is run as a script
    bench = runpy.run_path(str(BENCHMARKS / "breakdown.py"))
    first, _, pairs, *figures = bench["report"](updates=1, seconds=0.0).splitlines()
    assert f"jax {jax.__version__}" in first
    assert pairs == "3 pairs of 1 updates"
    found = [re.match(r"(\w+) +[+-]\d+\.\d\d%  ", line)[1] for line in figures]
    assert found == ["wall", "CPU", "alone"]
