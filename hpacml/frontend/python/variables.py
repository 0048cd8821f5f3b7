"""The variables of a kernel at branches and loops, where each becomes several SSA values."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType

from xdsl.dialects.scf import YieldOp
from xdsl.ir import Block, SSAValue

from hpacml.frontend.python import forms, kinds
from hpacml.frontend.python.emitter import name_value
from hpacml.frontend.python.evaluator import Evaluator
from hpacml.frontend.python.forms import Form, Variable
from hpacml.frontend.python.kinds import AnyKind, ArrayKind
from hpacml.frontend.python.number import Kind, Number
from hpacml.frontend.python.scalars import disagreement
from hpacml.frontend.python.types import BOOL
from hpacml.frontend.python.values import Anything, Array, Static, Unset, Value, describe, dimensions

Kinds = Mapping[str, AnyKind]

LIVE = ".live"
"""The variable that tells whether a path goes on. Where it is missing, it does."""

_END = ".end"
"""The variable that a path has which has raised an exception."""

_LEFT = "@left"
"""How the names end of what variables were when paths left."""

_YES = Number(BOOL, True)
NOTHING: Mapping[str, Variable | None] = MappingProxyType({})


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
        self._kinds: dict[object, Kinds] = {}
        """The kinds of the variables of the loops that were built, by their places."""
        self._forms: dict[object, dict[str, Variable]] = {}
        """What else there is of those that may be anything before a loop: how tuples consist of parts, and texts."""
        self.unrolled: tuple[int, ...] = ()
        """In which iterations the code is, of the loops around it whose bodies are compiled once for each."""
        self._leaving: list[list[str]] = []
        """What is assigned in the statements that paths leave, innermost last."""

    @property
    def now(self) -> dict[str, Variable]:
        """All variables, to read and to change."""
        return self._evaluator.variables

    def number(self, name: str) -> Number:
        """A variable that is known to be a number."""
        value = self.now[name]
        assert isinstance(value, Number)
        return value

    def set(self, name: str, value: Value) -> None:
        """Assign a variable. A value without a name gets that of the variable."""
        for part, each in forms.write(self.now, name, value):
            if isinstance(each, Number | Array) and isinstance(each.value, SSAValue):
                name_value(each.value, forms.base(part).lstrip(".").split("@")[0])
            self.now[part] = replace(each, name=part) if isinstance(each, Array) and not each.name else each

    def change(self, values: Mapping[str, Variable | None]) -> None:
        """Change variables; those that are changed to None have no value from then on."""
        for name, value in values.items():
            self.now.pop(name, None)
            if value is not None:
                self.now[name] = value

    def set_values(self, found: Kinds, values: Sequence[SSAValue]) -> None:
        for (name, kind), value in zip(found.items(), values, strict=True):
            self.set(name, kinds.value_of(kind, value))

    def copy(self, changed: Mapping[str, Variable | None] = NOTHING) -> None:
        """Begin an inner block, in which some variables are changed, and which `back_to` ends."""
        self._evaluator.variables = dict(self.now)
        self.change(changed)

    def back_to(self, variables: dict[str, Variable]) -> dict[str, Variable]:
        """Return to the variables of an outer block, and give those of the inner block."""
        inner, self._evaluator.variables = self.now, variables
        return inner

    def after(self, variables: dict[str, Variable]) -> dict[str, Variable]:
        """The same of a block behind which the code goes on also if this has raised an exception, or not run."""
        inner = self.back_to(variables)
        inner.pop(_END, None)
        return inner

    def values(self, found: Kinds, node: ast.stmt) -> list[SSAValue]:
        """The values of these names, converted to their kinds. Errors are at `node`."""
        with self._evaluator.at(node):
            return [self._value(name, kind) for name, kind in found.items()]

    def _value(self, name: str, kind: AnyKind) -> SSAValue:
        if _is_anything(self.now, name):
            return kinds.anything(self._evaluator, kind)
        return kinds.converted(self._evaluator, self.leaf(name), kind)

    def leaf(self, name: str) -> Number | Array:
        """A variable that is known to be a number or an array."""
        value = self.now[name]
        assert isinstance(value, Number | Array)
        return value

    def end_block(self, block: Block, variables: dict[str, Variable], found: Kinds, node: ast.stmt) -> None:
        """Let a block yield the values that these names have at its end. Errors are at `node`."""
        outer = self.now
        self.back_to(variables)
        with self._evaluator.emit.at_end(block):
            self._evaluator.emit.op(YieldOp(*self.values(found, node)))
        self.back_to(outer)

    def end(self) -> None:
        """End a path by an exception: what its variables are counts no more."""
        self.now[_END] = _YES

    # -- branches --------------------------------------------------------------------------------

    def merge(self, node: ast.stmt, a: dict[str, Variable], b: dict[str, Variable]) -> dict[str, AnyKind]:
        """The kinds of the values that differ after the branches `a` and `b`. Other values that differ are unset.

        What a variable is depends on the branches that go on, and what it was on leaving on those that have left. In
        the other branch it may be anything.
        """
        results: dict[str, AnyKind] = {}
        live = [_constant(branch.get(LIVE, _YES)) for branch in (a, b)]
        if LIVE in a or LIVE in b:
            a.setdefault(LIVE, _YES)
            b.setdefault(LIVE, _YES)
        goes_on = [not ends(branch) for branch in (a, b)]
        for name in dict.fromkeys((*a, *b)):
            if name == _END:
                continue
            x, y = a.get(name), b.get(name)
            counts = [
                on and (name == LIVE or each is not _is_of_leaving(name))
                for on, each in zip(goes_on, live, strict=True)
            ]
            here, there = (each and not _is_anything(branch, name) for each, branch in zip(counts, (a, b), strict=True))
            if not (here or there):
                if any(counts) and isinstance(unread := x if counts[0] else y, Anything):
                    self.now[name] = unread
                continue
            if forms.are_same(x, y) and x is not None:
                self.now[name] = x
                continue
            if here and there:
                kind = self._of_both(name, node, x, y)
            else:
                kind = self._of_one(name, node, *((x, b) if here else (y, a)))
            if kind is not None:
                results[name] = kind
        return results

    def _of_both(self, name: str, node: ast.stmt, x: Variable | None, y: Variable | None) -> AnyKind | None:
        if not isinstance(x, Number | Array) or not isinstance(y, Number | Array):
            self.now[name] = Unset(_why_unset(name, node, x, y))
        elif (common := kinds.common(self._evaluator, kinds.kind_of(x), kinds.kind_of(y))) is None:
            self.now[name] = Unset(
                f"{_spelled(name)} is {_named(name, _difference(x, y))} ('if' in line {node.lineno})"
            )
        elif self._is_read(name):
            return common
        return None

    def _of_one(self, name: str, node: ast.stmt, value: Variable | None, other: dict[str, Variable]) -> AnyKind | None:
        if value is None:
            self.now.pop(name, None)
        elif _is_known(value) or value is self.now.get(name):
            self.now[name] = value
        elif isinstance(value, Number) or (isinstance(value, Array) and kinds.lives(self._evaluator, value.home)):
            if self._is_read(name):
                other[name] = Anything()
                return kinds.kind_of(value)
        else:
            self.now[name] = Unset(_why_unset(name, node, value, None))
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
            forms.remove(self.now, _on_leaving(name))
            for part in list(forms.names(self.now, name)):
                if part in self.now:
                    self.now[_on_leaving(part)] = self.now[part]
        self.now[LIVE] = Number(BOOL, False)

    def land(self, statements: Iterable[ast.stmt]) -> tuple[Number, dict[str, Variable | None]]:
        """Whether the path goes on after such statements, and what the variables are if it does not."""
        live = self.live
        self.now.pop(LIVE, None)
        names = [name for name in assigned(statements) if self._is_read(name)]
        return live, {part: self.now.pop(_on_leaving(part), None) for name in names for part in self._left(name)}

    def _left(self, name: str) -> list[str]:
        """The variables that a variable consisted of when paths left."""
        parts = (each.removeprefix(".").removesuffix(_LEFT) for each in self.now if _is_of_leaving(each))
        return [name, *(part for part in parts if part != name and forms.base(part) == name)]

    # -- loops -----------------------------------------------------------------------------------

    def carried(self, body: Iterable[ast.stmt], targets: Collection[str]) -> list[str]:
        """The names that a loop over `targets` carries: it assigns them, and they have a value before it."""
        carried: list[str] = []
        for name, place in assigned(body).items():
            if name in targets or not self._is_read(name):
                continue
            for part in forms.names(self.now, name):
                value = self.now.get(part)
                if isinstance(value, Number | Array):
                    carried.append(part)
                elif not isinstance(value, Unset | Anything | Form | None) and name.isidentifier():
                    raise self._evaluator.error(
                        place, f"'{name}' is {describe(value)} before the loop: use another name for what is new here"
                    )
        return carried

    def stable(
        self, node: ast.stmt, carried: Sequence[str], build: Callable[[Kinds], list[Block]], body: Iterable[ast.stmt]
    ) -> tuple[Kinds, list[Block], dict[str, Variable]]:
        """Build the loop `node` with the kinds of its variables before it, and again while an iteration widens a kind.

        Returns the kinds, the blocks, and the variables at the end of an iteration. A loop that is built again since
        the loop around it is begins with the kinds that it had before: else the time would double with each loop.
        """
        before = self.now
        place = node, self.unrolled
        found: dict[str, AnyKind] = {name: self._first_kind(place, name) for name in carried} | self._known(place)
        while True:
            self.copy(self._forms.get(place, NOTHING))
            choices = self._numbers.choices
            blocks = build(found)
            after = self.after(before)
            widened = {name: self._widened(name, kind, after, body) for name, kind in found.items()}
            widened |= self._begun(place, after, body)
            self._kinds[place] = widened
            if widened == found:
                return found, blocks, after
            found, tried = widened, found
            same = found.keys() == tried.keys() and all(
                kind in (tried[name], _no_literal(tried[name])) for name, kind in found.items()
            )
            if same and self._numbers.choices == choices:  # then no type depends on which numbers are literals
                return {name: _no_literal(kind) for name, kind in found.items()}, blocks, after
            for block in blocks:
                block.erase(safe_erase=False)

    def _first_kind(self, place: object, name: str) -> AnyKind:
        """The kind of a variable before a loop, and in its iterations as far as they are known."""
        kind = kinds.kind_of(self.leaf(name))
        known = self._kinds.get(place, {}).get(name)
        return kind if known is None else kinds.common(self._evaluator, kind, known) or kind

    def _known(self, place: object) -> dict[str, AnyKind]:
        """The kinds of what may be anything before a loop, as far as they are known."""
        known = {name: k for name, k in self._kinds.get(place, {}).items() if _is_anything(self.now, name)}
        homes = [kind.home for kind in known.values() if isinstance(kind, ArrayKind)]
        if all(kinds.lives(self._evaluator, home) for home in homes):
            return known
        self._forms.pop(place, None)
        return {}

    def _begun(self, place: object, after: Mapping[str, Variable], body: Iterable[ast.stmt]) -> dict[str, AnyKind]:
        """The kinds of what may be anything before a loop, and what else there is of it."""
        found: dict[str, AnyKind] = {}
        for name, node in assigned(body).items():
            if not isinstance(self.now.get(name), Anything):
                continue
            for part in forms.names(after, name):
                value = after.get(part)
                if isinstance(value, Array) and not kinds.lives(self._evaluator, value.home):
                    raise self._evaluator.error(node, f"{_spelled(name)} is {_named(name, _ENDS)}")
                if isinstance(value, Number | Array):
                    found[part] = kinds.kind_of(value)
                elif isinstance(value, Form | Static):
                    self._forms.setdefault(place, {})[part] = value
                elif isinstance(value, Unset):
                    raise self._evaluator.error(node, value.reason)
        return found

    def _widened(self, name: str, kind: AnyKind, after: Mapping[str, Variable], body: Iterable[ast.stmt]) -> AnyKind:
        value, whole = after.get(name), forms.base(name)
        alike = _is_anything(self.now, name) or forms.are_alike(self.now, after, whole)
        if isinstance(value, Number | Array) and alike:
            common = kinds.common(self._evaluator, kind, kinds.kind_of(value))
            if common is not None:
                return _loosened(common, kind)
            how = _named(name, _difference_of_kinds(kind, value))
            reason = f"{_spelled(whole)} is {how}"
        elif isinstance(value, Unset):
            reason = value.reason
        else:
            now = forms.read(after, whole)
            reason = f"{_spelled(whole)} becomes {describe(now or Unset(''))} in the loop"
        raise self._evaluator.error(assigned(body)[whole], reason)

    def leave_loop(
        self, node: ast.For | ast.While, after: Mapping[str, Variable], targets: Collection[str] = ()
    ) -> None:
        """Unset the names that a loop has assigned. Then `set_values` sets the names that it carries."""
        begun = {name for name in after if _is_anything(self.now, name)}
        for name, value in after.items():
            if forms.are_same(value, self.now.get(name)):
                continue
            if name in begun:
                self.now[name] = value
                continue
            if name in targets:
                reason = f"'{name}' is the variable of the loop in line {node.lineno}, which may not run at all"
                self.now[name] = Unset(f"{reason}: keep it in another variable, which has a value before the loop")
            else:
                reason = f"'{name}' is assigned only in the loop of line {node.lineno}, which may not run at all"
                self.now[name] = Unset(f"{reason}: assign it before the loop")

    def _is_read(self, name: str) -> bool:
        whole = forms.base(name)
        return whole in self._read or not whole.isidentifier()


def ends(variables: Mapping[str, Variable]) -> bool:
    """Whether a path has raised an exception."""
    return _END in variables


def _is_known(value: Variable) -> bool:
    """Whether a value needs no code."""
    return isinstance(value, Form | Static | Unset) or (isinstance(value, Number) and value.constant is not None)


_ENDS = "an array that the loop makes, and that ends with the iteration: make it before, and assign b[:] = ..."


def _is_anything(variables: Mapping[str, Variable], name: str) -> bool:
    """Whether a variable, or that of which it is a part, may be anything."""
    return isinstance(variables.get(name), Anything) or isinstance(variables.get(_whole(name)), Anything)


def _whole(name: str) -> str:
    """The variable of which this one is a part, also of those that tell what variables were when paths left."""
    if not _is_of_leaving(name):
        return forms.base(name)
    return _on_leaving(forms.base(name.removeprefix(".").removesuffix(_LEFT)))


def _on_leaving(name: str) -> str:
    return f".{name}{_LEFT}"


def _is_of_leaving(name: str) -> bool:
    return name.endswith(_LEFT)


def _constant(value: Variable) -> object:
    return value.constant if isinstance(value, Number) else None


def assigned(statements: Iterable[ast.AST]) -> dict[str, ast.AST]:
    """The names that statements assign, and the place of the first assignment."""
    names: dict[str, ast.AST] = {}
    for statement in statements:
        ahead = [statement]
        while ahead:
            node = ahead.pop()
            if isinstance(node, ast.FunctionDef):
                names.setdefault(node.name, node)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.setdefault(node.id, node)
            elif not isinstance(node, ast.Lambda):
                ahead += reversed(list(ast.iter_child_nodes(node)))
    return names


def own_names(function: ast.FunctionDef | ast.Lambda) -> frozenset[str]:
    """The local names of a function: its parameters, and the names that it assigns."""
    arguments = function.args
    parameters = {each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
    return frozenset(parameters.union(assigned(function.body if isinstance(function, ast.FunctionDef) else [])))


def read_outside(function: ast.FunctionDef | ast.Lambda) -> set[str]:
    """The names in a function that are not local."""
    return {node.id for node in ast.walk(function) if isinstance(node, ast.Name)} - own_names(function)


def _spelled(name: str) -> str:
    """A variable in an error text. The compiler's own variables are bools, which never disagree, or the result."""
    name = name.removeprefix(".").removesuffix("@left") if _is_of_leaving(name) else name
    return f"'{name}'" if name.isidentifier() else "the returned value"


def _named(name: str, reason: str) -> str:
    """A reason that tells how to assign elements, with the name of the variable."""
    return reason.replace("b[:]", f"{name}[:]") if name.isidentifier() else reason


def _loosened(kind: AnyKind, before: AnyKind) -> AnyKind:
    """The kind of a loop's variable that was `before`. A bound that falls becomes 0, then None for good."""
    if not isinstance(kind, Kind) or not isinstance(before, Kind) or kind.least == before.least:
        return kind
    return replace(kind, least=0 if kind.least is not None and kind.least >= 0 else None)


def _no_literal(kind: AnyKind) -> AnyKind:
    return replace(kind, literals=None) if isinstance(kind, Kind) else kind


def _difference(a: Number | Array, b: Number | Array) -> str:
    """For errors: why two values have nothing in common."""
    if isinstance(a, Number) and isinstance(b, Number):
        return disagreement(a.kind, b.kind)
    return _difference_of_arrays(a, b)


def _difference_of_kinds(kind: AnyKind, value: Number | Array) -> str:
    if isinstance(kind, Kind) and isinstance(value, Number):
        return disagreement(kind, value.kind, "before the loop", "after an iteration")
    if isinstance(kind, Kind) != isinstance(value, Number):
        return (
            f"{describe(value)} after an iteration, and another value before the loop: use another name, or return it"
        )
    return _ENDS


def _difference_of_arrays(a: Number | Array, b: Number | Array) -> str:
    if not isinstance(a, Array) or not isinstance(b, Array):
        return f"{describe(a)} on one path and {describe(b)} on the other"
    if a.element is not b.element or len(a.sizes) != len(b.sizes):
        kinds = [f"{array.element} with {dimensions(len(array.sizes))}" for array in (a, b)]
        return f"an array of {kinds[0]} on one path and of {kinds[1]} on the other"
    return "an array that one path makes, and that ends with it: make it before, and assign b[:] = ..."


def _is_none(value: Variable) -> bool:
    return isinstance(value, Static) and value.object is None


def _described(value: Variable) -> str:
    if not isinstance(value, Form):
        return describe(value)
    return f"a tuple of {len(value.parts)}" if value.type is None else f"a {value.type.__name__}"


def _why_unset(name: str, node: ast.stmt, a: Variable | None, b: Variable | None) -> str:
    """Why a name cannot be read after an `if` whose branches leave it with the values `a` and `b`."""
    for value in (a, b):
        if isinstance(value, Unset):
            return value.reason
    if not forms.base(name).isidentifier():  # the compiler's own: what is returned
        if isinstance(a, Static) and isinstance(b, Static):
            return f"what is returned is {describe(a)} on one path and {describe(b)} on another: return numbers"
        if a is not None and b is not None and not (_is_none(a) or _is_none(b)):
            return f"what is returned is {_described(a)} on one path and {_described(b)} on another: return one kind"
        return "one path through the kernel returns a value, and another does not: return one on every path"
    if a is None or b is None:
        return (
            f"'{name}' is assigned in only one branch of the 'if' in line {node.lineno}: "
            "assign it before the 'if', or in both branches"
        )
    return f"'{name}' does not stand for the same in both branches of the 'if' in line {node.lineno}"
