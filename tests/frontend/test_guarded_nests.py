"""Guarded kernels that are nests over points, against Python: who makes each element, and that no other one changes."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernels import kernel_of

from examples.heat2d.heat import heat
from hpacml.frontend.kernel import Kernel

FEATURES = {"one": 1, "last": 3, "first": 3, "slices": 2, "block": 4}


class Model(torch.nn.Module):
    """What no original code writes: 1000 more than the input, and the number of the feature."""

    def __init__(self, layout: str):
        super().__init__()
        self.layout = layout

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = 1000.0 + x + torch.arange(FEATURES[self.layout], dtype=x.dtype)
        return y.movedim(-1, 0) if self.layout == "first" else y


@dataclass(frozen=True)
class Dim:
    """A dimension of the sweep: element `offset + factor * (start + step * p)`, and the loop that makes it."""

    extent: int
    start: int
    step: int
    factor: int
    offset: int
    by_element: bool
    """Whether the loop runs over elements, also those of no point, or over points."""
    stride: int
    drift: int
    parallel: bool

    def element(self, point: int) -> int:
        return self.offset + self.factor * (self.start + self.step * point)

    @property
    def size(self) -> int:
        return self.element(self.extent) + 5

    def loop(self, d: int) -> str:
        if self.by_element:
            first = 1 + (self.element(0) + self.drift + 1) % 2
            bounds = f"{first}, {self.size - 1}, {self.stride}" if self.stride > 1 else f"{first}, {self.size - 1}"
        else:
            bounds = f"0, n{d}"
        return f"for i{d} in {'prange' if self.parallel else 'range'}({bounds}):"

    def index(self, d: int) -> str:
        if self.by_element:
            return f"i{d}"
        return f"{self.offset + self.factor * self.start} + {self.factor * self.step} * i{d}"

    def range(self, d: int) -> str:
        return f"{self.start} : {self.start} + {self.step} * n{d} : {self.step}"


@dataclass(frozen=True)
class Program:
    """A kernel with a region, and its code alone as Python."""

    dims: tuple[Dim, ...]
    layout: str
    repeats: bool
    own: str
    condition: bool

    def elements(self, point: tuple[int, ...]) -> list[tuple[int, ...]]:
        """The elements of a point, by feature."""
        at = tuple(dim.element(p) for dim, p in zip(self.dims, point, strict=True))
        match self.layout:
            case "one":
                return [at]
            case "last":
                return [(*at, f) for f in range(3)]
            case "first":
                return [(f, *at) for f in range(3)]
            case "slices":
                return [(*at[:-1], 2 * at[-1] + f) for f in range(2)]
            case _:
                return [(*at[:-1], 4 * at[-1] + f) for f in range(4)]

    @property
    def shape(self) -> tuple[int, ...]:
        *outer, last = (dim.size for dim in self.dims)
        scale = {"slices": 2, "block": 4}.get(self.layout, 1)
        plain = (*outer, scale * last)
        return (3, *plain) if self.layout == "first" else (*plain, 3) if self.layout == "last" else plain

    def at(self, feature: str) -> str:
        indices = [dim.index(d) for d, dim in enumerate(self.dims)]
        match self.layout:
            case "last":
                indices.append(feature)
            case "first":
                indices.insert(0, feature)
            case "slices" | "block":
                indices[-1] = f"{FEATURES[self.layout]} * ({indices[-1]}) + {feature}"
            case _:
                pass
        return ", ".join(indices)

    @property
    def functor(self) -> str:
        entries = [
            f"{dim.factor} * s{d} + {dim.offset}" if dim.factor > 1 or dim.offset else f"s{d}"
            for d, dim in enumerate(self.dims)
        ]
        sweep = ", ".join(f"s{d}" for d in range(len(self.dims)))
        *outer, last = entries
        match self.layout:
            case "one":
                return f"[{sweep}, 0:1] = ([{', '.join(entries)}])"
            case "last":
                return f"[{sweep}, 0:3] = ([{', '.join(entries)}, 0:3])"
            case "first":
                return f"[0:3, {sweep}] = ([0:3, {', '.join(entries)}])"
            case "slices":
                pair = (", ".join([*outer, f"2 * ({last}) + {f}"]) for f in range(2))
                return f"[{sweep}, 0:2] = ({', '.join(f'[{each}]' for each in pair)})"
            case _:
                block = f"4 * ({last}) : 4 * ({last}) + 4"
                return f"[{sweep}, 0:4] = ([{', '.join([*outer, block])}])"

    @property
    def target(self) -> str:
        ranges = [dim.range(d) for d, dim in enumerate(self.dims)]
        features = {"last": [*ranges, "0:3"], "first": ["0:3", *ranges]}
        return f"c[{', '.join(features.get(self.layout, ranges))}]"

    @property
    def code(self) -> str:
        lines: list[str] = ["for r in range(2):"] if self.repeats else []
        lines += [dim.loop(d) for d, dim in enumerate(self.dims)]
        if self.condition:
            lines.append(f"if t[{self.at('0')}] > 0.3:")
        count = FEATURES[self.layout]
        stores = [str(f) for f in range(count)] if self.layout == "slices" else ["k" if count > 1 else "0"]
        if stores == ["k"]:
            lines.append(f"for k in range({count}):")
        indented = [4 * depth * " " + line for depth, line in enumerate(lines)]
        for f in stores:
            at = self.at(f)
            own = {"none": "0.25", "same": f"c[{at}]", "before": f"c[{at.replace('i0', '(i0 - 1)')}]"}[self.own]
            indented.append(4 * len(lines) * " " + f"c[{at}] = 0.5 * {own} + t[{at}]")
        return "\n".join(indented)

    def kernel(self) -> Kernel[..., Any]:
        rank = len(self.dims)
        names, sweep = "ABC"[: len(self.shape)], "PQ"[:rank]
        inner = "\n".join(8 * " " + line for line in self.code.splitlines())
        sizes = ", ".join(f"n{d}: int" for d in range(rank))
        symbols = ", ".join(f"s{d}" for d in range(rank))
        array, points = (f'Float64[np.ndarray, "{" ".join(each)}"]' for each in (names, sweep))
        return kernel_of(f'''
@hpacml.kernel
def made(x: {points}, t: {array}, c: {array}, mask: {points}, {sizes}, net: Any):
    approx("tensor functor(f: [{symbols}, 0:1] = ([{symbols}]))")
    approx("tensor functor(g: {self.functor})")
    with approx("""ml(infer) in(f(x[{", ".join(f"0:n{d}" for d in range(rank))}])) out(g({self.target}))
                   model(net) guard(where: mask) label("made")"""):
{inner}
''')

    def original(self, t: np.ndarray, c: np.ndarray) -> None:
        sizes = {f"n{d}": dim.extent for d, dim in enumerate(self.dims)}
        exec(self.code, {"t": t, "c": c, "prange": range, **sizes})

    def expected(self, x: np.ndarray, t: np.ndarray, c: np.ndarray, mask: np.ndarray) -> np.ndarray:
        original, expected = c.copy(), c.copy()
        self.original(t, original)
        for point in product(*(range(dim.extent) for dim in self.dims)):
            for f, at in enumerate(self.elements(point)):
                expected[at] = 1000.0 + x[point] + f if mask[point] else original[at]
        return expected


@st.composite
def programs(draw: st.DrawFn) -> Program:
    rank = draw(st.integers(1, 2))
    layout = draw(st.sampled_from(sorted(FEATURES)))
    own = draw(st.sampled_from(["none", "same", "before"]))
    dims: list[Dim] = []
    for d in range(rank):
        parallel = own != "before" and d == 0 and draw(st.booleans())
        numbers = [draw(st.integers(*bounds)) for bounds in ((1, 4), (1, 3), (1, 3), (1, 2), (0, 2))]
        dims.append(
            Dim(*numbers, draw(st.booleans()), draw(st.integers(1, 2)), draw(st.sampled_from([0, 0, 1])), parallel)
        )
    repeats = draw(st.booleans()) and not any(dim.parallel for dim in dims)
    return Program(tuple(dims), layout, repeats, own, draw(st.booleans()))


def run(program: Program, kernel: Kernel[..., Any], seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    extents = [dim.extent for dim in program.dims]
    x = rng.random(extents)
    mask = (rng.random(extents) < share).astype(np.float64)
    t, c = rng.random(program.shape), rng.random(program.shape)
    expected = program.expected(x, t, c, mask)
    kernel(x, t, c, mask, *extents, Model(program.layout))
    np.testing.assert_array_equal(c, expected, str(program))


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(program=programs(), seed=st.integers(0, 99))
def test_points_are_made_by_the_model_or_as_python_makes_them(program: Program, seed: int) -> None:
    kernel = program.kernel()
    for share in (0.7, 0.0, 0.3):
        run(program, kernel, seed, share)


def dim(extent: int, start: int, step: int = 1, factor: int = 1, offset: int = 0, **how: Any) -> Dim:
    return Dim(
        extent, start, step, factor, offset, **{"by_element": False, "stride": 1, "drift": 0, "parallel": False, **how}
    )


MASKED = [
    Program((dim(7, 1, parallel=True), dim(5, 2)), "one", False, "none", True),
    Program((dim(3, 1), dim(4, 0, by_element=True)), "last", True, "same", False),
    Program((dim(6, 2, 3, 2, 1, by_element=True),), "first", False, "same", False),
    Program((dim(5, 1, by_element=True),), "slices", False, "none", False),
    Program((dim(4, 1, 2),), "block", True, "same", True),
]


@pytest.mark.parametrize("program", MASKED, ids=lambda program: program.layout)
def test_nests_make_only_the_points_that_are_asked_for(program: Program) -> None:
    kernel = program.kernel()
    assert "@made_body_masked" in str(kernel.ir(stage="nests"))
    for seed, share in enumerate((0.5, 0.0, 0.8)):
        run(program, kernel, seed, share)


def test_a_point_that_takes_what_another_makes_is_made_in_order() -> None:
    program = Program((dim(9, 1),), "one", False, "before", False)
    kernel = program.kernel()
    assert "masked" not in str(kernel.ir(stage="nests"))
    for seed in range(3):
        run(program, kernel, seed, 0.5)


def test_arrays_that_share_memory_are_as_in_python() -> None:
    """Each point takes the element before its own, which is the one that the point before has made."""
    kernel = kernel_of("""
@hpacml.kernel
def chained(t: Float64[np.ndarray, "A"], c: Float64[np.ndarray, "A"], mask: Float64[np.ndarray, "P"], n: int, net: Any):
    approx("tensor functor(f: [i, 0:1] = ([i]))")
    with approx("ml(infer) in(f(mask[0:n])) out(f(c[1:n+1])) model(net) guard(where: mask)"):
        for i in range(n):
            c[i + 1] = 0.5 * t[i] + 1.0
""")
    assert "@chained_body_masked" in str(kernel.ir(stage="nests"))
    mask = np.array([0.0, 0.0, 1.0, 0.0, 0.0, 1.0])
    for shift in (0, 1, 20):
        memory = np.random.default_rng(shift).random(40)
        original, expected = memory.copy(), memory.copy()
        for i in range(6):
            original[9 + i + 1] = 0.5 * original[9 + shift + i] + 1.0
        expected[10:16] = np.where(mask != 0.0, 1000.0 + mask, original[10:16])
        kernel(memory[9 + shift : 17 + shift], memory[9:17], mask, 6, Model("one"))
        np.testing.assert_array_equal(memory, expected, f"{shift=}")


def test_the_heat_of_the_examples_is_a_nest_over_points() -> None:
    text = inspect.getsource(heat.py_func).replace('model("heat.pt2")', 'model("heat.pt2") guard(range)')
    ir = str(kernel_of(text.replace("Field", 'Float32[np.ndarray, "N M"]')).ir(stage="nests"))
    masked = ir.partition("func.func private @heat_body_masked(")[2]
    assert masked.index("scf.parallel") < masked.index("scf.for") < masked.index("%reasons = memref.load %mask")
    assert masked.index("scf.if") < masked.index("memref.load %t[")


def test_code_on_whole_arrays_runs_on_copies() -> None:
    kernel = kernel_of("""
@hpacml.kernel
def scaled(t: Float64[np.ndarray, "A"], c: Float64[np.ndarray, "A"], mask: Float64[np.ndarray, "P"], n: int, net: Any):
    approx("tensor functor(f: [i, 0:1] = ([i]))")
    with approx("ml(infer) in(f(mask[0:n])) out(f(c[1:n+1])) model(net) guard(where: mask)"):
        c[0 : n + 1] = t[0 : n + 1] * 2.0
""")
    rng = np.random.default_rng(0)
    t, c, mask = rng.random(8), rng.random(8), np.array([0.0, 1.0, 0.0, 0.0])
    expected = c.copy()
    expected[1:5] = np.where(mask != 0.0, 1000.0 + mask, 2.0 * t[1:5])
    kernel(t, c, mask, 4, Model("one"))
    np.testing.assert_array_equal(c, expected)
