"""Compiles loops: `for` becomes scf.for or scf.parallel, `while` and `for` with `break` become scf.while."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from xdsl.dialects.builtin import IndexType
from xdsl.dialects.scf import ConditionOp, ForOp, ParallelOp, ReduceOp, WhileOp
from xdsl.ir import Block, Region, SSAValue

from hpacml.frontend import plain
from hpacml.frontend.python import jumps
from hpacml.frontend.python.evaluator import Evaluator
from hpacml.frontend.python.number import Number
from hpacml.frontend.python.ranges import Counters, Range
from hpacml.frontend.python.scalars import exceeds_int
from hpacml.frontend.python.types import BOOL, INT
from hpacml.frontend.python.values import Unset
from hpacml.frontend.python.variables import Kinds, Variables, assigned


@dataclass(frozen=True)
class _For:
    """A `for` loop: its variable, its range, and its body without jumps."""

    node: ast.For
    target: str
    range: Range
    body: list[ast.stmt]


class Loops:
    """Compiles loops. `block` compiles the statements of a body. Raises `CompileError`."""

    def __init__(self, evaluator: Evaluator, variables: Variables, block: Callable[[Iterable[ast.stmt]], None]):
        self._evaluator = evaluator
        self._emit = evaluator.emit
        self._numbers = evaluator.numbers
        self._counters = Counters(evaluator.numbers)
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

    def _range(self, node: ast.expr) -> Range:
        callee = self._evaluator.meaning(node.func) if isinstance(node, ast.Call) else None
        if not isinstance(node, ast.Call) or (callee is not range and callee is not plain.prange):
            raise self._evaluator.error(node, "a loop runs over range(...) or hpacml.prange(...)")
        if node.keywords or not 1 <= len(node.args) <= 3:
            raise self._evaluator.error(node, "a range has one to three numbers: range([start,] stop[, step])")
        numbers = [self._bound(argument) for argument in node.args]
        start, stop = (Number(INT, 0), numbers[0]) if len(numbers) == 1 else numbers[:2]
        step = numbers[2] if len(numbers) == 3 else Number(INT, 1)
        if step.constant == 0:
            raise self._evaluator.error(node.args[2], "the step of a range is 0")
        return Range(start, stop, step, callee is plain.prange)

    def _bound(self, node: ast.expr) -> Number:
        """A bound or a step: an `int`, or a `uint64` unless it is known to fit one."""
        number = self._evaluator.number(node)
        fits = number.constant is not None and number.constant <= INT.limits[1]
        if exceeds_int(number.type) and not fits:
            return number
        with self._evaluator.at(node):
            return self._numbers.integer(number, "a bound or step of a range")

    def _set_target(self, loop: _For, counter: SSAValue) -> None:
        """Set the loop's variable in an iteration."""
        self._variables.set(loop.target, self._counters.number(loop.range, counter))

    # -- the kinds of loops ----------------------------------------------------------------------

    def _counting(self, loop: _For) -> None:
        lower, upper, step = self._counters.bounds(loop.range)
        variables = self._variables

        def build(kinds: Kinds) -> list[Block]:
            with self._emit.block([IndexType(), *(kind.type.ir for kind in kinds.values())]) as block:
                variables.set_numbers(kinds, block.args[1:])
                self._set_target(loop, block.args[0])
                self._block(loop.body)
            return [block]

        kinds, (block,), after = variables.stable(
            loop.node, variables.carried(loop.body, loop.target), build, loop.body
        )
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
        lower, upper, step = self._counters.bounds(loop.range)
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
        lower, upper, step = (Number(INT, value) for value in self._counters.bounds(loop.range))
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
        kinds, (condition_block, block), after = variables.stable(node, carried, build, body)
        variables.end_block(block, after, kinds, node)
        results = [kind.type.ir for kind in kinds.values()]
        op = WhileOp(variables.values(kinds, node), results, Region(condition_block), Region(block))
        self._emit.op(op)
        variables.leave_loop(node, after, target)
        variables.set_numbers(kinds, op.results)
        for name in hidden:
            del variables.now[name]
