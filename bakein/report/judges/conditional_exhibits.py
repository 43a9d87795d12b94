"""What a question about slopes at equal pass@1 shows: differences, curves, exponents; charts."""

from bakein.report.evidence import Row
from bakein.report.exhibits import Chart, Line, Table, estimate
from bakein.report.text import interval, level, number, signed


def conditional_tables(answer: Row) -> list[Table]:
    """Raw and conditional difference, and the points of the curves or their exponents."""
    if not answer["seeds"]:
        return []
    at = f"{level(answer['level'])} interval"
    rows = [
        ("as it is", signed(answer["raw"]), interval(answer["raw_ci"])),
        ("at equal pass@1", signed(answer["effect"]), interval(answer["ci"])),
        ("slope per logit of pass@1", signed(answer["tie"]), interval(answer["tie_ci"])),
    ]
    if answer["reason"]:
        note = f"Not compared at equal pass@1: {answer['reason']}."
    else:
        low, high = (number(share, 2) for share in answer["shared_pass"])
        note = (
            f"Compared where both arms have a pass@1 of {low} to {high}. Lines less nodes: "
            f"{number(answer['residual'])} (root mean square), "
            f"{number(answer['largest_residual'])} (largest)."
        )
    tables = [Table("Difference in slope", ("Difference", answer["unit"], at), rows, note)]
    return [*tables, _budget_table(answer) if answer["sequential"] else _exponent_table(answer)]


def _budget_table(answer: Row) -> Table:
    sizes = sorted({x for curve in answer["curves"] for x in curve["x"]})
    head = ("Probe", "Arm", "After", *("direct" if not x else f"{x} tokens" for x in sizes))
    rows = [
        (
            curve["probe"],
            curve["arm"],
            curve["stage"],
            *(_at(curve, x) for x in sizes),
        )
        for curve in answer["curves"]
    ]
    note = "The direct answer, without a trace, has no place on the axis of the slope."
    return Table("Accuracy by thinking budget", head, rows, note)


def _at(curve: Row, x: int) -> str:
    if x not in curve["x"]:
        return "–"
    place = curve["x"].index(x)
    return estimate(curve["y"][place], curve["ci"][place])


def _exponent_table(answer: Row) -> Table:
    head = (
        "Arm", "After", "Tail exponent α", "by seed", "largest residual",
        "Least-squares exponent b", "by seed", "largest residual",
    )  # fmt: skip
    rows, reasons = [], set()
    for row in answer["exponents"]:
        cells = [row["arm"], row["stage"]]
        for name in ("tail", "power"):
            cells += [
                number(row[f"{name}_mean"], 2),
                " ".join(number(value, 2) for value in row[name]),
                number(row[f"{name}_residual"]),
            ]
            reasons |= {*row[f"{name}_reasons"]}
        rows.append(cells)
    note = "α is the beta-binomial tail, b fits −ln pass@k = a·k^(−b); means over seeds with a fit."
    if reasons:
        note += f" No fit: {'; '.join(sorted(reasons))}."
    return Table("How fast pass@k nears 1", head, rows, note)


def conditional_charts(answer: Row) -> list[Chart]:
    """Slope against level, node by node; and the curves after the last stage."""
    if not answer["seeds"]:
        return []
    arms = answer["treated"], answer["control"]
    lines = [_cloud(answer, arm) for arm in arms]
    if answer["lines"]:
        lines += [
            Line(arm, answer["shared"], ends, dashed=True, marked=False)
            for arm, ends in zip(arms, answer["lines"], strict=True)
        ]
    sequential, last = answer["sequential"], answer["stages"][-1]
    beside = f"; dashed: {', '.join(answer['beside'])}" if answer["beside"] else ""
    return [
        Chart(
            "Slope against pass@1",
            "Every dot is one seed at one level of difficulty after one stage; the dashed lines "
            "have one tilt, fitted to the levels that both arms have, and their distance is the "
            "difference at equal pass@1.",
            "logit of pass@1",
            "logits per doubling" if sequential else "area under pass@k",
            lines,
        ),
        Chart(
            f"{'Accuracy by thinking budget' if sequential else 'pass@k'}: {last}",
            f"Means over seeds with their intervals{beside}.",
            "thinking budget, tokens" if sequential else "k",
            "accuracy" if sequential else "pass@k",
            [
                Line(
                    curve["arm"],
                    curve["x"],
                    curve["y"],
                    curve["ci"],
                    dashed=curve["probe"] in answer["beside"],
                )
                # An arm's name stands at its last line: at the one that is asked about.
                for curve in sorted(
                    answer["curves"], key=lambda c: c["probe"] not in answer["beside"]
                )
                if curve["stage"] == last
            ],
            x_scale="log2+1" if sequential else "log2",
            rate=True,
        ),
    ]


def _cloud(answer: Row, arm: str) -> Line:
    nodes = [node for node in answer["nodes"] if node["arm"] == arm]
    x = [value for node in nodes for value in node["levels"]]
    return Line(arm, x, [value for node in nodes for value in node["slopes"]], joined=False)
