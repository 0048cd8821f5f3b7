"""Shared libraries from object code, by the C compiler of the machine."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hpacml import environment
from hpacml.errors import CompileError


def link_library(code: bytes, output: Path, more: Sequence[str] = ()) -> None:
    """Make a shared library of object code, with `more` arguments for the linker. Raises `CompileError`."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "code.o").write_bytes(code)
        soname = f"-Wl,-soname,{output.name}"
        run_compiler(["-shared", soname, "-o", str(output), f"{folder}/code.o", *more, "-lm"], f"link {output}")


def run_compiler(arguments: Sequence[str], what: str) -> None:
    """Run the C compiler. Raises `CompileError` with what it prints if it is missing or fails to do `what`."""
    compiler = environment.CC.text()
    if (found := shutil.which(compiler)) is None:
        raise CompileError(
            f"to {what} takes a C compiler, and there is no '{compiler}': install gcc or clang, name another one by "
            f"{environment.CC.name}, or build an object (.o), which takes none"
        )
    result = subprocess.run([found, *arguments], capture_output=True, text=True, check=False)
    if result.returncode:
        raise CompileError(f"'{compiler}' could not {what}:\n{result.stderr.strip()}")
