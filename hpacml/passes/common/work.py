"""How many instructions a loop takes, about: whether it is worth several threads."""

from __future__ import annotations

from xdsl.dialects import arith, func, memref, scf
from xdsl.dialects.builtin import FloatAttr, f64, i64
from xdsl.ir import Block, Operation, SSAValue
from xdsl.traits import SymbolTable

from hpacml.passes.common.located import Builder
from hpacml.passes.common.regions import function_of

THREADS = "hpacml_threads"
"""The attribute of a loop whose iterations several threads may run."""

UNKNOWN = 256
"""The iterations of a loop where they are not known: threads in vain cost less than a core in vain."""

LEAST = 5e5
"""The least instructions that two threads share: some hundred microseconds each (see `hpacml/runtime/shim.ll`)."""

_ARITHMETIC = (
    *(arith.ConstantOp, arith.AddiOp, arith.SubiOp, arith.MuliOp, arith.MaxSIOp, arith.MinSIOp, arith.IndexCastOp),
    memref.DimOp,
)
"""What may be computed in front of a loop: it cannot fail."""


class Work:
    """Builds numbers of instructions in front of a loop."""

    def __init__(self, loop: Operation, builder: Builder):
        self._loop = loop
        self._builder = builder
        self._known: dict[SSAValue, SSAValue | None] = {}

    def number(self, value: float) -> SSAValue:
        return self._builder.insert(arith.ConstantOp(FloatAttr(value, f64))).result

    def product(self, a: SSAValue, b: SSAValue) -> SSAValue:
        return self._builder.insert(arith.MulfOp(a, b)).result

    def float(self, count: SSAValue) -> SSAValue:
        """A number of iterations."""
        count = count if count.type == i64 else self._builder.insert(arith.IndexCastOp(count, i64)).result
        return self._builder.insert(arith.SIToFPOp(count, f64)).result

    def trips(self, lower: SSAValue, upper: SSAValue, step: SSAValue) -> SSAValue:
        """The iterations of a loop whose bounds are known in front of it, below 1 if there are none."""
        length = self._builder.insert(arith.SubiOp(upper, lower)).result
        return self._builder.insert(arith.CeilDivSIOp(length, step)).result

    def of(self, *blocks: Block) -> SSAValue:
        """The instructions of blocks, as a float."""
        plain, terms = 0, list[SSAValue]()
        for op in (op for block in blocks for op in block.ops):
            inner = [each for region in op.regions for each in region.blocks]
            match op:
                case scf.ForOp():
                    terms.append(self.product(self._trips(op.lb, op.ub, op.step), self.of(*inner)))
                case scf.ParallelOp():
                    term = self.of(*inner)
                    for bounds in zip(op.lowerBound, op.upperBound, op.step, strict=True):
                        term = self.product(self._trips(*bounds), term)
                    terms.append(term)
                case scf.WhileOp():
                    terms.append(self.product(self.number(UNKNOWN), self.of(*inner)))
                case func.CallOp() if isinstance(callee := SymbolTable.lookup_symbol(op, op.callee), func.FuncOp):
                    plain += 1
                    terms += [self.of(*callee.body.blocks)] if callee.body.blocks else []
                case _:
                    plain += 1
                    terms += [self.of(*inner)] if inner else []
        total = self.number(plain)
        for term in terms:
            total = self._builder.insert(arith.AddfOp(total, term)).result
        return total

    def _trips(self, lower: SSAValue, upper: SSAValue, step: SSAValue) -> SSAValue:
        first, last, by = map(self._outside, (lower, upper, step))
        if first is None or last is None or by is None:
            return self.number(UNKNOWN)
        length = self._builder.insert(arith.SubiOp(last, first)).result
        some = self._builder.insert(arith.MaxSIOp(length, self._builder.index(0))).result
        quotient = arith.DivfOp(self.float(some), self.float(by))
        return self._builder.insert(quotient).result

    def _outside(self, value: SSAValue) -> SSAValue | None:
        """A value as it is known in front of the loop, None if it is not."""
        if value not in self._known:
            self._known[value] = self._computed(value)
        return self._known[value]

    def _computed(self, value: SSAValue) -> SSAValue | None:
        if not self._loop.is_ancestor(value.owner) and function_of(value.owner) is function_of(self._loop):
            return value
        if not isinstance(value.owner, _ARITHMETIC):
            return None
        operands = [self._outside(operand) for operand in value.owner.operands]
        known = {inner: outer for inner, outer in zip(value.owner.operands, operands, strict=True) if outer is not None}
        if len(known) < len(set(value.owner.operands)):
            return None
        return self._builder.insert(value.owner.clone(dict(known))).results[0]
