"""The pipeline in other ways: without the fusing pass, with a pass of xDSL between, and with a pass that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import h5py
import numpy as np
import pytest
from jaxtyping import Float64
from xdsl.dialects.builtin import ModuleOp
from xdsl.transforms.canonicalize import CanonicalizePass
from xdsl.transforms.common_subexpression_elimination import CommonSubexpressionElimination
from xdsl.transforms.dead_code_elimination import DeadCodeElimination
from xdsl.transforms.loop_invariant_code_motion import LoopInvariantCodeMotionPass
from xdsl.utils.exceptions import DiagnosticException, PassFailedException, VerifyException

import hpacml
from hpacml import approx, pipelines, version
from hpacml.frontend import bound_map, compile
from hpacml.passes import get_pass
from hpacml.passes.hpacml_resolve_slices import HpacmlResolveSlicesPass

Results = tuple[list[Any], list[Any]]
"""What a program has computed, and what it should have."""

Array = Float64[np.ndarray, "n"]
Grid = Float64[np.ndarray, "n m"]


def canonicalized(module: ModuleOp, *, fuse: bool = True) -> ModuleOp:
    pipelines.run_passes(module, "expand")
    CanonicalizePass().apply(pipelines.make_context(), module)
    return pipelines.run_passes(module, fuse=fuse)


OTHERS = (
    CommonSubexpressionElimination,
    CanonicalizePass,
    LoopInvariantCodeMotionPass,
    DeadCodeElimination,
    CommonSubexpressionElimination,
)


def mixed(module: ModuleOp, stages: dict[str, str] = pipelines.STAGES) -> ModuleOp:
    """Run passes of xDSL before and after each of ours; no value is used by what is not in the module."""
    context = pipelines.make_context()
    for name in [None, *stages.values()]:
        if name is not None:
            get_pass(name)().apply(context, module)
        require_attached(module)
        for other in OTHERS:
            other().apply(context, module)
        module.verify()
    return module


def require_attached(module: ModuleOp) -> None:
    blocks = [block for op in module.walk() for region in op.regions for block in region.blocks]
    values = [*(v for op in module.walk() for v in op.results), *(v for block in blocks for v in block.args)]
    for value in values:
        assert all(module.is_ancestor(use.operation) for use in value.uses), value


KERNELS = {stage: name for stage, name in pipelines.GPU_STAGES.items() if stage not in ("host", "runtime")} | {
    "kernels": "hpacml-gpu-to-loops",
    "runtime": pipelines.GPU_STAGES["runtime"],
}
"""Kernels for GPUs, which loops on the host run, beside original code on the host."""


def alone(module: ModuleOp, stages: dict[str, str]) -> ModuleOp:
    for name in stages.values():
        get_pass(name)().apply(pipelines.make_context(), module)
        module.verify()
    return module


WAYS: dict[str, Callable[[ModuleOp], ModuleOp]] = {
    "fused": pipelines.run_passes,
    "unfused": lambda module: pipelines.run_passes(module, fuse=False),
    "canonicalized": canonicalized,
    "canonicalized, unfused": lambda module: canonicalized(module, fuse=False),
    "with passes of others between": mixed,
    "kernels": lambda module: alone(module, KERNELS),
    "kernels, with passes of others between": lambda module: mixed(module, KERNELS),
    "reported": lambda module: pipelines.run_passes(module, report=True),
}


@pytest.fixture
def lower(monkeypatch: pytest.MonkeyPatch, tmp_path) -> Iterator[Callable[[str], list[ModuleOp]]]:
    """`lower(way)` has everything compiled in a way of `WAYS` from then on; the list gets the modules."""
    monkeypatch.chdir(tmp_path)

    def lower(way: str) -> list[ModuleOp]:
        modules: list[ModuleOp] = []

        def run_passes(module: ModuleOp, report: bool, gpu: bool, stream: int) -> ModuleOp:
            modules.append(WAYS[way](module))
            return modules[-1]

        bound_map.compiled.cache_clear()
        monkeypatch.setattr(compile, "run_passes", run_passes)
        monkeypatch.setattr(version, "made_by", lambda: None)
        return modules

    yield lower
    bound_map.compiled.cache_clear()
    hpacml.flush()  # while the folder is there


# -- programs ----------------------------------------------------------------------------------------


def stencil() -> Results:
    f = hpacml.functor("stencil: [i, j, 0:5] = ([i-1, j], [i+1, j], [i, j-1:j+2])")
    t = np.random.rand(14, 9)[::2, ::-1]
    x = f.gather("t[1:n-1, 1:m-1]", t=t, n=7, m=9)
    sides = t[:-2, 1:-1], t[2:, 1:-1], t[1:-1, :-2], t[1:-1, 1:-1], t[1:-1, 2:]
    return [x], [np.stack(sides, -1)]


def blocks() -> Results:
    a = np.random.rand(20).astype(np.float32)
    x = hpacml.functor("block: [i, 0:m] = ([i*m : i*m+m])").gather("a[0:n]", a=a, n=5, m=4)
    return [x], [a.reshape(5, 4)]


def columns() -> Results:
    x = np.arange(18.0).reshape(6, 3)
    arrays = np.zeros(6), np.zeros(6, np.float32), np.zeros(12, np.int32)[::2]
    a, b, c = arrays
    hpacml.functor("columns: [i, 0:3] = ([i], [i], [i])").scatter(x, "a[0:n], b[0:n], c[0:n]", a=a, b=b, c=c, n=6)
    return list(arrays), list(x.T)


def inout() -> Results:
    @hpacml.region("""tensor functor(pair: [i, 0:2] = ([i], [i+1]))
                      tensor functor(one: [i, 0:1] = ([i]))
                      ml(predicated: use_model) in(pair(a[0:n])) inout(one(b[1:n+1])) model(net) database("d.h5")""")
    def region(a, b, n, net, use_model):
        b[1 : n + 1] += a[:n]

    a, b = np.random.rand(2, 8)
    before = b.copy()
    region(a, b, 6, lambda x, y: 2 * y - x[:, 1:], True)
    inferred = b.copy()
    region(a, b, 6, None, False)
    hpacml.flush()
    with h5py.File("d.h5") as file:
        collected = [file[f"region/{name}"][0] for name in ("input", "input_1", "output")]
    expected = np.concatenate([before[:1], 2 * before[1:7] - a[1:7], before[7:]])
    rows = inferred[1:7, None]
    return [inferred, *collected], [expected, np.stack([a[:6], a[1:7]], -1), rows, rows + a[:6, None]]


def packed() -> Results:
    @hpacml.region("""tensor functor(same: [i, j, 0:1] = ([i, j]))
                      ml(infer) in(same(t[0:n, 0:m])) out(same(new[0:n, 0:m])) model(net)""")
    def region(t, new, n, m, net):
        raise AssertionError("the model runs")

    t, new = np.random.rand(2, 5, 4)
    before = t.copy()
    region(t, new, 5, 4, lambda x: 2 * x)
    region(t[:-1], t[1:], 4, 4, lambda x: x)  # both maps are of the same memory
    return [new, t], [2 * before, np.concatenate([before[:1], before[:-1]])]


def channels_first() -> Results:
    f = hpacml.functor("channels: [0:3, i, j] = ([i, j], [i, j+1:j+3])")
    t = np.random.rand(6, 8)
    x = f.gather("t[0:n, 0:m]", t=t, n=6, m=6)
    out = np.zeros((2, 6, 6))
    hpacml.functor("two: [0:2, i, j] = ([i, j], [i, j])").scatter(
        x[1:], "a[0:n, 0:m], b[0:n, 0:m]", a=out[0], b=out[1], n=6, m=6
    )
    expected = np.stack([t[:, :6], t[:, 1:7], t[:, 2:]])
    return [x, out], [expected, expected[1:]]


def indirect() -> Results:
    f = hpacml.functor("atom: [i, 0:3] = ([i, 0:3])")
    pos, idx = np.random.rand(9, 3), np.array([7, 0, 3, 8], np.int32)
    x = f.gather("pos[idx[0:n], 0:3]", pos=pos, idx=idx, n=4)
    new = np.zeros((9, 3))
    f.scatter(x, "new[idx[0:n], 0:3]", new=new, idx=idx, n=4)
    expected = np.zeros((9, 3))
    expected[idx] = pos[idx]
    return [x, new], [pos[idx], expected]


def compiled() -> Results:
    @hpacml.kernel
    def kernel(t: Grid, new: Grid, use_model: bool, net: Any):
        n, m = t.shape
        last = n - 1
        approx("tensor functor(cross: [i, j, 0:3] = ([i-1, j], [i+1, j], [i, j]))")
        approx("tensor functor(point: [i, j, 0:1] = ([i, j]))")
        # The same map twice, which canonicalizing makes one.
        with approx("""ml(predicated: use_model) in(cross(t[1:last, 0:m]), cross(t[1:last, 0:m]))
                       out(point(new[1:last, 0:m])) model(net) database("k.h5")"""):
            for i in range(1, last):
                for j in range(m):
                    new[i, j] = t[i - 1, j] + t[i + 1, j]

    t, body, model = np.random.rand(3, 6, 5)
    edges = model[[0, -1]]
    kernel(t, body, False, None)
    kernel(t, model, True, lambda x, y: x[..., :1] - y[..., 2:])
    return [body[1:-1], model[1:-1], model[[0, -1]]], [t[:-2] + t[2:], t[:-2] - t[1:-1], edges]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("program", [stencil, blocks, columns, inout, packed, channels_first, indirect, compiled])
def test_results_do_not_depend_on_the_way(lower, program: Callable[[], Results], way: str) -> None:
    modules = lower(way)
    found, expected = program()
    assert modules
    for x, y in zip(found, expected, strict=True):
        np.testing.assert_array_equal(x, y)


def test_the_ways_differ(lower) -> None:
    texts: list[str] = []
    for way in WAYS:
        modules = lower(way)
        compiled()
        texts.append(str(modules[0]))
    assert len(set(texts)) == len(WAYS)


# -- passes that fail --------------------------------------------------------------------------------


@hpacml.region("""tensor functor(one: [i] = ([i]))
                  ml(infer) in(one(a[0:n])) out(one(b[0:n])) model(net)""")
def doubled(a, b, n, net):
    b[:n] = 2 * a[:n]


@hpacml.kernel
def pairs(t: Array, k: int):
    approx("tensor functor(pair: [i, 0:2] = ([i], [i]))")
    approx("tensor functor(one: [i] = ([i]))")
    with approx("ml(collect) in(pair(t[k:k], t[0:5])) out(one(t[0:5])) database('d.h5')"):
        t[0] = 1.0


COMPILING: dict[str, Callable[[], object]] = {
    "functor": lambda: hpacml.functor("f: [i] = ([i])").gather("a[0:n]", a=np.zeros(3), n=3),
    "region": lambda: doubled(np.zeros(3), np.zeros(3), 3, lambda x: x),
    "kernel": lambda: pairs(np.zeros(9), 2),
    "ir": lambda: pairs.ir("resolve"),
}


@pytest.mark.parametrize("error", [PassFailedException, VerifyException, DiagnosticException])
@pytest.mark.parametrize("what", COMPILING)
def test_a_pass_that_fails_is_an_error_for_users(lower, monkeypatch: pytest.MonkeyPatch, what: str, error) -> None:
    def apply(self, context, module):
        raise error("no way")

    lower("fused")
    monkeypatch.setattr(HpacmlResolveSlicesPass, "apply", apply)
    with pytest.raises(hpacml.CompileError, match=r"^no way$") as raised:
        COMPILING[what]()
    assert type(raised.value.__cause__) is error


def test_a_pass_that_leaves_invalid_ir_is_an_error_for_users(lower, monkeypatch: pytest.MonkeyPatch) -> None:
    def apply(self, context, module):
        next(op for op in module.walk() if op.name == "func.return").detach()

    lower("fused")
    monkeypatch.setattr(HpacmlResolveSlicesPass, "apply", apply)
    with pytest.raises(hpacml.CompileError) as raised:
        COMPILING["functor"]()
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("what", ["kernel", "ir"])
def test_a_map_that_a_pass_refuses_is_a_map_error(lower, what: str) -> None:
    lower("fused")
    with pytest.raises(hpacml.MapError, match="'i' runs over 0 values in dimension 0 of 't' but over 5"):
        COMPILING[what]()
