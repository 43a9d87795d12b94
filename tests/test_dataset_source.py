"""`bakein data` writes a source with TFDS; `base.dataset` trains on it as on the source itself."""

import contextlib
import io
import json
import re

import numpy as np
import pytest
from tiny_study import FILE

from bakein.cli import main
from bakein.data import tfds_export
from bakein.data.pipeline import make_batches, read_ledger
from bakein.data.sources import Source
from bakein.study.config import resolve
from bakein.study.experiment import load_experiment
from bakein.study.materials import Materials, mixture, packing

WINDOWS = 400  # of the text below
# What each of the two studies changes in the tiny one: one reads the text, the other the data set.
STUDY = """
import tiny_study
from bakein.study import base

def get_config(arg=None):
    config = tiny_study.get_config()
    config.seeds = 1
    config.tokenizer = base.tokenizer(kind="bpe", vocabulary=300, sources=("direct",), documents=64)
    config.sources.book = {source}
    config.stages.pretrain.data = base.data(background={{"book": 1.0}}, share={{"traces": 0.0}})
    config.stages.pretrain.fill = 0.5
    del config.stages.sft, config.stages.rl
    config.arms = base.arm()
    config.arms.mixed = base.arm({{"pretrain.data.share.traces": 0.3}})
    config.questions = base.arm()
    config.contrasts = base.arm()
    return config
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two experiment files: `text.py` and `dataset.py`, which reads what `bakein data` wrote."""
    path = tmp_path_factory.mktemp("dataset")
    lines = [f"{i} squared is {i * i} – “surely”.\n" for i in range(200)]
    (path / "book.txt").write_text("".join(lines))
    text = f"base.text(({str(path / 'book.txt')!r},), window=24)"
    (path / "text.py").write_text(STUDY.format(source=text))
    arguments = ["--source", "book", "--documents", "100000", "--out", str(path / "out")]
    output = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output[0]), contextlib.redirect_stderr(output[1]):
        assert main(["data", str(path / "text.py"), *arguments]) == 0
    assert output[0].getvalue().startswith(f"{WINDOWS} documents written; read them with ")
    assert output[1].getvalue() == ""
    dataset = f"base.dataset({str(path / 'out' / 'book' / '1.0.0')!r})"
    (path / "dataset.py").write_text(STUDY.format(source=dataset))
    return path


def study_and_materials(file, *overrides):
    study = resolve(load_experiment(str(file), overrides))
    return study, Materials(study)


def batches_of(config, sources):
    shape = packing("pretrain", config)
    blend = mixture(config)
    batches = make_batches(sources, blend, shape, range(shape.shards), 0)
    return list(batches), read_ledger([batches.get_state()], sources)


def test_the_batches_are_those_of_the_source_in_memory(folder):
    made = []
    for name in ("text", "dataset"):
        study, materials = study_and_materials(folder / f"{name}.py")
        config = study.arms["mixed"]["pretrain"]
        made.append(batches_of(config, materials.sources("pretrain", config, 0)))
    (memory, memory_ledger), (disk, disk_ledger) = made
    assert len(memory) == len(disk) > 3
    for ours, theirs in zip(memory, disk, strict=True):
        assert ours.keys() == theirs.keys()
        for key in ours:
            np.testing.assert_array_equal(ours[key], theirs[key])
    assert memory_ledger == disk_ledger
    assert disk_ledger["book"]["tokens"] > 1000


def test_the_batches_of_a_world_are_those_of_its_documents(folder, capsys):
    out = folder / "world"
    arguments = ["--source", "traces", "--documents", "60", "--out", str(out)]
    assert main(["data", FILE, *arguments]) == 0
    path = re.search(r"60 documents written; .*base\.dataset\('(.*)'\)", capsys.readouterr().out)[1]
    disk = tfds_export.read(path, "train")
    study, materials = study_and_materials(FILE)
    world = study.worlds["registers"]
    problems = world.train(study.seed)
    memory = [world.document(problems[i], "trace", problems[i].steps) for i in range(60)]
    assert list(disk) == memory
    config = study.arms["baked_in"]["pretrain"]
    others = materials.sources("pretrain", config, 0)
    made = [
        batches_of(config, {**others, "traces": Source(documents, materials.tokenizer, False, 7)})
        for documents in (memory, disk)
    ]
    for ours, theirs in zip(made[0][0], made[1][0], strict=True):
        for key in ours:
            np.testing.assert_array_equal(ours[key], theirs[key])
    assert made[0][1] == made[1][1]
    assert made[0][1]["traces"]["epochs"] > 0


def test_the_training_is_the_same_to_the_bit(folder, one_device):
    trained = []
    for name in ("text", "dataset"):
        assert main(["run", str(folder / f"{name}.py"), "--workdir", str(folder / name)]) == 0
        for path in (folder / name).glob("stages/*/stage.json"):
            info = json.loads(path.read_text())
            if info["kind"] == "supervised":
                trained.append(((path.parent / "records.jsonl").read_text(), info["ledger"]))
    assert len(trained) == 2
    assert trained[0] == trained[1]
    assert trained[0][1]["book"]["tokens"] > trained[0][1]["traces"]["tokens"] > 0


def test_a_data_set_that_is_not_there_is_told(folder, capsys, tmp_path):
    source = f"base.dataset({str(tmp_path / 'no')!r})"
    (tmp_path / "lost.py").write_text(STUDY.format(source=source))
    assert main(["run", str(tmp_path / "lost.py"), "--workdir", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert re.search(r"config\.sources\.book: .*not a data set; no dataset_info\.json", said)


def test_a_data_set_is_not_written_again(folder, capsys, tmp_path):
    arguments = ["--source", "book", "--documents", "5", "--out", str(tmp_path)]
    assert main(["data", str(folder / "dataset.py"), *arguments]) == 2
    assert "--source book: is a data set already" in capsys.readouterr().err
    arguments = ["--source", "book", "--documents", "5", "--out", str(folder / "out")]
    assert main(["data", str(folder / "text.py"), *arguments]) == 2
    assert "exists; remove it to write it anew" in capsys.readouterr().err


def test_rows_that_cannot_be_filled_are_told_in_one_line(folder, capsys, tmp_path, one_device):
    arguments = ["--workdir", str(tmp_path), "--config.stages.pretrain.fill=0.99"]
    assert main(["run", str(folder / "dataset.py"), *arguments]) == 2
    said = capsys.readouterr().err
    assert re.fullmatch(r"bakein: fill: 0\.99 of the positions .*\[stage: mixed .*\]\n", said)
