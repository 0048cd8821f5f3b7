"""`hpacml-opt`: xdsl-opt with the dialect and passes of hpacml, which also reads Python files with kernels."""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
import sys
import traceback
from difflib import get_close_matches
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import IO

from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.utils.arg_spec import parse_pipeline
from xdsl.utils.exceptions import ArgSpecParseError, DiagnosticException, ParseError
from xdsl.xdsl_opt_main import xDSLOptMain

from hpacml.dialects.hpacml.locations import PlacingParser
from hpacml.errors import CompileError, HpacmlError
from hpacml.pipelines import GPU_STAGES, STAGES
from hpacml.tools.refused_operation import told


class HpacmlOptMain(xDSLOptMain):
    """The xDSL driver with a frontend for `.py`. The entry point `xdsl.universe` adds the dialect and the passes.

    Raises `HpacmlError` if an argument is wrong or a file cannot be read or written.
    """

    def setup_pipeline(self) -> None:
        try:
            for spec in parse_pipeline(self.args.passes):
                self._require_pass(spec.name)
            super().setup_pipeline()
        except (ArgSpecParseError, ValueError) as error:
            raise HpacmlError(f"cannot read the passes '{self.args.passes}': {error}") from error

    def _require_pass(self, name: str) -> None:
        if name in self.available_passes:
            return
        stages = STAGES | GPU_STAGES
        close = [stages[name]] if name in stages else get_close_matches(name, self.available_passes, 1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        raise HpacmlError(
            f"there is no pass '{name}'{hint}\n"
            f"The passes of hpacml are {', '.join(GPU_STAGES.values())}; hpacml-opt --help has those of xDSL too"
        )

    version_format = "hpacml-opt built from xdsl version {xdsl_version}"

    def get_input_stream(self) -> tuple[IO[bytes], str]:
        name = self.args.input_file or "standard input"
        try:
            stream, extension = super().get_input_stream()
            with stream:
                content = stream.read()
            content.decode()
        except UnicodeError as error:
            raise HpacmlError(f"'{name}' is not text: name a file of MLIR or Python") from error
        except OSError as error:
            raise HpacmlError(f"cannot read '{name}' ({error.strerror}): name a file of MLIR or Python") from error
        if not self.args.frontend and extension not in self.available_frontends:
            raise HpacmlError(f"'{name}' is neither .mlir nor .py: add -f mlir or -f py to say what it holds")
        return BytesIO(content), extension

    def prepare_output(self) -> IO[str]:
        try:
            return super().prepare_output()
        except OSError as error:
            raise HpacmlError(
                f"cannot write '{self.args.output_file}' ({error.strerror}): name another file with -o"
            ) from error

    def register_all_frontends(self) -> None:
        super().register_all_frontends()
        self.available_frontends["py"] = self.parse_python
        self.available_frontends["mlir"] = self.parse_mlir

    def parse_chunk(self, chunk: IO[bytes], file_extension: str, start_offset: int = 0) -> ModuleOp | None:
        self._first_line = start_offset + 1
        return super().parse_chunk(chunk, file_extension, start_offset)

    def parse_mlir(self, io: IO[bytes]) -> ModuleOp:
        """A module, whose operations know their places in the text. Raises `ParseError`."""
        parser = PlacingParser(self.ctx, io.read().decode(), self.get_input_name(), self._first_line)
        return parser.parse_module(not self.args.no_implicit_module)

    def parse_python(self, io: IO[bytes]) -> ModuleOp:
        """All kernels of the input file, as one module. Raises `CompileError`."""
        if self.args.input_file is None:
            raise CompileError("Python is read from a file, not from standard input: name the file")
        return module_of(Path(self.args.input_file))


def module_of(path: Path) -> ModuleOp:
    """The IR of all kernels that a Python file defines. Raises `CompileError` if it defines none or fails."""
    from hpacml.frontend.kernel import Kernel

    try:
        module = _import(path.resolve())
    except HpacmlError:
        raise
    except Exception as error:
        raise CompileError(
            f"cannot import {path}: {_place(path.resolve(), error)}{type(error).__name__}: {error}"
        ) from error
    kernels: dict[str, Kernel[..., object]] = {}
    for name, value in vars(module).items():
        if isinstance(value, Kernel) and value.__module__ == module.__name__ and value not in kernels.values():
            kernels[name] = value
    if not kernels:
        raise CompileError(f"{path} defines no @hpacml.kernel")
    modules = [kernel.ir() for kernel in kernels.values()]
    if len(modules) == 1:
        return modules[0]
    # Each kernel has its own module, because two kernels may declare different functors with the same name.
    for name, each in zip(kernels, modules, strict=True):
        each.sym_name = StringAttr(name)
    return ModuleOp(list(modules))


def _import(path: Path) -> ModuleType:
    """Import a file, as a member of its package if it has one."""
    names, folder = [path.stem], path.parent
    while (folder / "__init__.py").exists():
        names.insert(0, folder.name)
        folder = folder.parent
    sys.path.insert(0, str(folder))
    if len(names) > 1:
        return importlib.import_module(".".join(names))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise CompileError(f"cannot import {path}: its name does not end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _place(path: Path, error: Exception) -> str:
    """The line of a file that raised an error, such as `heat.py:3: `, or nothing."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f"{path.name}:{lines[-1]}: " if lines else ""


def main() -> None:
    """Entry point of `hpacml-opt`."""
    try:
        HpacmlOptMain(description="hpacml modular optimizer driver").run()
    except BrokenPipeError:
        # The reader has gone, as `head` does. Python writes the rest at exit, which must not fail either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except (DiagnosticException, HpacmlError, ParseError) as error:
        sys.exit(f"hpacml-opt: {told(error)}")


if __name__ == "__main__":
    main()
