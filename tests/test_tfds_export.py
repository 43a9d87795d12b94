"""Documents to ArrayRecord by TFDS, and back."""

import pickle
import shutil
import socket
import subprocess
import sys

import pytest
import tensorflow_datasets as tfds

from bakein.data.errors import DataError
from bakein.data.tfds_export import read, rows, write
from bakein.data.worlds.facts import Facts
from bakein.data.worlds.registers import Registers
from bakein.data.worlds.world import Document

WORLD = Registers(slots=3, digits=3, templates=2, test_share=0.05)
PROBLEMS = [WORLD.train(0)[i] for i in range(40)]


@pytest.fixture(scope="module", autouse=True)
def no_network():
    def refuse(*args):
        raise AssertionError(f"network: {args}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        yield


def write_registers(folder):
    splits = {
        "train": rows(WORLD, PROBLEMS, WORLD.forms),
        "test": rows(WORLD, WORLD.test(9, 0), ("direct",)),
    }
    return write(folder, "registers", splits)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_registers(tmp_path_factory.mktemp("tfds"))


def test_rows_hold_what_is_known_of_a_document():
    first = next(rows(WORLD, PROBLEMS, ("direct",)))
    assert first == {
        "prompt": PROBLEMS[0].prompt,
        "completion": f"!{PROBLEMS[0].answer}",
        "answer": PROBLEMS[0].answer,
        "level": PROBLEMS[0].level,
        "form": "direct",
    }


def test_documents_come_back_in_their_order(written):
    expected = [WORLD.document(p, form, p.steps) for p in PROBLEMS for form in WORLD.forms]
    documents = read(written, "train")
    assert len(documents) == len(expected) == 120
    assert list(documents) == expected
    assert documents[77] == expected[77]
    assert list(read(written, "test")) == [
        WORLD.document(p, "direct", p.steps) for p in WORLD.test(9, 0)
    ]


def test_any_text_comes_back(tmp_path):
    texts = ["é 日本 \x00\n", "", "⟨pad⟩"]
    some = [
        {"prompt": text, "completion": text, "answer": "", "level": 1, "form": "text"}
        for text in texts
    ]
    documents = read(write(tmp_path, "texts", {"train": some}), "train")
    assert list(documents) == [Document(text, text) for text in texts]


def test_an_index_outside_is_an_index_error(written):
    documents = read(written, "test")
    for outside in (9, -1):
        with pytest.raises(IndexError):
            documents[outside]


def test_the_same_rows_give_the_same_files(written, tmp_path):
    again = write_registers(tmp_path)
    assert {path.name: path.read_bytes() for path in again.iterdir()} == {
        path.name: path.read_bytes() for path in written.iterdir()
    }


def test_two_worlds_in_one_folder(written):
    world = Facts(entities=5, seed=0)
    path = write(written.parents[1], "facts", {"train": rows(world, world.train(0), world.forms)})
    assert len(read(path, "train")) == 5
    assert len(read(written, "train")) == 120


def test_documents_travel_to_worker_processes(written):
    documents = read(written, "train")
    assert pickle.loads(pickle.dumps(documents))[3] == documents[3]


def test_what_is_there_is_not_written_over(written):
    with pytest.raises(DataError, match="exists"):
        write_registers(written.parents[1])


def test_an_empty_split_writes_nothing(tmp_path):
    with pytest.raises(DataError, match="no rows for the split 'train'"):
        write(tmp_path, "empty", {"train": iter(())})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "Facts", "../facts", "a b", "a/b"])
def test_names_that_are_refused(tmp_path, name):
    with pytest.raises(DataError, match="data set name"):
        write(tmp_path, name, {})


def test_an_unknown_split_is_told_with_the_known_ones(written):
    with pytest.raises(DataError, match="no split 'dev'; test, train are allowed"):
        read(written, "dev")


def test_a_folder_that_is_no_data_set(tmp_path):
    with pytest.raises(DataError, match=r"no dataset_info\.json"):
        read(tmp_path / "absent", "train")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("dataset_info.json", b"{"),
        ("features.json", b"{"),
        ("features.json", None),
        ("registers-train.array_record-00000-of-00001", b"cut"),
        ("registers-train.array_record-00000-of-00001", None),
    ],
)
def test_a_damaged_data_set_is_told_in_one_line(tmp_path, file, content):
    path = write_registers(tmp_path)
    (path / file).unlink()
    if content is not None:
        (path / file).write_bytes(content)
    with pytest.raises(DataError, match="cannot be read") as caught:
        read(path, "train")
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_neither_jax_nor_tensorflow_is_imported():
    code = (
        "import sys, bakein.data.tfds_export as t; t.tfds.core.GeneratorBasedBuilder;"
        "print({'jax', 'tensorflow'} & set(sys.modules))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert out.stdout == "set()\n"


def test_every_field_comes_back(written):
    source = tfds.builder_from_directory(written).as_data_source(split="test")
    problem = WORLD.test(9, 0)[8]
    assert source[8] == {
        "prompt": problem.prompt.encode(),
        "completion": f"!{problem.answer}".encode(),
        "answer": problem.answer.encode(),
        "level": 3,
        "form": b"direct",
    }


def test_a_data_set_of_something_else(written, tmp_path):
    path = shutil.copytree(written, tmp_path / "other")
    for file in path.iterdir():
        file.write_bytes(file.read_bytes().replace(b"completion", b"complexion"))
    with pytest.raises(DataError, match="no field 'completion'"):
        read(path, "train")
