"""Compiles loops: `for` becomes scf.for or scf.parallel, `while` and `for` with `break` become scf.while."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from xdsl.dialects.builtin import ArrayAttr, IndexType, StringAttr, UnitAttr
from xdsl.dialects.scf import ConditionOp, ForOp, ParallelOp, ReduceOp, WhileOp
from xdsl.ir import Block, Region

from hpacml.frontend import plain
from hpacml.frontend.python import accumulators, conditions, iteration, jumps
from hpacml.frontend.python.accumulators import Step
from hpacml.frontend.python.evaluator import Evaluator
from hpacml.frontend.python.iteration import Series
from hpacml.frontend.python.kinds import AnyKind, type_of
from hpacml.frontend.python.number import Kind, Number
from hpacml.frontend.python.ranges import Counters, Range, range_of
from hpacml.frontend.python.types import BOOL, INT
from hpacml.frontend.python.values import Inner, Unset, Value
from hpacml.frontend.python.variables import Kinds, Variables, assigned, read_outside
from hpacml.passes.common.block_reductions import Reduction
from hpacml.passes.common.work import THREADS

MOST_UNROLLED = 16
"""The most values of a tuple for each of which a loop's body is compiled."""


@dataclass(frozen=True)
class _For:
    """A `for` loop: the names of its target, which `set` sets for a number of its range, and its body without jumps."""

    node: ast.For
    targets: frozenset[str]
    set: Callable[[Number], None]
    range: Range
    body: list[ast.stmt]


class Loops:
    """Compiles loops. `block` compiles the statements of a body, and `statements` others. Raises `CompileError`."""

    def __init__(
        self,
        evaluator: Evaluator,
        variables: Variables,
        block: Callable[[Iterable[ast.stmt]], None],
        statements: Callable[[Iterable[ast.stmt]], None],
        assign: Callable[[ast.expr, Value, ast.expr], None],
    ):
        self._evaluator = evaluator
        self._emit = evaluator.emit
        self._numbers = evaluator.numbers
        self._counters = Counters(evaluator.numbers)
        self._variables = variables
        self._block = block
        self._statements = statements
        self._assign = assign

    def for_(self, node: ast.For) -> None:
        callee = self._evaluator.meaning(node.iter.func) if isinstance(node.iter, ast.Call) else None
        if isinstance(node.iter, jumps.Upto):
            self._loop(node, Range(Number(INT, 0), self._variables.number(node.iter.size), Number(INT, 1)), None)
        elif isinstance(node.iter, ast.Call) and (callee is range or callee is plain.prange):
            self._loop(node, range_of(self._evaluator, node.iter), None, callee is plain.prange)
        elif isinstance(node.iter, ast.Call) and callee is np.ndindex:
            self._ndindex(node, node.iter)
        else:
            with self._evaluator.at(node.iter):
                series = iteration.series(self._evaluator, node.iter)
            if series.most is not None and series.most <= MOST_UNROLLED:
                self._unrolled(node, series, series.most)
            else:
                self._loop(node, Range(Number(INT, 0), series.length, Number(INT, 1)), series)

    def _loop(self, node: ast.For, range: Range, series: Series | None, parallel: bool = False) -> None:
        """Compile a loop over a range, or over the values of a series at the positions of the range."""

        def set(number: Number) -> None:
            with self._evaluator.at(node.iter):
                self._assign(node.target, number if series is None else series.item(number), node.iter)

        stop = jumps.hidden("stop", node)
        loop = _For(node, frozenset(assigned([node.target])), set, range, jumps.loop_body(node.body, stop))
        steps: Mapping[str, Step | None] = self._steps(loop) if parallel else {}
        if parallel and not steps:
            self._parallel(loop)
        elif jumps.breaks(node.body):
            self._with_break(loop, stop)
        else:
            self._counting(loop, steps)

    def _unrolled(self, node: ast.For, series: Series, most: int) -> None:
        """Compile the body once for each position, of which those beyond the length are passed over."""
        stop = jumps.hidden("stop", node)
        body = jumps.loop_body(node.body, stop)
        if breaks := jumps.breaks(node.body):
            self._variables.set(stop, Number(BOOL, False))
        outer = self._variables.unrolled
        for position in range(most if series.length.constant is None else int(series.length.constant)):
            self._variables.unrolled = (*outer, position)
            item = jumps.Computed(partial(series.item, Number(INT, position)))
            iteration = [jumps.at(node.iter, ast.Assign([node.target], jumps.at(node.iter, item))), *body]
            if going_on := self._going_on(node, series, position, stop if breaks else None):
                iteration = [jumps.at(node, ast.If(going_on, iteration, []))]
            self._statements(iteration)
        self._variables.unrolled = outer

    def _going_on(self, node: ast.For, series: Series, position: int, stop: str | None) -> ast.expr | None:
        """The condition under which an unrolled loop gets to a position, None if it always does."""
        conditions: list[ast.expr] = []
        if stop is not None:
            conditions.append(jumps.at(node, ast.UnaryOp(ast.Not(), jumps.at(node, ast.Name(stop, ast.Load())))))
        if series.length.constant is None:
            inside = partial(self._numbers.compare, ast.Lt, Number(INT, position), series.length)
            conditions.append(jumps.at(node, jumps.Computed(inside)))
        if len(conditions) > 1:
            return jumps.at(node, ast.BoolOp(ast.And(), conditions))
        return conditions[0] if conditions else None

    def _ndindex(self, node: ast.For, call: ast.Call) -> None:
        """Compile a loop over all indices of a shape as nested loops over each of them."""
        with self._evaluator.at(call):
            sizes = iteration.shape_of(self._evaluator, call)
        for axis, size in enumerate(sizes):
            self._variables.set(jumps.hidden(f"size{axis}", node), size)
        self._statements(jumps.nest(node, len(sizes)))

    def _steps(self, loop: _For) -> Mapping[str, Step | None]:
        """What iterations do to variables with a value before the loop, if all that they do is to accumulate."""
        now = self._variables.now
        names = {name for name in assigned(loop.body) if isinstance(now.get(name), Number)}
        functions = [value.source.function for value in now.values() if isinstance(value, Inner)]
        if any(names & read_outside(function) for function in functions):
            return {}
        return accumulators.steps(loop.body, names, self._evaluator.meaning) or {}

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
            return conditions.choose_number(
                self._evaluator, running, lambda: self._evaluator.truth(node.test), lambda: Number(BOOL, False)
            )

        self._conditional(test, lambda: self._block(body), body, node, [stop] if breaks else [])

    # -- the kinds of loops ----------------------------------------------------------------------

    def _counting(self, loop: _For, steps: Mapping[str, Step | None]) -> None:
        """Add an scf.for. Threads may run it if all that it carries has steps, whose order does not matter."""
        lower, upper, step = self._counters.bounds(loop.range)
        variables = self._variables

        def build(found: Kinds) -> list[Block]:
            with self._emit.block([IndexType(), *map(type_of, found.values())]) as block:
                variables.set_values(found, block.args[1:])
                loop.set(self._counters.number(loop.range, block.args[0]))
                self._block(loop.body)
            return [block]

        found, (block,), after = variables.stable(
            loop.node, variables.carried(loop.body, loop.targets), build, loop.body
        )
        variables.end_block(block, after, found, loop.node)
        op = ForOp(lower, upper, step, variables.values(found, loop.node), block)
        reductions = [self._reduction(steps.get(name), kind) for name, kind in found.items()]
        if steps and None not in reductions:
            op.attributes[THREADS] = ArrayAttr(StringAttr(each) for each in reductions if each)
        self._emit.op(op)
        variables.leave_loop(loop.node, after, loop.targets)
        variables.set_values(found, op.results)

    def _reduction(self, step: Step | None, kind: AnyKind) -> Reduction | None:
        return step.reduction(kind, self._emit.fastmath) if step and isinstance(kind, Kind) else None

    def _parallel(self, loop: _For) -> None:
        if jumps.breaks(loop.node.body):
            raise self._evaluator.error(
                loop.node, "a parallel loop has no order to 'break' in or 'return' from: use range"
            )
        for name, place in assigned(loop.body).items():
            if name not in loop.targets and not isinstance(self._variables.now.get(name), Unset | None):
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
            loop.set(self._counters.number(loop.range, block.args[0]))
            self._block(loop.body)
        after = self._variables.after(before)
        self._evaluator.in_parallel_loop = was_parallel
        with self._emit.at_end(block):
            self._emit.op(ReduceOp())
        op = ParallelOp([lower], [upper], [step], Region(block))
        op.attributes[THREADS] = UnitAttr()
        self._emit.op(op)
        self._variables.leave_loop(loop.node, after, loop.targets)

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
            loop.set(self._counters.number(loop.range, self._numbers.ssa(count)))
            self._block(loop.body)
            variables.set(counter, self._numbers.binary(ast.Add, count, step))

        self._conditional(test, iterate, loop.body, loop.node, [counter, stop], loop.targets)

    def _conditional(
        self,
        test: Callable[[], Number],
        iterate: Callable[[], None],
        body: Sequence[ast.stmt],
        node: ast.For | ast.While,
        hidden: Sequence[str],
        targets: frozenset[str] = frozenset(),
    ) -> None:
        """Add an scf.while, which carries the variables `hidden` and those that the body assigns."""
        variables = self._variables

        def build(found: Kinds) -> list[Block]:
            inputs = list(map(type_of, found.values()))
            outside = variables.now
            variables.copy()
            with self._emit.block(inputs) as condition_block:
                variables.set_values(found, condition_block.args)
                condition = self._numbers.ssa(test())
            with self._emit.at_end(condition_block):
                self._emit.op(ConditionOp(condition, *condition_block.args))
            variables.back_to(outside)
            with self._emit.block(inputs) as block:
                variables.set_values(found, block.args)
                iterate()
            return [condition_block, block]

        carried = list(dict.fromkeys((*hidden, *variables.carried(body, targets))))
        found, (condition_block, block), after = variables.stable(node, carried, build, body)
        variables.end_block(block, after, found, node)
        results = list(map(type_of, found.values()))
        op = WhileOp(variables.values(found, node), results, Region(condition_block), Region(block))
        self._emit.op(op)
        variables.leave_loop(node, after, targets)
        variables.set_values(found, op.results)
        for name in hidden:
            del variables.now[name]
