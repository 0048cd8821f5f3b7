"""The data bridge: functors, and maps, which apply them to arrays."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from math import prod
from typing import TYPE_CHECKING, cast

from xdsl.dialects.builtin import (
    ArrayAttr,
    FlatSymbolRefAttrConstr,
    IndexType,
    MemRefType,
    NoneAttr,
    StridedLayoutAttr,
    StringAttr,
    SymbolNameConstraint,
    SymbolRefAttr,
    TensorType,
    UnitAttr,
    i1,
)
from xdsl.interfaces import HasCanonicalizationPatternsInterface
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    irdl_op_definition,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.parser import Parser, UnresolvedOperand
from xdsl.pattern_rewriter import RewritePattern
from xdsl.printer import Printer
from xdsl.traits import SymbolOpInterface, SymbolTable, SymbolUserOpInterface
from xdsl.utils.exceptions import VerifyException

from hpacml.dialects.hpacml.attributes import (
    INDEX_TYPES,
    Direction,
    DirectionAttr,
    MappingType,
    SliceAttr,
    TargetAttr,
    dtype_name,
    known,
    parse_bounds,
    promote,
)
from hpacml.dialects.hpacml.effects import MakesItsResults
from hpacml.dialects.hpacml.numbers_in_text import number_text
from hpacml.dialects.hpacml.texts import TEXT, TextualOperation
from hpacml.dtypes import SIZES
from hpacml.errors import MapError
from hpacml.functors.application import WAYS, resolve
from hpacml.functors.arithmetic import PARTIAL
from hpacml.functors.targets import Bounds, TargetTree, bind, heads, leaves, open_numbers, ranks
from hpacml.functors.tensor_functor import Functor, FunctorError

if TYPE_CHECKING:
    from hpacml.functors.application import Way


@irdl_op_definition
class FunctorOp(TextualOperation):
    """
    A tensor functor (paper, Figure 3): which elements, at each point of a sweep, make up the features of a
    tensor. The names in parentheses are integer parameters, whose values a map gives; all others are symbols.

    Example:
    ```mlir
    hpacml.functor @ifnctr : [i, j, 0:5] = ([i - 1, j], [i + 1, j], [i, j - 1 : j + 2])
    hpacml.functor @block(m) : [i, 0:m] = ([m * i : m * i + m])
    ```
    """

    name = "hpacml.functor"

    sym_name = prop_def(SymbolNameConstraint())
    parameters = prop_def(ArrayAttr[StringAttr])
    lhs = prop_def(SliceAttr)
    rhs = prop_def(ArrayAttr[SliceAttr])

    traits = traits_def(SymbolOpInterface())

    def __init__(self, name: str, functor: Functor):
        super().__init__(
            properties={
                "sym_name": StringAttr(name),
                "parameters": ArrayAttr([StringAttr(p) for p in functor.used_params]),
                "lhs": SliceAttr(functor.lhs),
                "rhs": ArrayAttr([SliceAttr(entries) for entries in functor.rhs]),
            }
        )

    @property
    def functor(self) -> Functor:
        """The functor as `hpacml.functors.tensor_functor.Functor`. Raises `FunctorError` if it contradicts itself."""
        params = frozenset(p.data for p in self.parameters)
        return Functor(self.lhs.data, tuple(entries.data for entries in self.rhs), params)

    @property
    def declaration(self) -> str:
        """The functor as the text of a directive: `f: [i, 0:2] = ([i], [i])`."""
        return f"{self.sym_name.data}: {self.functor}"

    def verify_(self) -> None:
        for entries in (self.lhs.data, *(each.data for each in self.rhs)):
            for entry in entries:
                _require_64_bits(number for poly in entry.polys for _, number in poly.terms)
        try:
            functor = self.functor
        except FunctorError as error:
            raise VerifyException(error.message) from error
        if [p.data for p in self.parameters] != list(functor.used_params):
            raise VerifyException("parameters must be the integer names that occur, in alphabetical order")

    @classmethod
    def parse(cls, parser: Parser) -> FunctorOp:
        name = parser.parse_symbol_name()
        params = parser.parse_optional_comma_separated_list(
            parser.Delimiter.PAREN, lambda: StringAttr(parser.parse_identifier())
        )
        parser.parse_punctuation(":")
        lhs = SliceAttr(SliceAttr.parse_bare(parser))
        parser.parse_punctuation("=")
        rhs = parser.parse_comma_separated_list(parser.Delimiter.PAREN, lambda: SliceAttr(SliceAttr.parse_bare(parser)))
        attributes = parser.parse_optional_attr_dict()
        return cls.create(
            properties={
                "sym_name": name,
                "parameters": ArrayAttr(params or []),
                "lhs": lhs,
                "rhs": ArrayAttr(rhs),
            },
            attributes=attributes,
        )

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_symbol_name(self.sym_name.data)
        if self.parameters:
            printer.print_string(f"({', '.join(p.data for p in self.parameters)})")
        printer.print_string(f" : {self.lhs} = ({', '.join(map(str, self.rhs))})")
        printer.print_op_attributes(self.attributes)


def _require_64_bits(numbers: Iterable[int]) -> None:
    """Raise `VerifyException` for a number that no `index` can hold."""
    for number in numbers:
        if not -(1 << 63) <= number < 1 << 63:
            raise VerifyException(f"the number {number} does not fit 64 bits")


def _require_room(what: str, shape: Iterable[int | None], width: int) -> None:
    """Raise `MapError` for a shape with more elements of `width` than 64 bits count; strides ignore sizes of 0."""
    sizes = [size for size in shape if size]
    if prod(sizes) * width >= 1 << 63:
        raise MapError(f"the size of the {what} of {' x '.join(map(str, sizes))} elements does not fit 64 bits")


class MapUsesFunctor(SymbolUserOpInterface):
    """The functor exists, and the map fits it as far as its types and constants tell."""

    def verify(self, op: Operation) -> None:
        map_op = cast(MapOp, op)
        functor = SymbolTable.lookup_symbol(op, map_op.functor)
        if not isinstance(functor, FunctorOp):
            raise VerifyException(f"{map_op.functor} is not an hpacml.functor")
        map_op.verify_counts(len(functor.parameters))
        try:
            map_op.require_indices()
            shape = map_op.resolve_partly(functor.functor)
        except (MapError, FunctorError) as error:
            raise VerifyException(str(error)) from error
        if MappingType.of(shape, map_op.mapping_type.element_type) != map_op.mapping_type:
            expected = MappingType.of(shape, map_op.mapping_type.element_type)
            raise VerifyException(f"the map's type is {map_op.mapping_type}, but the functor makes it {expected}")


@irdl_op_definition
class MapOp(TextualOperation, HasCanonicalizationPatternsInterface):
    """
    A tensor map: a functor applied to ranges of arrays. It is a value, the mapping itself; it touches no
    memory until something is gathered or scattered through it.

    Numbers of the ranges are constants or `index` values. One target serves all slices of the functor, or
    there is one per slice. A target in place of a range, after `*`, is an array whose elements are the
    indices; `unchecked` trusts them. `text` is the directive, for messages.

    Regions check their maps where they stand, other users where the map does. So a map without users is removed, but
    two maps are not merged, and none is moved, by passes that only know its effects: those of an allocation.

    Example:
    ```mlir
    %in = hpacml.map to @ifnctr(%t[1 : %n, 1 : %m]) : memref<?x?xf32> -> !hpacml.mapping<?x?x5xf32>
    %b = hpacml.map to @block(%x[0 : %n]) params(%k) : memref<?xf64> -> !hpacml.mapping<?x?xf64>
    %c = hpacml.map from @rows(%pos[*%idx[0 : %n], 0 : 3]) unchecked
      : memref<?x3xf32>, memref<?xi32> -> !hpacml.mapping<?x3xf32>
    ```
    """

    name = "hpacml.map"

    direction = prop_def(DirectionAttr)
    functor = prop_def(FlatSymbolRefAttrConstr)
    targets = prop_def(ArrayAttr[TargetAttr])
    unchecked = opt_prop_def(UnitAttr)
    text = opt_prop_def(TEXT)

    arrays = var_operand_def(MemRefType | TensorType)
    bounds = var_operand_def(IndexType())
    params = var_operand_def(IndexType())

    mapping = result_def(MappingType)

    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    traits = traits_def(MakesItsResults(), MapUsesFunctor())

    def __init__(
        self,
        direction: Direction,
        functor: str,
        targets: Sequence[TargetTree],
        arrays: Sequence[SSAValue],
        bounds: Sequence[SSAValue],
        params: Sequence[SSAValue],
        result_type: MappingType,
        text: str | None = None,
        unchecked: bool = False,
    ):
        super().__init__(
            operands=[arrays, bounds, params],
            properties={
                "direction": DirectionAttr(direction),
                "functor": SymbolRefAttr(functor),
                "targets": ArrayAttr([TargetAttr(tree) for tree in targets]),
                "unchecked": UnitAttr() if unchecked else None,
                "text": None if text is None else StringAttr(text),
            },
            result_types=[result_type],
        )

    @staticmethod
    def infer(
        functor: FunctorOp,
        direction: Direction,
        targets: Sequence[TargetTree],
        arrays: Sequence[SSAValue],
        bounds: Sequence[SSAValue],
        params: Sequence[SSAValue],
        text: str | None = None,
        element_type: Attribute | None = None,
        unchecked: bool = False,
    ) -> MapOp:
        """A map with the type that follows from its operands. Raises `MapError` for what is wrong statically.

        The tensor's element type is that of the arrays, or the widest of theirs (`promote`), if not given.
        """
        types = [cast(MemRefType, arrays[head].type).element_type for head in heads(targets)]
        element_type = element_type or promote(types)
        unknown = MappingType.of([], element_type)
        name = functor.sym_name.data
        return MapOp(direction, name, targets, arrays, bounds, params, unknown, text, unchecked).typed(functor)

    def typed(self, functor: FunctorOp) -> MapOp:
        """This map, which no IR holds yet, made anew with the type that follows from its operands.

        Raises `MapError` for what is wrong statically.
        """
        try:
            self.require_indices()
            shape = self.resolve_partly(functor.functor)
            return MapOp.build(
                operands=[self.arrays, self.bounds, self.params],
                properties=self.properties,
                attributes=self.attributes,
                result_types=[MappingType.of(shape, self.mapping_type.element_type)],
            )
        finally:
            self.drop_all_references()

    @classmethod
    def get_canonicalization_patterns(cls) -> tuple[RewritePattern, ...]:
        from hpacml.dialects.hpacml.canonicalization import FoldConstantRanges, ShareMaps

        return FoldConstantRanges(), ShareMaps()

    @property
    def mapping_type(self) -> MappingType:
        return self.mapping.type

    @property
    def directions(self) -> tuple[Way, ...]:
        """The directions in which the map must be valid."""
        return WAYS[self.direction.data]

    @property
    def array_names(self) -> tuple[str, ...]:
        """The arrays' names for messages; different arrays have different names."""
        names: dict[SSAValue, str] = {}
        for number, array in enumerate(self.arrays):
            if array not in names:
                name = array.name_hint or f"array {number}"
                names[array] = name if name not in names.values() else f"{name} ({number})"
        return tuple(names[array] for array in self.arrays)

    @property
    def applied(self) -> str:
        """The functor's name and the targets, as the directive writes them, or else as they are: `f(t[1 : n])`."""
        if self.text is not None:
            return self.text.data
        arrays, numbers = iter(self.array_names), map(number_text, self.bounds)

        def target(tree: TargetTree) -> str:
            return f"{next(arrays)}[{', '.join(map(entry, tree))}]"

        def entry(entry: Bounds | TargetTree) -> str:
            if not isinstance(entry, Bounds):
                return target(entry)
            return re.sub(r"\?", lambda _: next(numbers), str(entry))

        params = f" params({', '.join(map(number_text, self.params))})" if self.params else ""
        return f"{self.functor.root_reference.data}({', '.join(map(target, self.trees))}){params}"

    @property
    def trees(self) -> list[TargetTree]:
        return [target.data for target in self.targets]

    @property
    def index_arrays(self) -> list[int]:
        """Which of the arrays hold indices."""
        return [number for number in range(len(self.arrays)) if number not in self.holding_elements]

    @property
    def holding_elements(self) -> list[int]:
        """Which of the arrays hold the elements that are read or written."""
        return heads(self.trees)

    def require_indices(self) -> None:
        """Raise `MapError` for an index array of another type than integers."""
        for number in self.index_arrays:
            element_type = cast(MemRefType, self.arrays[number].type).element_type
            if element_type not in INDEX_TYPES:
                name = self.array_names[number]
                mask = f"the places where a mask is true are numpy.flatnonzero({name})"
                hint = mask if element_type == i1 else "indices are integers"
                raise MapError(f"the array '{name}' is used as indices, but has elements of {element_type}: {hint}")

    def resolve_partly(self, functor: Functor) -> tuple[int | None, ...]:
        """The tensor's shape, None where a size is dynamic. Raises `MapError` for what is wrong statically."""
        shapes = [[known(n) for n in cast(MemRefType, array.type).get_shape()] for array in self.arrays]
        for each in shapes:
            _require_room("array", each, 1)
        numbers = [None] * len(self.bounds)
        targets = bind(self.trees, self.array_names, shapes, numbers, PARTIAL)
        unknown: dict[str, int | None] = dict.fromkeys(functor.used_params)
        shape: tuple[int | None, ...] = ()
        for direction in self.directions:
            shape = resolve(functor, targets, unknown, direction, PARTIAL).shape
        _require_room("tensor", shape, SIZES[dtype_name(self.mapping_type.element_type)])
        return shape

    def verify_counts(self, params: int) -> None:
        """Raise `VerifyException` unless operands are as many as targets, open numbers and `params` parameters need."""
        trees = self.trees
        for tree in trees:
            for bounds in leaves(tree):
                _require_64_bits(number for number in bounds.numbers if number is not None)
        if (named := len(ranks(trees))) != len(self.arrays):
            raise VerifyException(f"the targets name {named} arrays, {len(self.arrays)} are given")
        holes = open_numbers(trees)
        if holes != len(self.bounds):
            raise VerifyException(f"the ranges leave {holes} numbers open, {len(self.bounds)} are given")
        if params != (given := len(self.params)):
            raise VerifyException(f"the functor has {params} parameter{'s' * (params != 1)}, {given} are given")
        for array in self.arrays:
            array_type = cast("MemRefType | TensorType[Attribute]", array.type)
            dtype_name(array_type.element_type)
            _require_64_bits(array_type.get_shape())
            if isinstance(array_type, MemRefType) and not isinstance(array_type.layout, NoneAttr | StridedLayoutAttr):
                raise VerifyException(f"an array has the layout {array_type.layout}: give it strides instead")

    @classmethod
    def parse(cls, parser: Parser) -> MapOp:
        direction = DirectionAttr(parser.parse_str_enum(Direction))
        functor = parser.parse_symbol_name()
        arrays: list[UnresolvedOperand] = []
        bounds: list[UnresolvedOperand] = []

        def number() -> int | None:
            if (operand := parser.parse_optional_unresolved_operand()) is None:
                return parser.parse_integer(allow_boolean=False)
            bounds.append(operand)
            return None

        def entry() -> Bounds | TargetTree:
            if parser.parse_optional_punctuation("*") is not None:
                return target()
            return parse_bounds(parser, number)

        def target() -> TargetTree:
            arrays.append(parser.parse_unresolved_operand())
            return tuple(parser.parse_comma_separated_list(parser.Delimiter.SQUARE, entry))

        trees = parser.parse_comma_separated_list(parser.Delimiter.PAREN, target)
        params: list[UnresolvedOperand] = []
        if parser.parse_optional_keyword("params") is not None:
            params = parser.parse_comma_separated_list(parser.Delimiter.PAREN, parser.parse_unresolved_operand)
        unchecked = UnitAttr() if parser.parse_optional_keyword("unchecked") is not None else None
        attributes = parser.parse_optional_attr_dict()
        text = attributes.pop("text", None)
        parser.parse_punctuation(":")
        types = parser.parse_comma_separated_list(parser.Delimiter.NONE, parser.parse_type)
        parser.parse_punctuation("->")
        result_type = parser.parse_type()
        index = [IndexType()]
        operands = [
            parser.resolve_operands(arrays, types, parser.pos),
            parser.resolve_operands(bounds, index * len(bounds), parser.pos),
            parser.resolve_operands(params, index * len(params), parser.pos),
        ]
        return cls.build(
            operands=operands,
            properties={
                "direction": direction,
                "functor": SymbolRefAttr(functor),
                "targets": ArrayAttr([TargetAttr(tree) for tree in trees]),
                "unchecked": unchecked,
                "text": text,
            },
            attributes=attributes,
            result_types=[result_type],
        )

    def print(self, printer: Printer) -> None:
        arrays, bounds = iter(self.arrays), iter(self.bounds)

        def number(value: int | None) -> None:
            if value is None:
                printer.print_ssa_value(next(bounds))
            else:
                printer.print_string(str(value))

        def entry(value: Bounds | TargetTree) -> None:
            if not isinstance(value, Bounds):
                printer.print_string("*")
                target(value)
                return
            number(value.start)
            if not value.single:
                printer.print_string(" : ")
                number(value.stop)
                if value.step != 1:
                    printer.print_string(" : ")
                    number(value.step)

        def target(tree: TargetTree) -> None:
            printer.print_ssa_value(next(arrays))
            with printer.in_square_brackets():
                printer.print_list(tree, entry)

        printer.print_string(f" {self.direction.data} ")
        printer.print_attribute(self.functor)
        with printer.in_parens():
            printer.print_list(self.trees, target)
        if self.params:
            printer.print_string(" params(")
            printer.print_list(self.params, printer.print_ssa_value)
            printer.print_string(")")
        if self.unchecked is not None:
            printer.print_string(" unchecked")
        shown: dict[str, Attribute] = dict(self.attributes)
        if self.text is not None:
            shown["text"] = self.text
        printer.print_op_attributes(shown)
        printer.print_string(" : ")
        printer.print_list(self.arrays, lambda array: printer.print_attribute(array.type))
        printer.print_string(" -> ")
        printer.print_attribute(self.mapping.type)
