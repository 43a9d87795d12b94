"""Checks of a proposed mixture: is it better than mixtures that the search held out (Q3)?

The proposed mixture and the held-out ones are trained anew, in larger models. All numbers of the
search that are needed here, its units of utility, its predictions and what it measured, are part of
the question, so they were fixed before anything was trained.

Shape suffixes: Q outcomes, N mixtures, S seeds.
"""

import numpy as np

from bakein.analysis import bootstrap, mixtures, surface, verdicts
from bakein.report.evidence import Evidence, Row, limits, places_of, unmeasured
from bakein.report.judges.mixture import UTILITY, outcome_scores
from bakein.report.judges.sentences import COMPARISON_RULES, what_it_takes
from bakein.report.text import interval, number, plural, signed
from bakein.report.text import level as percent


def judge_mixture_check(question: Row, evidence: Evidence) -> Row:
    """A question of kind "mixture_check" answered."""
    outcomes, others = question["outcomes"], question["others"]
    arms = [question["proposed"], *others]
    row = {
        **question,
        "stage": list(outcomes.values())[-1]["stage"],
        "unit": "utility, in standard deviations of the search's swarm",
        "effect_name": f"Effect: {arms[0]} − mean of held-out mixtures",
        "measured": [],
        "against": [],
        "ranks": [],
        "level_each": 1 - (1 - evidence.settings["level"]) / len(others),
    }
    seeds, settings = evidence.seeds(places_of(question)), evidence.settings
    if not seeds:
        return {**row, **unmeasured(COMPARISON_RULES["underpowered"])}
    scores_QNS = outcome_scores(outcomes, arms, evidence, seeds)
    utility_NS = surface.utility(
        scores_QNS,
        [outcome["sign"] for outcome in outcomes.values()],
        [question["scales"][name]["centre"] for name in outcomes],
        [question["scales"][name]["scale"] for name in outcomes],
    )
    scores_QNS = np.concatenate([utility_NS[None], scores_QNS])
    names = [UTILITY, *outcomes]
    draws = settings["resamples"], settings["level"]
    effect = bootstrap.mean_interval(
        utility_NS[0] - utility_NS[1:].mean(axis=0), *draws, evidence.rng()
    )
    each = bootstrap.draw(
        (utility_NS[0] - utility_NS[1:])[:, :, None], settings["resamples"], evidence.rng()
    )
    row["against"] = [
        {"arm": arm, "effect": found.estimate, "ci": limits(found)}
        for arm, found in zip(
            others,
            (each.interval(row["level_each"], index) for index in range(len(others))),
            strict=True,
        )
    ]
    row["measured"] = _measured(question, arms, names, scores_QNS, row["against"], evidence)
    row["ranks"] = [
        _rank(name, question, score_NS[1:].mean(axis=1), settings["level"])
        for name, score_NS in zip(names, scores_QNS, strict=True)
    ]
    verdict = str(verdicts.comparison(effect, question["epsilon"]))
    if not np.ptp(utility_NS):  # nothing was ever solved, say: equal, and nothing learnt from it
        verdict = str(verdicts.Comparison.UNDERPOWERED)
    means = float(utility_NS[0].mean()), float(utility_NS[1:].mean())
    return {
        **row,
        "verdict": verdict,
        "effect": effect.estimate,
        "ci": limits(effect),
        "level": effect.level,
        "mde": effect.mde,
        "seeds": effect.seeds,
        "rule": COMPARISON_RULES[verdict],
        "sentence": _sentence(row, verdict, effect, means),
    }


def _measured(question, arms, names, scores_QNS, against, evidence) -> list[Row]:
    """Every mixture's outcomes, with what the search predicted of its utility."""
    outcomes, count, seeds = scores_QNS.shape
    draws = bootstrap.draw(
        scores_QNS.reshape(-1, seeds, 1), evidence.settings["resamples"], evidence.rng()
    )
    level = evidence.settings["level"]
    apart = {row["arm"]: row for row in against}
    rows = []
    for n, arm in enumerate(arms):
        found = [draws.interval(level, q * count + n) for q in range(outcomes)]
        rows.append(
            {
                "arm": arm,
                "outcomes": {
                    name: {"mean": one.estimate, "ci": limits(one)}
                    for name, one in zip(names, found, strict=True)
                },
                "predicted": question["predicted"][arm],
                "difference": apart[arm]["effect"] if arm in apart else None,
                "difference_ci": apart[arm]["ci"] if arm in apart else None,
            }
        )
    return rows


def _rank(name: str, question: Row, here_N: np.ndarray, level: float) -> Row:
    """Whether the search's models order the held-out mixtures as these do; None without orders."""
    there_N = np.array([question["proxies"][arm][name] for arm in question["others"]])
    row = {"outcome": name, "tau": None, "ci": None, "mixtures": len(here_N)}
    if len(here_N) < 2 or np.ptp(here_N) == 0 or np.ptp(there_N) == 0:
        return row
    found = mixtures.rank_stability(there_N, here_N, level)
    return {**row, "tau": found.tau, "ci": [found.low, found.high]}


def _sentence(
    row: Row, verdict: str, effect: bootstrap.Interval, means: tuple[float, float]
) -> str:
    """The answer to "is the proposed mixture better than mixtures nobody chose?"."""
    proposed, others = row["proposed"], plural(len(row["others"]), "held-out mixture")
    average = f"the average of {others}"
    levels = f"utility {number(means[0], 2)} against {number(means[1], 2)}"
    if effect.seeds < 2:
        return f"One seed cannot decide: {proposed} has {levels}, {average}."
    ends = interval([effect.low, effect.high], 2)
    measured = (
        f"{levels}, a difference of {signed(effect.estimate, 2)} standard deviations of "
        f"the swarm, {percent(effect.level)} interval {ends} over "
        f"{plural(effect.seeds, 'paired seed')}"
    )
    above, below = (
        sum(sign * one["ci"][end] > 0 for one in row["against"]) for sign, end in ((1, 0), (-1, 1))
    )
    said = f"One by one, it is shown to be better than {above} of them and worse than {below}."
    claim = {
        "better": f"The proposed mixture is better than {average}",
        "worse": f"The proposed mixture is worse than {average}",
        "equivalent": f"The proposed mixture is no different from {average} by anything that "
        "matters",
        "underpowered": f"Undecided: whether the proposed mixture is better than {average} cannot "
        "be said",
    }[verdict]
    if verdict == "underpowered":
        needed = what_it_takes(effect, row["epsilon"], 2) if effect.se else "All are equal."
        said = f"{needed} {said}"
    return f"{claim}: {measured}. {said}"
