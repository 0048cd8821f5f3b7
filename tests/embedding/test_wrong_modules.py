"""Wrong modules are refused by `hpacml-opt` and by plain `xdsl-opt`, with the place in the source of what is wrong."""

from __future__ import annotations

import io
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from xdsl.xdsl_opt_main import xDSLOptMain

from hpacml.tools.errors_of_xdsl_opt import text_of
from hpacml.tools.hpacml_opt import HpacmlOptMain

MODULES = {path.stem: path for path in sorted((Path(__file__).parent / "wrong_modules").glob("*.mlir"))}
TOOLS = {"hpacml-opt": HpacmlOptMain, "xdsl-opt": xDSLOptMain}


def told(path: Path) -> tuple[str, str]:
    """The passes that a module is for, and how the error begins."""
    lines = dict(line[3:].split(": ", 1) for line in path.read_text().splitlines() if line.startswith("// "))
    return lines.get("passes", ""), lines["says"]


def test_there_are_enough() -> None:
    assert len(MODULES) >= 20


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("module", MODULES)
def test_a_wrong_module_is_refused_at_its_place(module: str, tool: str) -> None:
    passes, says = told(MODULES[module])
    with redirect_stdout(io.StringIO()) as output, pytest.raises(Exception) as caught:  # noqa: PT011 (any, if for users)
        TOOLS[tool](args=[str(MODULES[module]), "-p", passes]).run()
    text = text_of(caught.value)
    assert text is not None
    assert text.startswith(says)
    assert not output.getvalue()


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("hpacml.functor @f : [i, 0:3] = ([i], [i + 1])", "1:1: the left side declares 3 features"),
        ("hpacml.functor @f : [i] = ([i])\nfunc.func @g() {\n  func.call @h() : () -> ()\n  func.return\n}", "3:3"),
    ],
)
def test_an_operation_without_loc_has_the_place_of_its_text(tool: str, code: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.mlir"
    path.write_text(code)
    program = [str(Path(sys.executable).with_name(tool)), str(path)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"{path}:{says}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("tool", TOOLS)
def test_the_program_prints_no_traceback(tool: str) -> None:
    path = MODULES["mapping_that_is_an_argument"]
    passes, says = told(path)
    program = [str(Path(sys.executable).with_name(tool)), str(path), "-p", passes]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert not done.stdout
    assert done.stderr.startswith(f"{tool}: {says}")
    assert "Traceback" not in done.stderr
