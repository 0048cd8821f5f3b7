"""`hpacml-call-networks`: inferences become calls of compiled networks, by functions for the types of their memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import prod
from typing import NamedTuple, cast

from xdsl.context import Context
from xdsl.dialects import func, memref, scf
from xdsl.dialects.arith import ConstantOp
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    BoolAttr,
    IntegerAttr,
    MemRefType,
    ModuleOp,
    StridedLayoutAttr,
    StringAttr,
    i1,
    i64,
)
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint
from xdsl.traits import SymbolTable

from hpacml.dialects.hpacml.steps import InferOnViewsOp, InferOp
from hpacml.dialects.hpacml_rt.map_checks import RefuseOp
from hpacml.functors.polynomials import Poly
from hpacml.passes.common.bodies import module_of
from hpacml.passes.common.branching import where
from hpacml.passes.common.index_arithmetic import Condition, IndexArithmetic
from hpacml.passes.common.located import Builder, Rewriter, refusal
from hpacml.passes.common.strided import address_range, apart, metadata, reinterpret_cast

NETWORK = "hpacml_network_"
"""How the names of the functions begin."""

SWEEP, INPUTS = "network.sweep", "network.inputs"
"""Attributes of their declarations: how many dimensions all views have before their features, how many are inputs."""

LEAST_ROW = 64
"""The least points of a row: a tile holds some of one row, and tensors have no rows."""


@dataclass(frozen=True)
class HpacmlCallNetworksPass(ModulePass):
    """
    An inference becomes a call of a function of the network, whose types are those of the inference's memory.

    ```mlir
    %on_views = hpacml.infer_on_views "r" tensors [...] ins(%west, %east : ...) outs(%centre : ...)
    ...
    %done = hpacml.infer "r" ins(%x : memref<?x2xf32>) outs(%y : memref<?x1xf32>)
    ```
    becomes
    ```mlir
    %on_views = scf.if %apart -> (i1) {          // no memory that is written is read
      func.call @hpacml_network_5d0c...(%west, %east, %centre) : ...
    ...
    func.call @hpacml_network_9a31...(%x, %y) : (memref<?x2xf32, ...>, memref<?x1xf32, ...>) -> ()
    ```
    Where the rows of views lie packed, there is code for that. Tensors have their points in one dimension; their result
    goes to other memory first where it shares some with the input. Whoever links the module makes the functions.
    It is in no pipeline of regions: code that stands alone, without Python, is made with it.
    """

    name = "hpacml-call-networks"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for each in list(op.walk()):
            match each:
                case InferOnViewsOp():
                    _on_views(each)
                case InferOp():
                    _of_tensors(each)
                case _:
                    pass


class _Memory(NamedTuple):
    """Memory in numbers."""

    memory: SSAValue
    offset: Poly
    sizes: list[Poly]
    strides: list[Poly]

    @staticmethod
    def of(memory: SSAValue, a: IndexArithmetic) -> _Memory:
        return _Memory(memory, *metadata(memory, a))

    def extent(self, a: IndexArithmetic) -> tuple[Poly, Poly]:
        return address_range(self.memory, self.offset, self.sizes, self.strides, a)


def _are_apart(one: _Memory, other: _Memory, a: IndexArithmetic) -> Condition:
    """Whether the addresses of two memories do not overlap. Neither is empty."""
    return apart(one.extent(a), other.extent(a), a)


# -- views ---------------------------------------------------------------------------------------------


def _on_views(op: InferOnViewsOp) -> None:
    a = IndexArithmetic(Builder(InsertPoint.before(op)))
    views = [_Memory.of(view, a) for view in (*op.inputs, *op.outputs)]
    sweep, inputs = op.sweep, len(op.inputs)
    conditions = [a.le(a.constant(1), size) for size in views[0].sizes[:sweep]]
    if sweep > 1:
        conditions.append(a.le(a.constant(LEAST_ROW), views[0].sizes[sweep - 1]))
    for view in views[1:]:
        pairs = zip(view.sizes[:sweep], views[0].sizes[:sweep], strict=True)
        conditions += [a.eq(size, other) for size, other in pairs]
    outputs = views[inputs:]
    pairs = [*combinations(outputs, 2), *((view, output) for view in views[:inputs] for output in outputs)]
    conditions += [_are_apart(*pair, a) for pair in pairs]
    then, otherwise = Block(), Block()
    inner = Builder(InsertPoint.at_end(then), op)
    _choose(_versions(views, sweep, a), views, sweep, inputs, a.within(inner), op)
    for block, answer in ((then, True), (otherwise, False)):
        value = Builder(InsertPoint.at_end(block), op).insert(ConstantOp(BoolAttr.from_bool(answer)))
        block.add_op(scf.YieldOp(value))
    Rewriter.replace_op(op, scf.IfOp(a.truth(a.all(conditions)), [i1], Region(then), Region(otherwise)))


_Strides = list[list[int | None]]
"""The strides of all views that a function knows."""


def _versions(views: Sequence[_Memory], sweep: int, a: IndexArithmetic) -> list[tuple[Condition, _Strides]]:
    """Strides for which there is code of its own, and whether a call has them, the best first, any at last."""
    row = sweep - 1
    any_strides: _Strides = [[stride.as_int for stride in view.strides] for view in views]
    neighbours = [_with_row(view, known, row, a.constant(1)) for view, known in zip(views, any_strides, strict=True)]
    points = [_packed(view, known, sweep) for view, known in zip(views, any_strides, strict=True)]
    found: list[tuple[Condition, _Strides]] = []
    for strides in (neighbours, points, any_strides):
        pairs = {
            (stride, known)
            for view, each in zip(views, strides, strict=True)
            for stride, known in zip(view.strides, each, strict=True)
            if known is not None
        }
        is_possible = len(pairs) == len({stride for stride, _ in pairs})  # no number is to be two
        holds = is_possible and a.all([a.eq(stride, a.constant(known)) for stride, known in pairs])
        if holds is not False and strides not in [each for _, each in found]:
            found.append((holds, strides))
        if holds is True:
            break
    return found


def _with_row(view: _Memory, known: list[int | None], row: int, one: Poly) -> list[int | None]:
    """Strides where points are neighbours in memory, and so are features that step as points do."""
    return [
        1 if d == row or (d > row and view.strides[d] == view.strides[row] != one) else stride
        for d, stride in enumerate(known)
    ]


def _packed(view: _Memory, known: list[int | None], sweep: int) -> list[int | None]:
    """Strides where all features of a point are neighbours, and the next point follows."""
    features = [size.as_int or 0 for size in view.sizes[sweep:]]
    return [*known[: sweep - 1], *(prod(features[d:]) for d in range(len(features) + 1))]


def _choose(
    versions: Sequence[tuple[Condition, _Strides]],
    views: Sequence[_Memory],
    sweep: int,
    inputs: int,
    a: IndexArithmetic,
    op: Operation,
) -> None:
    """Call the first version whose strides a call has."""
    (holds, strides), *others = versions
    if holds is True or not others:
        seen = [_seen(view, each, sweep, a) for view, each in zip(views, strides, strict=True)]
        _call(seen, sweep, inputs, a.builder, op)
        return
    where(
        a.truth(holds),
        lambda a: _choose([(True, strides)], views, sweep, inputs, a, op),
        a,
        lambda a: _choose(others, views, sweep, inputs, a, op),
    )


def _seen(view: _Memory, strides: Sequence[int | None], sweep: int, a: IndexArithmetic) -> SSAValue:
    """A view with the strides that are known in its type, and with nothing else that is but its features."""
    known = zip(strides, view.strides, strict=True)
    numbers = [other if stride is None else a.constant(stride) for stride, other in known]
    cast_view = reinterpret_cast(view.memory, view.offset, view.sizes, numbers, a)
    shape = [DYNAMIC_INDEX] * sweep + [size.as_int or 0 for size in view.sizes[sweep:]]
    return _cast(cast_view, shape, strides, a.builder)


def _cast(memory: SSAValue, shape: Sequence[int], strides: Sequence[int | None], builder: Builder) -> SSAValue:
    type = cast(MemRefType, memory.type)
    wanted = MemRefType(type.element_type, shape, StridedLayoutAttr(strides, None))
    return memory if type == wanted else builder.insert(memref.CastOp.get(memory, wanted)).dest


def _call(views: Sequence[SSAValue], sweep: int, inputs: int, builder: Builder, op: Operation) -> None:
    """Call the function of the network for these types, which is declared where it is not yet."""
    types = [view.type for view in views]
    text = f"{sweep} {inputs} {', '.join(map(str, types))}"
    name = NETWORK + hashlib.sha256(text.encode()).hexdigest()[:16]
    module = module_of(op)
    if SymbolTable.lookup_symbol(module, name) is None:
        declaration = func.FuncOp.external(name, types, [])
        declaration.attributes[SWEEP] = IntegerAttr(sweep, i64)
        declaration.attributes[INPUTS] = IntegerAttr(inputs, i64)
        builder.insert(declaration, InsertPoint.at_start(module.body.block))
    builder.insert(func.CallOp(name, views, []))


# -- tensors -------------------------------------------------------------------------------------------


def _of_tensors(op: InferOp) -> None:
    if len(op.inputs) != 1 or len(op.outputs) != 1:
        raise refusal(op, f"{_region(op)} has several inputs or outputs, of which no network is compiled")
    (x,), (y,) = op.inputs, op.outputs
    given, made = (cast(MemRefType, each.type).get_shape() for each in (x, y))
    if len(given) < 2 or given[-1] == DYNAMIC_INDEX or len(made) - len(given) not in (0, -1):
        raise refusal(op, f"{_region(op)} gives no points of a known number of features to a network")
    outputs = made[-1] if len(made) == len(given) else 1
    if outputs == DYNAMIC_INDEX:
        raise refusal(op, f"{_region(op)} takes a number of features that only its calls know")
    a = IndexArithmetic(Builder(InsertPoint.before(op)))
    source, target = _Memory.of(x, a), _Memory.of(y, a)
    rank = len(given) - 1
    same = a.all([a.eq(*sizes) for sizes in zip(source.sizes[:rank], target.sizes[:rank], strict=True)])
    if same is not True:
        _refuse_unless(a.truth(same), op, a)
    points = a.settled(prod(source.sizes[1:rank], start=source.sizes[0]))
    flat_x, flat_y = _flat(source, points, given[-1], a), _flat(target, points, outputs, a)
    apart = a.any([a.le(points, a.constant(0)), _are_apart(source, target, a)])
    where(
        a.truth(apart),
        lambda a: _call([flat_x, flat_y], 1, 1, a.builder, op),
        a,
        lambda a: _call_by_copy(flat_x, flat_y, points, a, op),
    )
    Rewriter.replace_op(op, ConstantOp(BoolAttr.from_bool(True)))


def _region(op: InferOp) -> str:
    return f"the region '{op.label.data}'"


def _refuse_unless(same: SSAValue, op: InferOp, a: IndexArithmetic) -> None:
    text = f"the model does not fit {_region(op)}: its inputs and its outputs have not as many points"
    where(same, lambda a: None, a, lambda a: _refuse(text, a))


def _refuse(text: str, a: IndexArithmetic) -> None:
    a.builder.insert(RefuseOp(StringAttr(text)))


def _flat(tensor: _Memory, points: Poly, features: int, a: IndexArithmetic) -> SSAValue:
    """A dense tensor with its points in one dimension."""
    sizes, strides = [points, a.constant(features)], [a.constant(features), a.constant(1)]
    view = reinterpret_cast(tensor.memory, tensor.offset, sizes, strides, a)
    return _cast(view, [DYNAMIC_INDEX, features], [features, 1], a.builder)


def _call_by_copy(x: SSAValue, y: SSAValue, points: Poly, a: IndexArithmetic, op: Operation) -> None:
    type, builder = cast(MemRefType, y.type), a.builder
    made = builder.insert(memref.AllocOp([a.value(points)], [], MemRefType(type.element_type, type.get_shape()))).memref
    result = _cast(made, type.get_shape(), [type.get_shape()[-1], 1], builder)
    _call([x, result], 1, 1, builder, op)
    builder.insert(memref.CopyOp(result, y))
    builder.insert(memref.DeallocOp.get(made))
