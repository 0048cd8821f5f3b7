"""Regions of kernels without `in` and `out`: what is collected, what `kernel.maps()` prints, and that both are one."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import hpacml

HEAD = """
import numpy as np, hpacml
from hpacml import approx
from jaxtyping import Float32, Float64, Int32
from typing import Any

Line, Plate, Narrow = Float64[np.ndarray, "n"], Float64[np.ndarray, "n m"], Float32[np.ndarray, "n m"]
"""

# Each: the function with REGION in the place of its region, the arguments of a call, parts of what `maps` prints.
KERNELS: dict[str, tuple[str, tuple[Any, ...], tuple[str, ...]]] = {
    "stencil": (
        """
def kernel(t: Line, new: Line):
    n = len(t)
    REGION
        for i in range(1, n - 1):
            new[i] = 0.5 * (t[i + 1] + t[i - 1]) + t[i]
""",
        (np.arange(9.0), np.zeros(9)),
        (
            'approx("tensor functor(kernel_in: [i, 0:3] = ([i - 1], [i], [i + 1]))")',
            'approx("tensor functor(kernel_out: [i, 0:1] = ([i]))")',
            "in(kernel_in(t[1 : n - 1])) out(kernel_out(new[1 : n - 1]))",
        ),
    ),
    "slices, a number, and steps in place": (
        """
def kernel(t: Narrow, new: Narrow, alpha: float, steps: int):
    REGION
        for step in range(steps):
            new[1:-1, 1:-1] = t[1:-1, 1:-1] + alpha * (t[:-2, 1:-1] + t[2:, 1:-1])
            t[1:-1, 1:-1] = new[1:-1, 1:-1]
""",
        (np.random.default_rng(1).random((6, 5), np.float32), np.zeros((6, 5), np.float32), 0.25, 3),
        ("[i, j, 0:4] = ([i - 1, j], [i, j], [i + 1, j], [i])", "alpha", "min(1, max(0, steps))"),
    ),
    "backwards, and the last element": (
        """
def kernel(x: Line, y: Line):
    n = len(x)
    REGION
        for i in range(n - 1, 0, -2):
            y[i] = x[i - 1] + x[n - 1]
""",
        (np.arange(9.0), np.zeros(9)),
        ("x[n - 1 : 0 : -2]", "y[n - 1 : 0 : -2]"),
    ),
    "windows, and names that are taken": (
        """
def kernel(x: Line, w: Float64[np.ndarray, "3"], y: Line):
    i = kernel_in = 7
    REGION
        for i in range(1, x.shape[0] - 1):
            total = 0.0
            for k in range(3):
                total += w[k] * x[i + k - 1]
            y[i] = total
""",
        (np.arange(9.0), np.array([1.0, 2.0, 3.0]), np.zeros(9)),
        ("tensor functor(kernel_in1: [j, 0:6] = ([j - 1 : j + 2], [0:3]))",),
    ),
    "slices in place, all of which are read first": (
        """
def kernel(t: Line):
    n = len(t)
    REGION
        t[1:-1] = 0.5 * (t[:-2] + t[2:])
""",
        (np.arange(9.0) ** 2,),
        ("kernel_in: [i, 0:2] = ([i - 1], [i + 1])", "in(kernel_in(t[1 : n - 1])) out(kernel_out(t[1 : n - 1]))"),
    ),
    "a recurrence": (
        """
def kernel(s: Line, x: Line):
    REGION
        for i in range(1, len(x)):
            s[i] = s[i - 1] + x[i]
""",
        (np.arange(5.0), np.arange(5.0)),
        ("min(", "s[0:end]"),
    ),
    "a product of matrices": (
        """
def kernel(a: Plate, b: Float64[np.ndarray, "m k"], c: Float64[np.ndarray, "n k"]):
    N, M = a.shape
    K = b.shape[1]
    REGION
        for i in range(N):
            for j in range(K):
                total = 0.0
                for k in range(M):
                    total += a[i, k] * b[k, j]
                c[i, j] = total
""",
        (np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4), np.zeros((2, 4))),
        ("end = N * min(1, K)", "kernel_in(a[0:end, 0:M])", "kernel_out(c[0:N, 0:K])"),
    ),
}

ML = """with approx("ml(collect) database('{database}') label('kernel')"):"""


def load(folder: Path, name: str, function: str, region: str) -> ModuleType:
    """The module of a kernel with a region."""
    lines = region.splitlines()
    text = function.replace("    REGION", "\n".join(f"    {line}" for line in lines))
    file = folder / f"{name}.py"
    file.write_text(f"{HEAD}\n\n@hpacml.kernel{text}")
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def collected(database: Path) -> list[np.ndarray[Any, Any]]:
    hpacml.flush()
    with hpacml.open_database(database) as opened:
        region = opened["kernel"]
        return [np.asarray(each[0]) for each in (*region.inputs, *region.outputs)]


@pytest.mark.parametrize(("function", "arguments", "shown"), KERNELS.values(), ids=KERNELS.keys())
def test_what_maps_prints_is_what_is_inferred(
    tmp_path: Path, function: str, arguments: tuple[Any, ...], shown: tuple[str, ...]
) -> None:
    inferring, pasted = tmp_path / "inferring.h5", tmp_path / "pasted.h5"
    kernel = load(tmp_path, "inferring", function, ML.format(database=inferring)).kernel
    text = kernel.maps()
    for part in shown:
        assert part in text
    again = load(tmp_path, "pasted", function, text.replace(str(inferring), str(pasted))).kernel
    results = []
    for each in (kernel, again):
        given = [np.copy(argument) if isinstance(argument, np.ndarray) else argument for argument in arguments]
        each(*given)
        results.append(given)
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)
    ours, theirs = collected(inferring), collected(pasted)
    assert [(each.shape, each.dtype) for each in ours] == [(each.shape, each.dtype) for each in theirs]
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


def test_both_collect_into_one_group(tmp_path: Path) -> None:
    """Names of sizes, blanks and parentheses do not matter: the arrays have the same names."""
    function, (t, new), _ = KERNELS["stencil"]
    kernel = load(tmp_path, "inferring", function, ML.format(database=tmp_path / "d.h5")).kernel
    again = load(tmp_path, "pasted", function, kernel.maps()).kernel
    for each in (kernel, again, kernel):
        each(t, np.copy(new))
    hpacml.flush()
    assert len(hpacml.open_database(tmp_path / "d.h5")["kernel"]) == 3
    others = [re.sub(r"\bt\b(?=[\[:),])", "u", text) for text in (function, kernel.maps())]
    renamed = load(tmp_path, "renamed", *others)
    with pytest.raises(hpacml.DatabaseError, match="holds data of other maps"):
        renamed.kernel(t, np.copy(new))


def test_a_model_takes_the_place_of_a_region_without_maps(tmp_path: Path) -> None:
    function = KERNELS["stencil"][0].replace("new: Line)", "new: Line, net: Any)")
    kernel = load(tmp_path, "model", function, 'with approx("ml(infer) model(net)"):').kernel
    t, new = np.arange(6.0), np.full(6, -1.0)
    kernel(t, new, lambda x: x.sum(-1, keepdim=True))
    np.testing.assert_array_equal(new, [-1.0, 3.0, 6.0, 9.0, 12.0, -1.0])


OPAQUE = """
@hpacml.region("ml(collect) database('d.h5')")
def opaque(x, y):
    y[:] = x
"""


def test_a_function_of_python_has_no_code_to_infer_maps_from() -> None:
    names: dict[str, Any] = {"hpacml": hpacml}
    with pytest.raises(
        hpacml.DirectiveError, match=r"no input and no output: add in\(...\) and out\(...\).*kernels alone"
    ):
        exec(OPAQUE, names)
        names["opaque"](np.zeros(2), np.zeros(2))


def refused(folder: Path, body: str) -> str:
    """What the error of a kernel says, on its first call and of `maps`."""
    function = f"\ndef kernel(x: Line, y: Line, idx: Int32[np.ndarray, 'n']):\n    REGION\n{body}"
    kernel = load(folder, "refused", function, ML.format(database="d.h5")).kernel
    messages: list[str] = []
    for call in (kernel.maps, lambda: kernel(np.zeros(3), np.zeros(3), np.zeros(3, np.int32))):
        with pytest.raises(hpacml.CompileError) as error:
            call()
        messages.append(str(error.value))
    assert messages[0] == messages[1]
    return messages[0]


@pytest.mark.parametrize(
    ("body", "line", "message"),
    [
        ("        for i in range(len(x)):\n            y[i] = x[idx[i]]\n", "x[idx[i]]", "index 0 depends on"),
        (
            "        for i in range(len(x)):\n            if x[i] > 0.0:\n                y[i] = 1.0\n",
            "y[i] = 1.0",
            "condition",
        ),
        ("        for i in range(len(x)):\n            x[i] = x[len(x) - 1 - i]\n", "x[i] =", "some are read first"),
    ],
)
def test_errors_show_the_access(tmp_path: Path, body: str, line: str, message: str) -> None:
    text = refused(tmp_path, body)
    first, *shown = text.splitlines()
    assert message in first
    assert first.startswith(str(tmp_path / "refused.py"))
    assert line in shown[0]
