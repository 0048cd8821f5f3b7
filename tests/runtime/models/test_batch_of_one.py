"""A model whose inputs have one dimension more than the region's tensors is given, and gives, a batch of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import hpacml

FILES = {"export": "m.pt2", "torchscript": "m.pt", "state_dict": "m.safetensors", "aotinductor": "a.pt2"}
ALL = [*list(FILES)[:3], pytest.param("aotinductor", marks=pytest.mark.slow)]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)


def locating(clauses: str = "") -> Any:
    @hpacml.region(f"""tensor functor(image: [0:2, i, j] = ([0:2, i, j]))
                       tensor functor(place: [0:2] = ([0:2]))
                       ml(infer) in(image(x[0:2, 0:h, 0:w])) out(place(y[0:2])) model(net) {clauses}""")
    def locate(x, y, h, w, net):
        raise AssertionError("the body ran")

    return locate


def updating(clauses: str = "") -> Any:
    @hpacml.region(f"""tensor functor(cells: [i, 0:3] = ([i, 0:3]))
                       ml(infer) inout(cells(x[0:n, 0:3])) model(net) {clauses}""")
    def update(x, n, net):
        raise AssertionError("the body ran")

    return update


def finder(layer: nn.Module | None = None) -> nn.Module:
    """Without a dimension of batches it fails: `Flatten` would keep the channels apart."""
    layer = layer or nn.Conv2d(2, 2, 3, padding=1)
    return nn.Sequential(layer, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2 * 4 * 5, 2)).double()


@pytest.mark.parametrize("engine", ["torch", "compiled"])
@pytest.mark.parametrize("format", ALL)
def test_an_image_becomes_a_batch_of_one(format: Any, engine: str) -> None:
    if engine == "compiled" and format not in ("export", "state_dict"):
        pytest.skip("the format does not tell its layers")
    net = finder(nn.MaxPool2d(3, 1, 1) if format == "aotinductor" else None)  # which compiles no convolution for 0 rows
    x, y = np.random.default_rng(0).random((2, 8, 10)), np.zeros(2)
    path = hpacml.save_model(net, FILES[format], example=np.stack([x] * 4), format=format)
    locate = locating(f"engine({engine})")
    for image in (x, -x):
        locate(image, y, 8, 10, str(path))
        np.testing.assert_allclose(y, net(torch.from_numpy(image)[None])[0].detach(), rtol=1e-12)


@pytest.mark.parametrize("shape", [(1, 2, 8, 10), (5, 2, 8, 10)])
def test_whatever_the_batch_of_the_example_is(shape: tuple[int, ...]) -> None:
    net, x, y = finder(), np.ones((2, 8, 10)), np.zeros(2)
    locating()(x, y, 8, 10, hpacml.save_model(net, "m.pt2", example=np.ones(shape)))
    np.testing.assert_allclose(y, net(torch.from_numpy(x)[None])[0].detach(), rtol=1e-12)


@pytest.mark.parametrize("engine", ["torch", "auto"])
def test_the_first_dimension_is_not_that_of_the_region(engine: str) -> None:
    """The norm of dimension 1 is one of the features where rows are the batch, and of the cells in a batch of calls."""

    def net(size: int) -> nn.Module:
        norm = nn.BatchNorm1d(size)
        norm.running_mean += torch.arange(float(size))
        return nn.Sequential(norm, nn.Tanh()).double().eval()

    x = np.random.default_rng(0).random((4, 3))
    rows, calls = net(3), net(4)
    for model, example, expected in (
        (rows, x, rows(torch.from_numpy(x))),
        (calls, np.stack([x, x]), calls(torch.from_numpy(x)[None])[0]),
    ):
        given = x.copy()
        path = hpacml.save_model(model, "m.safetensors", example=example)
        updating(f"engine({engine})")(given, 4, str(path))
        np.testing.assert_allclose(given, expected.detach(), rtol=1e-12)


@pytest.mark.parametrize("rows", ["", "(3)"])
def test_the_clause_batch_divides_the_rows_of_the_region(rows: str) -> None:
    class Sums(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + x.sum((0, 1), keepdim=True)

    x = np.arange(24.0).reshape(8, 3)
    parts = [x[:3], x[3:6], x[6:]] if rows else [x]
    expected = np.concatenate([part + part.sum(0) for part in parts])
    path = hpacml.save_model(Sums(), "m.pt2", example=np.ones((2, 4, 3)))
    updating(f"batch{rows}")(x, 8, str(path))
    np.testing.assert_array_equal(x, expected)


def test_several_inputs_and_outputs() -> None:
    @hpacml.region("""tensor functor(f: [i, j] = ([i, j])) tensor functor(g: [i] = ([i]))
                      ml(infer) in(f(a[0:2, 0:3]), g(b[0:3])) out(g(c[0:2]), f(d[0:2, 0:3])) model(net)""")
    def region(a, b, c, d, net):
        raise AssertionError("the body ran")

    class Net(nn.Module):
        def forward(self, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.einsum("nij,nj->ni", a, b), a * b[:, None]

    a, b, c, d = np.arange(6.0).reshape(2, 3), np.arange(3.0), np.zeros(2), np.zeros((2, 3))
    region(a, b, c, d, str(hpacml.save_model(Net(), "m.pt2", example=(np.ones((4, 2, 3)), np.ones((4, 3))))))
    np.testing.assert_array_equal(c, a @ b)
    np.testing.assert_array_equal(d, a * b)


def test_one_model_for_a_region_of_a_call_and_one_of_many() -> None:
    @hpacml.region("""tensor functor(image: [b, 0:2, i, j] = ([b, 0:2, i, j]))
                      tensor functor(place: [b, 0:2] = ([b, 0:2]))
                      ml(infer) in(image(x[0:n, 0:2, 0:8, 0:10])) out(place(y[0:n, 0:2])) model(net)""")
    def many(x, y, n, net):
        raise AssertionError("the body ran")

    x, y, one = np.random.default_rng(0).random((3, 2, 8, 10)), np.zeros((3, 2)), np.zeros(2)
    path = str(hpacml.save_model(finder(), "m.pt2", example=x))
    many(x, y, 3, path)
    for image, expected in zip(x, y, strict=True):
        locating()(image, one, 8, 10, path)
        np.testing.assert_allclose(one, expected, rtol=1e-12)


def test_what_does_not_give_a_batch_of_one_does_not_fit() -> None:
    class First(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean((2, 3))[0]

    y = np.full(2, 7.0)
    path = hpacml.save_model(First(), "m.pt2", example=np.ones((4, 2, 8, 10)))
    with pytest.raises(hpacml.ModelError, match=r"output is float64\[2\], but the region expects float64\[1, 2\] for"):
        locating()(np.ones((2, 8, 10)), y, 8, 10, str(path))
    assert y.tolist() == [7, 7]


def test_places_in_messages_are_those_of_the_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPACML_CHECK", "finite")
    x = np.ones((4, 3))
    x[2, 1] = np.nan
    path = hpacml.save_model(nn.Identity(), "m.pt2", example=np.ones((2, 4, 3)))
    for clause in ("", "batch(1)"):
        with pytest.raises(hpacml.ModelError, match=r"the first at \[2, 1\], nan"):
            updating(clause)(x, 4, str(path))


def test_what_a_model_keeps_of_its_batch_stays() -> None:
    kept: list[torch.Tensor] = []

    def keep(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        kept.extend(inputs)

    path = str(hpacml.save_model(nn.Identity(), "m.safetensors", example=np.ones((2, 40_000, 3))))
    with nn.modules.module.register_module_forward_hook(keep):
        x = np.ones((40_000, 3))
        updating()(x, len(x), path)
        x[:] = 2
        updating()(x, len(x), path)
    assert [(tuple(each.shape), each.unique().tolist()) for each in kept] == [
        ((1, 40_000, 3), [1.0]),
        ((1, 40_000, 3), [2.0]),
    ]
