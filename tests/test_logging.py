"""The library says what it has to say by `logging`, under the name `hpacml`, and prints nothing."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import hpacml

PACKAGE = Path(hpacml.__file__).parent
PRINTING = ("tools", "messages.py", "embedded.py")
MODULES = [path for path in PACKAGE.rglob("*.py") if not set(PRINTING) & set(path.relative_to(PACKAGE).parts)]
"""All but the command lines, whose purpose is to print, what kernels print, and what flushes streams at the end."""

WRITERS = {"sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__", "warnings.warn"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_prints(path: Path) -> None:
    assert list(_writes(path)) == []


def _writes(path: Path) -> Iterator[str]:
    """What writes to the terminal, or logs under another name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in WRITERS:
            yield f"{path.name}:{node.lineno}: {ast.unparse(node)}"
        elif isinstance(node, ast.Call):
            call = ast.unparse(node.func)
            if call in ("print", "pprint", "sys.exit"):
                yield f"{path.name}:{node.lineno}: {call}"
            elif call.endswith("getLogger") and not ast.unparse(node.args[0]).startswith(
                ("'hpacml'", "'torch.", "'pytorch_lightning'")
            ):
                yield f"{path.name}:{node.lineno}: {ast.unparse(node)}"
            elif call.startswith("logging.") and call != "logging.getLogger":  # of the root logger
                yield f"{path.name}:{node.lineno}: {call}"


@pytest.mark.slow
def test_a_program_that_does_everything_has_no_output(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, tmp_path / "program.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(PACKAGE.parent), "HPACML_CACHE": "0", "HOME": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("", "")
    assert "runs in place of its model" in (tmp_path / "log").read_text()


PROGRAM = """
import logging

import numpy as np, torch, hpacml
from hpacml import approx
from jaxtyping import Float64

logging.getLogger("hpacml").addHandler(logging.FileHandler("log"))
logging.getLogger("hpacml").setLevel(logging.DEBUG)

DIRECTIVES = '''tensor functor(f: [i, 0:1] = ([i]))
                ml(predicated: use) in(f(a[0:8])) out(f(c[0:8])) model(net) database("d.h5") label("r")'''

@hpacml.region(DIRECTIVES, on_error="accurate")
def region(a, c, use, net):
    c[:] = a

@hpacml.kernel
def kernel(a: Float64[np.ndarray, "8"]):
    approx("tensor functor(f: [i, 0:1] = ([i]))")
    with approx("ml(infer) inout(f(a[0:8])) model('m.pt2')"):
        a[0] = 1.0

hpacml.timing()
a, c = np.ones(8), np.zeros(8)
net = torch.nn.Linear(1, 1).double()
for use, model in ((False, None), (True, net), (True, "missing.pt2")):
    region(a, c, use, model)
hpacml.save_model(net, "m.pt2", example=torch.zeros(8, 1).double())
kernel(a)
for wrong in (lambda: region(a[:4], c, True, net), lambda: kernel(a[:4])):
    try:
        wrong()
    except hpacml.MapError:
        pass
hpacml.flush()
hpacml.open_database("d.h5")["r"]
hpacml.functor("f: [i] = ([i])").gather("a[0:n]", a=a, n=8)
assert hpacml.report()["r"].fallbacks == 1
str(hpacml.report())
"""
