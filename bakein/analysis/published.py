"""Published tables: the gaps of Front-Loading [arXiv 2510.03264], to be shown beside our own.

Read from a file of its printed figures (percent), which is no part of this package: tables by
benchmark for each stage, and averages of its SFT recipes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

# The tables by benchmark, in the order of the stages.
_STAGES = {
    "pretrain": "base_models_by_benchmark",
    "sft": "after_sft_on_SHQ_by_benchmark",
    "rl": "after_rl_by_benchmark",
}
_RECIPES = "sft_scaling"
# Stages that are held against each other, each over the benchmarks that these have in common.
_GROUPS = (("pretrain", "sft", "rl"), ("sft", "rl"))

# What is to be known before such a row is held against one of our own.
CAVEATS = (
    "8B parameters and 1T tokens, on benchmarks of mathematics, science and code; ours are small "
    "models on one procedural world.",
    "One seed per arm and no intervals: a gap is a figure, not a verdict.",
    "Models and benchmarks change from stage to stage; a row holds those common to its stages.",
    "SFT is matched in samples, not in tokens (about 18 times the tokens for the long answers).",
    "GPQA below the 25 % of chance: there, format failures hide in the accuracy.",
)


@dataclass(frozen=True)
class Gap:
    """Treated − control after one stage, over benchmarks: means in percent, gap in points.

    `logits` is the mean over benchmarks of the difference in logits.
    """

    stage: str
    benchmarks: tuple[str, ...]
    treated: float
    control: float
    points: float
    logits: float


@dataclass(frozen=True)
class Published:
    """The tables: stage → benchmark → arm → percent, and SFT recipe → average percent."""

    source: str
    stages: Mapping[str, Mapping[str, Mapping[str, float]]]
    recipes: Mapping[str, float]

    def gaps(self, stages: Sequence[str], treated: str, control: str) -> tuple[Gap, ...]:
        """The gap after each of these stages, over the benchmarks that all of them share.

        Raises:
            ValueError: a stage or arm that was not published, or no benchmark in common.
        """
        for stage in stages:
            if stage not in self.stages:
                known = ", ".join(self.stages)
                raise ValueError(f"stage {stage!r} was not published; there is: {known}")
        tables = [self.stages[stage] for stage in stages]
        shared = tuple(name for name in tables[0] if all(name in table for table in tables))
        if not shared:
            raise ValueError(f"no benchmark is common to {', '.join(stages)}")
        for stage, table in zip(stages, tables, strict=True):
            for arm in (treated, control):
                if arm not in table[shared[0]]:
                    known = ", ".join(table[shared[0]])
                    raise ValueError(f"{stage} has no arm {arm!r}; there is: {known}")
        return tuple(
            _gap(stage, table, shared, treated, control)
            for stage, table in zip(stages, tables, strict=True)
        )


def read(path: Path) -> Published:
    """Reads the published tables.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no JSON, or not these tables; with what is wrong, and where.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # of the JSON, or of its UTF-8
        raise ValueError(f"{path}: not JSON: {error}") from None
    if not isinstance(content, dict) or not isinstance(content.get("source"), str):
        raise ValueError(f"{path}: 'source' must be a text that names the paper")
    stages = {stage: _table(path, content, name) for stage, name in _STAGES.items()}
    averages = _table(path, content, _RECIPES)
    if any("avg" not in row for row in averages.values()):
        raise ValueError(f"{path}: {_RECIPES}.columns must name 'avg'")
    recipes = {name: row["avg"] for name, row in averages.items()}
    return Published(content["source"], stages, recipes)


def record(tables: Published, treated: str = "LMQ", control: str = "base") -> dict[str, Any]:
    """The gaps as plain JSON: over the benchmarks of all stages, and over those of SFT and RL.

    Raises:
        ValueError: as `Published.gaps`.
    """
    groups = [tables.gaps(stages, treated, control) for stages in _GROUPS]
    return {
        "source": tables.source,
        "caveats": list(CAVEATS),
        "treated": treated,
        "control": control,
        "groups": [
            {
                "benchmarks": list(gaps[0].benchmarks),
                "gaps": [
                    {
                        "stage": gap.stage,
                        "treated": gap.treated,
                        "control": gap.control,
                        "points": gap.points,
                        "logits": gap.logits,
                    }
                    for gap in gaps
                ],
            }
            for gaps in groups
        ],
    }


def _table(path: Path, content: dict, name: str) -> dict[str, dict[str, float]]:
    """Row → column → percent of one table, checked cell by cell."""
    table = content.get(name)
    if not isinstance(table, dict):
        raise ValueError(f"{path}: {name!r} must be a table, is {table!r:.60}")
    columns = table.get("columns")
    if not isinstance(columns, list) or not all(isinstance(c, str) for c in columns):
        raise ValueError(f"{path}: {name}.columns must be a list of names, is {columns!r:.60}")
    rows = {key: row for key, row in table.items() if key != "columns"}
    for key, row in rows.items():
        if not isinstance(row, list) or len(row) != len(columns):
            raise ValueError(f"{path}: {name}.{key} must be {len(columns)} numbers, is {row!r:.60}")
        for cell in row:
            number = isinstance(cell, int | float) and not isinstance(cell, bool)
            if not number or not 0 < cell < 100:
                raise ValueError(f"{path}: {name}.{key} holds {cell!r:.60}; allowed: 0 to 100 %")
    return {key: dict(zip(columns, row, strict=True)) for key, row in rows.items()}


def _gap(
    stage: str,
    table: Mapping[str, Mapping[str, float]],
    benchmarks: tuple[str, ...],
    treated: str,
    control: str,
) -> Gap:
    ours, theirs = (np.array([table[b][arm] for b in benchmarks]) for arm in (treated, control))
    return Gap(
        stage,
        benchmarks,
        treated=float(ours.mean()),
        control=float(theirs.mean()),
        points=float(np.mean(ours - theirs)),
        logits=float(np.mean(special.logit(ours / 100) - special.logit(theirs / 100))),
    )
