"""Functions and kernels that are defined anew under the names that kernels call, and what regions of kernels leave out."""

from __future__ import annotations

import linecache
import logging
import math
import threading
import types
from typing import Any

import numpy as np
import pytest
from kernels import PREAMBLE, kernel_of

import hpacml


def cells() -> tuple[dict[str, Any], Any]:
    """A notebook's names, and a function that runs a cell in it."""
    space: dict[str, Any] = {}
    exec(PREAMBLE, space)

    def run(text: str) -> Any:
        file = f"<cell {len(linecache.cache)}>"
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
        exec(compile(text, file, "exec"), space)
        return space[text.split("def ")[1].split("(")[0]]

    return space, run


def kernel(name: str, result: str) -> str:
    return f"@hpacml.kernel\ndef {name}(x: float):\n    return {result}\n"


def test_a_callee_that_is_defined_anew_is_compiled_anew() -> None:
    space, run = cells()
    run(kernel("inner", "2.0 * x"))
    run(kernel("middle", "inner(x) + 1.0"))
    outer = run(kernel("outer", "middle(x)"))
    assert outer(1.0) == outer.py_func(1.0) == 3.0
    run(kernel("inner", "5.0 * x"))
    assert outer(1.0) == outer.py_func(1.0) == 6.0
    first = space["inner"]
    run(kernel("other", "-x"))
    space["inner"] = space["other"]
    assert outer(1.0) == outer.py_func(1.0) == 0.0
    space["inner"] = first
    assert outer(1.0) == 6.0
    del space["inner"]
    with pytest.raises(hpacml.CompileError, match="'inner' is not defined"):
        outer(1.0)


def test_callees_in_modules_and_closures() -> None:
    library = types.ModuleType("library")
    inner = hpacml.kernel(_double)

    @hpacml.kernel
    def outer(x: float):
        return inner(x) + library.square(x)

    library.square = hpacml.kernel(_square)
    assert outer(3.0) == 15.0
    library.square = hpacml.kernel(_double)
    assert outer(3.0) == 12.0
    inner = hpacml.kernel(_square)
    assert outer(3.0) == 15.0


def _double(x: float):
    return 2.0 * x


def _square(x: float):
    return x * x


def test_functions_that_change() -> None:
    namespace = types.SimpleNamespace(g=math.sin)
    kernel = kernel_of(
        """
@hpacml.kernel
def inner(x: float):
    return f(x)
@hpacml.kernel
def outer(x: float):
    return inner(x) + namespace.g(x) + abs(x)
""",
        f=math.sqrt,
        namespace=namespace,
    )
    names = kernel.py_func.__globals__

    def agrees(x: float = 9.0) -> float:
        result = kernel(x)
        assert result == kernel.py_func(x)
        return result

    assert agrees() == 3.0 + math.sin(9.0) + 9.0
    names["f"] = math.cbrt
    assert agrees() == math.cbrt(9.0) + math.sin(9.0) + 9.0
    namespace.g = math.cos
    assert agrees() == math.cbrt(9.0) + math.cos(9.0) + 9.0
    names["abs"] = math.exp
    assert agrees() == math.cbrt(9.0) + math.cos(9.0) + math.exp(9.0)
    del names["abs"]
    assert agrees() == math.cbrt(9.0) + math.cos(9.0) + 9.0
    names["f"] = lambda x: x
    with pytest.raises(hpacml.CompileError, match=r"'f' is a lambda outside"):
        kernel(9.0)
    del names["f"]
    with pytest.raises(hpacml.CompileError, match="'f' is not defined"):
        kernel(9.0)
    names["f"] = math.sqrt
    assert agrees() == 3.0 + math.cos(9.0) + 9.0


def test_a_module_whose_function_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = kernel_of("@hpacml.kernel\ndef f(x: float):\n    return math.exp(x)\n")
    assert kernel(3.0) == math.exp(3.0)
    with monkeypatch.context() as patch:
        patch.setattr(math, "exp", math.exp2)
        assert kernel(3.0) == 8.0
    assert kernel(3.0) == math.exp(3.0)


def test_types_ranges_and_directives_that_change() -> None:
    directive, element, loop = "tensor functor(f: [i, 0:1] = ([i]))", np.float32, range

    @hpacml.kernel
    def f(x: float):
        hpacml.approx(directive)
        a = np.zeros(1, element)
        for i in loop(1):
            a[i] = x
        return a[0]

    assert f(0.1) == np.float32(0.1)
    element = np.float64
    assert f(0.1) == 0.1
    loop = hpacml.prange
    assert f(0.1) == 0.1
    assert "scf.parallel" in str(f.ir())
    loop = enumerate
    with pytest.raises(hpacml.CompileError, match="a loop over"):
        f(0.1)
    loop, directive = range, "tensor functor(f: [i, 0:2] = ([i]))"
    with pytest.raises(hpacml.DirectiveError, match="declares 2 features"):
        f(0.1)


def test_threads_that_call_while_a_callee_changes() -> None:
    space, run = cells()
    run(kernel("inner", "2.0 * x"))
    outer = run(kernel("outer", "inner(x)"))
    old, new = space["inner"], hpacml.kernel(_square)
    found: set[float] = set()

    def work() -> None:
        for _ in range(20):
            found.add(outer(3.0))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(6):
        space["inner"] = new if number % 2 == 0 else old
    space["inner"] = new
    for thread in threads:
        thread.join()
    assert found <= {6.0, 9.0}
    assert outer(3.0) == 9.0


ROW = 'Float64[np.ndarray, "N"]'
REGION = f"""
@hpacml.kernel
def f(a: {ROW}, b: {ROW}, c: {ROW}):
    approx("tensor functor(g: [i, 0:1] = ([i]))")
    with approx("ml(collect) in(g(a[0:3])) out(g(b[0:3])) if(False)"):
        for i in range(3):
            BODY
"""


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("b[i] = 2.0 * a[i]", []),
        ("b[i] = c[i] = a[i]", ["writes 'c', which no output covers"]),
        ("c[i] = a[i]", ["'b' is an output", "writes 'c', which no output covers"]),
        ("a[i] = b[i] = 0.0", ["writes 'a', which no output covers"]),
    ],
)
def test_arrays_that_a_region_and_its_outputs_do_not_have_in_common(
    body: str, told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    kernel = kernel_of(REGION.replace("BODY", body))
    with caplog.at_level(logging.WARNING, "hpacml"):
        for arrays in (np.ones((3, 3)), np.ones((3, 6))[:, ::2]):
            kernel(*arrays)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == len(told)
    for message, part in zip(messages, told, strict=True):
        assert part in message
        assert message.startswith("<kernel ")
