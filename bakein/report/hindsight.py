"""What was asked only once there was something to know: when stages had been trained already."""

from collections.abc import Mapping
from typing import Any


def named_late(info: Mapping[str, Any]) -> dict[str, Any]:
    """What of study.json is other than when the first stage was begun.

    Args:
        info: study.json.

    Returns:
        names of `questions` and `contrasts` that were added or changed, `seeds` that were added,
        and whether the `bootstrap` was changed.
    """
    first = info["named_first"]
    contrasts = {row["name"]: row for row in first["contrasts"]}
    return {
        "questions": [
            name for name, row in info["questions"].items() if row != first["questions"].get(name)
        ],
        "contrasts": [
            row["name"] for row in info["contrasts"] if row != contrasts.get(row["name"])
        ],
        "seeds": [seed for seed in info["seeds"] if seed not in first["seeds"]],
        "bootstrap": info["bootstrap"] != first["bootstrap"],
    }


def late_sentence(late: Mapping[str, Any]) -> str:
    """The same in words; "" where all was named first."""
    named = [*late["questions"], *(f"contrast {name}" for name in late["contrasts"])]
    if late["seeds"]:
        named.append(f"seeds {', '.join(map(str, late['seeds']))}")
    if late["bootstrap"]:
        named.append("the bootstrap's settings")
    if not named:
        return ""
    return (
        f"Added or changed after the first stage had been begun: {', '.join(named)}. Results that "
        "were known by then may have asked for it."
    )
