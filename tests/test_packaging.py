"""setup.py and the Makefile: what is installed, and when."""

import ast
import os
import re
import runpy
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import setuptools

import bakein

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def metadata(monkeypatch):
    """The arguments that setup.py gives to setuptools.setup."""
    given = {}
    monkeypatch.setattr(setuptools, "setup", lambda **arguments: given.update(arguments))
    monkeypatch.chdir(ROOT)
    runpy.run_path(str(ROOT / "setup.py"))
    return given


def distribution(requirement: str) -> str:
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")


def test_version_is_that_of_the_package(metadata):
    assert metadata["version"] == bakein.__version__


def test_every_requirement_has_a_lower_bound_and_no_upper_one(metadata):
    extras = metadata["extras_require"]
    assert set(extras) == {"test", "gym", "ray", "gcs", "tpu", "cuda"}
    for requirement in sum(extras.values(), metadata["install_requires"]):
        assert re.fullmatch(r"[\w.-]+(\[\w+\])?>=[\d.]+", requirement), requirement


def test_requirements_are_what_the_code_imports(metadata):
    owners = packages_distributions()
    imported = set()
    for folder in ("bakein", "experiments", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Import):
                    imported |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    imported.add(node.module.split(".")[0])
    neighbours = {
        p.stem for name in ("experiments", "benchmarks") for p in (ROOT / name).glob("*.py")
    }
    libraries = imported - set(sys.stdlib_module_names) - {"bakein", "experiments"} - neighbours
    # Imported where it is needed, and told of where it is missing.
    extras = metadata["extras_require"]
    libraries -= {distribution(r).replace("-", "_") for r in extras["gym"] + extras["ray"]}
    libraries -= {"google"}  # google.cloud.storage, of the extra gcs; many share the name
    used = {distribution(owners[library][0]) for library in libraries}
    used |= {"filelock"}  # jax's, to bound its cache of programs; it does not require it itself
    assert used == {distribution(requirement) for requirement in metadata["install_requires"]}


def test_a_build_holds_every_file_of_the_package(tmp_path):
    project = tmp_path / "project"
    skip = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "bakein", project / "bakein", ignore=skip)
    for name in ("setup.py", "pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, project)
    build = [sys.executable, "setup.py", "--quiet", "build_py", "--build-lib", "../build"]
    subprocess.run(build, cwd=project, check=True, capture_output=True)

    def files(folder):
        return {p.relative_to(folder) for p in folder.rglob("*") if p.is_file()}

    assert files(tmp_path / "build" / "bakein") == files(project / "bakein")


# Answers the Makefile's questions like the interpreter it stands for, and writes down what it is
# asked to do. AGE=1: too old. LAME=1: without the venv module.
PYTHON = r"""#!/usr/bin/env bash
case "$*" in
*version_info*) exit "${AGE:-0}" ;;
*ensurepip*) exit "${LAME:-0}" ;;
"-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
esac
echo "$*" >>log
"""


class Workshop:
    """A folder with the Makefile, a setup.py and a stand-in python."""

    def __init__(self, folder: Path):
        self.folder = folder
        shutil.copy(ROOT / "Makefile", folder)
        (folder / "setup.py").touch()
        for name in ("python3", "python3.12"):
            path = folder / "bin" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(PYTHON)
            path.chmod(0o755)

    def make(self, *args, **env):
        # Nothing else of the environment: the suite may itself be run by make.
        env |= {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"}
        return subprocess.run(
            ["make", *args], cwd=self.folder, env=env, capture_output=True, text=True
        )

    def log(self) -> list[str]:
        log = self.folder / "log"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def workshop(tmp_path):
    return Workshop(tmp_path)


INSTALL = "-m pip install --quiet --disable-pip-version-check --editable .[test]"


def test_the_environment_is_made_once_and_again_when_setup_changes(workshop):
    assert workshop.make("venv").returncode == 0
    assert workshop.log() == ["-m venv .venv", INSTALL]
    assert workshop.make("venv").returncode == 0
    assert len(workshop.log()) == 2

    later = (workshop.folder / ".venv/installed").stat().st_mtime + 5
    os.utime(workshop.folder / "setup.py", (later, later))
    assert workshop.make("venv").returncode == 0
    assert workshop.log()[2:] == ["-m venv .venv", INSTALL]


def test_every_interpreter_has_an_environment_of_its_own(workshop):
    done = workshop.make("test", "PYTHON=python3.12", "WORKERS=1")
    assert done.returncode == 0, done.stderr
    assert workshop.log()[0] == "-m venv .venv-python3.12"
    assert re.match(r"-m pytest -n 1 .*--cov-fail-under=90", workshop.log()[-1])
    assert not (workshop.folder / ".venv").exists()


@pytest.mark.parametrize(
    ("args", "env", "message"),
    [
        ([], {"AGE": "1"}, "bakein needs Python 3.11 or newer; python3 is older or missing"),
        (["PYTHON=python9"], {}, "bakein needs Python 3.11 or newer; python9 is older or missing"),
        ([], {"LAME": "1"}, "python3 cannot make virtual environments"),
    ],
)
def test_an_unfit_python_is_refused_in_one_line(workshop, args, env, message):
    done = workshop.make("venv", *args, **env)
    assert done.returncode == 2
    first, *rest = done.stderr.splitlines()
    assert first.startswith(message)
    assert all(line.startswith("make: ***") for line in rest)
    assert workshop.log() == []


def test_a_failed_installation_is_tried_again(workshop):
    broken = PYTHON.replace("esac", '"-m pip"*) exit 3 ;;\nesac')
    (workshop.folder / "bin/python3").write_text(broken)
    assert workshop.make("venv").returncode == 2
    (workshop.folder / "bin/python3").write_text(PYTHON)
    assert workshop.make("venv").returncode == 0
    assert workshop.log()[-1] == INSTALL


def test_help_names_every_target():
    makefile = (ROOT / "Makefile").read_text()
    targets = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split()
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(re.findall(r"^make (\w+)", done.stdout, re.MULTILINE)) == set(targets) - {"help"}
