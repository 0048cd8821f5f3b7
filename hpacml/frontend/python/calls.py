"""Compiles calls in a kernel: of known functions, of other kernels, and of functions that make arrays."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from xdsl.dialects.arith import CmpiOp, DivUIOp, MaxSIOp, OrIOp
from xdsl.dialects.builtin import DYNAMIC_INDEX, IndexType, MemRefType
from xdsl.dialects.func import CallOp
from xdsl.dialects.memref import AllocOp, CastOp
from xdsl.dialects.scf import IfOp, ParallelOp, ReduceOp, YieldOp
from xdsl.ir import Region, SSAValue

from hpacml.abi.records import SizeSite
from hpacml.frontend import plain
from hpacml.frontend.python.annotations import ArrayParameter, ScalarParameter
from hpacml.frontend.python.definition import Definition
from hpacml.frontend.python.evaluator import MISSING, Evaluator
from hpacml.frontend.python.functions import FUNCTIONS, advice
from hpacml.frontend.python.layouts import layout_of_memref
from hpacml.frontend.python.number import Number, as_number
from hpacml.frontend.python.sizes import size_rules
from hpacml.frontend.python.types import ARRAY_DTYPES, INT, Refusal, ScalarType
from hpacml.frontend.python.values import Array, Tuple, Value, describe
from hpacml.runtime.arrays.views import Layout


@dataclass(frozen=True)
class Linked:
    """A compiled function of the module, which kernels can call."""

    symbol: str
    result: ScalarType | None
    written: frozenset[int]
    """The positions of the parameters that it writes."""
    has_regions: bool
    """Whether it or a function that it calls has an ml region."""


_ARRAYS: dict[Any, tuple[str, ...]] = {
    np.empty: ("shape", "dtype"),
    np.zeros: ("shape", "dtype"),
    np.ones: ("shape", "dtype"),
    np.full: ("shape", "fill_value", "dtype"),
}
"""The functions that make arrays, and their parameters."""

_MOST_BYTES = 1 << 62
"""The greatest size of an array in bytes."""

Link = Callable[[Definition, tuple[Layout, ...]], Linked]
"""Returns the function for a kernel whose array arguments have these layouts."""


class Calls:
    """Compiles calls. Raises `Refusal` and, for arguments, `CompileError`."""

    def __init__(self, link: Link):
        self._link = link

    def __call__(self, evaluator: Evaluator, node: ast.Call) -> Value | None:
        """Compile a call and return its result, None if the function returns nothing."""
        callee, spelled = evaluator.meaning(node.func), ast.unparse(node.func)
        if callee is MISSING:
            if isinstance(node.func, ast.Attribute):
                owner = describe(evaluator.value(node.func.value))
                raise Refusal(f"{spelled}(...) is a method of {owner}: kernels have none, so write the loop")
            raise Refusal(f"'{spelled}' is {describe(evaluator.value(node.func))}, no function")
        if isinstance(callee, Definition):
            return self._call_kernel(evaluator, callee, node)
        if _is_hashable(callee) and callee in _ARRAYS:
            return _new_array(evaluator, callee, node)
        if callee is len:
            return _length(evaluator, node)
        if callee is range or callee is plain.prange:
            raise Refusal(f"{spelled}(...) can only be what a 'for' loop runs over")
        if callee is plain.approx:
            raise Refusal(f"{spelled}(...) is a statement of its own, or stands in a 'with'")
        function = FUNCTIONS.get(callee) if _is_hashable(callee) else None
        if function is None:
            raise Refusal(f"{spelled}(...) cannot be compiled: {advice(callee)}")
        _check_arguments(evaluator, node)
        return function(evaluator.numbers, spelled, [evaluator.number(argument) for argument in node.args])

    # -- kernels ---------------------------------------------------------------------------------

    def _call_kernel(self, evaluator: Evaluator, callee: Definition, node: ast.Call) -> Number | None:
        _check_arguments(evaluator, node, tuple(callee.signature.parameters))
        try:
            bound = callee.signature.bind(*node.args, **{k.arg or "": k.value for k in node.keywords})
        except TypeError as error:
            raise Refusal(f"{callee.name}(): {error}") from None
        arguments: list[SSAValue] = []
        layouts: list[Layout] = []
        arrays: dict[int, Array] = {}
        passed: list[Array] = []
        for position, parameter in enumerate(callee.parameters):
            given: ast.expr | None = bound.arguments.get(parameter.name)
            match parameter:
                case ScalarParameter():
                    number = _default(callee, parameter) if given is None else evaluator.number(given)
                    with evaluator.at(given or node):
                        arguments.append(_pass_number(evaluator, number, parameter, callee))
                case ArrayParameter() if given is not None:
                    array = evaluator.value(given)
                    with evaluator.at(given):
                        arrays[position] = array = _check_array(array, parameter, callee)
                    layouts.append(layout_of_memref(array.value.type))
                    passed.append(array)
                    arguments.append(array.value)
                case ArrayParameter():
                    raise Refusal(
                        f"'{parameter.name}' of {callee.name}() must be given: a kernel passes no default of an array"
                    )
                case _:
                    raise Refusal(
                        f"'{parameter.name}' of {callee.name}() is not part of compiled code, so {callee.name}() "
                        "can be called from Python only"
                    )
        _check_sizes(evaluator, callee, passed, node)
        memrefs = iter([p.memref(layout) for p, layout in zip(_arrays_of(callee), layouts, strict=True)])
        arguments = [_cast(evaluator, a, next(memrefs)) if isinstance(a.type, MemRefType) else a for a in arguments]
        linked = self._link(callee, tuple(layouts))
        if linked.has_regions and evaluator.in_parallel_loop:
            raise Refusal(f"{callee.name}() has an ml region, which a parallel loop cannot run: use range")
        evaluator.has_regions |= linked.has_regions
        written = (arrays[position].parameter for position in linked.written)
        evaluator.written.update(position for position in written if position is not None)
        call = CallOp(linked.symbol, arguments, [] if linked.result is None else [linked.result.ir])
        evaluator.emit.op(call)
        return None if linked.result is None else Number(linked.result, call.results[0])


def _default(callee: Definition, parameter: ScalarParameter) -> Number:
    number = as_number(callee.signature.parameters[parameter.name].default)
    if number is None:
        raise Refusal(f"the default of '{parameter.name}' of {callee.name}() is no number")
    return number


def _pass_number(evaluator: Evaluator, number: Number, parameter: ScalarParameter, callee: Definition) -> SSAValue:
    if not parameter.type.accepts(number.type):
        raise Refusal(
            f"'{parameter.name}' of {callee.name}() takes {parameter.type.spelling}, and this is {describe(number)}"
        )
    return evaluator.numbers.ssa(evaluator.numbers.convert(number, parameter.type))


def _check_array(value: Value, parameter: ArrayParameter, callee: Definition) -> Array:
    name = f"'{parameter.name}' of {callee.name}()"
    expected = f"an array of {parameter.element} with {_dimensions(len(parameter.dims))}"
    if not isinstance(value, Array):
        raise Refusal(f"{name} takes {expected}, and this is {describe(value)}")
    if value.element is not parameter.element or len(value.sizes) != len(parameter.dims):
        raise Refusal(
            f"{name} takes {expected}, and '{value.name}' is one of {value.element} "
            f"with {_dimensions(len(value.sizes))}"
        )
    return value


def _dimensions(rank: int) -> str:
    return f"{rank} dimension{'s' * (rank > 1)}"


def _cast(evaluator: Evaluator, array: SSAValue, type: MemRefType) -> SSAValue:
    return array if array.type == type else evaluator.emit.value(CastOp.get(array, type))


def _arrays_of(callee: Definition) -> list[ArrayParameter]:
    return [parameter for parameter in callee.parameters if isinstance(parameter, ArrayParameter)]


def _check_sizes(evaluator: Evaluator, callee: Definition, arrays: Sequence[Array], node: ast.Call) -> None:
    """Prove that arrays have the sizes that the callee's annotations demand, or have the code check them."""
    for (array, axis), other, size, text in size_rules(callee.name, _arrays_of(callee)):
        given = evaluator.identity(arrays[array], axis)
        wanted = size if other is None else evaluator.identity(arrays[other[0]], other[1])
        if given == wanted:
            continue
        if isinstance(given, int) and isinstance(wanted, int):
            raise Refusal(text.format(given=given, wanted=wanted))
        numbers = Number(INT, size) if other is None else evaluator.size(arrays[other[0]], other[1])
        sizes = [evaluator.numbers.ssa(number) for number in (evaluator.size(arrays[array], axis), numbers)]
        place = f"{evaluator.source.file}:{node.lineno}: ".replace("{", "{{").replace("}", "}}")
        with evaluator.emit.block() as refuse:
            evaluator.emit.call_site(SizeSite(place + text), sizes)
            evaluator.emit.op(YieldOp())
        differ = evaluator.emit.value(CmpiOp(sizes[0], sizes[1], "ne"))
        evaluator.emit.op(IfOp(differ, [], Region(refuse)))


# -- arrays --------------------------------------------------------------------------------------


def _new_array(evaluator: Evaluator, callee: Any, node: ast.Call) -> Array:
    """Compile `np.zeros(shape, dtype)` and the like. The array is freed at the end of the block."""
    names = _ARRAYS[callee]
    _check_arguments(evaluator, node, names)
    given: dict[str, ast.expr] = dict(zip(names, node.args, strict=False))
    given |= {k.arg: k.value for k in node.keywords if k.arg is not None}
    if any(name not in given for name in names[:-1]) or len(node.args) > len(names):
        written = f"{ast.unparse(node.func)}({', '.join(names)})"
        raise Refusal(f"write {written}, with the shape an integer or a tuple of integers")
    shape = evaluator.value(given["shape"])
    items = shape.items if isinstance(shape, Tuple) else (shape,)
    sizes = [_new_size(evaluator, given["shape"], item) for item in items]
    if not sizes:
        raise Refusal("an array needs at least one dimension")
    value = _fill_value(evaluator, callee, given)
    element = _dtype(evaluator, given["dtype"]) if "dtype" in given else _default_dtype(value)
    _check_bytes(evaluator, sizes, element.dtype.itemsize)
    dims = [DYNAMIC_INDEX if size.constant is None else int(size.constant) for size in sizes]
    dynamic = [evaluator.numbers.ssa(size) for size in sizes if size.constant is None]
    type = MemRefType(element.element, dims)
    memory = SSAValue.get(evaluator.emit.value(AllocOp(dynamic, [], type)), type=MemRefType)
    evaluator.emit.own(memory)
    if value is not None:
        with evaluator.at(given.get("fill_value", node)):
            filling = evaluator.numbers.ssa(evaluator.numbers.convert(value, element))
        _fill(evaluator, memory, [evaluator.numbers.ssa(size) for size in sizes], filling)
    return Array("", element, memory)


def _fill_value(evaluator: Evaluator, callee: Any, given: dict[str, ast.expr]) -> Number | None:
    """The initial value of the elements, None if they have none."""
    if callee is np.full:
        return evaluator.number(given["fill_value"])
    return None if callee is np.empty else Number(ARRAY_DTYPES["float64"], float(callee is np.ones))


def _default_dtype(value: Number | None) -> ScalarType:
    name = "float64" if value is None else value.type.dtype.name
    if name not in ARRAY_DTYPES:
        raise Refusal(f"arrays of {name} are none that a kernel has: give a dtype, such as np.uint8")
    return ARRAY_DTYPES[name]


def _new_size(evaluator: Evaluator, node: ast.expr, value: Value) -> Number:
    if not isinstance(value, Number):
        raise evaluator.error(node, f"this is {describe(value)}, where a size is needed")
    with evaluator.at(node):
        size = evaluator.numbers.integer(value, "a size")
    if size.constant is not None and size.constant < 0:
        raise evaluator.error(node, f"the size {size.constant} is negative")
    return size


def _check_bytes(evaluator: Evaluator, sizes: Sequence[Number], itemsize: int) -> None:
    """Refuse negative sizes, and more than `_MOST_BYTES`. Sizes of 0 count as 1, as in NumPy."""
    emit, numbers = evaluator.emit, evaluator.numbers
    known = [max(int(size.constant), 1) for size in sizes if size.constant is not None]
    most = _MOST_BYTES // itemsize // math.prod(known)
    if most == 0:
        raise Refusal("no memory holds an array of this shape")
    left, wrong = emit.index(most), None
    unknown = [numbers.ssa(size) for size in sizes if size.constant is None]
    for position, size in enumerate(unknown):
        if position:
            left = emit.value(DivUIOp(left, emit.value(MaxSIOp(unknown[position - 1], emit.index(1)))))
        too_large = emit.value(CmpiOp(size, left, "ugt"))  # or negative
        wrong = too_large if wrong is None else emit.value(OrIOp(wrong, too_large))
    if wrong is None:
        return
    with emit.block() as refuse:
        for position, size in enumerate(sizes):
            more = emit.index(len(sizes) - 1 - position)
            emit.call_runtime("hpacml_refuse_size", [numbers.ssa(size), more])
        emit.op(YieldOp())
    emit.op(IfOp(wrong, [], Region(refuse)))


def _dtype(evaluator: Evaluator, node: ast.expr) -> ScalarType:
    if isinstance(node, ast.Attribute) and node.attr == "dtype" and evaluator.static(node) is MISSING:
        owner = evaluator.value(node.value)
        if isinstance(owner, Array):
            return owner.element
    spelled: Any = node.value if isinstance(node, ast.Constant) else evaluator.meaning(node)
    try:
        return ARRAY_DTYPES[np.dtype(spelled).name]
    except (TypeError, KeyError):
        known = ", ".join(element.spelling for element in ARRAY_DTYPES.values())
        raise evaluator.error(node, f"the dtype of an array in a kernel is one of {known}") from None


def _fill(evaluator: Evaluator, memory: SSAValue[MemRefType], sizes: Sequence[SSAValue], value: SSAValue) -> None:
    emit = evaluator.emit
    zero, one = emit.index(0), emit.index(1)
    with emit.block([IndexType()] * len(sizes)) as body:
        emit.store(value, memory, body.args)
        emit.op(ReduceOp())
    emit.op(ParallelOp([zero] * len(sizes), sizes, [one] * len(sizes), Region(body)))


def _length(evaluator: Evaluator, node: ast.Call) -> Number:
    _check_arguments(evaluator, node)
    value = evaluator.value(node.args[0]) if len(node.args) == 1 else None
    if isinstance(value, Array):
        return evaluator.size(value, 0)
    if isinstance(value, Tuple):
        return Number(INT, len(value.items))
    raise Refusal("len(...) takes one array")


def _check_arguments(evaluator: Evaluator, node: ast.Call, keywords: Sequence[str] = ()) -> None:
    """Refuse `*`, `**`, and keywords that the callee does not have."""
    for argument in node.args:
        if isinstance(argument, ast.Starred):
            raise evaluator.error(argument, "'*' in a call cannot be compiled: write the arguments one by one")
    for keyword in node.keywords:
        if keyword.arg is None:
            raise evaluator.error(keyword.value, "'**' in a call cannot be compiled: write the arguments one by one")
        if keyword.arg not in keywords:
            raise evaluator.error(keyword, f"{ast.unparse(node.func)}(...) takes no '{keyword.arg}=' here")


def _is_hashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True
