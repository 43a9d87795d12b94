"""Questions about mixtures: known surfaces and orders are found, told, and not overstated."""

import json

import numpy as np
import pytest
from test_report_synthetic import write_study

from bakein.analysis import mixtures
from bakein.report import questions
from bakein.report.build import build_report
from bakein.report.records import read_study
from bakein.report.results import assemble
from bakein.study import ask
from bakein.study.config import _QUESTIONS, _of_kind
from bakein.study.description import plain_fields

SOURCES = ("traces", "direct", "filler")
SWARM, HELD_OUT = tuple(f"m{i}" for i in range(9)), ("h0", "h1")
OUTCOMES = {
    "test_time": ask.outcome("pass_area", "sft", less=("accuracy", "sft")),
    "jailbreak": ask.outcome("greedy", "rl_from_base", sign=-1),
    "format": ask.outcome("format", "rl", sign=0),
    "level": ask.outcome("accuracy", "rl"),
}


def weights_of(arms):
    rows = mixtures.design(len(arms), len(SOURCES), 0.05, np.random.default_rng(1)).round(4)
    return {
        arm: dict(zip(SOURCES, row.tolist(), strict=True))
        for arm, row in zip(arms, rows, strict=True)
    }


def levels(logit):
    """Logits after every stage, of arms by their logit after RL."""
    return {
        arm: {"pretrain": -2.0, "sft": -2.0 + value / 2, "rl": value, "rl_from_base": -value}
        for arm, value in logit.items()
    }


def ask_study(workdir, question, logit, **study):
    info = write_study(
        workdir, arms=tuple(logit), logits=levels(logit), problems=12, facts=2, **study
    )
    config = _of_kind("config.questions.Q3", question, _QUESTIONS)
    info["questions"] = {"Q3": {**plain_fields(config), "places": [*map(list, config.places)]}}
    info["contrasts"] = []
    (workdir / "study.json").write_text(json.dumps(info))
    return workdir


def searched(workdir, slope, seeds=3, **question):
    """A search whose mixtures gain `slope` logits from no traces to nothing but traces."""
    weights = weights_of([*SWARM, *HELD_OUT])
    asked = {"weights": weights, "outcomes": OUTCOMES, "held_out": HELD_OUT, "least": 0.05}
    logit = {arm: -1 + slope * given["traces"] for arm, given in weights.items()}
    return ask_study(workdir, ask.mixture("Which?", **asked | question), logit, seeds=seeds)


def answer_of(workdir):
    return assemble(read_study(workdir))["answers"]["Q3"]


@pytest.fixture(scope="module")
def steep(tmp_path_factory):
    """The report of a search in which traces do everything: results and page."""
    workdir = searched(tmp_path_factory.mktemp("steep"), 6.0)
    return build_report(workdir), (workdir / "report" / "index.html").read_text()


def test_a_known_surface_is_found_and_predicts(steep):
    answer = steep[0]["answers"]["Q3"]
    fits = {fit["outcome"]: fit for fit in answer["fits"]}
    assert answer["verdict"] == "predicts"
    assert 0 < answer["ci"][0] < answer["effect"] == fits["utility"]["explained"] < 1
    assert fits["level"]["held_out"] > 0.5
    effects = fits["level"]["effects"]
    assert effects["traces"]["ci"][0] > 0 > effects["filler"]["estimate"]
    assert [*fits] == ["utility", *OUTCOMES]
    proposed = answer["proposal"]["weights"]
    assert proposed["traces"] > 0.6
    assert sum(proposed.values()) == pytest.approx(1)
    assert min(proposed.values()) >= 0.05 - 1e-9
    assert answer["seeds"] == 3
    assert "over 11 mixtures, 3 seeds each" in answer["sentence"]


def test_outcomes_are_what_they_say(steep):
    results, _ = steep
    answer = results["answers"]["Q3"]
    summary = {(r["arm"], r["stage"], r["metric"]): r["mean"] for r in results["summary"]}
    utility = []
    for row in answer["mixtures"]:
        arm, found = row["arm"], {name: one["mean"] for name, one in row["outcomes"].items()}
        assert found["level"] == pytest.approx(summary[arm, "rl", "accuracy"])
        area, start = summary[arm, "sft", "pass_area"], summary[arm, "sft", "accuracy"]
        assert found["test_time"] == pytest.approx(area - start)
        units = answer["scales"]
        expected = [
            sign * (found[name] - units[name]["centre"]) / units[name]["scale"]
            for name, sign in (("test_time", 1), ("jailbreak", -1), ("level", 1))
        ]
        assert found["utility"] == pytest.approx(np.mean(expected))
        if arm in SWARM:
            utility.append([found[name] for name in OUTCOMES])
    scales = [answer["scales"][name] for name in OUTCOMES]
    np.testing.assert_allclose(np.mean(utility, axis=0), [scale["centre"] for scale in scales])
    np.testing.assert_allclose(np.std(utility, axis=0, ddof=1), [s["scale"] for s in scales])


def test_the_front_is_of_the_outcomes_that_count(steep):
    answer = steep[0]["answers"]["Q3"]
    rows = {row["arm"]: row for row in answer["mixtures"]}
    assert [*rows] == [*SWARM, *HELD_OUT]
    counting = {"test_time": 1, "jailbreak": -1, "level": 1}

    def good(arm):
        return np.array([s * rows[arm]["outcomes"][n]["mean"] for n, s in counting.items()])

    for arm, row in rows.items():
        beaten = any(
            np.all(good(other) >= good(arm)) and np.any(good(other) > good(arm)) for other in rows
        )
        assert row["front"] == (not beaten)
        assert 0 <= row["probability"] <= 1


def test_nothing_is_predicted_where_weights_do_nothing(tmp_path):
    answer = answer_of(searched(tmp_path, 0.0))
    assert answer["verdict"] in ("underpowered", "does not predict")
    assert answer["ci"][0] <= 0


def test_the_page_shows_the_search(steep):
    results, page = steep
    for said in ("Mixtures and the Pareto front", "What the sources do", "The proposed mixture"):
        assert said in page
    assert "h1 (held out)" in page
    (chart,) = questions.charts(results["answers"]["Q3"])
    assert [(line.arm, len(line.x)) for line in chart.lines] == [("swarm", 9), ("held out", 2)]
    assert "predicted unseen, and measured" in page


def unfinished(workdir):
    (workdir / "stages" / "eval-rl-h1-0" / "stage.json").unlink()
    answer = answer_of(workdir)
    assert answer["verdict"] == "underpowered"
    assert "Not measured yet" in answer["sentence"]
    assert questions.tables(answer) == questions.charts(answer) == []
    return answer


def test_a_single_seed_decides_nothing_and_an_unfinished_search_shows_nothing(tmp_path):
    workdir = searched(tmp_path, 5.0, seeds=1)
    answer = answer_of(workdir)
    assert answer["verdict"] == "underpowered"
    assert answer["ci"] is None
    assert "One seed" in answer["sentence"]
    assert answer["mixtures"][0]["probability"] is None
    assert unfinished(workdir)["proposal"] is None


# Of every arm of a check: its logit after RL.
ALIKE = {"h0": -1.0, "h1": -0.4, "h2": 0.2, "h3": 0.8, "h4": 1.2}


def checked(workdir, proposed, seeds, scale=0.1):
    """A check; the search's models order the held-out mixtures as here, by utility reversed."""
    others = tuple(ALIKE)
    question = ask.mixture_check(
        "Is it?",
        proposed="proposed",
        others=others,
        outcomes={"level": ask.outcome("accuracy", "rl"), "beside": OUTCOMES["format"]},
        scales={"level": {"centre": 0.5, "scale": scale}, "beside": {"centre": 0.0, "scale": 1.0}},
        predicted=dict.fromkeys(("proposed", *others), 0.5),
        proxies={arm: {"utility": -i, "level": i, "beside": 0.5} for i, arm in enumerate(others)},
    )
    return ask_study(workdir, question, {"proposed": proposed, **ALIKE}, seeds=seeds)


def test_a_proposal_is_held_against_what_nobody_chose(tmp_path):
    answer = build_report(checked(tmp_path, 2.5, seeds=4))["answers"]["Q3"]
    assert answer["verdict"] == "better"
    assert answer["ci"][0] < answer["effect"] < answer["ci"][1]
    measured = {row["arm"]: row["outcomes"]["utility"]["mean"] for row in answer["measured"]}
    others = np.mean([measured[arm] for arm in ALIKE])
    assert answer["effect"] == pytest.approx(measured["proposed"] - others)
    level = {row["arm"]: row["outcomes"]["level"]["mean"] for row in answer["measured"]}
    assert measured["h3"] == pytest.approx((level["h3"] - 0.5) / 0.1)
    for row in answer["against"]:
        assert row["effect"] == pytest.approx(measured["proposed"] - measured[row["arm"]])
    beaten = sum(row["ci"][0] > 0 for row in answer["against"])
    assert beaten >= 3
    assert f"better than {beaten} of them" in answer["sentence"]

    ranks = {row["outcome"]: row for row in answer["ranks"]}
    for name, tau in (("level", 1), ("utility", -1)):
        assert tau * ranks[name]["tau"] > 0.7
        low, high = ranks[name]["ci"]
        assert low - 1e-6 <= ranks[name]["tau"] <= high + 1e-6
        assert ranks[name]["mixtures"] == 5
    assert ranks["beside"]["tau"] is ranks["beside"]["ci"] is None  # no order in the search

    page = (tmp_path / "report" / "index.html").read_text()
    assert "Against each mixture" in page
    assert "Rank stability over two sizes" in page


def test_a_worse_proposal_is_called_worse(tmp_path):
    answer = answer_of(checked(tmp_path, -2.5, seeds=4))
    assert answer["verdict"] == "worse"
    assert "worse than the average of 5 held-out mixtures" in answer["sentence"]
    assert "better than 0 of them and worse than 5" in answer["sentence"]


def test_an_unfinished_check_and_one_seed_decide_nothing(tmp_path):
    workdir = checked(tmp_path, 2.5, seeds=1)
    one = answer_of(workdir)
    assert one["verdict"] == "underpowered"
    assert "One seed" in one["sentence"]
    unfinished(workdir)


def test_mixtures_that_are_all_alike_are_not_called_equivalent(tmp_path):
    """Where the search's models differed in nothing, say."""
    answer = answer_of(checked(tmp_path, 0.0, seeds=2, scale=0.0))
    assert answer["verdict"] == "underpowered"
    assert "All are equal" in answer["sentence"]
