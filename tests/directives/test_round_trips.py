"""Printing and reading are inverse: directives as canonical text, functors and maps as IR in both forms."""

from __future__ import annotations

from io import StringIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from xdsl.dialects import test
from xdsl.dialects.builtin import DYNAMIC_INDEX, IndexType, MemRefType, ModuleOp, f32
from xdsl.ir import SSAValue
from xdsl.parser import Parser
from xdsl.printer import Printer

from hpacml.dialects.hpacml.attributes import Direction, MappingType
from hpacml.dialects.hpacml.bridge import FunctorOp, MapOp
from hpacml.directives.parser import parse, parse_application_targets, parse_functor, parse_many
from hpacml.directives.syntax import Directive, FunctorDirective, MapDirective, MlDirective
from hpacml.errors import DirectiveError
from hpacml.functors.polynomials import Poly
from hpacml.functors.targets import Bounds, TargetTree, leaves, ranks
from hpacml.functors.tensor_functor import Entry, Functor, Point, Range, Slice
from hpacml.pipelines import make_context

pytestmark = pytest.mark.slow

SYMBOLS = ["i", "j", "k", "n", "m", "N", "nz", "hs", "to", "in", "map", "tensor", "batch", "model", "_x1"]
names = st.sampled_from(SYMBOLS)
numbers = st.integers(0, 99) | st.sampled_from([1 << 31, (1 << 63) - 1])


def several(examples: int) -> settings:
    return settings(max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])


# -- directives as text --------------------------------------------------------------------------------------


def sums(atoms: st.SearchStrategy[str], operators: list[str]) -> st.SearchStrategy[str]:
    """Integer expressions, with the parentheses that they happen to have."""

    def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        binary = st.builds("{} {} {}".format, inner, st.sampled_from(operators), inner)
        return binary | st.builds("({})".format, inner) | st.builds("-{}".format, inner)

    return st.recursive(atoms, larger, max_leaves=6)


indices = sums(names | st.integers(0, 99).map(str), ["+", "-", "*", "+", "-"])
"""For functors."""

bounds = sums(names | numbers.map(str), ["+", "-", "*", "/", "//", "%"])
"""For targets."""

comparisons = st.builds("{} {} {}".format, bounds, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), bounds)
chained = st.builds("{} <= {}".format, comparisons, bounds)
reals = st.floats(0, 1e30, allow_nan=False).map(repr)
conditions = st.recursive(
    comparisons | chained | names | st.sampled_from(["true", "True", "false", "False"]) | reals,
    lambda inner: (
        st.builds("{} {} {}".format, inner, st.sampled_from(["and", "or", "&&", "||"]), inner)
        | st.builds("not {}".format, inner)
        | st.builds("!({})".format, inner)
        | st.builds("({}) == ({})".format, inner, inner)
    ),
    max_leaves=6,
)


def listed(items: st.SearchStrategy[str], most: int, form: str) -> st.SearchStrategy[str]:
    return st.lists(items, min_size=1, max_size=most).map(", ".join).map(form.format)


slices = listed(
    indices | st.builds("{}:{}".format, indices, indices) | st.builds("{}:{}:{}".format, indices, indices, indices),
    4,
    "[{}]",
)
functors = st.builds("{}: {} = {}".format, names, slices, listed(slices, 4, "({})"))

ranges = st.one_of(
    bounds,
    st.builds("{}:".format, bounds),
    st.builds("{}:{}".format, bounds, bounds),
    st.builds("{}::{}".format, bounds, bounds),
    st.builds("{}:{}:{}".format, bounds, bounds, bounds),
)


def target(entries: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds("{}{}".format, names, listed(entries, 3, "[{}]"))


targets = listed(st.recursive(target(ranges), lambda inner: target(ranges | inner), max_leaves=5), 3, "{}")
applications = st.builds("{}({})".format, names, targets)
maps = st.builds("tensor map({}: {})".format, st.sampled_from(["to", "from"]), applications)
named_maps = st.builds("declare tensor({}: {})".format, names, applications)

words = st.text("abc./ -'é", min_size=1, max_size=8).map('"{}"'.format) | st.text('xyz_0"', min_size=1).map(
    "'{}'".format
)
labels = words.filter(lambda word: "/" not in word and word != '"."')
files = words | names
steps = st.fixed_dictionaries(
    {},
    optional={
        "every": st.integers(1, 1 << 40),
        "fraction": st.floats(0, 1, exclude_min=True),
        "most": st.integers(1, 1 << 40),
    },
)


@st.composite
def samplings(draw: st.DrawFn) -> str:
    """A clause `sample`, or none."""
    chosen: dict[str, float] = draw(steps)
    if "fraction" in chosen and draw(st.booleans()):
        chosen["seed"] = draw(st.integers(0, 99))
    return f"sample({', '.join(f'{key}: {chosen[key]!r}' for key in draw(st.permutations(list(chosen))))})"


modes = st.sampled_from(["infer", "collect", "offline"]) | conditions.map("predicated: {}".format)


@st.composite
def regions(draw: st.DrawFn) -> str:
    """An `ml` directive with some of the clauses, in any order."""
    items = draw(st.lists(names | applications, max_size=6, unique=True))
    a, b = sorted(draw(st.tuples(*[st.integers(0, len(items))] * 2)))
    lists = {"in": items[:a], "out": items[a:b], "inout": items[b:]}
    clauses = [f"{keyword}({', '.join(some)})" for keyword, some in lists.items() if some]
    for keyword, strategy in {"model": files, "database": files, "label": labels, "if": conditions}.items():
        if draw(st.booleans()):
            clauses.append(f"{keyword}({draw(strategy)})")
    clauses += draw(st.sampled_from([[], ["batch"], ["batch(1)"], ["batch(4096)"]]))
    sample = draw(samplings())
    clauses += [sample] * (sample != "sample()")
    if units := draw(st.dictionaries(names, words, max_size=3)):
        clauses.append(f"units({', '.join(f'{array}: {unit}' for array, unit in units.items())})")
    separator = draw(st.sampled_from([" ", ", ", "\n", " \\\n"]))
    return f"ml({draw(modes)}) {separator.join(draw(st.permutations(clauses)))}"


def canonical(directive: Directive) -> str:
    """The canonical text as a whole directive."""
    if isinstance(directive, FunctorDirective):
        return f"tensor functor({directive.canonical})"
    return directive.canonical


def survives(text: str, kind: type) -> None:
    directive = parse(text)
    assert isinstance(directive, kind)
    again = parse(canonical(directive))
    assert again == directive
    assert hash(again) == hash(directive)
    assert canonical(again) == canonical(directive)


@several(200)
@given(functors)
def test_functors(text: str) -> None:
    try:
        directive = parse_functor(text)
    except DirectiveError as error:
        refused = error.message
    else:
        refused = None
    if refused is not None:
        assert any(words in refused for words in ("64 bits", "multiplied out", "cancels out"))
        return
    assert parse_functor(directive.canonical) == directive
    assert parse_functor(directive.canonical).canonical == directive.canonical
    survives(f"tensor functor({text})", FunctorDirective)
    survives(f"#pragma approx declare tensor_functor({text})", FunctorDirective)
    assert parse(f"tensor functor({text})") == directive


@several(300)
@given(maps | named_maps)
def test_maps(text: str) -> None:
    survives(text, MapDirective)
    directive = parse(text)
    assert isinstance(directive, MapDirective)
    shown = ", ".join(map(str, directive.application.targets))
    assert parse_application_targets(shown) == directive.application.targets


@several(300)
@given(regions())
def test_regions(text: str) -> None:
    survives(text, MlDirective)


@several(100)
@given(st.lists(maps | named_maps | regions(), min_size=1, max_size=4))
def test_several(texts: list[str]) -> None:
    directives = parse_many("\n".join(texts))
    assert directives == [parse(text) for text in texts]
    assert parse_many("\n".join(map(canonical, directives))) == directives


# -- functors and maps as IR ---------------------------------------------------------------------------------

PARAMS = ["m", "ni", "hs"]
SWEEP = ["i", "j", "k"]


def printed(module: ModuleOp, generic: bool) -> str:
    text = StringIO()
    Printer(text, print_generic_format=generic).print_op(module)
    return text.getvalue()


def reread(module: ModuleOp, generic: bool) -> ModuleOp:
    """The module, printed and parsed: printing it again gives the same text."""
    text = printed(module, generic)
    again = Parser(make_context(), text).parse_module()
    assert printed(again, generic) == text
    assert again.is_structurally_equivalent(module)
    return again


coefficients = st.integers(-3, 3) | st.sampled_from([1 << 17, -(1 << 17)])


@st.composite
def polys(draw: st.DrawFn, symbols: list[str]) -> Poly:
    """Affine in `symbols`, with coefficients that may hold parameters."""
    monomials = [(), *((p,) for p in PARAMS), ("m", "ni"), ("m", "m")]
    monomials += [(s,) for s in symbols] + [(s, p) for s in symbols for p in PARAMS]
    terms = draw(st.lists(st.tuples(st.sampled_from(monomials), coefficients), max_size=3))
    return Poly.of(terms)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    start = draw(polys([*SWEEP, "q"]))
    if draw(st.booleans()):
        return Point(start)
    step = Poly.constant(draw(st.sampled_from([1, 1, 2, -1, -3])))
    return Range(start, start + draw(polys([])), draw(st.just(step) | st.just(Poly.name("m"))))


@st.composite
def valid_functors(draw: st.DrawFn) -> Functor:
    """Functors that do not contradict themselves: the left side holds what the right side gives."""
    rhs = tuple(tuple(draw(st.lists(entries(), max_size=3))) for _ in range(draw(st.integers(1, 3))))
    params = frozenset(PARAMS)
    used = frozenset[str]().union(*(e.names for s in rhs for e in s))
    sweep = [s for s in SWEEP if s in used and draw(st.booleans())]
    points: Slice = tuple(Point(Poly.name(s)) for s in sweep)
    given = Functor((*points, Point(Poly.name("f"))), rhs, params).given_features
    feature: Entry = Point(Poly.name("f"))
    if given is not None and given.as_int != 0 and draw(st.booleans()):
        feature = Range(Poly.constant(0), given)
    return Functor(tuple(draw(st.permutations([*points, feature]))), rhs, params)


@several(300)
@given(valid_functors(), st.booleans())
def test_functor_ops(functor: Functor, generic: bool) -> None:
    module = ModuleOp([FunctorOp("f", functor)])
    module.verify()
    (again,) = reread(module, generic).ops
    assert isinstance(again, FunctorOp)
    again.verify()
    found = again.functor
    assert (found.lhs, found.rhs) == (functor.lhs, functor.rhs)
    assert found.params == frozenset(functor.used_params)
    if all(functor.rhs):  # in IR a slice may be empty: that of an array without dimensions
        assert parse_functor(again.declaration).functor(found.params) == found


values = st.none() | st.integers(-9, 99) | st.sampled_from([(1 << 63) - 1, -(1 << 63)])
constants = values.filter(lambda value: value is not None)
single_indices = values.map(lambda v: Bounds(v, None if v is None else v + 1, single=True))
trees: st.SearchStrategy[TargetTree] = st.recursive(
    st.lists(st.builds(Bounds, values, values, st.just(1) | values) | single_indices, max_size=3).map(tuple),
    lambda inner: st.lists(st.builds(Bounds, values, values) | single_indices | inner, min_size=1, max_size=3).map(
        tuple
    ),
    max_leaves=5,
)


def map_module(functor: Functor, direction: Direction, targets: list[TargetTree], text: str | None) -> ModuleOp:
    """A map whose arrays and numbers come from nowhere."""
    ranks = [rank for tree in targets for rank in ranks_in(tree)]
    open_numbers = sum(n is None for tree in targets for b in leaves(tree) for n in b.numbers)
    arrays = [MemRefType(f32, [DYNAMIC_INDEX] * rank) for rank in ranks]
    index = [IndexType()] * (open_numbers + len(functor.used_params))
    source = test.TestOp(result_types=[*arrays, *index])
    results: list[SSAValue] = list(source.results)
    numbers = results[len(arrays) :]
    mapping = MapOp(
        direction,
        "f",
        targets,
        results[: len(arrays)],
        numbers[:open_numbers],
        numbers[open_numbers:],
        MappingType.of([None, 3], f32),
        text,
    )
    return ModuleOp([FunctorOp("f", functor), source, mapping])


def ranks_in(tree: TargetTree) -> list[int]:
    """The ranks of the arrays of a target, depth first."""
    return [len(tree)] + [rank for e in tree if not isinstance(e, Bounds) for rank in ranks_in(e)]


@several(300)
@given(
    valid_functors(),
    st.sampled_from(list(Direction)),
    st.lists(trees, min_size=1, max_size=3),
    st.none() | st.text("f(a[0:n\"'\\)]", max_size=9),
    st.booleans(),
)
def test_map_ops(
    functor: Functor, direction: Direction, targets: list[TargetTree], text: str | None, generic: bool
) -> None:
    module = map_module(functor, direction, targets, text)
    *_, again = reread(module, generic).ops
    assert isinstance(again, MapOp)
    assert again.direction.data == direction
    assert [t.data for t in again.targets] == targets
    assert (again.text and again.text.data) == text
    assert len(again.arrays) == len(ranks(targets))
    again.verify_counts(len(functor.used_params))


MAP = """
hpacml.functor @f : [i, 0:3] = ([i, 0:3])
%d, %idx, %n = "test.op"() : () -> (memref<?x?xf32>, memref<?xi32>, index)
%m = hpacml.map to @f(%d[*%idx[0 : %n], 0 : 3]) : memref<?x?xf32>, memref<?xi32> -> !hpacml.mapping<?x3xf32>
"""


@pytest.mark.parametrize("generic", [False, True])
def test_indirect_map(generic: bool) -> None:
    module = Parser(make_context(), MAP).parse_module()
    *_, op = reread(module, generic).ops
    assert isinstance(op, MapOp)
    assert [t.data for t in op.targets] == [((Bounds(0, None),), Bounds(0, 3))]
    assert [len(group) for group in (op.arrays, op.bounds, op.params)] == [2, 1, 0]
    assert "%d[*%idx[0 : %n], 0 : 3]" in printed(module, generic=False)
