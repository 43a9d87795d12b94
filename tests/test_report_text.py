"""Numbers and foreign text as they are written, and the summary in the terminal."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_report_synthetic import LOGITS, write_study

from bakein.report import text
from bakein.report.records import read_study
from bakein.report.results import assemble
from bakein.report.terminal import terminal_summary


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=()), max_size=50))
def test_visible_text_is_encodable_and_hides_nothing(value):
    shown = text.visible(value)
    shown.encode("utf-8")
    assert all(c == "\n" or c.isprintable() or c.isspace() for c in shown)
    assert not set(shown) & set("\x00\x1b\u202e\u2066\u200b\u2028\ufeff\x85")
    assert text.visible(shown) == shown


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (text.number(0.12345), "0.123"),
        (text.number(-0.5, 1), "−0.5"),
        (text.number(-0.0001), "0.000"),
        (text.number(None), "–"),
        (text.number(float("nan")), "–"),
        (text.signed(0.25, 2), "+0.25"),
        (text.signed(-0.25, 2), "−0.25"),
        (text.signed(0.0), "0.000"),
        (text.signed(None), "–"),
        (text.interval([-0.1, 0.25], 2), "[−0.10, 0.25]"),
        (text.interval([None, 1.0], 1), "(−∞, 1.0]"),
        (text.interval([0.5, float("inf")], 1), "[0.5, ∞)"),
        (text.interval(None), "–"),
        (text.quantity(999), "999"),
        (text.quantity(12_345), "12.3 k"),
        (text.quantity(999_999), "1 M"),
        (text.quantity(3.6e11), "360 G"),
        (text.quantity(1e24), "1e+24"),
        (text.quantity(None), "–"),
        (text.plural(1, "seed"), "1 seed"),
        (text.plural(1500, "seed"), "1,500 seeds"),
        (text.level(0.9875), "98.75\N{NO-BREAK SPACE}%"),
        (text.probability(0.0004), "< 0.001"),
        (text.probability(0.04), "0.040"),
        (text.shorten("abcdef", 4), "abcd … (2 more characters)"),
        (text.shorten("abcd", 4), "abcd"),
    ],
)
def test_numbers_are_written_for_people(written, expected):
    assert written == expected


def test_the_terminal_summary_is_narrow_aligned_and_complete(tmp_path):
    write_study(tmp_path, seeds=2, problems=6)
    results = assemble(read_study(tmp_path))
    summary = terminal_summary(results, Path("runs/x/report/index.html"))
    lines = summary.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert lines[0].split() == ["accuracy", "pretrain", "sft", "rl", "rl_from_base"]
    column = lines[0].index("rl")
    for line, arm in zip(lines[1:4], LOGITS, strict=True):
        mean = next(
            row["mean"]
            for row in results["summary"]
            if (row["arm"], row["stage"], row["metric"]) == (arm, "rl", "accuracy")
        )
        assert line.startswith(arm)
        assert line[column:].startswith(f"{mean:.3f} ±")
    for name, answer in results["answers"].items():
        assert any(line.startswith(f"{name}  {answer['verdict'].upper()}: ") for line in lines)
    assert lines[-1] == "Report: runs/x/report/index.html"


def test_many_stages_and_long_hostile_names_stay_within_80_columns(tmp_path):
    write_study(tmp_path, seeds=1, problems=4)
    results = assemble(read_study(tmp_path))
    results["arms"] = ["\x1b[31m" + "long" * 20, "b"]
    results["stages"] = [f"stage_number_{i:02d}" for i in range(9)]
    results["missing"] = [{}] * 3
    summary = terminal_summary(results, Path("r"))
    assert all(len(line) <= 80 for line in summary.splitlines())
    assert "\x1b" not in summary
    assert "stage_number…" in summary
    assert "Unfinished: 3 stages are missing." in summary
