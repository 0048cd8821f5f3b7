"""Long and deep programs: they compile, or are errors at their place, on any stack and with any recursion limit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpacml.errors import CompileError
from hpacml.frontend.python.variables import Variables
from tests.frontend.kernels import check, kernel_of

REPOSITORY = Path(__file__).parents[2]
LONG = {
    "sum": "return " + " + ".join(f"x * {k}" for k in range(400)),
    "and": "return 1.0 if " + " and ".join(f"x > -{k}" for k in range(300)) + " else 2.0",
    "or": "return 1.0 if " + " or ".join(f"math.sqrt(x) < -{k}" for k in range(100)) + " else 2.0",
    "parentheses": "return " + "(" * 150 + "x" + " * 0.5)" * 150,
}
DEEP = {
    "signs": "return " + "-" * 900 + "x",
    "powers": "return " + " ** ".join(["x"] * 400),
    "attributes": "return x" + ".real" * 900,
    "branches": "y = 0.0\n    if x == 0:\n        y = 1.0\n"
    + "".join(f"    elif x == {k}:\n        y = {k}.5\n" for k in range(1, 600))
    + "    return y",
}


@pytest.mark.parametrize("body", LONG.values(), ids=LONG)
def test_long_expressions(body: str) -> None:
    kernel = kernel_of(f"@hpacml.kernel\ndef f(x: float):\n    {body}\n")
    for x in (0.0, 3.5):
        check(kernel, lambda x=x: (x,))


@pytest.mark.parametrize("body", DEEP.values(), ids=DEEP)
def test_deep_ones_are_an_error_at_the_place(body: str) -> None:
    kernel = kernel_of(f"\n\n@hpacml.kernel\ndef f(x: float):\n    {body}\n")
    with pytest.raises(CompileError, match=r"(?s)<kernel \d+>:\d+: this is nested too deep .*\n.*\^"):
        kernel(1.0)


def test_a_helper_that_is_too_deep_is_the_place() -> None:
    kernel = kernel_of(
        f"@hpacml.kernel\ndef deep(x: float):\n    {DEEP['signs']}\n@hpacml.kernel\ndef f(x: float):\n    return deep(x)\n"
    )
    with pytest.raises(CompileError, match=r":3: this is nested too deep"):
        kernel.ir()


def test_a_deep_caller_does_not_matter() -> None:
    kernel = kernel_of("@hpacml.kernel\ndef f(x: float):\n    return x + 1\n")

    def called(depth: int) -> float:
        return called(depth - 1) if depth else kernel(1.0)

    assert called(sys.getrecursionlimit() - 300) == 2.0


SMALL = """
import sys, threading
import numpy as np, hpacml
from tests.frontend.kernels import kernel_of

kernel = kernel_of('''
@hpacml.kernel
def f(x: Float64[np.ndarray, "N"]):
    s = 0.0
    for i in range(len(x)):
        if x[i] > 1.0:
            s += x[i] ** 2
    return s
''')
deep = kernel_of("@hpacml.kernel\\ndef f(x: float):\\n    return " + "-" * 900 + "x")
found = []


def work():
    found.append(kernel(np.arange(4.0)))
    found.append(hpacml.functor("f: [i] = ([i])").gather("a[0:n]", a=np.ones(3), n=3).sum().item())
    try:
        deep(1.0)
    except hpacml.CompileError as error:
        found.append(str(error)[-30:])


@hpacml.region("tensor functor(f: [i] = ([i])) \\n ml(collect) in(f(a[0:3])) out(f(b[0:3])) if(False)")
def into(a, b, depth, done):
    done.append(depth)
    if depth:
        into(a, b, depth - 1, done)


@hpacml.region("tensor functor(f: [i, 0:1] = ([i])) \\n ml(infer) in(f(a[0:3])) out(f(b[0:3])) model(net)")
def infer(a, b, net):
    pass


def refused(work):
    try:
        work()
    except hpacml.HpacmlError as error:
        return "the stack of this thread has" in str(error)


def run(kib, work):
    results = []
    threading.stack_size(kib * 1024)
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()
    thread.join()
    return results[0]


a, done = np.ones(3), []
assert run(32, lambda: refused(lambda: kernel(a)))
assert run(32, lambda: refused(lambda: into(a, a.copy(), 0, done))) and not done
assert run(64, lambda: refused(lambda: infer(a, a.copy(), lambda x: x)))
assert run(256, lambda: refused(lambda: into(a, a.copy(), 50, done))) and len(done) > 9
assert run(1024, lambda: into(a, a.copy(), 50, done)) is None and done[-1] == 0
run(96, work)
assert found[:2] == [13.0, 3.0] and len(found) == 3, found
sys.setrecursionlimit(150)
work()
assert found[3:5] == [13.0, 3.0] and len(found) == 6, found
"""


@pytest.mark.slow
def test_a_thread_with_a_small_stack() -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", SMALL], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def nested(depth: int, kind: str) -> str:
    """Loops in loops, with jumps in each, of which the innermost gives the result another type."""
    text = "@hpacml.kernel\ndef f(x: Float64[np.ndarray, 'N'], n: int):\n    s = 0\n"
    for k in range(depth):
        indent = "    " * (k + 1)
        head = [f"for i{k} in range(n):"] if kind == "for" else [f"c{k} = 0", f"while c{k} < n:", f"    c{k} += 1"]
        jumps = [
            f"if s > {k + 20}:",
            "    break",
            f"if s == {k}.25:",
            "    continue",
            f"if s > {k + 40}:",
            f"    return {k}",
        ]
        text += "".join(f"{indent}{line}\n" for line in [*head, *("    " + line for line in jumps)])
    inner = "    " * (depth + 1)
    return f"{text}{inner}s += x[0]\n{inner}if s > 30.0:\n{inner}    return s\n    return s\n"


@pytest.mark.parametrize("kind", ["for", "while"])
def test_loops_in_loops_are_not_built_again_and_again(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    built = 0
    stable = Variables.stable

    def counting(self: Variables, *args: Any) -> Any:
        nonlocal built
        built += 1
        return stable(self, *args)

    monkeypatch.setattr(Variables, "stable", counting)
    kernel = kernel_of(nested(8, kind))
    check(kernel, lambda: (np.full(1, 0.75), 2), joins=True)
    assert built <= 2 * 8 * 8  # 2 ** 8 once
