"""Compiles loops: `for` becomes scf.for or scf.parallel, `while` and `for` with `break` become scf.while."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from xdsl.dialects.arith import AddiOp, AndIOp, CmpiOp, DivUIOp, MaxUIOp, MinUIOp, SelectOp, SubiOp
from xdsl.dialects.builtin import IndexType
from xdsl.dialects.scf import ConditionOp, ForOp, ParallelOp, ReduceOp, WhileOp
from xdsl.ir import Block, Region, SSAValue

from hpacml.frontend import plain
from hpacml.frontend.python import jumps
from hpacml.frontend.python.evaluator import Evaluator
from hpacml.frontend.python.number import Number
from hpacml.frontend.python.types import BOOL, INT
from hpacml.frontend.python.values import Unset
from hpacml.frontend.python.variables import Kinds, Variables, assigned


@dataclass(frozen=True)
class _Range:
    start: Number
    stop: Number
    step: Number
    parallel: bool

    @property
    def least(self) -> int | None:
        """A lower bound of the numbers, None if none is known."""
        if self.step.least is not None and self.step.least >= 0:
            return self.start.least
        descends = self.step.constant is not None
        return self.stop.least + 1 if descends and self.stop.least is not None else None


@dataclass(frozen=True)
class _For:
    """A `for` loop: its variable, its range, and its body without jumps."""

    node: ast.For
    target: str
    range: _Range
    body: list[ast.stmt]


class Loops:
    """Compiles loops. `block` compiles the statements of a body. Raises `CompileError`."""

    def __init__(self, evaluator: Evaluator, variables: Variables, block: Callable[[Iterable[ast.stmt]], None]):
        self._evaluator = evaluator
        self._emit = evaluator.emit
        self._numbers = evaluator.numbers
        self._variables = variables
        self._block = block

    def for_(self, node: ast.For) -> None:
        if not isinstance(node.target, ast.Name):
            raise self._evaluator.error(node.target, "a loop over a range has one variable")
        stop = jumps.hidden("stop", node)
        loop = _For(node, node.target.id, self._range(node.iter), jumps.loop_body(node.body, stop))
        if loop.range.parallel:
            self._parallel(loop)
        elif jumps.breaks(node.body):
            self._with_break(loop, stop)
        else:
            self._counting(loop)

    def while_(self, node: ast.While) -> None:
        stop = jumps.hidden("stop", node)
        body = jumps.loop_body(node.body, stop)
        breaks = jumps.breaks(node.body)
        if breaks:
            self._variables.set(stop, Number(BOOL, False))

        def test() -> Number:
            if not breaks:
                return self._evaluator.truth(node.test)
            running = self._numbers.ssa(self._numbers.invert_truth(self._variables.number(stop)))
            return self._evaluator.choose(
                running, lambda: self._evaluator.truth(node.test), lambda: Number(BOOL, False)
            )

        self._conditional(test, lambda: self._block(body), body, node, [stop] if breaks else [])

    # -- ranges ----------------------------------------------------------------------------------

    def _range(self, node: ast.expr) -> _Range:
        callee = self._evaluator.static(node.func) if isinstance(node, ast.Call) else None
        if not isinstance(node, ast.Call) or (callee is not range and callee is not plain.prange):
            raise self._evaluator.error(node, "a loop runs over range(...) or hpacml.prange(...)")
        if node.keywords or not 1 <= len(node.args) <= 3:
            raise self._evaluator.error(node, "a range has one to three numbers: range([start,] stop[, step])")
        numbers = [self._evaluator.index(argument, "a bound or step of a range") for argument in node.args]
        start, stop = (Number(INT, 0), numbers[0]) if len(numbers) == 1 else numbers[:2]
        step = numbers[2] if len(numbers) == 3 else Number(INT, 1)
        if step.constant == 0:
            raise self._evaluator.error(node.args[2], "the step of a range is 0")
        return _Range(start, stop, step, callee is plain.prange)

    def _bounds(self, range: _Range) -> tuple[SSAValue, SSAValue, SSAValue]:
        """Bounds and step of a counter for scf, which neither leaves 64 bits nor passes its upper bound.

        With a step of 1 it is the loop's variable, and with -1 its complement, since `~i` turns the order of all
        integers round. With another step it counts the iterations from 0, because the number after the last one may
        be too large.
        """
        ssa, one = self._numbers.ssa, self._emit.index(1)
        match range.step.constant:
            case 1:
                return ssa(range.start), ssa(range.stop), one
            case -1:
                return ssa(self._complement(range.start)), ssa(self._complement(range.stop)), one
            case _:
                return self._emit.index(0), self._count(range), one

    def _set_target(self, loop: _For, counter: SSAValue) -> None:
        """Set the loop's variable in an iteration."""
        number, range = Number(INT, counter), loop.range
        if range.step.constant == -1:
            number = self._complement(number)
        elif range.step.constant != 1:
            distance = self._numbers.binary(ast.Mult, number, range.step)
            number = self._numbers.binary(ast.Add, range.start, distance)
        self._variables.set(loop.target, replace(number, bound=range.least))

    def _complement(self, number: Number) -> Number:
        return self._numbers.invert(number) if number.constant is None else Number(INT, ~int(number.constant))

    def _count(self, range: _Range) -> SSAValue:
        """The number of iterations, 0 for a step of 0. A loop of 2**63 never ends, as one of one less."""
        value, constant = self._emit.value, self._emit.index
        start, stop, step = map(self._numbers.ssa, (range.start, range.stop, range.step))
        if range.step.constant is None:
            ascends = value(CmpiOp(step, constant(0), "sgt"))
            low, high = (value(SelectOp(ascends, *ends)) for ends in ((start, stop), (stop, start)))
            size = value(SelectOp(ascends, step, value(SubiOp(constant(0), step))))
            divisor = value(MaxUIOp(size, constant(1)))
        else:
            low, high = (start, stop) if range.step.constant > 0 else (stop, start)
            size = abs(int(range.step.constant))
            divisor = constant(size if size < 1 << 63 else -size)
        # Without a sign, both the distance and the size of the step fit 64 bits.
        rest = value(SubiOp(value(SubiOp(high, low)), constant(1)))
        last = value(DivUIOp(rest, divisor))
        count = value(AddiOp(value(MinUIOp(last, constant((1 << 63) - 2))), constant(1)))
        some = value(CmpiOp(low, high, "slt"))
        if range.step.constant is None:
            some = value(AndIOp(some, value(CmpiOp(step, constant(0), "ne"))))
        return value(SelectOp(some, count, constant(0)))

    # -- the kinds of loops ----------------------------------------------------------------------

    def _counting(self, loop: _For) -> None:
        lower, upper, step = self._bounds(loop.range)
        variables = self._variables

        def build(kinds: Kinds) -> list[Block]:
            with self._emit.block([IndexType(), *(kind.type.ir for kind in kinds.values())]) as block:
                variables.set_numbers(kinds, block.args[1:])
                self._set_target(loop, block.args[0])
                self._block(loop.body)
            return [block]

        kinds, (block,), after = variables.stable(variables.carried(loop.body, loop.target), build, loop.body)
        variables.end_block(block, after, kinds, loop.node)
        op = ForOp(lower, upper, step, variables.values(kinds, loop.node), block)
        self._emit.op(op)
        variables.leave_loop(loop.node, after, loop.target)
        variables.set_numbers(kinds, op.results)

    def _parallel(self, loop: _For) -> None:
        if jumps.breaks(loop.node.body):
            raise self._evaluator.error(
                loop.node, "a parallel loop has no order to 'break' in or 'return' from: use range"
            )
        for name, place in assigned(loop.body).items():
            if name != loop.target and not isinstance(self._variables.now.get(name), Unset | None):
                raise self._evaluator.error(
                    place,
                    f"'{name}' has a value before this parallel loop, whose iterations must not depend on each "
                    "other: use another name inside, range instead of prange, or an array with one element for "
                    "each iteration",
                )
        lower, upper, step = self._bounds(loop.range)
        before, was_parallel = self._variables.now, self._evaluator.in_parallel_loop
        self._evaluator.in_parallel_loop = True
        self._variables.copy()
        with self._emit.block([IndexType()]) as block:
            self._set_target(loop, block.args[0])
            self._block(loop.body)
        after = self._variables.back_to(before)
        self._evaluator.in_parallel_loop = was_parallel
        with self._emit.at_end(block):
            self._emit.op(ReduceOp())
        self._emit.op(ParallelOp([lower], [upper], [step], Region(block)))
        self._variables.leave_loop(loop.node, after, loop.target)

    def _with_break(self, loop: _For, stop: str) -> None:
        """Compile a `for` with `break` as a `while` that counts."""
        counter, variables = jumps.hidden("count", loop.node), self._variables
        lower, upper, step = (Number(INT, value) for value in self._bounds(loop.range))
        variables.set(counter, lower)
        variables.set(stop, Number(BOOL, False))

        def test() -> Number:
            more = self._numbers.compare(ast.Lt, variables.number(counter), upper)
            running = self._numbers.invert_truth(variables.number(stop))
            return self._numbers.binary(ast.BitAnd, more, running)

        def iterate() -> None:
            count = variables.number(counter)
            self._set_target(loop, self._numbers.ssa(count))
            self._block(loop.body)
            variables.set(counter, self._numbers.binary(ast.Add, count, step))

        self._conditional(test, iterate, loop.body, loop.node, [counter, stop], loop.target)

    def _conditional(
        self,
        test: Callable[[], Number],
        iterate: Callable[[], None],
        body: Sequence[ast.stmt],
        node: ast.For | ast.While,
        hidden: Sequence[str],
        target: str | None = None,
    ) -> None:
        """Add an scf.while, which carries the variables `hidden` and those that the body assigns."""
        variables = self._variables

        def build(kinds: Kinds) -> list[Block]:
            inputs = [kind.type.ir for kind in kinds.values()]
            outside = variables.now
            variables.copy()
            with self._emit.block(inputs) as condition_block:
                variables.set_numbers(kinds, condition_block.args)
                condition = self._numbers.ssa(test())
            with self._emit.at_end(condition_block):
                self._emit.op(ConditionOp(condition, *condition_block.args))
            variables.back_to(outside)
            with self._emit.block(inputs) as block:
                variables.set_numbers(kinds, block.args)
                iterate()
            return [condition_block, block]

        carried = list(dict.fromkeys((*hidden, *variables.carried(body, target))))
        kinds, (condition_block, block), after = variables.stable(carried, build, body)
        variables.end_block(block, after, kinds, node)
        results = [kind.type.ir for kind in kinds.values()]
        op = WhileOp(variables.values(kinds, node), results, Region(condition_block), Region(block))
        self._emit.op(op)
        variables.leave_loop(node, after, target)
        variables.set_numbers(kinds, op.results)
        for name in hidden:
            del variables.now[name]
