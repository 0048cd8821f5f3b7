"""Directives in kernels: the IR they become, what they do when it runs, and what is wrong with them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from kernels import bits, check, kernel_of

import hpacml
from hpacml.pipelines import STAGES

HEAD = """\
@hpacml.kernel
def f(t: Float32[np.ndarray, "N M"], u: Float32[np.ndarray, "N M"], n: int, use: bool, path: str, x: float):
"""
FUNCTOR = '    approx("tensor functor(g: [i, j, 0:1] = ([i, j]))")\n'
MAP_T = '    approx("tensor map(to: g(t[0:n, 0:n]))")\n'
MAP_U = '    approx("tensor map(from: g(u[0:n, 0:n]))")\n'
MAPS = FUNCTOR + MAP_T + MAP_U


def region(clauses: str, body: str = "u[0, 0] = t[0, 0]") -> str:
    return f"    with approx('''ml{clauses}'''):\n        {body}\n"


def ir_of(body: str) -> list[str]:
    """The lines of the IR, without the types of arrays and mappings."""
    module = kernel_of(HEAD + body, K=4).ir()
    module.verify()
    text = re.sub(r" : (!hpacml\.mapping<[^>]*>(, )?)+(?=\))", "", str(module))
    return [line.strip().split(" : memref")[0].removesuffix(" {") for line in text.splitlines()]


# -- IR ------------------------------------------------------------------------------------------


def test_a_region() -> None:
    lines = ir_of(
        MAPS + region("(predicated: use && n > 3) in(t) out(u) model(path) database('d.h5') if(x < 0.5) batch(16)")
    )
    expected = [
        "hpacml.functor @g : [i, j, 0:1] = ([i, j])",
        '%in = hpacml.map to @g(%t[0 : %n, 0 : %n]) {text = "g(t[0:n, 0:n])"}',
        '%out = hpacml.map from @g(%u[0 : %n, 0 : %n]) {text = "g(u[0:n, 0:n])"}',
        "%0 = arith.cmpi sgt, %n, %c3 : index",
        "%1 = arith.andi %use, %0 : i1",
        "%2 = arith.cmpf olt, %x, %cst : f64",
        'hpacml.ml predicated(%1) if(%2) in(%in) out(%out) label "f" model @path batch 16 database "d.h5"',
        "%3 = memref.load %t[%c0, %c0]",
        "memref.store %3, %u[%c0, %c0]",
    ]
    assert [line for line in lines if line in expected] == expected


def test_maps_in_place_named_and_both_ways() -> None:
    lines = ir_of(FUNCTOR + region("(collect) inout(g(t[0:n, 0:n])) label('l') batch"))
    assert any(line.startswith("%inout = hpacml.map inout @g(%t[0 : %n, 0 : %n])") for line in lines)
    assert 'hpacml.ml collect inout(%inout) label "l" batch 0' in lines
    lines = ir_of(
        FUNCTOR + "    approx('declare tensor(a: g(t[0:n, 0:]))')\n" + region("(infer) in(a) out(g(u[1:n:2, 0:4]))")
    )
    assert "%0 = memref.dim %t, %c1" in lines
    assert any(line.startswith("%in = hpacml.map to @g(%t[0 : %n, 0 : %0])") for line in lines)
    assert any(line.startswith("%out = hpacml.map from @g(%u[1 : %n : 2, 0 : 4])") for line in lines)


def test_parameters_of_functors_have_their_values_at_the_map() -> None:
    lines = ir_of(
        "    approx('tensor functor(h: [i, 0:n*K] = ([i, 0:n*K]))')\n"
        "    n = n + 1\n"
        "    approx('tensor map(to: h(t[0:3, 0:n*K]))')\n"
    )
    assert "hpacml.functor @h(K, n) : [i, 0 : K * n] = ([i, 0 : K * n])" in lines
    assert any(re.search(r"hpacml.map to @h\(%t\[0 : 3, 0 : %\d+\]\) params\(%c4, %n_1\)", line) for line in lines)


def test_one_functor_for_equal_declarations() -> None:
    lines = ir_of(FUNCTOR + FUNCTOR + FUNCTOR.replace("0:1", "0:2").replace("([i, j])", "([i, j], [j, i])"))
    assert [line for line in lines if "hpacml.functor" in line] == [
        "hpacml.functor @g : [i, j, 0:1] = ([i, j])",
        "hpacml.functor @g_0 : [i, j, 0:2] = ([i, j], [j, i])",
    ]


def test_several_directives_in_one_text_that_has_a_name() -> None:
    text = "tensor functor(g: [i, j, 0:1] = ([i, j]))\ntensor map(to: g(t[0:n, 0:n]))\ntensor map(from: g(u[0:n, 0:n]))"
    kernel = kernel_of(
        HEAD + "    with approx(TEXT):\n        u[0, 0] = t[0, 0]\n", TEXT=f"{text}\nml(infer) in(t) out(u)"
    )
    assert "hpacml.ml infer in(%in : !hpacml.mapping<?x?x1xf32>) out(%out : " in str(kernel.ir())


def test_declarations_hold_to_the_end_of_their_block() -> None:
    """As variables of C do; an inner map hides the outer one."""
    inner = MAP_T.replace("0:n, 0:n", "0:2, 0:2")
    loop = "    for k in range(3):\n" + "".join(
        f"    {line}\n" for line in (inner + region("(infer) in(t) out(u)")).splitlines()
    )
    lines = ir_of(MAPS + loop + region("(infer) in(t) out(u)"))
    assert [line.split(" out")[0] for line in lines if line.startswith("hpacml.ml")] == [
        "hpacml.ml infer in(%in_1)",
        "hpacml.ml infer in(%in)",
    ]


@pytest.mark.parametrize("stage", [*STAGES][[*STAGES].index("expand") :])
def test_stages(stage: str) -> None:
    kernel = kernel_of(HEAD + MAPS + region("(predicated: use) in(t) out(u)"))
    assert "hpacml.ml" in str(kernel.ir())
    assert "hpacml.ml" not in str(kernel.ir(stage=stage))


def test_unknown_stage() -> None:
    with pytest.raises(hpacml.HpacmlError, match="unknown stage 'nowhere'"):
        kernel_of(HEAD + "    pass\n").ir("nowhere")


# -- running -------------------------------------------------------------------------------------

STENCIL = """\
@hpacml.kernel
def step(t: Float32[np.ndarray, "N M"], new: Float32[np.ndarray, "N M"], infer: bool, active: int, net: object):
    N, M = t.shape
    approx("tensor functor(cross: [i, j, 0:5] = ([i-1, j], [i+1, j], [i, j-1:j+2]))")
    approx("tensor functor(point: [i, j, 0:1] = ([i, j]))")
    approx("tensor map(to: cross(t[1:N-1, 1:M-1]))")
    approx("tensor map(from: point(new[1:N-1, 1:M-1]))")
    with approx("ml(predicated: infer) in(t) out(new) model(net) database('step.h5') if(active > 0)"):
        for i in prange(1, N - 1):
            for j in range(1, M - 1):
                new[i, j] = t[i, j] + 0.1 * (t[i - 1, j] + t[i + 1, j] + t[i, j - 1] + t[i, j + 1] - 4.0 * t[i, j])
    return N * M
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_collection_and_inference(folder: Path) -> None:
    step = kernel_of(STENCIL)
    net = torch.nn.Linear(5, 1)
    t = np.random.default_rng(0).random((6, 7)).astype(np.float32)
    check(step, lambda: (t, np.zeros_like(t), False, 1, None), calls=1)
    check(step, lambda: (t[::-1, ::-1], np.zeros_like(t), False, 1, None), calls=1)
    check(step, lambda: (t, np.zeros_like(t), True, 0, None), calls=1)
    features = np.stack([t[:-2, 1:-1], t[2:, 1:-1], t[1:-1, :-2], t[1:-1, 1:-1], t[1:-1, 2:]], axis=-1)
    hpacml.flush()
    with h5py.File("step.h5") as file:
        assert file["step/input"].shape == (2, 4, 5, 5)
        np.testing.assert_array_equal(bits(file["step/input"][0]), bits(features))
    new = np.zeros_like(t)
    assert step(t, new, True, 1, net) == 42
    with torch.no_grad():
        expected = net(torch.from_numpy(features))[..., 0].numpy()
    np.testing.assert_array_equal(new[1:-1, 1:-1], expected)
    assert not new[0].any()


def test_failing_calls_leave_memory_as_it_was(folder: Path) -> None:
    step = kernel_of(STENCIL)
    t = np.ones((6, 7), np.float32)
    new = np.zeros_like(t)
    with pytest.raises(hpacml.ModelError):
        step(t, new, True, 1, torch.nn.Linear(4, 1))
    with pytest.raises(hpacml.ModelError, match="net"):
        step(t, new, True, 1, None)
    assert not new.any()


def test_bounds_of_maps_are_checked_when_the_kernel_runs(folder: Path) -> None:
    body = MAPS + region("(collect) in(t) out(u) database('b.h5')")
    kernel = kernel_of(HEAD + body)
    t = np.ones((3, 4), np.float32)
    kernel(t, t.copy(), 3, False, "", 0.0)
    with pytest.raises(hpacml.MapError, match="dimension 0 of 't', which has 3"):
        kernel(t, t.copy(), 4, False, "", 0.0)


def test_what_a_region_writes_counts_as_written(folder: Path) -> None:
    kernel = kernel_of(HEAD + MAPS + region("(infer) in(t) out(u) model(path)", "pass"))
    frozen = np.ones((2, 2), np.float32)
    frozen.flags.writeable = False
    with pytest.raises(hpacml.MapError, match="argument 'u' is written"):
        kernel(np.ones((2, 2), np.float32), frozen, 2, True, "none", 0.0)


# -- errors --------------------------------------------------------------------------------------

# Each: body, the text under the carets (None: without), a part of the message.
DIRECTIVES: list[tuple[str, str | None, str]] = [
    (FUNCTOR.replace("0:1", "0:2"), "0:2", "the left side declares 2 features, the right side gives 1"),
    ('    approx("tensor functr(g: [i] = ([i]))")\n', "functr", "did you mean 'functor'?"),
    ("    i = 3\n" + FUNCTOR, "i", "(integer variables here, and so no symbols: 'i')"),
    (MAP_T, "g", "there is no functor 'g'"),
    (FUNCTOR + MAP_T.replace("t[", "tt["), "tt", "there is no array 'tt'; did you mean 't'?"),
    (FUNCTOR + MAP_T.replace("t[", "n["), "n", "'n' is a number (int), where an array is needed"),
    (FUNCTOR + MAP_T.replace("n, 0", "q, 0"), "q", "'q' is not defined"),
    (FUNCTOR + MAP_T.replace("n, 0", "x, 0"), "x", "must be an integer, and this is a float"),
    (FUNCTOR + MAP_T.replace("0:n, 0:n", "0:n"), "g(t[0:n])", "gives 1 range, but the array has 2 dimensions"),
    (FUNCTOR + MAP_T.replace("0:n, 0:n", "0:n, 0, 0:"), "g(t[0:n, 0, 0:])", "'t' has no dimension 2"),
    (FUNCTOR + region("(infer) in(t) out(u)"), "t", "the array 't' has no map"),
    (FUNCTOR + MAP_T + region("(infer) in(t) out(u)"), "u", "the array 'u' has no map"),
    (MAPS + region("(infer) in(u) out(u)"), "u", "in(u) needs a 'tensor map(to: ...)' of it"),
    (MAPS + region("(infer) in(t)"), "ml(infer) in(t)", "the region has no output"),
    (MAPS + region("(infer) in(t) out(u) model(use)"), "use", "not a parameter that holds a path or a model"),
    (MAPS + region("(infer) in(t) out(u) model(pth)"), "pth", "did you mean 'path'?"),
    (MAPS + region("(predicated: usee) in(t) out(u)"), "usee", "did you mean 'use'?"),
    (MAPS + region("(predicated: t) in(t) out(u)"), "t", "this is an array, which is neither true nor false"),
    (MAPS + '    approx("ml(infer) in(t) out(u)")\n', "ml(infer) in(t) out(u)", "before the code it is about"),
    (
        FUNCTOR + "    if use:\n    " + MAP_T + MAP_U + region("(infer) in(t) out(u)"),
        "t",
        "the array 't' has no map",
    ),
]

CODE: list[tuple[str, str | None, str]] = [
    (
        '    approx(f"tensor functor(g: [i, 0:{n}] = ([i]))")\n',
        'f"tensor functor(g: [i, 0:{n}] = ([i]))"',
        "has a number that is not known when the kernel is compiled",
    ),
    ("    approx(n)\n", "n", "one string that is known when the kernel is compiled"),
    ("    approx()\n", "approx()", "one string that is known when the kernel is compiled"),
    ("    y = approx('')\n", "approx('')", "is a statement of its own, or stands in a 'with'"),
    (
        FUNCTOR + "    with approx('tensor map(to: g(t[0:n, 0:n]))'):\n        pass\n",
        None,
        "only an ml directive has a region",
    ),
    (MAPS + region("(infer) in(t) out(u)").replace(":\n", " as z:\n"), "z", "approx(...) gives nothing to name"),
    (
        MAPS + region("(infer) in(t) out(u)", "s = 1") + "    return s\n",
        "s",
        "through the arrays of out(...) and inout(...)",
    ),
    (
        MAPS + "    s = 0\n" + region("(infer) in(t) out(u)", "s = 1") + "    return s\n",
        "s",
        "does not run when the model does",
    ),
    (MAPS + region("(infer) in(t) out(u)", "return 1"), "return 1", "'return' cannot leave an ml region"),
    (
        MAPS
        + "    for k in range(n):\n    "
        + region("(infer) in(t) out(u)", "    break").replace("        u", "            u"),
        "break",
        "'break' cannot leave an ml region",
    ),
    (
        MAPS + "    for k in prange(n):\n    " + region("(infer) in(t) out(u)", "    pass"),
        None,
        "a parallel loop cannot run an ml region",
    ),
]


@pytest.mark.parametrize(("body", "culprit", "message"), [*DIRECTIVES, *CODE])
def test_errors(body: str, culprit: str | None, message: str) -> None:
    with pytest.raises(hpacml.HpacmlError) as caught:
        kernel_of(HEAD + body).ir()
    text = str(caught.value)
    assert isinstance(caught.value, hpacml.CompileError) == ((body, culprit, message) in CODE)
    assert text.startswith("<kernel ")
    assert message in text.splitlines()[0]
    if culprit is not None:
        _, line, carets = text.splitlines()
        assert line[carets.index("^") : carets.index("^") + carets.count("^")] == culprit


def test_a_region_called_in_a_parallel_loop() -> None:
    text = HEAD + MAPS + region("(infer) in(t) out(u)")
    text = (
        text.replace(", path: str", "")
        + """\
@hpacml.kernel
def outer(t: Float32[np.ndarray, "N M"]):
    for i in prange(3):
        f(t, t, i, True, 1.0)
"""
    )
    with pytest.raises(hpacml.CompileError, match=r"f\(\) has an ml region, which a parallel loop cannot run"):
        kernel_of(text).ir()


def test_a_region_in_a_called_kernel(folder: Path) -> None:
    text = HEAD + MAPS + region("(collect) in(t) out(u) database('c.h5')")
    text = (
        text.replace(", path: str", "")
        + """\
@hpacml.kernel
def outer(t: Float32[np.ndarray, "N M"], u: Float32[np.ndarray, "N M"]):
    for i in range(1, 3):
        f(t, u, 2, True, 1.0)
"""
    )
    t: Any = np.arange(9, dtype=np.float32).reshape(3, 3)
    kernel_of(text)(t, t + 1)
    hpacml.flush()
    with h5py.File("c.h5") as file:
        assert file["f/input"].shape == (2, 2, 2, 1)


SQUARE = """
@hpacml.kernel
def square(o: Float64[np.ndarray, "N"], a: int, net: Any):
    approx("tensor functor(f: [i] = ([i]))")
    with approx("ml(infer) in(f(o[0:2])) out(f(o[RANGE])) model(net)"):
        o[0] = 0.0
"""


@pytest.mark.parametrize(
    "bounds", ["a*a : a*a+2", "a*a - a*a : a*a-a*a+2", "-(a*a) : 2 - a*a", "(a*a) % 3 : (a*a) % 3 + 2"]
)
def test_numbers_of_a_map_do_not_wrap_around(bounds: str) -> None:
    kernel = kernel_of(SQUARE.replace("RANGE", bounds))
    for a in (1 << 32, -(1 << 33), (1 << 62) + 1):
        o = np.zeros(4)
        with pytest.raises(hpacml.MapError, match="does not fit 64 bits"):
            kernel(o, a, lambda x: x + 1)
        assert not o.any()


def test_what_is_known_to_be_written_twice_does_not_compile() -> None:
    source = SQUARE.replace("RANGE", "0:2").replace("[i] = ([i])", "[i, 0:2] = ([i], [i+1])")
    with pytest.raises(hpacml.MapError, match=r"writes o\[1\] 2 times(.|\n)*out\(f\(o\[0:2\]\)\)(.|\n)*\^"):
        kernel_of(source).ir()


def test_the_place_in_a_directive_of_several_lines() -> None:
    source = SQUARE.replace(
        '"tensor functor(f: [i] = ([i]))"', '"""tensor functor(f: [i] = ([i]))\n        tensor map(to: g(o[0:2]))"""'
    )
    with pytest.raises(hpacml.DirectiveError, match=r":5: there is no functor 'g'"):
        kernel_of(source.replace("RANGE", "0:2")).ir()


@pytest.mark.parametrize("m", [1, np.int64(1), np.uint8(1)], ids=["int", "int64", "uint8"])
def test_numbers_around_a_kernel_are_parameters_of_functors(m: Any) -> None:
    kernel = kernel_of(
        """
@hpacml.kernel
def f(a: Float64[np.ndarray, "N"]):
    approx("tensor functor(g: [i, 0:1] = ([i + m]))")
    with approx("ml(collect) in(g(a[0:3])) out(g(a[0:3])) if(False)"):
        a[0] = 1.0
""",
        m=m,
    )
    assert "@g(m) : [i, 0:1] = ([i + m])" in str(kernel.ir())
