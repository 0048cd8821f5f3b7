"""Statements of a kernel: variables become SSA values, control flow becomes scf.

Variables are a dictionary from names to values. A branch works on a copy; what the branches leave different
becomes a result of the `scf.if`. What a loop assigns and had a value before is carried around the loop. A name that
has no value on some path may not be read afterwards (`Unset`).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from xdsl.dialects.builtin import IndexType
from xdsl.dialects.memref import StoreOp
from xdsl.dialects.scf import ConditionOp, ForOp, IfOp, ParallelOp, ReduceOp, WhileOp, YieldOp
from xdsl.ir import Block, Region, SSAValue

from hpacml.frontend import jumps, plain
from hpacml.frontend.approx import Directives
from hpacml.frontend.emitter import name_value
from hpacml.frontend.evaluator import Evaluator
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

    def __init__(self, evaluator: Evaluator, directives: Directives, read: frozenset[str]):
        self._evaluator = evaluator
        self._directives = directives
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
                    node,
                    "'return' cannot leave a loop or an ml region: set a variable and return it at the end",
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
                        target,
                        f"{len(elements)} names for {len(value.items)} values: write one name for each",
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
            return self._numbers.binary(type(node.op), old, right)

    def _expression(self, node: ast.expr) -> None:
        if isinstance(node, ast.Constant):  # a docstring, an ellipsis
            return None
        if not isinstance(node, ast.Call):
            raise self._evaluator.error(node, "this statement has no effect")
        if self._evaluator.static(node.func) is plain.approx:
            return self._directives.statement(node)
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
            with self._emit.block() as block:
                self._nested(branch)
            blocks.append(block)
            after.append(self._variables)
            self._evaluator.variables = before
        results: dict[str, ScalarType] = {}
        for name in dict.fromkeys((*after[0], *after[1])):
            a, b = (variables.get(name) for variables in after)
            if a is b:
                continue
            if not isinstance(a, Number) or not isinstance(b, Number):
                before[name] = Unset(_why_unset(name, node, a, b))
            elif (common := common_type(a.type, b.type)) is None:
                spelled = "the returned value" if name == jumps.RESULT else f"'{name}'"
                before[name] = Unset(f"{spelled} is {disagreement(a.type, b.type)} ('if' in line {node.lineno})")
            elif self._is_read(name):
                results[name] = common
        for block, variables in zip(blocks, after, strict=True):
            self._yield(block, variables, results)
        orelse = Region(blocks[1]) if len(blocks[1].ops) > 1 or results else None
        op = IfOp(self._numbers.ssa(condition), [t.ir for t in results.values()], Region(blocks[0]), orelse)
        self._emit.op(op)
        self._rebind(results, op.results)

    # -- loops -----------------------------------------------------------------------------------

    def _for(self, node: ast.For) -> None:
        if node.orelse:
            raise self._evaluator.error(node.orelse[0], "'else' of a loop cannot be compiled")
        if not isinstance(node.target, ast.Name):
            raise self._evaluator.error(node.target, "a loop over a range has one variable")
        bounds = self._range(node.iter)
        stop = _hidden("stop", node)
        body = jumps.loop_body(node.body, stop)
        if bounds.parallel:
            self._parallel_for(node.target, bounds, body, node)
        elif jumps.breaks(node.body):
            self._breaking_for(node.target, bounds, body, node)
        else:
            self._counting_for(node.target, bounds, body, node)

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

    def _normalised(self, bounds: _Range) -> tuple[SSAValue, SSAValue, SSAValue]:
        """Bounds and step for scf, whose steps are positive: if need be those of a count of the iterations."""
        if bounds.ascends:
            return (
                self._numbers.ssa(bounds.start),
                self._numbers.ssa(bounds.stop),
                self._numbers.ssa(bounds.step),
            )
        compute = self._numbers.binary
        if bounds.step.constant == -1:
            count = compute(ast.Sub, bounds.start, bounds.stop)
            return self._emit.index(0), self._numbers.ssa(count), self._emit.index(1)
        ascends = self._numbers.compare(ast.Gt, bounds.step, Number(INT, 0))
        nearly = compute(ast.Sub, bounds.step, self._numbers.select(ascends, Number(INT, 1), Number(INT, -1)))
        distance = compute(ast.Add, compute(ast.Sub, bounds.stop, bounds.start), nearly)
        count = compute(ast.FloorDiv, distance, bounds.step)  # 0 for a step of 0
        return self._emit.index(0), self._numbers.ssa(count), self._emit.index(1)

    def _set_loop_variable(self, target: ast.Name, bounds: _Range, counter: SSAValue) -> None:
        number = Number(INT, counter)
        if not bounds.ascends:
            if bounds.step.constant == -1:
                number = self._numbers.binary(ast.Sub, bounds.start, number)
            else:
                distance = self._numbers.binary(ast.Mult, number, bounds.step)
                number = self._numbers.binary(ast.Add, bounds.start, distance)
        self._assign(target, number, target)

    def _counting_for(self, target: ast.Name, bounds: _Range, body: Sequence[ast.stmt], node: ast.For) -> None:
        lower, upper, step = self._normalised(bounds)

        def attempt(types: Mapping[str, ScalarType]) -> list[Block]:
            with self._emit.block([IndexType(), *(type.ir for type in types.values())]) as block:
                self._rebind(types, block.args[1:])
                self._set_loop_variable(target, bounds, block.args[0])
                self._nested(body)
            return [block]

        before = self._variables
        types, (block,), after = self._stable(self._carried(body, target), attempt, body)
        self._yield(block, after, types)
        op = ForOp(lower, upper, step, self._ssa(before, types), block)
        self._emit.op(op)
        self._leave_loop(after, node, target)
        self._rebind(types, op.results)

    def _parallel_for(self, target: ast.Name, bounds: _Range, body: Sequence[ast.stmt], node: ast.For) -> None:
        if jumps.breaks(node.body):
            raise self._evaluator.error(node, "a parallel loop has no order to 'break' in: use range")
        for name, place in _assigned(body).items():
            if name != target.id and not isinstance(self._variables.get(name), Unset | None):
                raise self._evaluator.error(
                    place,
                    f"'{name}' has a value before this parallel loop, whose iterations must not depend on each "
                    "other: use another name inside, range instead of prange, or an array with one element for "
                    "each iteration",
                )
        lower, upper, step = self._normalised(bounds)
        before = self._variables
        self._evaluator.variables = dict(before)
        was_parallel, self._evaluator.in_parallel_loop = self._evaluator.in_parallel_loop, True
        with self._emit.block([IndexType()]) as block:
            self._set_loop_variable(target, bounds, block.args[0])
            self._nested(body)
        self._evaluator.in_parallel_loop = was_parallel
        after, self._evaluator.variables = self._variables, before
        with self._emit.at_end(block):
            self._emit.op(ReduceOp())
        self._emit.op(ParallelOp([lower], [upper], [step], Region(block)))
        self._leave_loop(after, node, target)

    def _breaking_for(self, target: ast.Name, bounds: _Range, body: Sequence[ast.stmt], node: ast.For) -> None:
        """A `for` with `break`: a `while` that counts."""
        counter, stop = _hidden("count", node), _hidden("stop", node)
        lower, upper, step = (Number(INT, value) for value in self._normalised(bounds))
        self._variables[counter] = lower
        self._variables[stop] = Number(BOOL, False)

        def test() -> Number:
            more = self._numbers.compare(ast.Lt, self._number(counter), upper)
            running = self._numbers.invert_truth(self._number(stop))
            return self._numbers.binary(ast.BitAnd, more, running)

        def iterate() -> None:
            count = self._number(counter)
            self._set_loop_variable(target, bounds, self._numbers.ssa(count))
            self._nested(body)
            self._variables[counter] = self._numbers.binary(ast.Add, count, step)

        self._conditional_loop(test, iterate, body, node, [counter, stop], target)

    def _while(self, node: ast.While) -> None:
        if node.orelse:
            raise self._evaluator.error(node.orelse[0], "'else' of a loop cannot be compiled")
        stop = _hidden("stop", node)
        body = jumps.loop_body(node.body, stop)
        breaks = jumps.breaks(node.body)
        if breaks:
            self._variables[stop] = Number(BOOL, False)

        def test() -> Number:
            if not breaks:
                return self._evaluator.truth(node.test)
            running = self._numbers.ssa(self._numbers.invert_truth(self._number(stop)))
            return self._evaluator.choose(
                running, lambda: self._evaluator.truth(node.test), lambda: Number(BOOL, False)
            )

        self._conditional_loop(test, lambda: self._nested(body), body, node, [stop] if breaks else [])

    def _conditional_loop(
        self,
        test: Callable[[], Number],
        iterate: Callable[[], None],
        body: Sequence[ast.stmt],
        node: ast.For | ast.While,
        hidden: Sequence[str],
        target: ast.Name | None = None,
    ) -> None:
        """An `scf.while`; it carries the variables `hidden` beside those that the body assigns."""

        def attempt(types: Mapping[str, ScalarType]) -> list[Block]:
            inputs = [type.ir for type in types.values()]
            outside = self._variables
            self._evaluator.variables = dict(outside)
            with self._emit.block(inputs) as condition_block:
                self._rebind(types, condition_block.args)
                condition = self._numbers.ssa(test())
            with self._emit.at_end(condition_block):
                self._emit.op(ConditionOp(condition, *condition_block.args))
            self._evaluator.variables = outside
            with self._emit.block(inputs) as block:
                self._rebind(types, block.args)
                iterate()
            return [condition_block, block]

        before = self._variables
        carried = list(dict.fromkeys((*hidden, *self._carried(body, target))))
        types, (condition_block, block), after = self._stable(carried, attempt, body)
        self._yield(block, after, types)
        results = [type.ir for type in types.values()]
        op = WhileOp(self._ssa(before, types), results, Region(condition_block), Region(block))
        self._emit.op(op)
        self._leave_loop(after, node, target)
        self._rebind(types, op.results)
        for name in hidden:
            del self._variables[name]

    def _carried(self, body: Iterable[ast.stmt], target: ast.Name | None) -> list[str]:
        """The variables that a loop assigns, of those that have a value before."""
        names: list[str] = []
        for name, place in _assigned(body).items():
            value = self._variables.get(name)
            if (target is not None and name == target.id) or isinstance(value, Unset | None):
                continue
            if not isinstance(value, Number):
                raise self._evaluator.error(
                    place,
                    f"'{name}' is {describe(value)} before the loop: use another name for what is new here",
                )
            if self._is_read(name):
                names.append(name)
        return names

    def _stable(
        self,
        carried: Sequence[str],
        attempt: Callable[[Mapping[str, ScalarType]], list[Block]],
        body: Iterable[ast.stmt],
    ) -> tuple[dict[str, ScalarType], list[Block], Variables]:
        """Build a loop with the types that its variables have before it, and again if an iteration widens them."""
        before = self._variables
        types = {name: self._number(name).type for name in carried}
        while True:
            self._evaluator.variables = dict(before)
            blocks = attempt(types)
            after, self._evaluator.variables = self._variables, before
            widened = {name: self._widened(name, type, after[name], body) for name, type in types.items()}
            if widened == types:
                return types, blocks, after
            for block in blocks:
                block.erase(safe_erase=False)
            types = widened

    def _widened(self, name: str, type: ScalarType, after: Value, body: Iterable[ast.stmt]) -> ScalarType:
        place = _assigned(body).get(name)
        common = common_type(type, after.type) if isinstance(after, Number) else None
        if common is not None:
            return common
        assert place is not None
        if isinstance(after, Number):
            how = disagreement(type, after.type).replace("on one path", "before the loop", 1)
            raise self._evaluator.error(place, f"'{name}' is {how.replace('on the other', 'after an iteration', 1)}")
        reason = after.reason if isinstance(after, Unset) else f"'{name}' becomes {describe(after)} in the loop"
        raise self._evaluator.error(place, reason)

    def _leave_loop(self, after: Variables, node: ast.For | ast.While, target: ast.Name | None) -> None:
        """What the loop assigned has no value after it (what it carried gets one next)."""
        for name, value in after.items():
            if value is not self._variables.get(name):
                if target is not None and name == target.id:
                    reason = f"'{name}' is the variable of the loop in line {node.lineno}, which may not run at all"
                else:
                    reason = f"'{name}' is assigned only in the loop of line {node.lineno}, which may not run at all"
                self._variables[name] = Unset(f"{reason}: assign it before the loop")

    # -- regions ---------------------------------------------------------------------------------

    def _with(self, node: ast.With) -> None:
        call = node.items[0].context_expr
        is_approx = isinstance(call, ast.Call) and self._evaluator.static(call.func) is plain.approx
        if not isinstance(call, ast.Call) or not is_approx or len(node.items) > 1:
            raise self._evaluator.error(call, "the only 'with' in a kernel is with approx(\"ml(...)\"):")
        if node.items[0].optional_vars is not None:
            raise self._evaluator.error(node.items[0].optional_vars, "approx(...) gives nothing to name")
        if self._evaluator.in_parallel_loop:
            raise self._evaluator.error(call, "a parallel loop cannot run an ml region: use range")
        self._evaluator.has_regions = True
        before = self._variables
        self._directives.region(call, lambda: self._nested(node.body))
        for name, value in self._variables.items():
            if value is not before.get(name):
                before[name] = Unset(
                    f"'{name}' is assigned in the ml region of line {node.lineno}, whose code does not run when the "
                    "model does: results leave a region through the arrays of out(...) and inout(...)"
                )
        self._evaluator.variables = before

    def _nested(self, statements: Iterable[ast.stmt]) -> None:
        """Statements of an inner block, with variables and directives of their own."""
        self._evaluator.variables = dict(self._variables)
        with self._directives.block():
            self.block(statements)

    # -- variables -------------------------------------------------------------------------------

    def _number(self, name: str) -> Number:
        value = self._variables[name]
        assert isinstance(value, Number)
        return value

    def _is_read(self, name: str) -> bool:
        return name in self._read or not name.isidentifier()

    def _rebind(self, types: Mapping[str, ScalarType], values: Sequence[SSAValue]) -> None:
        for (name, type), value in zip(types.items(), values, strict=True):
            self._variables[name] = _named(name, Number(type, value))

    def _ssa(self, variables: Mapping[str, Value], types: Mapping[str, ScalarType]) -> list[SSAValue]:
        numbers: list[SSAValue] = []
        for name, type in types.items():
            number = variables[name]
            assert isinstance(number, Number)
            numbers.append(self._numbers.ssa(self._numbers.convert(number, type)))
        return numbers

    def _yield(self, block: Block, variables: Mapping[str, Value], types: Mapping[str, ScalarType]) -> None:
        """End a block with the values of some variables."""
        with self._emit.at_end(block):
            self._emit.op(YieldOp(*self._ssa(variables, types)))


def _named(name: str, value: Value) -> Value:
    """The value, called `name` in the IR unless it has a name."""
    if isinstance(value, Number | Array) and isinstance(value.value, SSAValue):
        name_value(value.value, name.lstrip(".").split("@")[0])
    if isinstance(value, Array) and not value.name:
        return replace(value, name=name)
    return value


def _why_unset(name: str, node: ast.If, a: Value | None, b: Value | None) -> str:
    """Why a name cannot be read after an `if` that leaves it so different."""
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
    return f"'{name}' does not stand for the same in both branches of the 'if' in line {node.lineno}"


def _assigned(statements: Iterable[ast.stmt]) -> dict[str, ast.AST]:
    """The names that statements assign, and where."""
    names: dict[str, ast.AST] = {}
    for statement in statements:
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.setdefault(node.id, node)
    return names


def _hidden(what: str, node: ast.stmt) -> str:
    """A variable that no Python name can clash with."""
    return f".{what}@{node.lineno}:{node.col_offset}"


_KEYWORDS: dict[type[ast.stmt], str] = {
    ast.Assert: "'assert'",
    ast.AsyncFor: "'async for'",
    ast.AsyncWith: "'async with'",
    ast.ClassDef: "a class in a kernel",
    ast.Delete: "'del'",
    ast.FunctionDef: "a function in a kernel",
    ast.Global: "'global'",
    ast.Import: "'import' in a kernel",
    ast.ImportFrom: "'import' in a kernel",
    ast.Match: "'match'",
    ast.Nonlocal: "'nonlocal'",
    ast.Raise: "'raise'",
    ast.Try: "'try'",
}
