"""Compiles calls in a kernel: of known functions, of other kernels, and of functions that make arrays."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from types import BuiltinMethodType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from xdsl.dialects.builtin import MemRefType
from xdsl.dialects.func import CallOp
from xdsl.ir import Attribute, SSAValue

from hpacml.frontend import plain
from hpacml.frontend.python import bundles, elementwise, making, messages, methods, operators, slicing
from hpacml.frontend.python.advice import advice, advice_for_method
from hpacml.frontend.python.annotations import (
    ArrayParameter,
    BundleParameter,
    OpaqueParameter,
    Parameter,
    ScalarParameter,
)
from hpacml.frontend.python.arguments import bound, bound_values, check, evaluated
from hpacml.frontend.python.constants import constant_of
from hpacml.frontend.python.context import MISSING, Ended
from hpacml.frontend.python.definition import Definition
from hpacml.frontend.python.evaluator import Evaluator
from hpacml.frontend.python.functions import CLIP_BY_ARRAYS, FUNCTIONS, OF_ARRAYS
from hpacml.frontend.python.layouts import layout_of_memref
from hpacml.frontend.python.number import Number
from hpacml.frontend.python.result_types import Result
from hpacml.frontend.python.results import received
from hpacml.frontend.python.size_rules import size_rules
from hpacml.frontend.python.types import BOOL, INT, SCALARS, Refusal
from hpacml.frontend.python.values import (
    Array,
    Elements,
    Inner,
    Opaque,
    Record,
    Static,
    Tuple,
    Unset,
    Value,
    as_tuple,
    describe,
    dimensions,
)
from hpacml.runtime.arrays.views import Layout

if TYPE_CHECKING:
    from hpacml.frontend.python.inlining import Inlining


@dataclass(frozen=True)
class Linked:
    """A compiled function of the module, which kernels can call."""

    symbol: str
    result: Result | None
    outputs: Sequence[Attribute]
    """The types of its results in the IR."""
    written: frozenset[int]
    """The positions of the parameters that it writes."""
    has_regions: bool
    """Whether it or a function that it calls has an ml region."""
    raises: bool
    """Whether it raises an exception on every path."""


Constants = Mapping[str, "Static | Opaque"]
"""Arguments that are no part of compiled code: they are known, or are arguments of the call from Python."""

Link = Callable[[Definition, tuple[Layout, ...], Constants], Linked]
"""Returns the function for a kernel whose array arguments have these layouts, with some constants."""


class Calls:
    """Compiles calls. Raises `Refusal` and, for arguments, `CompileError`."""

    def __init__(self, link: Link, inlining: Inlining):
        self._link = link
        self._inlining = inlining

    def __call__(self, evaluator: Evaluator, node: ast.Call) -> Value | None:
        """Compile a call and return its result, None if the function returns nothing."""
        callee, spelled = evaluator.meaning(node.func), ast.unparse(node.func)
        if callee is MISSING or _is_method_of_array(callee):
            return self._call_value(evaluator, node, spelled)
        if isinstance(callee, Definition):
            return self._call_kernel(evaluator, callee, node)
        if callee is range or callee is plain.prange:
            raise Refusal(
                f"{spelled}(...) can only be what a 'for' loop runs over: write i in range(n) as 0 <= i < n, "
                "len(range(n)) as n, and range(n)[::-1] as reversed(range(n))"
            )
        if callee is plain.approx:
            raise Refusal(f"{spelled}(...) is a statement of its own, or stands in a 'with'")
        if not _is_hashable(callee):
            raise Refusal(f"{spelled}(...) cannot be compiled: {advice(callee)}")
        if isinstance(callee, type) and bundles.is_bundle(callee):
            return _new_record(evaluator, callee, node)
        if callee is dataclasses.replace:
            return _replace(evaluator, node)
        if callee in making.MAKING:
            return making.make(evaluator, callee, node)
        if (compile := methods.OF_WHOLE_ARRAYS.get(callee) or _BUILTINS.get(callee)) is not None:
            return compile(evaluator, node)
        if callee in FUNCTIONS:
            return _call_function(evaluator, node, callee, spelled)
        if isinstance(callee, MethodType) and _has_source(callee.__func__):
            return self._inlining.call(evaluator, callee.__func__, node, constant_of(callee.__self__, evaluator.emit))
        if _has_source(callee):
            return self._inlining.call(evaluator, callee, node)
        raise Refusal(f"{spelled}(...) cannot be compiled: {advice(callee)}")

    def get(self, evaluator: Evaluator, node: ast.Attribute, getter: FunctionType, owner: Value) -> Value | None:
        """The property of a bundle that `getter` gets."""
        return self._inlining.call(evaluator, getter, ast.copy_location(ast.Call(node, [], []), node), owner)

    def _call_value(self, evaluator: Evaluator, node: ast.Call, spelled: str) -> Value | None:
        """Call a function of the kernel, or a method of one of its values."""
        if not isinstance(node.func, ast.Attribute):
            inner = evaluator.value(node.func)
            if isinstance(inner, Inner):
                return self._inlining.call(evaluator, inner, node)
            raise Refusal(f"'{spelled}' is {describe(inner)}, no function")
        if (module := evaluator.static(node.func.value)) is not MISSING and not isinstance(module, np.ndarray):
            close = get_close_matches(node.func.attr, dir(module), n=1)
            hint = f"; did you mean '{ast.unparse(node.func.value)}.{close[0]}'?" if close else ""
            raise Refusal(f"'{spelled}' is not defined{hint}")
        owner = evaluator.value(node.func.value)
        if isinstance(owner, Array | Elements):
            return methods.call_method(evaluator, node, owner, node.func.attr)
        if isinstance(owner, Record):
            return self._call_method(evaluator, node, owner, node.func.attr)
        instead = advice_for_method(ast.unparse(node.func.value), node.func.attr)
        raise Refusal(f"{spelled}(...) is a method of {describe(owner)}, which kernels do not have: {instead}")

    def _call_method(self, evaluator: Evaluator, node: ast.Call, owner: Record, name: str) -> Value | None:
        """Call a method of a bundle."""
        if name == "_replace" and bundles.is_tuple(owner.type):
            return _changed(evaluator, owner, node)
        match inspect.getattr_static(owner.type, name, None):
            case FunctionType() as method if _has_source(method):
                return self._inlining.call(evaluator, method, node, owner)
            case staticmethod(__func__=FunctionType() as method):
                return self._inlining.call(evaluator, method, node)
            case classmethod(__func__=FunctionType() as method):
                return self._inlining.call(evaluator, method, node, Static(owner.type))
            case _:
                raise Refusal(f"'.{name}(...)' of {describe(owner)} is no method that is written with 'def'")

    # -- kernels ---------------------------------------------------------------------------------

    def _call_kernel(self, evaluator: Evaluator, callee: Definition, node: ast.Call) -> Value | None:
        check(evaluator, node, tuple(callee.signature.parameters))
        try:
            bound = callee.signature.bind(*node.args, **{k.arg or "": k.value for k in node.keywords})
        except TypeError as error:
            raise Refusal(f"{callee.name}(): {error}") from None
        found = evaluated(evaluator, node)
        values = {name: found[argument] for name, argument in bound.arguments.items()}
        given = Arguments(evaluator, callee, node, bound.arguments)
        for parameter in callee.parameters:
            name = parameter.name
            given.add(parameter, values[name] if name in values else _default(evaluator, callee, name))
        arguments, layouts, arrays = given.values, given.layouts, given.by_position
        _check_sizes(evaluator, callee, given, node)
        memrefs = iter([p.memref(layout) for p, layout in zip(given.parameters, layouts, strict=True)])
        arguments = [
            slicing.cast(evaluator, a, next(memrefs)) if isinstance(a.type, MemRefType) else a for a in arguments
        ]
        linked = self._link(callee, tuple(layouts), given.constants)
        if linked.has_regions and evaluator.in_parallel_loop:
            raise Refusal(f"{callee.name}() has an ml region, which a parallel loop cannot run: use range")
        evaluator.has_regions |= linked.has_regions
        for position in linked.written:
            evaluator.note_write(node, arrays[position])
        call = CallOp(linked.symbol, arguments, linked.outputs)
        evaluator.emit.op(call)
        if linked.raises:
            raise Ended
        return None if linked.result is None else received(evaluator, linked.result, iter(call.results), arrays)


def _default(evaluator: Evaluator, callee: Definition, name: str) -> Value:
    return constant_of(callee.signature.parameters[name].default, evaluator.emit)


class Arguments:
    """The arguments of a call of a kernel, converted to what its parameters take."""

    def __init__(self, evaluator: Evaluator, callee: Definition, node: ast.Call, given: Mapping[str, ast.expr]):
        self._evaluator = evaluator
        self._callee = callee
        self._node = node
        self._given = given
        self._position = 0
        self.values: list[SSAValue] = []
        self.parameters: list[ArrayParameter] = []
        self.arrays: list[Array] = []
        self.layouts: list[Layout] = []
        self.by_position: dict[int, Array] = {}
        self.constants: dict[str, Static | Opaque] = {}

    def add(self, parameter: Parameter, value: Value) -> None:
        """Add an argument. Raises `CompileError` if it does not fit."""
        place = self._given.get(parameter.name.split(".")[0], self._node)
        with self._evaluator.at(place):
            self._add(parameter, value)

    def _add(self, parameter: Parameter, value: Value) -> None:
        name, position = f"'{parameter.name}' of {self._callee.name}()", self._position
        if isinstance(parameter, BundleParameter):
            if not isinstance(value, Record) or value.type is not parameter.type:
                raise Refusal(f"{name} takes a {parameter.type.__name__}, and this is {describe(value)}")
            for field, item in zip(parameter.fields, value.fields.values(), strict=True):
                self._add(field, item)
            return
        self._position += 1
        match parameter:
            case ScalarParameter() if parameter.type is BOOL and _is_constant(value):
                self.constants[parameter.name] = Static(bool(value.constant))
            case ScalarParameter():
                self.values.append(_pass_number(self._evaluator, value, parameter, name))
            case ArrayParameter() if parameter.optional and isinstance(value, Static) and value.object is None:
                self.constants[parameter.name] = value
            case ArrayParameter():
                array = self.by_position[position] = _check_array(
                    elementwise.computed(self._evaluator, value), parameter, name
                )
                self.parameters.append(parameter)
                self.layouts.append(layout_of_memref(array.value.type) if array.in_order else Layout.STRIDED)
                self.arrays.append(array)
                self.values.append(array.value)
            case OpaqueParameter():
                if not isinstance(value, Static | Opaque):
                    raise Refusal(f"{name} takes what model(...) and database(...) use, and this is {describe(value)}")
                self.constants[parameter.name] = value


def _is_constant(value: Value) -> TypeGuard[Number]:
    """Whether it is a truth value that is known, for which the callee is compiled."""
    return isinstance(value, Number) and value.type is BOOL and value.constant is not None


def _pass_number(evaluator: Evaluator, value: Value, parameter: ScalarParameter, name: str) -> SSAValue:
    if not isinstance(value, Number) or not parameter.type.accepts(value.type):
        raise Refusal(f"{name} takes {parameter.type.spelling}, and this is {describe(value)}")
    return evaluator.numbers.ssa(evaluator.numbers.convert(value, parameter.type))


def _check_array(value: Value, parameter: ArrayParameter, name: str) -> Array:
    expected = f"an array of {parameter.element} with {dimensions(len(parameter.dims))}"
    if not isinstance(value, Array):
        raise Refusal(f"{name} takes {expected}, and this is {describe(value)}")
    if value.element is not parameter.element or len(value.sizes) != len(parameter.dims):
        raise Refusal(
            f"{name} takes {expected}, and '{value.name}' is one of {value.element} with {dimensions(len(value.sizes))}"
        )
    return value


def _check_sizes(evaluator: Evaluator, callee: Definition, given: Arguments, node: ast.Call) -> None:
    """Prove that arrays have the sizes that the callee's annotations demand, or have the code check them."""
    arrays = given.arrays
    for (array, axis), other, size, text in size_rules(callee.name, given.parameters):
        found = evaluator.identities.size(arrays[array].value, axis)
        wanted = size if other is None else evaluator.identities.size(arrays[other[0]].value, other[1])
        if found == wanted:
            continue
        if isinstance(found, int) and isinstance(wanted, int):
            raise Refusal(text.format(given=found, wanted=wanted))
        demanded = Number(INT, size) if other is None else evaluator.size(arrays[other[0]], other[1])
        evaluator.require_equal(node, evaluator.size(arrays[array], axis), demanded, text)


# -- functions and methods -----------------------------------------------------------------------


def _call_function(evaluator: Evaluator, node: ast.Call, callee: Any, spelled: str) -> Value:
    """Call a function of numbers, which NumPy applies to the elements of arrays."""
    check(evaluator, node)
    arguments = elementwise.operands(evaluator, *node.args)
    if callee in SCALARS and any(isinstance(each, Static) for each in arguments):
        return _constant(evaluator, callee, arguments)
    if any(map(elementwise.is_array, arguments)) and callee not in OF_ARRAYS:
        raise Refusal(f"{spelled}(...) is of numbers: write {_of_arrays(callee)}")
    by_arrays = callee is np.clip and any(map(elementwise.is_array, arguments[1:]))
    function = CLIP_BY_ARRAYS if by_arrays else FUNCTIONS[callee]
    return elementwise.lifted(
        evaluator, node, lambda *numbers: function(evaluator.numbers, spelled, [*numbers]), arguments
    )


def _of_arrays(callee: Any) -> str:
    """What to write instead of a function of Python for arrays."""
    name = getattr(callee, "__name__", "")
    if getattr(np, name, None) in OF_ARRAYS:
        return f"np.{name}(...)"
    return f".astype({name})" if callee in SCALARS else "a loop over the elements"


def _constant(evaluator: Evaluator, callee: Any, arguments: Sequence[Value]) -> Value:
    """`float("inf")` and the like."""
    given = [each.object if isinstance(each, Static) else None for each in arguments]
    try:
        return constant_of(callee(*given), evaluator.emit)
    except (TypeError, ValueError, OverflowError) as error:
        raise Refusal(str(error)) from None


def _new_record(evaluator: Evaluator, type: type[Any], node: ast.Call) -> Record:
    defaults = {name: constant_of(found, evaluator.emit) for name, found in bundles.defaults_of(type).items()}
    for name in bundles.made_by_factories(type):
        defaults[name] = Unset(f"the default of '{name}' is made by a function: give {name}=...")
    names = [ast.arg(name) for name in bundles.fields_of(type)]
    arguments = ast.arguments([], names, None, [], [], None, [])
    values = bound_values(evaluator, arguments, defaults, node)
    for value in values.values():
        if isinstance(value, Unset):
            raise Refusal(value.reason)
    return Record(type, {name.arg: values[name.arg] for name in names})


def _replace(evaluator: Evaluator, node: ast.Call) -> Record:
    """`dataclasses.replace(g, field=...)`."""
    record = evaluator.value(node.args[0]) if len(node.args) == 1 else None
    if not isinstance(record, Record):
        raise Refusal("write dataclasses.replace(g, field=...) of a dataclass g")
    return _changed(evaluator, record, ast.copy_location(ast.Call(node.func, [], node.keywords), node))


def _changed(evaluator: Evaluator, record: Record, node: ast.Call) -> Record:
    """A bundle with other values for the fields that a call names."""
    if node.args:
        raise Refusal(f"{ast.unparse(node.func)}(...) takes fields by name, as in {next(iter(record.fields))}=...")
    check(evaluator, node, tuple(record.fields))
    values = evaluated(evaluator, node)
    changed = {keyword.arg: elementwise.computed(evaluator, values[keyword.value]) for keyword in node.keywords}
    return Record(record.type, {name: changed.get(name, value) for name, value in record.fields.items()})


def _length(evaluator: Evaluator, node: ast.Call) -> Value:
    value = as_tuple(evaluator.value(bound(evaluator, node, ("obj",), 1)["obj"]))
    match value:
        case Array() | Elements():
            return elementwise.elements(evaluator, value).sizes[0]
        case Tuple(items=items):
            return Number(INT, len(items))
        case Static(object=str() as text):
            return Number(INT, len(text))
        case _:
            raise Refusal(f"len(...) of {describe(value)}: it is of an array, a tuple or a text")


def _divmod(evaluator: Evaluator, node: ast.Call) -> Value:
    given = bound(evaluator, node, ("a", "b"), 2)
    a, b = elementwise.operands(evaluator, given["a"], given["b"])
    quotient, rest = (operators.binary(evaluator, node, operation, a, b) for operation in (ast.FloorDiv, ast.Mod))
    return Tuple((quotient, rest))


def _pow(evaluator: Evaluator, node: ast.Call) -> Value:
    given = bound(evaluator, node, ("base", "exp"), 2)
    return operators.binary(evaluator, node, ast.Pow, *elementwise.operands(evaluator, given["base"], given["exp"]))


def _tuple(evaluator: Evaluator, node: ast.Call) -> Value:
    value = evaluator.value(bound(evaluator, node, ("items",), 1)["items"])
    if not isinstance(value, Tuple):
        raise Refusal(f"{ast.unparse(node.func)}(...) of {describe(value)}: write the items in parentheses")
    return value


_LIBRARIES = ("numpy", "torch", "hpacml", "dataclasses", "functools", "itertools")
"""The modules whose functions are not compiled from their source."""

_BUILTINS: dict[Any, Callable[[Evaluator, ast.Call], Value | None]] = {
    len: _length,
    divmod: _divmod,
    pow: _pow,
    tuple: _tuple,
    list: _tuple,
    print: messages.print_,
}
"""Python's functions of values that are not only numbers."""


def _is_method_of_array(callee: object) -> bool:
    """Whether this is a method of an array of the module, which is a constant."""
    return isinstance(callee, BuiltinMethodType) and isinstance(callee.__self__, np.ndarray)


def _has_source(callee: object) -> TypeGuard[FunctionType]:
    """Whether this is a function whose code may take the place of calls."""
    return isinstance(callee, FunctionType) and not str(callee.__module__).startswith(_LIBRARIES)


def _is_hashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True
