"""Directives in a kernel: `approx(...)` becomes operations of the `hpacml` dialect.

Functors and maps are kept with the variables, under names that no variable has, and so are in scope where a
variable would be that is assigned in their place.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Literal, Protocol

from xdsl.dialects.builtin import SymbolRefAttr
from xdsl.ir import Region, SSAValue

from hpacml.dialects.hpacml.attributes import Direction, Mode
from hpacml.dialects.hpacml.bridge import FunctorOp, MapOp
from hpacml.dialects.hpacml.control import MlOp
from hpacml.errors import DirectiveError, MapError, caret
from hpacml.frontend.directives import (
    Application,
    Directive,
    FunctorDirective,
    Item,
    MapDirective,
    MlDirective,
    Name,
    Target,
    TargetIndex,
    TargetRange,
    parse_many,
)
from hpacml.frontend.evaluator import MISSING, Evaluator
from hpacml.frontend.expressions import Expr, Span
from hpacml.frontend.maps import AppliedFunctor, End
from hpacml.frontend.scalars import Number
from hpacml.frontend.values import Array, BoundMap, FunctorInScope, Opaque, Unset
from hpacml.functor import Functor, names_of


class Functors(Protocol):
    """Where a module keeps its functors."""

    def functor(self, name: str, functor: Functor) -> FunctorOp:
        """The operation of this functor, made if there is none yet."""
        ...


class Directives:
    """Compiles the directives of one function. Raises `DirectiveError`, `MapError` with the place in the file."""

    def __init__(self, evaluator: Evaluator, functors: Functors, label: str):
        self._evaluator = evaluator
        self._functors = functors
        self._label = label

    def statement(self, call: ast.Call) -> None:
        """`approx("tensor ...")`."""
        for directive in self._read(call):
            if isinstance(directive, MlDirective):
                raise self._evaluator.error(
                    call, 'an ml directive belongs to a region of code: write with approx("ml(...)"): before it'
                )
            self._declare(call, directive)

    def region(self, call: ast.Call, body: Callable[[], None]) -> None:
        """`with approx("ml(...)"):`; `body` compiles the region."""
        *declarations, last = self._read(call)
        for directive in declarations:
            self._declare(call, directive)
        if not isinstance(last, MlDirective):
            raise self._evaluator.error(call, "only an ml directive has a region: write this one as a statement")
        with self._reading(call, last.text):
            clauses = self._ml(last)
        with self._evaluator.emit.block() as block:
            body()
        self._evaluator.emit.op(clauses(Region(block)))

    def _read(self, call: ast.Call) -> list[Directive]:
        node = call.args[0] if len(call.args) == 1 and not call.keywords else None
        text = node.value if isinstance(node, ast.Constant) else self._evaluator.static(node) if node else MISSING
        if not isinstance(text, str):
            raise self._evaluator.error(
                node or call,
                "approx takes one string that is known when the kernel is compiled: a literal, no f-string "
                "(variables of the kernel are used in directives by their names)",
            )
        with self._reading(call, text):
            return parse_many(text)

    @contextmanager
    def _reading(self, call: ast.Call, text: str) -> Iterator[None]:
        """Errors in the directive tell where it stands."""
        place = f"{self._evaluator.source.file}:{call.lineno}"
        try:
            with self._evaluator.inside(text):
                yield
        except DirectiveError as error:
            raise DirectiveError(f"{place}: {error.message}", error.text, error.start, error.end) from None
        except MapError as error:
            raise MapError(f"{place}: {error}") from None

    # -- functors and maps -----------------------------------------------------------------------

    def _declare(self, call: ast.Call, directive: Directive) -> None:
        with self._reading(call, directive.text):
            if isinstance(directive, FunctorDirective):
                self._functor(directive)
            elif isinstance(directive, MapDirective):
                self._map(directive)
            else:
                raise DirectiveError(
                    "an ml directive comes last, before its region", directive.text, *directive.span
                )

    def _functor(self, directive: FunctorDirective) -> None:
        names = names_of(entry for entries in (directive.lhs, *directive.rhs) for entry in entries)
        params = frozenset(filter(self._is_integer, names))
        functor = directive.functor(params)
        op = self._functors.functor(directive.name, functor)
        self._evaluator.variables[_functor_key(directive.name)] = FunctorInScope(directive, params, op)

    def _is_integer(self, name: str) -> bool:
        value = self._evaluator.variables.get(name)
        if value is None:
            found = self._evaluator.static(ast.Name(name, ast.Load()))
            return isinstance(found, int) and not isinstance(found, bool)
        return isinstance(value, Number) and value.type.kind in "iu"

    def _map(self, directive: MapDirective) -> None:
        bound = self._bind(directive.application, directive.text)
        if directive.name is not None:
            self._evaluator.variables[_map_key(directive.name)] = bound
        if directive.direction is not None:
            self._mapping(bound, Direction(directive.direction), directive.text, directive.application.span)
            for array in bound.arrays[:1]:
                self._evaluator.variables[_map_key(array.name, directive.direction)] = bound

    def _bind(self, application: Application, text: str) -> BoundMap:
        """Look up the functor and the arrays of an application, and compute its numbers."""
        functor = self._evaluator.variables.get(_functor_key(application.functor))
        if isinstance(functor, Unset):
            raise DirectiveError(functor.reason, text, *application.span)
        if not isinstance(functor, FunctorInScope):
            known = [key.removeprefix(_FUNCTOR) for key in self._evaluator.variables if key.startswith(_FUNCTOR)]
            hint = _did_you_mean(application.functor, known) or (
                f': declare it before, as in approx("tensor functor({application.functor}: [i] = ([i]))")'
            )
            end = application.span.start + len(application.functor)
            message = f"no functor '{application.functor}' is declared here{hint}"
            raise DirectiveError(message, text, application.span.start, end)
        applied = AppliedFunctor(functor.directive, application.targets, functor.params)
        arrays = tuple(self._array(target, text) for target in _depth_first(application.targets))
        numbers = tuple(self._number(number, arrays) for number in applied.open_numbers)
        params = tuple(self._parameter(name, functor) for name in applied.functor.used_params)
        return BoundMap(functor.op, applied, arrays, numbers, params)
