"""Published gaps beside our own: what a paper's tables say of stages of the same names.

The published figures are in study.json, copied when the study began; ours are measured here.
"""

from bakein.analysis import bootstrap
from bakein.report.evidence import Evidence, Row, limits
from bakein.report.exhibits import Table
from bakein.report.text import interval, level, signed


def beside(row: Row, evidence: Evidence, seeds: tuple[int, ...]) -> Row | None:
    """The published gaps, and ours in points; None where the study names no tables.

    Args:
        row: of a question about persistence, answered stage by stage.
        evidence: what was measured.
        seeds: those of the answer.
    """
    published = evidence.study.info.get("published")
    if not published or row["metric"] != "accuracy":
        return None
    ours = []
    for point in row["stages"]:
        arms = row["treated"], row["control"]
        treated_SP, control_SP = (
            evidence.metric((arm, point["stage"]), "accuracy", seeds) for arm in arms
        )
        draws = evidence.resampling()
        gap = bootstrap.mean_interval(treated_SP - control_SP, *draws)
        gap = bootstrap.bounded(gap, treated_SP.size, -1.0, 1.0)
        ci = limits(gap)
        ours.append(
            {
                "stage": point["stage"],
                "points": 100 * gap.estimate,
                "points_ci": ci and [100 * end for end in ci],
                "logits": point["delta"],
                "logits_ci": point["ci"],
            }
        )
    return {**published, "ours": ours}


def published_tables(answer: Row) -> list[Table]:
    """Their gaps and ours, stage by stage."""
    found = answer.get("published")
    if not found:
        return []
    groups, ours = found["groups"], found["ours"]
    columns = [f"published, {len(group['benchmarks'])} benchmarks" for group in groups]
    at = f"{level(answer['level'])} interval"
    own = f"this study, {at}".rstrip(", ")
    head = (
        "After",
        *(f"Points: {column}" for column in columns),
        f"Points: {own}",
        *(f"Logits: {column}" for column in columns),
        f"Logits: {own}",
    )
    published = dict.fromkeys(gap["stage"] for group in groups for gap in group["gaps"])
    measured = {point["stage"]: point for point in ours}
    rows = []
    for stage in dict.fromkeys([*published, *measured]):
        theirs = [
            next((gap for gap in group["gaps"] if gap["stage"] == stage), {}) for group in groups
        ]
        point = measured.get(stage, {})
        rows.append(
            (
                stage,
                *(signed(gap.get("points"), 2) for gap in theirs),
                _ours(point, "points"),
                *(signed(gap.get("logits"), 2) for gap in theirs),
                _ours(point, "logits"),
            )
        )
    shared = "; ".join(
        f"the {len(group['benchmarks'])} benchmarks common to "
        f"{', '.join(gap['stage'] for gap in group['gaps'])}: {', '.join(group['benchmarks'])}"
        for group in groups
    )
    note = (
        f"{found['source']}. There, {found['treated']} against {found['control']}; here, "
        f"{answer['treated']} against {answer['control']}. Points are differences in percent, "
        f"logits the mean difference in logits, over problems here and over benchmarks there "
        f"({shared}). What can be compared: the sign of a gap, and whether it grows or shrinks "
        f"from stage to stage. What cannot, its size: {' '.join(found['caveats'])}"
    )
    return [Table("Published, 8B, beside this study", head, rows, note)]


def _ours(point: Row, key: str) -> str:
    if not point:
        return "–"
    ci = point[f"{key}_ci"]
    return signed(point[key], 2) if ci is None else f"{signed(point[key], 2)} {interval(ci, 2)}"
