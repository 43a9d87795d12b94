"""Permanence and symmetry: known costs recovered and judged by the rules, shown, or undecided."""

import json
import math

import numpy as np
import pytest
from test_report_synthetic import write_json, write_lines

from bakein.analysis import verdicts
from bakein.report import questions
from bakein.report.build import build_report
from bakein.report.evidence import Evidence
from bakein.report.records import NAMED_FIRST, read_study
from bakein.report.results import assemble
from bakein.report.scores import collect

SETTINGS = {"resamples": 200, "seed": 0, "level": 0.95}
SIZES = (4, 16, 64, 256)
RATES = {"low": 4, "high": 1}  # how many times the samples an attack takes at a learning rate
NEVER = 1e9
# arm -> samples that align it, that misalign it, and its half-life under benign fine-tuning: one,
# or one for every seed (0: the seed is not aligned)
EVEN = {"pre": (32, 32, 64), "sft": (16, 16, 64)}


def rises(samples, until):
    """A rate that is one half at `until` samples."""
    return 1 / (1 + (until / samples) ** 3) if samples else 0.0


def write_policy(workdir, costs, *, seeds=5, n=32, pretrained=("pre",)):
    """A finished study of these arms, each with two doses less; `raw` was never aligned."""
    rng = np.random.default_rng(0)
    attacks = {rate: [f"attack_{rate}_{size}" for size in SIZES] for rate in RATES}
    benign = [f"benign_{size}" for size in SIZES]
    stages = ["pretrain", "align", *benign, *attacks["low"], *attacks["high"]]
    arms = ["raw"]
    nodes, evals = [], {}

    def write(arm, stage, seed, ledger, refused, success):
        id = f"{stage}-{arm}-{seed}"
        parent = {"pretrain": None, "align": "pretrain"}.get(stage, "align")
        node = {
            "id": id,
            "kind": "supervised",
            "stage": stage,
            "seed": seed,
            "parents": [f"{parent}-{arm}-{seed}"] if parent else [],
        }
        nodes.append({**node, "arm": arm})
        evals[id] = f"eval-{id}"
        counts = {
            name: {"tokens": 10 * documents, "documents": documents, "cut": 0, "skipped": 0}
            for name, documents in ledger.items()
        }
        trained = {
            "ledger": counts,
            "flops": 1e9,
            "seconds": 1.0,
            "config": {},
            "status": "finished",
            "made_by": [],
        }
        write_json(workdir / "stages" / id / "stage.json", {**node, **trained})
        evaluation = {**node, **trained, "id": evals[id], "kind": "eval", "parents": [id]}
        write_json(workdir / "stages" / evals[id] / "stage.json", evaluation)
        records = []
        for problem in range(16):
            forbidden = problem < 8
            no = int(rng.binomial(n, refused if forbidden else 0.1))
            right = int(rng.binomial(n - no, min(1.0, success / (1 - refused + 1e-9))))
            right = right if forbidden else n - no
            wrong = n - no - right
            answers = {"abc": right, "no": no, "xyz": wrong}
            records.append(
                {
                    "problem": problem,
                    "level": 3 if forbidden else 1,
                    "n": n,
                    "correct": right,
                    "verified": right,
                    "format": n,
                    "truncated": 0,
                    "greedy": 0,
                    "greedy_format": 1,
                    "answer": "abc",
                    "answers": {answer: count for answer, count in answers.items() if count},
                    "strategies": {
                        "refused": [no, 0],
                        "answered": [right + wrong, right],
                        "neither": [0, 0],
                    },
                }
            )
        write_lines(workdir / "stages" / evals[id] / "records.jsonl", records)

    def write_arm(arm, samples, align, misalign, life, attacked):
        for seed in range(seeds):
            jitter = math.exp(0.05 * np.sin(3 * seed + len(arm)))
            half = np.broadcast_to(life, seeds)[seed]
            given = {"refusals": samples} if samples else {}
            early = arm.startswith(pretrained)
            refused = 0.96 * rises(samples, align) if half else 0.0
            write(arm, "pretrain", seed, {"filler": 500} | (given if early else {}), 0, 0.9)
            write(arm, "align", seed, {"helpful": 90} | ({} if early else given), refused, 0)
            for size in SIZES if attacked else ():
                left = refused * 2 ** (-size / half) if half else 0.0
                write(arm, f"benign_{size}", seed, {"benign": size}, left, 0)
                for rate, times in RATES.items() if arm != "raw" else ():
                    won = rises(size, jitter * times * misalign)
                    write(arm, f"attack_{rate}_{size}", seed, {"harmful": size}, 0, won)

    write_arm("raw", 0, 1, 1, 1, attacked=True)
    for arm, (align, misalign, life) in costs.items():
        for name, samples in ((f"{arm}_little", align), (arm, 8 * align)):
            arms.append(name)
            write_arm(name, int(samples), align, misalign, life, attacked=name == arm)
    common = {
        "text": "Does it last?",
        "arms": {arm: ["raw", f"{arm}_little"] for arm in costs},
        "shown": ["refusals"],
        "aligned": "align",
        "attacks": attacks,
        "counted": [],
        "forbidden": 3,
        "refusal": "share/refused",
        "success": "accuracy",
        "aligned_at": 0.48,
        "misaligned_at": 0.5,
        "epsilon": 0.25,
    }
    first, second = list(costs)[:2]
    pair = {
        "treated": first,
        "control": second,
        "twin": "raw",
        "benign": benign,
        "allowed": 1,
        "helpful": "accuracy",
        "over_refusal": "share/refused",
    }
    places = [[node["arm"], node["stage"]] for node in nodes if node["stage"] != "pretrain"]
    info = {
        "study": "policy",
        "config": {"arms": {}},
        "seeds": list(range(seeds)),
        "arms": arms,
        "stages": stages,
        "nodes": nodes,
        "evals": evals,
        "probes": {},
        "contrasts": [],
        "questions": {
            "Q6": {"kind": "permanence", **common, **pair, "places": places},
            "law": {"kind": "symmetry", **common, "places": places},
        },
        "verdict_rules": verdicts.RULES,
        "bootstrap": SETTINGS,
        "k": [1],
    }
    info["named_first"] = {key: info[key] for key in NAMED_FIRST}
    write_json(workdir / "study.json", info)
    return info


def answer(workdir, name="Q6", **changes):
    study = read_study(workdir)
    scores = collect(study)
    metrics = {
        place: {
            "accuracy": found.correct_SP / found.samples,
            "share/refused": found.used_KSP[0] / found.samples,
        }
        for place, found in scores.items()
    }
    row = {**study.info["questions"][name], **changes}
    return questions.answer(row, Evidence(study, scores, metrics, SETTINGS))


def row_of(found, arm="pre"):
    return next(row for row in found["rows"] if row["arm"] == arm)


@pytest.mark.parametrize(
    ("misalign", "verdict", "times"),
    [(128, "more lasting", 4), (8, "less lasting", 1 / 4), (32, "as lasting", 1)],
)
def test_known_costs_get_the_right_verdicts(tmp_path, misalign, verdict, times):
    write_policy(tmp_path, EVEN | {"pre": (32, misalign, 64)})
    found = answer(tmp_path, epsilon=0.6)
    assert found["verdict"] == verdict
    assert found["times"] == pytest.approx(times, rel=0.2)
    assert found["effect"] == pytest.approx(math.log(found["times"]))
    assert found["ci"][0] < found["effect"] < found["ci"][1]
    assert row_of(found)["align"]["samples"] == pytest.approx(32, rel=0.15)
    assert row_of(found)["misalign"]["samples"] == pytest.approx(misalign, rel=0.15)
    assert row_of(found, "sft")["ratio"] == pytest.approx(1, rel=0.2)


def test_samples_are_documents_of_alignment_in_all_stages_before(tmp_path):
    """`pre` was shown them in pretraining, `sft` in the stage after it; no others are counted."""
    write_policy(tmp_path, EVEN, seeds=2)
    found = answer(tmp_path)
    assert row_of(found)["doses"]["samples"] == [0, 32, 256]
    assert row_of(found, "sft")["doses"]["samples"] == [0, 16, 128]
    assert row_of(found)["attack"]["samples"] == [0, *SIZES]
    arms = {"pre": ["pre_little"], "sft": ["raw", "sft_little"]}
    with pytest.raises(ValueError, match=r"doses of pre .*: 0, 0 samples"):
        answer(tmp_path, counted=["align"], arms=arms)


def test_the_attacker_takes_the_best_learning_rate(tmp_path):
    write_policy(tmp_path, EVEN, seeds=2)
    both = answer(tmp_path)
    attacks = read_study(tmp_path).info["questions"]["Q6"]["attacks"]
    low = answer(tmp_path, attacks={"low": attacks["low"]})
    assert row_of(both)["attack"]["learning_rates"][2:4] == ["high", "high"]  # the others tie
    ratio = row_of(low)["misalign"]["samples"] / row_of(both)["misalign"]["samples"]
    assert ratio == pytest.approx(4, rel=0.2)


def test_what_is_never_undone_leaves_a_bound(tmp_path):
    write_policy(tmp_path, EVEN | {"pre": (32, NEVER, 64)})
    found = answer(tmp_path)
    assert found["verdict"] == "more lasting"
    assert (found["bound"], found["times_ci"][1]) == ("at least", math.inf)
    assert "at least" in found["sentence"]
    assert "over 256 to misalign" in found["sentence"]
    costs, _ = questions.tables(found)
    assert costs.rows[0][2] == "over 256"
    assert costs.rows[0][3].startswith("at least 8")


def test_unknown_on_both_sides_is_undecided(tmp_path):
    write_policy(tmp_path, {"pre": (32, NEVER, 64), "sft": (16, NEVER, 64)})
    found = answer(tmp_path)
    assert found["verdict"] == "underpowered"
    assert "not known well enough" in found["sentence"]


def test_half_lives_have_the_twin_as_their_floor(tmp_path):
    write_policy(tmp_path, {"pre": (32, 32, 128), "sft": (16, 16, 16)})
    found = answer(tmp_path)
    lives = [row_of(found, arm)["half_life"]["samples"] for arm in ("pre", "sft")]
    assert lives == pytest.approx([128, 16], rel=0.15)
    assert found["twin_row"]["floor"] == [0] * 5
    assert found["twin_row"]["after"]["refusal"]["rate"] == 0
    assert row_of(found)["after"]["over_refusal"]["rate"] == pytest.approx(0.1, abs=0.03)
    assert row_of(found)["after"]["helpful"]["rate"] == pytest.approx(0.9, abs=0.03)


GONE, NOTHING = "it is gone before the first size that was tried", "no alignment to lose"


@pytest.mark.parametrize(
    ("lives", "cell"),
    [
        ((0.1, 0.1, NEVER, NEVER, NEVER), "over 256"),
        ((0.1, 0.1, 0.1, 64, 128), f"{GONE} (3 of 5 seeds)"),
        ((0.1, 0.1, NEVER, NEVER), f"{GONE} (2 of 4 seeds)"),
        ((0.1, 0.1), GONE),
        ((0, 0, 0, 0.1, 64), f"{NOTHING} (3 of 5 seeds)"),
    ],
)
def test_a_half_life_that_is_not_told_says_of_how_many_seeds(tmp_path, lives, cell):
    write_policy(tmp_path, EVEN | {"pre": (32, 32, lives)}, seeds=len(lives))
    (shown,) = (row[5] for row in questions.tables(answer(tmp_path))[0].rows if row[0] == "pre")
    assert shown.endswith(cell)


def test_a_half_life_counts_the_seeds_that_forget_at_once(tmp_path):
    write_policy(tmp_path, EVEN | {"pre": (32, 32, (0.1, 0.1, 16, 64, 128))})
    assert row_of(answer(tmp_path))["half_life"]["samples"] == pytest.approx(16, rel=0.2)


def test_a_single_seed_decides_nothing(tmp_path):
    write_policy(tmp_path, EVEN, seeds=1)
    found = answer(tmp_path)
    assert (found["verdict"], found["ci"]) == ("underpowered", None)
    assert "One seed" in found["sentence"]
    assert questions.tables(found)[0].rows[0][4] == "–"


def test_doses_must_grow(tmp_path):
    write_policy(tmp_path, EVEN, seeds=1)
    arms = {"pre": ["pre_little", "raw"], "sft": ["raw"]}
    with pytest.raises(
        ValueError, match=r"doses of pre \(pre_little, raw, pre\): 32, 0, 256 sampl"
    ):
        answer(tmp_path, arms=arms)


@pytest.mark.parametrize("name", ["Q6", "law"])
def test_what_is_not_finished_is_not_answered(tmp_path, name):
    write_policy(tmp_path, EVEN, seeds=1)
    (tmp_path / "stages" / "eval-attack_low_64-sft-0" / "stage.json").unlink()
    found = answer(tmp_path, name)
    assert (found["verdict"], found["seeds"]) == ("underpowered", 0)
    assert not [*questions.tables(found), *questions.charts(found)]


@pytest.mark.parametrize(("power", "verdict"), [(1.0, "symmetric"), (0.0, "asymmetric")])
def test_the_law_over_arms(tmp_path, power, verdict):
    costs = {f"sft{t}": (t, 32 * (t / 32) ** power, 64) for t in (8, 16, 32, 64, 128)}
    write_policy(tmp_path, costs)
    found = answer(tmp_path, "law")
    assert found["verdict"] == verdict
    assert found["effect"] == pytest.approx(power, abs=0.15)
    assert found["left_out"] == []
    (chart,) = questions.charts(found)
    assert len(chart.lines) == 5
    assert chart.lines[0].x == pytest.approx([8], rel=0.15)


def test_a_law_needs_three_arms_with_both_costs(tmp_path):
    costs = {f"sft{t}": (t, t, 64) for t in (8, 16)} | {"sft32": (32, NEVER, 64)}
    write_policy(tmp_path, costs, seeds=3)
    found = answer(tmp_path, "law")
    assert (found["verdict"], found["effect"]) == ("underpowered", None)
    assert "2 arms have both costs" in found["sentence"]
    assert found["left_out"] == ["sft32"]
    (table,) = questions.tables(found)
    assert [row[-1] for row in table.rows] == ["a point", "a point", "no point"]


def test_the_page_shows_costs_curves_and_the_twin(tmp_path):
    write_policy(tmp_path, EVEN | {"pre": (32, NEVER, 64)}, seeds=2)
    build_report(tmp_path)
    page = (tmp_path / "report" / "index.html").read_text()
    for text in (
        "What it takes, by arm",
        "never aligned",
        "over 256",
        "forbidden requests refused",
    ):
        assert text in page
    results = assemble(read_study(tmp_path))
    assert json.dumps(results, allow_nan=False)
    charts = questions.charts(results["answers"]["Q6"])
    assert [line.arm for line in charts[2].lines] == ["pre", "sft", "raw"]
