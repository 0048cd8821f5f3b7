"""Gathers and scatters of arrays, compiled, against the nested loops of `test_functor_math.reference`."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_functor_math import Array, Dim, Map, Meaning, Misfit, maps, reference, split

import hpacml

LAYOUTS = ["C", "F", "reversed", "window"]
DTYPES = ["uint8", "int32", "int64", "float16", "float32", "float64"]


def memory(shape: tuple[int, ...], dtype: str, layout: str) -> np.ndarray:
    """An array of distinct numbers (as far as the dtype has them) with an unusual layout."""
    values = (np.arange(prod(shape)) % 200).reshape(shape)
    if layout == "window":
        base = np.zeros([2 * n + 3 for n in shape], dtype)
        array = base[tuple(slice(1, 1 + 2 * n, 2) for n in shape)]
    else:
        array = np.zeros(shape, dtype, order="F" if layout == "F" else "C")
        if layout == "reversed":
            array = array[tuple(slice(None, None, -1) for _ in shape)]
    array[...] = values
    return array


def targets(m: Map) -> str:
    def dim(d: Dim) -> str:
        if d.stop is None:
            return str(d.start)
        return f"{d.start}:{d.stop}" + ("" if d.step == 1 else f":{d.step}")

    return ", ".join(f"{a.name}[{', '.join(map(dim, a.dims))}]" for a in m.targets)


def arranged(m: Map, meaning: Meaning) -> list[list[tuple[str, tuple[int, ...]]]]:
    """The elements of the tensor: a list for each point of the sweep, features in order."""
    count = len(meaning.elements)
    names = [a.name for a in (m.targets * count if len(m.targets) == 1 else m.targets)]
    points = prod(sweep_sizes(m, meaning))
    rows: list[list[tuple[str, tuple[int, ...]]]] = [[] for _ in range(points)]
    for name, elements in zip(names, meaning.elements, strict=True):
        width = len(elements) // points if points else 0
        for point, row in enumerate(rows):
            row += [(name, index) for index in elements[point * width : (point + 1) * width]]
    return rows


def is_sweep(m: Map) -> list[bool]:
    lhs, *rhs = split(m.functor)
    right = " ".join(e for s in rhs for entry in s for e in entry)
    return [len(entry) == 1 and entry[0].strip() in right for entry in lhs]


def sweep_sizes(m: Map, meaning: Meaning) -> list[int]:
    return [n for n, swept in zip(meaning.shape, is_sweep(m), strict=True) if swept]


def canonical(m: Map, tensor: np.ndarray) -> np.ndarray:
    """The tensor as one row of features for each point of the sweep."""
    swept = is_sweep(m)
    order = [d for d, s in enumerate(swept) if s] + [d for d, s in enumerate(swept) if not s]
    points = prod(tensor.shape[d] for d, s in enumerate(swept) if s)
    moved = tensor.transpose(order)
    return moved.reshape(points, -1) if points else moved.reshape(0, 0)


def arrays_of(m: Map, dtypes: list[str], layouts: list[str]) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for k, a in enumerate(m.targets):
        if a.name not in found:
            shape = tuple(d.size for d in a.dims)
            found[a.name] = memory(shape, dtypes[k % len(dtypes)], layouts[k % len(layouts)])
    return found


STENCIL = Map("[i, j, 0:5] = ([i-1, j], [i+1, j], [i, j-1:j+2])", (Array("t", (Dim(6, 1, 5), Dim(7, 1, 6))),))


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    maps(),
    st.lists(st.sampled_from(DTYPES), min_size=1, max_size=3),
    st.lists(st.sampled_from(LAYOUTS), min_size=1, max_size=3),
)
@example(STENCIL, ["float32"], ["F"])
@example(STENCIL, ["uint8"], ["window"])
def test_like_the_loops(m: Map, dtypes: list[str], layouts: list[str]) -> None:
    arrays = arrays_of(m, dtypes, layouts)
    before = {name: array.copy() for name, array in arrays.items()}
    names = {**arrays, **dict(m.params)}
    try:
        meaning = reference(m)
    except Misfit:
        meaning = None
    try:
        f = hpacml.functor(f"f: {m.functor}")
        if m.direction == "to":
            tensor = f.gather(targets(m), **names).numpy()
        else:
            shape = (0,) if meaning is None else meaning.shape
            tensor = (np.arange(prod(shape)) % 100).reshape(shape).astype(np.float32)
            f.scatter(torch.from_numpy(tensor), targets(m), **names)
    except hpacml.HpacmlError:
        assert meaning is None
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, before[name])
        return
    assert meaning is not None
    assert tensor.shape == meaning.shape
    if not tensor.size:
        return
    rows = arranged(m, meaning)
    found = canonical(m, tensor)
    if m.direction == "to":
        expected = [[before[name][index] for name, index in row] for row in rows]
        np.testing.assert_array_equal(found, np.asarray(expected).astype(tensor.dtype))
        return
    for row, values in zip(rows, found, strict=True):
        for (name, index), value in zip(row, values, strict=True):
            before[name][index] = value
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, before[name])


def test_mixed_dtypes_become_the_widest_float() -> None:
    f = hpacml.functor("bond: [i, 0:9] = ([i], [4*i:4*i+4], [4*i:4*i+4])")
    rate, start, maturity = np.random.rand(5).astype(np.float32), np.arange(20, dtype=np.int32), np.arange(20, 40)
    x = f.gather("r[0:5], s[0:5], m[0:5]", r=rate, s=start, m=maturity.astype(np.int32))
    assert x.dtype == torch.float32
    np.testing.assert_array_equal(x[:, 0].numpy(), rate)
    np.testing.assert_array_equal(x[:, 1:5].numpy(), start.reshape(5, 4))
    np.testing.assert_array_equal(x[:, 5:].numpy(), maturity.reshape(5, 4))


def test_bfloat16_and_torch_memory() -> None:
    t = torch.arange(6, dtype=torch.bfloat16)
    x = hpacml.functor("f: [i, 0:2] = ([i], [i+1])").gather("t[0:5]", t=t)
    assert x.dtype == torch.bfloat16
    assert x.float().tolist() == [[k, k + 1] for k in range(5)]
    out = torch.zeros(5, dtype=torch.bfloat16)
    hpacml.functor("g: [i] = ([i])").scatter(x[:, 1], "o[0:5]", o=out)
    assert out.float().tolist() == [1, 2, 3, 4, 5]


MISTAKES = {
    "rank": ("f: [i, 0:1] = ([i, 0])", "t[0:4]", {}, "has 2 entries, but the target 't' has 1 dimension"),
    "ranges": ("f: [i, 0:1] = ([i])", "t[0:4, 0:2]", {}, "gives 2 ranges, but the array has 1 dimension"),
    "count": ("f: [i, 0:2] = ([i*m:i*m+m])", "t[0:2]", {"m": 3}, r"declares 2 features, the right side gives 3 \(m\)"),
    "bounds": ("f: [i, 0:1] = ([i-1])", "t[0:4]", {}, r"'i - 1' .* reaches index -1 in dimension 0 of 't'"),
    "above": ("f: [i, 0:1] = ([i+1])", "t[0:n]", {"n": 6}, "reaches index 6 in dimension 0 of 't', which has 6"),
    "step": ("f: [i, 0:1] = ([i])", "t[0:4:n]", {"n": 0}, "step of a range is 0"),
    "missing": ("f: [i, 0:1] = ([i])", "u[0:4]", {}, "give it as u="),
    "number": ("f: [i, 0:1] = ([i])", "t[0:k]", {}, "'k' is not a known number"),
    "targets": (
        "f: [i, 0:3] = ([i], [i], [i])",
        "t[0:4], t[0:4]",
        {},
        "3 slices on its right side but is applied to 2",
    ),
    "indirect": ("f: [i, 0:1] = ([i])", "t[t[0:4]]", {}, "indirect"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(mistake: str) -> None:
    declaration, target, numbers, message = MISTAKES[mistake]
    with pytest.raises(hpacml.HpacmlError, match=message):
        hpacml.functor(declaration).gather(target, t=np.zeros(6), **numbers)


def test_scatter_refuses_what_it_must_not_write() -> None:
    one = hpacml.functor("f: [i, 0:1] = ([i])")
    t = np.zeros(4)
    t.flags.writeable = False
    with pytest.raises(hpacml.MapError, match="read-only"):
        one.scatter(np.ones((4, 1)), "t[0:4]", t=t)
    with pytest.raises(hpacml.MapError, match=r"shape \[3, 1\].*takes the shape \[4, 1\]"):
        one.scatter(np.ones((3, 1)), "t[0:4]", t=np.zeros(4))
    with pytest.raises(hpacml.MapError, match=r"writes t\[1\] 2 times"):
        hpacml.functor("w: [i, 0:2] = ([i:i+2])").scatter(np.ones((3, 2)), "t[0:3]", t=np.zeros(4))
    with pytest.raises(hpacml.MapError, match="complex"):
        one.gather("t[0:4]", t=np.zeros(4, complex))
