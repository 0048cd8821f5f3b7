"""Text in operations, which may hold any character: labels, paths, functors and maps as written.

xDSL's parser takes a string literal that is not ASCII for bytes (`BytesAttr`). Here it becomes a `StringAttr` again.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xdsl.dialects.builtin import ArrayAttr, BytesAttr, StringAttr
from xdsl.ir import Attribute
from xdsl.irdl import AttrConstraint, IntConstraint, IRDLOperation, VerificationContext
from xdsl.irdl.declarative_assembly_format import (
    AttributeVariable,
    CustomDirective,
    ParsingState,
    PrintingState,
    irdl_custom_directive,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from hpacml.dialects.hpacml.locations import PlacedOperation


def as_text(attribute: Attribute) -> Attribute:
    """`attribute` with each string that the parser took for bytes as a `StringAttr`; bytes that are no UTF-8 stay."""
    match attribute:
        case BytesAttr(data=data):
            try:
                return StringAttr(data.decode())
            except UnicodeDecodeError:
                return attribute
        case ArrayAttr(data=entries) if any(isinstance(entry, BytesAttr) for entry in entries):
            return ArrayAttr([as_text(entry) for entry in entries])
        case _:
            return attribute


class TextualOperation(PlacedOperation, ABC):
    """An operation whose string properties hold text, in custom and in generic form."""

    def __post_init__(self) -> None:
        for name, attribute in self.properties.items():
            self.properties[name] = as_text(attribute)
        super().__post_init__()


@dataclass(frozen=True)
class TextConstraint(AttrConstraint[StringAttr]):
    """A string. Bytes that are text pass too: xDSL looks at what it parsed before there is an operation."""

    def verify(self, attr: Attribute, constraint_context: VerificationContext) -> None:
        if not isinstance(as_text(attr), StringAttr):
            raise VerifyException(f"expected a string, got {attr}")

    def get_bases(self) -> set[type[Attribute]]:
        return {StringAttr, BytesAttr}

    def mapping_type_vars(self, type_var_mapping: Mapping[Any, AttrConstraint | IntConstraint]) -> TextConstraint:
        return self


TEXT = TextConstraint()
TEXTS = ArrayAttr.constr(TEXT)


@irdl_custom_directive
class Given(CustomDirective):
    """A property behind the keyword of an optional group. xDSL's own variable takes a keyword with nothing behind."""

    value: AttributeVariable

    def parse(self, parser: Parser, state: ParsingState) -> None:
        self.value.set(state, parser.parse_attribute())

    def print(self, printer: Printer, state: PrintingState, op: IRDLOperation) -> None:
        self.value.print(printer, state, op)

    def is_present(self, op: IRDLOperation) -> bool:
        return self.value.is_present(op)

    def is_anchorable(self) -> bool:
        return True
