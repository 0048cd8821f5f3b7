"""CUDA's libdevice: the mathematics that NVIDIA's GPUs have no instructions for, as LLVM bitcode."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from hpacml import environment
from hpacml.errors import CompileError

_FILE = "libdevice.10.bc"


def bitcode() -> bytes:
    """Return the library. Raises `CompileError` where it is not installed."""
    if (path := find()) is None:
        raise CompileError(
            f"a parallel loop (prange) uses functions of CUDA's libdevice, and {_FILE} is in none of "
            f"{', '.join(map(str, _places()))}: pip install nvidia-cuda-nvcc, or set CUDA_HOME to where CUDA is"
        )
    return path.read_bytes()


def find() -> Path | None:
    """Return the library's file, or None where it is not installed."""
    return next((place / _FILE for place in _places() if (place / _FILE).is_file()), None)


def _places() -> Iterator[Path]:
    """Yield the folders that may hold it: of the CUDA that the environment names, of Python packages, of the system."""
    named = (environment.CUDA_HOME, environment.CUDA_PATH, environment.CONDA_PREFIX)
    for toolkit in filter(None, (*(variable.text() for variable in named), sys.prefix)):
        yield Path(toolkit, "nvvm", "libdevice")
    for nvidia in _package("nvidia"):
        yield nvidia / "cuda_nvcc" / "nvvm" / "libdevice"
        yield from sorted(nvidia.glob("cu[0-9]*/nvvm/libdevice"), reverse=True)
    for triton in _package("triton"):
        yield triton / "backends" / "nvidia" / "lib"
    for toolkit in (Path("/usr/local/cuda"), *sorted(Path("/usr/local").glob("cuda-*"), reverse=True)):
        yield toolkit / "nvvm" / "libdevice"
    yield Path("/usr/lib/nvidia-cuda-toolkit/libdevice")


def _package(name: str) -> list[Path]:
    """Return the folders of a package without importing it."""
    spec = find_spec(name)
    return [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]
