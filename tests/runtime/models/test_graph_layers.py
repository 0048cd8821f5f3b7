"""Programs of torch.export whose operations are layers are compiled, whatever the `forward` that they were made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hpacml
from hpacml.runtime.models import trust

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional


@hpacml.region("""tensor functor(f: [i, 0:4] = ([i, 0:4])) tensor functor(g: [i, 0:3] = ([i, 0:3]))
                  ml(infer) in(f(x[0:n, 0:4])) out(g(y[0:n, 0:3])) model(path) engine(compiled) label("graph")""")
def points(x, y, n, path):
    raise AssertionError("the body ran")


@hpacml.region("""tensor functor(f: [i, 0:4] = ([i, 0:4])) tensor functor(g: [i, 0:3] = ([i, 0:3]))
                  ml(infer) in(f(x[0:n, 0:4])) out(g(y[0:n, 0:3])) model(path) label("graph")""")
def either(x, y, n, path):
    raise AssertionError("the body ran")


@hpacml.region("""tensor functor(f: [i, j, k, 0:1] = ([i, j, k])) tensor functor(g: [i, 0:2] = ([i, 0:2]))
                  ml(infer) in(f(x[0:n, 0:h, 0:w])) out(g(y[0:n, 0:2])) model(path) engine(compiled) label("graph")""")
def frames(x, y, n, h, w, path):
    raise AssertionError("the body ran")


class Of(nn.Module):
    """A network of a forward that is written as a function."""

    def __init__(self, forward: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        for name, part in parts.items():
            if isinstance(part, nn.Module):
                self.add_module(name, part)
            else:
                self.register_buffer(name, part)
        self.own = forward

    def forward(self, x: Any) -> Any:
        return self.own(self, x)


def pair() -> dict[str, Any]:
    torch.manual_seed(0)
    return {"a": nn.Linear(4, 7), "b": nn.Linear(7, 3, bias=False), "c": nn.Linear(7, 7)}


FORWARDS: dict[str, Callable[[Any, Any], Any]] = {
    "steps": lambda net, x: F.leaky_relu(net.b(F.relu6(F.leaky_relu(net.a(x), 0.3))), -0.1),
    "curves": lambda net, x: F.gelu(net.b(F.silu(F.elu(F.gelu(net.a(x)), 0.5))), approximate="tanh"),
    "sigmoid": lambda net, x: F.dropout(torch.sigmoid(net.b(F.relu(torch.tanh(net.a(x)).clone()))), 0.5, net.training),
    "bounds": lambda net, x: F.hardtanh(net.b(net.a(x).clamp(-0.5, 0.25).clamp(min=-0.25).clamp(max=0.2)), -0.1, 0.3),
    "in place": lambda net, x: F.leaky_relu(net.b(F.silu(net.c(F.relu(net.a(x), True)), True)), 0.2, True),
    "sum in place": lambda net, x: net.b((h := net.a(x)) + net.c(F.relu(h, True))),
    "numbers": lambda net, x: net.b(torch.tanh(net.a((x - 0.1) / 3) * 2 + 1)) * 1.5,
    "arrays": lambda net, x: net.b(net.a((x - net.mean) / net.std)) * net.scale + net.shift,
    "residual": lambda net, x: net.b((h := torch.tanh(net.a(x))) + F.silu(net.c(h)) * 2),
    "shapes": lambda net, x: net.b(net.a(x.view(x.shape[0], 2, 2).flatten(1))).unflatten(1, (1, 3)).squeeze(1),
}


@pytest.mark.parametrize("name", FORWARDS)
def test_points(name: str, tmp_path: Path) -> None:
    numbers = {name: torch.rand(size) + 0.5 for name, size in (("mean", 4), ("std", 4), ("scale", 3), ("shift", 3))}
    net = Of(FORWARDS[name], **pair(), **numbers).eval()
    path = tmp_path / "net.pt2"
    hpacml.save_model(net, path, example=torch.rand(2, 4))
    x = np.random.default_rng(0).standard_normal((90, 4)).astype("f4")
    y = np.full((90, 3), np.nan, "f4")
    points(x, y, 90, str(path))
    with torch.no_grad():
        np.testing.assert_allclose(y, net(torch.from_numpy(x)).numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("moved", [lambda x: x.permute(0, 3, 1, 2), lambda x: x.squeeze(3).unsqueeze(1)])
def test_images(moved: Callable[[Any], Any], tmp_path: Path) -> None:
    """ParticleFilter's network, as it is written in the paper's program."""
    torch.manual_seed(0)

    def forward(net: Any, x: Any) -> Any:
        x = net.conv(moved(x).float() / 255)
        x = F.max_pool2d(net.prelu(net.norm(x)), 2, 2)
        return (net.two(F.relu(net.one(F.relu(torch.flatten(x, 1))))) * 40).clamp(0, 40)

    parts = {"conv": nn.Conv2d(1, 1, 6, 4, padding=1), "norm": nn.BatchNorm2d(1), "prelu": nn.PReLU()}
    net = Of(forward, **parts, one=nn.Linear(20, 32), two=nn.Linear(32, 2)).eval()
    net.norm.running_var.fill_(0.3)
    path = tmp_path / "net.pt2"
    hpacml.save_model(net, path, example=torch.rand(3, 32, 40, 1))
    x = np.random.default_rng(0).integers(0, 256, (5, 32, 40), np.uint8)
    y = np.full((5, 2), np.nan, "f4")
    frames(x, y, 5, 32, 40, str(path))
    with torch.no_grad():
        np.testing.assert_allclose(y, net(torch.from_numpy(x[..., None])).numpy(), rtol=0, atol=1e-4)


def test_a_program_of_bytes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    shaped = (nn.Flatten(-3, -1), nn.Unflatten(-1, (1, 32, 40)))
    scaled = hpacml.Normalize(torch.full((1, 1, 1), 3.0), torch.full((1, 1, 1), 255.0))
    net = nn.Sequential(scaled, *shaped, nn.Conv2d(1, 1, 6, 4), nn.Flatten(), nn.Linear(63, 2)).eval()
    x = np.random.default_rng(0).integers(0, 256, (5, 32, 40), np.uint8)
    hpacml.save_model(net, tmp_path / "net.pt2", example=x[..., None])
    y = np.full((5, 2), np.nan, "f4")
    frames(x, y, 5, 32, 40, str(tmp_path / "net.pt2"))
    with torch.no_grad():
        np.testing.assert_allclose(y, net(torch.from_numpy(x[..., None])).numpy(), rtol=0, atol=1e-5)


OTHERS: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "softmax": (lambda net, x: net.b(net.a(x)).softmax(1), "aten.softmax.int is no layer that is compiled"),
    "own": (lambda net, x: net.b(net.a(x).mul_(2) + net.a(x)), "is used by 2 operations"),
    "factor": (lambda net, x: net.b(torch.add(h := net.a(x), torch.tanh(h), alpha=2)), "has a factor"),
    "several": (lambda net, x: net.b(net.a(x) * net.a(x)), "is used by 2 operations"),
    "behind": (lambda net, x: net.b(1.0 / (net.a(x) ** 2 + 1)), "is no layer that is compiled"),
    "matrix": (lambda net, x: net.b(net.a(x)) @ torch.ones(3, 3), "is no layer that is compiled"),
    "wider": (lambda net, x: net.b(net.a((x - net.wide).float())), "changes the dtype"),
    "bounds": (lambda net, x: net.b(net.a(x)).clamp(0.5, 0.25), "has the bounds 0.5 and 0.25"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_not_compiled(name: str, tmp_path: Path) -> None:
    forward, reason = OTHERS[name]
    net = Of(forward, **pair(), wide=torch.ones(4, dtype=torch.float64)).eval()
    path = tmp_path / "net.pt2"
    hpacml.save_model(net, path, example=torch.rand(2, 4))
    x, y = np.random.default_rng(0).random((5, 4), np.float32), np.full((5, 3), 7.0, "f4")
    for _ in range(2):
        with pytest.raises(hpacml.CompileError, match=reason):
            points(x, y, 5, str(path))
        assert (y == 7).all()
    either(x, y, 5, str(path))
    with torch.no_grad():
        np.testing.assert_allclose(y, net(torch.from_numpy(x)).numpy(), rtol=0, atol=1e-5)


def test_a_number_of_points_that_is_declared(tmp_path: Path) -> None:
    program = torch.export.export(nn.Sequential(nn.Linear(4, 3)).eval(), (torch.rand(6, 4),))
    path = tmp_path / "net.pt2"
    torch.export.save(program, path)
    trust.trust(path)
    x, y = np.random.default_rng(0).random((6, 4), np.float32), np.full((6, 3), 7.0, "f4")
    points(x, y, 6, str(path))
    assert (y != 7).all()
    y[:] = 7
    with pytest.raises(hpacml.CompileError, match=r"its file declares float32\[6, 4\]"):
        points(x, y, 5, str(path))
    with pytest.raises(hpacml.ModelError, match=r"float32\[6, 4\]"):
        either(x, y, 5, str(path))
    assert (y == 7).all()
