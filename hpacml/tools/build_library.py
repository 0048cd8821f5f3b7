"""`hpacml build` and `hpacml config`: libraries for C and Fortran, and what a compiler needs to use their runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hpacml.errors import HpacmlError
from hpacml.tools.console import echo

Source = Annotated[Path, typer.Argument(metavar="FILE", help="A file with kernels (.py), or of IR (.mlir).")]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The library (.so) or object (.o).")]
Header = Annotated[Path | None, typer.Option(metavar="FILE", help="The C header to write, too.")]
Fortran = Annotated[Path | None, typer.Option(metavar="FILE", help="The Fortran module to write, too.")]
Cpu = Annotated[
    str | None,
    typer.Option(metavar="KIND", help="The processors: x86-64, x86-64-v2, -v3 (the default), -v4, or native."),
]

Target = Annotated[
    str, typer.Option(metavar="KIND", help="cpu, or the GPU that runs them and has the arrays: sm_80, sm_90 ...")
]
Standalone = Annotated[
    Path | None, typer.Option(metavar="MODEL", help="A model to compile in: the library then needs no Python.")
]
Plain = Annotated[
    bool, typer.Option("--plain", help="Make an object for a runtime of somebody else (docs/runtime-abi.md).")
]


def build_library(
    source: Source,
    output: Output,
    header: Header = None,
    fortran: Fortran = None,
    cpu: Cpu = None,
    target: Target = "cpu",
    standalone: Standalone = None,
    plain: Plain = False,
) -> None:
    """Compile the kernels of a file, or the functions of a module, to a library that C and Fortran call."""
    from hpacml.embedding.ahead_of_time import build

    build(source, output, header=header, fortran=fortran, cpu=cpu, target=target, standalone=standalone, plain=plain)


def show_flags(
    cflags: Annotated[bool, typer.Option("--cflags", help="Print the flags of the C compiler.")] = False,
    libs: Annotated[bool, typer.Option("--libs", help="Print those of the linker.")] = False,
    cmake_dir: Annotated[bool, typer.Option("--cmake-dir", help="Print the folder for CMAKE_PREFIX_PATH.")] = False,
    pkg_config_dir: Annotated[
        bool, typer.Option("--pkg-config-dir", help="Print the folder for PKG_CONFIG_PATH.")
    ] = False,
) -> None:
    """Print what programs need that use libhpacml, which is made the first time."""
    from hpacml.embedding import host_library

    flags: list[str] = []
    flags += host_library.compiler_flags() if cflags else []
    flags += host_library.linker_flags() if libs else []
    flags += [str(host_library.folder() / "lib" / "cmake" / "hpacml")] if cmake_dir else []
    flags += [str(host_library.folder() / "lib" / "pkgconfig")] if pkg_config_dir else []
    if not flags:
        raise HpacmlError("hpacml config prints what it is asked for: --cflags, --libs, --cmake-dir, --pkg-config-dir")
    echo(" ".join(flags))
