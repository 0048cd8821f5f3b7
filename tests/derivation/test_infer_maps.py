"""Regions without `in` and `out`: what runs, and what is refused, with its place in the source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hpacml

SMOOTH = """
func.func @smooth(%t: memref<?xf64>, %new: memref<?xf64>, %n: index, %weight: f64) {
  %one = arith.constant 1 : index
  %end = arith.subi %n, %one : index
  hpacml.ml collect label "smooth" database "DATABASE" {
    affine.for %i = 1 to %end {
      %a = affine.load %t[%i - 1] : memref<?xf64>
      %b = affine.load %t[%i + 1] : memref<?xf64>
      %sum = arith.addf %a, %b : f64
      %mean = arith.mulf %sum, %weight : f64
      affine.store %mean, %new[%i] : memref<?xf64>
    }
  }
  func.return
}
"""


def test_collects_what_the_code_reads_and_writes(tmp_path: Path) -> None:
    smooth = hpacml.compile(SMOOTH.replace("DATABASE", str(tmp_path / "d.h5")), "smooth")
    t, new = np.arange(6.0) ** 2, np.zeros(6)
    smooth(t, new, 6, 0.5)
    smooth(t, new, 1, 0.5)  # no point: the map is empty, as the loop is
    hpacml.flush()
    with hpacml.open_database(tmp_path / "d.h5") as database:
        x, y = database["smooth"].inputs[0][0], database["smooth"].outputs[0][0]
        assert len(database["smooth"].inputs[0][1]) == 0
    np.testing.assert_array_equal(x, [[t[i - 1], t[i + 1], 0.5] for i in range(1, 5)])
    np.testing.assert_array_equal(y[:, 0], new[1:5])


def region(body: str, before: str = "") -> str:
    return f"""
func.func private @elsewhere(memref<?xf64>) -> ()
func.func private @unknown() -> ()
func.func @f(%x: memref<?xf64>, %y: memref<?xf64>, %k: memref<?xi32>, %n: index, %choose: i1) {{
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  %value = arith.constant 1.0 : f64
  {before}
  hpacml.ml collect label "f" {{
    {body}
  }} loc("code.dsl":7:1)
  func.return
}}
"""


LOOP = "scf.for %i = %zero to %n step %one {{ {} }}"
STORE = 'memref.store %a, %y[%i] : memref<?xf64> loc("code.dsl":9:3)'
LOAD = 'memref.load %x[%i] : memref<?xf64> loc("code.dsl":8:3)'
REFUSED = {
    "index of data": (
        LOOP.format(
            f"%e = memref.load %k[%i] : memref<?xi32> %j = arith.index_cast %e : i32 to index "
            f"%a = {LOAD.replace('%i', '%j')} {STORE}"
        ),
        "code.dsl:8:3: no map is inferred for memref.load of 'x': index 0 depends on what memref.load of 'k' gives",
    ),
    "product of indices": (
        LOOP.format(f"%j = arith.muli %i, %i : index %a = {LOAD.replace('%i', '%j')} {STORE}"),
        "code.dsl:8:3: no map is inferred for memref.load of 'x': index 0 multiplies indices of loops",
    ),
    "store under a condition": (
        LOOP.format(f"%a = {LOAD} scf.if %choose {{ {STORE} }}"),
        "code.dsl:9:3: no map is inferred for memref.store of 'y': it happens under a condition",
    ),
    "load under a condition of the index": (
        LOOP.format(
            f"%first = arith.cmpi eq, %i, %zero : index %a = scf.if %first -> (f64) {{ scf.yield %value : f64 }} "
            f"else {{ %b = {LOAD} scf.yield %b : f64 }} {STORE}"
        ),
        "code.dsl:8:3: no map is inferred for memref.load of 'x': it happens under a condition of the index 'i' of a",
    ),
    "call with an array": (
        f'func.call @elsewhere(%x) : (memref<?xf64>) -> () loc("code.dsl":8:3) {LOOP.format(f"%a = {LOAD} {STORE}")}',
        "code.dsl:8:3: the call of @elsewhere is given 'x'",
    ),
    "call of what is unknown": (
        f'func.call @unknown() : () -> () loc("code.dsl":8:3) {LOOP.format(f"%a = {LOAD} {STORE}")}',
        "code.dsl:8:3: the call of @unknown may touch arrays",
    ),
    "triangle": (
        "scf.for %j = %zero to %n step %one { scf.for %i = %zero to %j step %one { " + f"%a = {LOAD} {STORE}" + " } }",
        "code.dsl:8:3: no map is inferred for memref.load of 'x': the bounds of the loop over 'i' depend on that over 'j'",
    ),
    "in place, one after the other": (
        LOOP.format(f"%a = {LOAD} %c = arith.subi %n, %i : index " + STORE.replace("%y[%i]", "%x[%c]")),
        "code.dsl:8:3: no map is inferred for memref.load of 'x': of the elements that it and memref.store of 'x' touch",
    ),
    "operation of another dialect": (
        f'"test.op"(%x) : (memref<?xf64>) -> () loc("code.dsl":8:3) {LOOP.format(f"%a = {LOAD} {STORE}")}',
        "code.dsl:8:3: test.op of 'x' is no load or store that is followed",
    ),
    "store behind a branch": (
        LOOP.format(
            f"%a = {LOAD} scf.execute_region {{ %flag = arith.extui %choose : i1 to i32 "
            f"cf.switch %flag : i32, [default: ^end, 1: ^more] ^more: {STORE} "
            'cf.switch %flag : i32, [default: ^end] ^end: scf.yield } loc("code.dsl":8:3)'
        ),
        "code.dsl:8:3: scf.execute_region has several blocks, and branches between them are not followed",
    ),
    "nothing written": (LOOP.format(f"%a = {LOAD}"), "code.dsl:7:1: the region writes no array from outside"),
    "nothing read": (
        LOOP.format(STORE.replace("%a", "%value")),
        "code.dsl:7:1: the region reads nothing from outside",
    ),
    "array that iterations swap": (
        "%p:2 = scf.for %s = %zero to %n step %one iter_args(%from = %x, %to = %y) -> (memref<?xf64>, memref<?xf64>) { "
        'memref.store %value, %to[%s] : memref<?xf64> loc("code.dsl":8:3) '
        "scf.yield %to, %from : memref<?xf64>, memref<?xf64> }",
        "code.dsl:8:3: no map is inferred for memref.store of 'to': the array changes from one iteration to the next",
    ),
}


@pytest.mark.parametrize(("body", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_followed_is_named(body: str, message: str) -> None:
    function = hpacml.compile(region(body), "f")
    with pytest.raises(hpacml.CompileError) as error:
        function.ir("maps")
    assert str(error.value).startswith(message)
    assert "in(...) and out(...)" in str(error.value) or "nothing" in message or "no array" in message


def test_other_passes_do_not_take_a_region_without_maps_for_one_without_data() -> None:
    from xdsl.utils.exceptions import PassFailedException

    from hpacml.passes import get_pass
    from hpacml.pipelines import make_context

    module = hpacml.compile(SMOOTH, "smooth").ir()
    with pytest.raises(PassFailedException, match="the region 'smooth' has no maps: hpacml-infer-maps comes first"):
        get_pass("hpacml-expand-ml")().apply(make_context(), module)


def test_one_side_alone_and_truths_are_refused() -> None:
    text = SMOOTH.replace("hpacml.ml collect", "hpacml.ml collect MAPS").replace(
        "  hpacml.ml", "  %m = hpacml.map to @f(%t[0 : %n]) : memref<?xf64> -> !hpacml.mapping<?x1xf64>\n  hpacml.ml"
    )
    text = f"hpacml.functor @f : [i, 0:1] = ([i])\n{text}"
    with pytest.raises(hpacml.CompileError, match="at least one input and one output, or neither"):
        hpacml.compile(text.replace("MAPS", "in(%m : !hpacml.mapping<?x1xf64>)"), "smooth")
    with pytest.raises(hpacml.CompileError, match="truths stand for outputs, and the region's are yet to be inferred"):
        hpacml.compile(text.replace("MAPS", "truth(%m : !hpacml.mapping<?x1xf64>)"), "smooth")


def test_units_belong_to_arrays_of_the_inferred_maps() -> None:
    text = SMOOTH.replace('database "DATABASE"', 'units <tt: "K">')
    with pytest.raises(hpacml.CompileError, match=r"units are given of 'tt', .* these are of new, t, weight"):
        hpacml.compile(text, "smooth").ir("maps")


def test_functions_of_modules_print_what_their_code_tells() -> None:
    assert hpacml.compile(SMOOTH, "smooth").maps().splitlines() == [
        "tensor functor(smooth_in: [i, 0:3] = ([i - 1], [i + 1], [i]))",
        "tensor functor(smooth_out: [i, 0:1] = ([i]))",
        'ml(collect) in(smooth_in(t[1 : n - 1], t[1 : n - 1], weight)) out(smooth_out(new[1 : n - 1])) label("smooth")'
        ' database("DATABASE")',
    ]


CHOSEN = """
func.func @f(%x: memref<?xf64>, %y: memref<?xf64>, %n: index, %c: i1) {
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  %true = arith.constant true
  %not = arith.xori %c, %true : i1
  %v = arith.constant 1.0 : f64
  hpacml.ml collect label "f" {
    FIRST
    LAST
    scf.for %i = %zero to %n step %one {
      %a = memref.load %x[%i] : memref<?xf64>
      memref.store %a, %y[%i] : memref<?xf64>
    }
    AFTER
  }
  func.return
}
"""
FILL = "scf.if %{} {{ scf.for %i = %zero to %n step %one {{ memref.store %v, %x[%i] : memref<?xf64> }} }}"


def test_what_is_written_on_one_way_before_and_on_the_other_after_is_an_input() -> None:
    then, otherwise = FILL.format("c"), FILL.format("not")
    late = CHOSEN.replace("FIRST", then).replace("LAST", "").replace("AFTER", otherwise)
    assert "map to @f_in(%x[0 : %n])" in str(hpacml.compile(late, "f").ir("maps"))
    early = CHOSEN.replace("FIRST", then).replace("LAST", otherwise).replace("AFTER", "")
    with pytest.raises(hpacml.CompileError, match="the region reads nothing from outside"):
        hpacml.compile(early, "f").ir("maps")
