"""Where the time went: sums by stage, shares in the page, traces that are linked."""

import json
import os
import re

import pytest
from test_report_page import EVIL, Page
from test_report_synthetic import write_study

from bakein.report.breakdown import breakdown, timetable, traces
from bakein.report.page import render
from bakein.report.records import RecordError, read_study
from bakein.report.results import assemble
from bakein.report.text import seconds, share

SUPERVISED = {"setup": 1.0, "compile": 2.0, "data": 0.0, "compute": 9.46, "records": 0.04}
RL = {"setup": 0.5, "sampling": 6.0, "grading": 3.0, "compute": 3.0}


def change(workdir, id, **values):
    path = workdir / "stages" / id / "stage.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def trace(workdir, name, time, file="host.xplane.pb"):
    folder = workdir / "tensorboard" / "profile" / name / "plugins" / "profile" / time
    folder.mkdir(parents=True)
    (folder / file).write_bytes(b"")


@pytest.fixture
def workdir(tmp_path):
    """A study of two arms that share pretraining; all its stages are timed."""
    write_study(tmp_path, seeds=2, problems=4, arms=("standard", "baked_in"), shared=("pretrain",))
    for path in tmp_path.glob("stages/*/stage.json"):
        kind = json.loads(path.read_text())["kind"]
        if kind != "eval":
            change(tmp_path, path.parent.name, time=RL if kind == "rl" else SUPERVISED)
    return tmp_path


def page(workdir):
    study = read_study(workdir)
    return render(assemble(study), study, ())


def test_seconds_add_up_by_stage_and_shared_stages_count_once(workdir):
    rows = {row["stage"]: row for row in breakdown(read_study(workdir))}
    assert list(rows) == ["pretrain", "sft", "rl", "rl_from_base"]
    assert {stage: row["trained"] for stage, row in rows.items()} == {
        "pretrain": 2, "sft": 4, "rl": 4, "rl_from_base": 4
    }  # fmt: skip
    for row in rows.values():
        once = SUPERVISED if row["stage"] in ("pretrain", "sft") else RL
        expected = {part: row["trained"] * spent for part, spent in once.items()}
        assert row["parts"] == pytest.approx(expected)
        assert row["seconds"] == pytest.approx(row["trained"] * 12.5)
        assert row["seconds"] == pytest.approx(sum(row["parts"].values()))
        assert (row["evaluations"], row["probes"]) == (2.0 * row["trained"], 0)


def test_the_table_has_the_shares(workdir):
    shown = timetable(breakdown(read_study(workdir)))
    assert shown.head == ["Part", "pretrain", "sft", "rl", "rl_from_base"]
    rows = {title: [cell.replace("\N{NO-BREAK SPACE}", " ") for cell in cells]
            for title, *cells in shown.rows}  # fmt: skip
    assert rows == {
        "Stages": ["2", "4", "4", "4"],
        "Seconds": ["25.0", "50.0", "50.0", "50.0"],
        "Setup": ["8 %", "8 %", "4 %", "4 %"],
        "Compile": ["16 %", "16 %", "–", "–"],
        "Data": ["–"] * 4,
        "Sampling": ["–", "–", "48 %", "48 %"],
        "Grading": ["–", "–", "24 %", "24 %"],
        "Compute": ["76 %", "76 %", "24 %", "24 %"],
        "Records": ["< 1 %", "< 1 %", "–", "–"],
        "Evaluations, s": ["4.0", "8.0", "8.0", "8.0"],
    }
    assert list(rows)[2:5] == ["Setup", "Compile", "Data"]


def test_the_page_shows_it_and_how_to_open_traces(workdir):
    study = read_study(workdir)
    results = assemble(study)
    assert "Profiles" not in render(results, study, ())
    trace(workdir, "standard.rl.0", "2026_11_27_10_00_00")
    trace(workdir, "standard-sft-0", "2026_11_27_09_00_00", file="unfinished")
    source = render(results, study, ())
    text = " ".join(" ".join(Page(source).text).split())
    assert "Where the time went" in text
    assert "Compute 76 % 76 % 24 % 24 %" in text.replace("\N{NO-BREAK SPACE}", " ")
    (link,) = re.findall(r'href="(\.\./.*?)"', source)
    assert link == "../tensorboard/profile/standard.rl.0/plugins/profile/2026_11_27_10_00_00/"
    assert os.path.isdir(os.path.normpath(workdir / "report" / link))
    assert "tensorboard --logdir tensorboard" in text
    assert "standard.rl.0, 2026_11_27_10_00_00" in text


def test_hostile_names_come_out_as_text(workdir):
    change(workdir, "sft-standard-0", time={EVIL: 12.5})
    trace(workdir, "<img src=x onerror=alert(1)>\n", "?a#b\u202e%3C")
    source = page(workdir)
    (link,) = re.findall(r'href="(\.\./.*?)"', source)
    Page(source.replace(f'href="{link}"', "")).check_harmless()
    assert re.fullmatch(r"[\w./%-]+", link)
    assert EVIL.replace("\u202e", "⟨U+202E⟩") in "".join(Page(source).text)
    assert [t["name"] for t in traces(read_study(workdir))] == ["<img src=x onerror=alert(1)>\n"]


def test_studies_that_were_not_timed_have_no_table(tmp_path):
    write_study(tmp_path, seeds=1, problems=4, arms=("standard",))
    assert timetable(breakdown(read_study(tmp_path))) is None
    assert "Where the time went" not in page(tmp_path)


@pytest.mark.parametrize("time", [[1.0], 3, {"data": -1}, {"data": "1"}, {"data": float("inf")}])
def test_broken_times_are_named(workdir, time):
    change(workdir, "sft-standard-0", time=time)
    with pytest.raises(RecordError, match=r"sft-standard-0/stage\.json.*(time|data)"):
        read_study(workdir)


def test_how_shares_and_seconds_are_written():
    written = [share(value).replace("\N{NO-BREAK SPACE}", " ") for value in
               (None, 0.0, 1e-9, 0.0049, 0.005, 0.014, 0.996, 1.0)]  # fmt: skip
    assert written == ["–", "–", "< 1 %", "< 1 %", "1 %", "1 %", "100 %", "100 %"]
    assert [seconds(value) for value in (0.0, 0.04, 12.34, 99.9, 1234.5)] == [
        "0.0", "0.0", "12.3", "99.9", "1,234"
    ]  # fmt: skip
