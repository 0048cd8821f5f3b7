"""The two spellings of directives, how they may be written down, and the lines that the benchmarks hold."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import hpacml
from hpacml.directives.parser import parse, parse_functor, parse_many
from hpacml.directives.syntax import Directive, FunctorDirective, MapDirective, MlDirective
from hpacml.frontend.functor import TensorFunctor

BENCHMARKS = Path(__file__).with_name("benchmark_directives.txt").read_text(encoding="utf-8")
"""The directives of the five applications as their sources hold them."""

LINES = BENCHMARKS.splitlines()
PROGRAMS = re.findall(r"(?:.*tensor.*\n)+.*\bml\b.*\n", BENCHMARKS)
OTHERS = [
    "tensor functor(ifnctr: [i, j, 0:5] = ([i-1, j], [i+1, j], [i, j-1:j+2]))",
    "tensor map(to: ifnctr(t[1:N-1, 1:M-1]))",
    "tensor map(from: g(data[acc1[acc2[0:N]]], pos[idx[0:N], 0:3], y[n//2:n:2]))",
    "declare tensor(x: f(a[0:N]))",
    "ml(predicated: a <= 1.5 && b != 2 || !c) in(t, f(u[0:n])) model('m.pt2'), label(\"heat\") batch(4096) if(x >= 1)",
    "ml(collect) in(t), sample(every: 10, fraction: 0.5, seed: 3, most: 9) units(t: 'm/s', u: \"K\")",
]
TOKEN = re.compile(r"""#\s*pragma|"[^"]*"|'[^']*'|\d+\.\d+|\w+|//|[<>=!]=|&&|\|\||\S""")
SEPARATORS = {
    "blank": " ",
    "tab": "\t",
    "line": "\n",
    "crlf": "\r\n",
    "form feed": " \f\v ",
    "continued": "\\\n",
    "continued with blanks after": " \\ \t \n   ",
    "continued in crlf": "\\\r\n\t",
    "continued with blanks in crlf": "\\ \r\n",
    "continued twice": "\\\n\\\n",
}


def read(line: str) -> FunctorDirective:
    directive = parse(line)
    assert isinstance(directive, FunctorDirective)
    return directive


# -- how a directive is written down -------------------------------------------------------------------------


@pytest.mark.parametrize("line", [*LINES, *OTHERS])
def test_printed_and_read_again(line: str) -> None:
    directive = parse(line)
    assert parse_many(line) == [directive]
    assert again(directive.canonical) == directive
    assert again(directive.canonical).canonical == directive.canonical


def again(canonical: str) -> Directive:
    return parse(canonical) if canonical.startswith(("tensor map", "declare", "ml")) else parse_functor(canonical)


@pytest.mark.parametrize("prefix", ["", "approx ", "#pragma approx ", "  # pragma\tapprox\n", "#pragma \\\n approx "])
def test_prefixes(prefix: str) -> None:
    for line in [*LINES, *OTHERS]:
        bare = line.removeprefix("#pragma approx ")
        assert parse(prefix + bare) == parse(line)
    everything = "\n".join(prefix + line.removeprefix("#pragma approx ") for line in LINES)
    assert parse_many(everything) == [parse(line) for line in LINES]


@pytest.mark.parametrize("separator", SEPARATORS.values(), ids=SEPARATORS.keys())
def test_separators(separator: str) -> None:
    for line in [*LINES, *OTHERS]:
        spread = separator.join(TOKEN.findall(line))
        assert parse(spread) == parse(line)
        assert parse(separator + spread + separator) == parse(line)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("blanks", ["", " ", "\t  "])
def test_continuation_at_any_place(ending: str, blanks: str) -> None:
    line = OTHERS[0]
    places = [match.start() for match in TOKEN.finditer(line)]
    for place in places:
        assert parse(f"{line[:place]}\\{blanks}{ending}{line[place:]}") == parse(line)


def test_a_backslash_continues_only_at_the_end_of_a_line() -> None:
    for text in ("tensor \\ functor(f: [i] = ([i]))", "tensor functor(f: [i] = ([i]))\\"):
        with pytest.raises(hpacml.DirectiveError, match="continues a directive only at the end of a line"):
            parse(text)


def test_places_count_across_continuations() -> None:
    text = "#pragma approx tensor \\\r\n functor(f: [i] \\\n = ([i + 0.5]))"
    with pytest.raises(hpacml.DirectiveError) as caught:
        parse(text)
    assert text[caught.value.start : caught.value.end] == "0.5"
    assert str(caught.value).splitlines()[1:] == ["   = ([i + 0.5]))", "           ^^^"]


@pytest.mark.parametrize(
    ("released", "paper"),
    [
        ("declare tensor_functor(f: [i,0:2] = ([i], [i+1]))", "tensor functor(f: [i, 0:2] = ([i], [i+1]))"),
        ("ml(offline) in(a) out(b)", "ml(collect) in(a) out(b)"),
    ],
)
def test_released_spelling_means_the_same(released: str, paper: str) -> None:
    assert parse(released) == parse(paper)
    assert parse(f"#pragma approx {released}") == parse(f"approx {paper}")


def test_a_named_map_gets_its_direction_from_its_use() -> None:
    named, directed = parse("declare tensor(x: f(a[0:N]))"), parse("tensor map(to: f(a[0:N]))")
    assert isinstance(named, MapDirective)
    assert isinstance(directed, MapDirective)
    assert named.application == directed.application
    assert (named.name, named.direction) == ("x", None)


# -- the lines of the benchmarks -----------------------------------------------------------------------------


def test_the_benchmarks_have_all_kinds() -> None:
    kinds = [type(parse(line)) for line in LINES]
    assert [kinds.count(kind) for kind in (FunctorDirective, MapDirective, MlDirective)] == [10, 5, 5]
    assert "".join(PROGRAMS) == BENCHMARKS
    assert len(PROGRAMS) == 5


BODIES = [
    lambda poses_0, poses_1, poses_2, poses_3, poses_4, poses_5, res, nval, ni: None,
    lambda d_S, d_X, d_vDt, d_puByDf, d_pdByDf, d_CallValue, ni, multiplier: None,
    lambda bondgpusoarate, bondgpusoastartDate, bondgpusoamaturityDate, accruedAmountCurrDateGpu, ni, multiplier: None,
    lambda d_state, nz, nx, hs: None,
    lambda I_GPU, xe_GPU, ye_GPU, Nfr, IszX, IszY: None,
]


@pytest.mark.parametrize(("program", "body"), [*zip(PROGRAMS, BODIES, strict=True)])
def test_each_benchmark_is_a_region(program: str, body: object) -> None:
    hpacml.region(program)(body)  # pyright: ignore


BLOCKS = [1, 2, 3, 4, 7, 16]
POINTS = 5
MINIBUDE = LINES[0]
BINOMIAL = LINES[4]
BONDS = LINES[8]


def truthful(line: str, declared: str, true: str) -> TensorFunctor:
    assert declared in line
    return hpacml.functor(line.replace(declared, true))


def poses(ni: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(ni)
    return {f"poses_{k}": rng.random(POINTS * ni).astype(np.float32) for k in range(6)}


SIX = ", ".join(f"poses_{k}[0:nval]" for k in range(6))


@pytest.mark.parametrize("ni", BLOCKS)
def test_minibude_is_contradictory_as_written(ni: int) -> None:
    with pytest.raises(hpacml.HpacmlError) as caught:
        hpacml.functor(MINIBUDE).gather(SIX, **poses(ni), nval=POINTS, ni=ni)
    assert "declares 2 features" in str(caught.value)
    assert f"gives {6 * ni} (6 * ni)" in str(caught.value)


@pytest.mark.parametrize("ni", BLOCKS)
def test_minibude_declared_truthfully(ni: int) -> None:
    arrays = poses(ni)
    f = truthful(MINIBUDE, "0:2", "0:6*ni")
    tensor = f.gather(SIX, **arrays, nval=POINTS, ni=ni).numpy()
    rows = [[arrays[f"poses_{k}"][i * ni : i * ni + ni] for k in range(6)] for i in range(POINTS)]
    np.testing.assert_array_equal(tensor, [np.concatenate(row) for row in rows])


@pytest.mark.parametrize("ni", BLOCKS)
def test_minibude_output(ni: int) -> None:
    f = hpacml.functor(LINES[2])
    values = np.random.default_rng(ni).random((POINTS, ni)).astype(np.float32)
    res = np.full(POINTS * ni + 3, -1, np.float32)
    f.scatter(values, "res[0:nval]", res=res, nval=POINTS, ni=ni)
    np.testing.assert_array_equal(res, [*values.ravel(), -1, -1, -1])
    np.testing.assert_array_equal(f.gather("res[0:nval]", res=res, nval=POINTS, ni=ni).numpy(), values)


@pytest.mark.parametrize("m", BLOCKS)
@pytest.mark.parametrize(("line", "declared", "widths"), [(BINOMIAL, 5, [1] * 5), (BONDS, 9, [1, 4, 4])])
def test_multiplied_features(line: str, declared: int, widths: list[int], m: int) -> None:
    rng = np.random.default_rng(m)
    arrays = {f"a{k}": rng.random(POINTS * width * m) for k, width in enumerate(widths)}
    targets = ", ".join(f"{name}[0:n]" for name in arrays)
    expected = np.concatenate([a.reshape(POINTS, -1) for a in arrays.values()], axis=1)
    f = truthful(line, f"0:{declared}", f"0:{declared}*multiplier")
    np.testing.assert_array_equal(f.gather(targets, **arrays, n=POINTS, multiplier=m).numpy(), expected)

    def as_written() -> np.ndarray:
        return hpacml.functor(line).gather(targets, **arrays, n=POINTS, multiplier=m).numpy()

    if m == 1:
        np.testing.assert_array_equal(as_written(), expected)
        return
    with pytest.raises(hpacml.HpacmlError) as caught:
        as_written()
    assert f"declares {declared} features" in str(caught.value)
    assert f"gives {declared * m} ({declared} * multiplier)" in str(caught.value)


@pytest.mark.parametrize("line", [LINES[5], LINES[9]])
def test_multiplied_outputs(line: str) -> None:
    out = np.zeros(POINTS * 4)
    with pytest.raises(hpacml.HpacmlError, match=r"declares 1 feature, the right side gives 4 \(multiplier\)"):
        hpacml.functor(line).scatter(np.ones((POINTS, 1)), "out[0:n]", out=out, n=POINTS, multiplier=4)
    assert not out.any()
    f = truthful(line, "0:1", "0:multiplier")
    f.scatter(np.arange(20.0).reshape(POINTS, 4), "out[0:n]", out=out, n=POINTS, multiplier=4)
    np.testing.assert_array_equal(out, np.arange(20.0))


def test_miniweather() -> None:
    nz, nx, hs = 6, 8, 2
    state = np.random.default_rng(0).random((4, nz + 2 * hs, nx + 2 * hs))
    for functor, target in ((LINES[12], parse(LINES[14])), (LINES[13], parse(LINES[14]))):
        assert isinstance(target, MapDirective)
        text = str(target.application.targets[0])
        tensor = hpacml.functor(functor).gather(text, d_state=state, nz=nz, nx=nx, hs=hs)
        np.testing.assert_array_equal(tensor.numpy(), state)


def test_particle_filter() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 5, 4)).astype(np.uint8)
    names = {"Nfr": 3, "IszX": 5, "IszY": 4}
    tensor = hpacml.functor(LINES[16]).gather("I_GPU[0:Nfr, 0:IszX, 0:IszY]", I_GPU=image, **names)
    np.testing.assert_array_equal(tensor.numpy(), image[..., None])
    x, y = np.zeros(3, np.float32), np.zeros(3, np.float32)
    values = np.arange(6, dtype=np.float32).reshape(3, 2)
    hpacml.functor(LINES[17]).scatter(values, "xe_GPU[0:Nfr], ye_GPU[0:Nfr]", xe_GPU=x, ye_GPU=y, Nfr=3)
    np.testing.assert_array_equal(np.stack([x, y], axis=1), values)
