"""Matching: whether the arms of a stage spent the same, in samples, tokens and FLOPs."""

from collections.abc import Mapping


def relative_differences(
    spent: Mapping[str, Mapping[str, float]], control: str
) -> dict[str, dict[str, float]]:
    """How far each arm's spending is from the control's, per quantity.

    Args:
        spent: arm → quantity (samples, tokens, flops) → amount of one stage, not negative.
        control: the arm that the others are held against.

    Returns:
        arm → quantity → (amount − control's)/control's; 0 where both are 0, inf where only the
        control's is. The control is included, with zeros.

    Raises:
        ValueError: the control is not an arm, arms do not list the same quantities, or an amount
            is negative.
    """
    if control not in spent:
        raise ValueError(f"control is {control!r}; allowed: one of the arms {', '.join(spent)}")
    base = spent[control]
    for arm, amounts in spent.items():
        if amounts.keys() != base.keys():
            raise ValueError(f"{arm} lists {', '.join(amounts)}; {control} lists {', '.join(base)}")
        for quantity, amount in amounts.items():
            if not amount >= 0:
                raise ValueError(f"{arm}: {quantity} is {amount}; allowed: 0 or more")
    return {
        arm: {quantity: _relative(amounts[quantity], base[quantity]) for quantity in base}
        for arm, amounts in spent.items()
    }


def _relative(amount: float, base: float) -> float:
    if amount == base:
        return 0.0
    return (amount - base) / base if base else float("inf")
