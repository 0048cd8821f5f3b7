"""Networks that are compiled give what Torch gives, and what is not compiled goes to Torch, with the reason."""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hpacml

torch = pytest.importorskip("torch")
nn = torch.nn

FUNCTIONS: dict[str, Callable[[], Any]] = {
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
    "leaky_relu_steep": lambda: nn.LeakyReLU(1.5),
    "leaky_relu_flat": lambda: nn.LeakyReLU(0.0),
    "leaky_relu_down": lambda: nn.LeakyReLU(-0.5),
    "prelu": nn.PReLU,
    "prelu_each": lambda: nn.PReLU(7),
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU("tanh"),
    "silu": nn.SiLU,
    "elu": lambda: nn.ELU(0.7),
    "clamp": lambda: nn.Hardtanh(-0.5, 0.7),
    "relu6": nn.ReLU6,
    "dropout": nn.Dropout,
    "identity": nn.Identity,
    "batch_norm": lambda: nn.BatchNorm1d(7),
    "batch_norm_plain": lambda: nn.BatchNorm1d(7, affine=False),
}


@hpacml.region("""tensor functor(f: [i, 0:5] = ([i, 0:5])) tensor functor(g: [i, 0:3] = ([i, 0:3]))
                  ml(infer) in(f(x[0:n, 0:5])) out(g(y[0:n, 0:3])) model(net) engine(compiled) label("engine")""")
def compiled(x, y, n, net):
    raise AssertionError("the body ran")


@hpacml.region("""tensor functor(f: [i, 0:5] = ([i, 0:5])) tensor functor(g: [i, 0:3] = ([i, 0:3]))
                  ml(infer) in(f(x[0:n, 0:5])) out(g(y[0:n, 0:3])) model(net) engine(auto) label("engine")""")
def either(x, y, n, net):
    raise AssertionError("the body ran")


@hpacml.region("""tensor functor(f: [i, 0:3] = ([i, 0:3]))
                  ml(infer) inout(f(x[1:n, 0:3])) model(net) engine(compiled) label("engine")""")
def in_place(x, n, net):
    raise AssertionError("the body ran")


@hpacml.region("""tensor functor(f: [i, 0:3] = ([i, 0:3]))
                  ml(infer) in(f(x[0:n, 0:3])) out(f(y[0:n, 0:3])) model(net) engine(compiled) label("engine")""")
def moved(x, y, n, net):
    raise AssertionError("the body ran")


def network(function: Any = None, dtype: Any = torch.float64) -> Any:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Linear(5, 7), function or nn.Tanh(), nn.Linear(7, 3, bias=False))
    for part in made:
        if isinstance(part, nn.BatchNorm1d):
            part.running_mean.uniform_(-1, 1)
            part.running_var.uniform_(0.5, 2)
    return made.to(dtype).eval()


def data(n: int, dtype: str = "float64", features: int = 5) -> Any:
    return (3 * np.random.default_rng(n).standard_normal((n, features))).astype(dtype)


def by_torch(net: Any, x: Any) -> Any:
    with torch.no_grad():
        return net(torch.from_numpy(x)).numpy()


def require_equal(net: Any, region: Any = compiled, sizes: tuple[int, ...] = (1, 31, 129, 1000)) -> None:
    dtype = str(next(net.parameters()).dtype).removeprefix("torch.")
    for n in sizes:
        x, y = data(n, dtype), np.full((n, 3), 7.0, dtype)
        region(x, y, n, net)
        np.testing.assert_allclose(
            y, by_torch(net, x), rtol=1e-6 if dtype == "float32" else 0, atol=1e-12 if dtype == "float64" else 1e-5
        )


@pytest.fixture
def engines() -> Any:
    """`engines()` tells what has computed the region since the last time."""
    hpacml.report(reset=True)
    hpacml.timing(True)
    yield lambda: [*hpacml.report(reset=True)["engine"].engines]
    hpacml.timing(False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_layers(name: str, dtype: Any) -> None:
    require_equal(network(FUNCTIONS[name](), dtype))


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if "norm" not in name])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_special_values(name: str, dtype: Any) -> None:
    special = [0.0, -0.0, 1e-30, -1e-8, 0.1, -0.1, 5.0, -5.0, 20.0, -20.0, 87.9, -100.0, 700.0, np.inf, -np.inf, np.nan]
    net = network(FUNCTIONS[name](), dtype)
    with torch.no_grad():
        for part, weight in ((net[0], 0.2), (net[2], 1 / 7)):
            part.weight.fill_(weight)
        net[0].bias.fill_(0.0)
    x = np.repeat(np.array(special, str(dtype).removeprefix("torch."))[:, None], 5, axis=1)
    y = np.zeros((len(x), 3), x.dtype)
    compiled(x, y, len(x), net)
    expected = by_torch(net, x)
    bounded = np.isfinite(x[:, 0])  # Torch has NaN for some infinities, by 0 * inf on its way
    relative, absolute = (1e-5, 1e-6) if dtype == torch.float32 else (1e-12, 1e-14)
    np.testing.assert_allclose(y[bounded], expected[bounded], rtol=relative, atol=absolute)
    assert np.isnan(y[np.isnan(x[:, 0])]).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(), (1,), (5,), (1, 5)])
def test_normalize(dtype: Any, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    mean, std = rng.uniform(100, 200, shape), rng.uniform(0.5, 2, shape)
    for kind in (np.float32, np.float64):
        first = hpacml.Normalize(np.asarray(mean, kind), np.asarray(std, kind))
        last = hpacml.Normalize(np.full(3, 300.0, kind), np.full(3, 0.01, kind), inverse=True)
        net = nn.Sequential(first, network(dtype=torch.float32), last)
        net[1].to(dtype)
        if kind is np.float64 or dtype == torch.float32:
            x, y = data(50, str(dtype).removeprefix("torch.")) + 150, np.zeros((50, 3))
            compiled(x, y, 50, net.eval())
            np.testing.assert_allclose(y, by_torch(net, x), rtol=0, atol=1e-10 if dtype == torch.float64 else 1e-4)


def test_more_layers_than_fit_a_block() -> None:
    torch.manual_seed(1)
    parts = [nn.Linear(5, 33), nn.SiLU(), nn.Linear(33, 17), nn.ReLU(), nn.BatchNorm1d(17), nn.Linear(17, 3), nn.Tanh()]
    require_equal(nn.Sequential(*parts[:3], nn.Sequential(*parts[3:])).double().eval())
    require_equal(nn.Sequential(nn.Linear(5, 1), nn.PReLU(), nn.Linear(1, 3)).eval())


def test_residual_sums() -> None:
    torch.manual_seed(2)
    inner = hpacml.Residual(nn.Tanh(), hpacml.Residual(nn.Linear(9, 9), nn.PReLU(9)), nn.ELU())
    outer = hpacml.Residual(nn.Linear(9, 17), nn.SiLU(), nn.Linear(17, 9), inner, nn.BatchNorm1d(9))
    net = nn.Sequential(hpacml.Residual(nn.Sigmoid()), nn.Linear(5, 9), outer, nn.ReLU(), outer, nn.Linear(9, 3))
    require_equal(net.double().eval())
    require_equal(nn.Sequential(nn.Linear(5, 3), hpacml.Residual(nn.Linear(3, 3), nn.ReLU(inplace=True))).eval())


def test_statistics_of_another_number_of_features() -> None:
    x, y = data(9), np.zeros((9, 3))
    net = nn.Sequential(nn.BatchNorm1d(1), nn.Linear(5, 3)).double().eval()
    with pytest.raises(hpacml.ModelError, match="running_mean should contain 5 elements not 1"):
        either(x, y, 9, net)
    with pytest.raises(hpacml.CompileError, match=r"batch_norm\(1\) has 1 features, and there are 5"):
        compiled(x, y, 9, net)


def test_sizes_that_change_at_each_call() -> None:
    require_equal(network(), sizes=tuple(range(1, 200)))


def test_threads() -> None:
    net, threads = network(), torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            require_equal(net, sizes=(100_000, 70_001))
        if (child := os.fork()) == 0:
            try:
                x, y = data(70_001), np.zeros((70_001, 3))
                compiled(x, y, 70_001, net)
                os._exit(not np.isfinite(y).all())
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
    finally:
        torch.set_num_threads(threads)


def test_arrays_of_another_type() -> None:
    net = network(dtype=torch.float32)
    x, y = data(40), np.zeros((40, 3))
    compiled(x, y, 40, net)
    np.testing.assert_allclose(y, by_torch(net, x.astype("float32")), rtol=0, atol=1e-5)


def test_weights_that_change() -> None:
    net = network()
    require_equal(net)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    net(torch.ones(2, 5, dtype=torch.float64)).sum().backward()
    optimizer.step()
    require_equal(net)
    net[0].weight.data.mul_(2)
    require_equal(net)
    net[2].weight.detach().numpy()[0] = 3.0
    require_equal(net)
    for layer in net[0], net[2]:  # of all numbers, or of a few, the signs
        layer.weight.data.neg_()
        require_equal(net)
        layer.weight.data[0, :2].neg_()
        require_equal(net)
    net[0] = nn.Linear(5, 7).double().eval()
    require_equal(net)
    net[1] = nn.LeakyReLU(0.2).eval()
    require_equal(net)
    net[1].negative_slope = 0.4
    require_equal(net)
    net[2].weight = nn.Parameter(torch.ones(7, 3, dtype=torch.float64).T)  # which is not contiguous
    require_equal(net)
    with torch.no_grad():
        net[2].weight[0, 1] = 5.0
    require_equal(net)
    for _ in range(3):  # memory that is freed and taken again
        net[0].weight.data = torch.rand(7, 5, dtype=torch.float64)
        require_equal(net)
    net.float()
    require_equal(net)


def test_layers_in_another_order() -> None:
    net = nn.Sequential(nn.Linear(5, 3), nn.LeakyReLU(0.3), nn.Sigmoid()).double().eval()
    require_equal(net, sizes=(3,))
    first, second, third = net._modules.items()
    net._modules.clear()
    net._modules.update((first, third, second))
    require_equal(net, sizes=(3,))


def test_layers_that_a_program_exchanges(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network()
    require_equal(net, either, sizes=(3,))
    monkeypatch.setattr(nn.Tanh, "forward", lambda self, x: x)
    require_equal(net, either, sizes=(3,))


def test_a_module_is_not_kept() -> None:
    net = network()
    require_equal(net, sizes=(3,))
    gone = weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None


def test_memory_that_is_read_and_written() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Tanh()).double().eval()
    x = data(200, features=3)
    expected = by_torch(net, x[1:])
    before = x[0].copy()
    in_place(x, 200, net)
    np.testing.assert_allclose(x[1:], expected, rtol=0, atol=1e-12)
    assert (x[0] == before).all()
    x = data(200, features=3)
    expected = by_torch(net, x[:-1])
    moved(x[:-1], x[1:], 199, net)
    np.testing.assert_allclose(x[1:], expected, rtol=0, atol=1e-12)


def test_no_points() -> None:
    y = np.zeros((0, 3))
    compiled(data(0), y, 0, network())


def hooked(net: Any) -> Any:
    net[1].register_forward_hook(lambda *_: None)
    return net


def with_forward(net: Any) -> Any:
    net.forward = lambda x: x[:, :3]
    return net


class Own(nn.Module):
    def __init__(self, net: Any):
        super().__init__()
        self.net = net

    def forward(self, x: Any) -> Any:
        return self.net(x) + 1


OTHERS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "hooks": (hooked, r"Tanh \('1'\) has hooks"),
    "forward": (with_forward, "the Sequential has a forward of its own"),
    "class": (lambda net: Own(net).eval(), "the Own is no layer that is compiled"),
    "training": (lambda net: net.train(), "the Sequential is in training mode"),
    "function": (lambda net: lambda x: net(x), "it is no module of layers"),
    "half": (lambda net: net.half(), "its weights are not all float32, or all float64"),
    "softmax": (lambda net: nn.Sequential(net, nn.Softmax(1)).eval(), r"Softmax \('1'\) is no layer"),
    "in place": (
        lambda net: (
            nn.Sequential(net, hpacml.Residual(nn.Dropout(), nn.ReLU(inplace=True), nn.Linear(3, 3))).double().eval()
        ),
        r"ReLU \('1.layers.1'\) changes in place what is added",
    ),
    "itself": (
        lambda net: nn.Sequential(net, hpacml.Residual()).eval(),
        "adds what has other dimensions, or its input",
    ),
    "broadcast": (
        lambda net: nn.Sequential(net, hpacml.Residual(nn.Linear(3, 1))).double().eval(),
        "adds what is no 1",
    ),
    "large": (lambda net: nn.Sequential(nn.Linear(5, 2000), nn.Linear(2000, 3)).double().eval(), "more than 1024"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_not_compiled(name: str, engines: Callable[[], list[str]]) -> None:
    make, reason = OTHERS[name]
    net = make(network())
    x, y = data(20), np.full((20, 3), 7.0)
    with pytest.raises(hpacml.CompileError, match=f"the region 'engine' wants its network compiled, and .*{reason}"):
        compiled(x, y, 20, net)
    assert (y == 7).all()
    if name != "half":  # which Torch computes in other precision, and warns of
        either(x, y, 20, net)
        assert (y != 7).all()
        (told,) = engines()
        assert told.startswith("Torch, as ")


def test_what_is_compiled_is_told(engines: Callable[[], list[str]]) -> None:
    x, y = data(20), np.zeros((20, 3))
    either(x, y, 20, network())
    assert engines() == ["compiled"]
    with torch.autocast("cpu"):
        either(x.astype("float32"), y.astype("float32"), 20, network(dtype=torch.float32))
    assert engines() == ["Torch, as hooks for all modules, a mode of Torch or autocast is on"]


def test_an_error_of_the_code_is_not_covered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPACML_ON_ERROR", "accurate")
    with pytest.raises(hpacml.CompileError, match="is no layer that is compiled"):
        compiled(data(3), np.zeros((3, 3)), 3, Own(network()).eval())


def test_the_environment_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    @hpacml.region("""tensor functor(f: [i, 0:5] = ([i, 0:5])) tensor functor(g: [i, 0:3] = ([i, 0:3]))
                      ml(infer) in(f(x[0:n, 0:5])) out(g(y[0:n, 0:3])) model(net) label("engine")""")
    def region(x, y, n, net):
        raise AssertionError("the body ran")

    x, y = data(3), np.zeros((3, 3))
    region(x, y, 3, Own(network()).eval())
    monkeypatch.setenv("HPACML_ENGINE", "compiled")
    with pytest.raises(hpacml.CompileError, match="is no layer that is compiled"):
        region(x, y, 3, Own(network()).eval())
    monkeypatch.setenv("HPACML_ENGINE", "fast")
    with pytest.raises(hpacml.HpacmlError, match="HPACML_ENGINE is 'fast': set it to auto, torch, compiled"):
        region(x, y, 3, network())


def test_results_are_finite_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPACML_CHECK", "finite")
    require_equal(network())
    x, y = data(20), np.full((20, 3), 7.0)
    x[3, 2] = np.nan
    with pytest.raises(hpacml.ModelError, match="finite"):
        compiled(x, y, 20, network())
    assert (y == 7).all()


def test_files(tmp_path: Path) -> None:
    net = network(nn.GELU())
    path = tmp_path / "net.safetensors"
    hpacml.save_model(net, path, example=torch.zeros(4, 5, dtype=torch.float64))
    x, y = data(77), np.zeros((77, 3))
    compiled(x, y, 77, str(path))
    np.testing.assert_allclose(y, by_torch(net, x), rtol=0, atol=1e-12)
    exported = tmp_path / "net.pt2"
    hpacml.save_model(net, exported, example=torch.zeros(4, 5, dtype=torch.float64))
    for region in (compiled, either):
        y[:] = 0.0
        region(x, y, 77, str(exported))
        np.testing.assert_allclose(y, by_torch(net, x), rtol=0, atol=1e-12)
    traced = tmp_path / "net.pt"
    hpacml.save_model(net, traced, example=torch.zeros(4, 5, dtype=torch.float64))
    with pytest.raises(hpacml.CompileError, match="it is no module of layers, and no file that describes them"):
        compiled(x, y, 77, str(traced))
    either(x, y, 77, str(traced))


def test_features_of_more_dimensions() -> None:
    @hpacml.region("""tensor functor(f: [i, j, 0:5] = ([i, j, 0:5])) tensor functor(g: [i, j, 0:3] = ([i, j, 0:3]))
                      ml(infer) in(f(x[0:n, 0:m, 0:5])) out(g(y[0:n, 0:m, 0:3])) model(net) engine(compiled) label("engine")""")
    def grid(x, y, n, m, net):
        raise AssertionError("the body ran")

    @hpacml.region("""tensor functor(f: [i, 0:5, 0:2] = ([i, 0:5, 0:2])) tensor functor(g: [i, 0:3] = ([i, 0:3]))
                      ml(infer) in(f(x[0:n, 0:5, 0:2])) out(g(y[0:n, 0:3])) model(net) engine(compiled) label("engine")""")
    def flat(x, y, n, net):
        raise AssertionError("the body ran")

    x, y, net = data(60).reshape(6, 10, 5), np.zeros((6, 10, 3)), network()
    grid(x, y, 6, 10, net)
    np.testing.assert_allclose(y, by_torch(net, x), rtol=0, atol=1e-12)
    with pytest.raises(hpacml.CompileError, match="the features of a layer are dimension 1 of more than 2"):
        grid(x, y, 6, 10, network(nn.BatchNorm1d(7)))
    net = nn.Sequential(nn.Flatten(), nn.Linear(10, 3)).double().eval()
    x, y = data(30, features=10).reshape(30, 5, 2), np.zeros((30, 3))
    flat(x, y, 30, net)
    np.testing.assert_allclose(y, by_torch(net, x), rtol=0, atol=1e-12)
