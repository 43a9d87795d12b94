"""Claims in a bucket: had by one, kept while their holder lives, taken over when it is dead."""

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from bakein.paths import NoAnswer, unanswered
from bakein.processes import PREEMPTED
from bakein.study import leases
from bakein.study.errors import WorkdirError
from bakein.study.workdir import Workdir

RUN = "gs://bucket/some/run"


@pytest.fixture(autouse=True)
def _faster(monkeypatch):
    for name, seconds in {"_BEAT": 0.1, "_PATIENCE": 1.5, "_LOST": 1.0, "_POLL": 0.02}.items():
        monkeypatch.setattr(leases, name, seconds)


@pytest.fixture
def one(bucket):
    """What a process has of the bucket."""
    return Workdir(RUN)._claims


@pytest.fixture
def other(bucket):
    """And what another one has."""
    return Workdir(RUN)._claims


def claims(bucket):
    return [name.removeprefix("some/run/.claims/") for name in bucket.objects]


def leave_behind(bucket, claims, key):
    """What a process leaves that was killed while it held a claim."""
    with claims.claim(key, wait=False):
        left = dict(bucket.objects)
    bucket.objects.update(left)


def test_a_claim_is_had_by_one(bucket, one, other):
    with (
        one.claim("a", wait=False) as first,
        other.claim("a", wait=False) as second,
        one.claim("a", wait=False) as again,  # another thread of the same process
        other.claim("b", wait=False) as free,
    ):
        assert (first, second, again, free) == (True, False, False, True)
        assert claims(bucket) == ["stages/a", "stages/b"]
    assert claims(bucket) == []
    with other.claim("a", wait=False) as now:
        assert now


def test_of_many_that_want_a_claim_at_once_one_has_it(bucket):
    start, end = threading.Barrier(16), threading.Barrier(16)

    def want(_):
        start.wait()
        with Workdir(RUN)._claims.claim("a", wait=False) as had:
            end.wait()
            return had

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(want, range(16))) == 1


def test_who_waits_has_it_as_soon_as_it_is_free(bucket, one, other):
    held = contextlib.ExitStack()
    held.enter_context(one.claim("a", wait=False))
    threading.Timer(0.3, held.close).start()
    begun = time.monotonic()
    with other.claim("a", wait=True) as had:
        assert had
        assert 0.2 < time.monotonic() - begun < 1.4


def test_a_claim_whose_holder_lives_is_never_taken_over(bucket, one, other):
    with one.claim("a", wait=False):
        end = time.monotonic() + 2 * leases._PATIENCE
        while time.monotonic() < end:
            with other.claim("a", wait=False) as had:
                assert not had
            time.sleep(0.05)


def test_the_claim_of_a_dead_process_is_taken_over(bucket, one, other):
    leave_behind(bucket, one, "a")
    begun = time.monotonic()
    with other.claim("a", wait=True) as had:
        assert had
        assert time.monotonic() - begun > leases._PATIENCE
        with one.claim("a", wait=False) as second:
            assert not second


def test_how_much_is_done_is_told_at_the_next_beat(bucket, one, other):
    assert other.told("a") == 0.0
    with one.claim("a", wait=False):
        one.tell("a", 0.25)
        deadline = time.monotonic() + 5
        while other.told("a") != 0.25:
            assert time.monotonic() < deadline


def test_an_answer_that_is_lost_does_not_lose_the_claim(bucket, one, other, monkeypatch, capsys):
    """The write is done; asked again, the bucket says that it is not as the writer has seen it."""
    for name in ("_PATIENCE", "_LOST"):  # the client waits some time before it asks again
        monkeypatch.setattr(leases, name, 30.0)
    bucket.lost_answers = 1
    with one.claim("a", wait=False) as had:
        assert had
        bucket.lost_answers = 1
        asked = len(bucket.asked)
        deadline = time.monotonic() + 30
        while bucket.lost_answers or len(bucket.asked) < asked + 5:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with other.claim("a", wait=False) as second:
            assert not second
    assert claims(bucket) == []
    assert capsys.readouterr().err == ""


LIFE = """
import sys, time
from bakein.study import leases
from bakein.study.workdir import Workdir
leases._BEAT, leases._LOST, leases._ANSWER = 0.1, 1.0, 0.5
with Workdir(sys.argv[1])._claims.claim("a", wait=False) as had:
    print(had, flush=True)
    time.sleep(60)
    print("still here", flush=True)
"""


@contextlib.contextmanager
def living():
    """A process that holds a claim."""
    words = [sys.executable, "-c", LIFE, RUN]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True) as life:
        assert life.stdout.readline() == "True\n"
        yield life


def lose(how):
    """What a process says, and how it ends, that loses its claim."""
    with living() as life:
        how()
        out, err = life.communicate(timeout=30)
    assert (out, life.returncode) == ("", PREEMPTED)
    return [line for line in err.splitlines() if line.startswith("bakein: ")]


def test_who_loses_a_claim_ends_at_once(bucket, one):
    def take_over():
        ours = json.dumps({"holder": "another", "share": 0.0, "seconds": 0.0})
        bucket.put("some/run/.claims/stages/a", ours.encode(), {})

    (line,) = lose(take_over)
    assert line == (
        "bakein: claim of stages/a lost, the same command goes on: another process has taken it "
        "over"
    )


def test_a_claim_of_no_known_form_is_lost(bucket):
    (line,) = lose(lambda: bucket.put("some/run/.claims/stages/a", b"[]", {}))
    assert "claim of stages/a lost, the same command goes on: AttributeError(" in line


def test_who_stood_still_asks_before_it_gives_up(bucket):
    with living() as life:
        life.send_signal(signal.SIGSTOP)
        time.sleep(2 * leases._LOST)
        asked = len(bucket.asked)
        life.send_signal(signal.SIGCONT)
        deadline = time.monotonic() + 30
        while len(bucket.asked) < asked + 5:  # it lives on
            assert life.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        life.kill()


def test_an_answer_that_was_long_on_its_way_makes_no_claim_older(bucket, one, monkeypatch):
    """Others have counted from the writing: it is renewed before anything is done with it."""
    monkeypatch.setattr(leases, "_PATIENCE", 10.0)
    slow = iter([0.3])
    bucket.on_write = lambda _: time.sleep(next(slow, 0.0))
    with one.claim("a", wait=False) as had:
        assert had
        written = [asked for asked in bucket.asked if asked.startswith("POST")]
        assert len(written) >= 2


def test_who_hears_nothing_ends_before_another_takes_over(bucket, one):
    def fall_silent():
        bucket.down = True

    begun = time.monotonic()
    (line,) = lose(fall_silent)
    assert time.monotonic() - begun > leases._LOST
    assert line == ("bakein: claim of stages/a lost, the same command goes on: no answer, for 1 s")


def test_one_at_work_holds_the_study_against_others(bucket, one, other, capsys):
    written = []
    with one.join(lambda: True, lambda: written.append("one")):
        assert written == ["one"]
        with other.join(lambda: True, lambda: written.append("other")):
            pass
        with other.join(lambda: False, lambda: written.append("nothing new")):
            pass
    assert written == ["one"]
    assert claims(bucket) == []
    assert "gs://bucket/some/run holds another version of the study; l" in capsys.readouterr().err
    with other.join(lambda: True, lambda: written.append("now")):
        assert written == ["one", "now"]


def test_the_dead_do_not_hold_the_study(bucket, one, other):
    with one.join(lambda: True, lambda: None):
        left = dict(bucket.objects)
    bucket.objects.update(left)
    written = []
    with other.join(lambda: True, lambda: written.append("other")):
        assert written == ["other"]
        assert len(claims(bucket)) == 1


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        ({"denied": "POST"}, r"PERMISSION_DENIED: does not have storage\.objects access"),
        ({"denied": "GET"}, r"PERMISSION_DENIED: does not have storage\.objects access"),
    ],
)
def test_a_bucket_that_cannot_be_used_is_one_line(bucket, one, spoil, says):
    for name, value in spoil.items():
        setattr(bucket, name, value)
    line = rf"^work directory {RUN}: {says}$"
    with pytest.raises(WorkdirError, match=line), one.claim("a", wait=False):
        pass


def test_a_bucket_that_does_not_answer_is_one_line(bucket, one):
    bucket.down = True
    for ask in (lambda: one.claim("a", wait=False).__enter__(), one.prepare):
        with pytest.raises(NoAnswer, match=rf"^{RUN}: no answer for 1\.5 s$") as raised:
            ask()
        assert unanswered(raised.value)


def test_what_orbax_will_ask_is_asked_first(bucket, one):
    one.prepare()
    bucket.layout_denied = True
    line = rf"^work directory {RUN}: does not have storage\.buckets\.get access$"
    with pytest.raises(WorkdirError, match=line):
        one.prepare()


def test_nobody_known_is_one_line(bucket, one, monkeypatch, tmp_path):
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(WorkdirError, match=rf"^work directory {RUN}: File .*none\.json was not f"):
        one.prepare()


def test_no_such_bucket_is_one_line(bucket):
    claims = Workdir("gs://nobodys/run")._claims
    line = r"gs://nobodys/run: NOT_FOUND: The specified bucket does not exist\.$"
    with pytest.raises(WorkdirError, match=line), claims.claim("a", wait=False):
        pass
