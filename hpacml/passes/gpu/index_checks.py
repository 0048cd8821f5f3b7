"""Checks of indices as kernels, which raise a flag: the host does not wait, and the kernels after them do nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from xdsl.dialects import arith, func, gpu, memref
from xdsl.dialects.builtin import IntegerAttr, IntegerType, ModuleOp, i8, i32, i64
from xdsl.ir import Operation, SSAValue
from xdsl.rewriter import InsertPoint
from xdsl.utils.exceptions import PassFailedException

from hpacml.dialects.hpacml.packing import IndirectOp, view_type
from hpacml.dialects.hpacml_rt.bad_indices import BadIndexOp, NoneBadOp, WatchOp
from hpacml.dialects.hpacml_rt.device_flags import REPEATED, FlagDownOp, FlagOp
from hpacml.dialects.hpacml_rt.map_checks import CheckMapOp, DistinctOp, InBoundsOp
from hpacml.passes.common.branching import where
from hpacml.passes.common.conversion import convert
from hpacml.passes.common.index_arithmetic import IndexArithmetic
from hpacml.passes.common.located import Builder, Rewriter, located, refusal
from hpacml.passes.common.regions import function_of
from hpacml.passes.common.sweeps import Place, Sweep, locate, size_of
from hpacml.passes.gpu.launches import KernelNames, guard, launch_points

AtPlace: TypeAlias = Callable[[Sequence[SSAValue], IndexArithmetic], None]
"""Builds the work at a place in a view."""

OR, AND = (IntegerAttr(kind, i64) for kind in (14, 2))
"""Kinds of `memref.atomic_rmw`, by their numbers in MLIR 22. GPUs do them on words, so bytes need no loop."""

MARK = 1
"""The bit of a byte that marks an element as met. Clearing all bits would be an exchange, which takes a loop."""


def launch_checks(module: ModuleOp, names: KernelNames) -> list[Watch]:
    """Turn the checks of indices into kernels, which raise the flag of the function around them; return the watches."""
    watches: list[Watch] = []
    for function in [each for each in module.walk() if isinstance(each, func.FuncOp)]:
        checks = [each for each in function.walk() if isinstance(each, InBoundsOp | DistinctOp | WatchOp)]
        if not checks:
            continue
        flag = FlagOp(function.sym_name, [_map_of(check) for check in checks])
        Rewriter.insert_op(located(flag, checks[0]), InsertPoint.at_start(function.body.blocks[0]))
        for number, check in enumerate(checks):
            alarm = _Alarm(flag, number)
            if isinstance(check, WatchOp):
                watches.append(Watch(check, alarm))
            else:
                _Check(check, alarm, names).replace()
    return watches


def guard_indirect(sweep: Sweep, kernel: Operation | None) -> None:
    """Make the kernel of a sweep do nothing where its indices may be bad, if its function checks indices.

    One that looks at its indices itself needs no guard, and must have none: it may raise the flag while other threads
    of a block, which meet at barriers, have yet to read it.
    """
    views = [slice.view.owner for slice in sweep.slices if isinstance(slice.view.owner, IndirectOp)]
    if kernel is None or all(view.watch is not None for view in views):
        return
    flag = function_of(kernel).body.blocks[0].first_op
    if isinstance(flag, FlagOp):
        _guard(kernel, flag)


@dataclass(frozen=True)
class _Alarm:
    """The flag of a function, and the number under which a check raises it."""

    flag: FlagOp
    number: int

    def raise_(self, index: SSAValue, size: SSAValue, a: IndexArithmetic) -> None:
        """Build the raising of the flag; the first thread to raise it records why."""
        zero = a.value(a.constant(0))
        before = _atomic(OR, 1, (self.flag.flag, [zero]), i32, a.builder)
        first = a.builder.insert(arith.CmpiOp(before, _integer(0, i32, a.builder), "eq")).result

        def record(a: IndexArithmetic) -> None:
            check = a.value(a.number(self.flag.first) + a.constant(self.number))
            number = a.builder.insert(arith.IndexCastOp(check, i64)).result
            for position, value in enumerate((number, index, size)):
                place = a.value(a.constant(position))
                a.builder.insert(memref.StoreOp.get(value, self.flag.record, [place]))

        where(first, record, a)


@dataclass(frozen=True)
class Watch:
    """A watch of views, which is the flag in kernels."""

    op: WatchOp
    alarm: _Alarm

    def replace(self) -> None:
        """Have bad indices raise the flag. Raises `PassFailedException` for uses that kernels do not have."""
        for user in [use.operation for use in self.op.watch.uses]:
            a = IndexArithmetic(Builder(InsertPoint.before(user)))
            match user:
                case BadIndexOp():
                    self.alarm.raise_(user.index, user.size, a)
                    Rewriter.erase_op(user)
                case NoneBadOp():
                    Rewriter.replace_op(user, FlagDownOp(self.alarm.flag.flag))
                case _:
                    raise refusal(user, f"a watch is told of bad indices, and asked; {user.name} does neither")
        Rewriter.erase_op(self.op)


@dataclass(frozen=True)
class _Check:
    op: InBoundsOp | DistinctOp
    alarm: _Alarm
    names: KernelNames

    def replace(self) -> None:
        if isinstance(self.op, InBoundsOp):
            self._in_bounds(self.op)
        else:
            self._distinct(self.op)
        Rewriter.replace_op(self.op, FlagDownOp(self.alarm.flag.flag))

    def _in_bounds(self, op: InBoundsOp) -> None:
        def test(place: Sequence[SSAValue], a: IndexArithmetic) -> None:
            found = a.builder.insert(memref.LoadOp.get(*locate(op.view, place, a.builder))).res
            if op.copy is not None:
                a.builder.insert(memref.StoreOp.get(found, op.copy, place))
            # In 64 bits, also in a kernel with 32-bit indices: cutting bits off must not make a bad index good.
            index = convert(found, i64, a.builder)
            size = a.builder.insert(arith.IndexCastOp(op.size, i64)).result
            outside = a.builder.insert(arith.CmpiOp(index, size, "uge")).result  # a negative index is a huge one
            where(outside, lambda a: self.alarm.raise_(index, size, a), a)

        self._each(op.view, test)
        if isinstance(op.view.owner, IndirectOp):
            _guard(op.prev_op, self.alarm.flag)

    def _distinct(self, op: DistinctOp) -> None:
        def clear(view: SSAValue, place: Sequence[SSAValue], a: IndexArithmetic) -> None:
            _atomic(AND, ~MARK, locate(view, place, a.builder), i8, a.builder)  # several threads, where indices repeat

        def mark(view: SSAValue, place: Sequence[SSAValue], a: IndexArithmetic) -> None:
            before = _atomic(OR, MARK, locate(view, place, a.builder), i8, a.builder)
            marked = a.builder.insert(arith.AndIOp(before, _integer(MARK, i8, a.builder))).result
            again = a.builder.insert(arith.CmpiOp(marked, _integer(0, i8, a.builder), "ne")).result
            zero, repeated = (_integer(n, i64, a.builder) for n in (0, REPEATED))
            where(again, lambda a: self.alarm.raise_(zero, repeated, a), a)

        for work in (clear, mark):
            for view in op.views:
                self._each(view, lambda place, a, work=work, view=view: work(view, place, a))
                _guard(op.prev_op, self.alarm.flag)

    def _each(self, view: SSAValue, work: AtPlace) -> None:
        """Build a kernel over all places of a view."""
        a = IndexArithmetic(Builder(InsertPoint.before(self.op)))
        sizes = [a.settled(size_of(view, d, a)) for d in range(view_type(view).get_num_dims())]
        name = self.names.new(self.op, "check")
        launch_points(name, sizes, a, lambda point, a: work([a.value(index) for index in point], a))


def _guard(kernel: Operation | None, flag: FlagOp) -> None:
    if not isinstance(kernel, gpu.LaunchOp):
        raise PassFailedException("expected a kernel, which indices lead to memory")
    guard(kernel, flag.flag)


def _map_of(check: InBoundsOp | DistinctOp | WatchOp) -> str:
    """The text of the map that a check protects."""
    users = [use.operation for use in check.results[0].uses]
    users += [use.operation for user in users if isinstance(user, NoneBadOp) for use in user.none.uses]
    return next((user.map_text for user in users if isinstance(user, CheckMapOp)), "")


def _atomic(kind: IntegerAttr, value: int, place: Place, type: IntegerType, builder: Builder) -> SSAValue:
    """Build an atomic change of a place; return the value from before."""
    array, indices = place
    operands = [_integer(value, type, builder), array, list(indices)]
    change = memref.AtomicRMWOp.build(operands=operands, properties={"kind": kind}, result_types=[type])
    return builder.insert(change).result


def _integer(value: int, type: IntegerType, builder: Builder) -> SSAValue:
    return builder.insert(arith.ConstantOp(IntegerAttr(value, type))).result
