"""Compiles directives in a kernel: `approx(...)` becomes operations of the `hpacml` dialect."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import partial
from typing import Protocol

import numpy as np
from xdsl.dialects.builtin import MemRefType
from xdsl.dialects.memref import AllocOp
from xdsl.ir import Region, SSAValue

from hpacml.clauses import is_policy
from hpacml.dialects.hpacml.attributes import Direction, dtype_name
from hpacml.dialects.hpacml.bridge import FunctorOp, MapOp
from hpacml.dialects.hpacml.control import MlOp
from hpacml.directives.expressions import Expr
from hpacml.directives.parser import parse_many
from hpacml.directives.syntax import (
    Application,
    Directive,
    FunctorDirective,
    MapDirective,
    MlDirective,
    Name,
    Target,
    TargetRange,
)
from hpacml.dtypes import DTYPES
from hpacml.errors import DirectiveError, MapError, caret
from hpacml.frontend.guarding import Map, Where, bounds_of, no_number, where_of
from hpacml.frontend.maps import AppliedFunctor, End
from hpacml.frontend.ml import MAP_OF_CLAUSE, ml_op
from hpacml.frontend.pointwise import require_pointwise
from hpacml.frontend.python import deriving, forms, map_numbers, messages
from hpacml.frontend.python.context import MISSING
from hpacml.frontend.python.evaluator import Evaluator
from hpacml.frontend.python.number import Number
from hpacml.frontend.python.types import ARRAY_DTYPES, FLOAT
from hpacml.frontend.python.uncovered import tell_uncovered
from hpacml.frontend.python.values import Array, Opaque, Static, Unset, describe
from hpacml.frontend.scope import READS, Keyword, Scope, Use, check_clauses, check_units
from hpacml.frontend.sources import weak_dtype
from hpacml.functors.targets import TargetTree, fill
from hpacml.functors.tensor_functor import Functor, names_of


class FunctorTable(Protocol):
    """The functors of a module, its regions, and the labels under which these collect."""

    regions: list[deriving.Region]

    def collects(self, label: str, labelled: bool) -> None:
        """Note that the function collects under a label. Raises `Refusal` if another one does so, by its name alone."""
        ...

    def functor(self, name: str, functor: Functor) -> FunctorOp:
        """The operation of this functor, which is added if it is new."""
        ...

    def argument(self, found: object) -> str:
        """The name of an argument that the kernel's code gives a region: a path or a model that is known."""
        ...


@dataclass(frozen=True, eq=False)
class _DeclaredFunctor:
    """A functor as declared. Its parameters are the names that are integers at the declaration."""

    directive: FunctorDirective
    params: frozenset[str]
    op: FunctorOp


@dataclass(frozen=True, eq=False)
class _BoundMap:
    """A functor applied to arrays, with computed numbers. `mappings` has the mappings that its directive has made."""

    functor: _DeclaredFunctor
    application: AppliedFunctor
    place: str
    """The text of its directive, with carets under the map."""
    arrays: tuple[Array, ...]
    """All arrays, including those that hold indices."""
    targets: tuple[Array, ...]
    """The arrays whose elements the map reads or writes."""
    trees: tuple[TargetTree, ...]
    bounds: tuple[SSAValue, ...]
    params: tuple[SSAValue, ...]
    mappings: dict[Direction, SSAValue] = field(default_factory=dict[Direction, SSAValue])


class Directives:
    """Compiles the directives of one function. Raises `CompileError`, `DirectiveError` and `MapError`."""

    def __init__(self, evaluator: Evaluator, functors: FunctorTable, label: str):
        self._evaluator = evaluator
        self._table = functors
        self._label = label
        self._scope: Scope[_BoundMap] = Scope(self._wrong_array, self._wrong_number)
        self._functors: list[_DeclaredFunctor] = []
        self._unchecked = False
        self._on_error: str | None = None
        self._outputs: set[int] = set()
        """The parameters that are outputs of the region whose clauses were compiled last."""
        self._default_label: tuple[int, int] | None = None
        """The place of the region that collects under the function's name."""

    def statement(self, call: ast.Call) -> None:
        """Compile `approx("tensor ...")`."""
        for directive in self._read(call):
            self._declare(call, directive)

    def region(self, call: ast.Call, body: Callable[[], None]) -> None:
        """Compile `with approx("ml(...)"):`. `body` compiles the statements of the region."""
        *declarations, last = self._read(call, region=True)
        for directive in declarations:
            self._declare(call, directive)
        if not isinstance(last, MlDirective):
            raise self._evaluator.error(call, "only an ml directive has a region: write this one as a statement")
        variables = dict(self._evaluator.variables)
        with self._evaluator.at(call), self._reading(call, last.text):
            self._check_label(last, (call.lineno, call.col_offset))
            make = self._ml(last)
            outputs = self._outputs
        outer, self._evaluator.written = self._evaluator.written, set()
        with self._evaluator.emit.block() as block:
            body()
        inside, self._evaluator.written = self._evaluator.written, outer
        outer |= inside
        self._evaluator.emit.op(op := make(Region(block)))
        self._table.regions.append(deriving.region(self._evaluator, call.lineno, last, op, variables))
        if last.is_mapped:
            tell_uncovered(self._evaluator, call, inside, outputs)

    @contextmanager
    def block(self) -> Generator[None]:
        """A scope for a block of statements: its declarations end with it."""
        outer, self._scope = self._scope, self._scope.nested()
        yield
        self._scope = outer

    def _read(self, call: ast.Call, region: bool = False) -> list[Directive]:
        if not self._label:
            raise self._evaluator.error(call, "only kernels have directives: put @hpacml.kernel above the function")
        self._unchecked, self._on_error = False, None
        for keyword in call.keywords:
            self._option(keyword, region)
        node = call.args[0] if len(call.args) == 1 else None
        text = MISSING
        if node is not None:
            text = self._text_of(node)
        if not isinstance(text, str):
            raise self._evaluator.error(
                node or call,
                "approx takes one string that is known when the kernel is compiled: directives use the variables of "
                "the kernel by their names",
            )
        with self._reading(call, text):
            return parse_many(text, self._evaluator.source.owner)

    def _text_of(self, node: ast.expr) -> object:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.JoinedStr):
            with self._evaluator.at(node):
                return messages.static_text(self._evaluator, node)
        return self._evaluator.meaning(node)

    def _option(self, keyword: ast.keyword, region: bool) -> None:
        match keyword:
            case ast.keyword("unchecked", ast.Constant(value=bool(value))):
                self._unchecked = value
            case ast.keyword("on_error", ast.Constant(value=str(value))) if region and is_policy(value):
                self._on_error = value
            case ast.keyword("on_error") if not region:
                raise self._evaluator.error(keyword.value, 'on_error belongs to a region: with approx("ml(...)", ...):')
            case _:
                raise self._evaluator.error(
                    keyword.value,
                    "beside the directive, approx takes unchecked=True or unchecked=False, and that of a region "
                    "on_error='raise' or on_error='accurate', and nothing else",
                )

    @contextmanager
    def _reading(self, call: ast.Call, text: str) -> Generator[None]:
        """Add the place of the directive to its errors."""
        literal, file = call.args[0], self._evaluator.source.file
        as_written = (literal.end_lineno or 0) - literal.lineno == text.count("\n")
        try:
            with self._evaluator.inside(text):
                yield
        except DirectiveError as error:
            line = literal.lineno + error.text.count("\n", 0, error.start) if as_written else call.lineno
            raise DirectiveError(f"{file}:{line}: {error.message}", error.text, error.start, error.end) from None
        except MapError as error:
            raise MapError(f"{file}:{call.lineno}: {error}") from None

    def _declare(self, call: ast.Call, directive: Directive) -> None:
        with self._reading(call, directive.text):
            match directive:
                case FunctorDirective():
                    self._declare_functor(directive)
                case MapDirective():
                    bound = self._bind(directive.application, directive.text)
                    if directive.direction is not None:
                        direction = Direction(directive.direction)
                        bound.mappings[direction] = self._mapping(bound, direction)
                    self._scope.add(directive, bound)
                case MlDirective():
                    raise DirectiveError(
                        'an ml directive comes last, before the code it is about: with approx("ml(...)"):',
                        directive.text,
                        *directive.span,
                    )

    # -- functors and maps -----------------------------------------------------------------------

    def _declare_functor(self, directive: FunctorDirective) -> None:
        all_names = names_of(entry for entries in (directive.lhs, *directive.rhs) for entry in entries)
        params = frozenset(filter(self._is_integer, all_names))
        try:
            functor = directive.functor(params)
        except DirectiveError as error:
            names = ", ".join(f"'{name}'" for name in sorted(params))
            hint = f" (integer variables here, and so no symbols: {names})" if params else ""
            raise DirectiveError(error.message + hint, error.text, error.start, error.end) from None
        op = self._table.functor(directive.name, functor)
        self._functors.append(_DeclaredFunctor(directive, params, op))
        self._scope.declare(directive)

    def _is_integer(self, name: str) -> bool:
        value = self._evaluator.variables.get(name)
        if value is None:
            return deriving.is_integer(self._evaluator, name)
        return isinstance(value, Number) and value.type.kind in "iu"

    def _wrong_array(self, name: str) -> str | None:
        value = forms.read(self._evaluator.variables, name)
        if isinstance(value, Array):
            return None
        if isinstance(value, Unset):
            return value.reason
        if value is not None:
            return f"'{name}' is {describe(value)}, where an array is needed"
        arrays = [name for name, value in self._evaluator.variables.items() if isinstance(value, Array)]
        close = get_close_matches(name, arrays, 1)
        return f"there is no array '{name}'" + (f"; did you mean '{close[0]}'?" if close else "")

    def _bind(self, application: Application, text: str) -> _BoundMap:
        """Look up the functor and the arrays of an application, and compute its numbers."""
        directive = self._scope.functor(application, text)
        functor = next(f for f in reversed(self._functors) if f.directive is directive)
        return self._bound(functor, application.targets, caret(text, *application.span))

    def _bound(self, functor: _DeclaredFunctor, targets: Iterable[Target], place: str) -> _BoundMap:
        whole = tuple(map(self._whole, targets))
        applied = AppliedFunctor(functor.directive, whole, functor.params, self._unchecked)
        known = {name: value for name, value in self._evaluator.variables.items() if isinstance(value, Array)}
        beside = {dtype_name(known[each].value.type.element_type) for each in applied.elements if each in known}
        known |= {name: self._one_element(name, rank, beside) for name, rank in applied.numbers.items()}
        arrays = [known[name] for name in applied.arrays]
        read = tuple(known[target.array] for target in whole)
        numbers = [self._number(number, known, place) for number in applied.open_numbers]
        constants = [None if n.constant is None else int(n.constant) for n in numbers]
        known_numbers = iter(constants)
        trees = tuple(fill(tree, known_numbers) for tree in applied.trees)
        ssa = self._evaluator.numbers.ssa
        bounds = tuple(ssa(n) for n, constant in zip(numbers, constants, strict=True) if constant is None)
        params = tuple(
            ssa(map_numbers.integer(self._evaluator, ast.Name(name, ast.Load())))
            for name in applied.functor.used_params
        )
        return _BoundMap(functor, applied, place, tuple(arrays), read, trees, bounds, params)

    def _wrong_number(self, name: str) -> str | None:
        value = self._evaluator.variables.get(name)
        if isinstance(value, Number | Array):
            return None
        if value is None and isinstance(self._evaluator.static(ast.Name(name, ast.Load())), int | float | np.generic):
            return None
        return self._wrong_array(name)

    def _whole(self, target: Target) -> Target:
        """A target with all elements of its array, if it names none."""
        value = self._evaluator.variables.get(target.array)
        if target.entries or not isinstance(value, Array):
            return target
        start = Expr(ast.Constant(0), target.span, target.text)
        return replace(target, entries=tuple(TargetRange(start, None, None, target.span) for _ in value.sizes))

    def _one_element(self, name: str, rank: int, beside: Collection[str]) -> Array:
        """A number as an array of one element, beside arrays of some element types."""
        evaluator = self._evaluator
        number = evaluator.number(ast.Name(name, ast.Load()))
        element = number.type
        if element.weak:
            element = ARRAY_DTYPES[DTYPES[weak_dtype(element.kind, beside)].long_name]
        memory = evaluator.emit.value(AllocOp([], [], MemRefType(element.element, [1] * rank)))
        array = SSAValue.get(memory, type=MemRefType)
        home = evaluator.emit.own(array)
        zero = evaluator.emit.index(0)
        evaluator.emit.store(evaluator.numbers.ssa(evaluator.numbers.convert(number, element)), array, [zero] * rank)
        return Array(name, element, array, home=home)

    def _number(self, number: Expr | End, arrays: Mapping[str, Array], place: str) -> Number:
        if isinstance(number, Expr):
            return map_numbers.integer(self._evaluator, number.node)
        array = arrays[number.array]
        if number.dim >= len(array.sizes):
            raise MapError(f"'{array.name}' has no dimension {number.dim}, but only {len(array.sizes)}\n{place}")
        return self._evaluator.size(array, number.dim)

    def _mapping(self, bound: _BoundMap, direction: Direction) -> SSAValue:
        """The mapping of this direction, which is added unless the directive has added it already."""
        if direction in bound.mappings:
            return bound.mappings[direction]
        arrays = [array.value for array in bound.arrays]
        applied = bound.application
        if direction != Direction.To and applied.numbers:
            name = next(iter(applied.numbers))
            raise MapError(f"'{name}' is a number, which cannot be written: write an array\n{bound.place}")
        try:
            op = MapOp.infer(
                bound.functor.op,
                direction,
                bound.trees,
                arrays,
                bound.bounds,
                bound.params,
                applied.text,
                unchecked=applied.unchecked,
            )
        except MapError as error:
            raise MapError(f"{error}\n{bound.place}") from None
        mapping = self._evaluator.emit.value(op)
        mapping.name_hint = {"to": "in", "from": "out"}.get(direction, str(direction))
        return mapping

    # -- ml --------------------------------------------------------------------------------------

    def _check_label(self, ml: MlDirective, place: tuple[int, int]) -> None:
        """Refuse two regions that collect under the function's name, because their data would mix."""
        if not ml.may_collect:
            return
        self._table.collects(ml.label or self._label, ml.label is not None)
        if ml.label is not None:
            return
        if self._default_label not in (None, place):  # the body of a loop may be compiled more than once
            raise DirectiveError(
                f"the region has no label, and under '{self._label}', the name of the kernel, another one collects: "
                "add label('...') to one of them, or the same label to both for one group of data",
                ml.text,
                *ml.span,
            )
        self._default_label = place

    def _ml(self, ml: MlDirective) -> Callable[[Region], MlOp]:
        """Compile the clauses of an ml directive. The result builds its operation around a region."""
        mappings: list[tuple[Keyword, SSAValue]] = []
        outputs: set[int] = set()
        uses = self._uses(ml)
        for use in uses:
            self._check_not_assigned(use, ml.text)
            mappings.append((use.keyword, self._mapping(use.map, MAP_OF_CLAUSE[use.keyword])))
            if use.keyword not in READS:
                outputs.update(*(array.parameters for array in use.map.targets))
        self._evaluator.written |= outputs
        self._outputs = outputs
        ml = replace(ml, model=self._source(ml.model, ml.text), database=self._source(ml.database, ml.text))
        ml = replace(ml, project=self._function(ml.project, ml.text))
        condition, if_condition = map(self._condition, (ml.condition, ml.if_condition))
        numbers = [self._double(each.value) for each in ml.meta]
        where = self._where(ml, uses)
        written = [use.map.application.elements for use in uses if use.keyword not in READS]
        options = {"on_error": self._on_error, "where": where, "clip": bounds_of(ml, written)}
        return partial(ml_op, ml, self._label, mappings, condition, if_condition, numbers, **options)

    def _where(self, ml: MlDirective, uses: Sequence[Use[_BoundMap]]) -> Where[SSAValue] | None:
        """The condition of `guard(where: ...)`, with the mapping or the number that each name stands for."""

        def of(bound: _BoundMap) -> Map:
            return bound.functor.directive, bound.application.targets

        def named(name: str) -> Map | None:
            return None if (found := self._scope.named(name)) is None else of(found)

        maps = [of(use.map) for use in uses if use.keyword != "truth"]
        require_pointwise(ml, maps, found := where_of(ml, maps, named))
        if found is None:
            return None
        points: dict[str, SSAValue] = {}
        for name, (directive, targets) in ((n, m) for n, m in found.points.items() if m is not None):
            if (bound := self._scope.named(name)) is None:
                if wrong := next(filter(None, (self._wrong_array(each.array) for each in targets)), None):
                    raise DirectiveError(wrong, ml.text, *ml.clauses["guard"])
                functor = directive.functor(frozenset())
                declared = _DeclaredFunctor(directive, frozenset(), self._table.functor(directive.name, functor))
                bound = self._bound(declared, targets, caret(ml.text, *ml.clauses["guard"]))
            points[name] = self._mapping(bound, Direction.To)
        numbers = {name: self._limit(name, found.condition) for name in found.numbers}
        return Where(found.condition, points, numbers)

    def _limit(self, name: str, where: Expr) -> SSAValue:
        """A number that the condition of a guard names."""
        if isinstance(self._evaluator.variables.get(name), Array):
            raise no_number(name, "an array, and none of the region's maps", where)
        return self._double(replace(where, node=next(node for node in where.variables if node.id == name)))

    def _uses(self, ml: MlDirective) -> list[Use[_BoundMap]]:
        """The maps of the clauses. A region without any gets them from its code, when the kernel is lowered."""
        if not ml.is_mapped:
            check_clauses(ml)
            check_units(ml, (name for name, value in self._evaluator.variables.items() if isinstance(value, Array)))
            return []
        uses = self._scope.uses(ml, lambda application: self._bind(application, ml.text))
        check_units(ml, (array for use in uses for array in use.map.application.arrays))
        return uses

    def _check_not_assigned(self, use: Use[_BoundMap], text: str) -> None:
        """Refuse an array's name for its map if the name has been assigned another array since."""
        if use.array is None:
            return
        name = use.array.id
        then = dict(zip((target.array for target in use.map.application.targets), use.map.targets, strict=True))
        now = self._evaluator.variables.get(name)
        if not isinstance(now, Array) or now.value is not then[name].value:
            raise DirectiveError(
                f"'{name}' has been assigned since its map, which is of the array that it was before: "
                f"put the 'tensor map' of '{name}' after the assignment",
                text,
                *use.array.span,
            )

    def _condition(self, expr: Expr | None) -> SSAValue | None:
        return None if expr is None else self._evaluator.numbers.ssa(self._evaluator.truth(expr.node))

    def _double(self, expr: Expr) -> SSAValue:
        numbers = self._evaluator.numbers
        return numbers.ssa(numbers.convert(self._evaluator.number(expr.node), FLOAT))

    def _function(self, name: Name | None, text: str) -> Name | None:
        """A clause that names a function, a parameter or one that the kernel sees, as an argument of the call."""
        if name is None:
            return None
        value = self._evaluator.value(ast.Name(name.id, ast.Load())) if self._evaluator.knows(name.id) else None
        match value:
            case Opaque(name=argument):
                return replace(name, id=argument)
            case Static(object=found) if callable(found):
                return replace(name, id=self._table.argument(found))
            case _:
                raise DirectiveError(
                    f"'{name.id}' is neither a parameter that holds a function nor a function that the kernel sees",
                    text,
                    *name.span,
                )

    def _source(self, source: str | Name | None, text: str) -> str | Name | None:
        """A clause that names a parameter, or a constant, as what the call has: an argument, or a path."""
        if not isinstance(source, Name):
            return source
        node = ast.Name(source.id, ast.Load())
        value = self._evaluator.value(node) if self._evaluator.knows(source.id) else None
        match value:
            case Opaque(name=name):
                return replace(source, id=name)
            case Static(object=str() as path):
                return path
            case Static(object=found):
                return replace(source, id=self._table.argument(found))
            case _:
                pass
        opaque = [name for name, value in self._evaluator.variables.items() if isinstance(value, Opaque)]
        close = get_close_matches(source.id, opaque, 1)
        hint = f"; did you mean '{close[0]}'?" if close else ": write a path in quotes, or such a parameter"
        raise DirectiveError(f"'{source.id}' is not a parameter that holds a path or a model{hint}", text, *source.span)
