"""Statements of a kernel: variables become SSA values, control flow becomes scf.

Variables are a dictionary from names to values. A branch works on a copy; what the branches leave different
becomes a result of the `scf.if`. What a loop assigns and had a value before is carried around the loop. A name that
has no value on some path may not be read afterwards (`Unset`).
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from xdsl.dialects.builtin import IndexType
from xdsl.dialects.memref import StoreOp
from xdsl.dialects.scf import ConditionOp, ForOp, IfOp, ParallelOp, ReduceOp, WhileOp, YieldOp
from xdsl.ir import Block, Region, SSAValue

from hpacml.frontend import jumps, plain
from hpacml.frontend.evaluator import OPERATORS, Evaluator
from hpacml.frontend.scalars import Number, disagreement
from hpacml.frontend.types import BOOL, INT, ScalarType, common_type
from hpacml.frontend.values import Array, Tuple, Unset, Value, describe

Variables = dict[str, Value]


@dataclass(frozen=True)
class _Range:
    start: Number
    stop: Number
    step: Number
    parallel: bool

    @property
    def ascends(self) -> bool:
        """Whether the step is known to be positive, as scf wants it."""
        return self.step.constant is not None and self.step.constant > 0


class Statements:
    """Compiles statements with an evaluator. Raises `CompileError`."""

    def __init__(self, evaluator: Evaluator, read: frozenset[str]):
        self._evaluator = evaluator
        self._emit = evaluator.emit
        self._numbers = evaluator.numbers
        self._read = read
        """The names that are read anywhere; others need not be kept."""

    @property
    def _variables(self) -> Variables:
        return self._evaluator.variables

    def block(self, statements: Iterable[ast.stmt]) -> None:
        for statement in statements:
            self._statement(statement)

    def _statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Assign():
                self._assign_all(node.targets, node.value)
            case ast.AnnAssign():
                if node.value is not None:
                    self._assign_all([node.target], node.value)
            case ast.AugAssign():
                self._augmented(node)
            case ast.If():
                self._if(node)
            case ast.For():
                self._for(node)
            case ast.While():
                self._while(node)
            case ast.With():
                self._with(node)
            case ast.Expr():
                self._expression(node.value)
            case ast.Pass():
                pass
            case ast.Return():
                raise self._evaluator.error(
                    node, "'return' cannot leave a loop or an ml region: set a variable and return it at the end"
                )
            case ast.Break() | ast.Continue():
                word = "break" if isinstance(node, ast.Break) else "continue"
                raise self._evaluator.error(node, f"'{word}' cannot leave an ml region or a parallel loop")
            case _:
                word = _KEYWORDS.get(type(node), "this statement")
                raise self._evaluator.error(node, f"{word} cannot be compiled")

    # -- assignments -----------------------------------------------------------------------------

    def _assign_all(self, targets: Sequence[ast.expr], node: ast.expr) -> None:
        value = self._evaluator.value(node)
        for target in targets:
            self._assign(target, value, node)

    def _assign(self, target: ast.expr, value: Value, node: ast.expr) -> None:
        match target:
            case ast.Name(id=name):
                self._variables[name] = _named(name, value)
            case ast.Subscript():
                array, indices = self._evaluator.element(target)
                self._store(array, indices, value, node)
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                if not isinstance(value, Tuple):
                    raise self._evaluator.error(node, f"this is {describe(value)}, which cannot be taken apart")
                if len(elements) != len(value.items):
                    raise self._evaluator.error(
                        target, f"{len(elements)} names for {len(value.items)} values: write one name for each"
                    )
                for element, item in zip(elements, value.items, strict=True):
                    self._assign(element, item, node)
            case _:
                raise self._evaluator.error(target, "this cannot be assigned to: only names and array elements can")

    def _store(self, array: Array, indices: Sequence[SSAValue], value: Value, node: ast.expr) -> None:
        if not isinstance(value, Number):
            raise self._evaluator.error(node, f"this is {describe(value)}, where a number is needed")
        with self._evaluator.at(node):
            stored = self._numbers.ssa(self._numbers.convert(value, array.element))
        self._emit.op(StoreOp.get(stored, array.value, indices))
        if array.parameter is not None:
            self._evaluator.written.add(array.parameter)

    def _augmented(self, node: ast.AugAssign) -> None:
        """`target op= value`; the indices of the target are evaluated once."""
        if isinstance(node.target, ast.Subscript):
            array, indices = self._evaluator.element(node.target)
            old = self._evaluator.load(array, indices)
            self._store(array, indices, self._binary(node, old), node.value)
        elif isinstance(node.target, ast.Name):
            old = self._evaluator.number(ast.copy_location(ast.Name(node.target.id, ast.Load()), node.target))
            self._assign(node.target, self._binary(node, old), node.value)
        else:
            raise self._evaluator.error(node.target, "this cannot be assigned to: only names and array elements can")

    def _binary(self, node: ast.AugAssign, old: Number) -> Number:
        right = self._evaluator.number(node.value)
        with self._evaluator.at(node):
            return self._numbers.binary(OPERATORS[type(node.op)], old, right)

    def _expression(self, node: ast.expr) -> None:
        if isinstance(node, ast.Constant):  # a docstring, an ellipsis
            return
        if not isinstance(node, ast.Call):
            raise self._evaluator.error(node, "this statement has no effect")
        if self._evaluator.static(node.func) is plain.approx:
            return self.directive(node)
        self._evaluator.call(node)

    # -- branches --------------------------------------------------------------------------------

    def _if(self, node: ast.If) -> None:
        condition = self._evaluator.truth(node.test)
        if condition.constant is not None:
            return self.block(node.body if condition.constant else node.orelse)
        before = self._variables
        blocks: list[Block] = []
        after: list[Variables] = []
        for branch in (node.body, node.orelse):
            self._evaluator.variables = dict(before)
            with self._emit.block() as block:
                self.block(branch)
            blocks.append(block)
            after.append(self._variables)
        self._evaluator.variables = before
        results: dict[str, ScalarType] = {}
        for name in dict.fromkeys((*after[0], *after[1])):
            a, b = (variables.get(name) for variables in after)
            if a is b:
                continue
            if isinstance(a, Number) and isinstance(b, Number):
                common = common_type(a.type, b.type)
                if common is None:
                    before[name] = Unset(self._differs(name, node, disagreement(a.type, b.type)))
                elif name in self._read or not name.isidentifier():
                    results[name] = common
            else:
                before[name] = Unset(self._why_unset(name, node, a, b))
        for block, variables in zip(blocks, after, strict=True):
            self._yield(block, variables, results)
        orelse = Region(blocks[1]) if results or node.orelse else None
        types = [type.ir for type in results.values()]
        op = IfOp(self._numbers.ssa(condition), types, Region(blocks[0]), orelse)
        self._emit.op(op)
        self._rebind(results, op.results)

    def _differs(self, name: str, node: ast.stmt, how: str) -> str:
        return f"{_spelled(name)} is {how} (in the 'if' of line {node.lineno})"

    def _why_unset(self, name: str, node: ast.If, a: Value | None, b: Value | None) -> str:
        for value in (a, b):
            if isinstance(value, Unset):
                return value.reason
        if name == jumps.RESULT:
            return "one path through the kernel returns a value, and another does not: return one on every path"
        if a is None or b is None:
            return (
                f"'{name}' is assigned in only one branch of the 'if' in line {node.lineno}: "
                "assign it before the 'if', or in both branches"
            )
        return f"'{name}' is not the same array in both branches of the 'if' in line {node.lineno}"

    def _yield(self, block: Block, variables: Mapping[str, Value], types: Mapping[str, ScalarType]) -> None:
        """End a block with the values of some variables."""
        with self._emit.at_end(block):
            self._emit.op(YieldOp(*self._ssa(variables, types)))

    def _ssa(self, variables: Mapping[str, Value], types: Mapping[str, ScalarType]) -> list[SSAValue]:
        numbers: list[SSAValue] = []
        for name, type in types.items():
            number = variables[name]
            assert isinstance(number, Number)
            numbers.append(self._numbers.ssa(self._numbers.convert(number, type)))
        return numbers

    def _rebind(self, types: Mapping[str, ScalarType], values: Sequence[SSAValue]) -> None:
        for (name, type), value in zip(types.items(), values, strict=True):
            self._variables[name] = _named(name, Number(type, value))

    # -- loops -----------------------------------------------------------------------------------

    def _for(self, node: ast.For) -> None:
        if node.orelse:
            raise self._evaluator.error(node.orelse[0], "'else' of a loop cannot be compiled")
        if not isinstance(node.target, ast.Name):
            raise self._evaluator.error(node.target, "a loop over a range has one variable")
        bounds = self._range(node.iter)
        if bounds.parallel:
            return self._parallel_for(node, node.target.id, bounds)
        stop = f".stop@{node.lineno}:{node.col_offset}"
        body = jumps.loop_body(node.body, stop)
        if jumps.breaks(node.body):
            return self._breaking_for(node, node.target.id, bounds, body, stop)
        lower, upper, step = self._normalised(bounds)
        carried = self._carried(body, [node.target.id])

        def attempt(types: Mapping[str, ScalarType]) -> tuple[Block, Variables]:
            with self._emit.block([IndexType(), *(type.ir for type in types.values())]) as block:
                self._rebind(types, block.args[1:])
                self._set_loop_variable(node.target, bounds, block.args[0])
                self.block(body)
            return block, self._variables

        before = self._variables
        types, block, after = self._stable(carried, attempt, body)
        self._yield(block, after, types)
        op = ForOp(lower, upper, step, self._ssa(before, types), block)
        self._emit.op(op)
        self._leave_loop(before, after, node, node.target.id)
        self._rebind(types, op.results)

    def _set_loop_variable(self, target: ast.expr, bounds: _Range, counter: SSAValue) -> None:
        number = Number(INT, counter)
        if not bounds.ascends:
            counter.name_hint = "trip"
            distance = self._numbers.binary(operator.mul, number, bounds.step)
            number = self._numbers.binary(operator.add, bounds.start, distance)
        self._assign(target, number, target)

    def _normalised(self, bounds: _Range) -> tuple[SSAValue, SSAValue, SSAValue]:
        """Bounds and step for scf, whose steps are positive: otherwise a count of the iterations."""
        if bounds.ascends:
            return self._numbers.ssa(bounds.start), self._numbers.ssa(bounds.stop), self._numbers.ssa(bounds.step)
        compute, zero, one = self._numbers.binary, Number(INT, 0), Number(INT, 1)
        ascends = self._numbers.compare(operator.gt, bounds.step, zero)
        nearly = compute(operator.sub, bounds.step, self._numbers.select(ascends, one, Number(INT, -1)))
        distance = compute(operator.add, compute(operator.sub, bounds.stop, bounds.start), nearly)
        count = compute(operator.floordiv, distance, bounds.step)
        return self._emit.index(0), self._numbers.ssa(count), self._emit.index(1)

    def _parallel_for(self, node: ast.For, name: str, bounds: _Range) -> None:
        for assigned, place in _assigned(node.body).items():
            if isinstance(self._variables.get(assigned), Number):
                raise self._evaluator.error(
                    place,
                    f"'{assigned}' has a value before this parallel loop, whose iterations must not depend on each "
                    "other: use another name inside, range instead of prange, or an array element for each iteration",
                )
        lower, upper, step = self._normalised(bounds)
        before = self._variables
        self._evaluator.variables = dict(before)
        with self._emit.block([IndexType()]) as block:
            self._set_loop_variable(node.target, bounds, block.args[0])
            self.block(node.body)
        with self._emit.at_end(block):
            self._emit.op(ReduceOp())
        self._emit.op(ParallelOp([lower], [upper], [step], Region(block)))
        self._leave_loop(before, self._variables, node, name)

    def _breaking_for(
        self, node: ast.For, name: str, bounds: _Range, body: list[ast.stmt], stop: str
    ) -> None:
        """A `for` with `break`: a `while` that counts."""
        counter = stop.replace("stop", "count")
        lower, upper, step = (Number(INT, value) for value in self._normalised(bounds))
        self._variables[counter] = lower
        self._variables[stop] = Number(BOOL, False)

        def test() -> Number:
            more = self._numbers.compare(operator.lt, self._get(counter), upper)
            return self._numbers.both(more, self._numbers.invert_truth(self._get(stop)))

        def iterate() -> None:
            count = self._get(counter)
            self._set_loop_variable(node.target, bounds, self._numbers.ssa(count))
            self.block(body)
            self._variables[counter] = self._numbers.binary(operator.add, count, step)

        self._loop(node, test, iterate, body, [counter, stop], name)

    def _while(self, node: ast.While) -> None:
        if node.orelse:
            raise self._evaluator.error(node.orelse[0], "'else' of a loop cannot be compiled")
        stop = f".stop@{node.lineno}:{node.col_offset}"
        body = jumps.loop_body(node.body, stop)
        if not jumps.breaks(node.body):
            return self._loop(node, lambda: self._evaluator.truth(node.test), lambda: self.block(body), body, [])
        self._variables[stop] = Number(BOOL, False)

        def test() -> Number:
            running = self._numbers.ssa(self._numbers.invert_truth(self._get(stop)))
            return self._evaluator.choose(
                running, lambda: self._evaluator.truth(node.test), lambda: Number(BOOL, False)
            )

        self._loop(node, test, lambda: self.block(body), body, [stop])

    def _loop(
        self,
        node: ast.For | ast.While,
        test: Callable[[], Number],
        iterate: Callable[[], None],
        body: Sequence[ast.stmt],
        hidden: Sequence[str],
        target: str | None = None,
    ) -> None:
        """An `scf.while`. `hidden` are variables that it carries and no statement of the body shows."""
        carried = [*hidden, *self._carried(body, [target])]

        def attempt(types: Mapping[str, ScalarType]) -> tuple[tuple[Block, Block], Variables]:
            inputs = [type.ir for type in types.values()]
            outside = dict(self._variables)
            with self._emit.block(inputs) as condition_block:
                self._rebind(types, condition_block.args)
                condition = self._numbers.ssa(self._numbers.truth(test()))
            with self._emit.at_end(condition_block):
                self._emit.op(ConditionOp(condition, *condition_block.args))
            self._evaluator.variables = outside
            with self._emit.block(inputs) as block:
                self._rebind(types, block.args)
                iterate()
            return (condition_block, block), self._variables

        before = self._variables
        types, (condition_block, block), after = self._stable(carried, attempt, body)
        self._yield(block, after, types)
        results = [type.ir for type in types.values()]
        op = WhileOp(self._ssa(before, types), results, Region(condition_block), Region(block))
        self._emit.op(op)
        self._leave_loop(before, after, node, target)
        self._rebind(types, op.results)

    def _stable[Blocks: (Block, tuple[Block, Block])](self) -> None: ...
