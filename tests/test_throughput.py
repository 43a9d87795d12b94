"""The benchmark runs and prints a figure for training and one for sampling. No time is asserted."""

import re
import runpy
from pathlib import Path

import jax

BENCHMARK = Path(__file__).resolve().parents[1] / "benchmarks" / "throughput.py"


def test_the_table_names_the_machine_and_has_both_figures():
    bench = runpy.run_path(str(BENCHMARK))
    first, *rows = bench["table"](["quickstart"], seconds=0.0).splitlines()
    assert f"jax {jax.__version__}" in first
    figures = [re.search(r"(train|sample) .* ([\d,]+)  \(", row) for row in rows]
    assert [found[1] for found in figures if found] == ["train", "sample"]
    assert all(int(found[2].replace(",", "")) > 0 for found in figures if found)


def test_the_larger_size_is_about_ten_million_parameters():
    bench = runpy.run_path(str(BENCHMARK))
    assert 9e6 < bench["count_params"](bench["SIZES"]["10M"].model) < 11e6
