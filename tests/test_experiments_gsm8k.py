"""experiments/gsm8k.py: byte-level BPE, real text and GSM8K through the command line."""

import json
import os
import re
from pathlib import Path

import jax
import pytest

from bakein import mesh as mesh_lib
from bakein.cli import main
from bakein.data.tokenizers import load_tokenizer
from bakein.data.worlds.gsm8k import GSM8K
from bakein.model import Decoder
from bakein.study.config import resolve
from bakein.study.experiment import load_experiment
from bakein.study.materials import Materials
from bakein.train.optimizer import make_optimizer, make_schedule
from bakein.train.state import init_params, new_state, state_shardings
from bakein.train.step import make_train_step

ROOT = Path(__file__).parents[1]
FILE = ROOT / "experiments" / "gsm8k.py"
DATA = Path(os.environ.get("BAKEIN_TEST_DATA", ROOT.parent / "shared" / "data"))
ARMS = ("standard", "baked_in")
needs_data = pytest.mark.skipif(
    not (DATA / "gsm8k").is_dir() or not (DATA / "wikitext2").is_dir(),
    reason=f"no gsm8k and wikitext2 in {DATA}; set BAKEIN_TEST_DATA",
)


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def shipped_world():
    return GSM8K(str(DATA / "gsm8k" / "train.jsonl"), str(DATA / "gsm8k" / "test.jsonl"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The work directory of the smoke scale, on one device."""
    workdir = tmp_path_factory.mktemp("gsm8k") / "run"
    with pytest.MonkeyPatch.context() as patch:
        devices = jax.devices()
        patch.setattr(jax, "devices", lambda *_: devices[:1])
        assert main(["run", f"{FILE}:smoke,data={DATA}", "--workdir", str(workdir)]) == 0
    return workdir


@pytest.fixture(scope="module")
def stages(run):
    """(kind, stage, arm, seed) -> (stage.json, folder); an evaluation has its stage's name."""
    study = json.loads((run / "study.json").read_text())
    infos = {}
    for path in run.glob("stages/*/stage.json"):
        info = json.loads(path.read_text())
        infos[info["id"]] = info, path.parent
    found = {}
    for node in study["nodes"]:
        place = node["stage"], node["arm"], node["seed"]
        found[node["kind"], *place] = infos[node["id"]]
        found["eval", *place] = infos[study["evals"][node["id"]]]
    return found


@needs_data
def test_every_stage_of_every_arm_and_seed_is_trained_and_evaluated(run, stages):
    results = json.loads((run / "report" / "results.json").read_text())
    assert len(results["nodes"]) == 2 * 3 * 2
    assert results["missing"] == []
    assert {info["status"] for info, _ in stages.values()} == {"finished"}
    assert results["answers"].keys() == {"Q1", "Q2", "Q3"}


@needs_data
def test_a_fifth_of_the_tokens_are_traces_and_the_totals_are_equal(stages):
    for seed in (0, 1):
        tokens = {
            arm: {
                name: counts["tokens"]
                for name, counts in stages["supervised", "pretrain", arm, seed][0]["ledger"].items()
            }
            for arm in ARMS
        }
        assert tokens["standard"] == {"text": 16_000, "traces": 0}
        assert sum(tokens["baked_in"].values()) == 16_000
        assert tokens["baked_in"]["traces"] == pytest.approx(3_200, abs=384)  # one document


@needs_data
def test_how_poor_the_models_are_is_said_with_an_interval_that_has_a_width(run):
    results = json.loads((run / "report" / "results.json").read_text())
    accuracies = [row for row in results["summary"] if row["metric"] == "accuracy"]
    assert len(accuracies) == 6
    for row in accuracies:
        assert row["mean"] < 0.1
        assert row["ci"][1] - row["ci"][0] > 0.02
    for answer in results["answers"].values():
        assert answer["verdict"] == "underpowered"
        assert answer["mde"] > 0.02


@needs_data
def test_what_the_models_wrote_was_judged_as_gsm8k_defines_it(stages):
    world = shipped_world()
    held_out = {problem.prompt: problem for problem in world.test(1319, 0)}
    assert held_out.keys().isdisjoint(problem.prompt for problem in world.train(0))
    samples = [
        sample
        for (kind, *_), (_, folder) in stages.items()
        if kind == "eval"
        for sample in read_lines(folder / "samples.jsonl")
    ]
    assert len(samples) > 50
    for sample in samples:
        problem = held_out[sample["prompt"]]
        check = world.check(problem, sample["completion"])
        assert sample["answer"] == problem.answer
        assert (sample["right"], sample["format"], tuple(sample["steps"])) == (
            check.right,
            check.format,
            check.steps,
        )


@needs_data
def test_all_arms_seeds_and_stages_are_asked_the_same_problems(stages):
    asked = {
        tuple((r["problem"], r["level"], r["n"]) for r in read_lines(folder / "records.jsonl"))
        for (kind, *_), (_, folder) in stages.items()
        if kind == "eval"
    }
    assert len(asked) == 1
    assert [(problem, n) for problem, _, n in asked.pop()] == [(i, 4) for i in range(12)]


@needs_data
def test_the_tokenizer_is_saved_and_spells_every_problem(run):
    tokenizer = load_tokenizer(run)
    assert tokenizer.vocab_size == 2048
    for problem in shipped_world().test(200, 0):
        assert tokenizer.decode(tokenizer.encode(problem.prompt)) == problem.prompt
        assert 2 * len(tokenizer.encode(problem.prompt)) < len(problem.prompt)


@needs_data
def test_what_a_model_of_bytes_writes_is_shown_harmless(run):
    page = (run / "report" / "index.html").read_text()
    body = page[page.index("<body") :]
    assert "Question: " in body
    assert not re.search(r"<script|[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e]", body)


@needs_data
def test_a_second_run_has_nothing_to_do(run, capsys, one_device):
    assert main(["run", f"{FILE}:smoke,data={DATA}", "--workdir", str(run)]) == 0
    assert "nothing to run: all 24 stages" in capsys.readouterr().out


# --- all scales -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scale", "devices", "parameters"),
    [("tiny", 1, 0.22e6), ("small", 1, 27e6), ("paper", 8, 110e6)],
)
def test_a_scale_is_a_study_whose_train_step_can_be_lowered(scale, devices, parameters):
    study = resolve(load_experiment(f"{FILE}:{scale},data=nowhere", []))
    mesh = mesh_lib.make_mesh(
        study.mesh.data, study.mesh.fsdp, study.mesh.tensor, devices=jax.devices()[:devices]
    )
    config = study.arms["baked_in"]["pretrain"]
    decoder = Decoder(study.model_config(study.tokenizer.vocabulary), mesh_lib.batch_sharding(mesh))
    tx, schedule = make_optimizer(config.optimizer, 100), make_schedule(config.optimizer, 100)
    state = jax.eval_shape(
        lambda key: new_state(init_params(decoder, key), tx=tx), jax.random.key(0)
    )
    count = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    assert count == pytest.approx(parameters, rel=0.05)
    ids = jax.ShapeDtypeStruct((config.batch, config.length), "int32")
    batch = dict.fromkeys(("tokens", "targets", "segments", "positions"), ids)
    batch["mask"] = jax.ShapeDtypeStruct(ids.shape, "float32")
    step = jax.jit(
        make_train_step(decoder, tx, schedule, config.accumulation, config.z_loss),
        in_shardings=(state_shardings(decoder, tx, mesh), mesh_lib.batch_sharding(mesh)),
    )
    after, metrics = step.lower(state, batch).out_info
    assert metrics["loss"].shape == ()
    assert jax.tree.structure(after) == jax.tree.structure(state)


def test_an_unknown_scale_is_told(capsys):
    assert main(["run", f"{FILE}:tinny", "--dry-run"]) == 2
    assert "no 'tinny'; did you mean 'tiny'?" in capsys.readouterr().err


# --- files ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def text():
    return "".join(f"Line {i} says ½ of {i * i} – or “nothing”.\n\n" for i in range(300))


@pytest.fixture
def folder(tmp_path, text):
    """A small data folder of the study's layout."""
    (tmp_path / "wikitext2").mkdir()
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "wikitext2" / "valid.txt").write_text(text)
    for split, first in (("train", 0), ("test", 100)):
        rows = [
            {
                "question": f"What is {n} + {n}?",
                "answer": f"It is <<{n}+{n}={2 * n}>>{2 * n}.\n#### {2 * n}",
            }
            for n in range(first, first + 40)
        ]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / "gsm8k" / f"{split}.jsonl").write_text(lines)
    return tmp_path


def plan(folder, *overrides):
    return main(["run", f"{FILE}:smoke,data={folder}", "--dry-run", *overrides])


def windows(folder, *overrides):
    """The documents of the study's text, and its tokenizer."""
    study = resolve(load_experiment(f"{FILE}:smoke,data={folder}", overrides))
    materials = Materials(study)
    source = materials.sources("pretrain", study.arms["standard"]["pretrain"], 0)["text"]
    return [document.completion for document in source.documents], materials.tokenizer


def test_text_is_the_same_from_a_plain_file_and_from_json_lines(folder, text):
    plain, _ = windows(folder)
    half = len(text) // 2
    rows = [{"text": text[:half], "id": 1}, {"text": text[half:], "id": 2}]
    (folder / "two.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    (folder / "one.jsonl").write_text(json.dumps({"text": text}, ensure_ascii=False))
    one, two = (
        windows(
            folder,
            f"--config.sources.text.paths=('{folder}/{name}.jsonl',)",
            "--config.sources.text.field=text",
        )[0]
        for name in ("one", "two")
    )
    assert len(plain) > 3
    assert "".join(plain) == text
    assert one == plain
    assert "".join(two) == text
    assert two != plain  # no window spans two rows


def test_windows_fit_the_rows_of_the_batch(folder):
    found, tokenizer = windows(folder, "--config.sources.text.window=64")
    lengths = [len(tokenizer.encode(window)) + 1 for window in found]
    assert max(lengths) <= 64
    assert sorted(lengths)[1] >= 60


def test_a_folder_of_the_layout_is_all_it_needs(folder, capsys):
    assert plan(folder) == 0
    assert "24 of 24 stages" in capsys.readouterr().out


HOSTILE = {
    "no text": ("wikitext2/valid.txt", None, r"valid\.txt: cannot be read: No such file"),
    "empty text": ("wikitext2/valid.txt", b"\n \n", r"valid\.txt: empty"),
    "Latin-1 text": ("wikitext2/valid.txt", b"na\xefve\n", r"valid\.txt:1: not UTF-8: byte 0xef"),
    "no problems": ("gsm8k/train.jsonl", None, r"train\.jsonl: cannot be read: No such file"),
    "no held-out problems": ("gsm8k/test.jsonl", None, r"test\.jsonl: cannot be read"),
    "broken JSON": ("gsm8k/train.jsonl", b'{"question": "q"\n', r"train\.jsonl:1: not JSON"),
    "no answer": ("gsm8k/test.jsonl", b'{"question": "q"}\n', r"test\.jsonl:1: no field 'answer'"),
    "an answer in words": (
        "gsm8k/train.jsonl",
        b'{"question": "q", "answer": "two"}\n',
        r"train\.jsonl:1: no '#### number'",
    ),
    "half a surrogate": (
        "gsm8k/test.jsonl",
        b'{"question": "\\ud800", "answer": "#### 1"}\n',
        r"test\.jsonl:1: .*surrogate",
    ),
    "held-out problems that were trained on": (
        "gsm8k/test.jsonl",
        b'{"question": "What is 3 + 3?", "answer": "#### 6"}\n',
        r"evaluation\.problems: .*12 test problems; 1 to 0",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_file_that_cannot_be_used_is_told_in_one_line(case, folder, capsys):
    name, content, says = HOSTILE[case]
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    assert plan(folder) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert re.search(says, printed), printed


def test_one_long_prompt_among_many_is_found_before_training(folder, capsys):
    path = folder / "gsm8k" / "train.jsonl"
    long = {"question": "How many? " * 400, "answer": "#### 3"}
    short = [{"question": f"{i}?", "answer": f"#### {i}"} for i in range(2000)]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*short, long]))
    assert plan(folder) == 2
    said = capsys.readouterr().err
    assert re.search(r"config\.stages\.rl\.prompt_length: prompt \d+ .* must be at most 384", said)


def test_text_in_json_lines_without_the_field_is_told_with_its_line(folder, capsys):
    (folder / "rows.jsonl").write_text('{"text": "a"}\n{"body": "b"}\n')
    overrides = (
        f"--config.sources.text.paths=('{folder}/rows.jsonl',)",
        "--config.sources.text.field=text",
    )
    assert plan(folder, *overrides) == 2
    assert "rows.jsonl:2: no field 'text', only ['body']" in capsys.readouterr().err
