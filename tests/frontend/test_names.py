"""Any name that Python allows: functions, functors, variables and sizes that C, LLVM or the runtime know as something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hpacml
from hpacml.backend import llvm, mlir
from tests.frontend.kernels import check, kernel_of

NAMES = ["llvm", "llvm_memcpy", "powf", "hpacml_infer", "hpacml_site_0", "hpacml_entry", "main", "malloc", "expm1"]
NAMES += ["_mlir_memref_to_llvm_alloc", "__divti3", "straße", "变量", "_", "n" * 5000]

TWINS = """
@hpacml.kernel
def {name}(x: float, n: int):
    t = np.zeros(n)
    for i in range(n):
        t[i] = math.sin(x) ** 1.5 + math.erf(x) + x % 3.0 + math.expm1(x)
    return t[0] + t[n - 1] + round(x)
inner = {name}

@hpacml.kernel
def {name}({name}_: Float64[np.ndarray, "{size}"], malloc: Float64[np.ndarray, "{size}"]):
    memcpy = len(malloc)
    for printf in range(memcpy):
        malloc[printf] = inner({name}_[printf], memcpy)
last = {name}
"""


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name[:30])
def test_a_kernel_calls_another_of_the_same_name(name: str) -> None:
    kernel = kernel_of(TWINS.format(name=name, size=name.strip("_") or "N"))
    check(kernel, lambda: (np.arange(1.0, 4.0), np.zeros(3)))


def region(name: str, functor: str, label: str) -> Any:
    directives = f"""
        tensor functor({functor}: [i, 0:2] = ([i], [i + 1]))
        tensor functor(g: [i] = ([i]))
        ml(predicated: use) in({functor}(a[0:n])) out(g(b[0:n])) database(path) model(net) label("{label}")
    """
    space: dict[str, Any] = {}
    exec(f"def {name}(a, b, n, use, path, net): b[:n] = 2 * a[:n]", space)
    return hpacml.region(directives)(space.popitem()[1])


def test_regions_and_functors_of_any_name_share_their_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    lower, emit = mlir.lower, llvm.emit
    monkeypatch.setattr(mlir, "lower", lambda *given: made.append("LLVM IR") or lower(*given))
    monkeypatch.setattr(llvm, "emit", lambda *given: made.append("code") or emit(*given))
    monkeypatch.setenv("HPACML_CACHE_DIR", str(tmp_path / "cache"))
    a, path = np.arange(5.0), tmp_path / "all.h5"
    for number, name in enumerate(NAMES):
        marked, b, label = region(name, name if name != "_" else "f", f"Größe {number}"), np.zeros(4), number
        marked(a, b, 4, False, path, None)
        assert (b == 2 * a[:4]).all()
        marked(a, b, 4, True, path, lambda x, label=label: x.sum(1) + label)
        assert (b == a[:4] + a[1:] + label).all()
        f = hpacml.functor(f"{name}: [i, 0:2] = ([i], [i + 1])")
        assert torch.equal(f.gather("a[0:n]", a=a, n=4)[:, 1], torch.from_numpy(a[1:]))
    hpacml.flush()
    with hpacml.open_database(path) as database:
        assert len(list(database)) == len(NAMES)
    assert made.count("LLVM IR") == 2  # of the region, and of the functor's gather
    assert made.count("code") <= 3  # and perhaps that of the runtime


def test_kernels_that_differ_in_names_share_their_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
@hpacml.kernel
def {0}({1}: Float64[np.ndarray, "{2}"], use: bool, net: Any):
    approx("tensor functor({0}: [i, 0:1] = ([i]))")
    with approx("ml(predicated: use) inout({0}({1}[0:4])) database('{0}.h5') model(net) label('{2}')"):
        for {2} in range(4):
            {1}[{2}] += 1.0
"""
    made: list[str] = []
    emit = llvm.emit
    monkeypatch.setattr(llvm, "emit", lambda *given: made.append("code") or emit(*given))
    monkeypatch.setenv("HPACML_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for names in (("one", "a", "k"), ("two", "b", "index"), ("free", "llvm", "step")):
        x = np.zeros(4)
        kernel_of(text.format(*names))(x, False, None)
        assert (x == 1.0).all()
        made.append(names[0])
    hpacml.flush()
    assert made[-3:] == ["one", "two", "free"]
