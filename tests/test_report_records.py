"""Reading a work directory: whole, half finished, torn and broken."""

import json

import pytest
from test_report_synthetic import write_study

from bakein.report.records import read_study


@pytest.fixture
def workdir(tmp_path):
    write_study(tmp_path, seeds=1, problems=4)
    return tmp_path


def edit_json(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_reads_every_node_and_evaluation(workdir):
    study = read_study(workdir)
    assert len(study.nodes) == 3 * 4
    assert {study.status(node.id) for node in study.nodes} == {"finished"}
    evaluation = study.evaluation("rl-baked_in-0")
    assert sum("problem" in record for record in evaluation.records) == 4
    assert study.torn == 0


def test_a_half_finished_study_says_what_each_node_lacks(workdir):
    stages = workdir / "stages"
    (stages / "rl-baked_in-0" / "stage.json").unlink()
    edit_json(stages / "sft-baked_in-0" / "stage.json", status="running")
    edit_json(stages / "eval-pretrain-baked_in-0" / "stage.json", status="running")
    study = read_study(workdir)
    assert study.status("rl-baked_in-0") == "not started"
    assert study.status("sft-baked_in-0") == "running"
    assert study.status("pretrain-baked_in-0") == "not evaluated"
    assert study.status("rl-standard-0") == "finished"


def test_a_torn_last_line_of_a_running_stage_is_skipped_and_counted(workdir):
    folder = workdir / "stages" / "rl-baked_in-0"
    edit_json(folder / "stage.json", status="running")
    whole = len(read_study(workdir).stages["rl-baked_in-0"].records)
    with (folder / "records.jsonl").open("a") as file:
        file.write('{"step": 31, "rew')
    study = read_study(workdir)
    assert len(study.stages["rl-baked_in-0"].records) == whole
    assert study.torn == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"step": 3, "rew\n', "not JSON"),
        (b"\xff\xfe\n", "not JSON"),
        (b"[1]\n", "must be a JSON object"),
        (b'{"loss": 1.0}\n', "'step' is missing"),
        (b'{"step": -1}\n', "at least 0"),
        (b'{"step": true}\n', "must be a number"),
        (b'{"step": 5, "heldout": 1.5, "samples": 1}\n', "between 0 and 1"),
        (b'{"step": 5, "heldout": NaN, "samples": 1}\n', "between 0 and 1"),
        (b'{"step": 5, "heldout": 0.5, "samples": 1}\n', "'solved' is missing"),
        (b'{"step": 5, "heldout": 0.5, "solved": 0.5}\n', "list of shares"),
        (b'{"step": 5, "heldout": 0.5, "solved": [1, 1.5]}\n', "between 0 and 1"),
    ],
)
def test_a_broken_training_record_names_file_and_line(workdir, line, message):
    folder = workdir / "stages" / "rl-baked_in-0"
    edit_json(folder / "stage.json", status="running")
    path = folder / "records.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], line, *lines[2:]]))
    with pytest.raises(ValueError, match=message) as caught:
        read_study(workdir)
    assert f"{path}:3:" in str(caught.value)


def test_a_torn_line_of_a_finished_stage_is_an_error(workdir):
    path = workdir / "stages" / "rl-baked_in-0" / "records.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ValueError, match=r"records\.jsonl:\d+: not JSON"):
        read_study(workdir)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"correct": 99}, "'correct' must be between 0 and 16"),
        ({"n": 0}, "'n' must be at least 1"),
        ({"greedy": 2}, "'greedy' must be between 0 and 1"),
        ({"answers": {"a": "x"}}, "'answers' must map each answer to its count"),
        ({"truncated": None}, "'truncated' must be a number"),
    ],
)
def test_a_broken_evaluation_record_names_file_and_line(workdir, change, message):
    path = workdir / "stages" / "eval-rl-baked_in-0" / "records.jsonl"
    first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([json.dumps({**json.loads(first), **change}), *rest]) + "\n")
    with pytest.raises(ValueError, match=message) as caught:
        read_study(workdir)
    assert f"{path}:1:" in str(caught.value)


@pytest.mark.parametrize("change", [{"completion": 7}, {"steps": "all"}])
def test_a_broken_sample_names_file_and_line(workdir, change):
    path = workdir / "stages" / "eval-rl-baked_in-0" / "samples.jsonl"
    lines = path.read_text().splitlines()
    lines[1] = json.dumps({**json.loads(lines[1]), **change})
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=r"samples\.jsonl:2: key"):
        read_study(workdir)


def test_a_line_separator_inside_a_completion_does_not_split_the_line(workdir):
    path = workdir / "stages" / "eval-rl-baked_in-0" / "samples.jsonl"
    first, *rest = path.read_text().splitlines()
    record = {**json.loads(first), "completion": "a\u2028b\x85c\x0cd"}
    path.write_text("\n".join([json.dumps(record, ensure_ascii=False), *rest]) + "\n")
    sample = read_study(workdir).stages["eval-rl-baked_in-0"].samples[0]
    assert sample["completion"] == "a\u2028b\x85c\x0cd"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"study": "x"}'])
def test_a_broken_study_file_is_named(tmp_path, text):
    (tmp_path / "study.json").write_text(text)
    with pytest.raises(ValueError, match=r"study\.json: "):
        read_study(tmp_path)


def test_a_folder_without_a_study_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_study(tmp_path)
