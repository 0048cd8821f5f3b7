"""The way into a kernel: arguments, conversions, checks, results."""

from __future__ import annotations

import inspect
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float32, Float64, Int32, Int64, UInt8
from kernels import kernel_of

import hpacml
from hpacml.runtime.arrays.views import Layout

Row = Float64[np.ndarray | torch.Tensor, "N"]
Anything = Float32[Any, "N M"]
Three = Int32[np.ndarray, "3 _"]
Square = Int64[np.ndarray, "N N"]


@hpacml.kernel
def axpy(a: float, x: Row, y: Row):
    """y += a * x"""
    for i in hpacml.prange(len(x)):
        y[i] += a * x[i]


@hpacml.kernel
def total(x: Anything):
    result = np.float32(0)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            result += x[i, j]
    return result


def test_arrays_of_every_kind() -> None:
    for make in (lambda v: np.array(v), lambda v: torch.tensor(v, dtype=torch.float64)):
        x, y = make([1.0, 2.0, 3.0]), make([0.5, 0.5, 0.5])
        axpy(2.0, x, y)
        assert y.tolist() == [2.5, 4.5, 6.5]
    backwards = np.array([0.0, 0.0, 1.0])[::-1]
    axpy(1, np.broadcast_to(np.array([5.0]), (3,)), backwards)
    assert backwards.tolist() == [6.0, 5.0, 5.0]
    assert total(memoryview(np.ones((2, 3), np.float32))) == np.float32(6)
    assert total(np.ones((0, 3), np.float32)) == 0


def test_arguments_bind_as_in_python() -> None:
    y = np.zeros(2)
    axpy(y=y, x=np.ones(2), a=3)
    assert y.tolist() == [3, 3]
    kernel = kernel_of("@hpacml.kernel\ndef f(x: int, /, y: float = 2.5, *, z: bool = True):\n    return x * y + z\n")
    assert (kernel(2), kernel(2, 1), kernel(2, z=False)) == (6.0, 3.0, 5.0)
    for arguments, names in (((), {}), ((1, 2, 3), {}), ((1,), {"w": 1}), ((1, 2), {"y": 1})):
        with pytest.raises(TypeError, match=r"f\(\): "):
            kernel(*arguments, **names)
    assert str(inspect.signature(axpy)) == str(inspect.signature(axpy.py_func))
    assert axpy.__doc__ == "y += a * x"
    assert axpy.__name__ == "axpy"


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        ("int", 3, 3),
        ("int", True, 1),
        ("int", np.int32(-4), -4),
        ("int", 2**63 - 1, 2**63 - 1),
        ("float", 1.5, 1.5),
        ("float", 2, 2.0),
        ("float", np.float32(0.1), float(np.float32(0.1))),
        ("float", np.int64(7), 7.0),
        ("bool", True, True),
        ("bool", np.bool_(False), False),
        ("np.float32", 0.1, np.float32(0.1)),
        ("np.float64", 0.1, np.float64(0.1)),
        ("np.int32", 2**31 - 1, np.int32(2**31 - 1)),
        ("np.int64", -1, np.int64(-1)),
        ("np.uint8", 255, np.uint8(255)),
        ("np.bool_", True, np.True_),
    ],
)
def test_numbers(kind: str, given: Any, expected: Any) -> None:
    result = kernel_of(f"@hpacml.kernel\ndef f(x: {kind}):\n    return x\n")(given)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize("number", [np.array, torch.tensor])
def test_numbers_in_arrays_without_dimensions(number: Any) -> None:
    kernel = kernel_of(
        "@hpacml.kernel\ndef f(x: float, n: int, yes: bool, k: np.uint8, y: np.float32):\n    return x, n, yes, k, y\n"
    )
    result = kernel(number(1.5), number(3), number(True), number(255), number(0.1))
    assert result == (1.5, 3, True, np.uint8(255), np.float32(0.1))


@pytest.mark.parametrize(
    ("kind", "given", "shown"),
    [
        ("int", 1.5, "1.5"),
        ("int", 2**63, "9223372036854775808"),
        ("int", "3", "of type str"),
        ("np.int32", 2**31, "2147483648"),
        ("np.uint8", -1, "-1"),
        ("float", 1j, "1j"),
        ("float", np.zeros(1), "of type ndarray"),
        ("float", 10**400, "1000"),
        ("bool", 1, "1"),
        ("bool", np.array(1), "1"),
        ("int", torch.tensor(1.5), "1.5"),
        ("np.uint8", np.array(256), "256"),
        ("float", torch.tensor(1.5, requires_grad=True), "a tensor that needs gradients, .* pass .item()"),
        ("bool", None, "of type NoneType"),
    ],
)
def test_numbers_that_do_not_fit(kind: str, given: Any, shown: str) -> None:
    kernel = kernel_of(f"@hpacml.kernel\ndef f(x: {kind}):\n    return x\n")
    with pytest.raises(hpacml.MapError, match=f"argument 'x' takes {kind}, and the value given is {shown}"):
        kernel(given)


def test_arrays_that_do_not_fit() -> None:
    ones = np.ones(3)
    with pytest.raises(
        hpacml.MapError, match=r"'x' of axpy\(\) has elements of float32, but float64 .* x.astype\(np.float64\)"
    ):
        axpy(1, ones.astype(np.float32), ones)
    with pytest.raises(hpacml.MapError, match=r"elements of f16, but float64 is expected: .* x.to\(torch.float64\)"):
        axpy(1, torch.ones(3, dtype=torch.float16), ones)
    with pytest.raises(hpacml.MapError, match=r"'y' of axpy\(\) has the shape \[3, 1\], but 1 dimension \(N\) are"):
        axpy(1, ones, ones[:, None])
    with pytest.raises(
        hpacml.MapError, match=r"'N' is 3 in dimension 0 of argument 'x' of axpy\(\), but 4 in .* of 'y'"
    ):
        axpy(1, ones, np.ones(4))
    frozen = np.ones(3)
    frozen.flags.writeable = False
    axpy(1, frozen, ones)
    with pytest.raises(hpacml.MapError, match="argument 'y' is written, but its memory is read-only"):
        axpy(1, ones, frozen)
    with pytest.raises(hpacml.MapError, match="argument 'x' is no array but a list"):
        axpy(1, [1.0], ones)
    assert frozen.tolist() == [1, 1, 1]


def test_sizes_in_annotations() -> None:
    @hpacml.kernel
    def trace(a: Square, b: Three):
        result = 0
        for i in range(len(a)):
            result += a[i, i]
        return result + b[2, -1] + b.shape[0]

    b = np.arange(6, dtype=np.int32).reshape(3, 2)
    assert trace(np.eye(4, dtype=np.int64), b) == 12
    assert "memref<3x?xi32" in str(trace.ir())
    with pytest.raises(
        hpacml.MapError, match=r"'N' is 2 in dimension 0 of argument 'a' of trace\(\), but 3 in dimension 1"
    ):
        trace(np.ones((2, 3), np.int64), b)
    with pytest.raises(
        hpacml.MapError, match=r"dimension 0 of argument 'b' of trace\(\) is 2, but its annotation says 3"
    ):
        trace(np.eye(2, dtype=np.int64), b[:2])


def test_each_kind_of_array_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from hpacml.frontend.python import compiler

    kernel = kernel_of('@hpacml.kernel\ndef f(a: Float64[np.ndarray, "N M"]):\n    a[0, 0] = len(a)\n')
    compiled: list[tuple[Layout, ...]] = []

    def compile_kernel(definition: Any, layouts: tuple[Layout, ...], *constants: Any) -> Any:
        compiled.append(layouts)
        return original(definition, layouts, *constants)

    original = compiler.compile_kernel
    monkeypatch.setattr(compiler, "compile_kernel", compile_kernel)
    array = np.zeros((8, 8))
    for view in (array, array[:, 1:5], array[:, ::2], array[1:], array[::-1], array.T, array[:1], array[:, 3:4]):
        kernel(view)
        assert view[0, 0] == len(view)
    threads = [threading.Thread(target=kernel, args=(array,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert compiled == [(Layout.PACKED,), (Layout.ROWS,), (Layout.STRIDED,)]


def test_opaque_arguments_are_not_compiled() -> None:
    @hpacml.kernel
    def f(x: float, model: torch.nn.Module, path: str | None, thing: Any, other: object, where: Path):
        return x

    assert f(1.5, None, "x", [], {}, Path()) == 1.5
    assert "func.func @f(%x: f64) -> f64" in str(f.ir())


def test_writes_through_called_kernels_count() -> None:
    text = """\
@hpacml.kernel
def inner(a: Float64[np.ndarray, "N"], b: Float64[np.ndarray, "N"]):
    c = b
    c[0] = a[0]
@hpacml.kernel
def outer(x: Float64[np.ndarray, "N"], y: Float64[np.ndarray, "N"]):
    inner(b=y, a=x)
"""
    kernel = kernel_of(text)
    frozen = np.ones(2)
    frozen.flags.writeable = False
    kernel(frozen, np.zeros(2))
    with pytest.raises(hpacml.MapError, match="argument 'y' is written"):
        kernel(np.zeros(2), frozen)


def test_unsigned_elements_and_results() -> None:
    @hpacml.kernel
    def last(a: UInt8[np.ndarray, "_ N"]):
        return a[-1, -1]

    assert last(np.array([[1, 200]], np.uint8)) == np.uint8(200)


def test_string_annotations_of_a_module() -> None:
    text = """\
from __future__ import annotations
@hpacml.kernel
def f(a: Float64[np.ndarray, "N"], n: int):
    a[0] = n
"""
    array = np.zeros(1)
    kernel_of(text)(array, 3)
    assert array[0] == 3


def test_names_beyond_ascii() -> None:
    kernel = kernel_of("@hpacml.kernel\ndef größe(é: float):\n    ß = é * 2\n    return ß + 1\n")
    assert kernel(1.5) == 4.0


def test_importing_loads_no_torch() -> None:
    code = "import sys, hpacml; hpacml.kernel; print({'torch', 'h5py', 'jax'} & set(sys.modules))"
    command = [sys.executable, "-W", "error", "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == "set()\n"


def test_kernels_are_compiled_for_truth_values_that_are_known() -> None:
    kernel = kernel_of(
        "@hpacml.kernel\ndef g(x: float, squared: bool, sign: np.bool_, cubed: bool = False):\n"
        "    if cubed:\n        x = x * x * x\n    y = x ** 2 if squared else x\n    return (-y if sign else y), squared\n"
        "@hpacml.kernel\ndef f(x: float, c: bool):\n"
        "    return g(x, True, True), g(x, False, False, True), g(x, c, c, cubed=c), g(x, x > 0, True, not c), g(x, 1 > 2, c)\n"
    )
    for x, c in ((1.5, True), (-0.3, False)):
        assert kernel(x, c) == kernel.py_func(x, c)
    assert str(kernel.ir()).count("func.func private @g") == 4
