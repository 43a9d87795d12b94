"""The page over several studies: every question in order, escaped, with a link to its page."""

import html
import json
import shutil

import pytest
from test_report_synthetic import HOSTILE, question_block, write_study

from bakein.cli import main
from bakein.report.index import answers, build_index
from bakein.report.records import RecordError


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name, question in (("b first", "Q10"), ("a&b", "Q2")):
        info = write_study(folder / name, seeds=3, problems=8, n=8, name=name)
        info["questions"] = {
            question: question_block()["Q1"] | {"text": f"{question}? {HOSTILE[1]}"}
        }
        (folder / name / "study.json").write_text(json.dumps(info))
    (folder / "notes").mkdir()
    return folder


def test_every_question_is_there_in_the_order_of_its_number(runs):
    results, broken = build_index(runs)
    assert broken == {}
    assert [(row["name"], row["workdir"]) for row in answers(results)] == [
        ("Q2", "a&b"),
        ("Q10", "b first"),
    ]
    page = (runs / "index.html").read_text()
    assert page.index("Q2.") < page.index("Q10.")
    for found in results.values():
        for answer in found["answers"].values():
            assert html.escape(answer["sentence"], quote=False) in page


def test_links_lead_to_the_pages_and_nothing_escapes(runs):
    build_index(runs)
    page = (runs / "index.html").read_text()
    assert 'href="a%26b/report/index.html"' in page
    assert 'href="b%20first/report/index.html"' in page
    assert (runs / "a&b" / "report" / "index.html").exists()
    assert "<img" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_the_command_prints_the_verdicts(runs, capsys):
    assert main(["report", str(runs)]) == 0
    printed = capsys.readouterr().out
    assert "2 questions" in printed
    assert "BETTER" in printed
    assert all(len(line) <= 80 for line in printed.splitlines() if "index.html" not in line)


def test_a_broken_study_does_not_hide_the_others(runs, tmp_path, capsys):
    folder = shutil.copytree(runs, tmp_path / "runs")
    path = folder / "a&b" / "study.json"
    path.write_text("{")
    assert main(["report", str(folder)]) == 2
    printed = capsys.readouterr()
    assert "1 question" in printed.out
    assert printed.err.startswith(f"bakein: a&b left out: {path}: not JSON")
    assert printed.err.count("\n") == 1
    page = (folder / "index.html").read_text()
    assert "Q10." in page
    assert "a&amp;b is not here." in page


def test_a_folder_without_studies_is_told(tmp_path, capsys):
    with pytest.raises(RecordError, match=r"no study\.json"):
        build_index(tmp_path)
    assert main(["report", str(tmp_path)]) == 2
    assert "no study.json" in capsys.readouterr().err
