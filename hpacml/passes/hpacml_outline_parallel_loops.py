"""`hpacml-outline-parallel-loops`: the iterations of parallel loops are shared out among threads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import cast

from xdsl.context import Context
from xdsl.dialects import arith, func, llvm, math, memref, scf
from xdsl.dialects.builtin import (
    AnyFloat,
    ArrayAttr,
    IndexType,
    IntegerAttr,
    IntegerType,
    MemRefType,
    ModuleOp,
    NoneAttr,
    StringAttr,
    UnrealizedConversionCastOp,
    i32,
    i64,
)
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint
from xdsl.traits import ConstantLike, SymbolTable

from hpacml.abi.symbols import RECORDED
from hpacml.passes.common.block_reductions import REDUCTIONS, Reduction, reduce_in_blocks
from hpacml.passes.common.bodies import modules
from hpacml.passes.common.located import Builder, Rewriter
from hpacml.passes.common.loops import CountingLoop
from hpacml.passes.common.origins import VIEWS
from hpacml.passes.common.regions import body_by_number, captured, function_of
from hpacml.passes.common.runtime_calls import C_FUNCTIONS, POINTER, declare, descriptor_type
from hpacml.passes.common.work import THREADS, Work

_RUN = "hpacml_parallel"

_PLAIN = {
    *arith.Arith.operations,
    *math.Math.operations,
    *(scf.ForOp, scf.IfOp, scf.WhileOp, scf.ConditionOp, scf.YieldOp, scf.ParallelOp, scf.ReduceOp),
    *(memref.LoadOp, memref.StoreOp, memref.DimOp, memref.GetGlobalOp, memref.CopyOp, *VIEWS),
    *(memref.AllocOp, memref.DeallocOp, llvm.FRemOp, llvm.AddressOfOp, func.ReturnOp),
}
"""What any thread may do."""

_MOST_RECORDED = 128
"""The most calls of a record in `hpacml/runtime/shim.ll`."""


@dataclass(frozen=True)
class HpacmlOutlineParallelLoopsPass(ModulePass):
    """
    Outermost loops marked `hpacml_threads` become functions of a range, which the runtime calls on threads.

    ```mlir
    scf.parallel (%i) = (%c0) to (%n) step (%c1) {
      memref.store %a, %x[%i] : memref<?xf64>
    } {hpacml_threads}
    ```
    becomes
    ```mlir
    func.call @hpacml_parallel(%function, %values, %count, %work)
    ...
    func.func private @f_iterations(%x: memref<?xf64>, %a: f64, %begin: index, %end: index) {
      scf.for %i = %begin to %end step %c1 {
        memref.store %a, %x[%i] : memref<?xf64>
    ```
    where `%values` points to what iterations use, and `%work` is about how many instructions all of them take. An
    `scf.for` that is marked with the reductions (`["add", "maxs"]`) which are all that it does to what it carries
    becomes such a loop over blocks of iterations, whose results are combined in order.

    A loop stays where iterations call what only the thread may that has entered the code: regions, prints, Python.
    """

    name = "hpacml-outline-parallel-loops"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for module in modules(op):
            marked = {each: each.attributes.pop(THREADS) for each in module.walk() if THREADS in each.attributes}
            loops = [each for each in marked if isinstance(each, CountingLoop) and not _is_inside(each, marked)]
            for loop in list(filter(_may_be_shared, loops)):
                if isinstance(loop, scf.ForOp):
                    _outline(*reduce_in_blocks(loop, _reductions(marked[loop])), module)
                else:
                    _outline(loop, _work(loop), module)


def _reductions(attribute: Attribute) -> list[Reduction]:
    names = [cast(StringAttr, each).data for each in cast("ArrayAttr[Attribute]", attribute)]
    return [next(each for each in REDUCTIONS if each == name) for name in names]


def _is_inside(loop: Operation, others: Iterable[Operation]) -> bool:
    return any(other is not loop and other.is_ancestor(loop) for other in others)


def _may_be_shared(loop: CountingLoop) -> bool:
    if isinstance(loop, scf.ParallelOp) and (len(loop.lowerBound) != 1 or loop.results):
        return False
    inside = list(_all_ops(loop.body, set()))
    calls = [op.callee.string_value() for op in inside if isinstance(op, func.CallOp)]
    return (
        all(type(op) in _PLAIN or isinstance(op, func.CallOp) for op in inside)
        and all(_may_be_called(name, loop) for name in calls)
        and sum(name in RECORDED for name in calls) <= _MOST_RECORDED
        and all(_slot(value.type) is not None for value in captured(loop.body))
        # A thread would see what another one has on the stack.
        and not any(isinstance(value.owner, memref.AllocaOp) for value in captured(loop.body))
    )


def _may_be_called(name: str, loop: Operation) -> bool:
    callee = SymbolTable.lookup_symbol(loop, name)
    is_defined = isinstance(callee, func.FuncOp) and not callee.is_declaration
    return is_defined or name in (*C_FUNCTIONS, *RECORDED)


def _all_ops(body: Region, seen: set[Operation]) -> Iterator[Operation]:
    """The operations of a region, and of the functions that it calls."""
    for op in body.walk():
        yield op
        if isinstance(op, func.CallOp):
            callee = SymbolTable.lookup_symbol(op, op.callee)
            if isinstance(callee, func.FuncOp) and callee not in seen:
                seen.add(callee)
                yield from _all_ops(callee.body, seen)


def _slot(type: Attribute) -> Attribute | None:
    """The type that a value has in memory, None if it cannot be there."""
    match type:
        case MemRefType() if isinstance(type.memory_space, NoneAttr):
            return descriptor_type(type.get_num_dims())
        case IndexType():
            return i64
        case IntegerType():
            return type
        case _ if isinstance(type, AnyFloat):
            return type
        case _:
            return None


def _work(loop: scf.ParallelOp) -> SSAValue:
    """About how many instructions a loop takes."""
    work = Work(loop, Builder(InsertPoint.before(loop)))
    trips = work.trips(loop.lowerBound[0], loop.upperBound[0], loop.step[0])
    return work.product(work.float(trips), work.of(loop.body.block))


def _outline(loop: scf.ParallelOp, work: SSAValue, module: ModuleOp) -> None:
    before = Builder(InsertPoint.before(loop))
    _bring_constants(loop)
    (lower,), (upper,), (step,) = loop.lowerBound, loop.upperBound, loop.step
    values = list(dict.fromkeys([*captured(loop.body), *(each for each in (lower, step) if not _is_constant(each))]))

    trips = Work(loop, before).trips(lower, upper, step)
    number = before.insert(arith.IndexCastOp(trips, i64)).result

    struct = llvm.LLVMStructType.from_type_list([cast(Attribute, _slot(value.type)) for value in values])
    stack = Builder(InsertPoint.at_start(function_of(loop).body.blocks[0]), loop)
    room = stack.insert(llvm.AllocaOp(stack.insert(arith.ConstantOp(IntegerAttr(1, i32))).result, struct, 8)).res
    for place, value in enumerate(values):
        field = before.insert(llvm.GEPOp(room, [0, place], struct)).result
        before.insert(llvm.StoreOp(_to_slot(value, before), field))
    iterations = _iterations(loop, module, values, lower, step)
    share = _share(loop, module, iterations, values, struct)
    declare(module, _RUN, before)
    address = before.insert(llvm.AddressOfOp(share, POINTER)).result
    before.insert(func.CallOp(_RUN, [address, room, number, work], []))
    Rewriter.erase_op(loop)


def _bring_constants(loop: scf.ParallelOp) -> None:
    for value in captured(loop.body):
        if _is_constant(value):
            copy = _copy(value, Builder(InsertPoint.at_start(loop.body.block)))
            value.replace_uses_with_if(copy, lambda use: loop.body.is_ancestor(use.operation))


def _is_constant(value: SSAValue) -> bool:
    return isinstance(value.owner, Operation) and value.owner.has_trait(ConstantLike)


def _copy(constant: SSAValue, builder: Builder) -> SSAValue:
    assert isinstance(constant.owner, Operation)
    return builder.insert(constant.owner.clone()).results[0]


def _iterations(
    loop: scf.ParallelOp, module: ModuleOp, values: Sequence[SSAValue], lower: SSAValue, step: SSAValue
) -> str:
    """Make a function of the values and of a range of the iterations, and return its name."""
    name = _name(f"{function_of(loop).sym_name.data}_iterations", module)
    block = Block(arg_types=[*(value.type for value in values), IndexType(), IndexType()])
    own = dict(zip(values, block.args, strict=False))
    for value, argument in own.items():
        argument.name_hint = value.name_hint
        value.replace_uses_with_if(argument, lambda use: loop.body.is_ancestor(use.operation))
    inside = Builder(InsertPoint.at_end(block), loop)
    first, by = (own.get(each) or _copy(each, inside) for each in (lower, step))
    iteration = body_by_number(loop.body.block, first, by)
    *_, end_of_iteration = iteration.ops
    Rewriter.replace_op(end_of_iteration, scf.YieldOp())
    begin, end = block.args[-2:]
    inside.insert(scf.ForOp(begin, end, inside.index(1), [], iteration))
    inside.insert(func.ReturnOp())
    function = func.FuncOp(name, ([arg.type for arg in block.args], []), Region(block), visibility="private")
    function.attributes["llvm.linkage"] = llvm.LinkageAttr("internal")
    function.location = loop.location
    module.body.block.add_op(function)
    return name


def _share(
    loop: scf.ParallelOp, module: ModuleOp, iterations: str, values: Sequence[SSAValue], struct: llvm.LLVMStructType
) -> str:
    """Make the function that threads call, with the address of the values, and return its name."""
    name = _name("hpacml_share", module)
    block = Block(arg_types=[POINTER, i64, i64])
    builder = Builder(InsertPoint.at_end(block), loop)
    room, *bounds = block.args
    given: list[SSAValue] = []
    for place, value in enumerate(values):
        field = builder.insert(llvm.GEPOp(room, [0, place], struct)).result
        slot = builder.insert(llvm.LoadOp(field, struct.types.data[place])).dereferenced_value
        given.append(_from_slot(slot, value.type, builder))
    given += [builder.insert(arith.IndexCastOp(each, IndexType())).result for each in bounds]
    builder.insert(func.CallOp(iterations, given, []))
    builder.insert(llvm.ReturnOp())
    function = llvm.FuncOp(name, llvm.LLVMFunctionType([POINTER, i64, i64]), body=Region(block))
    function.location = loop.location
    module.body.block.add_op(function)
    return name


def _to_slot(value: SSAValue, builder: Builder) -> SSAValue:
    match value.type:
        case MemRefType():
            slot = descriptor_type(value.type.get_num_dims())
            return builder.insert(UnrealizedConversionCastOp.get([value], [slot])).results[0]
        case IndexType():
            return builder.insert(arith.IndexCastOp(value, i64)).result
        case _:
            return value


def _from_slot(slot: SSAValue, type: Attribute, builder: Builder) -> SSAValue:
    match type:
        case MemRefType():
            return builder.insert(UnrealizedConversionCastOp.get([slot], [type])).results[0]
        case IndexType():
            return builder.insert(arith.IndexCastOp(slot, IndexType())).result
        case _:
            return slot


def _name(stem: str, module: ModuleOp) -> str:
    names = (f"{stem}_{n}" if n else stem for n in count())
    return next(name for name in names if SymbolTable.lookup_symbol(module, name) is None)
