"""Compiles expressions of a kernel from syntax trees to values."""

from __future__ import annotations

import ast
from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from functools import partial
from typing import Any

from xdsl.dialects.memref import DimOp
from xdsl.dialects.scf import IfOp, YieldOp
from xdsl.ir import Region, SSAValue

from hpacml.errors import CompileError, DirectiveError
from hpacml.frontend.python.annotations import ArrayParameter, Dim
from hpacml.frontend.python.definition import Definition
from hpacml.frontend.python.emitter import Emitter
from hpacml.frontend.python.number import PYTHON, Number, as_number
from hpacml.frontend.python.scalars import Arithmetic, disagreement
from hpacml.frontend.python.sizes import identity
from hpacml.frontend.python.source import Source
from hpacml.frontend.python.types import BOOL, INT, Refusal
from hpacml.frontend.python.values import Array, Opaque, Tuple, Unset, Value, describe

MISSING = object()


class Evaluator:
    """Compiles expressions of the variables in `variables`. Errors point into `source`."""

    def __init__(
        self,
        definition: Definition,
        emitter: Emitter,
        own_names: frozenset[str],
        call: Callable[[Evaluator, ast.Call], Value | None],
    ):
        self.source: Source = definition.source
        self.emit = emitter
        self.numbers = Arithmetic(emitter)
        self.variables: dict[str, Value] = {}
        self.written: set[int] = set()
        """The positions of the parameters that the kernel writes."""
        self.dims: dict[SSAValue, tuple[Dim, ...]] = {}
        """The dimensions of the arrays that are parameters, by their annotations."""
        self.meanings: dict[str, tuple[ast.expr, object]] = {}
        """The names outside of the kernel whose meanings are compiled, and these, by their spellings."""
        self.has_regions = False
        self.in_parallel_loop = False
        self._surroundings: Mapping[str, Any] = definition.surroundings
        self._own_names = own_names
        self._sizes = {
            dim: f": in Python an annotation defines no variable, so write {dim} = {p.name}.shape[{axis}]"
            for p in definition.parameters
            if isinstance(p, ArrayParameter)
            for axis, dim in reversed(list(enumerate(p.dims)))
        }
        self._compile_call = call
        self._directive: str | None = None

    # -- errors ----------------------------------------------------------------------------------

    def error(self, node: ast.AST, message: str) -> CompileError | DirectiveError:
        """An error at `node`, in the file or in the directive that is being compiled."""
        if self._directive is None:
            return self.source.error(node, message)
        begin = getattr(node, "col_offset", 0)
        return DirectiveError(message, self._directive, begin, getattr(node, "end_col_offset", begin))

    @contextmanager
    def inside(self, directive: str) -> Generator[None]:
        """Let errors point into this directive."""
        self._directive = directive
        try:
            yield
        finally:
            self._directive = None

    @contextmanager
    def at(self, node: ast.AST) -> Generator[None]:
        """Let refusals become errors at `node`."""
        try:
            yield
        except Refusal as refusal:
            raise self.error(node, str(refusal)) from None

    # -- values by what they are used for --------------------------------------------------------

    def value(self, node: ast.expr) -> Value:
        with self.at(node):
            return self._value(node)

    def number(self, node: ast.expr) -> Number:
        value = self.value(node)
        if not isinstance(value, Number):
            raise self.error(node, f"this is {describe(value)}, where a number is needed")
        return value

    def truth(self, node: ast.expr) -> Number:
        """The value of a condition, a bool."""
        number = self.number(node)
        with self.at(node):
            return self.numbers.truth(number)

    def index(self, node: ast.expr, what: str) -> Number:
        """The value of an index, a size or a bound, an integer. `what` names it in errors."""
        number = self.number(node)
        with self.at(node):
            return self.numbers.integer(number, what)

    def size(self, array: Array, axis: int) -> Number:
        """`array.shape[axis]`."""
        known = array.sizes[axis]
        if known is not None:
            return Number(INT, known)
        return Number(INT, self.emit.value(DimOp(array.value, self.emit.index(axis))), bound=0)

    def identity(self, array: Array, axis: int) -> Hashable:
        """What a size of an array is, equal for sizes that are known to be equal."""
        return identity(array.value, axis, self.dims)

    def element(self, node: ast.Subscript) -> tuple[Array, list[SSAValue]]:
        """The array and the indices of `a[i, j]` or `a[i][j]`."""
        subscripts: list[ast.expr] = []
        base: ast.expr = node
        while isinstance(base, ast.Subscript):
            subscripts.insert(0, base.slice)
            base = base.value
        array = self.value(base)
        if not isinstance(array, Array):
            raise self.error(base, f"this is {describe(array)}, which has no elements")
        indices = [e for s in subscripts for e in (s.elts if isinstance(s, ast.Tuple) else [s])]
        for index in indices:
            if isinstance(index, ast.Slice):
                raise self.error(index, "a slice: kernels work on single elements, so write the loop")
        if len(indices) != len(array.sizes):
            rank, given = len(array.sizes), len(indices)
            raise self.error(
                node,
                f"'{array.name}' has {rank} dimension{'s' * (rank > 1)}, and {given} "
                f"{'index is' if given == 1 else 'indices are'} given: kernels work on single elements",
            )
        return array, [self._position(array, axis, index) for axis, index in enumerate(indices)]

    def load(self, array: Array, indices: Sequence[SSAValue]) -> Number:
        return Number(array.element, self.emit.load(array.value, indices))

    def choose(self, condition: SSAValue, then: Callable[[], Number], otherwise: Callable[[], Number]) -> Number:
        """One of two numbers. Only the chosen number is computed."""
        with self.emit.block() as then_block:
            a = then()
        with self.emit.block() as else_block:
            b = otherwise()
        kind = self.numbers.common(a.kind, b.kind)
        if kind is None:
            raise Refusal(f"this is {disagreement(a.kind, b.kind)}")
        for block, number in ((then_block, a), (else_block, b)):
            with self.emit.at_end(block):
                self.emit.op(YieldOp(self.numbers.ssa(self.numbers.convert(number, kind.type))))
        op = IfOp(condition, [kind.type.ir], Region(then_block), Region(else_block))
        return Number.of(kind, self.emit.value(op))

    def static(self, node: ast.expr) -> Any:
        """The Python object outside of the kernel that `node` names, `MISSING` if there is none."""
        if isinstance(node, ast.Name):
            return MISSING if node.id in self._own_names else self._surroundings.get(node.id, MISSING)
        if isinstance(node, ast.Attribute):
            owner = self.static(node.value)
            return MISSING if owner is MISSING else getattr(owner, node.attr, MISSING)
        return MISSING

    def meaning(self, node: ast.expr) -> Any:
        """The same for a function and the like, which is compiled as what it is: later, its name may mean another."""
        found = self.static(node)
        if found is not MISSING:
            self.meanings[ast.unparse(node)] = node, found
        return found

    def call(self, node: ast.Call) -> Value | None:
        """The result of a call, None if the function returns nothing."""
        with self.at(node):
            return self._compile_call(self, node)

    # -- expressions -----------------------------------------------------------------------------

    def _value(self, node: ast.expr) -> Value:
        match node:
            case ast.Constant(value=literal):
                return self._literal(literal)
            case ast.Name():
                return self._name(node)
            case ast.Attribute():
                return self._attribute(node)
            case ast.Subscript():
                return self._subscript(node)
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                return Tuple(tuple(map(self.value, elements)))
            case ast.BinOp():
                return self._operation(node)
            case ast.UnaryOp():
                return self._unary(node)
            case ast.BoolOp():
                return self._bool_op(isinstance(node.op, ast.And), node.values)
            case ast.Compare():
                return self._compare(node)
            case ast.IfExp():
                return self._conditional(node)
            case ast.Call():
                return self._call(node)
            case _:
                raise Refusal(f"{_construct(node)} cannot be compiled")

    def _operation(self, node: ast.BinOp) -> Number:
        """The value of `a + b + c + ...`, however many there are."""
        operations = [node]
        while isinstance(operations[-1].left, ast.BinOp):
            operations.append(operations[-1].left)
        left = self.number(operations[-1].left)
        for each in reversed(operations):
            with self.at(each):
                left = self.numbers.binary(type(each.op), left, self.number(each.right))
        return left

    def _call(self, node: ast.Call) -> Value:
        result = self.call(node)
        if result is None:
            raise Refusal(f"{ast.unparse(node.func)}(...) returns nothing")
        return result

    def _literal(self, value: object) -> Value:
        number = as_number(value)
        if number is None:
            raise Refusal(f"{value!r} is no number: kernels compute with int, float, bool and arrays")
        return number

    def _name(self, node: ast.Name) -> Value:
        value = self.variables.get(node.id)
        if isinstance(value, Unset):
            raise Refusal(value.reason)
        if isinstance(value, Opaque):
            raise Refusal(f"'{node.id}' is not part of the compiled code: only model(...) and database(...) can use it")
        if value is not None:
            return value
        if node.id in self._own_names:
            raise Refusal(f"'{node.id}' is read before it is assigned")
        return self._outside(node, f"'{node.id}'")

    def _outside(self, node: ast.expr, spelled: str) -> Value:
        """A constant from outside of the kernel."""
        found = self.static(node)
        if found is MISSING:
            known = [*self.variables, *self._surroundings]
            close = get_close_matches(ast.unparse(node), known, n=1)
            hint = self._sizes.get(ast.unparse(node)) or (f"; did you mean '{close[0]}'?" if close else "")
            raise Refusal(f"{spelled} is not defined{hint}")
        number = as_number(found)
        if number is None:
            hint = ": pass it as an argument" if hasattr(found, "shape") else ""
            raise Refusal(f"{spelled} is a {type(found).__name__}, where a number is needed{hint}")
        return number

    def _attribute(self, node: ast.Attribute) -> Value:
        if self.static(node.value) is not MISSING:
            return self._outside(node, f"'{ast.unparse(node)}'")
        owner = self.value(node.value)
        if isinstance(owner, Array):
            sizes = range(len(owner.sizes))
            if node.attr == "shape":
                return Tuple(tuple(self.size(owner, axis) for axis in sizes))
            if node.attr == "ndim":
                return Number(INT, len(sizes))
            if node.attr == "size":
                total = Number(INT, 1)
                for axis in sizes:
                    total = self.numbers.binary(ast.Mult, total, self.size(owner, axis))
                return total
        raise Refusal(f"'.{node.attr}' of {describe(owner)}: kernels know shape, ndim and size of arrays")

    def _subscript(self, node: ast.Subscript) -> Value:
        if isinstance(node.value, ast.Attribute) or not isinstance(node.value, ast.Subscript):
            owner = self.value(node.value)
            if isinstance(owner, Tuple):
                index = self.index(node.slice, "an index").constant
                if index is None or not -len(owner.items) <= index < len(owner.items):
                    raise self.error(node.slice, f"a constant from 0 to {len(owner.items) - 1} is needed here")
                return owner.items[int(index)]
        return self.load(*self.element(node))

    def _position(self, array: Array, axis: int, node: ast.expr) -> SSAValue:
        index = self.index(node, "an index")
        size = array.sizes[axis]
        if index.constant is not None:
            if size is not None and not -size <= index.constant < size:
                raise self.error(
                    node,
                    f"index {index.constant} is outside dimension {axis} of '{array.name}', which has size {size}",
                )
        if index.least is None or index.least < 0:
            index = self._from_end(array, axis, index)
        return self.numbers.ssa(index)

    def _from_end(self, array: Array, axis: int, index: Number) -> Number:
        """The index from the start for one that counts from the end if it is negative."""
        shifted = self.numbers.binary(ast.Add, self.size(array, axis), index)
        if index.constant is not None:
            return shifted
        return self.numbers.select(self.numbers.compare(ast.Lt, index, Number(INT, 0)), shifted, index)

    def _unary(self, node: ast.UnaryOp) -> Number:
        operand = self.number(node.operand)
        match node.op:
            case ast.USub():
                return self.numbers.negative(operand)
            case ast.Not():
                return self.numbers.invert_truth(operand)
            case ast.Invert():
                return self.numbers.invert(operand)
            case _:
                return self.numbers.convert(operand, INT) if operand.type is BOOL else operand

    def _compare(self, node: ast.Compare) -> Number:
        """`a < b < c`: `c` is not evaluated unless `a < b`."""
        first = self.number(node.left)
        return self._chain(first, list(zip(node.ops, node.comparators, strict=True)))

    def _chain(self, left: Number, links: list[tuple[ast.cmpop, ast.expr]]) -> Number:
        (comparison, node), *rest = links
        if type(comparison) not in PYTHON:
            raise Refusal("'in' and 'is' cannot be compiled: compare numbers with == and !=")
        right = self.number(node)
        answer = self.numbers.compare(type(comparison), left, right)
        if not rest:
            return answer
        return self._short_circuit(True, answer, [n for _, n in rest], lambda: self._chain(right, rest))

    def _bool_op(self, is_and: bool, nodes: Sequence[ast.expr]) -> Number:
        left = self.number(nodes[0])
        for node in nodes[1:]:
            left = self._short_circuit(is_and, left, [node], partial(self.number, node))
        return left

    def _short_circuit(
        self, is_and: bool, left: Number, nodes: Sequence[ast.expr], right: Callable[[], Number]
    ) -> Number:
        """`left and right`, or `left or right`. `right` compiles `nodes`."""
        condition = self.numbers.truth(left)
        if condition.constant is not None:
            return right() if bool(condition.constant) == is_and else left
        if all(map(_is_harmless, nodes)):
            return self._logical(is_and, condition, left, right())
        ssa = self.numbers.ssa(condition)
        return self.choose(ssa, right, lambda: left) if is_and else self.choose(ssa, lambda: left, right)

    def _logical(self, is_and: bool, condition: Number, left: Number, right: Number) -> Number:
        if left.type.kind == right.type.kind == "b":
            return self.numbers.binary(ast.BitAnd if is_and else ast.BitOr, left, right)
        return self.numbers.select(condition, *((right, left) if is_and else (left, right)))

    def _conditional(self, node: ast.IfExp) -> Number:
        condition = self.truth(node.test)
        if condition.constant is not None:
            return self.number(node.body if condition.constant else node.orelse)
        if _is_harmless(node.body) and _is_harmless(node.orelse):
            return self.numbers.select(condition, self.number(node.body), self.number(node.orelse))
        ssa = self.numbers.ssa(condition)
        return self.choose(ssa, lambda: self.number(node.body), lambda: self.number(node.orelse))


def _is_harmless(node: ast.expr) -> bool:
    """Whether `node` is cheap and accesses no memory, so that it may be computed although its value is not needed."""
    return not any(
        isinstance(n, ast.Call | ast.Pow)
        or (isinstance(n, ast.Subscript) and not (isinstance(n.value, ast.Attribute) and n.value.attr == "shape"))
        for n in ast.walk(node)
    )


def _construct(node: ast.expr) -> str:
    names: dict[type[ast.expr], str] = {
        ast.Lambda: "a lambda",
        ast.ListComp: "a list comprehension",
        ast.GeneratorExp: "a generator expression",
        ast.Dict: "a dict",
        ast.Set: "a set",
        ast.JoinedStr: "an f-string",
        ast.NamedExpr: "':=' in an expression",
        ast.Starred: "'*' in an expression",
        ast.Slice: "a slice",
        ast.Yield: "'yield'",
        ast.YieldFrom: "'yield'",
    }
    return names.get(type(node), "this expression")
