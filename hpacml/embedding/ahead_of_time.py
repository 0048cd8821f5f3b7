"""`hpacml.build`: kernels and functions of modules to an object or a library that C and Fortran call."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from hpacml.backend.chips import NVIDIA, require_chip
from hpacml.embedding import processors
from hpacml.embedding.c_header import header as c_header
from hpacml.embedding.c_types import KEYWORDS
from hpacml.embedding.exported import (
    Exported,
    Lower,
    for_gpus,
    for_others,
    for_python,
    of_kernel,
    of_module,
    require_distinct,
)
from hpacml.embedding.fortran_module import fortran_module
from hpacml.embedding.host_library import linker_flags
from hpacml.embedding.linking import link_library
from hpacml.embedding.object_code import object_code
from hpacml.errors import CompileError
from hpacml.frontend.kernel import Kernel
from hpacml.frontend.kernels_of_file import kernels_of_file

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp

PathLike: TypeAlias = "str | os.PathLike[str]"
HOST = "cpu"

Source: TypeAlias = "PathLike | ModuleOp | Kernel[..., object] | Iterable[Kernel[..., object]]"


def build(
    source: Source,
    output: PathLike,
    *,
    header: PathLike | None = None,
    fortran: PathLike | None = None,
    cpu: str | None = None,
    target: str = HOST,
    standalone: PathLike | None = None,
    plain: bool = False,
) -> None:
    """Compile functions ahead of time, for programs in C and Fortran.

    `source` is a file of Python, all of whose kernels are built; a file of IR (`.mlir`), its text or a `ModuleOp`, of
    which all functions are that have a body and are not private; or a kernel or several. `output` is an object
    (`heat.o`) or a shared library (`libheat.so`), for which the machine must have a C compiler; `header` and
    `fortran` are the files of the C declarations and of the Fortran module that are written, too. `cpu` is the kind of
    processors: "x86-64", "x86-64-v2", "x86-64-v3" (the default), "x86-64-v4", or "native" for this one. `target` is
    "cpu", or a GPU of NVIDIA, such as "sm_90": functions then take arrays in its memory, and a stream.

    `standalone` is a model that is compiled in: then the library needs neither Python nor libhpacml. Its regions have
    that model or name none; they infer, or run their original code, and collect nothing. An object that is `plain` is
    for the runtime of somebody else, as docs/runtime-abi.md tells.

    Raises `CompileError` for what cannot be compiled or called from C, `ModelError` for a `standalone` model that is
    none, or of other regions, and `HpacmlError` for files.
    """
    chosen = cpu or processors.default_name()
    chip = _chip(target, plain, standalone is not None)
    if plain and (standalone is not None or Path(output).suffix != ".o"):
        raise CompileError("plain code is an object (.o), to link with a runtime, and has no model compiled in")
    if standalone is None:
        lower = for_others if plain else for_python if chip is None else for_gpus
        functions = [replace(function, chip=chip) for function in exported_of(source, lower)]
        code = object_code(functions, chosen)
    else:
        functions, code = _alone(source, chosen, os.fspath(standalone))
    output = Path(output)
    built_for = chosen if chip is None else f"{chip} and {chosen}"
    starts = standalone is None and not plain
    if header is not None:
        _write(Path(header), c_header(functions, Path(header).name, built_for).encode())
    if fortran is not None:
        _write(Path(fortran), fortran_module(functions, Path(fortran).name, built_for, starts).encode())
    if output.suffix == ".o":
        _write(output, code)
    else:
        link_library(code, output, linker_flags() if standalone is None else ["-Wl,-z,defs"])


def _chip(target: str, plain: bool, standalone: bool) -> str | None:
    """The GPU of a target, None for the host. Raises `CompileError` for what is not built for GPUs."""
    if target == HOST:
        return None
    require_chip(NVIDIA, target)
    if plain:
        raise CompileError(f"plain code is for runtimes of others, which have no GPU: build it without {target}")
    if standalone:
        raise CompileError(
            f"a network is compiled in for the host alone, and {target} is a GPU: build it without a model, which then "
            "runs by Torch on the GPU, or without the target"
        )
    return target


def _alone(source: Source, cpu: str, model: str) -> tuple[list[Exported], bytes]:
    from hpacml.embedding import native_runtime
    from hpacml.embedding.compiled_in import CompiledIn

    compiled_in = CompiledIn(model, processors.processor(cpu))
    functions = exported_of(source, compiled_in.lower)
    more = [compiled_in.part(), *native_runtime.parts()]
    return functions, object_code(functions, cpu, more, native_runtime.EXPORTS)


def exported_of(source: Source, lower: Lower = for_python) -> list[Exported]:
    """The functions of a source. Raises `CompileError` for what C cannot call or name."""
    functions = _read(source, lower)
    require_distinct(functions)
    for function in functions:
        _require_name(function.name)
    return functions


def _read(source: Source, lower: Lower) -> list[Exported]:
    from xdsl.dialects.builtin import ModuleOp

    if isinstance(source, ModuleOp):
        return of_module(source, lower)
    if isinstance(source, Kernel):
        return [of_kernel(source, lower)]
    if isinstance(source, str | os.PathLike):
        return _of_path_or_text(os.fspath(source), lower)
    return [of_kernel(kernel, lower) for kernel in source]


def _of_path_or_text(source: str, lower: Lower) -> list[Exported]:
    if "\n" in source or "{" in source:
        return of_module(source, lower)
    path = Path(source)
    if path.suffix == ".py":
        return [of_kernel(kernel, lower) for kernel in kernels_of_file(path).values()]
    if path.suffix != ".mlir":
        raise CompileError(f"{path} is neither a file of Python (.py) nor one of IR (.mlir)")
    try:
        return of_module(path.read_text(encoding="utf-8"), lower, source)
    except OSError as error:
        raise CompileError(f"{path} cannot be read: {error.strerror}") from error


_LIBRARIES = ("libc.so.6", "libm.so.6", "libpthread.so.0")


def _require_name(name: str) -> None:
    """Raise `CompileError` for a name that no new function can have in C."""
    if not name.isascii():
        raise CompileError(f"'{name}' is no name in C, which has letters of ASCII: rename the function")
    if name in KEYWORDS or name == "main":
        raise CompileError(f"'{name}' is no name for a function in C: rename it")
    if name.startswith(("hpacml_", "_mlir")):
        raise CompileError(f"names that begin with 'hpacml_' are those of the runtime: rename '{name}'")
    for library in _LIBRARIES:
        if hasattr(ctypes.CDLL(library), name):
            raise CompileError(f"the C library has a function '{name}', which this one would replace: rename it")


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise CompileError(f"{path} cannot be written: {error.strerror}") from error
