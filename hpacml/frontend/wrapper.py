"""Functions of arrays and integers as IR, in which regions and functors wrap their maps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from xdsl.builder import Builder
from xdsl.dialects.arith import ConstantOp
from xdsl.dialects.builtin import DYNAMIC_INDEX, IntegerAttr, MemRefType, ModuleOp, UnitAttr, i64
from xdsl.dialects.func import CallOp, FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, Region, SSAValue
from xdsl.rewriter import InsertPoint, Rewriter

from hpacml.dialects.hpacml.attributes import ELEMENT_TYPES, Direction
from hpacml.dialects.hpacml.bridge import FunctorOp, MapOp
from hpacml.dialects.hpacml.original_code import CallPythonOp
from hpacml.frontend.mangling import symbol_for
from hpacml.frontend.maps import AppliedFunctor
from hpacml.frontend.python.emitter import name_value
from hpacml.frontend.python.layouts import memref_of_layout
from hpacml.functors.tensor_functor import Functor
from hpacml.runtime.arrays.views import ArrayView, Layout, layout_of


class ArrayType(NamedTuple):
    """The properties of an array that code is compiled for. It reads sizes and strides at run time."""

    dtype: str
    rank: int
    layout: Layout

    @staticmethod
    def of(view: ArrayView) -> ArrayType:
        return ArrayType(view.dtype, len(view.shape), layout_of(view))

    @staticmethod
    def on_device(view: ArrayView) -> ArrayType:
        """The type of an array on a device. Of a packed array of the host only a part is there, with packed rows."""
        there = ArrayType.of(view)
        in_part = view.device is None and view.shape and there.layout is Layout.PACKED
        return there._replace(layout=Layout.ROWS) if in_part else there

    @property
    def memref(self) -> MemRefType:
        return self.memref_of([DYNAMIC_INDEX] * self.rank)

    def memref_of(self, shape: Sequence[int]) -> MemRefType:
        """The type in the IR of such an array with this shape."""
        return memref_of_layout(ELEMENT_TYPES[self.dtype], shape, self.layout)


class Wrapper:
    """A module of one function, whose arguments are added one by one."""

    def __init__(self, name: str):
        self.name = name
        self.function = FuncOp(name, ([], []))
        self.function.attributes["llvm.emit_c_interface"] = UnitAttr()
        self.module = ModuleOp([self.function])
        self.builder = Builder(InsertPoint.at_end(self.function.body.block))
        self.values: dict[str, SSAValue] = {}
        self._functors: dict[tuple[str, Functor], FunctorOp] = {}

    def argument(self, name: str, type: Attribute) -> SSAValue:
        """Add an argument that maps use by its name: an array, or an integer parameter."""
        self.values[name] = self.hidden(name, type)
        return self.values[name]

    def hidden(self, name: str, type: Attribute, position: int | None = None) -> SSAValue:
        """Add an argument whose name is for readers only, at a position or at the end."""
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
        """Add a map of a functor over the arguments that it names, with `numbers` as its open numbers."""
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
        """The operation of a functor. Functors that differ and have the same name get different symbols."""
        if (name, functor) not in self._functors:
            taken = {self.name, *(op.sym_name.data for op in self._functors.values())}
            op = FunctorOp(symbol_for(name, taken), functor)
            self._functors[name, functor] = op
            Rewriter.insert_op(op, InsertPoint.before(self.function))
        return self._functors[name, functor]

    def call_body(self) -> Region:
        """A region of the IR that calls the Python body of the current call (`hpacml.runtime.frame`)."""
        self.module.body.block.add_op(FuncOp.external("hpacml_call_body", [i64], []))
        first = ConstantOp(IntegerAttr(0, i64))
        return Region(Block([first, CallOp("hpacml_call_body", [first.result], [])]))

    def call_body_on(self, arrays: Sequence[str], written: Iterable[int], sizes: Sequence[SSAValue]) -> Region:
        """A region that calls the body of the current call, on arrays and sizes that may stand for those given."""
        return Region(Block([CallPythonOp(0, [self.values[name] for name in arrays], sorted(written), sizes)]))

    def finish(self, results: Sequence[SSAValue] = ()) -> ModuleOp:
        """Return the complete module, whose function returns `results`."""
        self.builder.insert(ReturnOp(*results))
        self.function.update_function_type()
        return self.module
