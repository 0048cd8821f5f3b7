"""Everything that `ml` can say, through both doors: compiled kernels and opaque regions, against NumPy."""

from __future__ import annotations

import itertools
import linecache
import os
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from jaxtyping import Float32, Float64, Int32, Int64, UInt8

import hpacml
from hpacml import approx

Make = Callable[..., Any]

FUNCTORS = """
tensor functor(one: [i, 0:1] = ([i]))
tensor functor(pair: [i, 0:2] = ([i], [i]))
tensor functor(sides: [i, 0:2] = ([i-1], [i+1]))
"""
ARRAYS = {
    kind: annotation[np.ndarray, "N"]
    for kind, annotation in {"F4": Float32, "F8": Float64, "I4": Int32, "I8": Int64, "U1": UInt8}.items()
}
_programs: list[dict[str, Any]] = []


def define(text: str, **names: Any) -> dict[str, Any]:
    """What the program `text` defines; it lives to the end, and kernels can read the text again."""
    file = f"<region {len(_programs)}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    space: dict[str, Any] = {"hpacml": hpacml, "approx": approx, "np": np, "Any": Any, **ARRAYS, **names}
    exec(compile(text, file, "exec"), space)
    _programs.append(space)
    return space


def make_kernel(parameters: str, directives: str, body: str = "pass") -> Any:
    """A kernel that is one region."""
    inside = textwrap.indent(textwrap.dedent(body), " " * 8)
    text = f"@hpacml.kernel\ndef r({parameters}):\n    with approx(TEXT):\n{inside}\n"
    return define(text, TEXT=FUNCTORS + directives)["r"]


def make_region(parameters: str, directives: str, body: str = "pass") -> Any:
    text = f"@hpacml.region(TEXT)\ndef r({parameters}):\n{textwrap.indent(textwrap.dedent(body), ' ' * 4)}\n"
    return define(text, TEXT=FUNCTORS + directives)["r"]


@pytest.fixture(params=[make_kernel, make_region], ids=["kernel", "region"])
def make(request: pytest.FixtureRequest) -> Make:
    """Makes a function `r` of its parameters, directives, and the body of the region."""
    return request.param


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    hpacml.flush()


def recorded(file: str = "d.h5", label: str = "r") -> dict[str, np.ndarray]:
    """What a database holds of a region."""
    hpacml.flush()
    with h5py.File(file) as opened:
        return {name: dataset[()] for name, dataset in opened[label].items()}


def randoms(count: int, n: int = 7) -> list[np.ndarray]:
    return list(np.random.default_rng(count).random((count, n)))


def column(array: np.ndarray) -> np.ndarray:
    return array[..., None]


# -- inputs and outputs --------------------------------------------------------------------------

SEVERAL = """ml(predicated: p) in(pair(a[0:n], b[0:n]), one(b[0:n])) out(one(c[0:n]), pair(d[0:n], a[0:n]))
             inout(one(e[0:n])) model(net) database("d.h5")"""
SEVERAL_BODY = """
for i in range(n):
    c[i] = a[i] + b[i]
    d[i] = 2.0 * a[i]
    a[i] = 3.0 * b[i]
    e[i] = 4.0 * e[i]
"""


@pytest.fixture
def several(make: Make) -> Any:
    return make("a: F8, b: F8, c: F8, d: F8, e: F8, n: int, p: bool, net: Any", SEVERAL, SEVERAL_BODY)


def test_a_model_gets_its_arguments_in_order_and_returns_a_tuple(several: Any) -> None:
    seen: list[torch.Tensor] = []

    def net(*x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        seen.extend(each.clone() for each in x)
        ab, _, e = x
        return ab[:, :1] - ab[:, 1:], 2.0 * ab, -e

    a, b, c, d, e = randoms(5)
    a0, e0 = a.copy(), e.copy()
    several(a, b, c, d, e, 7, True, net)
    for tensor, expected in zip(seen, (np.stack([a0, b], -1), column(b), column(e0)), strict=True):
        np.testing.assert_array_equal(tensor, expected)
    for array, expected in ((c, a0 - b), (d, 2.0 * a0), (a, 2.0 * b), (e, -e0)):
        np.testing.assert_array_equal(array, expected)


def test_a_collection_has_inputs_before_and_outputs_after_the_body(several: Any) -> None:
    a, b, c, d, e = randoms(5)
    for call in range(2):
        a0, e0 = a.copy(), e.copy()
        several(a, b, c, d, e, 7, False, None)
        data = recorded()
        assert set(data) == {"input", "input_1", "input_2", "output", "output_1", "output_2", "runtime", "runs"}
        np.testing.assert_array_equal(data["input"][call], np.stack([a0, b], -1))
        np.testing.assert_array_equal(data["input_1"][call], column(b))
        np.testing.assert_array_equal(data["input_2"][call], column(e0))
        np.testing.assert_array_equal(data["output"][call], column(a0 + b))
        np.testing.assert_array_equal(data["output_1"][call], np.stack([2.0 * a0, 3.0 * b], -1))
        np.testing.assert_array_equal(data["output_2"][call], column(4.0 * e0))
    assert data["runtime"].shape == (2,)


@pytest.mark.parametrize(
    ("maps", "clauses"),
    [
        ("", "inout(one(a[1:n]))"),
        ("declare tensor(s: one(a[1:n]))", "inout(s)"),
        ("declare tensor(s: one(a[1:n]))", "in(s) out(s)"),
        ("tensor map(to: one(a[1:n]))", "inout(a)"),
        ("tensor map(from: one(a[1:n]))", "inout(a)"),
        ("tensor map(to: one(a[1:n]))\ntensor map(from: one(a[1:n]))", "inout(a)"),
        ("tensor map(to: one(a[1:n]))\ntensor map(from: one(a[1:n]))", "in(a) out(a)"),
        ("", "in(one(a[1:n])) out(one(a[1:n]))"),
    ],
)
def test_ways_to_say_that_an_array_is_updated(make: Make, maps: str, clauses: str) -> None:
    body = "for i in range(1, n):\n    a[i] = 2.0 * a[i]"
    r = make(
        "a: F8, n: int, p: bool, net: Any", f"{maps}\nml(predicated: p) {clauses} model(net) database('d.h5')", body
    )
    (a,) = randoms(1)
    a0 = a.copy()
    r(a, 7, True, lambda x: 3.0 * x)
    np.testing.assert_array_equal(a, np.append(a0[0], 3.0 * a0[1:]))
    a1 = a.copy()
    r(a, 7, False, None)
    np.testing.assert_array_equal(recorded()["input"][0], column(a1[1:]))
    np.testing.assert_array_equal(recorded()["output"][0], column(2.0 * a1[1:]))


def test_an_input_window_over_the_array_that_is_written(make: Make) -> None:
    directives = "ml(predicated: p) in(sides(a[1:n-1])) out(one(a[1:n-1])) model(net) database('d.h5')"
    body = "for i in range(1, n - 1):\n    a[i] = a[i-1] + a[i+1]"
    r = make("a: F8, n: int, p: bool, net: Any", directives, body)
    (a,) = randoms(1)
    a0 = a.copy()
    r(a, 7, True, lambda x: x.sum(-1, keepdim=True))
    np.testing.assert_array_equal(a[1:-1], a0[:-2] + a0[2:])
    a1 = a.copy()
    r(a, 7, False, None)
    np.testing.assert_array_equal(recorded()["input"][0], np.stack([a1[:-2], a1[2:]], -1))
    np.testing.assert_array_equal(recorded()["output"][0], column(a[1:-1]))


@pytest.mark.parametrize(
    ("clauses", "inputs"),
    [
        ("in(a, b) out(c, d)", ["ab"]),
        ("in(b) out(d)", ["ab"]),
        ("in(e, a) out(c)", ["e", "ab"]),
        ("in(x, b) out(y)", ["e", "ab"]),
    ],
)
def test_a_map_of_several_arrays_is_one_tensor_that_each_of_them_names(
    make: Make, clauses: str, inputs: list[str]
) -> None:
    maps = """tensor map(to: pair(a[0:n], b[0:n]))
              tensor map(from: pair(c[0:n], d[0:n]))
              tensor map(to: one(e[0:n]))
              declare tensor(x: one(e[0:n]))
              declare tensor(y: pair(c[0:n], d[0:n]))"""
    r = make("a: F8, b: F8, c: F8, d: F8, e: F8, n: int, net: Any", f"{maps}\nml(infer) {clauses} model(net)")
    a, b, c, d, e = randoms(5)
    tensors = {"ab": np.stack([a, b], -1), "e": column(e)}

    def net(*x: torch.Tensor) -> torch.Tensor:
        for tensor, name in zip(x, inputs, strict=True):
            np.testing.assert_array_equal(tensor, tensors[name])
        return 2.0 * x[-1]

    r(a, b, c, d, e, 7, net)
    np.testing.assert_array_equal(c, 2.0 * a)
    np.testing.assert_array_equal(d, 2.0 * b)


# -- batch ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", ["batch", "batch(3)", "batch(1)", "batch(4096)"])
def test_batches_give_what_one_call_gives(make: Make, batch: str) -> None:
    directives = (
        f"ml(infer) in(sides(a[1:n-1]), one(b[1:n-1])) out(one(c[1:n-1])) inout(one(a[1:n-1])) {batch} model(net)"
    )
    r = make("a: F8, b: F8, c: F8, n: int, net: Any", directives)
    buffer = torch.zeros(2, 5000, 1, dtype=torch.float64)
    rows: list[int] = []

    def net(s: torch.Tensor, b: torch.Tensor, a: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Its results are in the same memory every time."""
        rows.append(len(s))
        buffer[0, : len(s)] = s[:, :1] * b
        buffer[1, : len(s)] = a + s[:, 1:]
        return buffer[0, : len(s)], buffer[1, : len(s)]

    n = 4099 if batch == "batch(4096)" else 9
    a, b, c = randoms(3, n)
    a0 = a.copy()
    r(a, b, c, n, net)
    np.testing.assert_array_equal(c[1:-1], a0[:-2] * b[1:-1])
    np.testing.assert_array_equal(a[1:-1], a0[1:-1] + a0[2:])
    assert rows == {"batch": [7], "batch(3)": [3, 3, 1], "batch(1)": [1] * 7, "batch(4096)": [4096, 1]}[batch]


# -- models that fail ----------------------------------------------------------------------------


def raises(*x: torch.Tensor) -> object:
    raise RuntimeError("no such day")


def works(x: torch.Tensor, *_: torch.Tensor) -> object:
    return -x[:, :1], -x[:, :1]


FAILURES: dict[str, tuple[Callable[..., object], str]] = {
    "raises": (raises, "no such day"),
    "shape": (lambda x, *_: (x[:, :1], x[:-1, :1]), "float64"),
    "rank": (lambda x, *_: (x[:, :1], x[:, 0][None, :, None, None]), "reshape"),
    "dtype": (lambda x, *_: (x[:, :1], x[:, :1].to(torch.complex64)), "complex64"),
    "sparse": (lambda x, *_: (x[:, :1], x[:, :1].to_sparse()), "sparse"),
    "device": (lambda x, *_: (x[:, :1], x[:, :1].to("meta")), "meta"),
    "fewer": (lambda x, *_: x[:, :1], "one tensor"),
    "more": (lambda x, *_: (x[:, :1],) * 3, "tuple of 3"),
    "none": (lambda x, *_: None, "None"),
    "number": (lambda x, *_: (x[:, :1], 1.0), "float"),
}
FORMS = {
    "out": "in(sides(a[1:n-1])) out(one(b[1:n-1]), one(c[1:n-1]))",
    "in place": "in(sides(a[1:n-1])) out(one(a[1:n-1]), one(b[1:n-1]))",
    "inout": "inout(one(a[0:n]), one(b[0:n]))",
    "mixed": "in(pair(a[0:n], b[0:n])) out(one(b[0:n])) inout(one(c[0:n]))",
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_model_that_fails_changes_nothing(make: Make, form: str) -> None:
    r = make("a: F8, b: F8, c: F8, n: int, net: Any", f"ml(infer) {form} model(net)")
    arrays = randoms(3)
    before = [array.copy() for array in arrays]
    for net, message in FAILURES.values():
        with pytest.raises(hpacml.ModelError, match=message):
            r(*arrays, 7, net)
        np.testing.assert_array_equal(arrays, before)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_late_batch_that_fails_changes_nothing(make: Make, form: str) -> None:
    r = make("a: F8, b: F8, c: F8, n: int, net: Any", f"ml(infer) {form} model(net) batch(2)")
    arrays = randoms(3)
    before = [array.copy() for array in arrays]
    for fails, message in FAILURES.values():
        outcomes = iter([works, works, fails])
        with pytest.raises(hpacml.ModelError, match=message):
            r(*arrays, 7, lambda *x, outcomes=outcomes: next(outcomes)(*x))
        np.testing.assert_array_equal(arrays, before)


def test_nan_is_a_result(make: Make) -> None:
    r = make("a: F8, b: F8, n: int, net: Any", "ml(infer) in(one(a[0:n])) out(one(b[0:n])) model(net)")
    a, b = randoms(2)
    r(a, b, 7, lambda x: x * float("nan"))
    assert np.isnan(b).all()


# -- dtypes --------------------------------------------------------------------------------------

DTYPES = {"F4": np.float32, "F8": np.float64, "I4": np.int32, "I8": np.int64, "U1": np.uint8}


@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
def test_tensors_have_the_dtype_of_the_model(make: Make, kind: str, dtype: torch.dtype) -> None:
    class Net(torch.nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            assert input.dtype == dtype
            return super().forward(input)

    net = Net(2, 1, bias=False, dtype=dtype)
    with torch.no_grad():
        net.weight[:] = torch.tensor([0.5, 1.25])
    r = make(f"a: {kind}, b: {kind}, n: int, net: Any", "ml(infer) in(sides(a[1:n-1])) out(one(b[1:n-1])) model(net)")
    a, b = (np.arange(3, 10) ** 2).astype(DTYPES[kind]), np.zeros(7, DTYPES[kind])
    r(a, b, 7, net)
    expected = (0.5 * a[:-2] + 1.25 * a[2:]).astype(DTYPES[kind])
    np.testing.assert_array_equal(b, np.concatenate([[0], expected, [0]]))


@pytest.mark.parametrize("layout", ["strided", "packed"])
def test_images_of_bytes_go_into_a_floating_model(layout: str) -> None:
    @hpacml.region("""tensor functor(image: [i, 0:1, j, k] = ([i, j, k]))
                      tensor functor(centre: [i, 0:2] = ([i], [i]))
                      ml(infer) in(image(frames[0:n, 0:h, 0:w])) out(centre(x[0:n], y[0:n])) model(net)""")
    def locate(frames, x, y, n, h, w, net):
        raise AssertionError("the body ran")

    frames = np.random.default_rng(0).integers(0, 255, (3, 6, 5), dtype=np.uint8)
    if layout == "strided":
        frames = frames[:, ::-1]
    x, y = np.zeros(3, np.float32), np.zeros(3, np.int32)
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, (6, 5)), torch.nn.Flatten())
    locate(frames, x, y, 3, 6, 5, net)
    with torch.no_grad():
        expected = net(torch.from_numpy(frames.astype(np.float32))[:, None]).numpy()
    np.testing.assert_allclose(x, expected[:, 0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(y, np.trunc(expected[:, 1]), atol=1.0)


def test_numbers_of_several_types_in_one_tensor(make: Make) -> None:
    r = make("a: F4, b: I8, n: int, net: Any", "ml(infer) inout(pair(a[0:n], b[0:n])) model(net)")
    a, b = np.arange(5, dtype=np.float32), np.arange(10, 15)
    r(a, b, 5, lambda x: 1.5 * x)
    np.testing.assert_array_equal(a, 1.5 * np.arange(5))
    np.testing.assert_array_equal(b, [15, 16, 18, 19, 21])


# -- conditions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["infer", "collect", "predicated: p"])
def test_if_holds_for_every_mode(make: Make, mode: str) -> None:
    directives = f"ml({mode}) in(one(a[0:n])) out(one(b[0:n])) if(k > 2) model(net) database('d.h5')"
    r = make("a: F8, b: F8, n: int, k: int, p: bool, net: Any", directives, "for i in range(n):\n    b[i] = a[i] + 1.0")
    a, b = randoms(2)
    for p, k in itertools.product((False, True), (2, 3)):
        b[:] = 0.0
        r(a, b, 7, k, p, lambda x: -x)
        inferred = k > 2 and (mode == "infer" or (p and mode != "collect"))
        np.testing.assert_array_equal(b, -a if inferred else a + 1.0)
    assert not Path("d.h5").exists() if mode == "infer" else len(recorded()["input"]) == (2 if mode == "collect" else 1)


def test_what_if_excludes_need_not_make_sense(make: Make) -> None:
    directives = "ml(predicated: m / k > 1) in(sides(a[k:n])) out(one(b[k:n])) if(k != 0) model(net)"
    r = make("a: F8, b: F8, n: int, k: int, m: int, net: Any", directives, "b[0] = 2.0")
    a, b = randoms(2)
    r(a, b, 8, 0, 1, None)
    assert b[0] == 2.0
    with pytest.raises(hpacml.MapError, match="which has 7"):
        r(a, b, 8, 1, 1, None)


CONDITIONS = {
    "p": "p",
    "!p": "not p",
    "not p and k > 2": "not p and k > 2",
    "p || k == 3 && x < 0.5": "p or (k == 3 and x < 0.5)",
    "(p or k == 3) and !(x < .5)": "(p or k == 3) and not x < 0.5",
    "1 < k <= 3 != 4": "1 < k <= 3 != 4",
    "k": "k != 0",
    "x": "x != 0",
    "k % 3 == 0": "k % 3 == 0",
    "-k // 2 + 1 < -1": "-k // 2 + 1 < -1",
    "k / 2 == 1.5": "k / 2 == 1.5",
    "x * k >= 1e0": "x * k >= 1.0",
    "true": "True",
    "k - 3 or p": "k != 3 or p",
}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_conditions_are_expressions_of_the_arguments(make: Make, condition: str) -> None:
    directives = f"ml(predicated: {condition}) in(one(a[0:n])) out(one(b[0:n])) model(net) database('d.h5')"
    r = make("a: F8, b: F8, n: int, k: int, x: float, p: bool, net: Any", directives, "b[0] = 2.0")
    a, b = np.ones(1), np.zeros(1)
    for k, x, p in itertools.product((0, 3, 4), (0.0, 0.5), (False, True)):
        r(a, b, 1, k, x, p, lambda x: -x)
        assert b[0] == (-1.0 if eval(CONDITIONS[condition]) else 2.0), (k, x, p)


# -- labels, models, databases -------------------------------------------------------------------

PREDICATED = "ml(predicated: p) in(one(a[0:n])) out(one(b[0:n]))"
BODY = "for i in range(n):\n    b[i] = a[i] + 1.0"


def test_the_label_is_the_name_of_the_function_unless_given(make: Make) -> None:
    parameters = "a: F8, b: F8, n: int, p: bool"
    make(parameters, PREDICATED + " database('d.h5')", BODY)(*randoms(2), 7, False)
    make(parameters, PREDICATED + " database('d.h5') label('other')", BODY)(*randoms(2), 7, False)
    assert len(recorded()["input"]) == len(recorded(label="other")["input"]) == 1


def test_arguments_name_model_and_database(make: Make) -> None:
    r = make("a: F8, b: F8, n: int, p: bool, m: Any, db: Any", PREDICATED + " model(m) database(db)", BODY)
    a, b = randoms(2)
    for db in ("x.h5", Path("y.h5"), "x.h5"):
        r(a, b, 7, False, None, db)
    assert [len(recorded(file)["input"]) for file in ("x.h5", "y.h5")] == [2, 1]
    for factor in (2.0, 3.0):
        r(a, b, 7, True, lambda x, factor=factor: factor * x, None)
        np.testing.assert_array_equal(b, factor * a)


class Twice(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2.0 * x


def save_twice(path: str) -> None:
    hpacml.save_model(Twice(), path, example=torch.zeros(3, 1, dtype=torch.float64))


@pytest.mark.parametrize("clauses", ["", " model(m) database(db)"], ids=["no clause", "None"])
def test_the_environment_names_model_and_database(
    make: Make, monkeypatch: pytest.MonkeyPatch, clauses: str, folder: Path
) -> None:
    r = make("a: F8, b: F8, n: int, p: bool, m: Any, db: Any", PREDICATED + clauses, BODY)
    a, b = randoms(2)
    with pytest.raises(hpacml.DatabaseError, match="HPAC_DB_FILE"):
        r(a, b, 7, False, None, None)
    with pytest.raises(hpacml.ModelError, match="SURROGATE_MODEL"):
        r(a, b, 7, True, None, None)
    save_twice("m.pt")
    monkeypatch.setenv("HPAC_DB_FILE", "e.h5")
    monkeypatch.setenv("SURROGATE_MODEL", str(folder / "m.pt"))
    r(a, b, 7, False, None, None)
    r(a, b, 7, True, None, None)
    assert len(recorded("e.h5")["input"]) == 1
    np.testing.assert_array_equal(b, 2.0 * a)


def test_clauses_come_before_the_environment(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPAC_DB_FILE", "e.h5")
    monkeypatch.setenv("SURROGATE_MODEL", "e.pt")
    r = make("a: F8, b: F8, n: int, p: bool", PREDICATED + " model('m.pt') database('d.h5')", BODY)
    r(*randoms(2), 7, False)
    assert len(recorded()["input"]) == 1
    assert not Path("e.h5").exists()
    with pytest.raises(hpacml.ModelError, match=r"m\.pt"):
        r(*randoms(2), 7, True)


def test_files_are_looked_for_when_they_are_first_used(make: Make, folder: Path) -> None:
    r = make("a: F8, b: F8, n: int, p: bool", PREDICATED + " model('m.pt') database('d.h5')", BODY)
    a, b = randoms(2)
    places = {name: folder / name for name in ("first", "second", "third")}
    for place in places.values():
        place.mkdir()
    os.chdir(places["first"])
    r(a, b, 7, False)  # no model is needed yet
    os.chdir(places["second"])
    with pytest.raises(hpacml.ModelError, match=r"second/m\.pt"):
        r(a, b, 7, True)
    save_twice("m.pt")
    os.chdir(places["third"])
    r(a, b, 7, False)
    r(a, b, 7, True)
    np.testing.assert_array_equal(b, 2.0 * a)
    assert len(recorded(str(places["first"] / "d.h5"))["input"]) == 2
    assert not any(places["third"].iterdir())


# -- several regions, loops, nesting -------------------------------------------------------------


def test_several_regions_in_one_kernel() -> None:
    """Functors of one name that differ, maps that take the place of others, one label for two regions."""
    stages = define("""
@hpacml.kernel
def stages(a: F8, b: F8, c: F8, n: int, net: Any):
    approx("tensor functor(f: [i, 0:1] = ([i]))")
    approx("tensor functor(g: [i, 0:1] = ([i]))")
    approx("tensor map(to: f(a[0:n]))")
    approx("tensor map(from: f(b[0:n]))")
    with approx("ml(collect) in(a) out(b) database('d.h5') label('first')"):
        for i in range(n):
            b[i] = 2.0 * a[i]
    approx("tensor functor(f: [i, 0:2] = ([i], [i + 1]))")
    approx("tensor map(to: f(a[0:n-1]))")
    with approx("ml(infer) in(a) out(b) model(net)"):
        pass
    with approx("ml(collect) in(f(b[0:n-1])) out(g(c[0:n])) database('d.h5') label('last')"):
        for i in range(n):
            c[i] = 3.0 * b[i]
    with approx("ml(collect) in(f(b[0:n-1])) out(g(c[0:n])) database('d.h5') label('last')"):
        for i in range(n):
            c[i] = 4.0 * b[i]
""")["stages"]
    a, b, c = randoms(3)
    stages(a, b, c, 7, lambda x: torch.cat([x.sum(-1, keepdim=True), x[:1, :1]]))
    np.testing.assert_array_equal(recorded(label="first")["output"][0], column(2.0 * a))
    np.testing.assert_array_equal(b, np.append(a[:-1] + a[1:], a[0]))
    np.testing.assert_array_equal(recorded(label="last")["input"], [np.stack([b[:-1], b[1:]], -1)] * 2)
    np.testing.assert_array_equal(recorded(label="last")["output"], [column(3.0 * b), column(4.0 * b)])


def test_one_label_for_different_maps_is_an_error(make: Make) -> None:
    directives = "ml(collect) in(one(a[0:n])) out(one(b[{0}])) database('d.h5') label('x')"
    make("a: F8, b: F8, n: int", directives.format("0:n"))(*randoms(2), 7)
    with pytest.raises(hpacml.DatabaseError, match="other maps"):
        make("a: F8, b: F8, n: int", directives.format("0:n:2"))(*randoms(2), 7)


def test_a_functor_may_take_the_name_of_another_or_of_the_function() -> None:
    @hpacml.region("""tensor functor(step: [i, 0:1] = ([i]))
                      tensor map(to: step(a[0:n-1]))
                      tensor functor(step: [i, 0:1] = ([i + 1]))
                      ml(infer) in(a) out(step(b[0:n-1])) model(net)""")
    def step(a, b, n, net):
        raise AssertionError("the body ran")

    a, b = randoms(2)
    step(a, b, 7, lambda x: x)
    np.testing.assert_array_equal(b[1:], a[:-1])


LOOPS = {
    "for": """
    for k in range(0, n - 1, 2):
        with approx("ml(predicated: k > 1) in(pair(a[k:k+2])) out(pair(b[k:k+2])) MORE"):
            for i in range(k, k + 2):
                b[i] = a[i]
""",
    "map in the loop": """
    for k in range(0, n - 1, 2):
        m = k + 2
        approx("tensor map(to: pair(a[k:m]))")
        approx("tensor map(from: pair(b[k:m]))")
        with approx("ml(predicated: m > 3) in(a) out(b) MORE"):
            b[k] = a[k]
            b[k + 1] = a[k + 1]
""",
    "while": """
    k = 0
    while k + 1 < n:
        if k != 1:
            with approx("ml(predicated: k >= 2) in(pair(a[k:k+2])) out(pair(b[k:k+2])) MORE"):
                b[k] = a[k]
                b[k + 1] = a[k + 1]
        k = k + 2
""",
    "nested loops": """
    for j in range(n):
        for k in range(j, j + 1):
            if k % 2 == 1 or k + 1 == n:
                continue
            with approx("ml(predicated: k + j > 2) in(pair(a[k:j+2])) out(pair(b[k:k+2])) MORE"):
                b[k] = a[k]
                b[k + 1] = a[k + 1]
            if k > 100:
                break
""",
}


@pytest.mark.parametrize("loop", LOOPS)
def test_ranges_and_conditions_of_a_region_in_a_loop(loop: str) -> None:
    """The first two elements come from the body, the others from the model."""
    directives = "tensor functor(pair: [i, 0:1] = ([i]))"
    text = LOOPS[loop].replace("MORE", "model(net) database('d.h5') label('r')")
    r = define(f'@hpacml.kernel\ndef r(a: F8, b: F8, n: int, net: Any):\n    approx("{directives}"){text}')["r"]
    a, b = randoms(2)
    b0 = b.copy()
    r(a, b, 7, lambda x: -x)
    np.testing.assert_array_equal(b, [*a[:2], *-a[2:6], b0[6]])
    np.testing.assert_array_equal(recorded()["output"], [column(a[:2])])


def test_a_time_loop_over_two_buffers() -> None:
    smooth = define("""
@hpacml.kernel
def smooth(u: F8, v: F8, n: int):
    approx("tensor functor(sides: [i, 0:2] = ([i-1], [i+1]))")
    approx("tensor functor(one: [i, 0:1] = ([i]))")
    with approx("ml(collect) in(sides(u[1:n-1])) out(one(v[1:n-1])) database('d.h5')"):
        for i in range(1, n - 1):
            v[i] = 0.5 * (u[i - 1] + u[i + 1])

@hpacml.kernel
def run(u: F8, n: int, steps: int):
    v = np.zeros(n)
    for i in range(n):
        v[i] = u[i]
    for step in range(steps):
        if step % 2 == 0:
            smooth(u, v, n)
        else:
            smooth(v, u, n)
""")["run"]
    (u,) = randoms(1)
    expected = [u.copy()]
    for _ in range(4):
        new = expected[-1].copy()
        new[1:-1] = 0.5 * (new[:-2] + new[2:])
        expected.append(new)
    smooth(u, 7, 4)
    np.testing.assert_array_equal(u, expected[-1])
    data = recorded(label="smooth")
    np.testing.assert_array_equal(data["input"], [np.stack([x[:-2], x[2:]], -1) for x in expected[:-1]])
    np.testing.assert_array_equal(data["output"], [column(x[1:-1]) for x in expected[1:]])


NESTED_KERNEL = """
@hpacml.kernel
def r(a: F8, b: F8, c: F8, n: int, outer: bool, inner: bool, net: Any):
    approx("tensor functor(one: [i, 0:1] = ([i]))")
    with approx("ml(predicated: outer) in(one(a[0:n])) out(one(c[0:n])) model(net) database('d.h5') label('outer')"):
        with approx("ml(predicated: inner) in(one(a[0:n])) out(one(b[0:n])) model(net) database('d.h5') label('inner')"):
            for i in range(n):
                b[i] = a[i] + 1.0
        for i in range(n):
            c[i] = 2.0 * b[i]
"""
NESTED_REGION = '''
@hpacml.region("""tensor functor(one: [i, 0:1] = ([i]))
    ml(predicated: inner) in(one(a[0:n])) out(one(b[0:n])) model(net) database('d.h5') label('inner')""")
def within(a, b, n, inner, net):
    b[:] = a + 1.0

@hpacml.region("""tensor functor(one: [i, 0:1] = ([i]))
    ml(predicated: outer) in(one(a[0:n])) out(one(c[0:n])) model(net) database('d.h5') label('outer')""")
def r(a, b, c, n, outer, inner, net):
    within(a, b, n, inner, net)
    c[:] = 2.0 * b
'''


@pytest.mark.parametrize("text", [NESTED_KERNEL, NESTED_REGION], ids=["kernel", "region"])
def test_a_region_in_the_body_of_a_region(text: str) -> None:
    r = define(text)["r"]
    a, b, c = randoms(3)
    for outer, inner in itertools.product((False, True), repeat=2):
        b[:] = c[:] = 0.0
        r(a, b, c, 7, outer, inner, lambda x: -x)
        expected_b = -a if inner else a + 1.0
        np.testing.assert_array_equal(b, 0.0 * a if outer else expected_b)
        np.testing.assert_array_equal(c, -a if outer else 2.0 * expected_b)
    np.testing.assert_array_equal(recorded(label="inner")["output"], [column(a + 1.0)])
    np.testing.assert_array_equal(recorded(label="outer")["output"], [column(2.0 * (a + 1.0)), column(-2.0 * a)])


def test_a_region_that_calls_itself() -> None:
    @hpacml.region("""tensor functor(one: [i, 0:1] = ([i]))
                      ml(collect) if(depth > 0) in(one(a[0:n])) out(one(a[0:n])) database("d.h5")""")
    def down(a, n, depth):
        if depth > 0:
            down(a, n, depth - 1)
        a += 1.0

    a = np.zeros(3)
    down(a, 3, 2)
    data = recorded(label="down")
    np.testing.assert_array_equal(data["input"][:, 0, 0], [0.0, 0.0])
    np.testing.assert_array_equal(data["output"][:, 0, 0], [2.0, 3.0])


def test_arrays_that_a_kernel_makes_itself() -> None:
    r = define("""
@hpacml.kernel
def r(a: F8, b: F8, n: int, net: Any):
    half = np.zeros(n)
    for i in range(n):
        half[i] = 0.5 * a[i]
    same = half
    approx("tensor functor(one: [i, 0:1] = ([i]))")
    approx("tensor map(to: one(same[0:n]))")
    with approx("ml(infer) in(same) out(one(b[0:n])) inout(one(half[0:n])) model(net)"):
        pass
    for i in range(n):
        a[i] = half[i]
""")["r"]
    a, b = randoms(2)
    a0 = a.copy()
    r(a, b, 7, lambda x, y: (x + y, 4.0 * y))
    np.testing.assert_array_equal(b, a0)
    np.testing.assert_array_equal(a, 2.0 * a0)


# -- errors --------------------------------------------------------------------------------------

MAPPED = """tensor map(to: one(a[0:n]))
            tensor map(from: one(b[0:n]))
"""
# Each: maps, clauses, the text under the carets, a part of the message.
ERRORS: list[tuple[str, str, str, str]] = [
    (MAPPED + "tensor map(to: pair(a[0:n]))", "in(a) out(b)", "a", "'a' has several maps"),
    (MAPPED + "tensor map(from: one(a[1:n]))", "inout(a)", "a", "'a' has several maps"),
    (MAPPED + "tensor map(to: pair(a[0:n], b[0:n]))", "in(b, a) out(b)", "a", "'a' has several maps"),
    (MAPPED + "declare tensor(a: one(b[0:n]))", "in(a) out(b)", "a", "'a' is a named map, and an array"),
    (MAPPED, "in(a, a) out(b)", "a", "'a' is given twice in 'in'"),
    (MAPPED, "in(a) out(b, b)", "b", "'b' is given twice in 'out'"),
    (MAPPED, "in(a) out(one(b[0:n]), one(b[0 : n]))", "one(b[0 : n])", "is given twice in 'out'"),
    (MAPPED, "in(a) out(b) inout(b)", "b", "'b' is in 'inout' and in 'out'"),
    (MAPPED, "in(a) out(a)", "a", "out(a) needs a 'tensor map(from: ...)' of it"),
    (MAPPED, "in(a) out(b) in(b)", "in", "given twice"),
    (MAPPED, "in(a)", "ml(infer) in(a)", "the region has no output"),
    (MAPPED, "out(b)", "ml(infer) out(b)", "the region has no input"),
    (MAPPED, "in(a) out(b) model(net) database(net)", "database", "'net' is the region's model and its database"),
    (MAPPED, "in(a) out(b) model('x') database('x')", "database", "'x' is the region's model and its database"),
    (MAPPED, "in(a) out(b) model(nett)", "nett", "did you mean 'net'?"),
    (MAPPED, "in(a) out(b) if(m > 2)", "m", "'m' is not"),
    (MAPPED, "in(a) out(one(b[0:m]))", "m", "'m' is not"),
    (MAPPED, "in(a) out(b) batch(0)", "0", "at least one row"),
    (MAPPED, "in(c) out(b)", "c", "'c'"),
]


@pytest.mark.parametrize(("maps", "clauses", "culprit", "message"), ERRORS)
def test_mistakes_are_shown(make: Make, maps: str, clauses: str, culprit: str, message: str) -> None:
    with pytest.raises(hpacml.DirectiveError) as caught:
        r = make("a: F8, b: F8, n: int, net: Any", f"{maps}\nml(infer) {clauses}")
        r(*randoms(2), 7, None)
    first, line, carets = str(caught.value).splitlines()
    assert message in first
    assert line[carets.index("^") : carets.index("^") + carets.count("^")] == culprit


KERNEL_ERRORS = {
    "'a' has been assigned since its map": """
    approx("tensor map(to: one(a[0:n]))")
    a = b
    with approx("ml(infer) in(a) out(one(b[0:n]))"):
        pass
""",
    "'b' has been assigned since its map": """
    approx("tensor map(to: pair(a[0:n], b[0:n]))")
    a, b = b, a
    with approx("ml(infer) in(b) out(one(b[0:n]))"):
        pass
""",
    "the region has no label, and under 'r', the name of the kernel, another one collects": """
    for k in range(3):
        with approx("ml(predicated: k > 1) in(one(a[0:n])) out(one(b[0:n]))"):
            pass
    with approx("ml(collect) in(one(b[0:n])) out(one(a[0:n]))"):
        pass
""",
}


@pytest.mark.parametrize("message", KERNEL_ERRORS)
def test_mistakes_in_kernels(message: str) -> None:
    text = f"@hpacml.kernel\ndef r(a: F8, b: F8, n: int):\n    approx(TEXT){KERNEL_ERRORS[message]}"
    with pytest.raises(hpacml.DirectiveError, match=message.replace("(", r"\(")) as caught:
        define(text, TEXT=FUNCTORS)["r"].ir()
    assert "^" in str(caught.value)


def test_a_map_that_a_region_has_used_may_be_followed_by_another() -> None:
    r = define("""
@hpacml.kernel
def r(a: F8, b: F8, n: int, net: Any):
    approx("tensor functor(one: [i, 0:1] = ([i]))")
    approx("tensor map(from: one(b[0:n]))")
    approx("tensor map(to: one(a[0:n]))")
    for k in range(1):
        with approx("ml(infer) in(a) out(b) model(net)"):
            pass
    approx("tensor map(to: one(a[0:n:1]))")
    with approx("ml(infer) in(a) out(b) model(net)"):
        pass
""")["r"]
    r(*randoms(2), 7, lambda x: x)


def test_arguments_come_in_all_ways_that_python_has() -> None:
    ones = np.ones(3)
    seen: list[tuple[Any, ...]] = []
    text = """tensor functor(one: [i] = ([i]))
              ml(predicated: use) in(one(a[0:n])) out(one(b[0:n])) model(net) database("d.h5")"""

    @hpacml.region(text)
    def plain(b: Any, n: int, a: Any = ones, use: bool = False, net: Any = None) -> None:
        seen.append((b, n, a, use, net))

    @hpacml.region(text)
    def odd(b: Any, n: int, *more: int, a: Any = ones, use: bool = False, net: Any = None) -> None:
        seen.append((b, n, *more))

    b, double = np.zeros(3), lambda x: 2 * x
    plain(b, 3)
    plain(b, n=3)
    plain(b, 3, ones)
    odd(b, 3, 4, 5)
    assert [len(call) for call in seen] == [5, 5, 5, 4]
    assert all(call[2] is ones and call[3:] == (False, None) for call in seen[:3])
    plain(b, 3, ones, True, double)
    np.testing.assert_array_equal(b, 2)
    odd(b, 3, use=True, net=lambda x: 3 * x)
    np.testing.assert_array_equal(b, 3)
    for wrong in ((b,), (b, 3, ones, False, None, 4)):
        with pytest.raises(TypeError):
            plain(*wrong)
