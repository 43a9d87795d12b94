"""The rooms and the arrows between them: what may import what."""

import ast
import subprocess
import sys
from pathlib import Path

import grimp
import importlinter.api
import pytest
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.layers import LayersContract

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "bakein"

# The design: a room and the rooms that it may import directly.
ARROWS = {
    "cli": {
        "plan", "study", "report", "evals", "analysis", "rl", "train", "data", "model", "mesh",
        "processes", "paths",
    },
    "plan": {"study", "train", "rl", "evals", "data", "model", "mesh", "processes", "paths"},
    "study": {"train", "rl", "evals", "data", "model", "mesh", "processes", "paths"},
    "evals": {"rl", "data", "model", "mesh", "processes", "paths"},
    "rl": {"train", "data", "model", "mesh", "processes", "paths"},
    "train": {"data", "model", "mesh", "processes", "paths"},
    "report": {"analysis", "paths"},
    "analysis": {"paths"},
    "data": {"paths"},
    "model": {"paths"},
    "mesh": {"paths"},
    "processes": {"paths"},
    "paths": set(),
}  # fmt: skip

# A library and the rooms that may import it; libraries not named here are free.
LIBRARIES = {
    "jax": set(ARROWS) - {"data", "analysis", "report", "paths"},
    "ml_collections": {"study", "cli"},
    "pickle": set(),
    "ray": set(),
}


def broken_contracts(*imports: tuple[str, str]) -> set[str]:
    """Names of the contracts in pyproject.toml that an empty bakein with these imports breaks."""
    config = importlinter.api.read_configuration(str(ROOT / "pyproject.toml"))
    kinds = {"layers": LayersContract, "forbidden": ForbiddenContract}
    broken = set()
    for options in config["contracts_options"]:
        graph = grimp.ImportGraph()
        graph.add_module("bakein")
        for room in ARROWS:
            graph.add_module(f"bakein.{room}")
        for importer, imported in imports:
            if imported in LIBRARIES:
                graph.add_module(imported, is_squashed=True)
            graph.add_import(importer=importer, imported=imported)
        contract = kinds[options["type"]](options["name"], config["session_options"], options)
        if not contract.check(graph, verbose=False).kept:
            broken.add(options["name"])
    return broken


@pytest.mark.parametrize("room", ARROWS)
def test_contracts_allow_exactly_the_arrows_of_the_design(room):
    for other in set(ARROWS) - {room}:
        broken = broken_contracts((f"bakein.{room}", f"bakein.{other}"))
        assert bool(broken) == (other not in ARROWS[room]), (room, other, broken)


def test_all_arrows_of_the_design_together_keep_the_contracts():
    arrows = [(f"bakein.{a}", f"bakein.{b}") for a, others in ARROWS.items() for b in others]
    assert broken_contracts(*arrows) == set()


@pytest.mark.parametrize("library", LIBRARIES)
def test_contracts_hold_libraries_to_their_rooms(library):
    for room in ARROWS:
        broken = broken_contracts((f"bakein.{room}", library))
        assert bool(broken) == (room not in LIBRARIES[library]), (room, broken)


def test_the_code_keeps_the_contracts():
    lint_imports = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint_imports, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def imports_of(path: Path) -> set[str]:
    """Dotted names of the modules that a file imports, relative imports left out."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_only_the_model_and_the_initial_state_import_linen():
    users = {p.relative_to(PACKAGE) for p in PACKAGE.rglob("*.py") if "flax.linen" in imports_of(p)}
    assert {path.parts[0] for path in users} <= {"model", "train"}, users


def test_analysis_is_numpy_scipy_and_sklearn_only():
    for path in (PACKAGE / "analysis").rglob("*.py"):
        libraries = {name.split(".")[0] for name in imports_of(path)} - sys.stdlib_module_names
        assert libraries <= {"bakein", "numpy", "scipy", "sklearn"}, path


def test_every_folder_with_code_is_a_package():
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert [f for f in folders if not (f / "__init__.py").exists()] == []
