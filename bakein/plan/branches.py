"""How often a program takes each branch of a choice that it makes layer by layer."""

import re

from bakein.model.kernels import BY_LAYER


def shares(scope: str, branches: int) -> list[float] | None:
    """Of the layers, by branch, as the scope of the choice says; None where it does not."""
    found = re.findall(rf"{BY_LAYER}(\d+(?:_\d+)*)", scope)
    counts = [int(count) for count in found[-1].split("_")] if found else []
    return [count / sum(counts) for count in counts] if len(counts) == branches else None
