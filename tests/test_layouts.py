"""Arrays of each layout: the types that compiled code has for them, and what it computes."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float32

import hpacml

TYPES = {
    "packed": "memref<?x?xf32>",
    "rows": "memref<?x?xf32, strided<[?, 1], offset: ?>>",
    "strided": "memref<?x?xf32, strided<[?, ?], offset: ?>>",
}
VIEWS: dict[str, tuple[str, Any]] = {
    "whole": ("packed", np.s_[:, :]),
    "some rows": ("packed", np.s_[2:-1]),
    "interior": ("rows", np.s_[1:-1, 1:-1]),
    "every other row": ("rows", np.s_[::2]),
    "upside down": ("rows", np.s_[::-1]),
    "block of columns": ("rows", np.s_[:, 3:7]),
    "one column": ("rows", np.s_[:, 3:4]),
    "every other column": ("strided", np.s_[:, ::2]),
    "mirrored": ("strided", np.s_[:, ::-1]),
}
views = pytest.mark.parametrize("view", VIEWS)

FUNCTOR = hpacml.functor("f: [i, j, 0:2] = ([i, j], [i + 1, j])")
TARGETS = "a[0:n-1, 0:m]"

Grid = Float32[np.ndarray, "N M"]


@hpacml.kernel
def add(a: Grid, b: Grid):
    for i in hpacml.prange(a.shape[0]):
        for j in range(a.shape[1]):
            b[i, j] += a[i, j]


@hpacml.kernel
def twice(a: Grid, b: Grid):
    sum = np.zeros(a.shape, np.float32)
    add(a, sum)
    add(a, sum)
    add(sum, b)


def grid(view: str) -> Any:
    base = np.arange(9 * 12, dtype=np.float32).reshape(9, 12)
    return base[VIEWS[view][1]]


@views
def test_functors(view: str) -> None:
    layout, a = VIEWS[view][0], grid(view)
    names = {"a": a, "n": a.shape[0], "m": a.shape[1]}
    assert f"%a: {TYPES[layout]}" in str(FUNCTOR.ir(TARGETS, "to", **names))
    tensor = FUNCTOR.gather(TARGETS, **names)
    np.testing.assert_array_equal(tensor.numpy(), np.stack([a[:-1], a[1:]], -1))
    expected, single = a + 1, hpacml.functor("g: [i, j] = ([i, j])")
    single.scatter(a + 1, "a[0:n, 0:m]", **names)
    np.testing.assert_array_equal(a, expected)


@views
def test_regions(view: str) -> None:
    @hpacml.region("""tensor functor(point: [i, j, 0:1] = ([i, j]))
                      ml(infer) in(point(a[0:n, 0:m])) out(point(a[0:n, 0:m])) model(model)""")
    def region(a: Any, n: int, m: int, model: Any) -> None:
        raise AssertionError

    layout, a = VIEWS[view][0], grid(view)
    expected = a * 2
    arguments = (a, *a.shape, lambda x: x * 2)
    assert f"%a: {TYPES[layout]}" in str(region.ir(*arguments))
    region(*arguments)
    np.testing.assert_array_equal(a, expected)


@views
@pytest.mark.parametrize("kernel", [add, twice], ids=lambda kernel: kernel.name)
def test_kernels(kernel: Any, view: str) -> None:
    a, b = grid(view), grid(view)
    expected = b.copy()
    kernel(a, b)
    kernel.py_func(a, expected)
    np.testing.assert_array_equal(b, expected)


@pytest.mark.parametrize("layout", TYPES)
def test_called_kernels_know_what_types_tell(layout: Any) -> None:
    given, made = TYPES[layout], TYPES["packed"]
    signatures = re.findall(r"func\.func.* @(\w+)\(%a: (.*), %b: (.*)\)", str(twice.ir(layout=layout)))
    adds = {(a, b) for name, a, b in signatures if name.startswith("add")}
    assert adds == {(given, made), (made, given)}


def test_layouts_of_device_code() -> None:
    texts = [add.ptx(layout=layout) for layout in ("packed", "rows", "strided")]
    assert len(set(texts)) == 3
    assert add.ptx() == texts[0]


@hpacml.kernel
def sin(x: float):
    return math.sin(x) + 1.0


def test_code_of_the_processor() -> None:
    for kernel in (add, twice, sin):
        assert re.search(r"^define .* @hpacml_entry\(", kernel.llvm(), re.MULTILINE)
        assert "\nhpacml_entry:" in kernel.asm()
    assert " @sin(double" in sin.llvm() or "@llvm.sin" in sin.llvm()
    assert add.llvm() == add.llvm(layout="packed") != add.llvm(layout="strided")


def test_unknown_layouts() -> None:
    unknown: Any = "columns"
    for read in (add.ir, add.ptx, add.amdgcn, add.llvm, add.asm):
        with pytest.raises(hpacml.HpacmlError, match="unknown layout 'columns': the layouts are packed, rows, strided"):
            read(layout=unknown)


@pytest.mark.parametrize("left", ["i, 0:k", "0:k, i"])
@pytest.mark.parametrize("step", [2, 3, 4])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_blocks_that_are_one_row_of_memory_or_not(left: str, step: int, kind: Any) -> None:
    """Blocks of 3: they overlap, lie one behind the other, or have gaps. The tensor is packed, or has steps."""
    a = np.arange(60, dtype=np.float32)
    a[7] = np.nan
    blocks = np.stack([a[step * i : step * i + 3] for i in range(14)])
    expected = (blocks if left == "i, 0:k" else blocks.T).astype(kind)
    functor = hpacml.functor(f"f: [{left}] = ([i * s : i * s + k])")
    numbers = {"n": 14, "s": step, "k": 3}
    wide = torch.zeros(expected.shape[0], 2 * expected.shape[1], dtype=torch.from_numpy(expected).dtype)
    for tensor in (wide.new_zeros(expected.shape), wide[:, ::2]):
        functor.gather("a[0:n]", a=a, out=tensor, **numbers)
        np.testing.assert_array_equal(tensor.numpy(), expected)
        if step > 2:
            back = np.zeros_like(a)
            functor.scatter(tensor, "a[0:n]", a=back, **numbers)
            written = np.zeros(60, bool)
            written[[step * i + j for i in range(14) for j in range(3)]] = True
            np.testing.assert_array_equal(back, np.where(written, a, 0))
