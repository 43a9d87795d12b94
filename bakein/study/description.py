"""What study.json says: the study, its nodes, and what it is run with."""

import functools
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import jax

import bakein
from bakein.study.dag import Dag
from bakein.study.digest import plain
from bakein.study.schema import Study

_VERSIONS = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


def describe_study(
    study: Study,
    dag: Dag,
    device: str,
    config: Mapping[str, Any],
    rules: str,
    published: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """study.json: all that the report needs, fixed before anything is trained.

    Args:
        study: the study.
        dag: its nodes.
        device: what they run on, from `device_name`.
        config: the whole configuration as JSON.
        rules: how verdicts will be made.
        published: gaps to be shown beside the study's; None for none.
    """
    return {
        "study": study.name,
        "config": config,
        **provenance(device),
        "seeds": list(study.members),
        "arms": list(study.arms),
        "stages": list(study.stages),
        "nodes": [
            {
                "id": id,
                "kind": dag.nodes[id].kind,
                "stage": stage,
                "arm": arm,
                "seed": seed,
                "parents": [dag.nodes[id].parent] if dag.nodes[id].parent else [],
            }
            for (arm, stage, seed), id in dag.places.items()
        ],
        "evals": dag.evals,
        "probes": {
            name: {
                "k": list(probe.k),
                "nodes": dag.probes[name],
                **({"budgets": list(probe.doublings)} if probe.doublings else {}),
            }
            for name, probe in study.probes.items()
        },
        "questions": {
            name: {**plain_fields(question), "places": [list(place) for place in question.places]}
            for name, question in study.questions.items()
        },
        "contrasts": [
            {"name": name, "question": "", **plain_fields(contrast)}
            for name, contrast in study.contrasts.items()
        ],
        "k": list(study.evaluation.k),
        "bootstrap": plain_fields(study.bootstrap),
        "verdict_rules": rules,
        "published": published,
    }


def provenance(device: str) -> dict[str, Any]:
    """Versions, commit and device of what computes here."""
    return {"versions": _versions(), "git": _git_commit(), "device": device}


@functools.cache
def _versions() -> Mapping[str, str]:
    """Read once: every stage says them."""
    return {
        "python": platform.python_version(),
        "bakein": bakein.__version__,
        **{name: metadata.version(name) for name in _VERSIONS},
    }


def plain_fields(value: Any) -> dict[str, Any]:
    """The fields of a dataclass as JSON."""
    return {key: item for key, item in plain(value).items() if key != "class"}


def device_name() -> str:
    """What this process computes with: how many devices, and of which kind."""
    device = jax.devices()[0]
    kind = platform.processor() or platform.machine() if device.platform == "cpu" else ""
    return f"{len(jax.devices())} x {device.device_kind} {kind}".strip()


@functools.cache
def _git_commit() -> str | None:
    """The commit of the code that runs, with + where it was changed; None outside a checkout."""
    where = os.path.dirname(bakein.__file__)

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", where, *words], capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        if not git("ls-files", "__init__.py"):  # installed, perhaps below another's checkout
            return None
    except FileNotFoundError:  # no git on this machine
        return None
    changed = "+" if git("status", "--porcelain", "--untracked-files=no") else ""
    return git("rev-parse", "--short=12", "HEAD") + changed
