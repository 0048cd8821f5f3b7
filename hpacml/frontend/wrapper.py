"""Entries of compiled code that are no kernels: one function over arrays and integers, built directly as IR."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, count
from typing import NamedTuple

from xdsl.builder import Builder
from xdsl.dialects.arith import ConstantOp
from xdsl.dialects.builtin import DYNAMIC_INDEX, IntegerAttr, MemRefType, ModuleOp, UnitAttr, i64
from xdsl.dialects.func import CallOp, FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, Region, SSAValue
from xdsl.rewriter import InsertPoint, Rewriter

from hpacml.dialects.hpacml.attributes import ELEMENT_TYPES, Direction
from hpacml.dialects.hpacml.bridge import FunctorOp, MapOp
from hpacml.frontend.maps import AppliedFunctor
from hpacml.frontend.python.emitter import name_value
from hpacml.frontend.python.layouts import memref_of_layout
from hpacml.functors.tensor_functor import Functor
from hpacml.runtime.arrays.views import ArrayView, Layout, layout_of


class ArrayType(NamedTuple):
    """What compiled code depends on of an array; sizes and strides are read at run time."""

    dtype: str
    rank: int
    layout: Layout

    @staticmethod
    def of(view: ArrayView) -> ArrayType:
        return ArrayType(view.dtype, len(view.shape), layout_of(view))

    @staticmethod
    def on_device(view: ArrayView) -> ArrayType:
        """Of an array that is on a device, or there as far as it is touched: then it is packed in its rows alone."""
        there = ArrayType.of(view)
        in_part = view.device is None and view.shape and there.layout is Layout.PACKED
        return there._replace(layout=Layout.ROWS) if in_part else there

    @property
    def memref(self) -> MemRefType:
        return self.memref_of([DYNAMIC_INDEX] * self.rank)

    def memref_of(self, shape: Sequence[int]) -> MemRefType:
        """The type of such an array, of which `shape` is known."""
        return memref_of_layout(ELEMENT_TYPES[self.dtype], shape, self.layout)


class Wrapper:
    """A module with one function, whose arguments are declared one by one."""

    def __init__(self, name: str):
        self.name = name
        self.function = FuncOp(name, ([], []))
        self.function.attributes["llvm.emit_c_interface"] = UnitAttr()
        self.module = ModuleOp([self.function])
        self.builder = Builder(InsertPoint.at_end(self.function.body.block))
        self.values: dict[str, SSAValue] = {}
        self._functors: dict[tuple[str, Functor], FunctorOp] = {}

    def argument(self, name: str, type: Attribute) -> SSAValue:
        """Add an argument that maps know by its name: an array, or an integer parameter."""
        self.values[name] = self.hidden(name, type)
        return self.values[name]

    def hidden(self, name: str, type: Attribute, position: int | None = None) -> SSAValue:
        """Add an argument of our own, whose name is for readers: the last one, or at a position."""
        block = self.function.body.block
        value = block.insert_arg(type, len(block.args) if position is None else position)
        name_value(value, name)
        return value

    def map(
        self,
        application: AppliedFunctor,
        direction: Direction,
        numbers: Sequence[SSAValue],
        element_type: Attribute | None = None,
    ) -> MapOp:
        """A map of a functor over the arguments of the names it uses, with `numbers` as its open numbers."""
        mapping = MapOp.infer(
            self._functor(application.directive.name, application.functor),
            direction,
            application.trees,
            [self.values[array] for array in application.arrays],
            numbers,
            [self.values[param] for param in application.functor.used_params],
            application.text,
            element_type,
            application.unchecked,
        )
        return self.builder.insert(mapping)

    def _functor(self, name: str, functor: Functor) -> FunctorOp:
        """The operation of a functor; two of one name that differ get different symbols."""
        if (name, functor) not in self._functors:
            taken = {self.name, *(op.sym_name.data for op in self._functors.values())}
            names = chain([name], (f"{name}_{number}" for number in count()))
            op = FunctorOp(next(symbol for symbol in names if symbol not in taken), functor)
            self._functors[name, functor] = op
            Rewriter.insert_op(op, InsertPoint.before(self.function))
        return self._functors[name, functor]

    def call_body(self) -> Region:
        """A region of the IR that calls the first opaque body of the current call (`hpacml.runtime.frame`)."""
        self.module.body.block.add_op(FuncOp.external("hpacml_call_body", [i64], []))
        first = ConstantOp(IntegerAttr(0, i64))
        return Region(Block([first, CallOp("hpacml_call_body", [first.result], [])]))

    def finish(self) -> ModuleOp:
        """The module, complete."""
        self.builder.insert(ReturnOp())
        self.function.update_function_type()
        return self.module
