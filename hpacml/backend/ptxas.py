"""NVIDIA's assembler, `ptxas`, which makes machine code of PTX where it is installed; else the driver does, later."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hpacml.backend import toolkit

_log = logging.getLogger("hpacml")


def find() -> str | None:
    """The path of `ptxas`, None where it is not installed."""
    if (found := shutil.which("ptxas")) is not None:
        return found
    return shutil.which("ptxas", path=os.pathsep.join(map(str, _places())))


def assemble(ptx: str, chip: str) -> bytes | None:
    """Machine code (a cubin) for a chip, None without `ptxas`, or where it is too old, which the log tells."""
    if (assembler := find()) is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "kernels.ptx", Path(folder) / "kernels.cubin"
        source.write_text(ptx, encoding="utf-8")
        command = [assembler, f"-arch={chip}", str(source), "-o", str(target)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode == 0:
            return target.read_bytes()
    said = (result.stderr or result.stdout).strip().partition("\n")[0]
    _log.warning("%s makes no machine code for %s, so that the driver will (%s)", assembler, chip, said)
    return None


def _places() -> Iterator[Path]:
    """Yield the folders that may hold it."""
    for place in toolkit.named():
        yield place / "bin"
    for nvidia in toolkit.packaged("nvidia"):
        yield nvidia / "cuda_nvcc" / "bin"
        yield from sorted(nvidia.glob("cu[0-9]*/bin"), reverse=True)
    for triton in toolkit.packaged("triton"):
        yield triton / "backends" / "nvidia" / "bin"
    for place in toolkit.of_system():
        yield place / "bin"
