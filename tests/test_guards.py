"""Regions with guards: the model makes some points of a call, the original code the others, and nothing else changes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jaxtyping import Float64

import hpacml
from hpacml import approx
from hpacml.errors import DirectiveError, MapError, ModelError

FUNCTORS = {
    "row": ("f: [i, 0:2] = ([i-1], [i+1])", "g: [i, 0:1] = ([i])", "t[1:n-1]", "u[1:n-1]", 1),
    "plane": (
        "f: [i, j, 0:5] = ([i-1, j], [i+1, j], [i, j-1:j+2])",
        "g: [i, j, 0:1] = ([i, j])",
        "t[1:n-1, 1:m-1]",
        "u[1:n-1, 1:m-1]",
        2,
    ),
    "channels first": ("f: [0:3, i] = ([0:3, i])", "g: [0:2, i] = ([1:3, i])", "t[0:3, 0:n]", "u[0:3, 0:n]", 1),
    "strides": ("f: [i, 0:2] = ([i], [i+1])", "g: [i, 0:1] = ([i])", "t[0:n-1:2]", "u[n-2:0:-2]", 1),
}
"""The functors of input and output, their targets, and the number of the sweep's dimensions."""

SHAPES: dict[str, Callable[[int, int], tuple[int, ...]]] = {
    "row": lambda n, m: (n,),
    "plane": lambda n, m: (n, m),
    "channels first": lambda n, m: (3, n),
    "strides": lambda n, m: (n,),
}
FEATURES = {"row": (2, 1), "plane": (5, 1), "channels first": (3, 2), "strides": (2, 1)}


class Features(torch.nn.Module):
    """A linear map of the features of each point, which are in front or behind."""

    def __init__(self, inputs: int, outputs: int, first: bool):
        super().__init__()
        self.linear = torch.nn.Linear(inputs, outputs)
        self.first = first

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x.movedim(0, -1)).movedim(-1, 0) if self.first else self.linear(x)


def model(path: Path, kind: str, low: float = -1.0, high: float = 1.0) -> str:
    inputs, outputs = FEATURES[kind]
    torch.manual_seed(7)
    if kind == "channels first":
        net: torch.nn.Module = Features(inputs, outputs, first=True)
        domain = None
        example = torch.rand(inputs, 2)
    else:
        net = torch.nn.Linear(inputs, outputs)
        domain = torch.tensor([[low] * inputs, [high] * inputs])
        example = torch.rand(2, *[3] * (kind == "plane"), inputs)
    hpacml.save_model(net, path, example=(example,), domain=None if domain is None else (domain,))
    return str(path)


def region(kind: str, clauses: str, body: Callable[..., None]) -> Any:
    """A region of the arrays t, u and mask, which runs `body` on t and u."""
    f, g, source, target, _ = FUNCTORS[kind]
    if kind == "channels first":
        clauses = clauses.replace("where: mask", "where: ok")

    @hpacml.region(f"""tensor functor({f})
        tensor functor({g})
        tensor functor(one: [i, 0:1] = ([i]))
        declare tensor(ok: one(mask[0:len(mask)]))
        ml(infer) in(f({source})) out(g({target})) model(name) {clauses}""")
    def guarded(t: np.ndarray, u: np.ndarray, mask: np.ndarray, n: int, m: int, name: str) -> None:
        body(t, u)

    return guarded


def original(t: np.ndarray, u: np.ndarray) -> None:
    """Write all of u, also what the maps do not lead to."""
    u[...] = np.sin(3 * t) + 5


def points(kind: str, n: int, m: int) -> list[tuple[tuple[int, ...], list[tuple[int, ...]], list[tuple[int, ...]]]]:
    """Each point of the sweep, with the elements of t that it reads and those of u that it writes: loops by hand."""
    match kind:
        case "row":
            return [((i,), [(i,), (i + 2,)], [(i + 1,)]) for i in range(n - 2)]
        case "plane":
            around = [(-1, 0), (1, 0), (0, -1), (0, 0), (0, 1)]
            return [
                ((i, j), [(i + 1 + a, j + 1 + b) for a, b in around], [(i + 1, j + 1)])
                for i, j in itertools.product(range(n - 2), range(m - 2))
            ]
        case "channels first":
            return [((i,), [(c, i) for c in range(3)], [(c, i) for c in (1, 2)]) for i in range(n)]
        case _:
            return [((i,), [(2 * i,), (2 * i + 1,)], [(n - 2 - 2 * i,)]) for i in range((n - 1) // 2)]


def sizes(kind: str, n: int, m: int) -> tuple[int, ...]:
    """The sizes of the sweep."""
    found = [point for point, _, _ in points(kind, n, m)]
    return tuple(max(each) + 1 for each in zip(*found, strict=True))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("models")
    return {kind: model(folder / f"{kind.replace(' ', '_')}.pt2", kind) for kind in FUNCTORS}


REGIONS = {
    (kind, clauses, engine): (
        region(kind, f"{clauses} engine({engine})", original),
        region(kind, f"engine({engine})", original),
    )
    for kind in FUNCTORS
    for clauses in ("guard(where: mask)", "guard(range)", "guard(range, where: mask)")
    for engine in ("torch", "auto")
    if kind != "channels first" or "range" not in clauses
}


def expected(
    kind: str, t: np.ndarray, u: np.ndarray, accepted: Callable[[Any, Any], bool], plain: Any, name: str
) -> Any:
    n, m = (t.shape[-1], 0) if kind != "plane" else t.shape
    made, whole, wanted = u.copy(), u.copy(), u.copy()
    plain(t, made, np.ones(sizes(kind, n, m)), n, m, name)
    original(t, whole)
    for point, reads, writes in points(kind, n, m):
        for element in writes:
            wanted[element] = (made if accepted(point, [t[each] for each in reads]) else whole)[element]
    return wanted


@pytest.mark.parametrize(("kind", "clauses", "engine"), REGIONS)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_each_point_is_made_by_one(models: dict[str, str], kind: str, clauses: str, engine: str, data: Any) -> None:
    guarded, plain = REGIONS[kind, clauses, engine]
    n, m = data.draw(st.integers(4, 9)), data.draw(st.integers(3, 6))
    n += kind == "strides" and n % 2 == 0
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    t = rng.uniform(-1.3, 1.3, SHAPES[kind](n, m)).astype(np.float32)
    if data.draw(st.booleans()):
        t.flat[0] = np.nan
    u = rng.uniform(-1, 1, t.shape).astype(np.float32)
    share = data.draw(st.sampled_from([0.0, 0.5, 1.0]))
    mask = rng.uniform(size=sizes(kind, n, m)) < share

    def accepted(point: Any, values: Any) -> bool:
        inside = all(-1 <= float(value) <= 1 for value in values)
        return ("range" not in clauses or inside) and ("where" not in clauses or bool(mask[point]))

    wanted = expected(kind, t, u, accepted, plain, models[kind])
    guarded(t, u, mask, n, m, models[kind])
    np.testing.assert_array_equal(u, wanted)


def test_threads(models: dict[str, str]) -> None:
    guarded, plain = REGIONS["plane", "guard(range)", "auto"]
    rng = np.random.default_rng(1)
    calls = [rng.uniform(-1.2, 1.2, (n, 7)).astype(np.float32) for n in range(5, 37)]

    def run(t: np.ndarray) -> np.ndarray:
        u = np.zeros_like(t)
        guarded(t, u, np.ones((t.shape[0] - 2, 5)), t.shape[0], 7, models["plane"])
        return u

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(run, calls))
    for t, u in zip(calls, found, strict=True):
        inside = lambda _, values: all(-1 <= float(value) <= 1 for value in values)  # noqa: E731
        np.testing.assert_array_equal(u, expected("plane", t, np.zeros_like(t), inside, plain, models["plane"]))


def test_arrays_that_share_memory(models: dict[str, str]) -> None:
    guarded, plain = REGIONS["row", "guard(range)", "auto"]
    t = np.linspace(-1.5, 1.5, 12, dtype=np.float32)
    made, whole, wanted = t.copy(), t.copy(), t.copy()
    plain(made, made, np.ones(10), 12, 0, models["row"])
    original(whole, whole)
    for _, reads, writes in points("row", 12, 0):
        inside = all(-1 <= float(t[each]) <= 1 for each in reads)
        wanted[writes[0]] = (made if inside else whole)[writes[0]]
    guarded(t, t, np.ones(10), 12, 0, models["row"])
    np.testing.assert_array_equal(t, wanted)


def test_tensors(models: dict[str, str]) -> None:
    guarded, _ = REGIONS["row", "guard(where: mask)", "torch"]
    t, u = torch.linspace(-1, 1, 12), torch.zeros(12)

    def body(t: torch.Tensor, u: torch.Tensor) -> None:
        u[:] = 2 * t

    guarded = region("row", "guard(where: mask)", body)
    guarded(t, u, torch.tensor([True, False] * 5), 12, 0, models["row"])
    torch.testing.assert_close(u[2:11:2], 2 * t[2:11:2])
    assert not torch.isclose(u[1:11:2], 2 * t[1:11:2]).any()
    assert u[0] == u[11] == 0


MAPS = "tensor functor(f: [i, 0:1] = ([i]))\n"


def double(path: Path, domain: tuple[float, float] | None = (-1.0, 1.0)) -> str:
    net = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        net.weight.fill_(10.0)
    points = None if domain is None else (torch.tensor([[domain[0]], [domain[1]]]),)
    hpacml.save_model(net, path, example=(torch.rand(3, 1),), domain=points)
    return str(path)


def test_conditions_are_of_arrays_numbers_and_named_maps(tmp_path: Path) -> None:
    @hpacml.region(
        MAPS
        + """declare tensor(hot: f(heat[0:n]))
        ml(infer) in(f(a[0:n])) out(f(c[0:n])) model(name) guard(where: a > limit and not hot == 1 or a < -0.5)"""
    )
    def guarded(a: np.ndarray, c: np.ndarray, heat: np.ndarray, n: int, limit: float, name: str) -> None:
        c[:n] = a[:n]

    a, c = np.linspace(-1, 1, 9), np.zeros(9)
    heat = np.array([0, 1, 2] * 3, np.int32)
    guarded(a, c, heat, 9, 0.1, double(tmp_path / "m.pt2"))
    model_used = ((a > 0.1) & (heat != 1)) | (a < -0.5)
    np.testing.assert_allclose(c, np.where(model_used, 10 * a, a))


def test_numbers_of_maps_are_numbers_in_conditions(tmp_path: Path) -> None:
    @hpacml.region(
        "tensor functor(two: [i, 0:2] = ([i], [0]))\n"
        + MAPS
        + "ml(infer) in(two(a[0:n], limit)) out(f(c[0:n])) model(net) guard(where: a > limit)"
    )
    def guarded(a: np.ndarray, c: np.ndarray, n: int, limit: Any, net: Any) -> None:
        c[:n] = a[:n]

    a = np.linspace(-1, 1, 9)
    for limit in (0.1, np.array(0.1), torch.tensor(0.1, dtype=torch.float64)):
        c = np.zeros(9)
        guarded(a, c, 9, limit, Sum())
        np.testing.assert_array_equal(c, np.where(a > 0.1, a + 0.1, a))


class Sum(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum(-1, keepdim=True)


@pytest.mark.parametrize(
    ("condition", "passes"),
    [("mask", [0, 1, 0]), ("not mask", [0, 0, 1]), ("mask and a > 0", [0, 1, 0]), ("not (mask or a < 0)", [0, 0, 1])],
)
def test_what_is_not_a_number_makes_no_condition_hold(condition: str, passes: list[int]) -> None:
    declared = "declare tensor(mask: f(m[0:n]))\n"

    @hpacml.region(MAPS + declared + f"ml(infer) in(f(a[0:n])) out(f(c[0:n])) model(net) guard(where: {condition})")
    def guarded(a: np.ndarray, c: np.ndarray, m: np.ndarray, n: int, net: Any) -> None:
        c[:n] = -1

    c = np.zeros(3)
    guarded(np.ones(3), c, np.array([np.nan, 2, 0]), 3, Sum())
    np.testing.assert_array_equal(c, np.where(passes, 1, -1))


Row = Float64[np.ndarray, "n"]
EVERYWHERE = np.ones(3)


@hpacml.kernel
def unmapped(a: Row, c: Row, mask: Row, net: Any):
    n = len(a)
    approx("tensor functor(f: [i, 0:1] = ([i]))")
    with approx("ml(infer) in(f(a[0:n])) out(f(c[0:n])) model(net) guard(where: mask > 0.5)"):
        for i in range(n):
            c[i] = a[i]


@hpacml.kernel
def undefined(a: Row, c: Row, mask: Row, net: Any):
    n = len(a)
    approx("tensor functor(f: [i, 0:1] = ([i]))")
    with approx("ml(infer) in(f(a[0:n])) out(f(c[0:n])) model(net) guard(where: maks > 0.5)"):
        for i in range(n):
            c[i] = a[i]


@hpacml.kernel
def opaque(a: Row, c: Row, mask: Row, net: Any):
    n = len(a)
    approx("tensor functor(f: [i, 0:1] = ([i]))")
    with approx("ml(infer) in(f(a[0:n])) out(f(c[0:n])) model(net) guard(where: a > net)"):
        for i in range(n):
            c[i] = a[i]


@hpacml.kernel
def outside(a: Row, c: Row, mask: Row, net: Any):
    n = len(a)
    approx("tensor functor(f: [i, 0:1] = ([i]))")
    with approx("ml(infer) in(f(a[0:n])) out(f(c[0:n])) model(net) guard(where: EVERYWHERE)"):
        for i in range(n):
            c[i] = a[i]


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (unmapped, r"'mask' is an array, and none of the region's maps.*\n.*\n +\^{4}$"),
        (undefined, r"'maks' is not defined; did you mean 'mask'\?\n.*\n +\^{4}$"),
        (opaque, r"'net' is not part of the compiled code.*\n.*\n +\^{3}$"),
        (outside, "there is no array 'EVERYWHERE'"),
    ],
)
def test_conditions_of_kernels_that_name_no_numbers(kernel: Any, message: str) -> None:
    with pytest.raises(DirectiveError, match=message):
        kernel(np.ones(3), np.zeros(3), np.ones(3), Sum())


@pytest.mark.parametrize("engine", ["auto", "torch"])
def test_each_feature_has_its_own_range_to_the_last_bit(tmp_path: Path, engine: str) -> None:
    """Ends in f64 that are no f32, elements that are next to them, views of a stencil whose ranges differ."""
    ends = torch.tensor([[0.1, 0.2, 0.3, 0.15, 0.25], [0.9, 0.7, 0.8, 0.85, 0.75]], dtype=torch.float64)
    path = str(tmp_path / "m.pt2")
    net = torch.nn.Linear(5, 1)
    hpacml.save_model(net, path, example=(torch.rand(4, 4, 5),), domain=(ends.reshape(2, 1, 5),))

    @hpacml.region(
        "tensor functor(f: [i, j, 0:5] = ([i-1, j], [i+1, j], [i, j-1:j+2])) tensor functor(g: [i, j, 0:1] = ([i, j]))"
        f"ml(infer) in(f(t[1:n-1, 1:n-1])) out(g(u[1:n-1, 1:n-1])) model(name) engine({engine}) guard(range)"
    )
    def guarded(t: np.ndarray, u: np.ndarray, n: int, name: str) -> None:
        u[1:-1, 1:-1] = 7

    near = ends.numpy().astype(np.float32).ravel()
    near = np.concatenate([near, np.nextafter(near, np.float32(2)), np.nextafter(near, np.float32(-2)), [0.5, np.nan]])
    # Most elements are in all ranges, and a seventh may be anything: some points pass, and others by each end.
    rng = np.random.default_rng(0)
    t = rng.choice(near.astype(np.float32), (90, 90))
    t = np.where(rng.random(t.shape) < 1 / 7, t, np.float32(0.5))
    u = np.zeros_like(t)
    guarded(t, u, 90, path)
    x = np.stack([t[:-2, 1:-1], t[2:, 1:-1], t[1:-1, :-2], t[1:-1, 1:-1], t[1:-1, 2:]], -1)
    passes = ((x.astype(np.float64) >= ends[0].numpy()) & (x.astype(np.float64) <= ends[1].numpy())).all(-1)
    assert passes.any()
    assert not passes.all()
    np.testing.assert_array_equal(u[1:-1, 1:-1] == 7, ~passes)
    t[:] = 0.5
    guarded(t, u, 90, path)
    with torch.no_grad():
        expected = net(torch.full((1, 5), 0.5)).item()
    np.testing.assert_allclose(u[1:-1, 1:-1], expected, rtol=0, atol=1e-6)


def test_margins_and_distances(tmp_path: Path) -> None:
    path = double(tmp_path / "m.pt2", (-1.0, 1.0))
    a = np.linspace(-3, 3, 13)
    for clause, reach in {"range, margin: 0.25": 1.5, "distance: 1.0": None}.items():

        @hpacml.region(MAPS + f"ml(infer) in(f(a[0:n])) out(f(c[0:n])) model(name) guard({clause})")
        def guarded(a: np.ndarray, c: np.ndarray, n: int, name: str) -> None:
            c[:n] = a[:n]

        c = np.zeros(13)
        guarded(a, c, 13, path)
        used = np.isclose(c, 10 * a) & (a != 0)
        assert used.any()
        assert not used.all()
        if reach is not None:
            np.testing.assert_array_equal(used, (abs(a) <= reach) & (a != 0))


def test_a_model_that_tells_its_uncertainty(tmp_path: Path) -> None:
    class Unsure(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return 10 * x, x.abs()

    hpacml.save_model(Unsure(), tmp_path / "m.pt2", example=(torch.rand(3, 1),))

    @hpacml.region(MAPS + "ml(infer) in(f(a[0:n])) out(f(c[0:n])) model(name) guard(below: 0.5)")
    def guarded(a: np.ndarray, c: np.ndarray, n: int, name: str) -> None:
        c[:n] = a[:n]

    a, c = np.linspace(-1, 1, 9, dtype=np.float32), np.zeros(9, np.float32)
    guarded(a, c, 9, str(tmp_path / "m.pt2"))
    np.testing.assert_allclose(c, np.where(abs(a) <= 0.5, 10 * a, a), rtol=1e-6)


def simple(clause: str) -> Any:
    @hpacml.region(MAPS + f"ml(infer) in(f(a[0:n])) out(f(c[0:n])) model(name) {clause}")
    def guarded(a: np.ndarray, c: np.ndarray, mask: np.ndarray, n: int, name: str) -> None:
        c[:n] = a[:n]

    return guarded


@pytest.mark.parametrize(
    ("clause", "mask", "error", "message"),
    [
        ("guard(where: mask)", np.ones(4), MapError, "4 points in dimension 0 where .* has 5"),
        ("guard(where: mask)", np.ones((5, 1)), MapError, "mask"),
        ("guard(where: a > mask)", np.ones(5), DirectiveError, "'mask' is of type ndarray"),
        ("guard(where: a > maks)", np.ones(5), DirectiveError, "did you mean 'mask'"),
    ],
)
def test_masks_that_do_not_fit(tmp_path: Path, clause: str, mask: Any, error: type[Exception], message: str) -> None:
    c = np.zeros(5)
    with pytest.raises(error, match=message):
        simple(clause)(np.ones(5), c, mask, 5, double(tmp_path / "m.pt2"))
    assert not c.any()


def test_a_model_without_a_domain(tmp_path: Path) -> None:
    c = np.zeros(5)
    with pytest.raises(ModelError, match="domain"):
        simple("guard(range)")(np.ones(5), c, None, 5, double(tmp_path / "m.pt2", None))
    assert not c.any()


def test_several_elements_of_a_point_have_no_one_name() -> None:
    with pytest.raises(DirectiveError, match="a point has several elements of 't'"):
        region("row", "guard(where: t > 0)", original)


def test_a_range_of_one_element_is_that_element() -> None:
    @hpacml.region("""tensor functor(f: [i, 0:1] = ([i, 0:1]))
        ml(infer) in(f(a[0:n, 0:1])) out(f(c[0:n, 0:1])) model(net) guard(where: a > 0)""")
    def sevenfold(a: np.ndarray, c: np.ndarray, n: int, net: Any) -> None:
        c[:n] = 7 * a[:n]

    a, c = np.array([[1.0], [-1], [2]], np.float32), np.zeros((3, 1), np.float32)
    sevenfold(a, c, 3, torch.nn.Identity())
    assert c.tolist() == [[1], [-7], [2]]


@pytest.mark.parametrize("clause", ["guard(range)", "clip(0:)", "project(name)", "verify(every: 1, tolerance: 1)"])
def test_what_only_collects_has_no_model_to_guard(clause: str) -> None:
    with pytest.raises(DirectiveError, match="it only collects"):

        @hpacml.region(MAPS + f"ml(collect) in(f(a[0:n])) out(f(c[0:n])) database('d.h5') {clause}")
        def guarded(a: np.ndarray, c: np.ndarray, n: int, name: str) -> None: ...


def test_gradients_are_refused(tmp_path: Path) -> None:
    a, c = torch.ones(5, requires_grad=True), torch.zeros(5)
    with hpacml.differentiable(), pytest.raises(DirectiveError, match="guard"):
        simple("guard(range)")(a, c, None, 5, double(tmp_path / "m.pt2"))
