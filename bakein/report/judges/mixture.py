"""Questions about mixtures answered: what the pretraining data does to slopes and level.

A regression of every outcome, and of their utility, on the weights of the sources; how well it
predicts mixtures that it has not seen; the Pareto front; the mixture that it proposes. The utility
is the mean of the outcomes that count, each with its sign and in units of its standard deviation
between the swarm's mixtures.

Shape suffixes: Q outcomes, N mixtures, S seeds, W sources.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from bakein.analysis import bootstrap, pareto, verdicts
from bakein.analysis import surface as surfaces
from bakein.report.evidence import Evidence, Row, limits, places_of, unmeasured
from bakein.report.text import interval, number, plural
from bakein.report.text import level as percent

# Why a verdict was reached: the rules of analysis.verdicts, one line each.
RULES = {
    "predicts": "the interval of Q², the share of the variance that is predicted of mixtures not "
    "seen, lies above 0.",
    "does not predict": "the interval of Q², the share of the variance that is predicted of "
    "mixtures not seen, lies below epsilon.",
    "underpowered": "the interval of Q² does not decide, or there are fewer than two seeds.",
}
UTILITY = "utility"
MORE = 0.1  # of a source's weight, whose effect is shown


def outcome_scores(
    outcomes: Mapping[str, Row], arms: Sequence[str], evidence: Evidence, seeds: tuple[int, ...]
) -> np.ndarray:
    """Every outcome of every arm and seed [Q, N, S]: a metric, less another where it says so."""

    def score(arm: str, metric: str, stage: str) -> np.ndarray:
        return evidence.metric((arm, stage), metric, seeds).mean(axis=1)

    def outcome(arm: str, row: Row) -> np.ndarray:
        less = score(arm, *row["less"]) if row["less"] else 0.0
        return score(arm, row["metric"], row["stage"]) - less

    return np.array([[outcome(arm, row) for arm in arms] for row in outcomes.values()])


def judge_mixture(question: Row, evidence: Evidence) -> Row:
    """A question of kind "mixture" answered."""
    outcomes, weights = question["outcomes"], question["weights"]
    arms, sources = list(weights), list(next(iter(weights.values())))
    held_out = [arm for arm in arms if arm in question["held_out"]]
    swarm = [arm for arm in arms if arm not in held_out]
    row = {
        **question,
        "stage": list(outcomes.values())[-1]["stage"],
        "unit": "share of the variance of the utility between mixtures",
        "effect_name": "Predicted of mixtures not seen (Q²)",
        "scales": {},
        "mixtures": [],
        "fits": [],
        "proposal": None,
    }
    seeds, settings = evidence.seeds(places_of(question)), evidence.settings
    if not seeds:
        return {**row, **unmeasured(RULES["underpowered"])}
    order = [*swarm, *held_out]
    weights_NW = np.array([[weights[arm][source] for source in sources] for arm in order])
    weights_NW /= weights_NW.sum(axis=1, keepdims=True)  # they are rounded
    scores_QNS = outcome_scores(outcomes, order, evidence, seeds)
    means_QN = scores_QNS.mean(axis=2)[:, : len(swarm)]
    centre_Q, scale_Q = means_QN.mean(axis=1), means_QN.std(axis=1, ddof=1)
    signs_Q = np.array([outcome["sign"] for outcome in outcomes.values()])
    utility_NS = surfaces.utility(scores_QNS, signs_Q, centre_Q, scale_Q)
    scores_QNS = np.concatenate([utility_NS[None], scores_QNS])
    names = [UTILITY, *outcomes]
    found = {
        name: _Found.of(weights_NW, score_NS.mean(axis=1), len(swarm), evidence)
        for name, score_NS in zip(names, scores_QNS, strict=True)
    }
    counting = [0.0, *signs_Q]
    proposed_W = surfaces.propose(
        found[UTILITY].surface, len(sources), question["least"], evidence.rng()
    )
    explained = found[UTILITY].unseen.explained
    verdict = str(verdicts.mixture(explained, len(seeds), question["epsilon"]))
    row |= {
        "scales": {
            name: {"centre": float(centre), "scale": float(scale)}
            for name, centre, scale in zip(outcomes, centre_Q, scale_Q, strict=True)
        },
        "mixtures": _mixtures(order, names, scores_QNS, np.array(counting), found, evidence),
        "fits": [
            found[name].row(name, sources, weights_NW[: len(swarm)].mean(axis=0), settings)
            for name in names
        ],
        "proposal": {
            "weights": dict(zip(sources, proposed_W.tolist(), strict=True)),
            "predicted": {name: found[name].at(proposed_W) for name in names},
        },
    }
    return {
        **row,
        "verdict": verdict,
        "effect": explained.estimate if explained else None,
        "ci": limits(explained) if explained and len(seeds) > 1 else None,
        "level": settings["level"],
        "mde": None,
        "seeds": len(seeds),
        "rule": RULES[verdict],
        "sentence": _sentence(row, verdict, explained, len(seeds)),
    }


def _mixtures(
    order: Sequence[str],
    names: Sequence[str],
    scores_QNS: np.ndarray,
    signs_Q: np.ndarray,
    found: Mapping[str, "_Found"],
    evidence: Evidence,
) -> list[Row]:
    """Every mixture: what was measured and what predicted of it, and whether it is on the front."""
    resamples, level = evidence.settings["resamples"], evidence.settings["level"]
    outcomes, mixtures, seeds = scores_QNS.shape
    draws = bootstrap.draw(scores_QNS.reshape(-1, seeds, 1), resamples, evidence.rng())
    counts = signs_Q != 0
    front = pareto.pareto(
        scores_QNS[counts] * signs_Q[counts, None, None], resamples, level, evidence.rng()
    )

    def measured(q: int, n: int) -> Row:
        interval = draws.interval(level, q * mixtures + n)
        return {
            "mean": interval.estimate,
            "ci": limits(interval),
            "predicted": float(found[names[q]].predicted_N[n]),
        }

    return [
        {
            "arm": arm,
            "front": bool(front.member_N[n]),
            "probability": float(front.probability_N[n]),
            "outcomes": {names[q]: measured(q, n) for q in range(outcomes)},
        }
        for n, arm in enumerate(order)
    ]


class _Found:
    """What is found of one outcome: its surface, and how it predicts what it has not seen."""

    def __init__(self, surface: surfaces.Surface, unseen: surfaces.Unseen):
        self.surface = surface
        self.unseen = unseen
        self.predicted_N = np.concatenate([unseen.swarm_N, unseen.held_out_H])

    @classmethod
    def of(cls, weights_NW: np.ndarray, mean_N: np.ndarray, swarm: int, evidence: Evidence):
        """Of the means over seeds; the first `swarm` mixtures are regressed on."""
        known, held_out = (weights_NW[:swarm], mean_N[:swarm]), (weights_NW[swarm:], mean_N[swarm:])
        draws = evidence.resampling()
        return cls(surfaces.fit_surface(*known), surfaces.unseen(*known, *held_out, *draws))

    def at(self, weights_W: np.ndarray) -> Row:
        """What the surface expects of one mixture."""
        mean_N, sd_N = self.surface.predict(weights_W[None])
        return {"mean": float(mean_N[0]), "sd": float(sd_N[0])}

    def row(self, name: str, sources: Sequence[str], middle_W: np.ndarray, settings: Row) -> Row:
        """As plain values."""
        explained = self.unseen.explained
        effects = surfaces.effects(self.surface, middle_W, MORE, settings["level"])
        return {
            "outcome": name,
            "explained": explained.estimate if explained else None,
            "ci": limits(explained) if explained else None,
            "held_out": self.unseen.held_out,
            "effects": {
                source: {"estimate": effect.estimate, "ci": [effect.low, effect.high]}
                for source, effect in zip(sources, effects, strict=True)
            },
        }


def _sentence(row: Row, verdict: str, explained: bootstrap.Interval | None, seeds: int) -> str:
    """The answer to "can the weights of a mixture tell its utility?"."""
    weights = sorted(row["proposal"]["weights"].items(), key=lambda item: -item[1])
    proposed = ", ".join(f"{source} {number(weight, 2)}" for source, weight in weights)
    if explained is None:
        return (
            "Undecided: the mixtures do not differ in what was measured, so there is nothing to "
            f"predict. Proposed, with nothing to speak for it: {proposed}."
        )
    claim = {
        "predicts": "The weights of a mixture predict its utility.",
        "does not predict": "The weights of a mixture do not predict its utility by anything that "
        "matters.",
        "underpowered": "Undecided: whether the weights of a mixture predict its utility cannot be "
        "said.",
    }[verdict]
    if seeds < 2:
        claim = "One seed cannot decide whether the weights of a mixture predict its utility."
    share = f"{number(explained.estimate, 2)} of the variance is predicted"
    between = interval([explained.low, explained.high], 2)
    return (
        f"{claim} Of mixtures that the regression has not seen, {share} ("
        f"{percent(explained.level)} interval {between} over "
        f"{plural(explained.seeds, 'mixture')}, {plural(seeds, 'seed')} each). "
        f"The mixture that it proposes: {proposed}."
    )
