"""`hpacml-opt`: xdsl-opt with our dialect and passes, which also reads Python files with kernels."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import IO

from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.utils.exceptions import DiagnosticException, ParseError
from xdsl.xdsl_opt_main import xDSLOptMain

from hpacml.errors import CompileError, HpacmlError


class HpacmlOptMain(xDSLOptMain):
    """The xDSL driver with a frontend for `.py`; dialect and passes come through the `xdsl.universe` entry point."""

    def register_all_frontends(self) -> None:
        super().register_all_frontends()
        self.available_frontends["py"] = self.parse_python

    def parse_python(self, io: IO[str]) -> ModuleOp:
        """All kernels and regions defined in the input file, as one module."""
        if self.args.input_file is None:
            raise CompileError("Python is read from a file, not from standard input: name the file")
        return module_of(Path(self.args.input_file))


def module_of(path: Path) -> ModuleOp:
    """The IR of all kernels that a Python file defines. Raises `CompileError` if there are none."""
    from hpacml.frontend.kernel import Kernel

    module = _import(path)
    kernels: list[Kernel[..., object]] = [
        value for value in vars(module).values() if isinstance(value, Kernel) and value.__module__ == module.__name__
    ]
    if not kernels:
        raise CompileError(f"{path} defines no @hpacml.kernel")
    modules = [kernel.ir() for kernel in kernels]
    if len(modules) == 1:
        return modules[0]
    # A module each: two kernels may declare different functors under one name.
    for kernel, each in zip(kernels, modules, strict=True):
        each.sym_name = StringAttr(kernel.name)
    return ModuleOp(list(modules))


def _import(path: Path) -> ModuleType:
    """Import a file as the member of a package that it is, or by itself."""
    path = path.resolve()
    names, folder = [path.stem], path.parent
    while (folder / "__init__.py").exists():
        names.insert(0, folder.name)
        folder = folder.parent
    sys.path.insert(0, str(folder))
    if len(names) > 1:
        return importlib.import_module(".".join(names))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise CompileError(f"cannot import {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Entry point of `hpacml-opt`."""
    try:
        HpacmlOptMain(description="hpacml modular optimizer driver").run()
    except (HpacmlError, ParseError, DiagnosticException) as error:
        notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", ()))
        sys.exit(f"hpacml-opt: {error}{notes}")


if __name__ == "__main__":
    main()
