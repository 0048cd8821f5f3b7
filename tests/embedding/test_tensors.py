"""Regions of languages with value semantics: tensors in, new tensors out."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import hpacml

FUNCTORS = """
hpacml.functor @sides : [i, 0:2] = ([i - 1], [i + 1])
hpacml.functor @point : [i, 0:1] = ([i])
"""

BODY = """
    %next = scf.for %i = %one to %end step %one iter_args(%u = %{old}) -> (tensor<?xf64>) {
      %w = arith.subi %i, %one : index
      %e = arith.addi %i, %one : index
      %a = tensor.extract %{old}[%w] : tensor<?xf64>
      %b = tensor.extract %{old}[%e] : tensor<?xf64>
      %s = arith.addf %a, %b : f64
      %m = arith.mulf %s, %half : f64
      %v = tensor.insert %m into %u[%i] : tensor<?xf64>
      scf.yield %v : tensor<?xf64>
    }
    hpacml.yield %next : tensor<?xf64>
"""


def region(old: str, new: str, label: str = "r") -> str:
    """A step that makes a tensor of an old one, whose ends stay."""
    return f"""
  %in_{new} = hpacml.map to @sides(%{old}[1 : %end]) : tensor<?xf64> -> !hpacml.mapping<?x2xf64>
  %out_{new} = hpacml.map from @point(%{old}[1 : %end]) : tensor<?xf64> -> !hpacml.mapping<?x1xf64>
  %{new} = hpacml.ml predicated(%use) in(%in_{new} : !hpacml.mapping<?x2xf64>)
    out(%out_{new} : !hpacml.mapping<?x1xf64>)
    label "{label}" model "m.safetensors" database "d.h5" -> tensor<?xf64> {{{BODY.replace("{old}", old)}  }}
"""


def function(code: str, results: str, arguments: str = "%t: tensor<?xf64>", types: str | None = None) -> str:
    types = types or ", ".join(["tensor<?xf64>"] * len(results.split(",")))
    return f"""{FUNCTORS}
func.func @run({arguments}, %use: i1) -> ({types}) {{
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  %half = arith.constant 0.5 : f64
  %n = tensor.dim %t, %zero : tensor<?xf64>
  %end = arith.subi %n, %one : index
{code}
  func.return {results} : {types}
}}
"""


def smoothed(t: np.ndarray) -> np.ndarray:
    new = t.copy()
    new[1:-1] = (t[:-2] + t[2:]) * 0.5
    return new


LOOP = f"""
  %five = arith.constant 5 : index
  %last = scf.for %k = %zero to %five step %one iter_args(%x = %t) -> (tensor<?xf64>) {{
{region("x", "y")}
    scf.yield %y : tensor<?xf64>
  }}
"""
LINALG = """
  %empty = tensor.empty(%n) : tensor<?xf64>
  %filled = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>],
    iterator_types = ["parallel"]} ins(%t : tensor<?xf64>) outs(%empty : tensor<?xf64>) {
  ^bb0(%a: f64, %b: f64):
    %twice = arith.addf %a, %a : f64
    linalg.yield %twice : f64
  } -> tensor<?xf64>
"""
ONCE, TWICE = region("t", "new"), region("t", "new") + region("new", "newer", "s")

Steps = Callable[[np.ndarray], tuple[np.ndarray, ...]]
PROGRAMS: dict[str, tuple[str, Steps]] = {
    "once": (function(ONCE, "%new"), lambda t: (smoothed(t),)),
    "old and new": (function(ONCE, "%t, %new"), lambda t: (t, smoothed(t))),
    "twice, in place": (function(TWICE, "%newer"), lambda t: (smoothed(smoothed(t)),)),
    "twice, and both": (function(TWICE, "%new, %newer"), lambda t: (smoothed(t), smoothed(smoothed(t)))),
    "two of one": (function(ONCE + region("t", "other", "s"), "%new, %other"), lambda t: (smoothed(t), smoothed(t))),
    "in a loop": (function(LOOP, "%last"), lambda t: (smoothed(smoothed(smoothed(smoothed(smoothed(t))))),)),
    "of linalg": (function(LINALG + region("filled", "new"), "%new"), lambda t: (smoothed(2 * t),)),
    "and linalg": (
        function(LINALG + region("filled", "new"), "%filled, %new"),
        lambda t: (2 * t, smoothed(2 * t)),
    ),
}


@pytest.mark.parametrize("use", [False, True], ids=["accurate", "model"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_tensors_are_values(program: str, use: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    net = torch.nn.Linear(2, 1, bias=False, dtype=torch.float64)
    net.weight.data[:] = 0.5
    hpacml.save_model(net, "m.safetensors", example=torch.zeros(3, 2, dtype=torch.float64))
    text, steps = PROGRAMS[program]
    t = np.random.default_rng(1).random(50)
    given = t.copy()
    given.flags.writeable = False
    results = hpacml.compile(text, "run")(given, use)
    for result, expected in zip(results if isinstance(results, tuple) else (results,), steps(t), strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-15 if use else 0, atol=0)
        assert not np.shares_memory(result, given)
    np.testing.assert_array_equal(given, t)
    if not use:
        hpacml.flush()
        data = hpacml.open_database("d.h5")["r"].dataset()
        x, y = data[0]
        np.testing.assert_array_equal((x[:, 0] + x[:, 1]) * 0.5, y[:, 0])


CALLS = f"""{FUNCTORS}
func.func private @doubled(%t: tensor<?xf64>) -> tensor<?xf64> {{
  %zero = arith.constant 0 : index
  %n = tensor.dim %t, %zero : tensor<?xf64>
{LINALG}
  func.return %filled : tensor<?xf64>
}}
func.func @run(%t: tensor<?xf64>, %memory: memref<?xf64>, %n: index) -> tensor<?xf64> {{
  %in = hpacml.map to @point(%t[0 : %n]) : tensor<?xf64> -> !hpacml.mapping<?x1xf64>
  %out = hpacml.map from @point(%memory[0 : %n]) : memref<?xf64> -> !hpacml.mapping<?x1xf64>
  hpacml.ml collect in(%in : !hpacml.mapping<?x1xf64>) out(%out : !hpacml.mapping<?x1xf64>) label "c" database "d.h5" {{
    %zero = arith.constant 0 : index
    %x = func.call @doubled(%t) : (tensor<?xf64>) -> tensor<?xf64>
    %y = tensor.extract %x[%zero] : tensor<?xf64>
    memref.store %y, %memory[%zero] : memref<?xf64>
  }}
  %result = func.call @doubled(%t) : (tensor<?xf64>) -> tensor<?xf64>
  func.return %result : tensor<?xf64>
}}
"""


def test_a_tensor_keeps_its_values_where_its_array_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    t = np.arange(1.0, 4.0)
    result = hpacml.compile(CALLS, "run")(t, t, 3)
    np.testing.assert_array_equal(t, [2, 2, 3])
    np.testing.assert_array_equal(result, [2, 4, 6])


def test_memory_in_a_loop_is_freed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = function(LOOP.replace("constant 5", "constant 400"), "%last").replace("predicated(%use)", "infer if(%use)")
    run = hpacml.compile(text, "run")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run(np.zeros(200_000), False)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KB; all of them are 640,000


def test_tensors_are_for_the_host() -> None:
    with pytest.raises(hpacml.HpacmlError, match=r"'run' uses .* on the host, but is for a GPU"):
        hpacml.compile(function(ONCE, "%new"), "run").ptx()
