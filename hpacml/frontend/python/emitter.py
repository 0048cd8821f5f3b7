"""Appends operations to the block under construction."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import numpy as np
from xdsl.dialects import memref
from xdsl.dialects.arith import ConstantOp
from xdsl.dialects.builtin import (
    AnyFloat,
    ArrayAttr,
    DenseIntOrFPElementsAttr,
    FileLineColLoc,
    FloatAttr,
    IndexType,
    IntAttr,
    IntegerAttr,
    IntegerType,
    LocationAttr,
    MemRefType,
    StringAttr,
    TensorType,
    UnitAttr,
    UnknownLoc,
    UnrealizedConversionCastOp,
    i1,
    i8,
)
from xdsl.dialects.func import CallOp, FuncOp
from xdsl.dialects.llvm import AddressOfOp, GlobalOp, LLVMArrayType, LLVMPointerType
from xdsl.dialects.memref import DeallocOp, LoadOp, StoreOp
from xdsl.dialects.scf import IfOp, YieldOp
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from hpacml.abi.records import Site
from hpacml.dialects.hpacml.attributes import number_type
from hpacml.frontend.python import relaxing
from hpacml.frontend.python.types import Constant

Declaration: TypeAlias = FuncOp | GlobalOp | memref.GlobalOp
"""What a module has beside its kernels, by its symbol."""


@dataclass
class _OpenBlock:
    block: Block
    constants: dict[tuple[str, Attribute], SSAValue] = field(default_factory=dict[tuple[str, Attribute], SSAValue])
    owned: list[SSAValue] = field(default_factory=list[SSAValue])


class Emitter:
    """A stack of open blocks; operations go to the end of the innermost one."""

    def __init__(self, declarations: dict[str, Declaration], fastmath: bool = False):
        self.fastmath = fastmath
        """Whether operations on floats may be changed as `relaxing.FLAGS` say."""
        self._open: list[_OpenBlock] = []
        self._declarations = declarations
        self._location: LocationAttr = UnknownLoc()

    @contextmanager
    def block(self, arg_types: Sequence[Attribute] = ()) -> Generator[Block]:
        """Open a new block. Memory that it owns is freed at its end."""
        block = Block(arg_types=arg_types)
        with self.at_end(block):
            yield block
            for memory in reversed(self._open[-1].owned):
                self.op(DeallocOp.get(memory))

    @contextmanager
    def when(self, condition: SSAValue) -> Generator[None]:
        """Append an scf.if, whose block is open."""
        with self.block() as block:
            yield
        with self.at_end(block):
            self.op(YieldOp())
        self.op(IfOp(condition, [], Region(block)))

    @contextmanager
    def function(self, arg_types: Sequence[Attribute]) -> Generator[Block]:
        """Open the block of another function, which sees nothing of the open blocks."""
        outer, self._open = self._open, []
        with self.block(arg_types) as block:
            yield block
        self._open = outer

    def declare(self, name: str, make: Callable[[], FuncOp]) -> None:
        """Add a function to the module, unless it has one of this name."""
        if name not in self._declarations:
            self._declarations[name] = make()

    @property
    def open_blocks(self) -> Sequence[Block]:
        """The blocks under construction, the innermost last."""
        return [scope.block for scope in self._open]

    @contextmanager
    def at_end(self, block: Block) -> Generator[None]:
        """Open an earlier block again, at its end."""
        self._open.append(_OpenBlock(block))
        yield
        self._open.pop()

    @contextmanager
    def at_place(self, file: str, line: int, column: int) -> Generator[None]:
        """Have operations come from this place in the source."""
        outer, self._location = self._location, FileLineColLoc(StringAttr(file), IntAttr(line), IntAttr(column))
        yield
        self._location = outer

    def op(self, operation: Operation) -> None:
        operation.location = self._location
        if self.fastmath:
            relaxing.relax(operation)
        self._open[-1].block.add_op(operation)

    def value(self, operation: Operation) -> SSAValue:
        """Append an operation and return its result."""
        self.op(operation)
        return operation.results[0]

    def own(self, memory: SSAValue) -> Block:
        """Free this memory at the end of the innermost block, and return that block."""
        self._open[-1].owned.append(memory)
        return self._open[-1].block

    def give_up(self, memory: Sequence[SSAValue]) -> None:
        """Do not free this memory at the end of the innermost block.

        Where it is not known what memory that is, none is freed there: the call frees it at its end.
        """
        owned = self._open[-1].owned
        known = all(each in owned for each in memory)
        self._open[-1].owned = [each for each in owned if each not in memory] if known else []

    def load(self, memory: SSAValue[MemRefType], indices: Sequence[SSAValue]) -> SSAValue:
        """An element of an array, as a number without a sign."""
        return self._retyped(self.value(LoadOp.get(memory, indices)), number_type(memory.type.element_type))

    def store(self, value: SSAValue, memory: SSAValue[MemRefType], indices: Sequence[SSAValue]) -> None:
        """Set an element of an array to a number of its type."""
        self.op(StoreOp.get(self._retyped(value, memory.type.element_type), memory, indices))

    def _retyped(self, value: SSAValue, type: Attribute) -> SSAValue:
        return value if value.type == type else self.value(UnrealizedConversionCastOp.get([value], [type]))

    def constant(self, value: Constant, type: Attribute) -> SSAValue:
        """A constant, which is appended unless an open block has it."""
        key = (repr(value), type)
        for scope in self._open:
            if key in scope.constants:
                return scope.constants[key]
        result = self.value(_constant(value, type))
        result.name_hint = _constant_name(value, type)
        self._open[-1].constants[key] = result
        return result

    def index(self, value: int) -> SSAValue:
        return self.constant(value, IndexType())

    def call_c(self, name: str, arguments: Sequence[SSAValue], result: Attribute) -> SSAValue:
        """Call a function of the C library that has no side effects, without changes by LLVM.

        LLVM knows these functions, and would replace `pow(x, 2)` by `x * x`, which rounds differently.
        """
        if name not in self._declarations:
            declaration = FuncOp.external(name, [argument.type for argument in arguments], [result])
            attributes = ("nobuiltin", "nounwind", "willreturn")
            declaration.attributes["passthrough"] = ArrayAttr([StringAttr(text) for text in attributes])
            self._declarations[name] = declaration
        return self.value(CallOp(name, arguments, [result]))

    def call_runtime(self, name: str, arguments: Sequence[SSAValue]) -> None:
        """Call a function of the runtime (docs/runtime-abi.md) that returns nothing."""
        if name not in self._declarations:
            self._declarations[name] = FuncOp.external(name, [argument.type for argument in arguments], [])
        self.op(CallOp(name, arguments, []))

    def call_site(self, site: Site, arguments: Sequence[SSAValue]) -> None:
        """Call the runtime function of a site, which returns nothing, with its record and these arguments."""
        text = site.to_json() + "\0"
        name = next((name for name, op in self._declarations.items() if _text_of(op) == text), None)
        if name is None:
            name = f"hpacml_{site.kind}_{len(self._declarations)}"
            type = LLVMArrayType(len(text), i8)
            self._declarations[name] = GlobalOp(type, name, "private", constant=True, value=StringAttr(text))
        address = self.value(AddressOfOp(name, LLVMPointerType()))
        self.call_runtime(site.symbol, [address, *arguments])

    def table(self, elements: np.ndarray[Any, Any], type: MemRefType) -> str:
        """The symbol of constant memory with these elements, whose type is `type`."""
        from_list: Any = DenseIntOrFPElementsAttr.from_list  # its overloads know no type that is an Attribute
        values: DenseIntOrFPElementsAttr = from_list(
            TensorType(type.element_type, type.shape), elements.ravel().tolist()
        )
        for name, op in self._declarations.items():
            if isinstance(op, memref.GlobalOp) and op.initial_value == values and op.type == type:
                return name
        name = f"hpacml_table_{len(self._declarations)}"
        self._declarations[name] = memref.GlobalOp.get(StringAttr(name), type, values, constant=UnitAttr())
        return name


def _text_of(op: Declaration) -> str | None:
    return op.value.data if isinstance(op, GlobalOp) and isinstance(op.value, StringAttr) else None


def name_value(value: SSAValue, name: str) -> None:
    """Give a value in the IR its name in Python, if it has no name yet and the IR allows the name."""
    if value.name_hint is None and name.isascii() and SSAValue.is_valid_name(name):
        value.name_hint = name


def _constant(value: Constant, type: Attribute) -> Operation:
    if isinstance(type, IndexType):
        return ConstantOp(IntegerAttr(int(value), type))
    if isinstance(type, IntegerType):
        return ConstantOp(IntegerAttr(int(value), cast("IntegerType[int]", type), truncate_bits=True))
    assert isinstance(type, AnyFloat)
    return ConstantOp(FloatAttr(float(value), type))


def _constant_name(value: Constant, type: Attribute) -> str:
    if type == i1:
        return "true" if value else "false"
    return f"c{value}" if isinstance(type, IndexType | IntegerType) else "cst"
