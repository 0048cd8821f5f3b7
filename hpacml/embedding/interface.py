"""The parameters and results of a function of a module, as those of a kernel."""

from __future__ import annotations

import inspect
import keyword
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import cast

from xdsl.dialects.builtin import DYNAMIC_INDEX, IndexType, MemRefType, NoneAttr, StridedLayoutAttr, i1
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, SSAValue
from xdsl.utils.exceptions import VerifyException

from hpacml.dialects.hpacml.attributes import dtype_name
from hpacml.dialects.hpacml.locations import place
from hpacml.dtypes import DTYPES
from hpacml.embedding.memory import Memory
from hpacml.errors import CompileError, MapError
from hpacml.frontend.python.annotations import ArrayParameter, Leaf, ScalarParameter
from hpacml.frontend.python.definition import Interface
from hpacml.frontend.python.result_types import ArrayResult, Result
from hpacml.frontend.python.types import ARRAY_DTYPES, BOOL, INT, ScalarType
from hpacml.runtime.arrays.views import Layout, c_strides

_NUMBERS = {"i8": "int8", "i16": "int16", "i32": "int32", "i64": "int64", "f32": "float32", "f64": "float64"}
"""The types of numbers that NumPy has, by name. Integers of the IR have no sign."""


class FunctionInterface(Interface):
    """Parameters of a function by the names of its arguments, which are `arg0`, `arg1` ... where they have none.

    Raises `CompileError`, with the place in the source, for types that nothing in Python is.
    """

    def __init__(self, function: FuncOp):
        self._name = function.sym_name.data
        self._place = place(function)
        arguments = function.args
        self.names = names = list(_names(arguments))
        """The names of all arguments, in their order."""
        memory = Memory(function)
        self._accepted = {
            k: self._layouts(cast("MemRefType", type), f"argument '{name}'")
            for k, (name, type) in enumerate(zip(names, function.function_type.inputs, strict=True))
            if isinstance(type, MemRefType)
        }
        """The layouts that arrays may have, by the positions of arguments, and how that is written."""
        self._parameters = tuple(
            self._parameter(name, type) for name, type in zip(names, function.function_type.inputs, strict=True)
        )
        self.written = memory.written
        """The positions of the arguments that are written."""
        self.result = self._result(function, memory)

    @property
    def name(self) -> str:
        return self._name

    @cached_property
    def parameters(self) -> tuple[Leaf, ...]:
        return self._parameters

    @cached_property
    def signature(self) -> inspect.Signature:
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        return inspect.Signature([inspect.Parameter(p.name, kind) for p in self.parameters])

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """The most general layouts that its arrays may have."""
        return tuple(max(accepted, key=[*Layout].index) for accepted, _ in self._accepted.values())

    def require_layouts(self, layouts: Sequence[Layout]) -> None:
        """Raise `MapError` for an array of a layout that its type does not have."""
        for layout, (position, (accepted, written)) in zip(layouts, self._accepted.items(), strict=True):
            if layout not in accepted:
                name = self.parameters[position].name
                have = "C order without gaps" if Layout.ROWS not in accepted else "a stride of 1 in its last dimension"
                raise MapError(
                    f"argument '{name}' of {self.name}() has strides for which its type, {written}, has no place: that "
                    f"is of arrays with {have}. Pass np.ascontiguousarray({name}), or give it the type "
                    f"{_strided(self.parameters[position])}"
                )

    def _parameter(self, name: str, type: Attribute) -> Leaf:
        if isinstance(type, MemRefType):
            memory = cast("MemRefType", type)
            dims = tuple(None if size == DYNAMIC_INDEX else size for size in memory.get_shape())
            return ArrayParameter(name, self._element(memory.element_type, f"argument '{name}'"), dims)
        return ScalarParameter(name, self._number(type, f"argument '{name}'"))

    def _element(self, type: Attribute, what: str) -> ScalarType:
        try:
            found = DTYPES[dtype_name(type)]
        except VerifyException as error:
            raise self._error(f"{what}: {error}") from None
        if found.long_name not in ARRAY_DTYPES:
            raise self._error(f"{what} has elements of {type}, of which calls have no arrays")
        return ARRAY_DTYPES[found.long_name]

    def _number(self, type: Attribute, what: str) -> ScalarType:
        if isinstance(type, IndexType):
            return INT
        if type == i1:
            return BOOL
        if (name := _NUMBERS.get(str(type))) is not None:
            return ARRAY_DTYPES[name]
        raise self._error(f"{what} has the type {type}, and calls pass memrefs, index, i1 to i64, f32 and f64")

    def _result(self, function: FuncOp, memory: Memory) -> Result | None:
        results: list[Result] = []
        for k, type in enumerate(function.function_type.outputs):
            what = "the result" if len(function.function_type.outputs) == 1 else f"result {k}"
            if not isinstance(type, MemRefType):
                results.append(self._number(type, what))
                continue
            sources = memory.sources(k)
            if sources is None:
                raise self._error(
                    f"{what} is memory of which nothing says whether it is new: return what memref.alloc gives, or "
                    "(a part of) an argument"
                )
            element = self._element(cast("MemRefType", type).element_type, what)
            results.append(ArrayResult(element, type.get_num_dims(), sources, False))
        return None if not results else results[0] if len(results) == 1 else tuple(results)

    def _layouts(self, type: MemRefType, what: str) -> tuple[frozenset[Layout], str]:
        match type.layout:
            case NoneAttr():
                return frozenset([Layout.PACKED]), str(type)
            case StridedLayoutAttr():
                strides, offset = type.layout.get_strides(), type.layout.get_offset()
            case other:
                raise self._error(f"{what} has the layout {other}: calls pass strided ones")
        if offset not in (None, 0):
            raise self._error(f"{what} begins {offset} elements behind its pointer, and an array at its first element")
        shape = tuple(type.get_shape())
        if None not in strides and DYNAMIC_INDEX not in shape and tuple(strides) == c_strides(shape):
            return frozenset([Layout.PACKED]), str(type)
        if all(stride is None for stride in strides):
            return frozenset(Layout), str(type)
        if strides[-1] == 1 and all(stride is None for stride in strides[:-1]):
            return frozenset([Layout.PACKED, Layout.ROWS]), str(type)
        raise self._error(
            f"{what} has fixed strides, {list(strides)}: calls pass arrays of any strides, "
            f"strided<[{', '.join('?' * len(shape))}], offset: ?>, or of none"
        )

    def _error(self, text: str) -> CompileError:
        return CompileError(f"{self._place}{self._name}(): {text}")


def _names(arguments: Sequence[SSAValue]) -> Iterator[str]:
    """Names for all arguments, which are Python's and differ."""
    taken: set[str] = set()
    for k, argument in enumerate(arguments):
        name = argument.name_hint or ""
        name = name if name.isidentifier() and not keyword.iskeyword(name) and name not in taken else f"arg{k}"
        taken.add(name)
        yield name


def _strided(parameter: Leaf) -> str:
    rank = len(parameter.dims) if isinstance(parameter, ArrayParameter) else 0
    return f"memref<{'?x' * rank}..., strided<[{', '.join('?' * rank)}], offset: ?>>"
