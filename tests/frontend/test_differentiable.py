"""Inferences of regions and kernels inside of `hpacml.differentiable()`."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float64
from torch.autograd import forward_ad, gradcheck, gradgradcheck

import hpacml
from hpacml import CompileError, MapError, ModelError, approx
from hpacml.runtime import differentiation

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
"""Torch scripts what forward mode is made of."""

N = 8


@hpacml.region("""
    tensor functor(sides: [i, 0:2] = ([i - 1], [i + 1]))
    tensor functor(point: [i, 0:1] = ([i]))
    ml(predicated: use) in(sides(t[1:n-1])) out(point(new[1:n-1])) model(net) database("none.h5")
""")
def smooth(t: Any, new: Any, n: int, net: Any, use: bool = True) -> None:
    new[1 : n - 1] = 0.5 * (t[: n - 2] + t[2:n])


@hpacml.region("""
    tensor functor(sides: [i, 0:2] = ([i - 1], [i + 1]))
    tensor functor(point: [i, 0:1] = ([i]))
    ml(infer) in(sides(t[1:n-1])) inout(point(t[1:n-1])) model(net)
""")
def in_place(t: Any, n: int, net: Any) -> None:
    raise AssertionError


@hpacml.kernel
def kernel(t: Float64[np.ndarray, "M"], new: Float64[np.ndarray, "M"], net: Any, use: bool):
    """Smooth."""
    n = t.shape[0]
    first, last = 1, n - 1
    approx("tensor functor(sides: [i, 0:2] = ([i - 1], [i + 1]))")
    approx("tensor functor(point: [i, 0:1] = ([i]))")
    approx("tensor map(to: sides(t[first:last]))")
    with approx('ml(infer) in(t) out(point(new[first:last])) model(net) if(use) label("kernel")'):
        for i in range(first, last):
            new[i] = 0.5 * (t[i - 1] + t[i + 1])


@hpacml.kernel
def with_more(t: Float64[np.ndarray, "M"], net: Any):
    approx("tensor functor(point: [i, 0:1] = ([i]))")
    with approx("ml(infer) inout(point(t[0:])) model(net)"):
        t[0] = 0.0
    t[0] = t[0] + 1.0


@hpacml.kernel
def doubled(t: Float64[np.ndarray, "M"], new: Float64[np.ndarray, "M"]):
    for i in range(t.shape[0]):
        new[i] = 2.0 * t[i]


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    layers = [torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1)]
    return torch.nn.Sequential(*layers).double()


def leaf(*shape: int) -> torch.Tensor:
    return torch.randn(shape or (N,), dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()


def by_hand(t: torch.Tensor, net: Any) -> torch.Tensor:
    return torch.cat([t[:1], net(torch.stack([t[:-2], t[2:]], 1))[:, 0], t[-1:]])


def by_region(t: torch.Tensor, net: Any) -> torch.Tensor:
    new = t.clone()
    with hpacml.differentiable():
        smooth(t, new, N, net)
    return new


def by_kernel(t: torch.Tensor, net: Any) -> torch.Tensor:
    new = t.clone()
    with hpacml.differentiable():
        kernel(t, new, net, True)
    return new


STEPS = {"region": by_region, "kernel": by_kernel}


@pytest.mark.parametrize("step", STEPS)
def test_gradients_through_a_time_loop(step: str) -> None:
    def run(step: Callable[..., torch.Tensor], t: torch.Tensor) -> torch.Tensor:
        for _ in range(3):
            t = step(t, net)
            t = t + 0.1 * t * t
        return (t * t).sum()

    net, t = network(), leaf()
    given = [t, *net.parameters()]
    found, expected = run(STEPS[step], t), run(by_hand, t)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, given), torch.autograd.grad(expected, given))


@pytest.mark.parametrize("step", STEPS)
def test_gradcheck_through_region_and_network(step: str) -> None:
    net = network()
    assert gradcheck(lambda t, *_: STEPS[step](t, net), [leaf(), *net.parameters()])
    assert gradcheck(lambda t: STEPS[step](t, net), [leaf()], check_forward_ad=True)
    assert gradgradcheck(lambda t: STEPS[step](t, net), [leaf()])


def test_arrays_are_written_in_place() -> None:
    net = network()

    def model(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return net(x) * y

    def steps(t: torch.Tensor) -> torch.Tensor:
        t = t.clone()
        with hpacml.differentiable():
            for _ in range(3):
                in_place(t, N, model)
        return t

    assert gradcheck(steps, [leaf()], check_forward_ad=True)
    assert gradgradcheck(steps, [leaf()])


def test_values_are_those_outside() -> None:
    net, t = network(), leaf()
    outside = t.detach().clone()
    smooth(t.detach(), outside, N, net)
    torch.testing.assert_close(by_region(t, net).detach(), outside, rtol=1e-14, atol=0)


@pytest.mark.parametrize("clause", ["batch(4)", "batch"])
def test_batches(clause: str) -> None:
    @hpacml.region(f"""
        tensor functor(sides: [i, 0:2] = ([i - 1], [i + 1]))
        tensor functor(point: [i, 0:1] = ([i]))
        ml(infer) in(sides(t[1:n-1])) out(point(new[1:n-1])) model(net) {clause}
    """)
    def some(t: Any, new: Any, n: int, net: Any) -> None: ...

    net, t = network(), leaf()
    new = t.clone()
    with hpacml.differentiable():
        some(t, new, N, net)
    given = [t, *net.parameters()]
    expected = torch.autograd.grad(by_hand(t, net).sum(), given)
    torch.testing.assert_close(torch.autograd.grad(new.sum(), given), expected)


def test_other_dtypes_and_several_tensors() -> None:
    @hpacml.region("""
        tensor functor(point: [i, 0:1] = ([i]))
        ml(infer) in(point(a[0:n]), point(b[idx[0:n]])) out(point(c[0:n]), point(d[0:n])) model(net)
    """)
    def both(a: Any, b: Any, idx: Any, c: Any, d: Any, n: int, net: Any) -> None: ...

    linear = torch.nn.Linear(2, 2)  # of float32

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = linear

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            made = self.linear(torch.cat([x, y], 1))
            return made[:, :1], made[:, 1:] ** 2

    a, b = leaf(4), leaf(4)
    idx = np.array([2, 2, 0, 1])
    c, d = torch.zeros(4, dtype=torch.float64), torch.zeros(4, dtype=torch.float32)
    with hpacml.differentiable():
        both(a, b, idx, c, d, 4, Net())
    made = linear(torch.stack([a, b[idx.tolist()]], 1).float())
    given = [a, b, *linear.parameters()]
    found = torch.autograd.grad(c.sum() + d.sum(), given)
    torch.testing.assert_close(found, torch.autograd.grad(made[:, 0].sum() + (made[:, 1] ** 2).sum(), given))


def test_a_batch_of_one(tmp_path: Path) -> None:
    @hpacml.region("""
        tensor functor(point: [i] = ([i]))
        ml(infer) inout(point(t[0:n])) model(net)
    """)
    def whole(t: Any, n: int, net: Any) -> None: ...

    module = torch.nn.Sequential(torch.nn.Linear(N, N), torch.nn.Tanh()).double()
    hpacml.save_model(module, tmp_path / "m.safetensors", example=torch.zeros(1, N, dtype=torch.float64))
    t = leaf()
    u = t.clone()
    with hpacml.differentiable():
        whole(u, N, str(tmp_path / "m.safetensors"))
    expected = torch.autograd.grad(module(t[None]).sum(), t)
    torch.testing.assert_close(torch.autograd.grad(u.sum(), t), expected)


@pytest.mark.parametrize("file", ["m.safetensors", "m.pt2", "m.pt"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_models_of_files(tmp_path: Path, file: str) -> None:
    net, t = network(), leaf()
    hpacml.save_model(net, tmp_path / file, example=torch.zeros(5, 2, dtype=torch.float64))
    expected = torch.autograd.grad(by_hand(t, net).sum(), t)
    torch.testing.assert_close(torch.autograd.grad(by_region(t, str(tmp_path / file)).sum(), t), expected)


def test_what_backward_needs_must_not_be_written() -> None:
    net, t = network(), leaf()
    u = t.clone()
    energy = (u * u).sum()
    with hpacml.differentiable():
        smooth(t, u, N, net)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        energy.backward()


def test_a_training_lowers_the_loss() -> None:
    net, t = network(), leaf().detach()
    goal = t.clone()
    smooth.py_func(t, goal, N, None)
    optimizer = torch.optim.Adam(net.parameters(), 0.05)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = ((by_region(t, net) - goal) ** 2).sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.05 * losses[0]


def test_networks_in_training_are_evaluated() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.Dropout(0.9)).double()
    net.train()
    t = leaf()
    torch.testing.assert_close(by_region(t, net), by_hand(t, net.eval()))
    net.train()
    by_region(t, net)
    assert net.training


# -- what is not recorded ----------------------------------------------------------------------


def test_nothing_is_recorded_outside() -> None:
    net, t = network(), leaf().detach()
    new = t.clone()
    smooth(t, new, N, net)
    assert not new.requires_grad
    with hpacml.differentiable(), torch.no_grad():
        smooth(t, new, N, net)
        smooth(t.numpy(), new.numpy(), N, net)
    assert not new.requires_grad
    assert differentiation.inside is None


def test_contexts_belong_to_their_threads() -> None:
    net, t = network(), leaf().detach()
    new, found = t.clone(), []

    def other() -> None:
        smooth(t.numpy(), np.zeros(N), N, net)
        smooth(t, new, N, net)
        found.append(new.requires_grad)

    with hpacml.differentiable():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert found == [False]


def test_contexts_nest_and_decorate() -> None:
    @hpacml.differentiable()
    def step(t: torch.Tensor, net: Any) -> torch.Tensor:
        new = t.clone()
        with hpacml.differentiable():
            pass
        smooth(t, new, N, net)
        return new

    net, t = network(), leaf()
    torch.testing.assert_close(step(t, net), by_hand(t, net))
    assert differentiation.inside is None


def test_the_original_code_is_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body of Torch has the gradients of Torch, also where it is collected."""
    monkeypatch.chdir(tmp_path)
    t = leaf()
    new = t.clone()
    with hpacml.differentiable():
        smooth(t, new, N, network(), False)
    expected = torch.autograd.grad((0.5 * (t[:-2] + t[2:])).sum() + t[0] + t[-1], t)
    torch.testing.assert_close(torch.autograd.grad(new.sum(), t), expected)
    hpacml.flush()
    assert hpacml.open_database("none.h5")["smooth"].calls == 1


def test_the_original_code_in_place_of_a_failed_model() -> None:
    @hpacml.region(
        """tensor functor(point: [i, 0:1] = ([i]))
        ml(infer) in(point(t[0:n])) out(point(new[0:n])) model(net)""",
        on_error="accurate",
    )
    def tripled(t: Any, new: Any, n: int, net: Any) -> None:
        new[:] = 3 * t

    t = leaf()
    new = torch.zeros(N, dtype=torch.float64)
    with hpacml.differentiable():
        tripled(t, new, N, torch.nn.Linear(5, 1).double())
    assert torch.autograd.grad(new.sum(), t)[0].tolist() == [3] * N


# -- what is refused ---------------------------------------------------------------------------


def test_arrays_that_are_no_tensors() -> None:
    net, t = network(), leaf()
    a, b = np.zeros(N), np.zeros(N)
    for _ in range(4):
        smooth(a, b, N, net, True)  # native code takes such calls
    with hpacml.differentiable():
        for given in ((a, b), (t, b), (a, t.clone())):
            with pytest.raises(MapError, match=r"no gradient flows through '(t|new)', which is of type ndarray"):
                smooth(*given, N, net, True)
        with pytest.raises(MapError, match="no gradient flows through 't'"):
            kernel(a, b, net, True)
    smooth(a, b, N, net, True)


def test_transforms_of_torch_func_are_refused() -> None:
    net, t = network(), leaf().detach()
    for transform in (torch.func.grad, torch.func.jacrev, lambda f: lambda t: torch.func.jvp(f, (t,), (t,))):
        with pytest.raises(MapError, match=r"'t' belongs to a transform of torch.func.*take them by torch.autograd"):
            transform(lambda t: by_region(t, net).sum())(t)


def test_leaves_are_not_written() -> None:
    t, new = leaf(), leaf()
    before = new.detach().clone()
    with hpacml.differentiable(), pytest.raises(MapError, match="'new' is written, but it is a leaf"):
        smooth(t, new, N, network())
    assert torch.equal(new, before)


@pytest.mark.parametrize("how", ["detached", "without gradients", "NumPy"])
def test_models_without_gradients(how: str) -> None:
    net, t = network(), leaf()
    models: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "detached": lambda x: net(x).detach(),
        "without gradients": torch.no_grad()(net.forward),
        "NumPy": lambda x: torch.from_numpy(x.detach().numpy().sum(1, keepdims=True)),
    }
    new = t.clone()
    with hpacml.differentiable(), pytest.raises(ModelError, match=r"has no gradient.*torch\.no_grad\(\)"):
        smooth(t, new, N, models[how])
    assert torch.equal(new, t)
    with hpacml.differentiable(), forward_ad.dual_level(), torch.no_grad():
        dual = forward_ad.make_dual(t.detach(), torch.ones_like(t))
        if how != "without gradients":  # which forward mode does not need
            with pytest.raises((ModelError, MapError), match=r"no gradient|tangent"):
                smooth(dual, new.detach(), N, models[how])


def test_compiled_networks() -> None:
    @hpacml.region("""
        tensor functor(sides: [i, 0:2] = ([i - 1], [i + 1]))
        tensor functor(point: [i, 0:1] = ([i]))
        ml(infer) in(sides(t[1:n-1])) out(point(new[1:n-1])) model(net) engine(compiled)
    """)
    def fast(t: Any, new: Any, n: int, net: Any) -> None: ...

    net, t = network(), leaf()
    new = t.clone()
    with (
        hpacml.differentiable(),
        pytest.raises(CompileError, match=r"has no derivatives: leave out engine\(compiled\)"),
    ):
        fast(t, new, N, net)
    assert torch.equal(new, t)
    fast(t.detach(), new.detach(), N, net.eval())


def test_kernels_that_do_more() -> None:
    t = leaf().clone()
    with hpacml.differentiable():
        with pytest.raises(CompileError, match="something follows its region"):
            with_more(t, torch.nn.Linear(1, 1).double())
        with pytest.raises(MapError, match="needs gradients, and compiled code has none"):
            doubled(t, torch.zeros(N, dtype=torch.float64))
        with pytest.raises(MapError, match="needs gradients, and compiled code has none"):
            kernel(t, t.clone(), network(), False)
        doubled(t.detach(), torch.zeros(N, dtype=torch.float64))


def test_a_file_that_is_no_chain_of_layers(tmp_path: Path) -> None:
    class Skip(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (torch.sin(x) * x).sum(-1, keepdim=True)

    file = str(hpacml.save_model(Skip(), tmp_path / "m.pt2", example=torch.zeros(4, 2, dtype=torch.float64)))
    t = leaf()
    by_region(t, file).sum().backward()
    found, t.grad = t.grad, None
    by_hand(t, Skip()).sum().backward()
    torch.testing.assert_close(found, t.grad)
