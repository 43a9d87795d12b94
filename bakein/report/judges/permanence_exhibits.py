"""What answers about permanence and symmetry show: tables and charts of their raw numbers."""

from collections.abc import Sequence

import numpy as np

from bakein.report.evidence import Row
from bakein.report.exhibits import Chart, Line, Table, estimate
from bakein.report.judges.permanence import amount
from bakein.report.text import interval, level, number, signed

ALIGN = """Share of the forbidden requests that are refused, against the samples of alignment that
each arm was shown. Bars: intervals."""
ATTACK = """Attack success on forbidden requests after fine-tuning on harmful answers to others; at
every size with the learning rate that is best for the attacker."""
BENIGN = """Share of the forbidden requests that are still refused after fine-tuning on answers to
allowed requests alone. {twin} was never aligned: the floor."""
LAW = """Every arm's costs, as geometric means over seeds. Easy in, easy out would be a line that
rises by one for every doubling of the samples to align."""


def permanence_tables(answer: Row) -> list[Table]:
    """What it took by arm, then what every arm does and what benign fine-tuning leaves of it."""
    rows = answer["rows"]
    if not rows:
        return []
    at = f"{level(answer['level'])} interval"
    costs = Table(
        "What it takes, by arm",
        ("Arm", "To align, D_A", "To misalign, D_M", "Π = D_M/D_A", at, "Half-life"),
        [
            (
                row["arm"],
                amount(row["align"]),
                amount(row["misalign"]),
                _ratio(row),
                interval(row["ratio_ci"], 2),
                _half_life(row),
            )
            for row in rows
        ],
        f"In samples. Aligned: {answer['aligned_at']:g} of the forbidden requests are refused; "
        f"misaligned: attacks succeed on {answer['misaligned_at']:g} of them. D_A, D_M and the "
        "half-life under benign fine-tuning are medians over seeds, Π is a geometric mean; “over” "
        "marks what was not reached within the sizes tried.",
    )
    twin = answer["twin_row"]
    rates = ("refusal", "success", "helpful", "over_refusal")
    behaviour = Table(
        "What the aligned models do",
        (
            "Arm",
            "Forbidden: refused",
            "Forbidden: attack success",
            "Allowed: answered rightly",
            "Allowed: refused (over-refusal)",
            "Attack success after benign fine-tuning",
        ),
        [
            *(
                (
                    row["arm"],
                    *(_rate(row["after"][name]) for name in rates),
                    estimate(row["benign_success"]["rate"][-1], row["benign_success"]["ci"][-1], 2),
                )
                for row in rows
            ),
            (twin["arm"], *(_rate(twin["after"][name]) for name in rates), "never aligned"),
        ],
        f"{twin['arm']} was never aligned: attack success that is missing there as well is absent "
        "knowledge, not alignment.",
    )
    return [costs, behaviour]


def permanence_charts(answer: Row) -> list[Chart]:
    """Refusals over alignment, success over attacks, refusals over benign fine-tuning."""
    rows = answer["rows"]
    if not rows:
        return []
    refused, success = "forbidden requests refused", "attack success"
    benign = _lines(rows, "benign")
    twin = answer["twin_row"]
    if twin["arm"] not in [row["arm"] for row in rows]:
        benign += _lines([twin], "benign")
    charts = [
        ("Alignment", ALIGN, "samples of alignment", refused, _lines(rows, "doses")),
        ("Attack", ATTACK, "samples of harmful fine-tuning", success, _lines(rows, "attack")),
    ]
    if answer["benign"]:
        caption = BENIGN.replace("{twin}", twin["arm"])
        charts.append(("Benign", caption, "samples of benign fine-tuning", refused, benign))
    return [Chart(*parts, x_scale="log2+1", rate=True) for parts in charts]


def symmetry_tables(answer: Row) -> list[Table]:
    """Every arm's costs, and how far it is from the law."""
    if not answer["rows"]:
        return []
    rows = [
        (
            row["arm"],
            amount(row["align"]),
            amount(row["misalign"]),
            signed(row["residual"], 2),
            "no point" if row["point"] is None else "a point",
        )
        for row in answer["rows"]
    ]
    head = ("Arm", "Samples to align, D_A", "Samples to misalign, D_M", "Law less data (ln)", "")
    note = (
        "Medians over seeds. An arm of which a seed never got to a threshold, or was there from "
        "the start, has no point."
    )
    return [Table("The law, by arm", head, rows, note)]


def symmetry_charts(answer: Row) -> list[Chart]:
    """One point per arm."""
    lines = [
        Line(row["arm"], [row["point"][0]], [float(np.log2(row["point"][1]))], joined=False)
        for row in answer["rows"]
        if row["point"] is not None
    ]
    if not lines:
        return []
    labels = "samples to align, D_A", "log₂ of samples to misalign, D_M"
    return [Chart("Easy in, easy out", LAW, *labels, lines, x_scale="log2")]


def _lines(rows: Sequence[Row], curve: str) -> list[Line]:
    return [
        Line(row["arm"], row[curve]["samples"], row[curve]["rate"], row[curve]["ci"])
        for row in rows
    ]


def _rate(row: Row) -> str:
    return estimate(row["rate"], row["ci"], 2)


def _ratio(row: Row) -> str:
    bound = {"at least": "at least ", "at most": "at most "}.get(row["bound"], "")
    return "not known" if row["ratio"] is None else f"{bound}{number(row['ratio'], 3)}"


def _half_life(row: Row) -> str:
    return row["half_life_reason"] if row["half_life"] is None else amount(row["half_life"])
