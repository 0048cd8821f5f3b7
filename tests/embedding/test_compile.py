"""`hpacml.compile`: functions of modules that others have made, called with arrays and numbers."""

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from xdsl.parser import Parser

import hpacml
from hpacml.pipelines import STAGES, make_context, run_passes

ADD = """
func.func @add(%x: memref<?xf64>, %y: memref<?xf64>, %scale: f64) -> f64 {
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  %n = memref.dim %x, %zero : memref<?xf64>
  %start = arith.constant 0.0 : f64
  %total = scf.for %i = %zero to %n step %one iter_args(%sum = %start) -> (f64) {
    %a = memref.load %x[%i] : memref<?xf64>
    %b = arith.mulf %a, %scale : f64
    memref.store %b, %y[%i] : memref<?xf64>
    %next = arith.addf %sum, %b : f64
    scf.yield %next : f64
  }
  func.return %total : f64
}
"""


def test_arrays_and_numbers() -> None:
    add = hpacml.compile(ADD, "add")
    x, y = np.arange(5.0), np.zeros(5)
    assert add(x, y, 2.0) == 20.0
    np.testing.assert_array_equal(y, 2 * x)
    assert add(scale=0.5, y=y, x=x) == 5.0
    tensor = torch.zeros(5, dtype=torch.float64)
    assert add(torch.arange(5, dtype=torch.float64), tensor, 1) == 10.0
    assert tensor.tolist() == [0, 1, 2, 3, 4]
    assert repr(add) == "<hpacml function add>"


def test_wrong_arguments() -> None:
    add = hpacml.compile(ADD, "add")
    x = np.arange(6.0)
    y = np.zeros(6)
    with pytest.raises(hpacml.MapError, match=re.escape("argument 'x' of add() has elements of float32, but float64")):
        add(x.astype(np.float32), y, 1.0)
    with pytest.raises(hpacml.MapError, match=re.escape("argument 'y' of add() has the shape [2, 3]")):
        add(x, y.reshape(2, 3), 1.0)
    with pytest.raises(hpacml.MapError, match=r"argument 'scale' takes np.float64, and the value given is of type str"):
        add(x, y, "a")
    with pytest.raises(TypeError, match=re.escape("add(): missing a required argument: 'scale'")):
        add(x, y)
    with pytest.raises(hpacml.MapError, match=r"argument 'x' of add\(\) has strides .*np.ascontiguousarray\(x\)"):
        add(x[::2], y[:3].copy(), 1.0)
    y.flags.writeable = False
    with pytest.raises(hpacml.MapError, match=r"'y'.*read-only"):
        add(x, y, 1.0)
    x.flags.writeable = False
    assert add(x, np.zeros(6), 1.0) == 15.0


def test_strides_sizes_and_elements() -> None:
    module = """
    func.func @first(%a: memref<2x?xi32, strided<[?, ?], offset: ?>>, %i: index, %flag: i1) -> i32 {
      %zero = arith.constant 0 : index
      %j = arith.select %flag, %i, %zero : index
      %found = memref.load %a[%zero, %j] : memref<2x?xi32, strided<[?, ?], offset: ?>>
      func.return %found : i32
    }"""
    first = hpacml.compile(module, "first")
    a = np.arange(20, dtype=np.int32).reshape(10, 2).T[:, ::3]
    assert first(a, 2, True) == a[0, 2]
    assert type(first(a, 2, False)) is np.int32
    with pytest.raises(hpacml.MapError, match=r"dimension 0 of argument 'a' of first\(\) is 4"):
        first(np.zeros((4, 4), np.int32), 0, True)
    with pytest.raises(hpacml.MapError, match="argument 'i' takes int"):
        first(a, 1.5, True)


RESULTS = """
func.func @results(%a: memref<?xf32>, %n: index) -> (memref<?xf32>, memref<?xf32, strided<[1], offset: ?>>, index) {
  %new = memref.alloc(%n) : memref<?xf32>
  %value = arith.constant 7.0 : f32
  linalg.fill ins(%value : f32) outs(%new : memref<?xf32>)
  %part = memref.subview %a[1] [2] [1] : memref<?xf32> to memref<2xf32, strided<[1], offset: 1>>
  %cast = "memref.cast"(%part)
    : (memref<2xf32, strided<[1], offset: 1>>) -> memref<?xf32, strided<[1], offset: ?>>
  func.return %new, %cast, %n : memref<?xf32>, memref<?xf32, strided<[1], offset: ?>>, index
}
"""


def test_results_are_arrays_of_new_memory_or_of_arguments() -> None:
    results = hpacml.compile(RESULTS, "results")
    a = np.arange(4, dtype=np.float32)
    new, part, n = results(a, 3)
    assert (new.tolist(), part.tolist(), n) == ([7.0, 7.0, 7.0], [1.0, 2.0], 3)
    part[0] = 9
    assert a[1] == 9
    del a
    assert part.tolist() == [9.0, 2.0]


def test_memory_that_may_be_anything_is_refused() -> None:
    module = """
    "memref.global"() {sym_name = "kept", sym_visibility = "private", type = memref<4xf64>,
      initial_value = dense<1.0> : tensor<4xf64>} : () -> ()
    func.func @table() -> memref<4xf64> {
      %a = memref.get_global @kept : memref<4xf64>
      func.return %a : memref<4xf64>
    }"""
    with pytest.raises(hpacml.CompileError, match=r"table\(\): the result is memory of which nothing says"):
        hpacml.compile(module, "table")


def test_linalg_and_affine() -> None:
    module = """
    #id = affine_map<(i, j) -> (i, j)>
    func.func @both(%a: memref<?x?xf64>, %b: memref<?x?xf64>) {
      linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]}
        ins(%a : memref<?x?xf64>) outs(%b : memref<?x?xf64>) {
      ^bb0(%x: f64, %y: f64):
        %z = arith.addf %x, %y : f64
        linalg.yield %z : f64
      }
      affine.for %i = 0 to 2 {
        %v = affine.load %b[%i, %i] : memref<?x?xf64>
        %w = arith.mulf %v, %v : f64
        affine.store %w, %b[%i, %i] : memref<?x?xf64>
      }
      func.return
    }"""
    both = hpacml.compile(module, "both")
    a, b = np.full((2, 3), 2.0), np.ones((2, 3))
    a.flags.writeable = False
    assert both(a, b) is None
    np.testing.assert_array_equal(b, [[9, 3, 3], [3, 9, 3]])


STENCIL = """
hpacml.functor @sides : [i, 0:2] = ([i - 1], [i + 1])
hpacml.functor @point : [i, 0:1] = ([i])
func.func @smooth(%t: memref<?xf64>, %new: memref<?xf64>, %n: index, %use: i1) {
  %one = arith.constant 1 : index
  %half = arith.constant 0.5 : f64
  %end = arith.subi %n, %one : index
  %in = hpacml.map to @sides(%t[1 : %end]) : memref<?xf64> -> !hpacml.mapping<?x2xf64>
  %out = hpacml.map from @point(%new[1 : %end]) : memref<?xf64> -> !hpacml.mapping<?x1xf64>
  hpacml.ml predicated(%use) in(%in : !hpacml.mapping<?x2xf64>) out(%out : !hpacml.mapping<?x1xf64>)
    label "smooth" model "net.safetensors" database "smooth.h5" {
    scf.for %i = %one to %end step %one {
      %left = arith.subi %i, %one : index
      %right = arith.addi %i, %one : index
      %a = memref.load %t[%left] : memref<?xf64>
      %b = memref.load %t[%right] : memref<?xf64>
      %sum = arith.addf %a, %b : f64
      %mean = arith.mulf %sum, %half : f64
      memref.store %mean, %new[%i] : memref<?xf64>
    }
  }
  func.return
}
"""


def parsed(text):
    return Parser(make_context(), text).parse_module()


def test_a_region_collects_and_infers(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = parsed(STENCIL)
    before = str(module)
    smooth = hpacml.compile(module, "smooth")
    t, new = np.random.default_rng(0).random(10), np.zeros(10)
    with pytest.raises(hpacml.ModelError, match=r"net\.safetensors"):
        smooth(t, new, 10, True)
    smooth(t, new, 10, False)
    np.testing.assert_array_equal(new[1:-1], 0.5 * (t[:-2] + t[2:]))
    hpacml.flush()
    with hpacml.open_database("smooth.h5") as database:
        assert len(database["smooth"]) == 1
    net = torch.nn.Sequential(torch.nn.Linear(2, 1)).double()
    hpacml.save_model(net, "net.safetensors", example=torch.zeros(3, 2, dtype=torch.float64))
    smooth(t, new, 10, True)
    expected = net(torch.tensor(np.stack([t[:-2], t[2:]], 1))).detach().numpy()[:, 0]
    np.testing.assert_allclose(new[1:-1], expected, rtol=1e-12)
    with pytest.raises(hpacml.MapError, match=r"'t'|t\["):
        smooth(t, new, 20, False)
    assert str(module) == before


@pytest.mark.parametrize("stage", [*STAGES])
def test_modules_at_each_stage(stage, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    smooth = hpacml.compile(run_passes(parsed(STENCIL), stage), "smooth")
    t, new = np.random.default_rng(0).random(10), np.zeros(10)
    smooth(t, new, 10, False)
    np.testing.assert_array_equal(new[1:-1], 0.5 * (t[:-2] + t[2:]))


@pytest.mark.parametrize(
    ("module", "name", "message"),
    [
        (ADD, "sub", "the module has no function 'sub': there are add"),
        ("func.func private @add(f64)", "add", "'add' is declared in the module, and has no body"),
        ("func.func @f(%a: memref<4xf64, strided<[2]>>) { func.return }", "f", "fixed strides"),
        ("func.func @f(%a: vector<4xf64>) { func.return }", "f", "argument 'a' has the type vector<4xf64>"),
        ("func.func @f(%a: memref<4xbf16>) { func.return }", "f", "argument 'a' has elements of bf16"),
        ("func.func @f(%a: f64) -> f32 { func.return %a : f64 }", "f", "Expected arguments to have the same types"),
        ("func.func @f(", "f", "<module>"),
    ],
)
def test_modules_that_cannot_be_compiled(module, name, message) -> None:
    with pytest.raises(hpacml.CompileError, match=re.escape(message)):
        hpacml.compile(module, name)


SWAPS = """
func.func @powers(%a: memref<4xf64>, %b: memref<4xf64>, %n: index) -> memref<4xf64> {
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  %four = arith.constant 4 : index
  %last, %before = scf.for %k = %zero to %n step %one iter_args(%from = %a, %to = %b)
      -> (memref<4xf64>, memref<4xf64>) {
    "scf.parallel"(%zero, %four, %one) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
    ^bb0(%i: index):
      %x = memref.load %from[%i] : memref<4xf64>
      %y = arith.addf %x, %x : f64
      memref.store %y, %to[%i] : memref<4xf64>
      scf.reduce
    }) : (index, index, index) -> ()
    scf.yield %to, %from : memref<4xf64>, memref<4xf64>
  }
  func.return %last : memref<4xf64>
}"""


def test_loops_that_swap_arrays_return_one_of_them() -> None:
    powers = hpacml.compile(SWAPS, "powers")
    a, b = np.ones(4), np.zeros(4)
    assert powers(a, b, 3) is b
    np.testing.assert_array_equal(b, [8] * 4)
    assert powers(a, b, 2) is a
    assert powers(a, b, 0) is a


def test_ptx() -> None:
    assert hpacml.compile(SWAPS, "powers").ptx("sm_90").count(".entry") == 1


WAYS = {
    "view": '%p = "memref.cast"(%x) : (memref<?xf64>) -> memref<?xf64, strided<[1], offset: ?>>',
    "metadata": """
  %base, %o, %n, %t = memref.extract_strided_metadata %x : memref<?xf64> -> memref<f64>, index, index, index
  %p = memref.reinterpret_cast %base to offset: [0], sizes: [%n], strides: [1] : memref<f64> to memref<?xf64>""",
    "condition": "%p = scf.if %c -> (memref<?xf64>) { scf.yield %x : memref<?xf64> } else { scf.yield %y : memref<?xf64> }",
    "select": "%p = arith.select %c, %x, %y : memref<?xf64>",
    "loop": "%p = scf.for %k = %i to %one step %one iter_args(%q = %x) -> (memref<?xf64>) { scf.yield %q : memref<?xf64> }",
    "region": "%p = scf.execute_region -> (memref<?xf64>) { scf.yield %x : memref<?xf64> }",
    "branch": "cf.cond_br %c, ^to(%x : memref<?xf64>), ^to(%y : memref<?xf64>)\n^to(%p: memref<?xf64>):",
}


@pytest.mark.parametrize("way", WAYS)
def test_what_is_written_by_another_name_is_written(way: str) -> None:
    type = "memref<?xf64, strided<[1], offset: ?>>" if way == "view" else "memref<?xf64>"
    write = hpacml.compile(
        f"""
func.func @write(%x: memref<?xf64>, %y: memref<?xf64>, %c: i1) {{
  %i = arith.constant 0 : index
  %one = arith.constant 1 : index
  %v = arith.constant 7.0 : f64
  {WAYS[way]}
  memref.store %v, %p[%i] : {type}
  func.return
}}""",
        "write",
    )
    x, y = np.zeros(3), np.zeros(3)
    write(x, y, True)
    assert (x[0], y[0]) == (7, 0)
    x = np.zeros(3)
    x.flags.writeable = False
    with pytest.raises(hpacml.MapError, match="argument 'x' is written, but its memory is read-only"):
        write(x, y, True)
    assert x[0] == 0


def test_what_is_only_read_may_be_read_only() -> None:
    read = hpacml.compile(
        """
func.func @read(%x: memref<?xf64>, %y: memref<?xf64>, %c: i1) {
  %p = scf.if %c -> (memref<?xf64>) { scf.yield %x : memref<?xf64> } else { scf.yield %y : memref<?xf64> }
  affine.for %i = 0 to 2 {
    %a = affine.load %x[%i] : memref<?xf64>
    %b = affine.load %p[%i] : memref<?xf64>
    %ab = arith.addf %a, %b : f64
    affine.store %ab, %y[%i] : memref<?xf64>
  }
  func.return
}""",
        "read",
    )
    x, y = np.arange(2.0), np.zeros(2)
    x.flags.writeable = False
    read(x, y, True)
    np.testing.assert_array_equal(y, [0, 2])


WRONG = {
    "dialect": ('"test.op"() : () -> () loc("x.dsl":3:2)', "x.dsl:3:2: nothing here lowers test.op: run the passes"),
    "indices": (
        "%z = arith.constant 0 : index %v = memref.load %x[%z, %z] : memref<?xf64>",
        "the module is wrong: expected an index for each dimension",
    ),
    "argument": (
        """%in = hpacml.map to @f(%x[0 : 2]) : memref<?xf64> -> !hpacml.mapping<2xf64>
        %out = hpacml.map from @f(%x[0 : 2]) : memref<?xf64> -> !hpacml.mapping<2xf64>
        hpacml.ml infer in(%in : !hpacml.mapping<2xf64>) out(%out : !hpacml.mapping<2xf64>) label "r" model @net {
          %k = arith.constant 0 : index
        }""",
        "the call has no argument 'net', which is to name the model",
    ),
}


@pytest.mark.parametrize(("code", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_told(code: str, message: str) -> None:
    text = f"hpacml.functor @f : [i] = ([i])\nfunc.func @wrong(%x: memref<?xf64>) {{ {code} func.return }}"
    with pytest.raises(hpacml.HpacmlError, match=re.escape(message)):
        hpacml.compile(text, "wrong")(np.zeros(2))


def test_functions_that_nothing_defines_are_told_until_a_library_has_them(tmp_path: Path) -> None:
    text = """
    func.func private @twice_by_another(f64) -> f64
    func.func @k(%x: f64) -> f64 {
      %y = func.call @twice_by_another(%x) : (f64) -> f64 loc("x.dsl":4:2)
      func.return %y : f64
    }"""
    k = hpacml.compile(text, "k")
    with pytest.raises(hpacml.CompileError, match=r"^x\.dsl:4:2: nothing defines the function 'twice_by_another'"):
        k(1.0)
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    (tmp_path / "twice.c").write_text("double twice_by_another(double x) { return 2 * x; }")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", "twice.so", "twice.c"], cwd=tmp_path, check=True)
    ctypes.CDLL(str(tmp_path / "twice.so"), mode=ctypes.RTLD_GLOBAL)
    assert k(1.5) == 3


def test_only_modules_are_compiled() -> None:
    with pytest.raises(hpacml.CompileError, match="and this is of type int"):
        hpacml.compile(42, "f")
