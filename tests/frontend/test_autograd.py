"""Gathers and scatters as functions of Torch's autograd, against the matrices of maps that the oracle builds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from torch.autograd import forward_ad, gradcheck, gradgradcheck

import hpacml
from hpacml import MapError
from hpacml.frontend.linear_map import LinearMap
from tests import oracle
from tests.differential import NO_MISFIT
from tests.strategies import Binding, Program, arrays_of, cases, lay, layout_of, new

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
"""Torch scripts what forward mode is made of."""

FLOATS = "f64", "f32", "f16", "bf16"
LARGEST = 80
"""The most elements of the arrays of a map whose matrix is built, column by column."""

SIDES = hpacml.functor("sides: [i, 0:2] = ([i - 1], [i + 1])")
POINT = hpacml.functor("point: [i, 0:1] = ([i])")
ROWS = hpacml.functor("rows: [i, 0:3] = ([i, 0:3])")


def doubles(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


# -- random maps -----------------------------------------------------------------------------------


def tensors_of(program: Program, binding: Binding) -> tuple[dict[str, Any], list[str]]:
    """The arguments of a call, of which the arrays of elements are tensors, and the names of these."""
    names = dict(binding.numbers) | arrays_of(program, binding)
    read = oracle.read_targets(program.targets, names)
    elements = list(dict.fromkeys(target.name for target in read))
    for name in elements:
        values = names[name]
        values = values if isinstance(values, torch.Tensor) else torch.from_numpy(values.copy())
        values = torch.zeros_like(values)
        names[name] = lay(values, layout_of(values, dict(binding.layouts)[name]), new)
    return names, elements


def blank(names: Mapping[str, Any], elements: list[str]) -> dict[str, Any]:
    """The arguments with new arrays of zeros."""
    return dict(names) | {
        name: torch.zeros_like(names[name], memory_format=torch.contiguous_format) for name in elements
    }


def flat(tensors: list[torch.Tensor]) -> np.ndarray:
    return np.concatenate([np.zeros(0), *(t.detach().double().numpy().ravel() for t in tensors)])


def double(values: Any) -> np.ndarray:
    return torch.as_tensor(values).double().numpy().ravel()


def matrix(program: Program, names: Mapping[str, Any], elements: list[str], shape: list[int]) -> np.ndarray:
    """The matrix of a map, a column for each element that is read: those of the arrays, then of the tensor written."""
    columns: list[np.ndarray] = []

    def column(change: Callable[[dict[str, Any], Any], None]) -> None:
        here, dense = blank(names, elements), torch.zeros(shape, dtype=torch.float64)
        change(here, dense)
        held = {
            name: value if oracle.dtype_of(value) == "bf16" else value.numpy()
            for name, value in here.items()
            if name in elements
        }
        here |= held
        if program.direction == "to":
            columns.append(double(oracle.gather(program.functor, program.targets, here)))
        else:
            oracle.scatter(dense.numpy(), program.functor, program.targets, here)
            columns.append(np.concatenate([double(here[name]) for name in elements]))

    def one(name: str, k: int) -> Callable[[dict[str, Any], Any], None]:
        return lambda here, dense: here[name].view(-1).__setitem__(k, 1.0)

    for name in elements:
        for k in range(names[name].numel()):
            column(one(name, k))
    for k in range(prod(shape) if program.direction == "from" else 0):
        column(lambda here, dense, k=k: dense.view(-1).__setitem__(k, 1.0))
    rows = prod(shape) if program.direction == "to" else sum(names[name].numel() for name in elements)
    return np.stack(columns, 1) if columns else np.zeros((rows, 0))


def small(tensor: torch.Tensor, seed: int) -> torch.Tensor:
    """Numbers whose sums are exact in any dtype."""
    found = torch.randint(-1, 2, tensor.shape, generator=torch.Generator().manual_seed(seed))
    return found.to(tensor.dtype)


def call(
    program: Program, names: Mapping[str, Any], elements: list[str], given: list[torch.Tensor]
) -> list[torch.Tensor]:
    """The product's map as a function of the arrays and of the tensor that is scattered."""
    f = hpacml.functor(f"f: {program.functor}")
    arrays = dict(zip(elements, given, strict=False))
    if program.direction == "to":
        return [f.gather(program.targets, **{**names, **arrays})]
    copies = {name: array.clone() for name, array in arrays.items()}
    f.scatter(given[-1], program.targets, **{**names, **copies})
    return [*copies.values()]


def compare(program: Program, binding: Binding) -> bool:
    """Compare the derivatives of a map with its matrix. Returns False for what is no valid map, or too large."""
    try:
        names, elements = tensors_of(program, binding)
        shape = oracle.meaning(program.functor, program.targets, names, program.direction)[0]
    except (oracle.Misfit, oracle.TooLarge):
        return False
    if sum(names[name].numel() for name in elements) + prod(shape) > LARGEST:
        return False
    dense = torch.zeros(shape, dtype=torch.float64)
    inputs = [names[name] for name in elements] + ([dense] if program.direction == "from" else [])
    leaves = [each.detach().clone().requires_grad_() for each in inputs]
    try:
        outputs = call(program, names, elements, leaves)
    except MapError as error:
        if any(words in str(error) for words in NO_MISFIT):
            return False
        raise
    m = matrix(program, names, elements, shape)
    given = [small(each, binding.seed) for each in outputs]
    found = torch.autograd.grad(outputs, leaves, given, allow_unused=True)
    known = [torch.zeros_like(leaf) if g is None else g for g, leaf in zip(found, leaves, strict=True)]
    np.testing.assert_array_equal(flat(known), m.T @ flat(given))
    assert [g.dtype for g in known] == [leaf.dtype for leaf in leaves]

    tangents = [small(each, binding.seed + 1) for each in inputs]
    with forward_ad.dual_level():
        duals = [forward_ad.make_dual(each.detach(), t) for each, t in zip(inputs, tangents, strict=True)]
        pushed = [forward_ad.unpack_dual(each).tangent for each in call(program, names, elements, duals)]
    none = [torch.zeros_like(each) if t is None else t for t, each in zip(pushed, outputs, strict=True)]
    np.testing.assert_array_equal(flat(none), m @ flat(tangents))
    return True


@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.slow) for part in range(1, 5))])
def test_derivatives_of_random_maps_are_their_matrices(part: int) -> None:
    compared: list[Program] = []

    @hypothesis.seed(part)
    @settings(
        max_examples=12,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(FLOATS, 2))
    def run(case: tuple[Program, list[Binding]]) -> None:
        program, calls = case
        for each in calls:
            if compare(program, each):
                compared.append(program)

    run()
    assert len(compared) >= 6
    assert part or {program.direction for program in compared} == {"to", "from"}


# -- gradcheck -------------------------------------------------------------------------------------


def overlapping(a: torch.Tensor) -> torch.Tensor:
    return SIDES.gather("a[1:n-1]", a=a, n=8)


def repeated(p: torch.Tensor) -> torch.Tensor:
    return ROWS.gather("p[idx[0:4], 0:3]", p=p, idx=np.array([1, 1, 4, 0]))


def several(a: torch.Tensor, b: torch.Tensor, dt: torch.Tensor) -> torch.Tensor:
    f = hpacml.functor("f: [i, 0:4] = ([i], [i], [0], [i])")
    return f.gather("a[0:4], b[4:8], dt, a[7:3:-1]", a=a, b=b, dt=dt)


def written(a: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    a = a.clone()
    POINT.scatter(y, "a[2:6]", a=a)
    return a * a


def written_by_indices(p: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    p = p * 1.0
    ROWS.scatter(y, "p[idx[0:4], 0:3]", p=p, idx=torch.tensor([3, 1, 4, 0]))
    return p * p


def written_twice(a: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    a = a.clone()
    POINT.scatter(y, "a[2:6]", a=a)
    POINT.scatter(overlapping(a)[1:5, :1], "a[4:8]", a=a)
    return a * a


def a_view(a: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    a = a.clone()
    POINT.scatter(y, "v[0:4]", v=a[1:5])
    return a.exp()


def two_arrays(a: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    a, b = a.clone(), torch.zeros(5, dtype=torch.float64)
    both = hpacml.functor("two: [i, 0:2] = ([i], [i])")
    both.scatter(torch.cat([y, y * y], 1), "a[2:6], b[0:4]", a=a, b=b)
    return a * a, b * b


CHECKED: dict[str, tuple[Callable[..., Any], list[tuple[int, ...]]]] = {
    "overlapping windows": (overlapping, [(8,)]),
    "indices that repeat": (repeated, [(5, 3)]),
    "several arrays and a number": (several, [(8,), (8,), ()]),
    "a scatter": (written, [(8,), (4, 1)]),
    "a scatter by indices": (written_by_indices, [(5, 3), (4, 3)]),
    "one scatter upon another": (written_twice, [(8,), (4, 1)]),
    "a view": (a_view, [(8,), (4, 1)]),
    "two arrays": (two_arrays, [(8,), (4, 1)]),
}


@pytest.mark.parametrize("case", CHECKED)
def test_gradients_and_their_gradients(case: str) -> None:
    function, shapes = CHECKED[case]
    inputs = [doubles(*shape) for shape in shapes]
    assert gradcheck(function, inputs, check_forward_ad=True)
    assert gradgradcheck(function, inputs, check_fwd_over_rev=True)


def test_transforms_of_torch_func() -> None:
    a = torch.randn(8, dtype=torch.float64)

    def energy(a: torch.Tensor) -> torch.Tensor:
        return (overlapping(a) ** 2).sum()

    leaf = a.clone().requires_grad_()
    (expected,) = torch.autograd.grad(energy(leaf), leaf)
    torch.testing.assert_close(torch.func.grad(energy)(a), expected)
    value, tangent = torch.func.jvp(energy, (a,), (torch.ones_like(a),))
    torch.testing.assert_close(tangent, expected.sum())
    assert value == energy(a)
    with pytest.raises(MapError, match=r"belongs to torch\.vmap"):
        torch.func.vmap(overlapping)(torch.randn(3, 8, dtype=torch.float64))


def test_tangents_without_memory_are_zeros() -> None:
    with forward_ad.dual_level():
        zero = torch._efficientzerotensor(8, dtype=torch.float64)
        x = overlapping(forward_ad.make_dual(torch.ones(8, dtype=torch.float64), zero))
        assert not forward_ad.unpack_dual(x).tangent.any()


# -- what is computed ------------------------------------------------------------------------------


def test_values_are_those_without_gradients() -> None:
    a = torch.randn(100)
    with_gradient = SIDES.gather("a[1:n-1]", a=a.clone().requires_grad_(), n=100)
    assert with_gradient.requires_grad
    assert torch.equal(with_gradient, SIDES.gather("a[1:n-1]", a=a, n=100))
    with torch.no_grad():
        assert not SIDES.gather("a[1:n-1]", a=a.clone().requires_grad_(), n=100).requires_grad


def test_sums_of_small_floats_are_rounded_once() -> None:
    a = torch.zeros(1, dtype=torch.float16, requires_grad=True)
    x = POINT.gather("a[idx[0:n]]", a=a, idx=np.zeros(5000, np.int32), n=5000)
    (grad,) = torch.autograd.grad(x, a, torch.ones_like(x))
    assert grad.dtype is torch.float16
    assert grad.item() == 5000  # in float16, adding 1 to 2048 changes nothing


def test_sums_have_an_order() -> None:
    n = 10_000
    idx = torch.randint(0, 7, (n,), generator=torch.Generator().manual_seed(0))
    a = torch.zeros(7, requires_grad=True)
    g = torch.randn(n, 1, generator=torch.Generator().manual_seed(1))
    x = POINT.gather("a[idx[0:n]]", a=a, idx=idx, n=n)
    (grad,) = torch.autograd.grad(x, a, g)
    in_order = np.zeros(7, np.float32)
    for k, value in zip(idx.tolist(), g[:, 0].numpy(), strict=True):
        in_order[k] += value
    np.testing.assert_array_equal(grad.numpy(), in_order)


def test_indices_are_those_of_the_gather() -> None:
    """A copy of NumPy's is kept; of Torch's it is known that they have been written."""
    a, idx = doubles(5), np.array([0, 0, 3])
    x = POINT.gather("a[idx[0:3]]", a=a, idx=idx)
    idx[:] = 4
    (grad,) = torch.autograd.grad(x.sum(), a)
    assert grad.tolist() == [2, 0, 0, 1, 0]
    indices = torch.tensor([0, 0, 3])
    x = POINT.gather("a[idx[0:3]]", a=a, idx=indices)
    indices[0] = 4
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(x.sum(), a)


def test_what_backward_needs_must_not_be_written() -> None:
    a, y = doubles(8), doubles(4, 1)
    b = a * 2
    squared = b * b
    POINT.scatter(y, "b[2:6]", b=b)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        squared.sum().backward()


def test_arrays_without_gradients_are_constants() -> None:
    a, b = doubles(4), np.arange(4.0)
    f = hpacml.functor("f: [i, 0:3] = ([i], [i], [0])")
    x = f.gather("a[0:4], b[0:4], c", a=a, b=b, c=2)
    assert x[:, 1:].tolist() == [[0, 2], [1, 2], [2, 2], [3, 2]]
    (grad,) = torch.autograd.grad((x * x).sum(), a)
    torch.testing.assert_close(grad, 2 * a.detach())
    integers = torch.arange(4)
    mixed = f.gather("a[0:4], k[0:4], c", a=a, k=integers, c=2)
    assert torch.autograd.grad(mixed.sum(), a)[0].tolist() == [1, 1, 1, 1]


def test_truth_values_beside_floats() -> None:
    a, mask = doubles(4), torch.tensor([True, False, True, False])
    f = hpacml.functor("f: [i, 0:2] = ([i], [i])")
    x = f.gather("a[0:4], m[0:4]", a=a, m=mask)
    assert torch.autograd.grad(x.sum(), a)[0].tolist() == [1, 1, 1, 1]


def test_no_elements() -> None:
    a = doubles(8)
    x = SIDES.gather("a[1:1]", a=a)
    assert torch.autograd.grad(x.sum(), a)[0].tolist() == [0] * 8


def test_adding_by_places_is_adding() -> None:
    """As on a GPU, where threads would add in any order."""
    p, q = torch.zeros(5, 3, dtype=torch.float64), torch.zeros(4, dtype=torch.float32)
    names = {"p": p, "q": q, "idx": torch.tensor([1, 1, 4, 0])}
    f = hpacml.functor("f: [i, 0:4] = ([i, 0:3], [i])")
    bound = f.bind("p[idx[0:4], 0:3], q[0:4]", "to", names)
    map = LinearMap.of(bound, None, names, ["p", "q"])
    g = torch.randn(4, 4, dtype=torch.float64)
    expected = map.add(g, [names["idx"]])
    sums = [torch.zeros_like(p), torch.zeros(4, dtype=torch.float64)]
    map.add_by_places(g, sums, [names["idx"]])
    for one, other in zip(sums, expected, strict=True):
        torch.testing.assert_close(one.to(other.dtype), other)


# -- what is refused -------------------------------------------------------------------------------


def test_no_gradient_goes_through_out() -> None:
    a, out = doubles(8), torch.zeros(6, 2, dtype=torch.float64)
    with pytest.raises(MapError, match="no gradient goes through 'out'"):
        SIDES.gather("a[1:n-1]", a=a, n=8, out=out)
    with torch.no_grad():
        assert SIDES.gather("a[1:n-1]", a=a, n=8, out=out) is out


@pytest.mark.parametrize("what", ["is a leaf", "is a view of a leaf"])
def test_leaves_are_not_written(what: str) -> None:
    leaf = doubles(8)
    before = leaf.detach().clone()
    given = leaf[0:8] if "view" in what else leaf
    with pytest.raises(MapError, match=f"'a' is written, but it {what} that requires a gradient"):
        POINT.scatter(torch.ones(4, 1), "a[2:6]", a=given)
    assert torch.equal(leaf, before)


def test_a_wrong_map_writes_nothing() -> None:
    a, y = doubles(8), doubles(4, 1)
    b = a.clone()
    node, version = b.grad_fn, b._version
    with pytest.raises(MapError, match=r"writes b\[1\] 2 times"):
        POINT.scatter(y, "b[idx[0:4]]", b=b, idx=torch.tensor([0, 1, 1, 2]))
    with pytest.raises(MapError, match="shape"):
        POINT.scatter(y[:3], "b[0:4]", b=b)
    assert torch.equal(a, b)
    assert b.grad_fn is node
    assert b._version >= version
    with pytest.raises(MapError, match="outside"):
        POINT.gather("b[idx[0:2]]", b=b, idx=torch.tensor([0, 8]))
