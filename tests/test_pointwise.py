"""The clause `pointwise`: original code on arrays that have only the points that guards reject."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float64

import hpacml
from hpacml import approx
from hpacml.errors import DirectiveError, MapError
from tests.frontend.kernels import kernel_of

Array = np.ndarray[Any, np.dtype[Any]]
Row = Float64[np.ndarray, "n"]


class Far(torch.nn.Module):
    """A model that nothing takes for the original code."""

    def __init__(self, outputs: int = 1) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, x: torch.Tensor, *inout: torch.Tensor) -> Any:
        first = -3 - x[..., :1]
        return first if self.outputs == 1 else (first, *(-7 - each for each in inout))


class Told:
    """What bodies were given."""

    def __init__(self) -> None:
        self.calls: list[Any] = []


PLANE = """
tensor functor(f: [i, j, 0:4] = ([i, j], [i, j, 0:2], [0]))
tensor functor(g: [i, j, 0:1] = ([i, j]))
tensor functor(h: [i, j, 0:2] = ([0:2, j, i]))
ml(infer) in(f(a[0:n, 0:m], c[0:n, 0:m, 0:2], dt)) out(g(y[0:, 0:])) inout(h(z[0:2, 0:m, 0:n]))
    model(net) guard(where: use) pointwise label("plane")
""".replace("\n    ", " ")


@hpacml.region(PLANE)
def plane(a: Any, c: Any, y: Any, z: Any, n: int, m: int, dt: float, use: Any, net: Any, told: Told) -> None:
    told.calls.append((a, c, y, z, n, m, dt, use))
    y[:] = a * dt + c[..., 0]
    z[:, :m, :n] += c.T if isinstance(c, np.ndarray) else c.permute(2, 1, 0)


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(
    st.integers(1, 5),
    st.integers(1, 5),
    st.floats(0, 1),
    st.integers(0, 99),
    st.sampled_from(["f4", "f8"]),
    st.booleans(),
)
def test_regions_on_random_masks(n: int, m: int, share: float, seed: int, dtype: str, torches: bool) -> None:
    rng = np.random.default_rng(seed)
    room = rng.random((n, 2 * m)).astype(dtype)
    a, c = room[:, ::2], rng.random((n, m, 2)).astype(dtype)
    y, z = rng.random((n, m)).astype(dtype), rng.random((2, m + 1, n + 2)).astype(dtype)
    use = rng.random((n, m)) < share
    given = [a, c, y, z, use]
    before = [each.copy() for each in given]
    if torches:
        given = [torch.from_numpy(np.ascontiguousarray(each)) for each in given]
    told = Told()
    dt = 0.3 if dtype == "f8" else 0.25
    plane(given[0], given[1], given[2], given[3], n, m, dt, given[4], Far(2), told)
    after = [np.asarray(each) for each in given]
    for k in (0, 1, 4):
        np.testing.assert_array_equal(after[k], before[k])
    y_original = before[0] * np.asarray(dt, dtype) + before[1][..., 0]
    np.testing.assert_array_equal(after[2][~use], y_original[~use])
    np.testing.assert_array_equal(after[2][use], (-3 - before[0])[use])
    z_wanted = before[3].copy()
    z_wanted[:, :m, :n] = np.where(use.T, -7 - before[3][:, :m, :n], before[3][:, :m, :n] + before[1].T)
    np.testing.assert_array_equal(after[3], z_wanted)
    rejected = int((~use).sum())
    if 0 < rejected < n * m:
        alone, *rest = told.calls
        shapes = [(rejected, 1), (rejected, 1, 2), (rejected, 1), (2, 1, rejected)]
        assert [tuple(each.shape) for each in alone[:4]] == shapes
        assert alone[4:6] == (rejected, 1)
        assert alone[6] == dt
        assert isinstance(alone[6], float)
        assert isinstance(alone[0], torch.Tensor if torches else np.ndarray)
        np.testing.assert_array_equal(np.asarray(alone[0])[:, 0], before[0][~use])
        assert [each[4:6] for each in rest] in ([], [(n, m)])


ROWS = """
tensor functor(f: [i, 0:1] = ([i]))
ml(infer) in(f(a[0:n])) out(f(y[0:n])) model(net) guard(where: a > 0.5) pointwise label("rows")
"""


def test_calls_are_compared_the_first_time_and_each_thousandth() -> None:
    sizes: list[int] = []

    @hpacml.region(ROWS)
    def rows(a: Array, y: Array, n: int, net: Any) -> None:
        sizes.append(n)
        y[:n] = 2 * a[:n]

    a, y, net = np.array([0.1, 0.9, 0.2]), np.zeros(3), Far()
    for _ in range(1000):
        rows(a, y, 3, net)
    assert [k for k, size in enumerate(sizes) if size == 3] == [1, 1001]
    assert sizes.count(2) == 1000
    np.testing.assert_array_equal(y, [0.2, -3.9, 0.4])


SUMS = """
tensor functor(f: [i, 0:1] = ([i]))
ml(infer) in(f(a[0:n])) out(f(y[0:n])) model(net) guard(where: use) pointwise label("sums")
"""


@pytest.mark.parametrize("first", [[0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 1, 1], [0, 1, 1, 1]])
def test_a_first_call_that_tells_nothing_of_a_body_is_not_the_last_compared(first: list[int]) -> None:
    @hpacml.region(SUMS)
    def sums(a: Array, y: Array, n: int, net: Any, use: Array) -> None:
        y[:n] = np.cumsum(a[:n])

    a, net = np.array([0.1, 0.9, 0.2, 0.3]), Far()
    for _ in range(3):
        y = np.zeros(4)
        sums(a, y, 4, net, np.array(first, bool))
        np.testing.assert_array_equal(y, np.where(first, -3 - a, np.cumsum(a)))
    y = np.full(4, 8.0)
    with pytest.raises(MapError, match=r"'sums' is not pointwise: of 'f\(y\[0:n\]\)' at the point \[2\]"):
        sums(a, y, 4, net, np.array([0, 1, 0, 1], bool))
    assert (y == 8).all()


def test_a_body_may_keep_its_arrays() -> None:
    kept: list[Array] = []

    @hpacml.region(ROWS)
    def rows(a: Array, y: Array, n: int, net: Any) -> None:
        y[:n] = 2 * a[:n]
        kept.extend((a, y))

    a, y, net = np.array([0.1, 0.9, 0.2]), np.zeros(3), Far()
    for _ in range(50):
        rows(a, y, 3, net)
    of_points = [each for each in kept if len(each) == 2]
    assert all((each == ([0.1, 0.2], [0.2, 0.4])[k % 2]).all() for k, each in enumerate(of_points))
    for each in of_points:
        each[:] = 100
    np.testing.assert_array_equal(a, [0.1, 0.9, 0.2])


def test_comparisons_leave_random_numbers_as_they_were() -> None:
    @hpacml.region(ROWS)
    def rows(a: Array, y: Array, n: int, net: Any) -> None:
        np.random.rand(n)
        torch.rand(n)
        random.random()
        y[:n] = 2 * a[:n]

    def seed() -> None:
        np.random.seed(0)
        torch.manual_seed(0)
        random.seed(0)

    def drawn() -> tuple[float, ...]:
        return np.random.rand(), float(torch.rand(1)), random.random()

    seed()
    rows(np.array([0.1, 0.9, 0.2]), np.zeros(3), 3, Far())
    found = drawn()
    seed()
    np.random.rand(2)
    torch.rand(2)
    random.random()
    assert found == drawn()


def test_bodies_get_arrays_of_the_kind_that_is_given() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    kinds: list[Any] = []

    @hpacml.region(ROWS)
    def rows(a: Array, y: Array, n: int, net: Any) -> None:
        kinds.append((type(a), a.dtype))
        y[:n] = 2 * a[:n]

    a, y = np.array([0.1, 0.9, 0.2], ml_dtypes.bfloat16), np.zeros(3, ml_dtypes.bfloat16)
    rows(a, y, 3, Far())
    assert set(kinds) == {(np.ndarray, a.dtype)}
    np.testing.assert_array_equal(y[[0, 2]], 2 * a[[0, 2]])


def test_bodies_get_arrays_of_jax_where_these_are_given() -> None:
    numpy_of_jax = pytest.importorskip("jax.numpy")

    @hpacml.region(ROWS)
    def rows(a: Any, y: Array, n: int, net: Any) -> None:
        y[:n] = a.at[0].multiply(1)[:n] * 2

    for dtype in ("float32", "bfloat16"):
        a, y = numpy_of_jax.array([0.1, 0.9, 0.2], dtype), np.zeros(3, np.float32)
        rows(a, y, 3, Far())
        np.testing.assert_array_equal(y[[0, 2]], np.asarray(2 * a, np.float32)[[0, 2]])


def test_numbers_are_passed_on_where_their_slices_have_symbols() -> None:
    @hpacml.region(
        "tensor functor(f: [i, 0:2] = ([i], [i]))\ntensor functor(g: [i, 0:1] = ([i]))\n"
        "ml(infer) in(f(a[0:n], dt)) out(g(y[0:n])) model(net) guard(where: a > 0 and dt > 1) pointwise"
    )
    def scaled(a: Any, y: Any, n: int, dt: float, net: Any) -> None:
        y[:n] = a[:n] * dt

    a, y, net = np.array([-1, 1, -2, 2, -3], np.float32), np.zeros(5, np.float32), torch.nn.Linear(2, 1)
    scaled(a, y, 5, 3.0, net)
    np.testing.assert_array_equal(y[[0, 2, 4]], [-3, -6, -9])
    with torch.no_grad():
        np.testing.assert_allclose(y[[1, 3]], net(torch.tensor([[1.0, 3], [2, 3]]))[:, 0], rtol=1e-6)


def test_a_size_is_no_number_for_the_model() -> None:
    with pytest.raises(DirectiveError, match=r"'n' is a size of the sweep.*a number for the model"):

        @hpacml.region(
            "tensor functor(f: [i, 0:2] = ([i], [0]))\ntensor functor(g: [i, 0:1] = ([i]))\n"
            "ml(infer) in(f(a[0:n], n)) out(g(y[0:n])) model(net) guard(where: a > 0) pointwise"
        )
        def _(a: Any, y: Any, n: int, net: Any) -> None: ...


def test_a_body_that_is_not_pointwise_is_found() -> None:
    @hpacml.region(ROWS)
    def rows(a: Array, y: Array, n: int, net: Any) -> None:
        y[:n] = a[:n] - a[:n].mean()

    a, y = np.array([0.1, 0.9, 0.2]), np.full(3, 8.0)
    with pytest.raises(
        MapError, match=r"'rows' is not pointwise: of 'f\(y\[0:n\]\)' at the point \[0\] it makes -0\.0"
    ):
        rows(a, y, 3, Far())
    np.testing.assert_array_equal(y, [8.0, 8.0, 8.0])


def test_arrays_of_no_map_stay_as_they_are_and_errors_tell_of_the_points() -> None:
    @hpacml.region(ROWS)
    def rows(a: Array, y: Array, n: int, net: Any, factor: Array) -> None:
        y[:n] = factor * a[:n]

    with pytest.raises(ValueError, match="broadcast") as raised:
        rows(np.array([0.1, 0.9, 0.2]), np.zeros(3), 3, Far(), np.ones(3))
    assert any("'a' of shape (2,)" in note for note in raised.value.__notes__)


KERNEL = """
@hpacml.kernel
def step(
    a: Float64[np.ndarray, "n m"], y: Float64[np.ndarray, "n m"], w: Float64[np.ndarray, "m n"], n: int, m: np.int32,
    dt: float, net: Any
):
    approx("tensor functor(f: [i, j, 0:2] = ([i, j], [0]))")
    approx("tensor functor(g: [i, j, 0:1] = ([i, j]))")
    approx("tensor functor(h: [i, j, 0:1] = ([j, i]))")
    with approx("ml(infer) in(f(a[0:n, 0:m], dt)) out(g(y[0:n, 0:m])) inout(h(w[0:, 0:])) model(net) "
                "guard(where: a > 0.5) pointwise label('kernel')"):
        i = 0
        while i < n:
            for j in range(m):
                y[i, j] = a[i, j] * dt + w[j, i]
            i += 1
        for j in range(w.shape[0]):
            for k in range(a.shape[0]):
                w[j, k] = w[j, k] + 1.0
"""


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
def test_kernels_on_random_masks(n: int, m: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, y, w = rng.random((n, m)), rng.random((n, m)), rng.random((m, n))
    use, before = a > 0.5, w.copy()
    _kernel()(a, y, w, n, m, 0.3, Far(2))
    np.testing.assert_array_equal(y, np.where(use, -3 - a, a * 0.3 + before.T))
    np.testing.assert_array_equal(w, np.where(use.T, -7 - before, before + 1))


_kernels: list[Any] = []


def _kernel() -> Any:
    if not _kernels:
        _kernels.append(kernel_of(KERNEL))
    return _kernels[0]


def test_a_kernel_that_uses_other_sizes_than_it_is_given_is_found_and_keeps_to_its_memory() -> None:
    @hpacml.kernel
    def other(a: Row, y: Row, n: int, twin: int, net: Any):
        approx("tensor functor(f: [i, 0:1] = ([i]))")
        with approx("ml(infer) in(f(a[0:n])) out(f(y[0:n])) model(net) guard(where: a > 0.5) pointwise"):
            i = 0
            while i < twin:
                y[i] = a[twin - 1 - i]
                i += 1

    a, y = np.linspace(0, 1, 2000), np.zeros(2000)
    with pytest.raises(MapError, match="is not pointwise"):
        other(a, y, 2000, 2000, Far())
    assert not y.any()


MAPS = [
    ("[i, 0:2] = ([i - 1], [i + 1])", "a[0:n]", "'i - 1' says: write 'i' by itself"),
    ("[i, 0:1] = ([2*i])", "a[0:n]", "'2 * i' says"),
    ("[i, 0:1] = ([i])", "a[1:n]", "give it a range from 0 to a name"),
    ("[i, 0:1] = ([i])", "a[0:n - 1]", "give it a range from 0 to a name"),
    ("[i, 0:1] = ([i])", "a[0:10]", "give it a range from 0 to a name"),
    ("[i, 0:1] = ([i])", "a[0:n:2]", "give it a range from 0 to a name"),
    ("[i, 0:1] = ([i])", "a[b[0:n]]", "as 'b' says which"),
    ("[i, j, 0:1] = ([i, j])", "a[0:n, 0:n]", "'n' is the size of two dimensions of the sweep"),
    ("[i, 0:3] = ([i, 0:3])", "a[0:n, 0:n]", "'n' is a size of the sweep"),
    ("[i, 0:n] = ([i, 0:n])", "a[0:n, 0:m]", "cannot be a number of features"),
    ("[i, 0:2] = ([i], [0])", "a[0:n], b[0:n]", "belongs to all points of a pointwise region along 'i'"),
    ("[i, j, 0:1] = ([j, i])", "y[0:n, 0:m]", "in other dimensions"),
    ("[i, 0:1] = ([i])", "a.x[0:n]", "'a.x' is an attribute"),
]


@pytest.mark.parametrize(("functor", "targets", "message"), MAPS)
def test_maps_that_share_elements_among_points_are_refused(functor: str, targets: str, message: str) -> None:
    output = "[i, j, 0:1] = ([i, j])" if "y[" in targets else "[i, 0:1] = ([i])"
    ranges = "0:n, 0:m" if "y[" in targets else "0:n"
    text = (
        f"tensor functor(f: {functor})\ntensor functor(g: {output})\n"
        f'ml(infer) in(f({targets})) out(g(y[{ranges}])) model("m.pt") guard(range) pointwise'
    )
    with pytest.raises(DirectiveError) as raised:

        @hpacml.region(text)
        def _(a: Any, b: Any, y: Any, n: int, m: int) -> None: ...

    assert message in str(raised.value)
    assert "leave the clause 'pointwise' out" in str(raised.value)
    assert "^" in str(raised.value)


def test_kernels_with_such_maps_are_refused_when_they_are_compiled() -> None:
    @hpacml.kernel
    def smooth(a: Row, y: Row, n: int):
        approx("tensor functor(f: [i, 0:2] = ([i], [i + 1]))")
        approx("tensor functor(g: [i, 0:1] = ([i]))")
        with approx("ml(infer) in(f(a[0:n])) out(g(y[0:n])) model('m.pt') guard(range) pointwise"):
            for i in range(n - 1):
                y[i] = a[i] + a[i + 1]

    with pytest.raises(DirectiveError, match="'i \\+ 1' says: write 'i' by itself"):
        smooth.ir()
