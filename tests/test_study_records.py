"""Records, events and files: what is cut back on resuming, what an interrupted run says."""

import concurrent.futures
import json
import shutil

import pytest
from tiny_study import FILE, differences, nodes, outcome

from bakein.cli import main
from bakein.study.errors import WorkdirError
from bakein.study.files import read_json, write_json, write_text
from bakein.study.records import Records


@pytest.fixture
def records(tmp_path):
    return Records(tmp_path / "records.jsonl", tmp_path / "board")


def lines(tmp_path):
    return [json.loads(line) for line in (tmp_path / "records.jsonl").read_text().splitlines()]


def test_records_are_cut_back_to_a_step_and_go_on(records, tmp_path):
    for step in range(5):
        records.append([{"step": step, "loss": 1 / (step + 3)}])
    text = (tmp_path / "records.jsonl").read_bytes()
    with (tmp_path / "records.jsonl").open("ab") as file:
        file.write(b'{"step": 5, "lo')  # as a kill leaves it
    records.close()
    (tmp_path / "board" / "events.of.an.earlier.session").touch()
    again = Records(tmp_path / "records.jsonl", tmp_path / "board")
    again.keep_until(2)
    assert [r["step"] for r in lines(tmp_path)] == [0, 1, 2]
    again.append([{"step": 3, "loss": 1 / 6}, {"step": 4, "loss": 1 / 7}])
    assert (tmp_path / "records.jsonl").read_bytes() == text
    again.close()
    assert len(list((tmp_path / "board").iterdir())) == 1


def test_nothing_to_keep_is_no_error(records, tmp_path):
    records.keep_until(10)
    records.append([])
    assert list(tmp_path.iterdir()) == []


def test_a_number_that_is_none_is_refused(records):
    with pytest.raises(ValueError, match="not JSON compliant"):
        records.append([{"step": 1, "loss": float("nan")}])


def test_files_are_replaced_whole(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "full")))
        with pytest.raises(OSError, match="full"):
            write_text(path, "x" * 10)
    assert read_json(path) == {"a": 1}
    write_json(path, {"a": 2})
    assert read_json(path) == {"a": 2}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "a.json").write_bytes(b"\xff")
    with pytest.raises(WorkdirError, match=r"a\.json is damaged"):
        read_json(tmp_path / "a.json")


def test_what_an_interrupted_copy_left_is_not_gone_on_from(
    finished_run, tmp_path, one_device, capsys
):
    """stage.json is copied last: here the records were not yet copied whole."""
    workdir = tmp_path / "run"
    shutil.copytree(finished_run, workdir)
    stage = nodes(workdir)["standard", "sft", 0]
    (stage / "stage.json").unlink()
    lines = (stage / "records.jsonl").read_text().splitlines(keepends=True)
    (stage / "records.jsonl").write_text("".join(lines[:1]))
    assert main(["run", FILE, "--workdir", str(workdir)]) == 0
    assert capsys.readouterr().out.startswith("1 of 24 stages to run")
    assert differences(outcome(workdir), outcome(finished_run)) == []


def test_an_interrupted_run_says_so_and_goes_on_later(
    finished_run, tmp_path, one_device, monkeypatch, capsys
):
    workdir = tmp_path / "run"
    shutil.copytree(finished_run, workdir)
    shutil.rmtree(nodes(workdir)["standard", "sft", 0])

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(concurrent.futures, "wait", interrupt)
        assert main(["run", FILE, "--workdir", str(workdir)]) == 130
    assert capsys.readouterr().err.splitlines() == [
        "bakein: interrupted; waiting for the running stages to stop",
        "bakein: interrupted; the same command goes on from here",
    ]
    assert main(["run", FILE, "--workdir", str(workdir)]) == 0
    assert capsys.readouterr().out.startswith("1 of 24 stages to run")
    assert differences(outcome(workdir), outcome(finished_run)) == []
