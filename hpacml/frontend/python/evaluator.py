"""Compiles expressions of a kernel from syntax trees to values."""

from __future__ import annotations

import ast
import inspect
from dataclasses import replace
from difflib import get_close_matches
from types import FunctionType
from typing import Protocol

from hpacml.frontend.python import (
    arguments,
    conditions,
    elementwise,
    forms,
    jumps,
    messages,
    operators,
    slicing,
    subscripts,
)
from hpacml.frontend.python.constants import constant_of
from hpacml.frontend.python.context import MISSING, Context, Function
from hpacml.frontend.python.emitter import Emitter
from hpacml.frontend.python.number import Number
from hpacml.frontend.python.subscripts import Place
from hpacml.frontend.python.types import INT, Refusal
from hpacml.frontend.python.values import (
    Anything,
    Array,
    Elements,
    Inner,
    Record,
    Static,
    Tuple,
    Unset,
    Value,
    describe,
)


class Calls(Protocol):
    """Compiles calls. Raises `Refusal`."""

    def __call__(self, evaluator: Evaluator, node: ast.Call) -> Value | None:
        """The result of a call, None if the function returns nothing."""
        ...

    def get(self, evaluator: Evaluator, node: ast.Attribute, getter: FunctionType, owner: Value) -> Value | None:
        """The property of a value that a function gets."""
        ...


class Evaluator(Context):
    """Compiles expressions."""

    def __init__(
        self,
        function: Function,
        emitter: Emitter,
        calls: Calls,
        outer: Context | None = None,
    ):
        super().__init__(function, emitter, outer)
        self._calls = calls

    def inner(self, node: ast.FunctionDef | ast.Lambda) -> Inner:
        """A function that is defined in this one."""
        return Inner(replace(self.source, function=node), arguments.defaults_in(self, node.args), self)

    def place(self, node: ast.Subscript, is_target: bool = False) -> Place | Value:
        """What a subscript stands for: an element, a view, or an item of a tuple, which cannot be a target."""
        return subscripts.place(self, node, is_target)

    def truth(self, node: ast.expr) -> Number:
        if isinstance(node, ast.BoolOp):  # operands may be numbers of any types, as only their truth counts
            with self.at(node):
                return conditions.bool_op(
                    self, isinstance(node.op, ast.And), node.values, lambda _, each: self.truth(each)
                )
        return super().truth(node)

    def call(self, node: ast.Call) -> Value | None:
        """The result of a call, None if the function returns nothing."""
        with self.at(node):
            return self._calls(self, node)

    # -- expressions -----------------------------------------------------------------------------

    def evaluate(self, node: ast.expr) -> Value:
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
                return Tuple(tuple(elementwise.computed(self, self.value(element)) for element in elements))
            case ast.BinOp():
                return self._operation(node)
            case ast.Lambda():
                return self.inner(node)
            case ast.JoinedStr():
                return Static(messages.static_text(self, node))
            case ast.UnaryOp():
                return conditions.unary(self, node)
            case ast.BoolOp():
                return conditions.bool_op(self, isinstance(node.op, ast.And), node.values)
            case ast.Compare():
                return conditions.compare(self, node)
            case ast.IfExp():
                return conditions.conditional(self, node)
            case ast.Call():
                return self._call(node)
            case jumps.Anything():
                return Anything()
            case jumps.Computed(value=compute) if compute is not None:
                return compute()
            case _:
                raise Refusal(_construct(node))

    def _operation(self, node: ast.BinOp) -> Value:
        """The value of `a + b + c + ...`, however many there are."""
        operations = [node]
        while isinstance(operations[-1].left, ast.BinOp):
            operations.append(operations[-1].left)
        left = self.value(operations[-1].left)
        for each in reversed(operations):
            if isinstance(left, Elements) and elementwise.may_write(self, each.right):
                left = elementwise.array_of(self, left)
            right = self.value(each.right)
            with self.at(each):
                left = operators.binary(self, each, type(each.op), left, right)
        return left

    def _call(self, node: ast.Call) -> Value:
        return self._returned(node, self.call(node))

    def _returned(self, node: ast.Call | ast.Attribute, result: Value | None) -> Value:
        if result is None:
            what = f"{ast.unparse(node.func)}(...)" if isinstance(node, ast.Call) else f"'.{node.attr}'"
            raise Refusal(f"{what} returns nothing")
        return result

    def _literal(self, value: object) -> Value:
        if isinstance(value, complex | bytes) or value is ...:
            raise Refusal(f"{value!r} is no number of kernels: {_PARTS if isinstance(value, complex) else _NUMBERS}")
        return constant_of(value, self.emit)

    def _name(self, node: ast.Name) -> Value:
        value = forms.read(self.variables, node.id)
        if isinstance(value, Unset):
            raise Refusal(value.reason)
        if value is not None:
            return value
        if node.id in self.own_names:
            raise Refusal(f"'{node.id}' is read before it is assigned")
        if self.outer is not None and self.outer.owns(node.id):
            return self.outer.value(node)
        return self._outside(node, f"'{node.id}'")

    def _outside(self, node: ast.expr, spelled: str) -> Value:
        """A constant from outside of the kernel."""
        found = self.static(node)
        if found is MISSING:
            known = [*self.variables, *self.surroundings]
            close = get_close_matches(ast.unparse(node), known, n=1)
            hint = self.dimensions.get(ast.unparse(node)) or (f"; did you mean '{close[0]}'?" if close else "")
            raise Refusal(f"{spelled} is not defined{hint}")
        try:
            return constant_of(found, self.emit)
        except Refusal as refusal:
            raise Refusal(f"{spelled} {refusal}") from None

    def _attribute(self, node: ast.Attribute) -> Value:
        if self.static(node.value) is not MISSING:
            return self._outside(node, f"'{ast.unparse(node)}'")
        owner = self.value(node.value)
        if isinstance(owner, Array | Elements):
            return self._of_array(owner, node.attr)
        if isinstance(owner, Record):
            return self._of_record(node, owner)
        raise Refusal(f"'.{node.attr}' of {describe(owner)}, which has none")

    def _of_record(self, node: ast.Attribute, owner: Record) -> Value:
        if node.attr in owner.fields:
            field = owner.fields[node.attr]
            if isinstance(field, Unset):
                raise Refusal(field.reason)
            return field
        found = inspect.getattr_static(owner.type, node.attr, MISSING)
        if isinstance(found, property) and isinstance(found.fget, FunctionType):
            return self._returned(node, self._calls.get(self, node, found.fget, owner))
        if found is not MISSING and not callable(found) and not hasattr(found, "__get__"):
            return constant_of(found, self.emit)
        what = "is nothing that kernels can read" if found is not MISSING else f"is not among {', '.join(owner.fields)}"
        raise Refusal(f"'.{node.attr}' of {describe(owner)} {what}")

    def _of_array(self, owner: Array | Elements, name: str) -> Value:
        sizes = elementwise.elements(self, owner).sizes
        match name:
            case "shape":
                return Tuple(sizes)
            case "ndim":
                return Number(INT, len(sizes))
            case "size":
                return self.count(sizes)
            case "dtype":
                return Static(owner.element.dtype)
            case "T":
                return slicing.rearranged(self, elementwise.array_of(self, owner), range(len(sizes))[::-1])
            case _:
                raise Refusal(f"'.{name}' of an array: kernels know shape, ndim, size, dtype and T of arrays")

    def _subscript(self, node: ast.Subscript) -> Value:
        found = self.place(node)
        return self.load(found.array, found.indices) if isinstance(found, Place) else found


_NUMBERS = "they compute with int, float, bool and arrays"
_INSTEAD_OF_LISTS = (
    "cannot be compiled: write an expression of arrays, as np.arange(n) * x, or a loop that fills np.empty(n)"
)
_PARTS = "write two floats, or two arrays, for the real and the imaginary part"


def _construct(node: ast.expr) -> str:
    names: dict[type[ast.expr], str] = {
        ast.Lambda: "a lambda cannot be compiled",
        ast.ListComp: f"a list comprehension {_INSTEAD_OF_LISTS}",
        ast.SetComp: f"a set comprehension {_INSTEAD_OF_LISTS}",
        ast.DictComp: f"a dict comprehension {_INSTEAD_OF_LISTS}",
        ast.GeneratorExp: f"a generator expression {_INSTEAD_OF_LISTS}",
        ast.Dict: "a dict cannot be compiled: write a dataclass, or a tuple",
        ast.Set: "a set cannot be compiled: write a tuple",
        ast.JoinedStr: "an f-string cannot be compiled",
        ast.NamedExpr: "':=' in an expression cannot be compiled: write the assignment in a line of its own",
        ast.Starred: "'*' in an expression cannot be compiled: write the items one by one",
        ast.Slice: "a slice cannot be compiled",
        ast.Yield: "'yield' cannot be compiled: write to an array",
        ast.YieldFrom: "'yield' cannot be compiled: write to an array",
    }
    return names.get(type(node), "this expression cannot be compiled")
