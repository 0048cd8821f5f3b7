"""What the code of a function is compiled with: its variables, what it sees around it, and where its errors point."""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

from xdsl.dialects.arith import CmpiOp, IndexCastOp
from xdsl.dialects.builtin import i64
from xdsl.dialects.memref import DimOp
from xdsl.ir import SSAValue

from hpacml.abi.records import SizeSite
from hpacml.errors import CompileError, DirectiveError
from hpacml.frontend.python import outside
from hpacml.frontend.python.annotations import ArrayParameter, Parameter
from hpacml.frontend.python.emitter import Emitter
from hpacml.frontend.python.forms import Variable
from hpacml.frontend.python.number import Number
from hpacml.frontend.python.outside import MISSING, NotesOfFunction
from hpacml.frontend.python.scalars import Arithmetic
from hpacml.frontend.python.sizes import Identities
from hpacml.frontend.python.source import Source
from hpacml.frontend.python.types import BOOL, INT, NeedsValue, Refusal
from hpacml.frontend.python.values import Array, Elements, Opaque, Static, Tuple, Value, as_tuple, describe
from hpacml.runtime import checks


@dataclass(frozen=True, eq=False)
class Function:
    """A function that is compiled."""

    source: Source
    surroundings: Mapping[str, Any]
    """The names outside of the function that it sees, and what they stand for."""
    own_names: frozenset[str]
    """Its parameters, and the names that it assigns."""
    notes: NotesOfFunction
    """Takes what it has from outside."""
    parameters: Sequence[Parameter] = ()
    """The annotated parameters of a kernel."""


class Ended(Exception):
    """What is called in an expression raises an exception on every path, as is known when the kernel is compiled."""


class Context(ABC):
    """The variables of a function, and the ways to what its expressions stand for. Errors point into `source`."""

    def __init__(self, function: Function, emitter: Emitter, outer: Context | None = None):
        self.source = function.source
        self.emit = emitter
        self.numbers = Arithmetic(emitter)
        self.variables: dict[str, Variable] = {}
        self.written: set[int] = set()
        """The positions of the parameters that the kernel writes."""
        self.identities = Identities()
        self.meanings: dict[str, tuple[ast.expr, object]] = {}
        """The names outside of the kernel whose meanings are compiled, and these, by their spellings."""
        self.has_regions = False
        self.in_parallel_loop = False
        self.checks_bounds = "bounds" in checks.chosen()
        self.surroundings = function.surroundings
        self.notes = function.notes
        self.own_names = function.own_names
        self.dimensions = {
            dim: f": in Python an annotation defines no variable, so write {dim} = {p.name}.shape[{axis}]"
            for p in function.parameters
            if isinstance(p, ArrayParameter)
            for axis, dim in reversed(list(enumerate(p.dims)))
        }
        self.outer = outer
        """The function around this one in a kernel, whose variables it sees, too."""
        self._directive: str | None = None

    def share(self, caller: Context) -> None:
        """Work as a part of the code of another function."""
        self.numbers, self.written, self.identities = caller.numbers, caller.written, caller.identities
        self.in_parallel_loop = caller.in_parallel_loop

    # -- errors ----------------------------------------------------------------------------------

    def error(self, node: ast.AST, message: str) -> CompileError | DirectiveError:
        """An error at `node`, in the file or in the directive that is being compiled."""
        if self._directive is None:
            return self.source.error(node, message)
        begin = getattr(node, "col_offset", 0)
        return DirectiveError(message, self._directive, begin, getattr(node, "end_col_offset", begin))

    @contextmanager
    def inside(self, directive: str) -> Generator[None]:
        """Let errors point into this directive."""
        self._directive = directive
        try:
            yield
        finally:
            self._directive = None

    @contextmanager
    def at(self, node: ast.AST) -> Generator[None]:
        """Let refusals become errors at `node`."""
        try:
            yield
        except Refusal as refusal:
            raise self.error(node, str(refusal)) from None
        except NeedsValue as need:
            need.error = need.error or partial(self.error, node)
            raise

    # -- values by what they are used for --------------------------------------------------------

    @abstractmethod
    def evaluate(self, node: ast.expr) -> Value:
        """The value of an expression. Raises `Refusal`."""
        ...

    def value(self, node: ast.expr) -> Value:
        """The value of an expression. Raises `CompileError`."""
        with self.at(node):
            return self.evaluate(node)

    def number(self, node: ast.expr) -> Number:
        return self.as_number(self.value(node), node)

    def as_number(self, value: Value, node: ast.AST) -> Number:
        """The value of an expression, which must be a number."""
        if isinstance(value, Opaque):
            raise self.error(
                node, f"'{value.name}' is not part of the compiled code: only model(...) and database(...) can use it"
            )
        if not isinstance(value, Number):
            raise self.error(node, f"this is {describe(value)}, where a number is needed")
        return value

    def truth(self, node: ast.expr) -> Number:
        """The value of a condition, a bool."""
        return self.truth_of(self.value(node), node)

    def truth_of(self, value: Value, node: ast.AST) -> Number:
        """Whether a value is true, a bool."""
        match as_tuple(value):
            case Number() as number:
                with self.at(node):
                    return self.numbers.truth(number)
            case Opaque(name=name):
                raise NeedsValue(name)
            case Static(object=found):
                return Number(BOOL, bool(found))
            case Tuple(items=items):
                return Number(BOOL, bool(items))
            case _:
                hint = ": write .any() or .all()" if isinstance(value, Array | Elements) else ""
                raise self.error(node, f"this is {describe(value)}, which is neither true nor false{hint}")

    def index(self, node: ast.expr, what: str) -> Number:
        """The value of an index, a size or a bound, an integer. `what` names it in errors."""
        number = self.number(node)
        with self.at(node):
            return self.numbers.integer(number, what)

    def size(self, array: Array, axis: int) -> Number:
        """`array.shape[axis]`."""
        known = array.sizes[axis]
        if known is not None:
            return Number(INT, known)
        return Number(INT, self.emit.value(DimOp(array.value, self.emit.index(axis))), bound=0)

    def are_equal(self, a: Number, b: Number) -> bool:
        """Whether two integers are known to be equal."""
        known = [each.constant if each.constant is not None else each.value for each in (a, b)]
        x, y = (self.identities.number(each) if isinstance(each, SSAValue) else each for each in known)
        return x == y

    def note_write(self, node: ast.AST, array: Array) -> None:
        """Note that an array is written. Raises `CompileError` for a constant."""
        if array.is_constant:
            raise self.error(
                node, "this array is a constant of the kernel: write np.copy(...) of it to change elements"
            )
        self.written |= array.parameters

    def count(self, sizes: Sequence[Number]) -> Number:
        """The number of elements of an array of these sizes."""
        return reduce(partial(self.numbers.binary, ast.Mult), sizes, Number(INT, 1))

    def require_equal(self, node: ast.AST, given: Number, wanted: Number, text: str) -> None:
        """Have the code check that two sizes are equal. Raises `Refusal` if they are known to differ."""
        if self.are_equal(given, wanted):
            return
        if given.constant is not None and wanted.constant is not None:
            raise Refusal(text.format(given=given.constant, wanted=wanted.constant))
        sizes = [self.numbers.ssa(size) for size in (given, wanted)]
        self.refuse_if(node, self.emit.value(CmpiOp(sizes[0], sizes[1], "ne")), text, sizes)

    def refuse_if(self, node: ast.AST, wrong: SSAValue, text: str, numbers: Sequence[SSAValue]) -> None:
        """Have the code raise a `MapError` if `wrong`. The text has `{given}` and `{wanted}`, which are two numbers."""
        place = f"{self.source.file}:{getattr(node, 'lineno', self.source.first_line)}: "
        with self.emit.when(wrong):
            given = [self.emit.value(IndexCastOp(each, i64)) if each.type != i64 else each for each in numbers]
            self.emit.call_site(SizeSite(place.replace("{", "{{").replace("}", "}}") + text), given)

    def load(self, array: Array, indices: Sequence[SSAValue]) -> Number:
        return Number(array.element, self.emit.load(array.value, indices))

    def static(self, node: ast.expr) -> Any:
        """The Python object that `node` stands for when the kernel is compiled, `MISSING` if there is none."""
        if isinstance(outside.root(node), ast.Name) and self._is_outside(node):
            found = outside.look_up(node, self.surroundings)
            self.notes.add(node, found)
            return found
        match node:
            case ast.Name(id=name) if name in self.own_names:
                value = self.variables.get(name)
                return value.object if isinstance(value, Static) else MISSING
            case ast.Name() if self.outer is not None:
                return self.outer.static(node)
            case ast.Attribute(value=owner, attr=name):
                found = self.static(owner)
                return self._static_part(node) if found is MISSING else getattr(found, name, MISSING)
            case ast.Subscript(value=owner):
                found = self.static(owner)
                return self._static_part(node) if found is MISSING else self._static_item(found, node.slice)
            case _:
                return MISSING

    def _static_part(self, node: ast.Attribute | ast.Subscript) -> Any:
        """An object in a tuple or a bundle that is a variable, which has a variable for each of its parts."""
        root: ast.expr = node
        while isinstance(root, ast.Attribute | ast.Subscript):
            root = root.value
        if self.outer is not None and not (isinstance(root, ast.Name) and root.id in self.own_names):
            return self.outer._static_part(node)
        value = self.variables.get(ast.unparse(node))
        return value.object if isinstance(value, Static) else MISSING

    def _static_item(self, owner: Any, node: ast.expr) -> Any:
        """An item of a list, a tuple or a dictionary outside of the kernel, whose index or key is constant."""
        return outside.item(owner, node.value if isinstance(node, ast.Constant) else self.static(node))

    def meaning(self, node: ast.expr) -> Any:
        """The same for a function and the like, which is compiled as what it is: later, its name may mean another."""
        found = self.static(node)
        if found is not MISSING and self._is_outside(node):
            kept, meaning = node, found
            if isinstance(node, ast.Attribute) and self.static(node) is not found:  # a method, made at each look-up
                kept, meaning = node.value, self.static(node.value)
            self.meanings[ast.unparse(kept)] = kept, meaning
            self.notes.add_meaning(kept)
        return found

    def _is_outside(self, node: ast.expr) -> bool:
        """Whether all names in an expression are those of the module, or of functions around the kernel."""
        names = [each.id for each in ast.walk(node) if isinstance(each, ast.Name)]
        return not any(map(self.owns, names))

    def knows(self, name: str) -> bool:
        """Whether a name stands for anything."""
        return self.owns(name) or self.static(ast.Name(name, ast.Load())) is not MISSING

    def owns(self, name: str) -> bool:
        """Whether a name is a variable of this function, or of one of the kernel around it."""
        return name in self.own_names or (self.outer is not None and self.outer.owns(name))
