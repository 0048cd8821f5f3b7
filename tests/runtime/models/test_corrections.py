"""Bounds of outputs, and functions of the program that change them before they are written."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import hpacml
from hpacml.abi.records import InferSite, Source, TensorType
from hpacml.clauses import Bounds
from hpacml.errors import CompileError, ModelError
from hpacml.runtime.arrays.protocols import array_view
from hpacml.runtime.arrays.views import descriptor
from hpacml.runtime.frame import Frame, Paths
from hpacml.runtime.models.clip import Clip
from hpacml.runtime.models.inference import Inference
from hpacml.runtime.models.named_parts import Part, parts
from hpacml.runtime.reports import guarded

ROW = "row: [i, 0:2] = ([i, 0:2])"
ONE = "one: [i, 0:1] = ([i])"
MAPS = (f"to: {ROW} | row(x[0:n, 0:2])", f"from: {ROW} | row(y[0:n, 0:2])")
X = np.array([[-1.0, 0.25], [2.0, 3.0], [0.5, np.nan]])


@pytest.fixture(autouse=True)
def begun_anew() -> Iterator[None]:
    guarded.read(reset=True)
    yield
    guarded.read(reset=True)


def infer(
    net: Any,
    arrays: Mapping[str, Any],
    inputs: int = 1,
    maps: tuple[str, ...] = MAPS,
    paths: Paths | None = None,
    given: Mapping[str, Any] | None = None,
    recorder: Any = None,
    **settings: Any,
) -> bool:
    """Run a model on arrays by the record of a site; the first ones are the inputs."""
    views = [array_view(array, name) for name, array in arrays.items()]
    types = tuple(TensorType(view.dtype, len(view.shape)) for view in views)
    clip = tuple(Bounds(None, *bounds) for bounds in settings.pop("clip", ()))
    source = Source(path=net) if isinstance(net, str) else Source(argument="net")
    site = InferSite("region", source, maps=maps, inputs=types[:inputs], outputs=types[inputs:], clip=clip, **settings)
    descriptors = [descriptor(view) for view in views]
    pointers = (ctypes.c_size_t * len(views))(*map(ctypes.addressof, descriptors))
    arguments = {"net": net, **(given or {})}
    with Frame(arguments, paths=paths or Paths(), arrays=(list(arrays), views), recorder=recorder):
        parsed = InferSite.parse(json.loads(site.to_json()))
        assert parsed == site
        return Inference(parsed).run(ctypes.addressof(pointers))


def copy(x: torch.Tensor) -> torch.Tensor:
    return 1.0 * x


def identity() -> nn.Module:
    layer = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(2))
    return nn.Sequential(layer).double().eval()


@pytest.mark.parametrize("engine", ["torch", "compiled"])
def test_outputs_are_set_to_their_bounds(engine: str) -> None:
    x, y = np.where(np.isnan(X), 7.0, X), np.full((3, 2), 9.0)
    assert infer(identity(), {"x": x, "y": y}, clip=((0.0, 2.5),), engine=engine)
    np.testing.assert_array_equal(y, np.clip(x, 0.0, 2.5))
    assert guarded.read()["region"].clipped == {"y": 3}


def test_within_bounds_nothing_is_counted() -> None:
    y = np.zeros((3, 2))
    assert infer(copy, {"x": np.ones((3, 2)), "y": y}, clip=((0.0, None),))
    assert (y == 1).all()
    assert "region" not in guarded.read()


def test_nan_stays_and_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    y = np.zeros((3, 2))
    infer(copy, {"x": X, "y": y}, clip=((0.0, 2.5),))
    np.testing.assert_array_equal(y, np.clip(X, 0.0, 2.5))
    assert guarded.read()["region"].clipped == {"y": 2}
    monkeypatch.setenv("HPACML_CHECK", "finite")
    y[...] = -5
    with pytest.raises(ModelError, match="nan"):
        infer(copy, {"x": X, "y": y}, clip=((0.0, 2.5),))
    assert (y == -5).all()


@pytest.mark.parametrize("batch", [1, 2, 0])
def test_batches_have_the_same_bounds(batch: int) -> None:
    y = np.zeros((3, 2))
    infer(copy, {"x": X, "y": y}, clip=((0.0, 2.5),), batch=batch)
    np.testing.assert_array_equal(y, np.clip(X, 0.0, 2.5))
    assert guarded.read()["region"].clipped == {"y": 2}


def test_each_output_has_its_own_bounds() -> None:
    maps = (MAPS[0], f"from: {ONE} | one(low[0:n])", f"from: {ONE} | one(free[0:n])")
    low, free = np.zeros((3, 1), np.float32), np.zeros((3, 1), np.float32)

    def net(x):
        return (x[:, :1], x[:, 1:])

    infer(net, {"x": X, "low": low, "free": free}, maps=maps, clip=((None, 1.0), (None, None)))
    np.testing.assert_array_equal(low[:, 0], np.minimum(X[:, 0], 1.0))
    np.testing.assert_array_equal(free[:, 0], X[:, 1])
    assert guarded.read()["region"].clipped == {"low": 1}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("bound", [0.1, -0.1, 1 / 3, 1e-9, 60000.5, 2.0])
def test_bounds_hold_in_each_dtype(dtype: torch.dtype, bound: float) -> None:
    """What is written to an array of wider floats is not beyond the bound, which narrow ones may lack."""
    low, high = Clip(bound, None).within(torch.float64, dtype).low, Clip(None, bound).within(dtype).high
    assert low is not None
    assert high is not None
    assert float(torch.tensor(high, dtype=dtype)) == high <= bound <= low == float(torch.tensor(low, dtype=dtype))
    assert high == low or torch.tensor(high, dtype=dtype).nextafter(torch.tensor(9e9, dtype=dtype)) == low


def test_bounds_of_whole_numbers_are_whole() -> None:
    y = np.zeros((2, 2), np.uint8)
    infer(copy, {"x": np.array([[-3.0, 0.2], [1e3, 200.7]]), "y": y}, clip=((0.5, 250.5),))
    np.testing.assert_array_equal(y, [[1, 1], [250, 200]])
    with pytest.raises(ModelError, match=r"clip of the output 'y' of the region 'region': uint8 .* 0.2 to 0.8"):
        infer(copy, {"x": np.ones((2, 2)), "y": y}, clip=((0.2, 0.8),))
    assert Clip(-5, 3e9).within(torch.int32, torch.int32) == (-5, 2**31 - 1)
    assert Clip(2.0, None).clip(torch.tensor([1, 3]))[0].tolist() == [2, 3]
    with pytest.raises(ValueError, match="float32 has no number from 1e\\+300 to None"):
        Clip(1e300, None).within(torch.float32)


# -- functions -------------------------------------------------------------------------------------


def conserve(outputs: dict[str, Any], inputs: dict[str, Any]) -> None:
    outputs["y"] *= inputs["x"].sum() / outputs["y"].sum()


def double(outputs: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
    return {"y": 2 * outputs["y"]}


def exchange(outputs: dict[str, Any], inputs: dict[str, Any]) -> None:
    outputs["y"] = outputs["y"] * 2


@pytest.mark.parametrize("engine", ["torch", "compiled"])
@pytest.mark.parametrize("batch", [None, 2])
@pytest.mark.parametrize("function", [double, exchange])
def test_a_function_changes_outputs(engine: str, batch: int | None, function: Callable[..., Any]) -> None:
    x, y = np.arange(6.0).reshape(3, 2), np.zeros((3, 2))
    if engine == "compiled" and batch:
        batch = 0
    infer(identity(), {"x": x, "y": y}, given={"f": function}, project="f", engine=engine, batch=batch)
    np.testing.assert_array_equal(y, 2 * x)
    assert guarded.read()["region"].projected == 1


@pytest.mark.parametrize("of", [np.asarray, torch.from_numpy])
def test_a_function_gets_arrays_such_as_the_programs(of: Callable[[Any], Any]) -> None:
    x, y, kinds = np.arange(6.0).reshape(3, 2), np.zeros((3, 2)), set[type]()

    def see(outputs: dict[str, Any], inputs: dict[str, Any]) -> None:
        kinds.update(type(each) for each in (*outputs.values(), *inputs.values()))
        conserve(outputs, inputs)

    infer(lambda x: 3 * x, {"x": of(x), "y": of(y)}, given={"f": see}, project="f")
    np.testing.assert_allclose(y, x)
    assert kinds == {type(of(x))}


def test_a_function_computes_in_the_dtypes_of_arrays() -> None:
    """A sum that a projection keeps is kept to the last digits of the array, not of a narrower network."""
    x, y = np.random.default_rng(0).random((100, 2)), np.zeros((100, 2))
    infer(identity().float(), {"x": x, "y": y}, given={"f": conserve}, project="f")
    assert y.sum() == pytest.approx(x.sum(), rel=1e-14)


def test_a_function_keeps_and_changes_nothing_of_the_program() -> None:
    x, y, kept = np.arange(6.0).reshape(3, 2), np.zeros((3, 2)), list[Any]()

    def keep(outputs: dict[str, Any], inputs: dict[str, Any]) -> None:
        kept.extend((outputs["y"], inputs["x"]))
        inputs["x"][...] = -1

    infer(copy, {"x": x, "y": y}, given={"f": keep}, project="f")
    np.testing.assert_array_equal(y, np.arange(6.0).reshape(3, 2))
    np.testing.assert_array_equal(x, y)
    x[...] = y[...] = 7
    np.testing.assert_array_equal(kept[0], np.arange(6.0).reshape(3, 2))
    assert (kept[1] == -1).all()


def test_a_function_gets_what_bounds_have_left() -> None:
    y = np.zeros((3, 2))

    def fix(outputs: dict[str, Any], inputs: dict[str, Any]) -> None:
        assert outputs["y"].max() == 1.0
        outputs["y"] -= 5

    infer(copy, {"x": np.full((3, 2), 4.0), "y": y}, given={"f": fix}, project="f", clip=((0.0, 1.0),))
    assert (y == -4).all()


def test_a_batch_of_one_is_no_dimension_for_a_function(tmp_path: Path) -> None:
    maps = ("to: f: [0:2, i] = ([0:2, i]) | f(x[0:2, 0:4])", "from: g: [0:2] = ([0:2]) | g(y[0:2])")
    net = nn.Sequential(nn.Conv1d(2, 1, 3), nn.Flatten()).double()
    path = hpacml.save_model(net, tmp_path / "cnn.pt", example=torch.zeros(3, 2, 4))
    shapes: dict[str, Any] = {}

    def see(outputs: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
        shapes.update({name: each.shape for name, each in (outputs | inputs).items()})
        return {"y": np.array([1.0, 2.0])}

    y = np.zeros(2)
    infer(str(path), {"x": np.ones((2, 4)), "y": y}, maps=maps, given={"f": see}, project="f")
    assert shapes == {"x": (2, 4), "y": (2,)}
    assert list(y) == [1.0, 2.0]


def test_a_function_is_found_where_the_region_is() -> None:
    x, y = np.ones((3, 2)), np.zeros((3, 2))

    def outer() -> Any:
        def inner(outputs: dict[str, Any], inputs: dict[str, Any]) -> None:
            outputs["y"] += 1

        def region() -> Any:
            return inner

        return region

    infer(copy, {"x": x, "y": y}, paths=Paths(outer()), project="inner")
    assert (y == 2).all()
    infer(copy, {"x": x, "y": y}, paths=Paths(outer()), project="double")
    assert (y == 2).all()
    for name, why in {"infer_all": "the region sees none", "X": "it is a ndarray"}.items():
        with pytest.raises(CompileError, match=rf"project\({name}\) of the region 'region': .* {why}"):
            infer(copy, {"x": x, "y": y}, paths=Paths(outer()), project=name)


def fails(outputs: dict[str, Any], inputs: dict[str, Any]) -> None:
    raise RuntimeError("no mass")


def resizes(outputs: dict[str, Any], inputs: dict[str, Any]) -> Any:
    return {"y": outputs["y"][:2]}


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (fails, r"project\(fails\) of the region 'region': it fails: .*no mass"),
        (lambda y: None, "it fails: .*positional argument"),
        (resizes, r"gives float64\[2, 2\] for the output 'y', which is float64\[3, 2\]"),
        (lambda y, x: y["y"], "gives a ndarray: it changes outputs in place, or gives a mapping"),
        (lambda y, x: {"z": y["y"]}, "gives 'z', and the outputs are 'y'"),
        (lambda y, x: {"y": y["y"] * 1j}, r"gives complex128\[3, 2\]"),
        (lambda y, x: {"y": "text"}, "gives a str for the output 'y'"),
        (lambda y, x: {"y": None}, "gives a NoneType for the output 'y'"),
    ],
)
@pytest.mark.parametrize("policy", ["raise", "accurate"])
def test_functions_that_do_not_fit(function: Any, message: str, policy: str) -> None:
    y = np.full((3, 2), 9.0)
    refused = policy == "raise"
    with pytest.raises(ModelError, match=message) if refused else nullcontext():
        done = infer(copy, {"x": X, "y": y}, given={"f": function}, project="f", on_error=policy)
        assert not done
    assert (y == 9).all()


@pytest.mark.parametrize("policy", ["raise", "accurate"])
def test_what_is_no_function_is_no_fault_of_the_model(policy: str) -> None:
    y = np.full((3, 2), 9.0)
    with pytest.raises(CompileError, match=r"project\(f\) of the region 'region': it is to be .* and it is a int"):
        infer(copy, {"x": X, "y": y}, given={"f": 7}, project="f", on_error=policy)
    assert (y == 9).all()


class Recording:
    """Takes the outputs of inputs that need gradients."""

    def inputs(self, gathered: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        self.gathered = [each.requires_grad_() for each in gathered]
        return self.gathered

    def returns(self, outputs: Sequence[torch.Tensor]) -> None:
        self.outputs = outputs


def test_bounds_and_functions_have_derivatives() -> None:
    x, y, recording = np.array([[1.0, 2.0], [9.0, 4.0]]), np.zeros((2, 2)), Recording()

    def fix(outputs: dict[str, Any], inputs: dict[str, Any]) -> None:
        outputs["y"] *= inputs["x"]

    with hpacml.differentiable():
        settings: dict[str, Any] = {"project": "f", "clip": ((0.0, 5.0),), "recorder": recording}
        infer(copy, {"x": x, "y": y}, given={"f": fix}, **settings)
        np.testing.assert_array_equal(y, np.clip(x, 0, 5) * x)
        recording.outputs[0].sum().backward()
        grad = recording.gathered[0].grad
    assert grad is not None
    np.testing.assert_array_equal(grad, [[2.0, 4.0], [5.0, 8.0]])  # 2 x, and that of the bound alone where x was 9


def test_parts_have_the_names_of_arrays() -> None:
    two = "two: [i, 0:2] = ([i], [i])"
    stencil = "s: [i, 0:5] = ([i-1:i+2], [i, 0:2])"
    assert parts([f"to: {ROW} | row(x[0:n, 0:2])"], 1) == [Part("x", 0)]
    assert parts([f"to: {two} | two(a[0:n], b[0:n])"], 1) == [Part("a", 0, slice(0, 1)), Part("b", 0, slice(1, 2))]
    assert parts([f"to: {stencil} | s(a[1:n], b[1:n, 0:2])"], 1) == [
        Part("a", 0, slice(0, 3)),
        Part("b", 0, slice(3, 5)),
    ]
    mixed = "mix: [i, 0:3] = ([i], [i], [i])"
    assert parts([f"to: {mixed} | mix(a[0:n], b[0:n], a[0:n])"], 1) == [Part("a, b", 0)]
    first = "first: [0:2, i] = ([i], [i])"
    assert parts([f"to: {first} | first(a[0:n], b[0:n])"], 1) == [Part("a, b", 0)]
    halves = [f"from: {ONE} | one(u[0:n])", f"from: {ROW} | row(u[0:n])"]
    assert [part.name for part in parts(halves, 2)] == ["one", "row"]
    assert [part.name for part in parts([halves[0]] * 2, 2)] == ["one 0", "one 1"]
    assert [part.name for part in parts(["to: what", halves[0]], 2)] == ["tensor 0", "u"]


def test_a_function_sees_the_arrays_of_one_tensor_apart() -> None:
    maps = (f"to: {ROW} | row(x[0:n, 0:2])", "from: two: [i, 0:2] = ([i], [i]) | two(a[0:n], b[0:n])")
    y = np.zeros((3, 2))

    def fix(outputs: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
        outputs["a"] += 10
        return {"b": outputs["b"] + 20}

    infer(copy, {"x": np.ones((3, 2)), "y": y}, maps=maps, given={"f": fix}, project="f")
    np.testing.assert_array_equal(y, [[11.0, 21.0]] * 3)


def test_what_a_model_says_of_its_uncertainty_is_its_last_output() -> None:
    y, u = np.zeros((3, 2)), np.zeros((3, 1))

    def net(x):
        return {"uncertainty": x[:, :1] * 5, "y": x}

    infer(net, {"x": np.ones((3, 2)), "y": y, "u": u}, given={"f": double}, project="f", clip=((0.0, 0.5),))
    assert (y == 1.0).all()
    assert (u == 5.0).all()
