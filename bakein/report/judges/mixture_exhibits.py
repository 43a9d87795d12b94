"""What questions about mixtures show: fronts, what each source does, predictions and outcomes."""

from collections.abc import Sequence

from bakein.report.evidence import Row
from bakein.report.exhibits import Chart, Line, Table, estimate
from bakein.report.judges.mixture import MORE, UTILITY
from bakein.report.text import interval, level, number, probability, signed


def mixture_tables(answer: Row) -> list[Table]:
    """Every mixture with its outcomes, the regressions, and the proposal."""
    if not answer["mixtures"]:
        return []
    return [_front_table(answer), _fit_table(answer), _proposal_table(answer)]


def mixture_charts(answer: Row) -> list[Chart]:
    """The utility of every mixture against what was predicted of it, unseen."""
    if not answer["mixtures"]:
        return []
    held_out = set(answer["held_out"])
    groups = {
        "swarm": [row for row in answer["mixtures"] if row["arm"] not in held_out],
        "held out": [row for row in answer["mixtures"] if row["arm"] in held_out],
    }
    lines = [
        _points(name, [row["outcomes"][UTILITY] for row in rows])
        for name, rows in groups.items()
        if rows
    ]
    caption = (
        "Every point is a mixture. Of the swarm, each is predicted from the others; held-out "
        "mixtures are predicted from the swarm. Utility is in standard deviations between the "
        f"swarm's mixtures; bars are {level(answer['level'])} intervals over seeds."
    )
    return [
        Chart(
            "Utility: predicted unseen, and measured",
            caption,
            "predicted utility",
            "measured utility",
            lines,
        )
    ]


def _points(name: str, found: Sequence[Row]) -> Line:
    found = sorted(found, key=lambda row: row["predicted"])
    return Line(
        name,
        [row["predicted"] for row in found],
        [row["mean"] for row in found],
        [row["ci"] for row in found],
        joined=False,
    )


def _front_table(answer: Row) -> Table:
    names, sources = list(answer["outcomes"]), _sources(answer)
    rows = [
        (
            f"{row['arm']} (held out)" if row["arm"] in answer["held_out"] else row["arm"],
            *(number(answer["weights"][row["arm"]][source], 2) for source in sources),
            *(estimate(row["outcomes"][n]["mean"], row["outcomes"][n]["ci"], 2) for n in names),
            estimate(row["outcomes"][UTILITY]["mean"], row["outcomes"][UTILITY]["ci"], 2),
            "yes" if row["front"] else "no",
            probability(row["probability"]),
        )
        for row in sorted(answer["mixtures"], key=lambda row: -row["outcomes"][UTILITY]["mean"])
    ]
    wanted = {1: "more is better", -1: "less is better", 0: "beside, counts for nothing"}
    said = "; ".join(f"{n}: {wanted[answer['outcomes'][n]['sign']]}" for n in names)
    note = (
        f"By utility. {said}. On the front: no other mixture is at least as good in every outcome "
        "that counts and better in one; the chance of it is over draws of the seeds. Intervals at "
        f"{level(answer['level'])}."
    )
    head = ("Mixture", *sources, *names, "Utility", "On the front", "Chance of it")
    return Table("Mixtures and the Pareto front", head, rows, note)


def _fit_table(answer: Row) -> Table:
    sources, at = _sources(answer), f"{level(answer['level'])} interval"
    rows = [
        (
            fit["outcome"],
            number(fit["explained"], 2),
            interval(fit["ci"], 2),
            number(fit["held_out"], 2),
            *(
                f"{signed(fit['effects'][s]['estimate'])} {interval(fit['effects'][s]['ci'], 2)}"
                for s in sources
            ),
        )
        for fit in answer["fits"]
    ]
    note = (
        "Q²: share of the variance that is predicted of mixtures not seen; below 0 it is worse "
        f"than the mean. Then, what {MORE:.0%} more of each source changes at the swarm's mean "
        "mixture, at the cost of the others in proportion, with the regression's own intervals. A "
        "row with a low Q² says nothing about its sources."
    )
    head = ("Outcome", "Q²", at, "Q² held out", *(f"+{MORE:.0%} {s}" for s in sources))
    return Table("What the sources do", head, rows, note)


def _proposal_table(answer: Row) -> Table:
    proposal, weights = answer["proposal"], answer["proposal"]["weights"]
    rows = [(f"weight of {source}", number(weights[source], 3), "–") for source in weights]
    rows += [
        (f"predicted {name}", number(found["mean"]), number(found["sd"]))
        for name, found in proposal["predicted"].items()
    ]
    note = (
        "The mixture with the highest predicted utility less one standard deviation, of those that "
        f"give every source at least {answer['least']:g}. It is a proposal: nothing has been "
        "trained on it here."
    )
    return Table("The proposed mixture", ("", "Value", "Standard deviation"), rows, note)


def check_tables(answer: Row) -> list[Table]:
    """The proposed mixture against each held-out one, and both sizes of model beside each other."""
    if not answer["against"]:
        return []
    names = list(answer["outcomes"])
    together = level(1 - (1 - answer["level_each"]) * len(answer["against"]))
    measured = [
        (
            row["arm"],
            *(estimate(row["outcomes"][n]["mean"], row["outcomes"][n]["ci"], 2) for n in names),
            estimate(row["outcomes"][UTILITY]["mean"], row["outcomes"][UTILITY]["ci"], 2),
            number(row["predicted"], 2),
            "–"
            if row["difference"] is None
            else f"{signed(row['difference'], 2)} {interval(row['difference_ci'], 2)}",
        )
        for row in answer["measured"]
    ]
    head = ("Mixture", *names, "Utility", "Predicted utility", f"{answer['proposed']} − it")
    note = (
        "Utility in standard deviations of the search's swarm. The last column's intervals hold "
        f"all at once, at {together} together (Bonferroni)."
    )
    ranks = [
        (row["outcome"], number(row["tau"], 2), interval(row["ci"], 2), str(row["mixtures"]))
        for row in answer["ranks"]
    ]
    rank_note = (
        "Kendall's τ between the search's models and these, larger ones, over the same mixtures: 1 "
        "where both order them alike, 0 for chance; an en dash where a size has no order."
    )
    return [
        Table("Against each mixture", head, measured, note),
        Table(
            "Rank stability over two sizes",
            ("Outcome", "τ", f"{level(answer['level'])} interval", "Mixtures"),
            ranks,
            rank_note,
        ),
    ]


def check_charts(answer: Row) -> list[Chart]:
    """The utility of every mixture in this size of model against that which was predicted."""
    if not answer["against"]:
        return []
    lines = [
        Line(
            row["arm"],
            [row["predicted"]],
            [row["outcomes"][UTILITY]["mean"]],
            [row["outcomes"][UTILITY]["ci"]],
            joined=False,
        )
        for row in answer["measured"]
    ]
    caption = (
        "Predicted by the search, of smaller models; measured here. In standard deviations of the "
        f"search's swarm; bars are {level(answer['level'])} intervals over seeds."
    )
    title = "Utility: predicted by the search, and measured"
    return [Chart(title, caption, "predicted utility", "measured utility", lines)]


def _sources(answer: Row) -> list[str]:
    return list(answer["proposal"]["weights"])
