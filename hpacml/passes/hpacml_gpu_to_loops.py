"""`hpacml-gpu-to-loops`: kernels run on the CPU, block by block and thread by thread, to be tested without a GPU."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import arith, gpu, memref, scf
from xdsl.dialects.builtin import IndexType, IntegerAttr, ModuleOp, i32
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint
from xdsl.traits import is_side_effect_free

from hpacml.dialects.hpacml_rt.device_flags import FlagDownOp, FlagOp
from hpacml.passes.common.located import Builder, Rewriter, refusal
from hpacml.passes.common.regions import captured
from hpacml.passes.gpu.launches import ACCESS, WORKGROUP

_NO_WORK = (gpu.TerminatorOp, scf.YieldOp, memref.AllocaOp)
"""Ends, and memory that is made once for all threads."""


@dataclass(frozen=True)
class HpacmlGpuToLoopsPass(ModulePass):
    """
    Each kernel becomes loops over its blocks, one after the other, and in these over its threads, from one barrier to
    the next. Shared memory is one buffer, which the blocks use in turn. It is in no pipeline: tests run kernels by it.

    ```mlir
    gpu.launch blocks(%block) in (%blocks) threads(%thread) in (%c256) {
      memref.store %a, %shared[%thread]
      gpu.barrier
      memref.load %shared[%thread]
    }
    ```
    becomes
    ```mlir
    scf.for %block = %c0 to %blocks step %c1 {
      scf.for %thread = %c0 to %c256 step %c1 {
        memref.store %a, %shared[%thread]
      }
      scf.for %thread = %c0 to %c256 step %c1 {
        memref.load %shared[%thread]
      }
    }
    ```
    Barriers may stand in a kernel's body and in its loops, if all threads take these alike. What a thread knows is lost
    at a barrier, but for what can be computed anew. Flags are memory of the function, which the host reads.
    """

    name = "hpacml-gpu-to-loops"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for launch in [each for each in op.walk() if isinstance(each, gpu.LaunchOp)]:
            _Kernel(launch).emit()
        for flag in [each for each in op.walk() if isinstance(each, FlagOp)]:
            _on_stack(flag)
        for down in [each for each in op.walk() if isinstance(each, FlagDownOp)]:
            _read(down)
        for shared in [each for each in op.walk() if isinstance(each, memref.GlobalOp)]:
            if shared.type.memory_space == WORKGROUP:
                Rewriter.erase_op(shared)


def _on_stack(op: FlagOp) -> None:
    """Put the flag and its record into memory of the function, and give all its checks the number 0."""
    builder = Builder(InsertPoint.before(op))
    zero = builder.index(0)
    down = builder.insert(arith.ConstantOp(IntegerAttr(0, i32))).result
    types = [op.flag.type, op.record.type]
    arrays = [builder.insert(memref.AllocaOp.get(each.element_type, 8, each.get_shape())).memref for each in types]
    builder.insert(memref.StoreOp.get(down, arrays[0], [zero]))
    Rewriter.replace_op(op, [], [*arrays, zero])


def _read(op: FlagDownOp) -> None:
    builder = Builder(InsertPoint.before(op))
    zero = builder.index(0)
    raised = builder.insert(memref.LoadOp.get(op.flag, [zero])).res
    down = builder.insert(arith.ConstantOp(IntegerAttr(0, i32))).result
    Rewriter.replace_op(op, arith.CmpiOp(raised, down, "eq"))


class _Kernel:
    def __init__(self, launch: gpu.LaunchOp):
        self.launch = launch
        self.known: dict[SSAValue, SSAValue] = {}
        """What is the same for all threads of a block."""

    def emit(self) -> None:
        launch, known = self.launch, self.known
        grid = [launch.gridSizeX, launch.gridSizeY, launch.gridSizeZ]
        self.threads = [launch.blockSizeX, launch.blockSizeY, launch.blockSizeZ]
        body = launch.body.block
        block_ids, self.thread_ids, grid_sizes, block_sizes = (body.args[n : n + 3] for n in range(0, 12, 3))
        known.update(zip([*grid_sizes, *block_sizes], [*grid, *self.threads], strict=True))
        builder = Builder(InsertPoint.before(launch))
        buffers = [*self._shared(builder), *self._private(builder)]
        inside = _nest(grid, block_ids, known, builder)
        self._phases(body.ops, inside, known)
        for buffer in buffers:
            builder.insert(memref.DeallocOp.get(buffer))
        Rewriter.erase_op(launch)

    def _shared(self, builder: Builder) -> list[SSAValue]:
        """Allocate buffers for shared memory, which the module declares as globals."""
        buffers: dict[str, SSAValue] = {}
        for op in [each for each in self.launch.walk() if isinstance(each, memref.GetGlobalOp)]:
            shared, name = op.memref.type, op.name_.string_value()
            if shared.memory_space != WORKGROUP:
                continue
            if name not in buffers:
                buffer = memref.AllocOp.get(shared.element_type, ACCESS, shared.get_shape())
                buffers[name] = builder.insert(buffer).memref
            self.known[op.memref] = buffers[name]
        return list(buffers.values())

    def _private(self, builder: Builder) -> list[SSAValue]:
        """Allocate buffers for private memory, which the threads use in turn."""
        buffers: list[SSAValue] = []
        for op in [each for each in self.launch.walk() if isinstance(each, memref.AllocaOp)]:
            private = op.memref.type
            buffers.append(builder.insert(memref.AllocOp.get(private.element_type, shape=private.get_shape())).memref)
            self.known[op.memref] = buffers[-1]
            for use in op.memref.uses:
                if isinstance(use.operation, memref.MemorySpaceCastOp):
                    self.known[use.operation.dest] = buffers[-1]
        return buffers

    def _phases(self, ops: Iterable[Operation], builder: Builder, known: dict[SSAValue, SSAValue]) -> None:
        """Run all threads of a block from barrier to barrier."""
        phase: list[Operation] = []
        for op in ops:
            if isinstance(op, gpu.BarrierOp) or _has_barrier(op):
                self._threads(phase, builder, known)
                phase = []
                if not isinstance(op, gpu.BarrierOp):
                    self._loop(op, builder, known)
            elif not is_side_effect_free(op) and not isinstance(op, _NO_WORK):
                phase.append(op)
        self._threads(phase, builder, known)

    def _loop(self, op: Operation, builder: Builder, known: dict[SSAValue, SSAValue]) -> None:
        if not isinstance(op, scf.ForOp) or op.results:
            raise refusal(op, f"a barrier in {op.name}: barriers stand in loops that all threads take alike")
        start, stop, step = (self._available(each, builder, known) for each in (op.lb, op.ub, op.step))
        body = Block(arg_types=[IndexType()])
        builder.insert(scf.ForOp(start, stop, step, [], body))
        inner = Builder(InsertPoint.at_end(body))
        self._phases(op.body.block.ops, inner, known | {op.body.block.args[0]: body.args[0]})
        inner.insert(scf.YieldOp())

    def _threads(self, phase: Sequence[Operation], builder: Builder, known: dict[SSAValue, SSAValue]) -> None:
        """Build loops over the threads around the operations between two barriers."""
        if not phase:
            return
        mine = dict(known)
        inside = _nest(self.threads, self.thread_ids, mine, builder)
        for op in phase:
            for value in [*op.operands, *(value for region in op.regions for value in captured(region))]:
                self._available(value, inside, mine)
            inside.insert(op.clone(mine))

    def _available(self, value: SSAValue, builder: Builder, known: dict[SSAValue, SSAValue]) -> SSAValue:
        """What stands for a value of the kernel: the value computed anew, or itself if it is from outside."""
        owner = value.owner
        if value in known or not self.launch.is_ancestor(owner):
            return known.get(value, value)
        if isinstance(owner, Block) or not (is_side_effect_free(owner) or self._reads_constant(owner)):
            raise refusal(
                self.launch,
                "a barrier stands between threads and a value that each has for itself: keep it in shared memory",
            )
        for operand in owner.operands:
            self._available(operand, builder, known)
        builder.insert(owner.clone(known))
        return known[value]

    def _reads_constant(self, op: Operation) -> bool:
        """Whether the operation reads an array that the kernel only reads."""
        if not isinstance(op, memref.LoadOp) or self.launch.is_ancestor(op.memref.owner):
            return False
        users = [use.operation for use in op.memref.uses if self.launch.is_ancestor(use.operation)]
        return all(isinstance(user, memref.LoadOp | memref.DimOp) for user in users)


def _nest(
    sizes: Sequence[SSAValue], counters: Sequence[SSAValue], known: dict[SSAValue, SSAValue], builder: Builder
) -> Builder:
    """Build loops over `sizes`, the last outermost, that give values to `counters`; the builder of their inside."""
    zero, one = (builder.index(n) for n in (0, 1))
    for size, counter in reversed(list(zip(sizes, counters, strict=True))):
        if isinstance(size.owner, arith.ConstantOp) and size.owner.value == IntegerAttr(1, IndexType()):
            known[counter] = zero
            continue
        body = Block(arg_types=[IndexType()])
        body.args[0].name_hint = counter.name_hint
        builder.insert(scf.ForOp(zero, size, one, [], body))
        Builder(InsertPoint.at_end(body)).insert(scf.YieldOp())
        known[counter] = body.args[0]
        builder = Builder(InsertPoint.at_start(body))
    return builder


def _has_barrier(op: Operation) -> bool:
    return any(isinstance(each, gpu.BarrierOp) for region in op.regions for each in region.walk())
