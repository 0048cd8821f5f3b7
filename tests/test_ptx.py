"""The interpreter of PTX: instructions against exact arithmetic, faults that it must see, and kernels of hpacml."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.array_utils import byte_bounds

import hpacml
from hpacml.backend.assembly import ptx
from tests.ptx import Memory, Program, PtxError, RaceError, Traffic
from tests.ptx.arithmetic import numpy_type, operation
from tests.ptx.text import SIZES
from tests.test_gpu import MODULES, STENCIL, triangle

Array = np.ndarray[Any, Any]
Triple = tuple[int, int, int]


def launch(
    program: Program,
    *arguments: Array | int,
    grid: Triple = (1, 1, 1),
    block: Triple = (32, 1, 1),
    kernel: str = "k",
    **options: Any,
) -> Traffic:
    """Launch a kernel on arrays, which it may touch, and numbers."""
    memory, numbers = Memory(), []
    for argument in arguments:
        if isinstance(argument, int):
            numbers.append(argument)
            continue
        numbers.append(argument.ctypes.data)
        first, end = byte_bounds(argument)
        if argument.size and first not in memory.ends:
            memory.add(first, end - first)
    values = (ctypes.c_int64 * len(numbers))(*numbers)
    pointers = (ctypes.c_void_p * len(numbers))(*(ctypes.addressof(values) + 8 * k for k in range(len(numbers))))
    return program.kernels[kernel].launch(memory, grid, block, ctypes.addressof(pointers), **options)


def assembled(body: str, parameters: int = 1, before: str = "") -> Program:
    """A kernel `k` of parameters p0, p1 and so on; %d0, %d1 and so on hold their values, %r0 the number of a thread.

    And %d9 is 4 times that number, all threads of the grid numbered.
    """
    listed = ", ".join(f".param .u64 p{k}" for k in range(parameters))
    loads = "".join(f"ld.param.u64 %d{k}, [p{k}];" for k in range(parameters))
    return Program(f"""
        .version 7.8
        .target sm_90
        .address_size 64
        {before}
        .visible .entry k({listed})
        {{
            .reg .pred %p<9>; .reg .b16 %h<30>; .reg .b32 %r<30>; .reg .b64 %d<30>; .reg .f32 %f<9>;
            {loads}
            mov.u32 %r0, %tid.x; mov.u32 %r28, %ctaid.x; mov.u32 %r29, %ntid.x;
            mad.lo.s32 %r29, %r28, %r29, %r0; mul.wide.u32 %d9, %r29, 4;
            {body}
        }}""")


# -- arithmetic --------------------------------------------------------------------------------------


def compute(opcode: str, *sources: Sequence[Any] | Array) -> Array:
    """What an instruction makes of each row of its sources; predicates are bytes."""
    known = operation(opcode)
    assert known is not None
    code, registers = "", {"pred": "%p", 1: "%h", 2: "%h", 4: "%r", 8: "%d"}
    arrays = [
        np.array(s, np.uint8 if k == "pred" else numpy_type(k)) for s, k in zip(sources, known.sources, strict=True)
    ]
    names = []
    for k, kind in enumerate(known.sources):
        size = 1 if kind == "pred" else SIZES[kind]
        name = f"{registers[size]}{10 + k}"
        code += f"mad.lo.u64 %d20, %d21, {size}, %d{k}; ld.global.b{8 * size} {name}, [%d20];"
        if kind == "pred":
            code += f"setp.ne.b16 %p{k}, {name}, 0;"
            name = f"%p{k}"
        names.append(name)
    size = SIZES[known.result]
    result = f"{registers[size]}20" if known.result != "pred" else "%p8"
    code += (
        f"{opcode} {', '.join([result, *names])};" if result != "%d20" else f"{opcode} {', '.join(['%d22', *names])};"
    )
    result = {"%p8": "%h20", "%d20": "%d22"}.get(result, result)
    if known.result == "pred":
        code += "selp.b16 %h20, 1, 0, %p8;"
    code += f"mad.lo.u64 %d20, %d21, {size}, %d{len(names)}; st.global.b{8 * size} [%d20], {result};"
    out = np.zeros(len(arrays[0]), np.bool_ if known.result == "pred" else numpy_type(known.result))
    program = assembled(f"cvt.u64.u32 %d21, %r29; {code} ret;", len(arrays) + 1)
    launch(program, *arrays, out, grid=(len(out), 1, 1), block=(1, 1, 1))
    return out


def integers(kind: str) -> list[int]:
    limits = np.iinfo(numpy_type(kind))
    near = [0, 1, 2, 3, 7, 100, limits.max // 3, limits.max // 2 + 1, limits.max - 1, limits.max, limits.min]
    return [*near, *(-n for n in near[1:6] if kind[0] == "s")]


def wrapped(value: int, kind: str) -> int:
    bits = 8 * SIZES[kind]
    value %= 1 << bits
    return value - (1 << bits) if kind[0] == "s" and value >> (bits - 1) else value


def toward_zero(x: int, y: int) -> int:
    return abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)


INTEGERS: dict[str, Callable[[int, int, int], int]] = {
    "add": lambda x, y, bits: x + y,
    "sub": lambda x, y, bits: x - y,
    "mul.lo": lambda x, y, bits: x * y,
    "mul.hi": lambda x, y, bits: x * y >> bits,
    "div": lambda x, y, bits: toward_zero(x, y) if y else -1,
    "rem": lambda x, y, bits: x - y * toward_zero(x, y) if y else x,
    "min": lambda x, y, bits: min(x, y),
    "max": lambda x, y, bits: max(x, y),
}


@pytest.mark.parametrize("kind", ["u16", "s16", "u32", "s32", "u64", "s64"])
def test_integers(kind: str) -> None:
    pairs, bits = list(product(integers(kind), repeat=2)), 8 * SIZES[kind]
    x, y = zip(*pairs, strict=True)
    for name, expected in INTEGERS.items():
        found = compute(f"{name}.{kind}", x, y).tolist()
        assert found == [wrapped(expected(a, b, bits), kind) for a, b in pairs], name
    z = [3] * len(x)
    found = compute(f"mad.lo.{kind}", x, y, z).tolist()
    assert found == [wrapped(a * b + 3, kind) for a, b in pairs]
    if bits < 64:
        wide = f"{kind[0]}{2 * bits}"
        assert compute(f"mul.wide.{kind}", x, y).tolist() == [a * b for a, b in pairs]
        assert compute(f"mad.wide.{kind}", x, y, z).tolist() == [wrapped(a * b + 3, wide) for a, b in pairs]
    for by in (0, 1, 5, bits - 1, bits, bits + 3, 1 << 31):
        amounts = [by] * len(x)
        assert compute(f"shr.{kind}", x, amounts).tolist() == [a >> min(by, 100) for a in x]
        left = compute(f"shl.b{bits}", np.array(x, numpy_type(kind)).view(f"u{bits // 8}"), amounts).tolist()
        assert left == [wrapped(a << min(by, 100), f"b{bits}") for a in x]


@pytest.mark.parametrize("bits", [16, 32, 64])
def test_logic(bits: int) -> None:
    kind = f"b{bits}"
    x, y = zip(*product(integers(f"u{bits}"), repeat=2), strict=True)
    assert compute(f"and.{kind}", x, y).tolist() == [a & b for a, b in zip(x, y, strict=True)]
    assert compute(f"or.{kind}", x, y).tolist() == [a | b for a, b in zip(x, y, strict=True)]
    assert compute(f"xor.{kind}", x, y).tolist() == [a ^ b for a, b in zip(x, y, strict=True)]
    assert compute(f"not.{kind}", x).tolist() == [~a % (1 << bits) for a in x]
    assert compute(f"selp.{kind}", x, y, [k % 2 for k in range(len(x))]).tolist() == [
        a if k % 2 else b for k, (a, b) in enumerate(zip(x, y, strict=True))
    ]
    assert compute(f"neg.s{bits}", [5, -7]).tolist() == [-5, 7]
    assert compute(f"abs.s{bits}", [5, -7]).tolist() == [5, 7]
    if bits > 16:
        assert compute(f"popc.{kind}", x).tolist() == [a.bit_count() for a in x]
        assert compute(f"clz.{kind}", x).tolist() == [bits - a.bit_length() for a in x]
        assert compute(f"brev.{kind}", x).tolist() == [int(f"{a:0{bits}b}"[::-1], 2) for a in x]


@pytest.mark.parametrize("bits", [32, 64])
def test_fields(bits: int) -> None:
    value = 0x9234_5678_9ABC_DEF1 >> (64 - bits)
    places = list(product([0, 1, 7, bits // 2, bits - 1, bits, 200, 255], repeat=2))
    start, length = zip(*places, strict=True)
    values = [value] * len(places)

    def field(at: int, size: int, sign: bool) -> int:
        """Bit by bit: what is beyond the top is 0, or the sign."""
        top = value >> min(at + size - 1, bits - 1) & 1 if sign and size else 0
        return sum((value >> (at + k) & 1 if k < size and at + k < bits else top) << k for k in range(bits))

    assert compute(f"bfe.u{bits}", values, start, length).tolist() == [field(a, n, False) for a, n in places]
    signed = compute(f"bfe.s{bits}", np.array(values, f"u{bits // 8}").view(f"i{bits // 8}"), start, length)
    assert signed.tolist() == [wrapped(field(a, n, True), f"s{bits}") for a, n in places]

    def inserted(at: int, size: int) -> int:
        mask = ((1 << size) - 1 << at) % (1 << bits)
        return (5 << at) & mask | value & ~mask

    assert compute(f"bfi.b{bits}", [5] * len(places), values, start, length).tolist() == [inserted(*p) for p in places]


def test_permutations_and_funnels() -> None:
    x, y = 0x8899AABB, 0x01F2F3F4
    found = compute("prmt.b32", [x] * 5, [y] * 5, [0x3340, 0x7701, 0x0123, 0x5410, 0xB8F4]).tolist()
    assert found == [0x8888F4BB, 0x0101BBAA, 0xBBAA9988, 0xF3F4AABB, 0xFFFF00F4]
    by = [0, 3, 31, 32, 40]
    both = y << 32 | x
    assert compute("shf.l.wrap.b32", [x] * 5, [y] * 5, by).tolist() == [(both << b % 32) >> 32 & 0xFFFFFFFF for b in by]
    assert compute("shf.r.clamp.b32", [x] * 5, [y] * 5, by).tolist() == [both >> min(b, 32) & 0xFFFFFFFF for b in by]


def test_longer_integers() -> None:
    """Carries and borrows, through inline assembly's names of its own."""
    program = assembled(
        """
        ld.global.v2.u64 {%d10, %d11}, [%d0]; ld.global.v2.u64 {%d12, %d13}, [%d1];
        {
            .reg .u32 a, b, carry;
            .reg .u64 low, high;
            add.cc.u64 low, %d10, %d12;
            addc.u64 high, %d11, %d13;
            st.global.v2.u64 [%d2], {low, high};
            sub.cc.u64 low, %d10, %d12;
            subc.u64 high, %d11, %d13;
            st.global.v2.u64 [%d2+16], {low, high};
            mov.b64 {a, _}, %d10; mov.b64 {b, _}, %d12;
            mad.lo.cc.u32 carry, a, b, 0xffffffff;
            madc.hi.u32 a, a, b, 0;
            st.global.v2.u32 [%d2+32], {carry, a};
        }
        exit;""",
        3,
    )
    for x, y in product([0, 1, (1 << 64) - 1, 1 << 64, (1 << 128) - 1, 0x1234 << 60], repeat=2):
        sources = [aligned(np.array([n % (1 << 64), n >> 64], np.uint64)) for n in (x, y)]
        out = aligned(np.zeros(5, np.uint64))
        launch(program, *sources, out, block=(1, 1, 1))
        found = [int.from_bytes(out[k : k + 2].tobytes(), "little") for k in (0, 2)]
        assert found == [(x + y) % (1 << 128), (x - y) % (1 << 128)]
        assert out[4] == (x & 0xFFFFFFFF) * (y & 0xFFFFFFFF) + 0xFFFFFFFF


def nearest(exact: Fraction, dtype: Any, mode: str = "rn") -> Any:
    """A fraction rounded to a format of NumPy."""
    about = dtype(float(exact))
    near = [float(v) for v in (np.nextafter(about, dtype(-np.inf)), about, np.nextafter(about, dtype(np.inf)))]
    below = max(v for v in near if Fraction(v) <= exact)
    above = min(v for v in near if Fraction(v) >= exact)
    match mode:
        case "rm":
            return below
        case "rp":
            return above
        case "rz":
            return below if exact > 0 else above
    low, high = exact - Fraction(below), Fraction(above) - exact
    if low != high:
        return below if low < high else above
    bits = dtype(below).view(f"u{np.dtype(dtype).itemsize}")
    return above if bits & 1 else below


def floats(kind: str, seed: int, count: int = 150) -> Array:
    """Numbers of many sizes, some of which share their leading bits."""
    random = np.random.default_rng(seed)
    powers = {"f16": 4, "f32": 40, "f64": 300}[kind]
    values = random.uniform(1, 2, count) * 2.0 ** random.integers(-powers, powers, count)
    values[::3] = 1 + random.integers(-9, 9, len(values[::3])) * 2.0**-9
    return (values * random.choice([-1, 1], count)).astype(numpy_type(kind))


@pytest.mark.parametrize("kind", ["f16", "f32", "f64"])
def test_rounding(kind: str) -> None:
    dtype = numpy_type(kind)
    x, y, z = floats(kind, 1), floats(kind, 2), floats(kind, 3)
    z[::2] = (-x * y)[::2] * dtype(1 + 2.0**-8)
    ok = np.isfinite(z)
    x, y, z = x[ok], y[ok], z[ok]
    exact = [[Fraction(float(v)) for v in values] for values in (x, y, z)]
    modes = ("rn", "rz", "rm", "rp") if kind == "f32" else ("rn",)
    for mode in modes:
        expected = [nearest(a + b, dtype, mode) for a, b, _ in zip(*exact, strict=True)]
        np.testing.assert_array_equal(compute(f"add.{mode}.{kind}", x, y), expected)
        expected = [nearest(a * b + c, dtype, mode) for a, b, c in zip(*exact, strict=True)]
        np.testing.assert_array_equal(compute(f"fma.{mode}.{kind}", x, y, z), expected)
        expected = [nearest(a * b, dtype, mode) for a, b, _ in zip(*exact, strict=True)]
        np.testing.assert_array_equal(compute(f"mul.{mode}.{kind}", x, y), expected)
    if kind != "f16":
        expected = [nearest(a / b, dtype) for a, b, _ in zip(*exact, strict=True)]
        np.testing.assert_array_equal(compute(f"div.rn.{kind}", x, y), expected)
    else:
        pairs = x.view(np.uint32) if len(x) % 2 == 0 else x[:-1].view(np.uint32)
        np.testing.assert_array_equal(compute("add.rn.f16x2", pairs, pairs).view(np.float16), (x + x)[: 2 * len(pairs)])


def test_fused_doubles_far_from_one() -> None:
    """Near overflow and underflow, with zeros, infinities and NaN: as the C library has it."""
    fma = ctypes.CDLL("libm.so.6").fma
    fma.argtypes, fma.restype = [ctypes.c_double] * 3, ctypes.c_double
    values = [0.0, -0.0, 1.0, -1.5, 5e-324, 2.0**-1022, 2.0**-600, 1e300, -1.7e308, math.inf, -math.inf, math.nan]
    triples = list(product(values, repeat=3))
    found = compute("fma.rn.f64", *zip(*triples, strict=True))
    expected = np.array([fma(*triple) for triple in triples])
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(np.signbit(found[found == 0]), np.signbit(expected[expected == 0]))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(*[st.floats(width=64)] * 3), min_size=1, max_size=64))
def test_fused_doubles(triples: list[tuple[float, float, float]]) -> None:
    fma = ctypes.CDLL("libm.so.6").fma
    fma.argtypes, fma.restype = [ctypes.c_double] * 3, ctypes.c_double
    np.testing.assert_array_equal(
        compute("fma.rn.f64", *zip(*triples, strict=True)), [fma(*triple) for triple in triples]
    )


def test_signs_zeros_and_nan() -> None:
    nan, inf = math.nan, math.inf
    x, y = zip(*product([0.0, -0.0, 1.0, -2.0, inf, nan], repeat=2), strict=True)
    for kind in ("f32", "f64"):
        smaller, larger = compute(f"min.{kind}", x, y), compute(f"max.{kind}", x, y)
        np.testing.assert_array_equal(smaller, np.fmin(x, y))
        np.testing.assert_array_equal(larger, np.fmax(x, y))
        assert np.signbit(smaller[:2]).tolist() == [False, True]
        assert np.signbit(smaller[6:8]).tolist() == [True, True]
        assert np.signbit(larger[:2]).tolist() == [False, False]
        assert np.signbit(larger[6:8]).tolist() == [False, True]
        np.testing.assert_array_equal(compute(f"copysign.{kind}", x, y), np.copysign(y, x).astype(numpy_type(kind)))
        assert compute(f"testp.subnormal.{kind}", [5e-324, 1.0]).tolist() == [kind == "f64", False]
        assert compute(f"testp.notanumber.{kind}", [nan, inf]).tolist() == [True, False]
    assert np.isnan(compute("max.NaN.f32", [1.0], [nan])).all()
    assert compute("add.sat.f32", [0.5, 0.75, -3.0, nan], [0.25, 0.5, 1.0, 1.0]).tolist() == [0.75, 1.0, 0.0, 0.0]
    assert compute("mul.rn.ftz.f32", [1e-30, 1e-40], [1e-10, 1e10]).tolist() == [0.0, 0.0]
    assert compute("rcp.approx.ftz.f64", [3.0]).view(np.uint64)[0] & 0xFFFFFFFF == 0


COMPARISONS = {
    "eq": "a == b",
    "ne": "ordered and a != b",
    "lt": "a < b",
    "le": "a <= b",
    "gt": "a > b",
    "ge": "a >= b",
    "equ": "not ordered or a == b",
    "neu": "a != b",
    "ltu": "not a >= b",
    "leu": "not a > b",
    "gtu": "not a <= b",
    "geu": "not a < b",
    "num": "ordered",
    "nan": "not ordered",
}


@pytest.mark.parametrize("kind", ["f16", "f32", "f64"])
def test_comparisons(kind: str) -> None:
    values = [0.0, -0.0, 1.0, -1.0, math.inf, math.nan]
    pairs = list(product(values, repeat=2))
    for name, meaning in COMPARISONS.items():
        ordered = [not (math.isnan(a) or math.isnan(b)) for a, b in pairs]
        expected = [eval(meaning, {"a": a, "b": b, "ordered": o}) for (a, b), o in zip(pairs, ordered, strict=True)]
        assert compute(f"setp.{name}.{kind}", *zip(*pairs, strict=True)).tolist() == expected, name
    flags = [k % 2 for k in range(len(pairs))]
    found = compute(f"setp.lt.or.{kind}", *zip(*pairs, strict=True), flags).tolist()
    assert found == [a < b or bool(flag) for (a, b), flag in zip(pairs, flags, strict=True)]


def test_two_results_and_predicates_that_are_negated() -> None:
    program = assembled("""
        setp.lt.s32 %p0|%p1, %r0, 10;
        setp.gt.and.u32 %p2, %r0, 5, !%p1;
        selp.b32 %r1, 1, 0, %p2;
        @!%p0 mov.b32 %r1, 7;
        add.s64 %d1, %d0, %d9;
        st.global.b32 [%d1], %r1;
        ret;""")
    out = np.zeros(32, np.int32)
    launch(program, out)
    assert out.tolist() == [0] * 6 + [1] * 4 + [7] * 22


def test_conversions_to_integers() -> None:
    values = [2.5, -2.5, 3.5, 2.3, -2.7, 1e30, -1e30, math.inf, -math.inf]
    whole = {"rni": [2, -2, 4, 2, -3], "rzi": [2, -2, 3, 2, -2], "rmi": [2, -3, 3, 2, -3], "rpi": [3, -2, 4, 3, -2]}
    for mode, kind, source in product(whole, ("s32", "u32", "s64", "u64", "s16", "u16"), ("f32", "f64")):
        limits = np.iinfo(numpy_type(kind))
        expected = [max(limits.min, n) for n in whole[mode]] + [limits.max, limits.min] * 2
        assert compute(f"cvt.{mode}.{kind}.{source}", values).tolist() == expected
    nan = {("s32", "f32"): 0, ("u32", "f64"): 1 << 31, ("s64", "f32"): -(1 << 63), ("u64", "f64"): 1 << 63}
    for (kind, source), expected in nan.items():
        assert compute(f"cvt.rzi.{kind}.{source}", [math.nan]).tolist() == [expected]
    assert compute("cvt.sat.u8.s32", [-5, 7, 300]).tolist() == [0, 7, 255]
    assert compute("cvt.s64.s32", [-5]).tolist() == [-5]
    assert compute("cvt.u16.u64", [0x12345678]).tolist() == [0x5678]


@pytest.mark.parametrize("mode", ["rn", "rz", "rm", "rp"])
def test_conversions_to_floats(mode: str) -> None:
    doubles = np.sign(floats("f64", 5)) * abs(floats("f64", 5)) ** 0.03
    doubles = np.concatenate([doubles[np.isfinite(doubles)], [1 + 2.0**-24, 1 + 2.0**-24 + 2.0**-50, 1e-42]])
    for kind, dtype in (("f32", np.float32), ("f16", np.float16)):
        expected = [nearest(Fraction(v), dtype, mode) for v in doubles.tolist()]
        np.testing.assert_array_equal(compute(f"cvt.{mode}.{kind}.f64", doubles), expected)
    for kind in ("s64", "u64", "s32", "s16"):
        numbers = integers(kind)
        expected = [nearest(Fraction(n), np.float32, mode) for n in numbers]
        np.testing.assert_array_equal(compute(f"cvt.{mode}.f32.{kind}", numbers), expected)
        if kind in ("s64", "u64"):
            expected = [nearest(Fraction(n), np.float64, mode) for n in numbers]
            np.testing.assert_array_equal(compute(f"cvt.{mode}.f64.{kind}", numbers), expected)


@pytest.mark.parametrize("kind", ["f16", "bf16"])
def test_conversion_of_pairs(kind: str) -> None:
    """The first number goes to the upper half, as the manual of PTX has it for `cvt`."""
    upper, lower = np.random.default_rng(1).standard_normal((2, 500)).astype(np.float32)
    found = compute(f"cvt.rn.{kind}x2.f32", upper, lower)
    single = [compute(f"cvt.rn.{kind}.f32", values).view(np.uint16).astype(np.uint32) for values in (upper, lower)]
    np.testing.assert_array_equal(found, single[0] << np.uint32(16) | single[1])


def test_bf16() -> None:
    bits = np.random.default_rng(0).integers(0, 1 << 32, 2000, np.uint32)
    values = bits.view(np.float32)
    expected = torch.from_numpy(values).to(torch.bfloat16)
    found = torch.from_numpy(compute("cvt.rn.bf16.f32", values).view(np.int16)).view(torch.bfloat16)
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    x, y = expected[:1000], expected[1000:].abs()
    as_bits = [t.view(torch.int16).numpy().view(np.uint16) for t in (x, y)]
    for name, result in {"add.rn": x + y, "mul.rn": x * y, "max": torch.fmax(x.float(), y.float()).bfloat16()}.items():
        found = torch.from_numpy(compute(f"{name}.bf16", *as_bits).view(np.int16)).view(torch.bfloat16)
        torch.testing.assert_close(found, result, rtol=0, atol=0, equal_nan=True)
    assert compute("cvt.f32.bf16", [0x3FC0]).tolist() == [1.5]
    assert compute("cvt.rn.bf16.f64", [1 + 2.0**-8 + 2.0**-40]).tolist() == [0x3F81]


def test_approximations() -> None:
    x = floats("f32", 7) % np.float32(50) + np.float32(0.5)
    for name, exact in {"ex2": np.exp2, "sin": np.sin, "cos": np.cos, "rcp": np.reciprocal}.items():
        np.testing.assert_allclose(compute(f"{name}.approx.f32", x), exact(x.astype(np.float64)), rtol=1e-6)
    np.testing.assert_allclose(compute("lg2.approx.ftz.f32", abs(x)), np.log2(abs(x)), rtol=1e-6)
    np.testing.assert_array_equal(compute("sqrt.rn.f64", [2.0, 4.0]), np.sqrt([2.0, 4.0]))


# -- threads -----------------------------------------------------------------------------------------


def aligned(values: Array) -> Array:
    """A copy at a multiple of 64 bytes."""
    memory = np.zeros(values.nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    result = memory[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    result[:] = values
    return result


COLLATZ = """
    mov.b32 %r2, 0;
    add.s32 %r1, %r29, 1;
    bra.uni HEAD;
DONE:
    add.s64 %d1, %d0, %d9;
    st.global.b32 [%d1], %r2;
    ret;
ODD:
    mad.lo.s32 %r1, %r1, 3, 1;
    bra.uni HEAD;
HEAD:
    setp.eq.s32 %p0, %r1, 1;
    @%p0 bra DONE;
    add.s32 %r2, %r2, 1;
    and.b32 %r3, %r1, 1;
    setp.ne.s32 %p1, %r3, 0;
    @%p1 bra ODD;
    shr.s32 %r1, %r1, 1;
    bra.uni HEAD;
"""


def steps_of(n: int) -> int:
    count = 0
    while n != 1:
        n, count = 3 * n + 1 if n % 2 else n // 2, count + 1
    return count


def test_threads_part_and_meet() -> None:
    out = np.zeros(300, np.int32)
    traffic = launch(assembled(COLLATZ), out, grid=(3, 1, 1), block=(100, 1, 1))
    assert out.tolist() == [steps_of(n) for n in range(1, 301)]
    assert traffic.instructions["st.global.b32"] == 300


def test_numbers_of_threads() -> None:
    program = assembled("""
        mov.u32 %r1, %tid.x; mov.u32 %r2, %tid.y; mov.u32 %r3, %tid.z; mov.u32 %r4, %ctaid.x; mov.u32 %r5, %ctaid.y;
        mov.u32 %r6, %ntid.x; mov.u32 %r7, %ntid.y; mov.u32 %r8, %nctaid.x; mov.u32 %r9, %laneid; mov.u32 %r10, %ntid.z;
        mad.lo.u32 %r11, %r5, %r8, %r4; mad.lo.u32 %r11, %r11, %r10, %r3; mad.lo.u32 %r11, %r11, %r7, %r2;
        mad.lo.u32 %r11, %r11, %r6, %r1;
        mul.wide.u32 %d1, %r11, 4; add.s64 %d1, %d1, %d0; st.global.b32 [%d1], %r9; ret;""")
    out = np.full(2 * 3 * 40, -1, np.int32)
    launch(program, out, grid=(2, 3, 1), block=(5, 4, 2))
    assert out.tolist() == [k % 40 % 32 for k in range(len(out))]


def test_many_batches() -> None:
    out = np.zeros(100 * 1024, np.int32)
    program = assembled("add.s64 %d1, %d0, %d9; st.global.b32 [%d1], %r29; exit;")
    launch(program, out, grid=(100, 1, 1), block=(1024, 1, 1))
    np.testing.assert_array_equal(out, np.arange(len(out)))


REVERSE = """
    .shared .align 4 .b8 tile[256];
    mov.b32 %r1, tile; shl.b32 %r2, %r0, 2; add.s32 %r3, %r1, %r2;
    st.shared.b32 [%r3], %r29;
    {barrier}
    sub.s32 %r4, 252, %r2; add.s32 %r4, %r4, %r1; ld.shared.b32 %r5, [%r4];
    add.s64 %d1, %d0, %d9; st.global.b32 [%d1], %r5;
    ret;
"""


def test_barriers_order_shared_memory() -> None:
    out = np.zeros(192, np.int32)
    for barrier in ("bar.sync 0;", "barrier.sync 0;"):
        launch(assembled(REVERSE.replace("{barrier}", barrier)), out, grid=(3, 1, 1), block=(64, 1, 1))
        assert out.reshape(3, 64)[:, ::-1].reshape(-1).tolist() == list(range(192))
    with pytest.raises(RaceError, match=r"k: shared memory at .*thread \(\d+, 0, 0\) of block .* reads it in line 1\d"):
        launch(assembled(REVERSE.replace("{barrier}", "")), out, grid=(3, 1, 1), block=(64, 1, 1))
    launch(assembled(REVERSE.replace("{barrier}", "")), out, block=(64, 1, 1), races=False)


def test_barriers_wait_for_all() -> None:
    early = assembled("setp.gt.u32 %p0, %r0, 40; @%p0 ret; bar.sync 0; ret;", 0)
    with pytest.raises(PtxError, match=r"a barrier that thread \(41, 0, 0\) of block \(0, 0, 0\) does not come to"):
        launch(early, block=(64, 1, 1))
    two = "setp.gt.u32 %p0, %r0, {n}; @%p0 bra B; bar.sync 0; ret;\nB: bar.sync 0; ret;"
    launch(assembled(two.format(n=31), 0), block=(64, 1, 1))
    with pytest.raises(PtxError, match="a warp at two barriers"):
        launch(assembled(two.format(n=40), 0), block=(64, 1, 1))


def test_loops_without_an_end() -> None:
    with pytest.raises(PtxError, match="no end"):
        launch(assembled("X: bra.uni X;", 0), block=(1, 1, 1))


def test_functions_and_local_memory() -> None:
    """A function with two results fills an array of its own through a generic address."""
    function = """
        .func (.param .align 8 .b8 result[16]) f(.param .b64 n);
        .global .align 4 .b8 table[16] = {1, 0, 0, 0, 20, 0, 0, 0, 44, 1, 0, 0, 9};
        .func (.param .align 8 .b8 result[16]) f(.param .b64 n)
        {
            .local .align 4 .b8 depot[16];
            .reg .b32 %r<9>; .reg .b64 %d<9>; .reg .pred %p<2>;
            ld.param.b64 %d1, [n]; and.b64 %d2, %d1, 3; shl.b64 %d2, %d2, 2;
            mov.b64 %d3, depot; cvta.local.u64 %d3, %d3; mov.b32 %r1, 0;
        L:  cvt.u64.u32 %d4, %r1; mov.b64 %d5, table; add.s64 %d5, %d5, %d4; ld.global.nc.b32 %r2, [%d5];
            add.s64 %d4, %d3, %d4; st.b32 [%d4], %r2; add.s32 %r1, %r1, 4; setp.lt.u32 %p1, %r1, 16; @%p1 bra L;
            mov.b64 %d5, depot; add.s64 %d5, %d5, %d2; ld.local.b32 %r3, [%d5];
            st.param.b32 [result+8], %r3; st.param.b64 [result], %d1; ret;
        }"""
    body = """
        cvt.u64.u32 %d10, %r0; setp.gt.u32 %p1, %r0, 7; @%p1 bra END;
        { .param .b64 param0; .param .align 8 .b8 retval0[16];
          st.param.b64 [param0], %d10; call.uni (retval0), f, (param0);
          ld.param.b32 %r1, [retval0+8]; ld.param.b64 %d11, [retval0]; }
        cvt.u32.u64 %r2, %d11; add.s32 %r1, %r1, %r2; add.s64 %d1, %d0, %d9; st.global.b32 [%d1], %r1;
    END: ret;"""
    out = np.zeros(32, np.int32)
    launch(assembled(body, before=function), out)
    assert out.tolist() == [n + (1, 20, 300, 9)[n % 4] for n in range(8)] + [0] * 24


# -- memory ------------------------------------------------------------------------------------------


def test_vectors_and_narrow_accesses() -> None:
    program = assembled(
        """
        shl.b64 %d3, %d9, 2; add.s64 %d4, %d0, %d3; add.s64 %d5, %d1, %d3;
        ld.global.nc.v4.b32 {%r1, %r2, %r3, %r4}, [%d4]; ld.global.v2.b64 {%d10, %d11}, [%d4];
        mov.b64 {%r5, %r6}, %d11; mov.b64 %d12, {%r2, %r1};
        ld.global.s8 %r7, [%d4+15]; cvt.s64.s8 %d13, %r7; ld.global.u16 %h1, [%d4+2];
        st.global.v2.b64 [%d5], {%d12, %d13}; st.global.b16 [%d5+14], %h1; ret;""",
        2,
    )
    data = aligned(np.random.default_rng(1).integers(0, 256, 512).astype(np.uint8))
    out = aligned(np.zeros(512, np.uint8))
    traffic = launch(program, data, out)
    rows, found = data.reshape(32, 16), out.reshape(32, 16)
    np.testing.assert_array_equal(found[:, :8], np.roll(rows[:, :8], 4, axis=1))
    np.testing.assert_array_equal(found[:, 8:14].view(np.int16)[:, 0], rows[:, 15].view(np.int8))
    np.testing.assert_array_equal(found[:, 14:], rows[:, 2:4])
    assert traffic.instructions["ld.global.nc.v4.b32"] == 32


STORE = "add.s64 %d1, %d0, %d9; st.global.b32 [%d1{offset}], %r29; ret;"


@pytest.mark.parametrize(("offset", "thread"), [("+4", 31), ("+-4", 0), ("+4096", 0)])
def test_accesses_out_of_bounds(offset: str, thread: int) -> None:
    """No thread's value is stored, and memory beyond the region least of all."""
    memory = np.zeros(32 * 3, np.int32)
    address = (memory.ctypes.data + 128) // 1 + 4 * thread + int(offset[1:])
    message = (
        rf"k, line \d+: st.global.b32: thread \({thread}, 0, 0\) of block \(0, 0, 0\) at {address:#x}: 4 bytes that"
    )
    with pytest.raises(PtxError, match=message):
        launch(assembled(STORE.format(offset=offset)), memory[32:64])
    assert not memory.any()


def test_an_access_across_two_regions() -> None:
    """Neighbours in memory, each allocated by itself."""
    data = aligned(np.zeros(16, np.int32))
    program = assembled("ld.global.v4.b32 {%r1, %r2, %r3, %r4}, [%d0]; ret;", 3)
    with pytest.raises(PtxError, match="16 bytes that are not in allocated memory"):
        launch(program, data[:2], data[2:8], data[8:], block=(1, 1, 1))
    launch(program, data[:4], data[4:8], data[8:], block=(1, 1, 1))


def test_accesses_of_many_regions_at_once() -> None:
    one, two = np.zeros(16, np.int32), np.zeros(16, np.int32)
    program = assembled(
        """setp.lt.u32 %p0, %r0, 16; selp.b64 %d3, %d0, %d1, %p0; and.b64 %d4, %d9, 63; add.s64 %d3, %d3, %d4;
        st.global.b32 [%d3], %r0; ret;""",
        2,
    )
    launch(program, one, two)
    assert [*one, *two] == list(range(32))


@pytest.mark.parametrize("opcode", ["ld.global.v2.b32 {%r1, %r2}", "ld.shared.b64 %d3", "ld.global.b16 %h1"])
def test_misaligned_accesses(opcode: str) -> None:
    data = aligned(np.zeros(64, np.int32))
    where = "mov.b64 %d1, tile;" if "shared" in opcode else "mov.b64 %d1, %d0;"
    offset = 1 if "b16" in opcode else 4
    with pytest.raises(PtxError, match=r"line \d+: ld.*thread \(0, 0, 0\) .*not aligned to [248] bytes"):
        launch(assembled(f".shared .align 16 .b8 tile[64]; {where} {opcode}, [%d1+{offset}]; ret;"), data)


def test_shared_memory_has_an_end() -> None:
    program = assembled(".shared .align 4 .b8 tile[64]; mov.b64 %d1, tile; ld.shared.b32 %r1, [%d1+64]; ret;", 0)
    assert program.kernels["k"].shared == 64
    with pytest.raises(PtxError, match="outside shared memory"):
        launch(program)


RACES = {
    "the same value": "st.global.b32 [%d0], 1;",
    "part of a wider access": "and.b64 %d1, %d9, 4; add.s64 %d1, %d1, %d0; st.global.b64 [%d0], %d9; ld.global.b32 %r1, [%d1];",
    "a neighbour": "add.s64 %d1, %d0, %d9; st.global.b32 [%d1], 1; ld.global.b32 %r1, [%d1+4];",
    "beside atomics": "atom.global.add.u32 %r1, [%d0], 1; st.global.b32 [%d0], 1;",
    "through the cache of constants": "add.s64 %d1, %d0, %d9; ld.global.nc.b32 %r1, [%d1]; st.global.b32 [%d1], %r1;",
    "through it behind a barrier": "add.s64 %d1, %d0, %d9; st.global.b32 [%d1], 1; bar.sync 0; ld.global.nc.b32 %r1, [%d1];",
}


@pytest.mark.parametrize("case", RACES)
def test_races(case: str) -> None:
    data = aligned(np.zeros(64, np.int32))
    with pytest.raises(RaceError, match=r"k: global memory at 0x.*, thread .* it in line \d+"):
        launch(assembled(RACES[case] + "ret;"), data)
    launch(assembled(RACES[case] + "ret;"), data, races=False)


def test_barriers_order_threads_of_one_block_only() -> None:
    body = """
        add.s64 %d1, %d0, %d9; st.global.b32 [%d1], %r29; bar.sync 0; xor.b64 %d2, %d9, {mask}; add.s64 %d2, %d0, %d2;
        ld.global.b32 %r1, [%d2]; bar.sync 0; st.global.b32 [%d1], %r1; ret;"""
    data = np.zeros(64, np.int32)
    launch(assembled(body.format(mask=4)), data, grid=(2, 1, 1))
    assert data.tolist() == [k ^ 1 for k in range(64)]
    with pytest.raises(RaceError, match=r"of block \([01], 0, 0\) .*of block \([01], 0, 0\)"):
        launch(assembled(body.format(mask=128)), data, grid=(2, 1, 1))


def test_atomics() -> None:
    data = np.zeros(8, np.int32)
    program = assembled("""
        atom.global.add.u32 %r1, [%d0], 2; red.global.max.s32 [%d0+4], %r29; atom.global.or.b32 %r2, [%d0+8], %r29;
        atom.global.cas.b32 %r3, [%d0+12], 0, 7; setp.eq.b32 %p0, %r3, 0; @%p0 atom.global.exch.b32 %r4, [%d0+16], %r29;
        cvt.rn.f32.u32 %f1, %r29; red.relaxed.gpu.global.add.f32 [%d0+20], %f1; ret;""")
    launch(program, data, grid=(2, 1, 1))
    assert data[:5].tolist() == [128, 63, 63, 7, 0]
    assert data[5:6].view(np.float32)[0] == 63 * 32


# -- what is not known -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        *("wgmma.fence.sync;", "add.rn.s32 %r1, %r2, %r3;", "add.s32 %r1, %r2;", "mov.b32 %r1, %clock;"),
        *("bra NOWHERE;", "ld.global.v3.b32 {%r1, %r2, %r3}, [%d0];", "add.s32 %r1, %q1, 1;", ".what 3;"),
        *("mul.rn.banana.f32 %f1, %f1, %f1;", "add.f32 %p1, %f1, %f1;", "ld.param.b64 %d1, [p0+4];"),
    ],
)
def test_what_is_not_known(line: str) -> None:
    with pytest.raises(PtxError, match="line 13: "):
        assembled(f"\n{line} ret;")


def test_launches_that_are_not_possible() -> None:
    program = assembled("ret;", 0)
    for grid, block in (((0, 1, 1), (1, 1, 1)), ((1, 1, 1), (1025, 1, 1))):
        with pytest.raises(PtxError, match="at most 1024 threads"):
            launch(program, grid=grid, block=block)


def test_regions_that_overlap() -> None:
    memory = Memory()
    memory.add(1 << 20, 64)
    for address, size in ((1 << 20, 1), ((1 << 20) - 8, 9), ((1 << 20) + 63, 1)):
        with pytest.raises(ValueError, match="in the way"):
            memory.add(address, size)
    memory.remove(1 << 20)
    memory.add((1 << 20) - 8, 9)


# -- kernels of hpacml -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODULES)
def test_all_kernels_are_understood(name: str) -> None:
    assert Program(ptx(MODULES[name](), "sm_90")).kernels


def described(array: Array, offset: int = 0) -> list[Array | int]:
    """An array as kernels get it: both pointers, the offset, sizes and strides in elements."""
    return [array, array, offset, *array.shape, *(step // array.itemsize for step in array.strides)]


@pytest.fixture(scope="module")
def stencil() -> Program:
    f = hpacml.functor(f"f: {STENCIL}")
    return Program(f.ptx("t[1:n-1, 1:m-1]", "to", "sm_90", t=np.zeros((9, 9), np.float32), n=9, m=9))


def gather(stencil: Program, t: Array, out: Array, whole: bool, blocks: int | None = None) -> Traffic:
    """What the host code does: three views, whether rows may be stored 16 bytes at once, tiles and blocks."""
    (n, m), tiles = t.shape, -(-len(out) // (256 * 5))
    views = [[t, t, offset, n - 2, m - 2] for offset in (0, 2 * m + 1, m)]
    arguments = [*views[0], m, 1, *views[1], m, 1, *views[2], 3, m, 1, 1]
    return launch(
        stencil,
        *((n - 2) * (m - 2), m - 2, *arguments, int(whole), *described(out), tiles, blocks or tiles),
        grid=(blocks or tiles, 1, 1),
        block=(256, 1, 1),
        kernel="gather_gather_0",
    )


@pytest.mark.parametrize("shape", [(3, 3), (9, 9), (18, 18), (23, 41), (66, 66)])
@pytest.mark.parametrize("blocks", [None, 1, 3])
def test_a_stencil(stencil: Program, shape: tuple[int, int], blocks: int | None) -> None:
    t = np.random.default_rng(0).random(shape, np.float32)
    expected = np.stack([t[:-2, 1:-1], t[2:, 1:-1], t[1:-1, :-2], t[1:-1, 1:-1], t[1:-1, 2:]], -1).reshape(-1)
    for whole in (True, False):
        out = aligned(np.zeros_like(expected))
        traffic = gather(stencil, t, out, whole, blocks)
        np.testing.assert_array_equal(out, expected)
        assert (traffic.instructions["st.global.v4.b32"] > 0) == (whole and expected.size >= 256 * 5)
    if shape == (66, 66):
        assert traffic.stores.efficiency >= 0.9
        assert traffic.loads.efficiency >= 0.8


def test_a_stencil_whose_rows_are_not_aligned(stencil: Program) -> None:
    """Told that they are, a kernel faults as it would on a GPU."""
    t = np.zeros((18, 18), np.float32)
    with pytest.raises(PtxError, match=r"st\.global\.v4\.b32: .* not aligned to 16 bytes"):
        gather(stencil, t, aligned(np.zeros(16 * 16 * 5 + 1, np.float32))[1:], whole=True)


def test_columns_both_ways() -> None:
    """`gaps` of test_gpu: three arrays of one dimension, some with gaps, as columns and back."""
    columns = [np.random.default_rng(k).random(700, np.float32)[:: 1 + k % 2][:300] for k in range(3)]
    rows = aligned(np.zeros(900, np.float32))
    for direction in ("to", "from"):
        found = [np.zeros(700, np.float32)[:: 1 + k % 2][:300] for k in range(3)] if direction == "from" else columns
        f = hpacml.functor("f: [i, 0:3] = ([i], [i], [i])")
        text = f.ptx("a[0:n], b[0:n], c[0:n]", direction, "sm_90", **dict(zip("abc", columns, strict=True)), n=300)
        program = Program(text)
        kernel = next(name for name in program.kernels if not name.endswith("_narrow"))
        views = [value for column in found for value in described(column)]
        arguments = [300, *views, 1, *described(rows), 2, 2]
        if direction == "from":
            arguments = [300, 1, *described(rows), *views, 2, 2]
        traffic = launch(program, *arguments, grid=(2, 1, 1), block=(256, 1, 1), kernel=kernel)
        assert (traffic.loads if direction == "from" else traffic.stores).efficiency >= 0.9
        np.testing.assert_array_equal(rows.reshape(300, 3), np.stack(columns, -1))
        for column, expected in zip(found, columns, strict=True):
            np.testing.assert_array_equal(column, expected)


@pytest.mark.parametrize("n", [0, 1, 40, 600])
def test_parallel_loops(n: int) -> None:
    """`triangle` of test_gpu, a thread for each row."""
    found = np.random.default_rng(0).random((n, 2 * n))
    expected = found.copy()
    triangle.py_func(expected)
    blocks = max(1, -(-n // 256))
    launch(
        Program(triangle.ptx("sm_80")),
        *(n, -n, *described(found), blocks, blocks),  # -n is ~(n - 1), from which the complement of i counts up
        grid=(blocks, 1, 1),
        block=(256, 1, 1),
        kernel="triangle_loop_0",
    )
    np.testing.assert_array_equal(found, expected)
