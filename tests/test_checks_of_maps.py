"""Where maps are checked: where regions and copies use them, whatever passes of others share, move or remove."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.parser import Parser

from hpacml import MapError
from hpacml.pipelines import generic_text, make_context, run_passes
from hpacml.runtime import handlers, loading
from hpacml.runtime.arrays.protocols import array_view
from hpacml.runtime.arrays.views import descriptor
from tests.test_unfused import mixed

F = "hpacml.functor @f : [i] = ([i])\n"
MAP = "hpacml.map inout @f(%t[0 : %n]) : memref<?xf64> -> !hpacml.mapping<?xf64>"
USED = "(%a : !hpacml.mapping<?xf64>)"

WAYS: dict[str, Callable[[ModuleOp], ModuleOp]] = {"alone": run_passes, "mixed": mixed}


def compiled(body: str, way: str) -> Callable[..., None]:
    """The function of `%t, %u, %n, %c, %d, %zero` with this body."""
    handlers.install()
    arguments = "%t: memref<?xf64>, %u: memref<?xf64>, %n: index, %c: i1, %d: i1, %zero: index"
    text = f"{F}func.func @main({arguments}) attributes {{llvm.emit_c_interface}} {{\n{body}\nfunc.return\n}}"
    module = Parser(make_context(), text).parse_module()
    assert any(isinstance(op, FuncOp) for op in module.walk())
    types = ["memref", "memref", "index", "i1", "i1", "index"]
    function = loading.compile(generic_text(WAYS[way](module)), "main", types)

    def call(t: np.ndarray, u: np.ndarray, n: int, c: bool = False, d: bool = False) -> None:
        arrays = [descriptor(array_view(each, "a")) for each in (t, u)]
        function(*map(ctypes.addressof, arrays), n, c, d, 0)

    return call


def region(condition: str, label: str, mapping: str = "%a") -> str:
    one = "%one = arith.constant 1.0 : f64\n%last = memref.load %u[%zero] : memref<?xf64>"
    add = "%sum = arith.addf %one, %last : f64\nmemref.store %sum, %u[%zero] : memref<?xf64>"
    used = USED.replace("%a", mapping)
    return f'hpacml.ml infer {condition} inout{used} label "{label}" {{\n{one}\n{add}\n}}'


ARRAYS = {
    "one map of two": f"%a = {MAP}\n{region('if(%c)', 'r')}\n{region('if(%d)', 's')}",
    "two equal maps": f"%a = {MAP}\n%b = {MAP}\n{region('if(%c)', 'r')}\n{region('if(%d)', 's', '%b')}",
    "an outer block": f"%a = {MAP}\nscf.if %c {{\n{region('if(%d)', 'r')}\n}}\n{region('if(%d)', 's')}",
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ARRAYS)
def test_a_map_is_checked_only_where_a_region_uses_it(name: str, way: str) -> None:
    call = compiled(ARRAYS[name], way)
    t, u = np.zeros(4), np.zeros(1)
    call(t, u, 9)  # both bodies run, in spite of the map
    assert u[0] == (1 if "outer" in name else 2)
    with pytest.raises(MapError, match="reaches index 8"):
        call(t, u, 9, d=True)


@pytest.mark.parametrize("way", WAYS)
def test_a_map_is_not_checked_in_a_loop_that_does_not_run(way: str) -> None:
    x = "%x = hpacml.tensor %a : !hpacml.mapping<?xf64> -> memref<?xf64>"
    copy = f"%a = {MAP}\n{x}\nhpacml.gather %a into %x : !hpacml.mapping<?xf64>, memref<?xf64>"
    write = "hpacml.scatter %x into %a : memref<?xf64>, !hpacml.mapping<?xf64>"
    steps = "%size = memref.dim %u, %zero : memref<?xf64>\n%step = arith.constant 1 : index"
    loop = f"scf.for %i = %zero to %size step %step {{\n{copy}\n{write}\n}}"
    call = compiled(f"{steps}\n{loop}", way)
    call(np.zeros(4), np.zeros(0), 9)
    with pytest.raises(MapError, match="reaches index 8"):
        call(np.zeros(4), np.zeros(1), 9)


@pytest.mark.parametrize("way", WAYS)
def test_a_map_without_users_does_not_stand_for_one_under_a_condition(way: str) -> None:
    inner = f"%b = {MAP}\nhpacml.gather %b into %u : !hpacml.mapping<?xf64>, memref<?xf64>"
    call = compiled(f"%a = {MAP}\nscf.if %c {{\n{inner}\n}}", way)
    call(np.zeros(4), np.zeros(9), 9)
    with pytest.raises(MapError, match="reaches index 8"):
        call(np.zeros(4), np.zeros(9), 9, c=True)


@pytest.mark.parametrize("way", WAYS)
def test_effects_stay(way: str) -> None:
    """What is copied, measured and run is not removed or merged, though nothing uses its results."""
    gather = "hpacml.gather %a into %u : !hpacml.mapping<?xf64>, memref<?xf64>"
    scatter = "hpacml.scatter %u into %a : memref<?xf64>, !hpacml.mapping<?xf64>"
    change = "%two = arith.constant 2.0 : f64\nmemref.store %two, %u[%zero] : memref<?xf64>"
    call = compiled(f"%a = {MAP}\n{gather}\n{change}\n{scatter}\n{gather}", way)
    t, u = np.arange(4.0), np.zeros(4)
    call(t, u, 4)
    assert t.tolist() == u.tolist() == [2, 1, 2, 3]
