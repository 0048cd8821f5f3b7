"""Attributes and types of the `hpacml` dialect."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    ArrayAttr,
    BFloat16Type,
    Float16Type,
    Float32Type,
    Float64Type,
    IntAttr,
    IntegerType,
    MemRefType,
    Signedness,
    StridedLayoutAttr,
    bf16,
    f16,
    f32,
    f64,
    i1,
)
from xdsl.dialects.utils.enum_attribute import EnumAttribute
from xdsl.ir import Attribute, Data, ParametrizedAttribute, SpacedOpaqueSyntaxAttribute, TypeAttribute
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException
from xdsl.utils.str_enum import StrEnum

from hpacml.dtypes import BRAIN, DTYPES, INDICES, DType, common
from hpacml.errors import MapError
from hpacml.functors.polynomials import Poly
from hpacml.functors.targets import Bounds, TargetTree, format_tree, single
from hpacml.functors.tensor_functor import Point, Range, Slice, format_slice

_FLOAT_TYPES: dict[str, Attribute] = {"f16": f16, BRAIN: bf16, "f32": f32, "f64": f64}
"""The floats that conversions know. MLIR's integers follow from their bits."""


def _element_type(dtype: DType) -> Attribute:
    """The type of an element in memory.

    A type tells the sign of its integers: signless ones are signed, but for `i8`, which is a byte. Arithmetic is of
    signless integers (`number_type`), and of conversions `hpacml.passes.common.conversion` knows which to take.
    """
    if dtype.kind == "f":
        return _FLOAT_TYPES[dtype.name]
    if dtype.kind == "b":
        return i1
    signless = (dtype.kind == "u") == (dtype.bits == 8)
    sign = Signedness.UNSIGNED if dtype.kind == "u" else Signedness.SIGNED
    return IntegerType(dtype.bits, Signedness.SIGNLESS if signless else sign)


ELEMENT_TYPES: dict[str, Attribute] = {name: _element_type(dtype) for name, dtype in DTYPES.items()}
"""Element types of arrays and tensors by name."""

_NAMES = {element_type: name for name, element_type in ELEMENT_TYPES.items()}

INDEX_TYPES = tuple(ELEMENT_TYPES[name] for name in INDICES)
"""Element types of index arrays."""

FLOATS = (Float16Type, BFloat16Type, Float32Type, Float64Type)


def dtype_name(element_type: Attribute) -> str:
    """The name of an element type. Raises `VerifyException` for any other type."""
    if (name := _NAMES.get(element_type)) is None:
        raise VerifyException(f"element type {element_type} is none of {', '.join(map(str, _NAMES))}")
    return name


def is_unsigned(element_type: Attribute) -> bool:
    """Whether it is that of unsigned integers, or of bools."""
    return element_type in _NAMES and DTYPES[_NAMES[element_type]].kind in "ub"


def number_type(element_type: Attribute) -> Attribute:
    """The type in which arithmetic has an element: the same, without a sign."""
    if element_type in _NAMES and DTYPES[_NAMES[element_type]].kind in "ui":
        return IntegerType(DTYPES[_NAMES[element_type]].bits)
    return element_type


def promote(element_types: Iterable[Attribute]) -> Attribute:
    """The element type of a tensor gathered from arrays of several. Raises `MapError` if there is none."""
    names = [dtype_name(element_type) for element_type in element_types]
    if (found := common(names)) is None:
        raise MapError(
            f"no integer type has the numbers of both {' and '.join(sorted(set(names)))}: convert one of the arrays"
        )
    return ELEMENT_TYPES[found]


def known(size: int) -> int | None:
    """A dimension of a type as a number, None if it is dynamic."""
    return None if size == DYNAMIC_INDEX else size


def dynamic(size: int | None) -> int:
    """The inverse of `known`."""
    return DYNAMIC_INDEX if size is None else size


def strides_of(type: MemRefType) -> tuple[int | None, ...]:
    """The strides of a memref type in elements, None where they are dynamic."""
    layout = type.layout
    if isinstance(layout, StridedLayoutAttr):
        return tuple(layout.get_strides())
    strides: list[int | None] = [1]
    for size in reversed(type.get_shape()[1:]):
        last = strides[0]
        strides.insert(0, None if last is None or size == DYNAMIC_INDEX else last * size)
    return tuple(strides[: type.get_num_dims()])


PREFIXES = ("hpacml.", "hpacml_rt.")
"""How the names of operations of hpacml's dialects begin."""


class Direction(StrEnum):
    """Whether a map reads application memory, writes it, or both."""

    To = "to"
    From = "from"
    Inout = "inout"


@irdl_attr_definition
class DirectionAttr(EnumAttribute[Direction], SpacedOpaqueSyntaxAttribute):
    name = "hpacml.direction"


class Mode(StrEnum):
    """What an `ml` region does (paper, section III-C)."""

    Infer = "infer"
    Collect = "collect"
    Predicated = "predicated"


@irdl_attr_definition
class ModeAttr(EnumAttribute[Mode], SpacedOpaqueSyntaxAttribute):
    name = "hpacml.mode"


@irdl_attr_definition
class SliceAttr(Data[Slice]):
    """A symbolic slice of a functor, `[i, j - 1 : j + 2]`."""

    name = "hpacml.slice"

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> Slice:
        with parser.in_angle_brackets():
            return cls.parse_bare(parser)

    def print_parameter(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_string(str(self))

    @classmethod
    def parse_bare(cls, parser: AttrParser) -> Slice:
        def entry() -> Point | Range:
            first = _parse_sum(parser)
            if parser.parse_optional_punctuation(":") is None:
                return Point(first)
            stop = _parse_sum(parser)
            step = Poly.constant(1) if parser.parse_optional_punctuation(":") is None else _parse_sum(parser)
            return Range(first, stop, step)

        return tuple(parser.parse_comma_separated_list(parser.Delimiter.SQUARE, entry))

    def __str__(self) -> str:
        return format_slice(self.data)


def _parse_sum(parser: AttrParser) -> Poly:
    total = _parse_product(parser)
    while True:
        if parser.parse_optional_punctuation("+") is not None:
            total = total + _parse_product(parser)
        elif parser.parse_optional_punctuation("-") is not None:
            total = total - _parse_product(parser)
        else:
            return total


def _parse_product(parser: AttrParser) -> Poly:
    factor = _parse_factor(parser)
    while parser.parse_optional_punctuation("*") is not None:
        factor = factor * _parse_factor(parser)
    return factor


def _parse_factor(parser: AttrParser) -> Poly:
    if parser.parse_optional_punctuation("-") is not None:
        return -_parse_factor(parser)
    if (name := parser.parse_optional_identifier()) is not None:
        return Poly.name(name)
    return Poly.constant(parser.parse_integer(allow_boolean=False, allow_negative=False))


@irdl_attr_definition
class TargetAttr(Data[TargetTree]):
    """The static part of a map's target: `[1 : ?, 0]`, with `?` for each operand."""

    name = "hpacml.target"

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> TargetTree:
        with parser.in_angle_brackets():
            return cls._parse_tree(parser)

    @classmethod
    def _parse_tree(cls, parser: AttrParser) -> TargetTree:
        def number() -> int | None:
            return None if parser.parse_optional_punctuation("?") is not None else parser.parse_integer()

        def entry() -> Bounds | TargetTree:
            if parser.parse_optional_punctuation("*") is not None:
                return cls._parse_tree(parser)
            return parse_bounds(parser, number)

        return tuple(parser.parse_comma_separated_list(parser.Delimiter.SQUARE, entry))

    def print_parameter(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_string(str(self))

    def __str__(self) -> str:
        return format_tree(self.data)


def parse_bounds(parser: AttrParser, number: Callable[[], int | None]) -> Bounds:
    """`index` or `start : stop [: step]`, each number read by `number`."""
    start = number()
    if parser.parse_optional_punctuation(":") is None:
        return single(start)
    stop = number()
    step = 1 if parser.parse_optional_punctuation(":") is None else number()
    return Bounds(start, stop, step)


@dataclass(frozen=True, init=False)  # for what a dataclass makes of fields: equality and hashes
class _Shaped(ParametrizedAttribute, TypeAttribute, ABC):
    shape: ArrayAttr[IntAttr]
    element_type: Attribute

    @classmethod
    def of(cls, shape: Sequence[int | None], element_type: Attribute) -> Self:
        return cls(ArrayAttr([IntAttr(dynamic(size)) for size in shape]), element_type)

    def get_shape(self) -> tuple[int, ...]:
        return tuple(size.data for size in self.shape)

    def get_num_dims(self) -> int:
        return len(self.shape)

    def verify(self) -> None:
        dtype_name(self.element_type)

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        with parser.in_angle_brackets():
            shape, element_type = parser.parse_ranked_shape()
        return ArrayAttr([IntAttr(size) for size in shape]), element_type

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            for size in self.get_shape():
                printer.print_string("?x" if size == DYNAMIC_INDEX else f"{size}x")
            printer.print_attribute(self.element_type)


@irdl_attr_definition
class MappingType(_Shaped):
    """A tensor map as a value: the shape and element type of the dense tensor it reads or writes."""

    name = "hpacml.mapping"

    @property
    def tensor_type(self) -> MemRefType:
        """The memref of the dense tensor."""
        return MemRefType(self.element_type, self.get_shape())


@irdl_attr_definition
class IndirectType(_Shaped):
    """A view of an array whose elements are found by indices: its shape and element type."""

    name = "hpacml.indirect"
