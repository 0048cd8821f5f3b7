"""CUDA's libdevice: the mathematics that NVIDIA's GPUs have no instructions for, as LLVM bitcode."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hpacml.backend import toolkit
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
    """Yield the folders that may hold it."""
    for place in toolkit.named():
        yield place / "nvvm" / "libdevice"
    for nvidia in toolkit.packaged("nvidia"):
        yield nvidia / "cuda_nvcc" / "nvvm" / "libdevice"
        yield from sorted(nvidia.glob("cu[0-9]*/nvvm/libdevice"), reverse=True)
    for triton in toolkit.packaged("triton"):
        yield triton / "backends" / "nvidia" / "lib"
    for place in toolkit.of_system():
        yield place / "nvvm" / "libdevice"
    yield Path("/usr/lib/nvidia-cuda-toolkit/libdevice")
