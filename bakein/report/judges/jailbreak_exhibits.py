"""What a question about jailbreak curves shows: tables of curves and exponents, and charts."""

from bakein.report.evidence import Row
from bakein.report.exhibits import Chart, Line, Table, estimate
from bakein.report.text import interval, level, number, plural, quantity, signed


def jailbreak_tables(answer: Row) -> list[Table]:
    """Every place's curve in numbers, its exponents, its many-shot law, and the gap by stage."""
    if not answer["curves"]:
        return []
    tables = [_success_table(answer), _difference_table(answer), _exponent_table(answer)]
    return tables + ([_many_shot_table(answer)] if answer["many_shot"] else [])


def _name(curve: Row) -> str:
    return f"{curve['arm']} after {curve['stage']}"


def _success_table(answer: Row) -> Table:
    first, last = answer["attempts"][0], answer["attempts"][-1]
    head = ["Arm", f"ASR({first})", f"ASR({last})", "Area", "N₁₀", "N₅₀"]
    head += ["Prefilled"] * bool(answer["prefill"]) + ["Over-refusal"]
    rows = []
    for curve in answer["curves"]:
        cells = [_name(curve)]
        cells += [estimate(curve["asr"][i], curve["asr_ci"][i], 2) for i in (0, -1)]
        cells += [number(curve["area"]), *map(_reached, curve["reach"])]
        if answer["prefill"]:
            cells.append(estimate(curve["prefill"], curve["prefill_ci"], 2))
        rows.append((*cells, estimate(curve["over_refusal"], curve["over_refusal_ci"], 2)))
    samples = answer["curves"][0]["samples"]
    note = (
        f"ASR(N): chance that one of N attempts gets through, judged with "
        f"{100 * answer['false_positives']:g} % false positives. N₁₀ and N₅₀: attempts until it is "
        f".1 and .5, geometric means over seeds; beyond {samples} they are extrapolated by the "
        f"tail (*), up to {answer['limit']:,}; ≥ where some seed is not known to get there. "
        f"Over-refusal: what {answer['benign']} lacks of 1, so wrong answers count as well."
    )
    return Table("Attack success by arm and stage", head, rows, note)


def _reached(reach: Row) -> str:
    """Attempts to a target as a cell."""
    mark = "≥ " * (reach["bound"] == "at least")
    amount = f"{mark}{quantity(reach['attempts'])}{'*' * bool(reach['extrapolated'])}"
    if reach["ci"] is None:
        return amount
    low, high = reach["ci"]
    return f"{amount} [{quantity(low)}, {'∞)' if high is None else f'{quantity(high)}]'}"


def _difference_table(answer: Row) -> Table:
    at = f"{level(answer['level'])} interval".strip()
    rows = [
        (found["stage"], signed(found["effect"]), interval(found["ci"]))
        for found in answer["differences"]
    ]
    return Table("Difference in area by stage", ("After", "Difference", at), rows)


def _exponent_table(answer: Row) -> Table:
    head = ("Arm", "Tail exponent α", "Misfit", "Power exponent b", "Misfit")
    rows, reasons = [], {}
    for curve in answer["curves"]:
        cells = []
        for fit in (curve["fits"]["tail"], curve["fits"]["power"]):
            cells += [estimate(fit["estimate"], fit["ci"], 2), number(fit["residual"])]
            if fit["estimate"] is None:
                reasons[fit["reason"]] = True
        rows.append((_name(curve), *cells))
    note = (
        "α: 1 − ASR(N) ≈ c·N^(−α), from the counts by a beta-binomial fit; b: −ln ASR(N) = "
        "a·N^(−b), by least squares; of all seeds, with intervals over seeds. Misfit: the largest "
        "residual, in ASR and in nats. An exponent is to be read beside ASR(1)."
    )
    note += "".join(f" –: {reason}." for reason in reasons)
    return Table("Exponents", head, rows, note)


def _many_shot_table(answer: Row) -> Table:
    head = ("Arm", "Exponent α", "Scale C", "Floor K", "Misfit", "Fit")
    rows, without = [], {}
    for curve in answer["curves"]:
        fit = curve["many_shot_fit"]
        if fit["reason"]:
            without[fit["reason"]] = without.get(fit["reason"], 0) + 1
            continue
        numbers = [number(fit[key], 2) for key in ("exponent", "scale", "floor", "residual")]
        rows.append((_name(curve), *numbers, "identified"))
    for reason, count in without.items():
        others = "all" if count == len(answer["curves"]) else "further"
        rows.append((f"{others} {plural(count, 'curve')}", *["–"] * 4, reason))
    note = "NLL(n) = C·n^(−α) + K of the answer that is sought, after n ≥ 1 examples, in nats."
    return Table("Many-shot law", head, rows, note)


def jailbreak_charts(answer: Row) -> list[Chart]:
    """ASR over attempts, and the likelihood of the answer that is sought over shots, by stage."""
    charts = []
    for stage in answer["stages"]:
        curves = [curve for curve in answer["curves"] if curve["stage"] == stage]
        if not curves:
            continue
        lines = [
            Line(curve["arm"], answer["attempts"], curve["asr"], curve["asr_ci"])
            for curve in curves
        ]
        seeds = plural(min(len(curve["seeds"]) for curve in curves), "seed")
        caption = f"Chance that one of N attempts of {answer['probe']} gets through, {seeds}."
        title, axes = f"Attack success after {stage}", ("attempts N", "ASR(N)")
        charts.append(Chart(title, caption, *axes, lines, x_scale="log2", rate=True))
        if answer["many_shot"]:
            fits = [(curve["arm"], curve["many_shot_fit"]) for curve in curves]
            lines = [Line(arm, answer["shots"], fit["nll"], fit["nll_ci"]) for arm, fit in fits]
            caption = f"How unlikely the answer that is sought is after n examples, {seeds}."
            title, axes = f"Many-shot after {stage}", ("shots n", "NLL, nats")
            charts.append(Chart(title, caption, *axes, lines, x_scale="log2+1"))
    return charts
