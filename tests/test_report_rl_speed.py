"""The speed of RL: known multipliers recovered, censored where a threshold is never reached."""

import json

import numpy as np
import pytest
from test_report_synthetic import write_json, write_lines, write_study

from bakein.report import questions
from bakein.report.build import build_report
from bakein.report.records import read_study
from bakein.report.results import assemble

ARMS = ("standard", "baked_in")
GRID = np.arange(0, 25) * 200
START, TOP, EXPONENT = 0.1, 0.9, 2.0


def asked(workdir, half, *, threshold=0.5, start=(START, START), **study):
    """A study whose RL curves rise half-way at `half` samples, of (standard, baked_in), by seed."""
    study = {"arms": ARMS, "problems": 4, "n": 4, "facts": 0, "seeds": 5} | study
    info = write_study(workdir, **study)
    rng = np.random.default_rng(2)
    for node in info["nodes"]:
        if node["stage"] != "rl":
            continue
        index = ARMS.index(node["arm"])
        given = np.broadcast_to(half[index], study["seeds"])[node["seed"]]
        middle = given * np.exp(rng.normal(0, 0.03))
        with np.errstate(divide="ignore"):
            rise = 1 / (1 + (middle / GRID) ** EXPONENT)
        reward = start[index] + (TOP - start[index]) * rise
        points = [
            {
                "step": step,
                "samples": int(samples),
                "sampled_tokens": int(samples) * (20 if node["arm"] == "baked_in" else 10),
                "flops": samples * 1e6,
                "heldout": value,
                "solved": [value] * 4,
            }
            for step, (samples, value) in enumerate(zip(GRID, reward.tolist(), strict=True))
        ]
        folder = workdir / "stages" / node["id"]
        write_lines(folder / "records.jsonl", points)
        stage = json.loads((folder / "stage.json").read_text())
        write_json(folder / "stage.json", stage | {"config": {"kl_coefficient": 0.04 * index}})
    info["questions"] = {
        "Q3b": {
            "kind": "rl_speed",
            "text": "Faster?",
            "treated": "baked_in",
            "control": "standard",
            "stage": "rl",
            "threshold": threshold,
            "epsilon": 0.25,
            "places": [("baked_in", "rl"), ("standard", "rl")],
        }
    }
    info["contrasts"] = []
    (workdir / "study.json").write_text(json.dumps(info))
    return workdir


def cells(answer):
    """All that the answer's tables say; its charts are made as well."""
    for chart in questions.charts(answer):
        assert all(len(line.x) == len(line.y) for line in chart.lines)
    return [cell for t in questions.tables(answer) for row in (t.head, *t.rows) for cell in row]


def answer_of(workdir):
    return assemble(read_study(workdir))["answers"]["Q3b"]


@pytest.mark.parametrize(
    ("half", "multiplier", "verdict"),
    [
        ((2000, 500), 4, "faster"),
        ((500, 2000), 0.25, "slower"),
        ((1000, 1000), 1, "as fast"),
        (((500, 2000, 900, 3000, 400), 1000), None, "underpowered"),
    ],
)
def test_known_multipliers_get_the_right_verdicts(tmp_path, half, multiplier, verdict):
    answer = answer_of(asked(tmp_path, half))
    assert (answer["verdict"], answer["bound"], answer["seeds"]) == (verdict, "exact", 5)
    low, high = answer["ci"]
    assert low < answer["effect"] < high
    if multiplier:
        assert answer["effect"] == pytest.approx(multiplier, rel=0.1)
    else:
        assert "it would take" in answer["sentence"] or "more seeds alone" in answer["sentence"]


@pytest.fixture(scope="module")
def faster(tmp_path_factory):
    return asked(tmp_path_factory.mktemp("faster"), (2000, 500))


def test_every_axis_of_compute_has_its_multiplier(faster):
    axes = {axis["axis"]: axis for axis in answer_of(faster)["axes"]}
    assert list(axes) == ["samples", "sampled_tokens", "flops", "token_equivalents"]
    ratio = {name: axis["multiplier"]["estimate"] for name, axis in axes.items()}
    assert ratio["flops"] == pytest.approx(ratio["samples"])
    assert ratio["sampled_tokens"] == pytest.approx(ratio["samples"] / 2)
    # The treated arm keeps a reference model: 5/3 for 4/3.
    assert ratio["token_equivalents"] == pytest.approx(ratio["sampled_tokens"] * 4 / 5)
    control = axes["token_equivalents"]["control"]["estimate"]
    assert control == pytest.approx(axes["samples"]["control"]["estimate"] * 10 * 4 / 3)


def test_the_fits_recover_the_curves(faster):
    fits = {fit["arm"]: fit for fit in answer_of(faster)["fits"]}
    for arm, half in (("baked_in", 500), ("standard", 2000)):
        fit = fits[arm]
        assert fit["reason"] == ""
        assert fit["asymptote"] == pytest.approx(TOP, abs=0.03)
        assert fit["exponent"] == pytest.approx(EXPONENT, rel=0.1)
        assert fit["midpoint"] == pytest.approx(half, rel=0.1)
        expected = fit["exponent"] * (fit["asymptote"] - fit["start"]) / 4
        assert fit["steepest_slope"] == pytest.approx(expected)
        assert len(fit["residuals"]) == len(GRID)
        assert np.abs(fit["residuals"]).max() < 0.01
        assert fit["area_ci"][0] < fit["area"] < fit["area_ci"][1]
    build_report(faster)
    page = (faster / "report" / "index.html").read_text()
    for text in ("Residuals: baked_in", "token-equivalents", "R(C) during rl", "Half-way, samples"):
        assert text in page


def test_a_control_that_never_gets_there_gives_a_lower_bound(tmp_path):
    workdir = asked(tmp_path, ((2000, 2000, 20000, 20000, 1500), 500))
    answer = answer_of(workdir)
    assert (answer["verdict"], answer["bound"]) == ("faster", "at least")
    assert answer["ci"][0] > 1
    assert answer["ci"][1] is None
    assert [seed["control_reached"] for seed in answer["by_seed"]] == [
        True,
        True,
        False,
        False,
        True,
    ]
    assert answer["by_seed"][2]["control"] == GRID[-1]
    assert answer["by_seed"][2]["bound"] == "at least"
    assert "at least" in answer["sentence"]
    assert "5 of 5 seeds, standard in 3" in answer["sentence"]
    said = cells(answer)
    assert "not in 4.8 k" in said
    assert any(cell.startswith("≥ ") for cell in said)
    assert any(cell.endswith("∞)") for cell in said)


def test_who_is_there_before_rl_took_at_most_the_first_step(tmp_path):
    workdir = asked(tmp_path, (2000, 500), start=(START, 0.6))
    answer = answer_of(workdir)
    assert (answer["verdict"], answer["bound"]) == ("faster", "at least")
    assert [seed["treated"] for seed in answer["by_seed"]] == [0.0] * 5
    assert "5 of 5 seeds (5 before RL began), standard in 5." in answer["sentence"]
    assert answer["effect"] == pytest.approx(2000 / GRID[1], rel=0.1)
    assert "∞" in cells(answer)  # a seed's own multiplier


def test_where_neither_gets_there_nothing_is_known(tmp_path):
    workdir = asked(tmp_path, (20000, 20000))
    answer = answer_of(workdir)
    assert (answer["verdict"], answer["bound"]) == ("underpowered", "undefined")
    assert answer["effect"] is None
    assert "0 of 5 seeds" in answer["sentence"]
    assert "neither side" in answer["sentence"]
    assert answer["fits"][0]["reason"] != ""
    assert "[0.00, ∞)" in cells(answer)


@pytest.mark.parametrize(
    ("half", "slow", "verdict"),
    [((6000, 500), "standard", "faster"), ((500, 6000), "baked_in", "slower")],
)
def test_without_a_threshold_it_is_the_lower_of_both_last_ones(tmp_path, half, slow, verdict):
    answer = answer_of(asked(tmp_path, half, threshold=0.0))
    curves = assemble(read_study(tmp_path))["curves"]
    last = next(c for c in curves if (c["name"], c["arm"], c["stage"]) == ("rl", slow, "rl"))
    side = "control" if slow == "standard" else "treated"
    for seed in answer["by_seed"]:
        assert seed["threshold"] == last["seeds"][str(seed["seed"])][-1]
        assert seed[side] == GRID[-1]
    assert (answer["verdict"], answer["bound"]) == (verdict, "exact")
    assert "the lower of both last accuracies" in answer["sentence"]


def test_what_seeds_only_bound_is_not_cured_by_more_seeds(tmp_path):
    answer = answer_of(asked(tmp_path, (90_000, 80_000), threshold=0.6))
    assert answer["verdict"] == "underpowered"
    assert "more seed" not in answer["sentence"].replace("more seeds would not", "")


def test_one_seed_decides_nothing(tmp_path):
    workdir = asked(tmp_path, (2000, 500), seeds=1)
    answer = answer_of(workdir)
    assert (answer["verdict"], answer["ci"], answer["mde"]) == ("underpowered", None, None)
    assert "One seed" in answer["sentence"]
    assert "–" in cells(answer)


def test_what_is_not_measured_yet_says_so(tmp_path):
    workdir = asked(tmp_path, (2000, 500), seeds=2)
    for path in workdir.glob("stages/rl-baked_in-*/stage.json"):
        info = json.loads(path.read_text())
        path.write_text(json.dumps(info | {"status": "running"}))
    answer = answer_of(workdir)
    assert (answer["verdict"], answer["seeds"]) == ("underpowered", 0)
    assert cells(answer) == []
