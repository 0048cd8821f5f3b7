"""The directive language: what it accepts, what it makes of it, and how it refuses the rest."""

from __future__ import annotations

import ast
import dataclasses
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpacml.clauses import Sampling
from hpacml.directives.expressions import Expr, evaluate, evaluate_int
from hpacml.directives.parser import parse, parse_application_targets, parse_functor, parse_many
from hpacml.directives.syntax import (
    Application,
    Batch,
    Directive,
    FunctorDirective,
    MapDirective,
    MlDirective,
    Name,
    Target,
    TargetIndex,
    TargetRange,
)
from hpacml.errors import DirectiveError

PAPER = [
    "#pragma approx tensor functor(ifnctr: [i, j, 0:5] = ([i-1, j], [i+1, j], [i, j-1:j+2]))",
    "#pragma approx tensor map(to: ifnctr(t[1:N-1, 1:M-1]))",
    "#pragma approx tensor map(from: ofnctr(tnew[1:N-1, 1:M-1]))",
    "#pragma approx ml(predicated:true) in(t) out(tnew) model('path/model.pt') database(\"d.h5\") if(s > 9)",
]
RELEASED = [
    "#pragma approx declare tensor_functor(ipt_functor: [i,0:2] = ([i*ni:i*ni+ni], [i*ni:i*ni+ni]))",
    "#pragma approx declare tensor(ipt: ipt_functor(poses_0[0:nval], poses_1[0:nval], poses_2[0:nval]))",
    "#pragma approx declare tensor_functor(opt_functor: [i, 0:ni] = ([i*ni:i*ni+ni]))",
    '#pragma approx ml(infer) in(ipt) out(opt_functor(res[0:nval])) label("BUDEKernel")',
    "#pragma approx declare tensor_functor(ipt_fn: [i, 0:5] = ([i*multiplier:i*multiplier+multiplier]))",
    "#pragma approx declare tensor(ipt_tens: ipt_fn(d_S[0:ni], d_X[0:ni], d_vDt[0:ni], d_puByDf[0:ni]))",
    '#pragma approx ml(infer) in(ipt_tens) out(opt_fn(d_CallValue[0:ni])) label("BinomialOptionsKernel")',
    "#pragma approx declare tensor_functor(bond_functor: [i,0:9] = ([i*multiplier:i*multiplier+multiplier], "
    "[i*multiplier*4:i*multiplier*4+(multiplier*4)], [i*4*multiplier:i*4*multiplier+(4*multiplier)]))",
    "#pragma approx declare tensor_functor(state_functor: [i, j, k] = ([i,j,k]))",
    "#pragma approx declare tensor(ipt_tens: state_functor(d_state[0:4, 0:(nz+2*hs), 0:(nx+2*hs)]))",
    "#pragma approx ml(infer) in(ipt_tens) out(state_functor2(d_state[0:4, 0:nz+(2*hs), 0:nx+(2*hs)])) "
    'label("MiniWeatherTimestep")',
    "#pragma approx declare tensor_functor(ipt_functor: [i, j, k, 0:1] = ([i, j, k]))",
    "#pragma approx declare tensor(ipt_tensor: ipt_functor(I_GPU[0:Nfr, 0:IszX, 0:IszY]))",
    "#pragma approx ml(infer) in(ipt_tensor) out(opt_functor(xe_GPU[0:Nfr], ye_GPU[0:Nfr]))",
    "#pragma approx ml(offline) in(a) out(b)",
]
OTHERS = [
    "tensor functor(f: [0:4, i, j] = ([-i + 2*(3 - m)*j, 0:4:2]))",
    "approx tensor map(to: g(data[acc1[acc2[0:N]]], pos[idx[0:N], 0:3], x[3, a:], y[n/2:n:2], z[a::2]))",
    "ml(collect), label('he\"at'), inout(t, f(u[0:n])), batch(4096), database(path)",
    "ml(infer) batch model(net) if(!(a && b) || not c and 1 < x <= 2.5e-3 or x / -2 != y % 3 // 4)",
    "tensor\\\n functor \\\r\n (f:\t[i]\n= ([i]))",
    "ml(infer) in(in) out(out) inout(model, batch) model(label)",
    "tensor functor(tensor: [to] = ([to, map]))",
    "tensor map(to: from(to[ml:declare]))",
    "ml(predicated: Δt > 0) in(größe)",
    "ml(collect), sample(most: 1000, every: (10), fraction: 1e-5, seed: 0), units(t: 'm/s', \n größe: \"°C\")",
    "ml(offline) in(sample, units) units(every: 'a\"') sample(fraction: 1)",
]
VALID = PAPER + RELEASED + OTHERS


def reparse(directive: Directive) -> Directive:
    if isinstance(directive, FunctorDirective):
        return parse_functor(directive.canonical)
    return parse(directive.canonical)


@pytest.mark.parametrize("text", VALID)
def test_accepts_and_prints(text: str):
    directive = parse(text)
    assert reparse(directive) == directive
    assert reparse(directive).canonical == directive.canonical
    assert hash(reparse(directive)) == hash(directive)
    assert directive.text is text
    assert parse_many(text) == [directive]


CANONICAL = {
    PAPER[0]: "ifnctr: [i, j, 0:5] = ([i - 1, j], [i + 1, j], [i, j - 1 : j + 2])",
    PAPER[1]: "tensor map(to: ifnctr(t[1 : N - 1, 1 : M - 1]))",
    PAPER[3]: 'ml(predicated: True) in(t) out(tnew) model("path/model.pt") database("d.h5") if(s > 9)',
    RELEASED[9]: "declare tensor(ipt_tens: state_functor(d_state[0:4, 0 : nz + 2 * hs, 0 : nx + 2 * hs]))",
    RELEASED[14]: "ml(collect) in(a) out(b)",
    OTHERS[1]: "tensor map(to: g(data[acc1[acc2[0:N]]], pos[idx[0:N], 0:3], x[3, a:], y[n // 2 : n : 2], z[a::2]))",
    OTHERS[2]: "ml(collect) inout(t, f(u[0:n])) database(path) label('he\"at') batch(4096)",
    OTHERS[3]: "ml(infer) model(net) if(not (a and b) or (not c and 1 < x <= 0.0025) or x / -2 != y % 3 // 4) batch",
    OTHERS[9]: 'ml(collect) sample(every: 10, fraction: 1.0e-05, seed: 0, most: 1000) units(t: "m/s", größe: "°C")',
    OTHERS[10]: "ml(collect) in(sample, units) sample(fraction: 1.0) units(every: 'a\"')",
}


@pytest.mark.parametrize(("text", "canonical"), CANONICAL.items())
def test_canonical(text: str, canonical: str):
    assert parse(text).canonical == canonical


def test_functor():
    directive = parse(PAPER[0])
    assert isinstance(directive, FunctorDirective)
    assert directive.name == "ifnctr"
    assert [len(entries) for entries in (directive.lhs, *directive.rhs)] == [3, 2, 2, 2]
    shown = [[PAPER[0][slice(*span)] for span in spans] for spans in directive.spans]
    assert shown == [["i", "j", "0:5"], ["i-1", "j"], ["i+1", "j"], ["i", "j-1:j+2"]]
    assert directive.functor().sweep == ("i", "j")
    assert parse_functor(PAPER[0].removeprefix("#pragma approx ")) == directive
    assert parse_functor("ifnctr: [i, j, 0:5] = ([i-1, j], [i+1, j], [i, j-1:j+2])") == directive


def test_functor_errors_point_at_the_slice():
    directive = parse_functor("f: [i, 0:2] = ([i], [i*m + i*n])")
    assert directive.functor(frozenset("mn")).used_params == ("m", "n")
    with pytest.raises(DirectiveError, match="affine") as caught:
        directive.functor()
    assert directive.text[caught.value.start : caught.value.end] == "i*m + i*n"


def test_maps():
    directive = parse("tensor map(from: f(a[b[0:n], 3, k:]))")
    assert isinstance(directive, MapDirective)
    assert (directive.direction, directive.name) == ("from", None)
    (target,) = directive.application.targets
    inner, index, tail = target.entries
    assert isinstance(inner, Target)
    assert inner.array == "b"
    assert isinstance(index, TargetIndex)
    assert directive.text[slice(*index.span)] == "3"
    assert isinstance(tail, TargetRange)
    assert tail.stop is None
    named = parse("declare tensor(x: f(a[0:n]))")
    assert isinstance(named, MapDirective)
    assert (named.direction, named.name) == (None, "x")


def test_ml():
    text = "approx ml(predicated: use) in(t, f(u[0:n])) out(v) model(m) label('r') if(a) batch(8) database('d')"
    directive = parse(text)
    assert isinstance(directive, MlDirective)
    assert directive.mode == "predicated"
    assert str(directive.condition) == "use"
    assert [type(item) for item in directive.inputs] == [Name, Application]
    assert directive.inouts == ()
    assert isinstance(directive.model, Name)
    assert (directive.model.id, directive.database, directive.label) == ("m", "d", "r")
    assert directive.batch == Batch(8)
    assert text[slice(*directive.clauses["label"])] == "label"
    assert text[slice(*directive.span)] == text.removeprefix("approx ")
    sampled = parse("ml(collect) units(t: 'K') sample(every: 10, fraction: 0.5)")
    assert isinstance(sampled, MlDirective)
    assert sampled.sample == Sampling(every=10, fraction=0.5)
    assert [(unit.array.id, unit.unit) for unit in sampled.units] == [("t", "K")]
    plain = parse("ml(infer) batch")
    assert isinstance(plain, MlDirective)
    assert plain.batch == Batch(None)
    assert plain.sample is None
    assert plain.units == ()
    assert plain.model is plain.database is plain.label is plain.if_condition is plain.condition is None


def test_strings_are_plain_strings():
    directive = parse("ml(infer) in(t) label('r')")
    assert isinstance(directive, MlDirective)
    assert {type(text) for text in (directive.mode, directive.label, *directive.clauses)} == {str}


def test_names_are_normalised_as_python_does():
    (target,) = parse_application_targets("µ[0:n]")
    assert target.array == ast.parse("µ").body[0].value.id  # pyright: ignore


def test_parse_many():
    text = """tensor functor(f: [i, 0:2] = ([i],
                                              [i]))
              #pragma approx tensor functor(g: [i, 0:1] = ([i]))
              approx ml(collect) in(f(a[0:n], b[0:n]))
                                 out(g(c[0:n]))
                                 database('x.h5')
              declare tensor(m: f(a[0:n]))"""
    kinds = [type(directive) for directive in parse_many(text)]
    assert kinds == [FunctorDirective, FunctorDirective, MlDirective, MapDirective]
    with pytest.raises(DirectiveError) as caught:
        parse_many(text.replace("out(", "oot("))
    assert caught.value.start == text.index("out(")
    assert "did you mean 'out'?" in str(caught.value)


def test_parse_application_targets():
    first, second = parse_application_targets("a[0:n], b[1:n-1, 1:m-1]")
    assert (str(first), str(second)) == ("a[0:n]", "b[1 : n - 1, 1 : m - 1]")


def test_directives_are_values():
    spaced = parse("tensor  map( to :f( t[1 :N-1]) )")
    assert spaced == parse("tensor map(to: f(t[1:N-1]))")
    assert spaced != parse("tensor map(to: f(t[1:N-2]))")
    with pytest.raises(dataclasses.FrozenInstanceError):
        spaced.name = "x"  # pyright: ignore


# -- expressions -------------------------------------------------------------------------------------------


def condition(text: str) -> Expr:
    directive = parse(f"ml(infer) if({text})")
    assert isinstance(directive, MlDirective)
    assert directive.if_condition is not None
    return directive.if_condition


def bound(text: str) -> Expr:
    entry = parse_application_targets(f"t[{text}]")[0].entries[0]
    assert isinstance(entry, TargetIndex)
    return entry.expr


VALUES: dict[str, object] = {
    "n": 7,
    "m": np.int64(3),
    "x": np.float32(0.5),
    "yes": True,
    "no": np.bool_(False),
}


@pytest.mark.parametrize(
    "text",
    [
        *("n + m * 2 - -1", "(n - m) * 2", "n // 2", "n / 2", "n % m", "1 < m <= 3 < n", "m > n > 0 // 1"),
        *(
            "yes and not no",
            "no or n",
            "not n == 7",
            "x * 2 >= 1.0",
            "1e3 + .5",
            "True",
            "n - m - 1",
            "-n // m",
        ),
    ],
)
def test_conditions_mean_what_python_says(text: str):
    expected = eval(text, {}, VALUES)
    assert evaluate(condition(text), VALUES) == (bool(expected) if text == "no or n" else expected)
    assert eval(compile(ast.Expression(condition(text).node), "", "eval"), {}, VALUES) == expected


@pytest.mark.parametrize(
    ("c", "python"),
    [("!yes || no && yes", "not yes or (no and yes)"), ("!n == m", "(not n) == m"), ("true", "True")],
)
def test_conditions_in_c(c: str, python: str):
    assert str(condition(c)) == python


def test_slash_is_integer_division_in_a_bound():
    assert evaluate_int(bound("n / 2"), VALUES) == 3
    assert evaluate(condition("n / 2"), VALUES) == 3.5
    assert bound("n / 2") == bound("n // 2")


def test_expressions_know_names_and_places():
    text = "ml(infer) if(a + bc > 1)"
    expr = condition("a + bc > 1")
    assert expr.names == {"a", "bc"}
    assert text[slice(*expr.span)] == "a + bc > 1"
    offsets = {node.id: node.col_offset for node in ast.walk(expr.node) if isinstance(node, ast.Name)}
    assert offsets == {"a": text.index("a + bc"), "bc": text.index("bc")}


@pytest.mark.parametrize(
    ("text", "message", "culprit"),
    [
        ("n + K", "'K' is not a known number; known are m, n, no, x, yes", "K"),
        ("n // (m - 3)", "'m - 3' is 0, and is divided by", "m - 3"),
        ("n % 0", "'0' is 0, and is divided by", "0"),
        ("x * 2", "'x * 2' is 1.0, not an integer", "x * 2"),
        ("yes", "'yes' is True, not an integer", "yes"),
        (
            "n * 4611686018427387904",
            "'n * 4611686018427387904' does not fit 64 bits",
            "n * 4611686018427387904",
        ),
    ],
)
def test_evaluation_errors(text: str, message: str, culprit: str):
    with pytest.raises(DirectiveError) as caught:
        evaluate_int(bound(text), VALUES)
    error = caught.value
    assert error.message == message
    assert error.text[error.start : error.end] == culprit


# -- mistakes ----------------------------------------------------------------------------------------------

CLAUSES = "'batch', 'clip', 'database', 'engine', 'guard', 'if', 'in', 'inout', 'label', 'meta', 'model', 'out', 'pointwise', 'project', 'sample', 'truth', 'units', 'verify' or the end of the text"
F = "tensor functor(f: [i, 0:2] = ([i], «»))"

MISTAKES = [
    # misspelt words
    (
        "tensor «functr»(f: [i] = ([i]))",
        "found 'functr', expected 'functor' or 'map'; did you mean 'functor'?",
    ),
    ("tensor map(«too»: f(t[0:N]))", "found 'too', expected 'from' or 'to'; did you mean 'to'?"),
    ("ml(«inferr») in(t)", "did you mean 'infer'?"),
    ("ml(«train») in(t)", "did you mean 'collect'?"),
    ("ml(infer) «mdoel»('x')", f"found 'mdoel', expected {CLAUSES}; did you mean 'model'?"),
    ("ml(infer) «inputs»(t)", "did you mean 'in'?"),
    ("«Tensor» map(to: f(t[0:N]))", "did you mean 'tensor'?"),
    ("ml(infer) if(a «adn» b)", "did you mean 'and'?"),
    ("#pragma «omp» parallel for", "found 'omp', expected 'declare', 'ml' or 'tensor'"),
    (
        "declare tensor «functor»(f: [i] = ([i]))",
        "write 'tensor functor(...)' or 'declare tensor_functor(...)'",
    ),
    # brackets and separators
    (
        "tensor functor(f: [i] = «[»i])",
        "found '[', expected '(': the slices on the right stand in parentheses",
    ),
    (
        "tensor functor(f: [i] = ([i-1] «[»i+1]))",
        "found '[', expected ')' or ',': a ',' stands between slices",
    ),
    ("tensor functor(f «[»i] = ([i]))", "found '[', expected ':'"),
    ("tensor functor(f: [i, j «=» ([i]))", "close the '[' first"),
    ("tensor functor«(»f: [i] = ([i])", "this '(' is never closed; expected ')' at the end"),
    ("tensor map(to: f(t[0:N«)»)", "found ')', expected ',', ':' or ']': close the '[' first"),
    ("tensor map(to: f(t[0:N]))«)»", "no bracket is open here"),
    ("tensor map(to: f(t[0:N]))«;»", "leave the semicolon out"),
    ("tensor map(to: f(t[0:N]«[»0:M]))", "all dimensions stand in one pair of brackets"),
    ("tensor map(to: t«[»0:N])", "a functor is applied to the array, as in f(t[0:n])"),
    ("tensor map(«f»(t[0:N]))", "say the direction first, as in to: f(t[0:n])"),
    ("ml(infer) in(«)»", "found ')', expected a name: give at least one"),
    ("ml(infer) in(t)\n«tensor» map(to: f(t[0:N]))", "one directive is expected here"),
    # ranges and indices
    (F.replace("«»", "[«j-1:»]"), "a range in a functor needs both bounds: write where it ends, j - 1:stop"),
    (F.replace("«»", "[«:»5]"), "a range in a functor needs both bounds, as in 0:5"),
    ("tensor map(to: f(t[«::-1»]))", "a range that may run backwards needs a start, as in n-1:0:-1"),
    ("tensor map(to: f(t[«:N:s»]))", "a range that may run backwards needs a start, as in n-1:0:-1"),
    (F.replace("«»", "[«i/2»]"), "the indices of a functor are affine, so '/' cannot be used in them"),
    (F.replace("«»", "[1 + «i % 2»]"), "the indices of a functor are affine, so '%' cannot be used in them"),
    (F.replace("«»", "[«i < 2»]"), "the indices of a functor are affine, so '<' cannot be used in them"),
    (F.replace("«»", "[i*«*»2]"), "there is no power operator"),
    (F.replace("«»", "[i + «0.5»]"), "0.5 is not an integer, but the indices of a functor are"),
    (F.replace("«»", "[g«(»i)]"), "an expression has no calls"),
    (F.replace("«»", "[2«i»]"), "a product needs its '*'"),
    (F.replace("«»", "[idx«[»i]]"), "an expression cannot read an element of an array"),
    ("tensor map(to: f(t[idx[0]«+»1:N]))", "an expression cannot read an element of an array"),
    ("tensor map(to: f(t[0:«N > 3»]))", "an index or bound is integer arithmetic: '>' has no place in it"),
    ("tensor map(to: f(t[0:«2.5»]))", "2.5 is not an integer: an index or bound must be one"),
    ("tensor map(to: f(t[0:«99999999999999999999»]))", "the number does not fit 64 bits"),
    ("tensor map(to: f(t[0:«010»]))", "write 10 without leading zeros"),
    ("tensor map(to: f(«not»[0:3]))", "'not' cannot be a name"),
    ("tensor map(to: f(t[«\0»]))", "found the character U+0000, expected an expression"),
    # clauses
    ("ml(infer) in(t) «in»(u)", "the clause 'in' is given twice: join the two into one"),
    ("ml(«predicated») in(t)", "'predicated' needs a condition: write predicated: c"),
    ("ml(infer: «step > 10») in(t)", "'infer' takes no condition: write if(...)"),
    ("ml(infer) in(t) inout(u, «t»)", "'t' is in 'inout' and in 'in': 'inout' is both"),
    ("ml(infer) inout(«f(t[0:n])») out(f(t[0:n]))", "'f(t[0:n])' is in 'inout' and in 'out'"),
    ("ml(infer) model(heat«.»pt2)", "put the text between quotes"),
    ("ml(infer) label(«heat»)", "found 'heat', expected a quoted string: put the text between quotes"),
    ("ml(infer) label(«'»heat)", "this quote is not closed on its line"),
    ("ml(infer) label(«\u201c»heat\u201d)", "write straight quotes"),
    ("ml(infer) label(«''»)", "the string is empty"),
    ("ml(infer) label(«'a\0b'»)", "the string holds a control character"),
    ("ml(infer) batch(«0»)", "a batch has at least one row"),
    (
        "ml(infer) batch(«n»)",
        "found 'n', expected an integer: write the number of rows in digits, or just batch",
    ),
    ("ml(collect) sample(every: «0»)", "'every' is an integer, 1 or more, as in every: 10"),
    ("ml(collect) sample(every: «2.5»)", "'every' is an integer"),
    ("ml(collect) sample(every: «n + 1»)", "'every' is an integer"),
    ("ml(collect) sample(every: «True»)", "'every' is an integer"),
    ("ml(collect) sample(most: «--3»)", "'most' is an integer"),
    ("ml(collect) sample(fraction: 0.5, seed: «-1»)", "'seed' is an integer, 0 or more"),
    ("ml(collect) sample(fraction: «0»)", "'fraction' is a number above 0 and up to 1"),
    ("ml(collect) sample(fraction: «-0.5»)", "'fraction' is a number above 0 and up to 1"),
    ("ml(collect) sample(fraction: «1.5»)", "'fraction' is a number above 0 and up to 1"),
    ("ml(collect) sample(fraction: «p»)", "'fraction' is a number above 0 and up to 1"),
    ("ml(collect) sample(every: «99999999999999999999»)", "the number does not fit 64 bits"),
    ("ml(collect) sample(«seed»: 1)", "'seed' chooses the calls of a 'fraction': give one"),
    ("ml(collect) sample(«evry»: 1)", "'sample' has no 'evry': did you mean 'every'?"),
    ("ml(collect) sample(«rows»: 1)", "'sample' has no 'rows': it takes every, fraction, seed, most"),
    ("ml(collect) sample(most: 1, «most»: 1)", "'most' is given twice: leave one of them out"),
    ("ml(collect) sample(every: «)»", "found ')', expected an expression: write a number, as in sample(every: 10)"),
    ("ml(collect) sample(every: 1,«)»", "leave the ',' before it out"),
    ("ml(collect) «sampling»(every: 1)", "did you mean 'sample'?"),
    ("ml(collect) units(t: 'K', «t»: 'm')", "'t' is given twice: leave one of them out"),
    ("ml(collect) units(t: 'K') «units»(u: 'm')", "the clause 'units' is given twice: join the two into one"),
    ("ml(collect) units(t: «K»)", 'write the unit between quotes, as in units(t: "K")'),
    ("ml(collect) units(t: «''»)", "the string is empty"),
    ("ml(collect) units(«true»: 'K')", "'true' cannot be a name"),
    ("ml(infer) if(step «=» 10)", "found '=', expected an operator or ')': compare with '=='"),
    ("ml(infer) if(a «&» b)", "write 'and' or 'or'"),
    ("ml(infer) if(t.any«(»))", "an expression has no calls"),
    ("tensor functor(«a.f»: [i] = ([i]))", "'a.f' cannot be a name: only arguments have attributes"),
]


@pytest.mark.parametrize(("marked", "message"), MISTAKES)
def test_mistakes(marked: str, message: str):
    text = marked.replace("«", "").replace("»", "")
    with pytest.raises(DirectiveError) as caught:
        parse(text)
    error = caught.value
    assert message in error.message
    assert error.text == text
    assert (error.start, error.end) == (marked.index("«"), marked.index("»") - 1)


@pytest.mark.parametrize("text", ["", "   \n", "approx", "#pragma approx tensor", "ml", "ml(infer),"])
def test_text_that_ends_too_early(text: str):
    with pytest.raises(DirectiveError, match="the text ends too early; expected ") as caught:
        parse(text)
    assert caught.value.start == len(text.rstrip())


def test_parse_functor_wants_a_functor():
    with pytest.raises(DirectiveError, match="expected a functor"):
        parse_functor("ml(infer) in(t)")


# -- robustness --------------------------------------------------------------------------------------------

ALL = (parse, parse_many, parse_functor, parse_application_targets)


def parses_or_refuses(text: str):
    for function in ALL:
        with suppress(DirectiveError):
            function(text)
    try:
        directive = parse(text)
    except DirectiveError as refused:
        error = refused
    else:
        assert reparse(directive) == directive
        return
    assert 0 <= error.start <= len(text)
    assert error.message in str(error)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60) | st.text("tensormapl()[]:,=+-*/%!&|<>'\"#\\\n .0i9", max_size=60))
def test_any_text(text: str):
    parses_or_refuses(text)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_mutated_directives(data: st.DataObject):
    text = data.draw(st.sampled_from(VALID))
    for _ in range(data.draw(st.integers(1, 3))):
        a, b = sorted(data.draw(st.tuples(*[st.integers(0, len(text))] * 2)))
        other = data.draw(st.sampled_from(VALID))
        c = data.draw(st.integers(0, len(other)))
        piece = data.draw(st.sampled_from(["", other[c : c + 1], other[c : c + 6], text[a : a + 4] * 2]))
        text = text[:a] + piece + text[min(b, a + 4) :]
    parses_or_refuses(text)


N = 10_000
BOMBS = {
    "brackets": "[" * N,
    "open": "tensor map(to: f(" + "a[" * N,
    "indirection": f"tensor map(to: f({'a[' * N}0:n{']' * N}))",
    "minuses": f"tensor map(to: f(t[{'-' * N}i]))",
    "sum": f"tensor functor(f: [i] = ([{'+'.join('i' * N)}]))",
    "nots": f"ml(infer) if({'not ' * N}i)",
    "product": f"tensor functor(f: [i] = ([{'*'.join(['(a+b+c+d)'] * 40)}]))",
    "power": f"tensor functor(f: [i] = ([{'*'.join(['999999999'] * 40)}]))",
    "features": f"tensor functor(f: [{', '.join(['0:a+b'] * 40)}] = ([i]))",
    "digits": f"ml(infer) batch({'9' * N})",
    "float": f"ml(infer) if({'9' * N}.0)",
    "length": "x" * 1_000_000,
    "surrogates": "\ud800\udc80 ml(infer)",
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS.keys())
def test_bombs(text: str):
    for function in ALL:
        with pytest.raises(DirectiveError):
            function(text)


@pytest.mark.parametrize("text", [f"f: [i] = ([{'(' * N}i{')' * N}])", f"f: [i] = ({','.join(['[i]'] * 999)})"])
def test_long_but_harmless(text: str):
    assert parse_functor(parse_functor(text).canonical) == parse_functor(text)
