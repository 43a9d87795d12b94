"""A work directory in a bucket: what a run leaves there is what it leaves in a folder."""

import contextlib
import json
import multiprocessing
import os
import random
import re
import signal
import sys
import threading
import time
from typing import NamedTuple

import pytest
from tiny_study import FILE, differences, outcome

from bakein import paths
from bakein.cli import COMMANDS, main
from bakein.paths import copy_tree, in_bucket, path_of, remove_tree, write_text
from bakein.processes import PREEMPTED
from bakein.study import leases, records
from bakein.study.records import Records

RUN = "gs://bucket/runs/tiny"
ONE_ARM = f"{FILE}:one arm"
ONE_DEVICE = os.environ["XLA_FLAGS"].replace("device_count=8", "device_count=1")


def fetched(folder, url=RUN):
    """A local copy of a work directory."""
    copy_tree(path_of(url), folder)
    return folder


def test_a_run_in_a_bucket_is_that_in_a_folder(bucket, finished_run, tmp_path, one_device, capsys):
    assert main(["run", FILE, "--workdir", RUN]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"24 of 24 stages to run in {RUN}\n")
    assert printed.out.endswith(f"Report: {RUN}/report/index.html\n")
    assert "WARNING" not in printed.err
    assert differences(outcome(fetched(tmp_path / "run")), outcome(finished_run)) == []
    here, there = tmp_path / "run", finished_run
    study = [json.loads((folder / "study.json").read_text()) for folder in (here, there)]
    assert study[0] == study[1]
    for name in ("tokenizer.json", "report/index.html"):
        texts = [(folder / name).read_text() for folder in (here, there)]
        assert len({re.sub(r"\d+(\.\d+)? s\b|tiny|run", "", text) for text in texts}) <= 2
        assert abs(len(texts[0]) - len(texts[1])) < 2000
    boards = [
        sorted(p.parent.name for p in folder.glob("tensorboard/*/events*"))
        for folder in (here, there)
    ]
    assert boards[0] == boards[1] != []
    assert not [name for name in bucket.objects if ".claims" in name]

    # Nothing is left to do; and another study takes over what it has in common.
    assert main(["run", FILE, "--workdir", RUN]) == 0
    assert capsys.readouterr().out.startswith(f"nothing to run: all 24 stages in {RUN} are done\n")
    other = "gs://bucket/runs/other"
    assert main(["run", FILE, "--workdir", other, "--reuse", RUN]) == 0
    assert capsys.readouterr().out.startswith(f"24 stages taken over from {RUN}\n")
    assert differences(outcome(fetched(tmp_path / "other", other)), outcome(here)) == []

    # The report is made of the records alone, of one study or of several.
    remove_tree(path_of(RUN) / "report")
    assert main(["report", RUN]) == 0
    assert f"{RUN[5:]}/report/index.html".removeprefix("bucket/") in bucket.objects
    assert main(["report", "gs://bucket/runs"]) == 0
    assert capsys.readouterr().out.endswith("Report: gs://bucket/runs/index.html\n")


def live(url, log, environment):
    """Runs the study, in a process of its own."""
    os.environ |= environment
    leases._BEAT, leases._PATIENCE, leases._LOST, leases._POLL = 0.3, 2.0, 1.5, 0.05
    records._SECONDS = 0.0  # every record is written
    with log.open("a") as output, contextlib.redirect_stdout(output):
        sys.stderr = output
        code = main(["run", ONE_ARM, "--workdir", url])
    os._exit(code)


class Lives:
    """Runs of the study, one after the other or side by side, each a process of its own."""

    def __init__(self, bucket, log):
        self.bucket, self.log = bucket, log
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["bakein.cli", "bakein.study.runner"])

    def start(self, url):
        # The server that forks may have been started for other tests: it keeps its environment.
        environment = dict(os.environ) | {"XLA_FLAGS": ONE_DEVICE}
        life = self.context.Process(target=live, args=(url, self.log, environment))
        life.start()
        return life

    def run(self, url, kill=0):
        """(exit code, writes) of a run that is killed at its `kill`-th write (0: never)."""
        count, lock = 0, threading.Lock()

        def on_write(_):
            nonlocal count
            with lock:
                count += 1
                if count == kill:
                    os.kill(life.pid, signal.SIGKILL)
                    time.sleep(0.1)  # it does not live to see the answer

        self.bucket.on_write = on_write
        life = self.start(url)
        life.join()
        self.bucket.on_write = lambda _: None
        return life.exitcode, count


@pytest.fixture
def lives(bucket, tmp_path):
    return Lives(bucket, tmp_path / "log")


class Straight(NamedTuple):
    """What a run leaves that nobody disturbed.

    Attributes:
        objects: in the bucket.
        writes: how many it took.
        outcome: see `tiny_study`.
    """

    objects: dict
    writes: int
    outcome: dict


@pytest.fixture(scope="module")
def straight(_stand_in, tmp_path_factory):
    _stand_in.reset()
    folder = tmp_path_factory.mktemp("straight")
    lives = Lives(_stand_in, folder / "log")
    code, writes = lives.run(RUN)
    assert code == 0, lives.log.read_text()
    return Straight(dict(_stand_in.objects), writes, outcome(fetched(folder / "run")))


def left(objects):
    """Names of what stages left, but for those that are drawn."""
    names = [name for name in objects if name.startswith("runs/tiny/stages/")]
    return {re.sub("[0-9a-f]{32}", "*", name) for name in names}


def test_runs_that_are_killed_end_as_the_uninterrupted_one(straight, bucket, lives, tmp_path):
    rng = random.Random(0)
    for kill in range(4):
        last = int(rng.uniform(0.02, 0.35) * straight.writes)
        code, _ = lives.run(RUN, last)
        assert code == -signal.SIGKILL, (kill, lives.log.read_text())
    assert lives.run(RUN)[0] == 0, lives.log.read_text()
    assert differences(outcome(fetched(tmp_path / "run")), straight.outcome) == []
    assert left(bucket.objects) == left(straight.objects)  # and nothing that was half written


def test_two_runs_share_a_bucket_and_one_is_killed(straight, bucket, lives, tmp_path):
    first = lives.start(RUN)
    begun = re.compile(r"runs/tiny/stages/\w+/records.jsonl")
    while not any(begun.match(name) for name in list(bucket.objects)):
        assert first.exitcode is None, lives.log.read_text()
        time.sleep(0.01)
    second = lives.start(RUN)
    os.kill(first.pid, signal.SIGKILL)
    second.join()
    assert second.exitcode == 0, lives.log.read_text()
    assert differences(outcome(fetched(tmp_path / "run")), straight.outcome) == []


def test_a_damaged_checkpoint_in_a_bucket_is_passed_over(straight, bucket, lives, tmp_path):
    bucket.objects.update(straight.objects)
    infos = [json.loads(o.data) for n, o in bucket.objects.items() if n.endswith("stage.json")]
    kinds = {(info["stage"], info["kind"]): info["id"] for info in infos}
    stage = kinds["pretrain", "supervised"]
    last = max(
        int(name.split("/")[5])
        for name in bucket.objects
        if name.startswith(f"runs/tiny/stages/{stage}/checkpoints/")
    )
    for name in list(bucket.objects):
        if f"{stage}/checkpoints/{last}/params/" in name and "/d/" in name:
            bucket.put(name, b"\0" * len(bucket.objects[name].data), {})
        if name.startswith("runs/tiny/stages/") and not name.startswith(
            f"runs/tiny/stages/{stage}/"
        ):
            del bucket.objects[name]
    assert lives.run(RUN)[0] == 0, lives.log.read_text()
    assert f"checkpoints/{last} is damaged, passing over it" in lives.log.read_text()
    assert differences(outcome(fetched(tmp_path / "run")), straight.outcome) == []


@pytest.mark.parametrize(
    ("workdir", "says"),
    [
        ("gs://nobodys/run", r"gs://nobodys/run: The specified bucket does not exist\.$"),
        ("gs://bucket", r"work directory gs://bucket: must be gs://BUCKET/PREFIX$"),
        ("gs://", r"gs://: must be a folder, or gs://BUCKET/PREFIX of letters, digits, spaces"),
        ("s3://bucket/run", r"s3://bucket/run: must be a folder, or gs://BUCKET/PREFIX of "),
        ("gs:/bucket/run", r"gs:/bucket/run: must be a folder, or gs://BUCKET/PREFIX of "),
        ("gs:///run", r"gs:///run: must be a folder, or gs://BUCKET/PREFIX of "),
        ("gs://Bucket/run", r"gs://Bucket/run: must be a folder, or gs://BUCKET/PREFIX of "),
        ("gs://bucket/a?b", r"gs://bucket/a\?b: must be a folder, or gs://BUCKET/PREFIX of "),
        ("gs://bucket/a#b", r"gs://bucket/a#b: must be a folder, or gs://BUCKET/PREFIX of "),
        ("gs://bucket/a[1]", r"gs://bucket/a\[1\]: must be a folder, or gs://BUCKET/PREFIX of "),
        ("gs://bucket/a/../b", r"a/\.\./b: must be a folder, or gs://BUCKET/PREFIX of letters"),
    ],
)
def test_a_place_that_is_none_is_one_line(bucket, capsys, workdir, says):
    assert main(["run", FILE, "--workdir", workdir]) == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("bakein: ")]
    assert re.search(says, line)


def test_a_run_whose_bucket_falls_silent_asks_for_the_same_command(
    straight, bucket, lives, tmp_path
):
    life = lives.start(RUN)
    while not any("/checkpoints/" in name for name in list(bucket.objects)):
        assert life.exitcode is None, lives.log.read_text()
        time.sleep(0.01)
    bucket.down = True
    life.join()
    assert life.exitcode == PREEMPTED, lives.log.read_text()
    assert "the same command goes on: " in lives.log.read_text().splitlines()[-1]
    bucket.down = False
    assert lives.run(RUN)[0] == 0, lives.log.read_text()
    assert differences(outcome(fetched(tmp_path / "run")), straight.outcome) == []


def test_a_bucket_that_is_silent_from_the_start_asks_for_the_same_command(
    bucket, monkeypatch, capsys
):
    monkeypatch.setattr(leases, "_PATIENCE", 1.0)
    bucket.down = True
    assert main(["run", FILE, "--workdir", RUN]) == PREEMPTED
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("bakein: ")]
    assert line == (
        f"bakein: the bucket does not answer, the same command goes on: {RUN}: no answer for 1 s"
    )


def its(module, name, **fields):
    """An error as a library raises it."""
    error = type(name, (OSError,), {"__module__": module})("no luck")
    for field, value in fields.items():
        setattr(error, field, value)
    return error


@pytest.mark.parametrize(
    ("error", "later"),
    [
        (its("gcsfs.retry", "HttpError", code=503), True),
        (its("gcsfs.retry", "HttpError", code="429"), True),
        (its("gcsfs.retry", "HttpError", code=404), False),
        (its("google.api_core.exceptions", "ServiceUnavailable", code=503), True),
        (its("google.api_core.exceptions", "Forbidden", code=403), False),
        (its("aiohttp.client_exceptions", "ClientConnectorError"), True),
        (its("requests.exceptions", "ConnectionError"), True),
        (ValueError("UNAVAILABLE: try again [http_response_code='503']"), True),
        (ValueError("PERMISSION_DENIED: not you"), False),
        (ValueError("anything else"), False),
        (OSError(28, "No space left on device"), False),
        (RuntimeError("a programmer's mistake"), False),
    ],
)
def test_a_bucket_that_may_answer_later_is_told_from_what_is_wrong(
    error, later, monkeypatch, capsys
):
    def fail(*_):
        raise error

    monkeypatch.setitem(COMMANDS, "report", fail)
    if later:
        assert main(["report", "x"]) == PREEMPTED
        said = capsys.readouterr().err
        assert said.startswith("bakein: the bucket does not answer, the same command goes on: ")
    elif isinstance(error, OSError):
        assert main(["report", "x"]) == 2
    else:
        with pytest.raises(type(error)):
            main(["report", "x"])


def test_an_object_may_be_written_once_a_second(bucket):
    bucket.limited = True
    path = path_of("gs://bucket/file")
    for text in ("first", "second"):
        write_text(path, text)
        assert path.read_text() == text


def test_a_bucket_that_may_not_be_read_is_one_line(bucket, capsys):
    bucket.denied = "GET"
    assert main(["run", FILE, "--workdir", RUN]) == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("bakein: ")]
    assert line == f"bakein: work directory {RUN}: does not have storage.objects access"


def test_another_study_in_a_bucket_is_refused(bucket, capsys):
    write_text(path_of(RUN) / "study.json", '{"study": "another"}')
    assert main(["run", FILE, "--workdir", RUN]) == 2
    assert "belongs to study 'another', not 'tiny'" in capsys.readouterr().err


def test_no_study_to_report_is_one_line(bucket, capsys):
    assert main(["report", RUN]) == 2
    err = capsys.readouterr().err
    assert err == f"bakein: {RUN}/study.json: No such file or directory\n"


def test_what_reads_buckets_is_an_extra(monkeypatch):
    monkeypatch.setattr(paths.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OSError, match=r"gcsfs is not installed; pip install -e '\.\[gcs\]'"):
        path_of(RUN)
    assert not in_bucket(path_of("here"))


def test_records_of_a_bucket_are_written_now_and_then_and_when_flushed(bucket):
    folder = path_of(RUN)
    records = Records(folder / "records.jsonl", folder / "board")
    for step in range(5):
        records.append([{"step": step, "loss": 0.5}])

    def lines():
        data = bucket.objects["runs/tiny/records.jsonl"].data
        return [json.loads(line)["step"] for line in data.splitlines()]

    assert lines() == [0]  # at once; the others wait for their time
    assert not [name for name in bucket.objects if "board" in name]
    records.flush()
    assert lines() == [0, 1, 2, 3, 4]
    (events,) = [name for name in bucket.objects if "board" in name]
    before = bucket.objects[events].data
    records.append([{"step": 5, "loss": 0.5}])
    records.close()
    assert lines() == [0, 1, 2, 3, 4, 5]
    assert bucket.objects[events].data.startswith(before)

    again = Records(folder / "records.jsonl", folder / "board")
    again.keep_until(2)
    assert lines() == [0, 1, 2]
    again.append([{"step": 3, "loss": 0.25}])
    again.close()
    assert lines() == [0, 1, 2, 3]
    assert len([name for name in bucket.objects if "board" in name]) == 1


def test_a_tree_is_copied_with_one_file_last(bucket, tmp_path):
    for name in ("a", "z/b", "z/c", "last"):
        write_text((path := path_of("gs://bucket/from") / name), name)
        assert path.read_text() == name
    bucket.put("from/", b"", {})  # as other tools leave them for a folder
    bucket.put("from/z/", b"", {})
    copy_tree(path_of("gs://bucket/from"), path_of("gs://bucket/to"), last="last")
    copied = [name for name in bucket.objects if name.startswith("to/")]
    assert sorted(copied) == ["to/a", "to/last", "to/z/b", "to/z/c"]
    assert copied[-1] == "to/last"
    remove_tree(path_of("gs://bucket/to"))
    remove_tree(path_of("gs://bucket/to"))
    assert not [name for name in bucket.objects if name.startswith("to/")]
