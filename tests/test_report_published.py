"""Published gaps stand beside ours: copied into the record, shown with what cannot be compared."""

import json

import pytest
from test_analysis_published import front_loading, write  # noqa: F401  (a fixture)
from test_report_synthetic import write_study

from bakein.analysis import published
from bakein.report.build import build_report
from bakein.report.records import read_study
from bakein.report.results import assemble


@pytest.fixture
def workdir(tmp_path):
    """A study whose record holds the gaps of made-up tables."""
    info = write_study(tmp_path, problems=48, n=64)
    info["published"] = published.record(published.read(write(tmp_path)))
    (tmp_path / "study.json").write_text(json.dumps(info))
    return tmp_path


def test_the_record_holds_both_groups_of_stages(tmp_path):
    record = published.record(published.read(write(tmp_path)))
    assert json.loads(json.dumps(record)) == record
    assert (record["treated"], record["control"]) == ("LMQ", "base")
    everywhere, after = record["groups"]
    assert everywhere["benchmarks"] == ["B"]
    assert [gap["stage"] for gap in everywhere["gaps"]] == ["pretrain", "sft", "rl"]
    assert [gap["points"] for gap in everywhere["gaps"]] == [10, 20, 10]
    assert after["benchmarks"] == ["B", "C"]
    assert [gap["points"] for gap in after["gaps"]] == [50, 35]


def test_the_record_of_the_paper(front_loading):  # noqa: F811
    everywhere, after = published.record(front_loading)["groups"]
    assert len(everywhere["benchmarks"]) == 4
    sft, rl = after["gaps"]
    assert (sft["points"], rl["points"]) == pytest.approx((20.79, 18.75), abs=0.006)
    assert (sft["logits"], rl["logits"]) == pytest.approx((1.25, 1.02), abs=0.006)


def test_ours_are_the_gaps_of_this_study(workdir):
    results = assemble(read_study(workdir))
    answer = results["answers"]["Q2"]
    mean = {
        (row["arm"], row["stage"]): row["mean"]
        for row in results["summary"]
        if row["metric"] == "accuracy"
    }
    for point, stage in zip(answer["published"]["ours"], answer["stages"], strict=True):
        gap = mean["baked_in", point["stage"]] - mean["standard", point["stage"]]
        assert point["points"] == pytest.approx(100 * gap)
        assert point["points_ci"][0] < point["points"] < point["points_ci"][1]
        assert (point["logits"], point["logits_ci"]) == (stage["delta"], stage["ci"])


def test_the_page_shows_them_beside_each_other_with_the_caveats(workdir):
    build_report(workdir)
    page = (workdir / "report" / "index.html").read_text()
    assert "Published, 8B, beside this study" in page
    assert "+35.00" in page
    assert "published, 2 benchmarks" in page
    assert "someone" in page
    for caveat in published.CAVEATS:
        assert caveat.split(";")[0] in page


def test_one_seed_has_gaps_without_intervals(tmp_path):
    info = write_study(tmp_path, seeds=1)
    info["published"] = published.record(published.read(write(tmp_path)))
    (tmp_path / "study.json").write_text(json.dumps(info))
    build_report(tmp_path)
    assert "Published, 8B, beside this study" in (tmp_path / "report" / "index.html").read_text()


def test_a_study_without_tables_shows_none(tmp_path):
    write_study(tmp_path, seeds=2)
    build_report(tmp_path)
    assert "Published" not in (tmp_path / "report" / "index.html").read_text()


def test_what_is_not_accuracy_has_no_published_counterpart(workdir):
    info = json.loads((workdir / "study.json").read_text())
    info["questions"]["Q2"]["metric"] = "format"
    (workdir / "study.json").write_text(json.dumps(info))
    build_report(workdir)
    assert "Published" not in (workdir / "report" / "index.html").read_text()
