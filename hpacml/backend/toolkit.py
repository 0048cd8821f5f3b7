"""Where CUDA's toolkit may be: where the environment names it, in Python packages, where systems have it."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from hpacml import environment


def named() -> list[Path]:
    """The toolkits that the environment names, and this Python's own folder, which may be one of conda."""
    variables = environment.CUDA_HOME, environment.CUDA_PATH, environment.CONDA_PREFIX
    return [Path(toolkit) for toolkit in (*(variable.text() for variable in variables), sys.prefix) if toolkit]


def packaged(name: str) -> list[Path]:
    """The folders of a Python package, which is not imported."""
    spec = find_spec(name)
    return [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]


def of_system() -> list[Path]:
    """The toolkits of the system, the newest first."""
    local = Path("/usr/local")
    return [local / "cuda", *sorted(local.glob("cuda-*"), reverse=True)]
