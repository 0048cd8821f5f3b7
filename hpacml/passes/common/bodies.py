"""The original code of regions as functions: other lowerings see it as they see any function, and it exists once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import count

from xdsl.dialects import func, llvm
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import Operation, Region, SSAValue
from xdsl.rewriter import InsertPoint
from xdsl.traits import ConstantLike

from hpacml.dialects.hpacml.attributes import MappingType
from hpacml.dialects.hpacml.control import MlOp
from hpacml.dialects.hpacml.original_code import BodyAsideOp, BodyWhereOp
from hpacml.dialects.hpacml.steps import BodyOp
from hpacml.passes.common.located import Builder, refusal
from hpacml.passes.common.mappings import map_of
from hpacml.passes.common.regions import captured

ORIGIN = "hpacml.body_of"
"""The attribute of such a function that names the function that the code was written in."""

_LINKAGE = "llvm.linkage"


class Body:
    """The original code of a region, which becomes a function where it is run first."""

    def __init__(self, region: MlOp):
        self._region = region
        self._function: func.FuncOp | None = None
        self._arguments: list[SSAValue] = []

    def run(self, builder: Builder) -> SSAValue:
        """Build the operation that runs the code; the result is its time."""
        if self._function is None:
            self._function = self._outline()
        body = BodyOp(self._region.label, self._function.sym_name.data, self._arguments)
        body.milliseconds.name_hint = "ms"
        return builder.insert(body).milliseconds

    def run_where(self, builder: Builder, mask: SSAValue, tensors: Sequence[SSAValue]) -> None:
        """Build the operation that has the code fill the points of the outputs' tensors that a mask names."""
        if self._function is None:
            self._function = self._outline()
        op, name = self._region, self._function.sym_name.data
        pointwise = op.pointwise is not None
        inputs = [*op.all_inputs, *op.where_points] if pointwise else op.all_inputs  # the code may have these, too
        body = BodyWhereOp(op.label, name, self._arguments, mask, inputs, op.all_outputs, tensors, pointwise)
        builder.insert(body)

    def run_aside(self, builder: Builder, tensors: Sequence[SSAValue]) -> None:
        """Build the operation that fills the outputs' tensors with what the code would write."""
        if self._function is None:
            self._function = self._outline()
        op, name = self._region, self._function.sym_name.data
        builder.insert(BodyAsideOp(op.label, name, self._arguments, op.all_outputs, tensors))

    def _outline(self) -> func.FuncOp:
        """Move the code into a function; its arguments are the values that the code uses from outside."""
        region = self._region
        stem = re.sub(r"\W", "_", region.label.data, flags=re.ASCII) + "_body"
        function, self._arguments = outline(region.body, stem, region)
        return function


def outline(code: Region, stem: str, op: Operation) -> tuple[func.FuncOp, list[SSAValue]]:
    """Move the code of `op`, one block, into a function; its arguments are the values that it uses from outside."""
    block = code.block
    _bring_inside(code, op)
    given = captured(code)
    types = [value.type for value in given]
    for value in given:
        argument = block.insert_arg(value.type, len(block.args))
        argument.name_hint = value.name_hint
        value.replace_uses_with_if(argument, lambda use: code.is_ancestor(use.operation))
    block.add_op(end := func.ReturnOp())
    module = module_of(op)
    function = func.FuncOp(_free_name(stem, module), (types, []), op.detach_region(code), visibility="private")
    function.attributes[_LINKAGE] = llvm.LinkageAttr("internal")
    if (origin := origin_of(op)) is not None:
        function.attributes[ORIGIN] = StringAttr(origin)
    module.body.block.add_op(function)
    function.location = end.location = op.location
    return function, given


def _bring_inside(code: Region, op: Operation) -> None:
    """Copy constants and maps from outside to the start of the code: no argument could stand for a map."""
    while outside := [(each, made) for each in captured(code) if (made := _copied(each, op))]:
        for value, made in reversed(outside):
            copy = Builder(InsertPoint.at_start(code.block)).insert(made.clone())
            (result,) = copy.results
            value.replace_uses_with_if(result, lambda use: code.is_ancestor(use.operation))


def _free_name(stem: str, module: ModuleOp) -> str:
    symbols = (each.get_attr_or_prop("sym_name") for each in module.body.block.ops)
    taken = {symbol.data for symbol in symbols if isinstance(symbol, StringAttr)}
    return next(name for name in (f"{stem}_{n}" if n else stem for n in count()) if name not in taken)


def module_of(op: Operation) -> ModuleOp:
    """The module around an operation, which holds its symbols."""
    around = op.parent_op()
    while not isinstance(around, ModuleOp):
        if around is None:
            raise refusal(op, f"expected {op.name} inside a module")
        around = around.parent_op()
    return around


def modules(op: ModuleOp) -> list[ModuleOp]:
    """A module and those inside it, each of which has symbols of its own, the inner ones first."""
    return [each for each in op.walk(region_first=True) if isinstance(each, ModuleOp)]


def origin_of(op: Operation) -> str | None:
    """The name of the function that an operation was written in, also if its code is a function of its own by now."""
    around: Operation | None = op
    while around is not None and not isinstance(around, func.FuncOp):
        around = around.parent_op()
    if around is None:
        return None
    origin = around.attributes.get(ORIGIN)
    return origin.data if isinstance(origin, StringAttr) else around.sym_name.data


def _copied(value: SSAValue, op: Operation) -> Operation | None:
    """The operation of a value that is copied instead of passed."""
    if isinstance(value.type, MappingType):
        return map_of(value, op)
    owner = value.owner
    return owner if isinstance(owner, Operation) and owner.has_trait(ConstantLike) else None
