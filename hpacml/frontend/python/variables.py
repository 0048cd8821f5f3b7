"""The variables of a kernel at branches and loops, where each becomes several SSA values."""

from __future__ import annotations

import ast
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType

from xdsl.dialects.scf import YieldOp
from xdsl.ir import Block, SSAValue

from hpacml.frontend.python.emitter import name_value
from hpacml.frontend.python.evaluator import Evaluator
from hpacml.frontend.python.jumps import RESULT
from hpacml.frontend.python.number import Kind, Number
from hpacml.frontend.python.scalars import disagreement
from hpacml.frontend.python.types import BOOL
from hpacml.frontend.python.values import Array, Unset, Value, describe

Kinds = Mapping[str, Kind]

LIVE = ".live"
"""The variable that tells whether a path goes on. Where it is missing, it does."""

_YES = Number(BOOL, True)
NOTHING: Mapping[str, Value | None] = MappingProxyType({})


class Variables:
    """The evaluator's variables, a dictionary from names to values.

    Inner blocks change a copy. A variable that differs after the branches of an `if` becomes a result of the `if`. A
    loop carries the variables that it assigns and that have a value before it. A name without a value on some path is
    `Unset`.
    """

    def __init__(self, evaluator: Evaluator, read: frozenset[str]):
        self._evaluator = evaluator
        self._numbers = evaluator.numbers
        self._read = read
        """The names that are read anywhere. Other names need no values after branches and loops."""
        self._kinds: dict[ast.stmt, Kinds] = {}
        """The kinds of the variables of the loops that were built."""
        self._leaving: list[list[str]] = []
        """What is assigned in the statements that paths leave, innermost last."""

    @property
    def now(self) -> dict[str, Value]:
        """All variables, to read and to change."""
        return self._evaluator.variables

    def number(self, name: str) -> Number:
        """A variable that is known to be a number."""
        value = self.now[name]
        assert isinstance(value, Number)
        return value

    def set(self, name: str, value: Value) -> None:
        """Assign a variable. A value without a name gets that of the variable."""
        if isinstance(value, Number | Array) and isinstance(value.value, SSAValue):
            name_value(value.value, name.lstrip(".").split("@")[0])
        self.now[name] = replace(value, name=name) if isinstance(value, Array) and not value.name else value

    def change(self, values: Mapping[str, Value | None]) -> None:
        """Change variables; those that are changed to None have no value from then on."""
        for name, value in values.items():
            self.now.pop(name, None)
            if value is not None:
                self.now[name] = value

    def set_numbers(self, kinds: Kinds, values: Sequence[SSAValue]) -> None:
        for (name, kind), value in zip(kinds.items(), values, strict=True):
            self.set(name, Number.of(kind, value))

    def copy(self, changed: Mapping[str, Value | None] = NOTHING) -> None:
        """Begin an inner block, in which some variables are changed, and which `back_to` ends."""
        self._evaluator.variables = dict(self.now)
        self.change(changed)

    def back_to(self, variables: dict[str, Value]) -> dict[str, Value]:
        """Return to the variables of an outer block, and give those of the inner block."""
        inner, self._evaluator.variables = self.now, variables
        return inner

    def values(self, kinds: Kinds, node: ast.stmt) -> list[SSAValue]:
        """The numbers of these names, converted to the types of their kinds. Errors are at `node`."""
        convert, ssa = self._numbers.convert, self._numbers.ssa
        with self._evaluator.at(node):
            return [ssa(convert(self.number(name), kind.type)) for name, kind in kinds.items()]

    def end_block(self, block: Block, variables: dict[str, Value], kinds: Kinds, node: ast.stmt) -> None:
        """Let a block yield the numbers that these names have at its end. Errors are at `node`."""
        outer = self.now
        self.back_to(variables)
        with self._evaluator.emit.at_end(block):
            self._evaluator.emit.op(YieldOp(*self.values(kinds, node)))
        self.back_to(outer)

    # -- branches --------------------------------------------------------------------------------

    def merge(self, node: ast.stmt, a: dict[str, Value], b: dict[str, Value]) -> dict[str, Kind]:
        """The kinds of the numbers that differ after the branches `a` and `b`. Other values that differ are unset.

        What a variable is depends on the branches that go on, and what it was on leaving on those that have left. In
        the other branch it gets any number.
        """
        results: dict[str, Kind] = {}
        live = [_constant(branch.get(LIVE, _YES)) for branch in (a, b)]
        if LIVE in a or LIVE in b:
            a.setdefault(LIVE, _YES)
            b.setdefault(LIVE, _YES)
        for name in dict.fromkeys((*a, *b)):
            x, y = a.get(name), b.get(name)
            here, there = (name == LIVE or each is not _is_of_leaving(name) for each in live)
            if not (here or there):
                continue
            if x is y and x is not None:
                self.now[name] = x
                continue
            if here and there:
                kind = self._of_both(name, node, x, y)
            else:
                kind = self._of_one(name, node, *((x, b) if here else (y, a)))
            if kind is not None:
                results[name] = kind
        return results

    def _of_both(self, name: str, node: ast.stmt, x: Value | None, y: Value | None) -> Kind | None:
        if not isinstance(x, Number) or not isinstance(y, Number):
            self.now[name] = Unset(_why_unset(name, node, x, y))
        elif (common := self._numbers.common(x.kind, y.kind)) is None:
            how = disagreement(x.kind, y.kind)
            self.now[name] = Unset(f"{_spelled(name)} is {how} ('if' in line {node.lineno})")
        elif self._is_read(name):
            return common
        return None

    def _of_one(self, name: str, node: ast.stmt, value: Value | None, other: dict[str, Value]) -> Kind | None:
        if value is None:
            self.now.pop(name, None)
        elif not isinstance(value, Number):
            same = value is self.now.get(name) or isinstance(value, Unset)
            self.now[name] = value if same else Unset(_why_unset(name, node, value, None))
        elif value.constant is not None:
            self.now[name] = value
        elif self._is_read(name):
            other[name] = Number(value.type, 0)
            return value.kind
        return None

    # -- paths that leave --------------------------------------------------------------------------

    @property
    def live(self) -> Number:
        """Whether the path goes on."""
        live = self.now.get(LIVE, _YES)
        assert isinstance(live, Number)
        return live

    @contextmanager
    def leaving(self, statements: Iterable[ast.stmt]) -> Generator[None]:
        """Compile statements that paths leave."""
        self._leaving.append([name for name in assigned(statements) if self._is_read(name)])
        yield
        self._leaving.pop()

    def leave(self) -> None:
        """End a path: keep what the variables are now."""
        for name in self._leaving[-1]:
            self.now.pop(_on_leaving(name), None)
            if name in self.now:
                self.now[_on_leaving(name)] = self.now[name]
        self.now[LIVE] = Number(BOOL, False)

    def land(self, statements: Iterable[ast.stmt]) -> tuple[Number, dict[str, Value | None]]:
        """Whether the path goes on after such statements, and what the variables are if it does not."""
        live = self.live
        self.now.pop(LIVE, None)
        names = [name for name in assigned(statements) if self._is_read(name)]
        return live, {name: self.now.pop(_on_leaving(name), None) for name in names}

    # -- loops -----------------------------------------------------------------------------------

    def carried(self, body: Iterable[ast.stmt], target: str | None) -> list[str]:
        """The names that a loop over `target` carries: it assigns them, and they have a value before it."""
        names: list[str] = []
        for name, place in assigned(body).items():
            value = self.now.get(name)
            if name == target or isinstance(value, Unset | None):
                continue
            if not isinstance(value, Number):
                raise self._evaluator.error(
                    place, f"'{name}' is {describe(value)} before the loop: use another name for what is new here"
                )
            if self._is_read(name):
                names.append(name)
        return names

    def stable(
        self, node: ast.stmt, carried: Sequence[str], build: Callable[[Kinds], list[Block]], body: Iterable[ast.stmt]
    ) -> tuple[Kinds, list[Block], dict[str, Value]]:
        """Build the loop `node` with the kinds of its variables before it, and again while an iteration widens a kind.

        Returns the kinds, the blocks, and the variables at the end of an iteration. A loop that is built again since
        the loop around it is begins with the kinds that it had before: else the time would double with each loop.
        """
        before = self.now
        kinds = {name: self._first_kind(node, name) for name in carried}
        while True:
            self.copy()
            choices = self._numbers.choices
            blocks = build(kinds)
            after = self.back_to(before)
            widened = {name: self._widened(name, kind, after[name], body) for name, kind in kinds.items()}
            self._kinds[node] = widened
            if widened == kinds:
                return kinds, blocks, after
            kinds, tried = widened, kinds
            same = all(kind in (tried[name], replace(tried[name], literals=None)) for name, kind in kinds.items())
            if same and self._numbers.choices == choices:  # then no type depends on which numbers are literals
                return {name: replace(kind, literals=None) for name, kind in kinds.items()}, blocks, after
            for block in blocks:
                block.erase(safe_erase=False)

    def _first_kind(self, loop: ast.stmt, name: str) -> Kind:
        """The kind of a variable before a loop, and in its iterations as far as they are known."""
        kind = self.number(name).kind
        known = self._kinds.get(loop, {}).get(name)
        return kind if known is None else self._numbers.common(kind, known) or kind

    def _widened(self, name: str, kind: Kind, after: Value, body: Iterable[ast.stmt]) -> Kind:
        if isinstance(after, Number):
            common = self._numbers.common(kind, after.kind)
            if common is not None:
                return _loosened(common, kind.least)
            how = disagreement(kind, after.kind, "before the loop", "after an iteration")
            reason = f"{_spelled(name)} is {how}"
        else:
            reason = (
                after.reason if isinstance(after, Unset) else f"{_spelled(name)} becomes {describe(after)} in the loop"
            )
        raise self._evaluator.error(assigned(body)[name], reason)

    def leave_loop(self, node: ast.For | ast.While, after: Mapping[str, Value], target: str | None = None) -> None:
        """Unset the names that a loop has assigned. Then `set_numbers` sets the names that it carries."""
        for name, value in after.items():
            if value is self.now.get(name):
                continue
            if name == target:
                reason = f"'{name}' is the variable of the loop in line {node.lineno}, which may not run at all"
                self.now[name] = Unset(f"{reason}: keep it in another variable, which has a value before the loop")
            else:
                reason = f"'{name}' is assigned only in the loop of line {node.lineno}, which may not run at all"
                self.now[name] = Unset(f"{reason}: assign it before the loop")

    def _is_read(self, name: str) -> bool:
        return name in self._read or not name.isidentifier()


def _on_leaving(name: str) -> str:
    return f".{name}@left"


def _is_of_leaving(name: str) -> bool:
    return name.endswith("@left")


def _constant(value: Value) -> object:
    return value.constant if isinstance(value, Number) else None


def assigned(statements: Iterable[ast.stmt]) -> dict[str, ast.AST]:
    """The names that statements assign, and the place of the first assignment."""
    names: dict[str, ast.AST] = {}
    for statement in statements:
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.setdefault(node.id, node)
    return names


def _spelled(name: str) -> str:
    """A variable in an error text. The compiler's own variables are bools, which never disagree, or the result."""
    name = name.removeprefix(".").removesuffix("@left") if _is_of_leaving(name) else name
    return f"'{name}'" if name.isidentifier() else "the returned value"


def _loosened(kind: Kind, least: int | None) -> Kind:
    """The kind of a loop's variable whose bound was `least`. A bound that falls becomes 0, then None for good."""
    if kind.least == least:
        return kind
    return replace(kind, least=0 if kind.least is not None and kind.least >= 0 else None)


def _why_unset(name: str, node: ast.stmt, a: Value | None, b: Value | None) -> str:
    """Why a name cannot be read after an `if` whose branches leave it with the values `a` and `b`."""
    for value in (a, b):
        if isinstance(value, Unset):
            return value.reason
    if name == RESULT:
        return "one path through the kernel returns a value, and another does not: return one on every path"
    if a is None or b is None:
        return (
            f"'{name}' is assigned in only one branch of the 'if' in line {node.lineno}: "
            "assign it before the 'if', or in both branches"
        )
    return f"'{name}' does not stand for the same in both branches of the 'if' in line {node.lineno}"
