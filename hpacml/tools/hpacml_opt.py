"""`hpacml-opt`: xdsl-opt with the dialect and passes of hpacml, which also reads Python files with kernels."""

from __future__ import annotations

import os
import signal
import sys
from difflib import get_close_matches
from io import BytesIO
from pathlib import Path
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
    from hpacml.frontend.kernels_of_file import kernels_of_file

    modules = {name: kernel.ir() for name, kernel in kernels_of_file(path).items()}
    if len(modules) == 1:
        return next(iter(modules.values()))
    # Each kernel has its own module, because two kernels may declare different functors with the same name.
    for name, each in modules.items():
        each.sym_name = StringAttr(name)
    return ModuleOp([*modules.values()])


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
