"""Gathers and scatters, compiled, against the definition in nested loops (`oracle`)."""

from __future__ import annotations

from dataclasses import replace

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings

import hpacml
from tests import differential, oracle
from tests.strategies import BINDINGS, DTYPES, KERNEL_DTYPES, Binding, Program, cases, reproducer

Case = tuple[Program, list[Binding]]


def search(part: int, programs: int, way: str, bindings: int = BINDINGS) -> None:
    """Compare the calls of some programs; always the same ones, a different set for each part."""

    @hypothesis.seed(part)
    @settings(
        max_examples=programs,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(cases(KERNEL_DTYPES if way.startswith("kernel") else DTYPES, bindings))
    def run(case: Case) -> None:
        program, calls = case
        hypothesis.assume(differential.applies(way, program))
        for call in calls:
            differential.compare(program, call, way)

    run()


@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.slow) for part in range(1, 6))])
def test_functors(part: int) -> None:
    before = differential.tally.copy()
    search(part, 50, "functor")
    here = differential.tally - before
    assert here["valid"] >= 0.6 * here.total()  # 0.78 over many
    assert here["misfit"] >= 0.01 * here.total()


WAYS = [way for way in differential.WAYS if way != "functor"]


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_regions_and_kernels(way: str) -> None:
    search(len(way), 12, way, 3)


# -- the oracle itself -----------------------------------------------------------------------------


def test_a_stencil_by_hand() -> None:
    t = np.arange(30.0).reshape(5, 6)
    names = {"t": t, "N": 5, "M": 6}
    x = oracle.gather("[i, j, 0:5] = ([i-1, j], [i+1, j], [i, j-1:j+2])", "t[1:N-1, 1:M-1]", names)
    mine = [t[:-2, 1:-1], t[2:, 1:-1], t[1:-1, :-2], t[1:-1, 1:-1], t[1:-1, 2:]]
    np.testing.assert_array_equal(x, np.stack(mine, -1))


d = np.arange(10.0, 20.0)
m = np.arange(12.0).reshape(3, 4)
r, c = np.array([2, 0, 1]), np.array([3, 3, 0], np.int32)
BY_HAND = {
    "an index array": ("[i] = ([i])", "d[r[0:3]]", d[r]),
    "offsets are of the virtual array": ("[i, 0:2] = ([i-1], [i+1])", "d[r[1:2]]", d[[[2, 1]]]),
    "nested": ("[i] = ([i])", "d[r[r[0:3]]]", d[r[r]]),
    "deeply nested": ("[i] = ([i])", "d[c[r[r[0:3]]]]", d[c[r[r]]]),
    "two index arrays": ("[i, j] = ([i, j])", "m[r[0:3], c[0:3]]", m[np.ix_(r, c)]),
    "pairs of indices": ("[i] = ([i, i])", "m[r[0:3], c[0:3]]", m[r, c]),
    "an index array of two dimensions": ("[i, 0:4] = ([i, 0:4])", "d[k[0:3, 0:4]]", d[m.astype(int) % 5]),
    "rows": ("[i, z] = ([i, 0:4])", "m[r[0:3], 0:4]", m[r]),
    "an index array twice": ("[i] = ([i, i])", "m[r[0:3], r[0:3]]", m[r, r]),
    "an index array of itself": ("[i] = ([i])", "r[r[0:3]]", r[r]),
    "backwards": ("[i] = ([i])", "d[r[2:n:-1]]", d[r[::-1]]),
}


@pytest.mark.parametrize("case", BY_HAND)
def test_indirection_by_hand(case: str) -> None:
    functor, targets, expected = BY_HAND[case]
    names = {"d": d, "m": m, "r": r, "c": c, "k": m.astype(int) % 5, "n": -1}
    np.testing.assert_array_equal(oracle.gather(functor, targets, names), expected)
    np.testing.assert_array_equal(hpacml.functor(f"f: {functor}").gather(targets, **names), expected)


@pytest.mark.parametrize("wrong", [-1, 10, 1 << 40])
def test_bad_indices_by_hand(wrong: int) -> None:
    bad = np.array([0, wrong, 1])
    with pytest.raises(oracle.Misfit, match="outside"):
        oracle.gather("[i] = ([i])", "d[bad[0:3]]", {"d": d, "bad": bad})
    oracle.gather("[i] = ([i])", "d[bad[0:3:2]]", {"d": d, "bad": bad})  # which does not touch it


def test_indices_that_repeat_by_hand() -> None:
    out, twice = np.zeros(5), np.array([1, 3, 1])
    with pytest.raises(oracle.Misfit, match="twice"):
        oracle.scatter(np.ones(3), "[i] = ([i])", "o[r[0:3]]", {"o": out, "r": twice})
    oracle.scatter(np.ones(3), "[i] = ([i])", "o[r[0:3]]", {"o": out, "r": twice}, unchecked=True)
    np.testing.assert_array_equal(out, [0, 1, 0, 1, 0])


@pytest.mark.parametrize("dtype", ["f16", "f32"])
def test_rounding_is_that_of_numpy(dtype: str) -> None:
    random = np.random.default_rng(0)
    numbers = random.normal(size=500) * 10.0 ** random.integers(-46, 40, 500)
    ties = (1 + random.integers(0, 1 << 12, 500) / (1 << 12)) * 2.0 ** random.integers(-26, 17, 500)
    with np.errstate(over="ignore", under="ignore"):
        for number in map(float, [*numbers, *ties, 0.0, -0.0, np.inf, 65519.9, 65520.0]):
            expected = float(np.dtype(oracle.NUMPY[dtype]).type(number))
            assert oracle.rounding(number, dtype) == expected
            assert np.signbit(oracle.rounding(number, dtype)) == np.signbit(number)


def test_rounding_to_bfloat16_is_that_of_torch() -> None:
    numbers = np.float32(np.random.default_rng(0).normal(size=500) * 1e3)
    expected = torch.from_numpy(numbers).to(torch.bfloat16)
    found = [oracle.convert(number, "f32", "bf16") for number in numbers]
    np.testing.assert_array_equal(found, oracle.raw(expected))


@pytest.mark.parametrize("dtype", ["u8", "i32", "i64", "i8", "u64"])
def test_integers_become_bfloat16_as_in_torch(dtype: str) -> None:
    """They are rounded twice: to float32, and from there."""
    low, high = np.iinfo(oracle.NUMPY[dtype]).min, np.iinfo(oracle.NUMPY[dtype]).max
    random = np.random.default_rng(0)
    numbers = random.integers(low, high, 500, oracle.NUMPY[dtype], endpoint=True)
    # A bit more than a middle of bfloat16, which float32 does not have from 2**25 on.
    middles = [
        sign * ((1 << e) + (1 << (e - 8)) + more) for e in range(8, 63) for sign in (1, -1) for more in (-1, 0, 1)
    ]
    edges = np.array([n for n in (low, high, *middles) if low <= n <= high], oracle.NUMPY[dtype])
    numbers = np.concatenate([numbers, edges])
    found = [oracle.convert(number, dtype, "bf16") for number in numbers]
    np.testing.assert_array_equal(found, oracle.raw(torch.from_numpy(numbers).to(torch.bfloat16)))
    once = [oracle.rounding(int(number), "bf16") for number in numbers]
    differ = sum(oracle.as_float(bits, "bf16") != exact for bits, exact in zip(found, once, strict=True))
    assert bool(differ) == (dtype not in ("u8", "i8"))


# -- what the search has found ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("functor", "target"),
    [("[i, 0:1] = ([i])", "a[1:4:s]"), ("[0:2, i] = ([i:i+2])", "a[1:n]"), ("[i, 0:2] = ([i:i+2])", "a[1:3:s]")],
)
def test_packed_if_numbers_say_so_behind_a_known_start(functor: str, target: str) -> None:
    numbers = (("s", 1), ("n", 3))
    program = Program(functor, target, "to", (("a", "f64"),), frozenset("a"), "f64")
    binding = Binding(tuple(pair for pair in numbers if pair[0] in target), (("a", (5,)),), (("a", "C"),), (), 0)
    differential.compare(program, binding, "region")


@pytest.mark.parametrize("functor", ["[i, 0:0] = ([i, 0:0])", "[0:0] = ([3:2])"])
def test_no_features_on_both_sides_agree(functor: str) -> None:
    rank = functor.count(",", functor.index("=")) + 1
    program = Program(functor, f"a[{', '.join(['0:4'] * rank)}]", "to", (("a", "f64"),), frozenset("a"), "f64")
    differential.compare(program, Binding((), (("a", (4,) * rank),), (("a", "C"),), (), 0))


# -- the comparison itself -------------------------------------------------------------------------

COPY = Program("[i] = ([i])", "a[0:n]", "to", (("a", "f32"),), frozenset("a"), "f32")
CALL = Binding((("n", 3),), (("a", (4,)),), (("a", "C"),), (), 0)


def wrong_tensor(call: differential.Call) -> None:
    differential.by_functor(call)
    call.gathered[1] = 77.0


def wrong_array(call: differential.Call) -> None:
    differential.by_functor(call)
    call.names["a"][3] = 77.0


def wrong_exception(call: differential.Call) -> None:
    raise IndexError("out of range")


def wrong_refusal(call: differential.Call) -> None:
    raise hpacml.MapError("it does not fit")


def wrong_change(call: differential.Call) -> None:
    call.names["a"][3] = 77.0
    raise hpacml.MapError("too late")


@pytest.mark.parametrize("direction", ["to", "from"])
@pytest.mark.parametrize(
    ("wrong", "message", "n"),
    [
        (wrong_array, "'a' is", 3),
        (wrong_exception, "raises IndexError", 3),
        (wrong_refusal, "valid, but", 3),
        (wrong_change, "has changed", 5),
        (lambda call: None, "not found", 5),
    ],
)
def test_differences_are_seen(
    direction: str, wrong: differential.Way, message: str, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(differential.WAYS, "functor", wrong)
    program, call = replace(COPY, direction=direction), replace(CALL, numbers=(("n", n),))
    with pytest.raises(AssertionError, match=message):
        differential.compare(program, call)


def test_a_wrong_tensor_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(differential.WAYS, "functor", wrong_tensor)
    with pytest.raises(AssertionError, match="instead of"):
        differential.compare(COPY, CALL)


def test_the_script_runs(capsys: pytest.CaptureFixture[str]) -> None:
    for direction in ("to", "from"):
        program = replace(COPY, direction=direction)
        exec(reproducer(program, CALL, np.zeros(3, np.float32)), {})
    assert "tensor" in capsys.readouterr().out
