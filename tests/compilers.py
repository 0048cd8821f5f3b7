"""The compilers of other languages that tests need, and what runs their programs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

CMAKE = shutil.which("cmake", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")

needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
needs_gfortran = pytest.mark.skipif(shutil.which("gfortran") is None, reason="needs gfortran")
needs_cmake = pytest.mark.skipif(CMAKE is None or shutil.which("make") is None, reason="needs CMake and make")


def run(*command: str | Path, cwd: Path, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command. It finds this hpacml by what is built in, not by the environment of the tests."""
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(
        [*map(str, command)], cwd=cwd, env={**plain, **environment}, capture_output=True, text=True, check=False
    )
    assert not check or result.returncode == 0, f"{result.stdout}\n{result.stderr}"
    return result
