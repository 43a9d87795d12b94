"""Checkpoints: checksums, resuming at a boundary, damage of every kind, a disk that is full."""

import errno
import json
import re
import shutil
import subprocess
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from google.api_core.exceptions import ServiceUnavailable
from hypothesis import given, settings
from hypothesis import strategies as st
from orbax.checkpoint import v1 as ocp
from pipeline_fakes import batches_of
from tiny_study import FILE, differences, evaluation, last_params, nodes, outcome, stage_info

from bakein.cli import main
from bakein.mesh import batch_sharding, make_mesh
from bakein.train.checkpoints import Checkpoints, NoUsableCheckpoint, checksum
from bakein.train.state import TrainState, abstract_of

# --- checksums


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2), st.integers(0, 14), st.integers(0, 31))
def test_the_checksum_sees_every_flipped_bit(leaf, index, bit):
    tree = [jnp.arange(15.0).reshape(3, 5), jnp.arange(15, dtype=jnp.int32), jnp.ones((5, 3))]
    changed = np.array(tree[leaf])
    changed.reshape(-1).view(np.uint32)[index] ^= np.uint32(1 << bit)
    other = [jnp.array(changed) if i == leaf else x for i, x in enumerate(tree)]
    assert checksum(other) != checksum(tree)


def test_the_checksum_sees_exchanged_elements_and_leaves():
    a, b = jnp.arange(6.0), jnp.arange(6.0)[::-1]
    assert checksum([a]) != checksum([b])
    assert checksum([a, b]) != checksum([b, a])


def test_the_checksum_is_a_sum_over_bits_that_numpy_can_do():
    tree = {"a": jnp.array([[1.5, -2.0], [0.0, 3.0]]), "b": jnp.array([True, False])}
    bits = [np.asarray(tree["a"]).reshape(-1).view(np.uint32), np.array([1, 0], np.uint32)]
    sums = [int(np.sum(x.astype(object) * (2 * np.arange(x.size) + 1))) for x in bits]
    assert checksum(tree) == (sums[0] + 3 * sums[1]) % 2**32


def test_the_checksum_is_the_same_on_every_mesh():
    array = jax.random.normal(jax.random.key(0), (16, 6)).astype(jnp.bfloat16)
    spread = jax.device_put(array, batch_sharding(make_mesh(data=4, fsdp=2, tensor=1)))
    assert len(spread.sharding.device_set) == 8
    assert checksum([spread]) == checksum([array])


# --- one directory of checkpoints


def state_of(value):
    params = {"kernel": jnp.full((8, 4), float(value)), "scale": jnp.full((4,), value + 0.5)}
    return TrainState(jnp.int32(value), params, {"mu": jnp.full((8, 4), value - 0.5)})


@pytest.fixture
def written(tmp_path):
    """Checkpoints of steps 1, 2 and 3 with the position in a pipeline; what was warned of."""
    said = []
    checkpoints = Checkpoints(tmp_path / "checkpoints", threading.Lock(), said.append, False)
    data = batches_of()
    for step in (1, 2, 3):
        next(data)
        checkpoints.save(step, state_of(step), data, step + 0.5)
    return checkpoints, said


def abstract():
    state = state_of(0)
    return abstract_of(state, jax.tree.map(lambda x: x.sharding, state))


def damage(folder, kind):
    """Spoils one checkpoint."""
    if kind == "empty":
        shutil.rmtree(folder)
        folder.mkdir()
    elif kind == "position":  # still JSON, and another number
        path = folder / "meta" / "data.json"
        path.write_text(re.sub(r'("?step"?: ?)(\d)', r"\g<1>1\2", path.read_text(), count=1))
    else:
        files = [p for p in (folder / "params").rglob("d/*") if p.is_file()]
        files = [folder / "meta" / "data.json"] if kind == "checksums" else files
        for path in files:
            raw = bytearray(path.read_bytes())
            if kind == "truncated":
                raw = raw[: len(raw) // 2]
            else:
                for i in range(len(raw) // 3, 2 * len(raw) // 3):
                    raw[i] ^= 0x10
            path.write_bytes(raw)
        assert files


DAMAGE = ("flipped", "truncated", "empty", "position", "checksums")


def test_only_the_newest_two_are_kept_and_the_newest_comes_back(written):
    checkpoints, said = written
    assert checkpoints.steps() == [2, 3]
    data = batches_of(prefetch=2)
    step, state, useful = checkpoints.restore(abstract(), data)
    assert (step, useful, said) == (3, 3.5, [])
    jax.tree.map(np.testing.assert_array_equal, state, state_of(3))
    straight = batches_of()
    expected = [next(straight) for _ in range(4)][-1]
    np.testing.assert_array_equal(next(data)["tokens"], expected["tokens"])


def test_nothing_is_restored_where_nothing_was_saved(tmp_path):
    checkpoints = Checkpoints(tmp_path / "none", threading.Lock(), pytest.fail, False)
    assert checkpoints.restore(abstract(), None) is None
    assert checkpoints.steps() == []


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_newest_checkpoint_is_passed_over_and_said(written, kind):
    checkpoints, said = written
    damage(checkpoints.path / "3", kind)
    data = batches_of()
    step, state, useful = checkpoints.restore(abstract(), data)
    assert (step, useful) == (2, 2.5)
    jax.tree.map(np.testing.assert_array_equal, state, state_of(2))
    assert data.get_state()["step"] == 2
    assert len(said) == 1
    assert re.search(r"checkpoint .*/3 is damaged, passing over it: ", said[0])
    assert "\n" not in said[0]
    checkpoints.save(3, state_of(3), data, 3.5)  # the run comes by here again
    assert checkpoints.restore(abstract(), data)[0] == 3
    assert len(said) == 1


def test_no_checkpoint_that_can_be_read_is_an_error_and_nothing_is_deleted(written):
    checkpoints, said = written
    for step in ("2", "3"):
        damage(checkpoints.path / step, "flipped")
    with pytest.raises(NoUsableCheckpoint, match="delete its stage folder to run the stage again"):
        checkpoints.restore(abstract(), batches_of())
    assert checkpoints.steps() == [2, 3]
    assert len(said) == 2


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EMFILE, "Too many open files"),
        PermissionError(errno.EACCES, "Permission denied"),
        OSError("Forbidden: gs://bucket/x"),  # gcsfs has no numbers
        ServiceUnavailable("backendError"),
        ValueError("UNAVAILABLE: Error reading gs://bucket/x"),  # tensorstore's
        ValueError("Error opening x: [os_error_code='24' os_error_text='Too many open files']"),
        MemoryError(),
        jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Error allocating device buffer"),
    ],
    ids=lambda error: f"{type(error).__name__} {error}"[:40],
)
def test_what_cannot_be_read_now_is_no_damage(written, monkeypatch, error):
    checkpoints, said = written

    def fail(*_):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(ocp.training.Checkpointer, "load_checkpointables", fail)
        for read in (
            lambda: checkpoints.restore(abstract(), batches_of()),
            lambda: checkpoints.load_params(3, abstract().params),
        ):
            with pytest.raises(type(error)) as raised:
                read()
            assert raised.value is error
    assert said == []
    assert checkpoints.restore(abstract(), batches_of())[0] == 3


def test_what_a_killed_process_was_writing_is_cleared(written):
    checkpoints, said = written
    shutil.copytree(checkpoints.path / "3", checkpoints.path / "4.orbax-checkpoint-tmp")
    assert checkpoints.restore(abstract(), batches_of())[0] == 3
    assert sorted(p.name for p in checkpoints.path.iterdir()) == ["2", "3"]
    assert said == []


def test_parameters_of_one_step_or_none(written):
    checkpoints, said = written
    params = checkpoints.load_params(2, abstract().params)
    jax.tree.map(np.testing.assert_array_equal, params, state_of(2).params)
    damage(checkpoints.path / "3", "flipped")
    assert checkpoints.load_params(3, abstract().params) is None
    assert len(said) == 1


def test_a_checkpoint_of_one_mesh_is_read_on_another(written):
    checkpoints, _ = written
    rows = batch_sharding(make_mesh(data=8, fsdp=1, tensor=1))
    shapes = {"kernel": state_of(0).params["kernel"]}
    spread = abstract_of(shapes, {"kernel": rows}) | {
        "scale": abstract().params["scale"],
    }
    params = checkpoints.load_params(3, spread)
    assert params["kernel"].sharding == rows
    np.testing.assert_array_equal(params["kernel"], state_of(3).params["kernel"])


# --- in a run


@pytest.fixture
def workdir(finished_run, tmp_path, one_device):
    path = tmp_path / "run"
    shutil.copytree(finished_run, path)
    return path


def reopen(folder):
    """As a kill leaves a stage that had one thing left to do: to say that it was finished."""
    (folder / "stage.json").write_text(json.dumps({**stage_info(folder), "status": "running"}))


def test_damage_in_a_run_changes_nothing_but_what_is_said(workdir, finished_run, capsys):
    places = nodes(workdir)
    damaged = {
        places["standard", "sft", 0]: "flipped",
        places["baked_in", "sft", 0]: "truncated",
        places["standard", "sft", 1]: "empty",
        places["baked_in", "sft", 1]: "position",
    }
    for folder, kind in damaged.items():
        newest = max(int(p.name) for p in (folder / "checkpoints").iterdir() if p.name.isdigit())
        damage(folder / "checkpoints" / str(newest), kind)
    for place in (("standard", "sft", 0), ("baked_in", "sft", 0), ("baked_in", "sft", 1)):
        reopen(places[place])
    # This one is finished: that it is damaged is seen by the child that starts from it.
    shutil.rmtree(evaluation(workdir, places["standard", "sft", 1]))
    capsys.readouterr()
    assert main(["run", FILE, "--workdir", str(workdir)]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("4 of 24 stages to run")
    lines = printed.err.splitlines()
    assert len([line for line in lines if "is damaged, passing over it" in line]) == len(lines)
    for folder in damaged:
        assert any(folder.name in line for line in lines)
    assert differences(outcome(workdir), outcome(finished_run)) == []


def test_a_stage_whose_checkpoints_are_all_damaged_stops_the_run(workdir, capsys):
    folder = nodes(workdir)["standard", "rl", 0]
    reopen(folder)
    for path in (folder / "checkpoints").iterdir():
        if path.name.isdigit():
            damage(path, "truncated")
    assert main(["run", FILE, "--workdir", str(workdir)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert "no checkpoint under" in lines[-1]
    assert "delete its stage folder" in lines[-1]
    assert "[stage: standard rl 0 (" in lines[-1]
    assert stage_info(folder)["status"] == "failed"
    assert stage_info(nodes(workdir)["baked_in", "rl", 0])["status"] == "finished"


@pytest.mark.parametrize("stage", ["pretrain", "rl"])
def test_stop_and_resume_at_every_checkpoint_is_a_straight_run(workdir, finished_run, stage):
    """The stage is cut back to its last checkpoint but one, as if killed after it."""
    folder = nodes(workdir)["baked_in", stage, 0]
    saved = sorted(int(p.name) for p in (folder / "checkpoints").iterdir() if p.name.isdigit())
    assert len(saved) == 2
    shutil.rmtree(folder / "checkpoints" / str(saved[-1]))
    reopen(folder)
    assert main(["run", FILE, "--workdir", str(workdir)]) == 0
    left, right = last_params(folder), last_params(finished_run / "stages" / folder.name)
    assert left.keys() == right.keys()
    assert differences(outcome(workdir), outcome(finished_run)) == []


@pytest.fixture
def small_disk(tmp_path):
    """Mounts a disk of a given size; skips where that is not allowed."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = []

    def mount(kilobytes):
        options = f"size={kilobytes}k" + (",remount" if mounted else "")
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
        try:
            done = subprocess.run(command, capture_output=True)
        except FileNotFoundError:
            done = None
        if done is None or done.returncode:
            pytest.skip("mounting a small disk takes a privileged user")
        mounted.append(kilobytes)
        return disk

    yield mount
    if mounted:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_one_line_and_loses_nothing(finished_run, small_disk, one_device, capsys):
    disk = small_disk(100_000)
    workdir = disk / "run"
    shutil.copytree(finished_run, workdir)
    folder = nodes(workdir)["standard", "sft", 0]
    shutil.rmtree(folder)
    blocks = subprocess.run(["df", "-k", "--output=used", disk], capture_output=True, text=True)
    small_disk(int(blocks.stdout.split()[-1]) + 60)  # room for the records, and no checkpoint
    assert main(["run", FILE, "--workdir", str(workdir)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert re.match(r"bakein: .*No space left on device.*\[stage: standard sft 0 \(", lines[0])
    assert stage_info(nodes(workdir)["baked_in", "sft", 0])["status"] == "finished"
    small_disk(100_000)
    assert main(["run", FILE, "--workdir", str(workdir)]) == 0
    assert differences(outcome(workdir), outcome(finished_run)) == []


def test_a_full_disk_under_the_records_is_one_line(workdir, monkeypatch, capsys):
    shutil.rmtree(nodes(workdir)["standard", "sft", 0])

    def full(self, records):
        raise OSError(28, "No space left on device", str(self._path))

    monkeypatch.setattr("bakein.study.records.Records.append", full)
    assert main(["run", FILE, "--workdir", str(workdir)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(r"bakein: .*records\.jsonl: No space left on device \[stage: ", line)
