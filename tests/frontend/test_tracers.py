"""What Torch's tracers make of functors, kernels and regions: models that do the same for other data, or errors."""

from __future__ import annotations

import io
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float32
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx

import hpacml

Vector = Float32[np.ndarray, "N"]

SIDES = hpacml.functor("f: [i, 0:2] = ([i-1], [i+1])")
BOTH = hpacml.functor("g: [i, 0:2] = ([i], [i])")
ONE = hpacml.functor("h: [i, 0:1] = ([i])")


class Bridge(torch.nn.Module):
    """Gathers, scatters into two arrays, and gathers through indices into a given tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("k", torch.tensor([2, 0, 1]))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        n = x.shape[0]
        y = SIDES.gather("x[1:n-1]", x=x, n=n) * 2
        a, b = torch.zeros(n, dtype=x.dtype), x.clone()
        BOTH.scatter(y, "a[1:n-1], b[0:n-2]", a=a, b=b, n=n)
        out = torch.zeros(3, 1, dtype=torch.float64)
        ONE.gather("a[k[0:3]]", a=a, k=self.k, out=out)
        return a, b, out


EXAMPLE, SAME, LONGER = torch.arange(6.0), torch.tensor([5.0, 6, 9, 1, 7, 3]), torch.linspace(-1, 2, 9)


def trace(module: torch.nn.Module) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        buffer = io.BytesIO()
        torch.jit.save(torch.jit.trace(module, EXAMPLE), buffer)
        buffer.seek(0)
        return torch.jit.load(buffer)


def export(module: torch.nn.Module) -> Any:
    exported = torch.export.export(module, (EXAMPLE,), dynamic_shapes=({0: torch.export.Dim("n", min=5)},))
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(exported, buffer)
        buffer.seek(0)
        return torch.export.load(buffer).run_decompositions().module()


RECORDED: dict[str, tuple[Callable[[torch.nn.Module], Any], Sequence[torch.Tensor]]] = {
    "torch.jit.trace": (trace, (SAME, LONGER)),
    "torch.export": (export, (SAME, LONGER)),
    "make_fx": (lambda module: make_fx(module)(EXAMPLE), (SAME,)),
    "make_fx of symbols": (
        lambda module: make_fx(module, tracing_mode="symbolic", _allow_non_fake_inputs=True)(EXAMPLE),
        (SAME, LONGER),
    ),
    "make_fx of functions": (lambda module: make_fx(torch.func.functionalize(module))(EXAMPLE), (SAME,)),
    "torch.compile": (lambda module: torch.compile(module, backend="aot_eager"), (SAME, LONGER)),
}


@pytest.mark.slow
@pytest.mark.parametrize("way", RECORDED)
def test_what_is_recorded_does_the_same_for_other_data(way: str) -> None:
    record, inputs = RECORDED[way]
    module = Bridge()
    recorded = record(module)
    for x in inputs:
        for found, expected in zip(recorded(x), module(x), strict=True):
            assert torch.equal(found, expected)


class Scripted(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n = x.shape[0]
        y = torch.ops.hpacml.gather([x], "f: [i, 0:2] = ([i-1], [i+1])", "x[1:n-1]", "x,n", [n], [], False, "")
        z = torch.zeros(n)
        return torch.ops.hpacml.scatter(y[:, 1], [z], "h: [i] = ([i])", "z[1:n-1]", "z,n", [n], [], False, "")[0]


def test_scripts_call_the_operators() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted = torch.jit.script(Scripted())
    assert torch.equal(scripted(LONGER)[1:-1], LONGER[2:])


def test_tensors_without_memory_give_shapes() -> None:
    with FakeTensorMode():
        x = SIDES.gather("x[1:5]", x=torch.zeros(6, dtype=torch.float64))
        assert (tuple(x.shape), x.dtype) == ((4, 2), torch.float64)
        with pytest.raises(
            hpacml.MapError, match=r"'y' is a ndarray, .* pass a tensor, such as torch\.from_numpy\(y\)"
        ):
            BOTH.gather("x[0:2], y[0:2]", x=torch.zeros(6), y=np.zeros(6))


def test_tensors_of_a_tracer_beside_others_are_refused() -> None:
    fake = FakeTensorMode().from_tensor(torch.zeros(4))
    with pytest.raises(hpacml.MapError, match="a tracer of Torch refuses the tensors of this call"):
        ONE.scatter(torch.ones(4, 1), "a[0:4]", a=fake)


def test_a_recorded_scatter_refuses_arrays_of_one_memory() -> None:
    def both(x: torch.Tensor) -> torch.Tensor:
        BOTH.scatter(torch.ones(3, 2), "x[0:3], y[0:3]", x=x, y=x[1:])
        return x

    with pytest.raises(hpacml.MapError, match="'x' and 'y' share memory"):
        make_fx(both)(torch.zeros(4))


@hpacml.kernel
def double(a: Vector, b: Vector):
    for i in range(a.shape[0]):
        b[i] = 2 * a[i]


@hpacml.region("""tensor functor(one: [i, 0:1] = ([i]))
                  ml(predicated: c) in(one(a[0:n])) out(one(b[0:n])) model(net)""")
def triple(a, b, n, c, net):
    b[:] = 3 * a


def by_kernel(x: torch.Tensor) -> torch.Tensor:
    y = torch.empty_like(x)
    double(x, y)
    return y


def by_region(x: torch.Tensor) -> torch.Tensor:
    y = torch.zeros_like(x)
    triple(x, y, 6, True, torch.nn.Identity())
    return y


@pytest.mark.parametrize("function", [by_kernel, by_region])
def test_kernels_and_regions_refuse_to_be_left_out(function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    with pytest.raises(
        hpacml.MapError, match=r"torch\.export or make_fx cannot record the (kernel double|region trip)"
    ):
        make_fx(function)(EXAMPLE)
    with warnings.catch_warnings(), pytest.raises(hpacml.MapError, match=r"torch\.jit\.trace cannot record the"):
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.trace(function, EXAMPLE)


def gathered(x: Any, n: Any = 6) -> torch.Tensor:
    return ONE.gather("x[0:n]", x=x, n=n)


def scattered(x: Any) -> torch.Tensor:
    ONE.scatter(torch.ones(6, 1), "x[0:6]", x=x)
    return x


def left_alone(x: torch.Tensor) -> torch.Tensor:
    return gathered(x)


torch.fx.wrap("left_alone")  # pyright: ignore[reportUnknownMemberType]


@pytest.mark.parametrize("function", [by_kernel, by_region, gathered, scattered])
def test_proxies_are_refused_as_what_they_are(function: Callable[[Any], torch.Tensor]) -> None:
    refused = (
        r"is a Proxy of torch\.fx, .* in a function of which torch\.fx\.wrap knows"
        if function in (gathered, scattered)
        else "is a Proxy of|no array but a Proxy|empty_like|zeros_like"
    )
    with pytest.raises(hpacml.MapError, match=refused):
        torch.fx.symbolic_trace(lambda x: function(x))
    with pytest.raises(hpacml.DirectiveError, match="'n' is no number but a Proxy"):
        torch.fx.symbolic_trace(lambda n: gathered(EXAMPLE, n))


def test_what_a_proxy_cannot_enter_runs_in_the_program_that_is_traced() -> None:
    traced = torch.fx.symbolic_trace(lambda x: left_alone(x) + 1)
    for x in (SAME, EXAMPLE):
        assert torch.equal(traced(x), x[:, None] + 1)


@pytest.mark.parametrize("n", [1j, np.complex64(2), "6", 6.5, torch.tensor(6j)])
def test_a_name_that_is_no_integer_is_called_one_by_no_tracer(n: Any) -> None:
    with pytest.raises(hpacml.MapError, match=f"'n' as an integer, and it is a {type(n).__name__}"):
        make_fx(lambda x: gathered(x, n))(EXAMPLE)
    with pytest.raises(hpacml.MapError, match="'x' is no array but a str"):
        make_fx(lambda x: gathered("no") + x)(EXAMPLE)
    for tracing in (False, True):
        with pytest.raises(hpacml.MapError, match=r"'x' is a complex number: pass x\.real and x\.imag"):
            make_fx(lambda x: gathered(1j) + x)(EXAMPLE) if tracing else gathered(1j)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # of the first level
@pytest.mark.parametrize("function", [by_kernel, by_region])
@pytest.mark.parametrize("part", [slice(None), slice(0, 6)])
def test_tensors_with_tangents_are_refused(function: Callable[[Any], torch.Tensor], part: slice) -> None:
    """Their tangents would be those of other values, or gone."""
    x, tangent = EXAMPLE.clone(), torch.ones(6)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, tangent)
        with pytest.raises(hpacml.MapError, match=r"has a tangent of .*unpack_dual\((a|x)\)\.primal"):
            function(dual[part])
        assert torch.equal(x, EXAMPLE)
        function(forward_ad.unpack_dual(dual).primal)
        gathered(torch.arange(6))
    function(x)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_outputs_with_tangents_are_refused() -> None:
    for write in (lambda y: double(EXAMPLE, y), lambda y: triple(EXAMPLE, y, 6, True, torch.nn.Identity())):
        with forward_ad.dual_level():
            y = forward_ad.make_dual(torch.zeros(6), torch.ones(6))
            with pytest.raises(hpacml.MapError, match="'b' has a tangent"):
                write(y)
            assert not y.any()


@pytest.mark.slow
def test_compiled_programs_call_kernels_and_regions_as_they_are(tmp_path: Path) -> None:
    script = """
        import numpy as np, hpacml
        from jaxtyping import Float32

        @hpacml.kernel
        def double(a: Float32[np.ndarray, "N"], b: Float32[np.ndarray, "N"]):
            for i in range(a.shape[0]):
                b[i] = np.float32(2) * a[i]

        import torch
        torch.set_grad_enabled(False)

        @hpacml.region('''tensor functor(one: [i, 0:1] = ([i]))
                          ml(predicated: c) in(one(a[0:n])) out(one(b[0:n])) model(net) database("d.h5")''')
        def triple(a, b, n, c, net):
            b[:] = 3 * a

        one = hpacml.functor("one: [i, 0:1] = ([i])")
        net = torch.nn.Linear(1, 1)
        net.weight.fill_(-1), net.bias.fill_(0)

        def step(x):
            y = x + 1
            z = torch.empty_like(y)
            double(y, z)
            u = torch.zeros_like(z)
            triple(z, u, 4, False, net)
            w = one.gather("u[0:4]", u=u)
            one.scatter(w + 1, "u[0:4]", u=u)
            triple(u, z, 4, True, net)
            return z * 1

        x = torch.arange(4.0)
        found = torch.compile(step, backend="eager")(x)  # the first calls of all of them
        assert found.tolist() == (-(6 * (x + 1) + 1)).tolist(), found
        from torch._dynamo.utils import counters
        assert counters["frames"]["total"] < 10, counters["frames"]
    """
    (tmp_path / "program.py").write_text(textwrap.dedent(script))
    subprocess.run([sys.executable, "program.py"], cwd=tmp_path, check=True)


class Twice(torch.nn.Module):
    """A model of any number of rows that looks at each of them twice, by a functor."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n = x.shape[0]
        pairs = hpacml.functor("f: [i, 0:2] = ([i], [i])").gather("x[0:n]", x=x.reshape(-1), n=n)
        return pairs.sum(1, keepdim=True)


@pytest.mark.slow
def test_model_files_with_a_gather_run_in_a_program_that_has_no_functor(tmp_path: Path) -> None:
    for name in ("m.pt", "m.pt2"):
        hpacml.save_model(Twice(), tmp_path / name, example=torch.zeros(8, 1))
    script = """
        import numpy as np, hpacml

        @hpacml.region('''tensor functor(one: [i, 0:1] = ([i]))
                          ml(infer) in(one(a[0:n])) out(one(b[0:n])) model(path)''')
        def region(a, b, n, path):
            pass

        for path in ("m.pt", "m.pt2"):
            a, b = np.arange(8, dtype=np.float32) ** 2, np.ones(8, np.float32)
            region(a, b, 8, path)
            assert (b == 2 * a).all(), b
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=tmp_path, check=True)
