"""Compiles statements of a kernel: assignments, branches and regions. Refuses statements that kernels do not have."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from xdsl.dialects.scf import IfOp
from xdsl.ir import Block, Region

from hpacml.frontend import plain
from hpacml.frontend.python import (
    bundles,
    elementwise,
    iteration,
    jumps,
    kinds,
    making,
    messages,
    operators,
    subscripts,
)
from hpacml.frontend.python.approx import Directives
from hpacml.frontend.python.context import Ended
from hpacml.frontend.python.evaluator import Evaluator
from hpacml.frontend.python.forms import Variable
from hpacml.frontend.python.loops import Loops
from hpacml.frontend.python.number import Number
from hpacml.frontend.python.subscripts import Place
from hpacml.frontend.python.types import BOOL, Refusal
from hpacml.frontend.python.values import Array, Elements, Record, Tuple, Unset, Value, as_tuple, describe
from hpacml.frontend.python.variables import LIVE, Variables, ends

NO_TARGET = "this cannot be assigned to: only names and array elements can"

_NO_ATTRIBUTE = (
    "a field cannot be assigned: the elements of its array can, as in g.a[:] = ..., and a bundle with other fields is "
    "a new one, as in dataclasses.replace(g, dx=...)"
)


class Statements:
    """Compiles statements with an evaluator. `read` has the names that are read anywhere. Raises `CompileError`."""

    def __init__(self, evaluator: Evaluator, directives: Directives, read: frozenset[str]):
        self._evaluator = evaluator
        self._directives = directives
        self._emit = evaluator.emit
        self._numbers = evaluator.numbers
        self._variables = Variables(evaluator, read)
        self._ended = False
        """Whether the code so far raises an exception on every path, so that what follows never runs."""
        self._loops = Loops(evaluator, self._variables, self._nested, self.block, self._assign)

    def function(self, statements: Iterable[ast.stmt]) -> bool:
        """Compile the statements of a function, and tell whether they raise an exception on every path."""
        self.block(statements)
        return self._ended

    def block(self, statements: Iterable[ast.stmt]) -> None:
        """Compile statements, up to the first behind which no path goes on."""
        for statement in statements:
            if self._ended:
                return
            with self._evaluator.at(statement), self._emit.at_place(*self._evaluator.source.place(statement)):
                depth = len(self._emit.open_blocks)
                try:
                    self._statement(statement)
                except Ended:
                    if len(self._emit.open_blocks) > depth:
                        raise Refusal("a part of this always raises an exception: write an 'if' statement") from None
                    self._ended = True

    def _nested(self, statements: Iterable[ast.stmt]) -> None:
        """Compile an inner block, which has its own variables and directives. `back_to` ends it."""
        self._variables.copy()
        with self._directives.block():
            self._path(statements)

    def _path(self, statements: Iterable[ast.stmt]) -> None:
        self.block(statements)
        if self._ended:
            self._variables.end()
            self._ended = False

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
            case jumps.Landing():
                self._landing(node)
            case jumps.Rest():
                self._rest(node)
            case jumps.Leave():
                self._variables.leave()
            case ast.For():
                self._loops.for_(node)
            case ast.While():
                self._loops.while_(node)
            case ast.With():
                self._with(node)
            case ast.Expr():
                self._expression(node.value)
            case ast.FunctionDef():
                if node.decorator_list:
                    raise self._evaluator.error(node.decorator_list[0], "a function in a kernel has no decorators")
                self._variables.set(node.name, self._evaluator.inner(node))
            case ast.Raise():
                messages.raise_(self._evaluator, node)
                self._ended = True
            case ast.Assert():
                self._ended = __debug__ and messages.require(self._evaluator, node)
            case ast.Pass():
                pass
            case ast.Return():
                raise self._evaluator.error(
                    node,
                    "'return' cannot leave an ml region: results leave it through arrays of out(...) and inout(...)",
                )
            case ast.Break() | ast.Continue():
                word = "break" if isinstance(node, ast.Break) else "continue"
                raise self._evaluator.error(node, f"'{word}' cannot leave an ml region")
            case _:
                word = _KEYWORDS.get(type(node), "this statement")
                raise self._evaluator.error(node, f"{word} cannot be compiled")

    # -- assignments -----------------------------------------------------------------------------

    def _assign_all(self, targets: Sequence[ast.expr], node: ast.expr) -> None:
        value = self._evaluator.value(node)
        in_place = len(targets) == 1 and isinstance(targets[0], ast.Subscript)
        if isinstance(value, Elements) and not (in_place and not elementwise.may_write(self._evaluator, targets[0])):
            with self._evaluator.at(node):
                value = elementwise.array_of(self._evaluator, value)
        for target in targets:
            self._assign(target, value, node)

    def _assign(self, target: ast.expr, value: Value, node: ast.expr) -> None:
        match target:
            case ast.Name(id=name):
                self._variables.set(name, value)
            case ast.Subscript():
                self._store(target, self._evaluator.place(target, is_target=True), value, node)
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                items = self._items(value, elements, target, node)
                for element, item in zip(elements, items, strict=True):
                    self._assign(element.value if isinstance(element, ast.Starred) else element, item, node)
            case ast.Attribute():
                raise self._evaluator.error(target, _NO_ATTRIBUTE)
            case _:
                raise self._evaluator.error(target, NO_TARGET)

    def _items(self, value: Value, elements: Sequence[ast.expr], target: ast.expr, node: ast.expr) -> Sequence[Value]:
        """The items of a value for as many targets."""
        value = _gathered(as_tuple(value), elements)
        if isinstance(value, Array):
            with self._evaluator.at(node):
                return iteration.unpacked(self._evaluator, node, value, len(elements))
        if not isinstance(value, Tuple):
            raise self._evaluator.error(node, f"this is {describe(value)}, which cannot be taken apart")
        if len(elements) != len(value.items):
            raise self._evaluator.error(
                target, f"{len(elements)} names for {len(value.items)} values: write one name for each"
            )
        return value.items

    def _store(self, target: ast.expr, place: Place | Value, value: Value, node: ast.expr) -> None:
        if not isinstance(place, Place):
            with self._evaluator.at(node):
                if isinstance(value, Tuple):
                    value = making.of_items(self._evaluator, node, value)
                return elementwise.assign_to(self._evaluator, target, place, value)
        number = self._evaluator.as_number(value, node)
        self._evaluator.note_write(target, place.array)
        with self._evaluator.at(node):
            stored = self._numbers.ssa(self._numbers.convert(number, place.array.element))
        return self._emit.store(stored, place.array.value, place.indices)

    def _augmented(self, node: ast.AugAssign) -> None:
        """Compile `target op= value`, with the indices of the target computed once."""
        match node.target:
            case ast.Subscript():
                place = self._evaluator.place(node.target)
                if isinstance(place, Place):
                    old: Value = self._evaluator.load(place.array, place.indices)
                    self._store(node.target, place, self._binary(node, old), node.value)
                else:
                    self._in_place(node, place)
            case ast.Attribute():
                old = self._evaluator.value(node.target)
                owner = self._evaluator.value(node.target.value)
                if not isinstance(old, Array) or (isinstance(owner, Record) and not bundles.is_mutable(owner.type)):
                    raise self._evaluator.error(node.target, _NO_ATTRIBUTE)
                self._in_place(node, old)
            case ast.Name(id=name):
                old = self._evaluator.value(ast.copy_location(ast.Name(name, ast.Load()), node.target))
                if isinstance(old, Array):
                    self._in_place(node, old)
                else:
                    self._variables.set(name, self._binary(node, old))
            case _:
                raise self._evaluator.error(node.target, NO_TARGET)

    def _in_place(self, node: ast.AugAssign, target: Value) -> None:
        """Compile an operator whose result goes to the elements of an array, as NumPy has it."""
        if not isinstance(target, Array):
            what = f"this is {describe(target)}, which has no elements to assign"
            raise self._evaluator.error(node.target, f"{what}: {subscripts.UNCHANGED}")
        value = self._binary(node, target)
        with self._evaluator.at(node):
            if isinstance(value, Array | Elements) and not np.can_cast(
                value.element.dtype, target.element.dtype, "same_kind"
            ):
                instead = _with_cast(node)
                raise Refusal(f"NumPy does not cast {value.element} to {target.element} here: write {instead}")
            elementwise.assign_to(self._evaluator, node.target, target, value)

    def _binary(self, node: ast.AugAssign, old: Value) -> Value:
        right = self._evaluator.value(node.value)
        with self._evaluator.at(node):
            return operators.binary(self._evaluator, node, type(node.op), old, right)

    def _expression(self, node: ast.expr) -> None:
        match node:
            case ast.Constant():  # a docstring, an ellipsis
                pass
            case ast.Call() if self._evaluator.meaning(node.func) is plain.approx:
                self._directives.statement(node)
            case ast.Call():
                self._evaluator.call(node)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                first, second = (jumps.at(each, ast.Expr(each)) for each in (body, orelse))
                self._if(jumps.at(node, ast.If(test, [first], [second])))
            case ast.Yield() | ast.YieldFrom():
                self._evaluator.value(node)
            case _:
                raise self._evaluator.error(node, "this statement has no effect")

    # -- blocks ----------------------------------------------------------------------------------

    def _if(self, node: ast.If) -> None:
        condition = self._evaluator.truth(node.test)
        if condition.constant is not None:
            return self.block(node.body if condition.constant else node.orelse)
        for fails, others, wrong in (
            (node.body, node.orelse, condition),
            (node.orelse, node.body, self._numbers.invert_truth(condition)),
        ):
            if messages.always_raises(fails):
                self._guard(fails, wrong)
                return self.block(others)
        self._fork(node, condition, lambda: self._nested(node.body), lambda: self._nested(node.orelse))
        return None

    def _guard(self, fails: Iterable[ast.stmt], wrong: Number) -> None:
        """Compile statements that end by an exception, for when a condition holds."""
        before = self._variables.now
        with self._emit.when(self._numbers.ssa(wrong)):
            self._nested(fails)
        self._variables.back_to(before)

    def _fork(self, node: ast.stmt, condition: Number, *branches: Callable[[], None]) -> None:
        """Compile two branches, each of which makes a copy of the variables."""
        before = self._variables.now
        blocks: list[Block] = []
        after: list[dict[str, Variable]] = []
        for branch in branches:
            with self._emit.block() as block:
                branch()
            blocks.append(block)
            after.append(self._variables.back_to(before))
        self._ended = all(map(ends, after))
        results = self._variables.merge(node, *after)
        for block, variables in zip(blocks, after, strict=True):
            self._variables.end_block(block, variables, results, node)
        then, otherwise = map(Region, blocks)
        types = [kinds.type_of(kind) for kind in results.values()]
        is_empty = len(blocks[1].ops) == 1 and not results
        op = IfOp(self._numbers.ssa(condition), types, then, None if is_empty else otherwise)
        self._emit.op(op)
        self._variables.set_values(results, op.results)

    def _landing(self, node: jumps.Landing) -> None:
        with self._variables.leaving(node.first):
            self.block(node.first)
        if self._ended:
            return
        live, left = self._variables.land(node.first)
        if live.constant is None:
            self._fork(node, live, lambda: self._nested(node.rest), lambda: self._variables.copy(left))
        elif live.constant:
            self.block(node.rest)
        else:
            self._variables.change(left)

    def _rest(self, node: jumps.Rest) -> None:
        live = self._variables.live
        if live.constant is None:
            self._fork(
                node, live, lambda: self._go_on(node.body), lambda: self._variables.copy({LIVE: Number(BOOL, False)})
            )
        elif live.constant:
            self.block(node.body)

    def _go_on(self, statements: Iterable[ast.stmt]) -> None:
        self._variables.copy({LIVE: Number(BOOL, True)})
        with self._directives.block():
            self._path(statements)

    def _with(self, node: ast.With) -> None:
        call, name = node.items[0].context_expr, node.items[0].optional_vars
        is_approx = isinstance(call, ast.Call) and self._evaluator.meaning(call.func) is plain.approx
        if not isinstance(call, ast.Call) or not is_approx or len(node.items) > 1:
            raise self._evaluator.error(call, "the only 'with' in a kernel is with approx(\"ml(...)\"):")
        if name is not None:
            raise self._evaluator.error(name, "approx(...) gives nothing to name")
        if self._evaluator.in_parallel_loop:
            raise self._evaluator.error(call, "a parallel loop cannot run an ml region: use range")
        self._evaluator.has_regions = True
        before = self._variables.now
        self._directives.region(call, lambda: self._nested(node.body))
        for name, value in self._variables.after(before).items():
            if value is not before.get(name):
                before[name] = Unset(
                    f"'{name}' is assigned in the ml region of line {node.lineno}, whose code does not run when the "
                    "model does: results leave a region through the arrays of out(...) and inout(...)"
                )


def _gathered(value: Value, elements: Sequence[ast.expr]) -> Value:
    """A tuple with the items that a target such as `*rest` takes in one."""
    starred = [position for position, element in enumerate(elements) if isinstance(element, ast.Starred)]
    if len(starred) != 1 or not isinstance(value, Tuple) or len(value.items) < len(elements) - 1:
        return value
    first, last = starred[0], len(value.items) - (len(elements) - 1 - starred[0])
    return Tuple((*value.items[:first], Tuple(value.items[first:last]), *value.items[last:]))


def _with_cast(node: ast.AugAssign) -> str:
    """The assignment that does what an operator in place does not."""
    target = node.target if isinstance(node.target, ast.Subscript) else ast.Subscript(node.target, ast.Slice())
    return ast.unparse(ast.Assign([target], ast.BinOp(node.target, node.op, node.value), lineno=0))


_KEYWORDS: dict[type[ast.stmt], str] = {
    ast.AsyncFor: "'async for'",
    ast.AsyncWith: "'async with'",
    ast.ClassDef: "a class in a kernel",
    ast.Delete: "'del'",
    ast.Global: "'global'",
    ast.Import: "'import' in a kernel",
    ast.ImportFrom: "'import' in a kernel",
    ast.Match: "'match'",
    ast.Nonlocal: "'nonlocal'",
    ast.Try: "'try'",
}
