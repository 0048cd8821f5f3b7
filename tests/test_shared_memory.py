"""Maps whose arrays share memory, with each other or with themselves: an element is written once, and read at will.

What counts is what lies at which address, not names, dtypes or strides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float32, Float64, Int32, Int64
from numpy.lib.stride_tricks import as_strided

import hpacml
from hpacml import approx

ONE = hpacml.functor("one: [i] = ([i])")
PAIR = hpacml.functor("pair: [i, 0:2] = ([i], [i])")
GRID = hpacml.functor("grid: [i, j] = ([i, j])")

Arrays = dict[str, Any]
Doubles = Float64[np.ndarray, "N"]
OtherDoubles = Float64[np.ndarray, "M"]
MoreDoubles = Float64[np.ndarray, "K"]
Floats = Float32[np.ndarray, "J"]
Indices = Int32[np.ndarray, "L"]
Longs = Int64[np.ndarray, "P"]
OtherLongs = Int64[np.ndarray, "Q"]


def numbers(*shape: int) -> np.ndarray[Any, Any]:
    return np.arange(1.0, np.prod(shape, dtype=int) + 1).reshape(shape)


def bits(arrays: Arrays) -> list[bytes]:
    return [np.asarray(a.view(torch.int16) if isinstance(a, torch.Tensor) else a).tobytes() for a in arrays.values()]


def refuses(f: Any, shape: tuple[int, ...], targets: str, message: str, **arrays: Any) -> None:
    """A scatter raises an error that has `message`, and has written nothing. A gather of the same is fine."""
    before = bits(arrays)
    with pytest.raises(hpacml.MapError, match=message):
        f.scatter(numbers(*shape), targets, **arrays)
    assert bits(arrays) == before
    assert tuple(f.gather(targets, **arrays).shape) == shape
    assert bits(arrays) == before


def writes(f: Any, shape: tuple[int, ...], targets: str, **arrays: Any) -> None:
    """A scatter writes what a gather then reads."""
    tensor = numbers(*shape)
    f.scatter(tensor, targets, **arrays)
    np.testing.assert_array_equal(f.gather(targets, **arrays).double().numpy(), tensor)


# -- one array ---------------------------------------------------------------------------------------------------------


def test_stride_0() -> None:
    memory = np.zeros(6)
    z = as_strided(memory, (4,), (0,))
    refuses(ONE, (4,), "z[0:4]", r"writes z\[0\] and z\[1\], which share memory", z=z)
    refuses(ONE, (2,), "z[1:4:2]", r"writes z\[1\] and z\[3\], which share memory", z=z)
    writes(ONE, (1,), "z[2:3]", z=z)
    assert memory.tolist() == [1, 0, 0, 0, 0, 0]
    writes(ONE, (0,), "z[2:2]", z=z)


def test_stride_0_of_a_dimension() -> None:
    memory = np.zeros(6)
    z = as_strided(memory, (4, 3), (0, 8))
    refuses(GRID, (4, 3), "z[0:4, 0:3]", r"writes z\[0, 0\] and z\[1, 0\], which share memory", z=z)
    writes(GRID, (1, 3), "z[2:3, 0:3]", z=z)
    assert memory.tolist() == [1, 2, 3, 0, 0, 0]


def test_an_array_that_overlaps_itself() -> None:
    memory = np.zeros(6)
    windows = as_strided(memory, (4, 3), (8, 8))
    refuses(GRID, (4, 3), "w[0:4, 0:3]", r"writes w\[0, 2\] and w\[1, 1\], which share memory", w=windows)
    writes(GRID, (2, 3), "w[0:4:3, 0:3]", w=windows)
    assert memory.tolist() == [1, 2, 3, 4, 5, 6]


LAYOUTS: dict[str, Callable[[], Any]] = {
    "C": lambda: np.zeros((3, 4)),
    "Fortran": lambda: np.zeros((3, 4), order="F"),
    "rows backwards": lambda: np.zeros((3, 4))[::-1],
    "all backwards": lambda: np.zeros((3, 4), order="F")[::-1, ::-1],
    "transposed": lambda: np.zeros((4, 3)).T,
    "every other": lambda: np.zeros((6, 8))[::2, 1::2],
    "columns of a cube": lambda: np.zeros((3, 4, 5))[:, :, 2],
    "axes exchanged": lambda: np.zeros((4, 7, 3)).transpose(2, 0, 1)[:, :, 6],
    "one row of stride 0": lambda: as_strided(np.zeros(12), (3, 4), (32, 8)),
    "bf16": lambda: torch.zeros((4, 3), dtype=torch.bfloat16).T,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_without_overlap(layout: str) -> None:
    writes(GRID, (3, 4), "a[0:3, 0:4]", a=LAYOUTS[layout]())
    writes(GRID, (3, 4), "a[2:-1:-1, 3:-1:-1]", a=LAYOUTS[layout]())


# -- two names ---------------------------------------------------------------------------------------------------------


def test_two_names_of_one_memory() -> None:
    x = np.zeros(8)
    refuses(PAIR, (4, 2), "a[0:4], b[0:4]", r"writes a\[0\] and b\[0\], which share memory", a=x, b=x)
    refuses(PAIR, (4, 2), "a[0:4], b[0:4]", r"writes a\[2\] and b\[0\], which share memory", a=x, b=x[2:])
    refuses(PAIR, (4, 2), "a[0:4], b[0:4]", r"writes a\[0\] and b\[3\], which share memory", a=x, b=x[3::-1])
    refuses(PAIR, (4, 2), "a[0:4], b[0:4]", r"writes a\[0\] and b\[0\], which share memory", a=x, b=torch.from_numpy(x))
    writes(PAIR, (4, 2), "a[0:4], b[4:8]", a=x, b=x)
    writes(PAIR, (4, 2), "a[0:8:2], b[1:8:2]", a=x, b=x)
    writes(PAIR, (4, 2), "a[0:4], b[0:4]", a=x[:4], b=x[4:])
    writes(PAIR, (0, 2), "a[0:0], b[3:3]", a=x, b=x)


def test_interleaved_views() -> None:
    x = np.zeros(8)
    writes(PAIR, (4, 2), "a[0:4], b[0:4]", a=x[::2], b=x[1::2])
    assert x.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    writes(PAIR, (4, 2), "a[0:4], b[0:4]", a=x[::2], b=x[::-2])
    refuses(PAIR, (2, 2), "a[0:2], b[0:2]", r"writes a\[1\] and b\[1\], which share memory", a=x[::3], b=x[1::2])


def test_columns() -> None:
    table = np.zeros((4, 3))
    writes(PAIR, (4, 2), "a[0:4], b[0:4]", a=table[:, 0], b=table[:, 2])
    assert table[:, 1].tolist() == [0, 0, 0, 0]
    refuses(PAIR, (4, 2), "a[0:4], b[0:4]", r"writes a\[0\] and b\[0\]", a=table[:, 1], b=table.ravel()[1::3])
    records = np.zeros(4, [("position", "f8"), ("mass", "f4"), ("charge", "f4")])
    writes(PAIR, (4, 2), "a[0:4], b[0:4]", a=records["position"], b=records["charge"])
    assert not records["mass"].any()


def test_large_interleaved_views() -> None:
    """More elements than are looked at one by one: strides decide."""
    x = np.zeros((1 << 24) + 2, np.uint8)
    n = len(x) // 2
    PAIR.scatter(np.ones((n, 2), np.uint8), "a[0:n], b[0:n]", a=x[::2], b=x[1::2], n=n)
    assert x.all()


def test_dtypes_over_the_same_bytes() -> None:
    x = np.zeros(8, np.float32)
    refuses(PAIR, (4, 2), "a[0:4], b[0:4]", r"writes a\[0\] and b\[0\]", a=x, b=x.view(np.int32))
    refuses(PAIR, (2, 2), "a[3:5], b[0:2]", r"writes a\[3\] and b\[1\]", a=x, b=x.view(np.float64))
    refuses(PAIR, (4, 2), "a[0:4], b[15:19]", r"writes a\[3\] and b\[15\]", a=x, b=x.view(np.uint8))
    refuses(PAIR, (4, 2), "b[15:19], a[0:4]", r"writes b\[15\] and a\[3\]", a=x, b=x.view(np.uint8))
    writes(PAIR, (4, 2), "a[0:4], b[4:8]", a=x, b=x.view(np.int32))
    writes(PAIR, (4, 2), "a[0:4], b[16:20]", a=x, b=x.view(np.uint8))
    writes(PAIR, (2, 2), "a[0:2], b[1:3]", a=x, b=x.view(np.float64))


def test_bfloat16() -> None:
    x = torch.zeros(8, dtype=torch.bfloat16)
    refuses(PAIR, (4, 2), "a[0:4], b[0:4]", r"writes a\[3\] and b\[0\], which share memory", a=x, b=x[3:])
    writes(PAIR, (4, 2), "a[0:4], b[0:4]", a=x, b=x[4:])
    writes(PAIR, (4, 2), "a[0:4], b[0:4]", a=x[::2], b=x[1::2])


def test_three_names() -> None:
    x = np.zeros(9)
    three = hpacml.functor("three: [i, 0:3] = ([i], [i], [i])")
    refuses(three, (3, 3), "a[0:3], b[0:3], c[0:3]", r"writes a\[0\] and c\[2\]", a=x, b=x[3:], c=x[2::-1])
    writes(three, (3, 3), "a[0:3], b[0:3], c[0:3]", a=x[2::3], b=x[1::3], c=x[::3])
    assert sorted(x) == list(range(1, 10))


def test_addresses_are_looked_at_in_each_call() -> None:
    x, y = np.zeros(4), np.zeros(4)
    for _ in range(2):
        writes(PAIR, (4, 2), "a[0:4], b[0:4]", a=x, b=y)
        refuses(PAIR, (4, 2), "a[0:4], b[0:4]", "share memory", a=x, b=x)
        writes(PAIR, (4, 2), "a[0:4], b[0:4]", a=np.zeros(8)[::2], b=y)


# -- index arrays ------------------------------------------------------------------------------------------------------


def test_an_array_indexed_by_itself() -> None:
    i = np.array([3, 4, 5, 0, 0, 0])
    ONE.scatter(np.array([7, 8]), "i[i[0:2]]", i=i)
    assert i.tolist() == [3, 4, 5, 7, 8, 0]
    i = np.array([3, 0, 5, 0, 0, 0])
    refuses(ONE, (2,), "i[i[0:2]]", r"writes i\[0\], which is memory of its own index array 'i'", i=i)
    refuses(ONE, (1,), "i[i[i[0:1]]]", r"writes i\[0\], which is memory of its own index array 'i'", i=i)


def test_an_index_array_that_shares_memory_with_the_array() -> None:
    j = np.array([0, 1, 2, 3])
    refuses(ONE, (2,), "x[j[0:2]]", r"writes x\[0\], which is memory of its own index array 'j'", x=j[1:], j=j)
    ONE.scatter(np.array([7]), "x[j[0:1]]", x=j[1:], j=j)
    assert j.tolist() == [0, 7, 2, 3]
    k = np.array([3, 1, 0, 0], np.int32)
    refuses(
        ONE, (2,), "x[k[0:2]]", r"writes x\[1\], which is memory of its own index array 'k'", x=k.view(np.float32), k=k
    )
    refuses(
        ONE, (1,), "x[k[0:1]]", r"writes x\[3\], which is memory of its own index array 'k'", x=k.view(np.uint8), k=k
    )
    ONE.scatter(np.array([1.0]), "x[k[0:1]]", x=k.view(np.float32), k=k)
    assert k.view(np.float32)[3] == 1
    both = np.zeros(4, [("index", "i4"), ("value", "f4")])
    both["index"] = [2, 0, 3, 1]
    writes(ONE, (4,), "x[k[0:4]]", x=both["value"], k=both["index"])
    assert both["value"].tolist() == [2, 4, 1, 3]


def test_an_index_array_of_a_direct_target() -> None:
    j = np.array([2, 1, 0])
    refuses(
        PAIR,
        (3, 2),
        "x[j[0:3]], y[0:3]",
        r"writes y\[0\], which is memory of its own index array 'j'",
        x=np.zeros(3),
        j=j,
        y=j,
    )
    writes(PAIR, (3, 2), "x[j[0:3]], y[0:3]", x=np.zeros(3), j=j, y=np.zeros(3))


def test_nested_index_arrays() -> None:
    x, i, j = np.zeros(4), np.array([3, 2, 1, 0]), np.array([0, 1])
    refuses(
        ONE, (2,), "i[i[j[0:2]]]", r"writes i\[1\], which is memory of its own index array 'i'", i=np.array([1, 0]), j=j
    )
    refuses(
        ONE, (2,), "j[i[j[0:2]]]", r"writes j\[1\], which is memory of its own index array 'j'", i=np.array([1, 0]), j=j
    )
    writes(ONE, (2,), "x[i[j[0:2]]]", x=x, i=i, j=j)
    assert x.tolist() == [0, 0, 2, 1]


def test_two_names_through_indices() -> None:
    x, j = np.zeros(6), np.array([0, 2, 4])
    refuses(PAIR, (3, 2), "a[j[0:3]], b[j[0:3]]", r"writes a\[0\] and b\[0\], which share memory", a=x, b=x, j=j)
    refuses(PAIR, (3, 2), "a[j[0:3]], b[0:3]", r"writes a\[2\] and b\[1\], which share memory", a=x, b=x[1:], j=j)
    writes(PAIR, (3, 2), "a[j[0:3]], b[j[0:3]]", a=x, b=x[1:], j=j)
    assert x.tolist() == [1, 2, 3, 4, 5, 6]
    writes(PAIR, (3, 2), "a[j[0:3]], b[0:3]", a=x, b=x[1::2], j=j)


def test_indices_into_an_array_that_overlaps_itself() -> None:
    memory, j = np.zeros(4), np.array([3, 1])
    z = as_strided(memory, (4,), (0,))
    refuses(ONE, (2,), "z[j[0:2]]", r"writes z\[3\] and z\[1\], which share memory", z=z, j=j)
    writes(ONE, (1,), "z[j[0:1]]", z=z, j=j)


def test_an_index_array_may_repeat_its_memory() -> None:
    """What is only read may overlap: an index of stride 0 is one index, and it leads to one element."""
    k = as_strided(np.array([2]), (3,), (0,))
    refuses(ONE, (3,), "x[k[0:3]]", r"writes x\[2\] 3 times: indices repeat", x=np.zeros(4), k=k)
    table = np.zeros((4, 3))
    writes(GRID, (1, 3), "x[k[0:1], 0:3]", x=table, k=k)


# -- regions and kernels -----------------------------------------------------------------------------------------------


class Twice(torch.nn.Module):
    """Two results for each number: itself, and its double."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, None] * self.scale


class Two(Twice):
    def forward(self, x: torch.Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return x * self.scale[0], x * self.scale[1]


@hpacml.region("""tensor functor(one: [i] = ([i])) tensor functor(pair: [i, 0:2] = ([i], [i]))
                  ml(infer) in(one(x[0:n])) out(pair(a[0:n], b[0:n])) model(net)""")
def region_pair(x, a, b, n, net):
    raise AssertionError("the body runs")


@hpacml.kernel
def kernel_pair(x: Doubles, a: OtherDoubles, b: MoreDoubles, n: int, net: Any):
    approx("tensor functor(one: [i] = ([i]))")
    approx("tensor functor(pair: [i, 0:2] = ([i], [i]))")
    with approx("ml(infer) in(one(x[0:n])) out(pair(a[0:n], b[0:n])) model(net)"):
        for i in hpacml.prange(n):
            a[i] = x[i]
            b[i] = 2.0 * x[i]


@pytest.mark.parametrize("run", [region_pair, kernel_pair], ids=["region", "kernel"])
def test_an_output_of_two_names(run: Callable[..., None]) -> None:
    x, memory = numbers(3), np.zeros(6)
    with pytest.raises(hpacml.MapError, match=r"writes a\[0\] and b\[0\], which share memory"):
        run(x, memory, memory, 3, Twice())
    with pytest.raises(hpacml.MapError, match=r"writes a\[2\] and b\[0\], which share memory"):
        run(x, memory, memory[2:], 3, Twice())
    assert not memory.any()
    run(x, memory[::2], memory[1::2], 3, Twice())
    assert memory.tolist() == [1, 2, 2, 4, 3, 6]
    run(x, memory, memory[3:], 3, Twice())
    assert memory.tolist() == [1, 2, 3, 2, 4, 6]
    run(memory[:3], memory, memory[3:], 3, Twice())
    assert memory.tolist() == [1, 2, 3, 2, 4, 6]


@hpacml.kernel
def scatter_indices(a: Longs, b: OtherLongs, n: int, net: Any):
    approx("tensor functor(one: [i] = ([i]))")
    with approx("ml(infer) in(one(a[0:n])) out(one(b[a[0:n]])) model(net)"):
        for i in hpacml.prange(n):
            b[a[i]] = a[i]


class Same(Twice):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale[1]


def test_a_kernel_called_with_one_array_twice() -> None:
    a = np.array([3, 4, 1, 0, 0])
    scatter_indices(a, a, 2, Same())
    assert a.tolist() == [3, 4, 1, 6, 8]
    a = np.array([3, 4, 1, 0, 0])
    with pytest.raises(hpacml.MapError, match=r"writes b\[1\], which is memory of its own index array 'a'"):
        scatter_indices(a, a, 3, Same())
    assert a.tolist() == [3, 4, 1, 0, 0]
    b = np.zeros(5, int)
    scatter_indices(a, b, 3, Same())
    assert b.tolist() == [0, 2, 0, 6, 8]


@hpacml.kernel
def in_place(a: Doubles, b: OtherDoubles, net: Any):
    n = len(a)
    approx("tensor functor(sum: [i] = ([i]))")
    with approx("ml(infer) in(sum(a[0:n])) out(sum(b[n-1:-1:-1])) model(net)"):
        for i in hpacml.prange(n):
            b[n - 1 - i] = a[i]


def test_input_and_output_may_share_memory() -> None:
    a = numbers(4)
    in_place(a, a, Same())
    assert a.tolist() == [8, 6, 4, 2]
    in_place(a, a[::-1], Same())
    assert a.tolist() == [16, 12, 8, 4]


@hpacml.region("""tensor functor(one: [i] = ([i]))
                  ml(infer) in(one(x[0:n])) out(one(a[0:n]), one(b[k[0:n]])) model(net)""")
def region_two(x, a, b, k, n, net):
    raise AssertionError("the body runs")


@hpacml.kernel
def kernel_two(x: Doubles, a: OtherDoubles, b: Floats, k: Indices, n: int, net: Any):
    approx("tensor functor(one: [i] = ([i]))")
    with approx("ml(infer) in(one(x[0:n])) out(one(a[0:n]), one(b[k[0:n]])) model(net)"):
        for i in hpacml.prange(n):
            a[i] = x[i]


@pytest.mark.parametrize("run", [region_two, kernel_two], ids=["region", "kernel"])
def test_one_wrong_output_keeps_the_others_from_being_written(run: Callable[..., None]) -> None:
    """The first output is packed memory, into which the model could write at once."""
    x, a, b = numbers(3), np.zeros(3), np.zeros(4, np.float32)
    for indices, message in [
        ([0, 1, 4], r"the index k\[2\] is 4, outside dimension 0 of 'b', which has 4 elements"),
        ([0, -1, 2], r"the index k\[1\] is -1, outside dimension 0 of 'b', which has 4 elements"),
        ([0, 1, 0], r"writes b\[0\] 2 times: indices repeat"),
    ]:
        with pytest.raises(hpacml.MapError, match=message):
            run(x, a, b, np.array(indices, np.int32), 3, Two())
        assert not a.any()
        assert not b.any()
    k = np.array([3, 0, 1, 0], np.int32)
    with pytest.raises(hpacml.MapError, match=r"writes b\[0\], which is memory of its own index array 'k'"):
        run(x, a, k.view(np.float32), k, 3, Two())
    assert not a.any()
    assert k.tolist() == [3, 0, 1, 0]
    run(x, a, b, k, 3, Two())
    assert a.tolist() == [1, 2, 3]
    assert b.tolist() == [4, 6, 0, 2]


def test_repeated_indices_are_refused_while_collecting_too(tmp_path: Any) -> None:
    @hpacml.region("""tensor functor(point: [i] = ([i]))
                      ml(collect) in(point(a[0:4])) out(point(o[idx[0:4]])) database(path)""")
    def collects(a: Any, o: Any, idx: Any, path: str) -> None:
        o[idx] = a

    with pytest.raises(hpacml.MapError, match="indices repeat"):
        collects(np.zeros(4), np.zeros(4), np.array([0, 1, 1, 2]), str(tmp_path / "d.h5"))


@pytest.mark.parametrize("shape", [(7,), (5000,), (3, 40), (200, 40)])
def test_repeated_elements_are_found_in_arrays_small_and_large(shape: tuple[int, ...]) -> None:
    """Scratch memory is cleared as a whole for few elements, and where it is touched for many; never is it clean."""
    f = GRID if len(shape) == 2 else ONE
    targets, rows = ("x[idx[0:n], 0:2]", (3, 2)) if len(shape) == 2 else ("x[idx[0:n]]", (3,))
    for repeated in ([2, 0, 2], [1, 1, 0]):
        for _ in range(3):
            refuses(f, rows, targets, "2 times: indices repeat", x=numbers(*shape), idx=np.array(repeated), n=3)
            x, expected = numbers(*shape), numbers(*shape)
            different = np.array([2, 0, 1])
            f.scatter(-numbers(*rows), targets, x=x, idx=different, n=3)
            expected[(different, slice(0, 2)) if len(shape) == 2 else different] = -numbers(*rows)
            assert np.array_equal(x, expected)
