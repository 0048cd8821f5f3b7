"""The maps that the code of a kernel's regions tells, as directives to paste into the kernel."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, cast

from xdsl.dialects.builtin import ArrayAttr, StringAttr
from xdsl.ir import SSAValue

from hpacml.dialects.hpacml.control import DIMS, MlOp
from hpacml.directives.parser import parse
from hpacml.directives.syntax import MlDirective
from hpacml.errors import CompileError
from hpacml.frontend.python.evaluator import Evaluator
from hpacml.frontend.python.forms import Variable
from hpacml.frontend.python.number import Number, as_number
from hpacml.frontend.python.values import Array

if TYPE_CHECKING:
    from hpacml.passes.derivation.pasting import Directives


@dataclass(frozen=True)
class Region:
    """A region of a kernel, and what the names in front of it stand for."""

    directive: MlDirective
    op: MlOp
    variables: Mapping[str, Variable]
    place: str
    dims: Mapping[SSAValue, Sequence[int | str | None]]
    """The dimensions of arrays as annotations name them."""
    owns: Callable[[str], bool]
    """Whether a name is a variable of the function."""
    is_integer: Callable[[str], bool]
    """Whether a name that is no variable is that of an integer."""

    @property
    def text(self) -> str:
        """The region's directives, as calls of `approx`, behind a comment with its place.

        Raises `PassFailedException` for code that is not followed, and `CompileError` for numbers of which a map that
        is written has another type.
        """
        from hpacml.passes.derivation.pasting import Names, directives_of

        made = directives_of(self.op, Names(self._values(), self._is_taken, self._is_number, self._dims))
        self._require_weak(made)
        maps = cast(MlDirective, parse(f"ml({self.directive.mode}{_condition(self.directive)}) {made.mapped}"))
        given = replace(self.directive, inputs=maps.inputs, outputs=maps.outputs, inouts=maps.inouts)
        lines = [*made.statements, *(f'approx("tensor functor({functor})")' for functor in made.functors)]
        return "\n".join([f"# {self.place}", *lines, f'with approx("""{given.canonical}"""):'])

    @property
    def _dims(self) -> dict[SSAValue, list[str]]:
        return {array: [each if isinstance(each, str) else "" for each in dims] for array, dims in self.dims.items()}

    def tell_dims(self, arguments: Sequence[SSAValue]) -> None:
        """Tell the region which dimensions of the arguments of its function have one size."""
        names = [self._dims.get(argument, []) for argument in arguments]
        self.op.attributes[DIMS] = ArrayAttr([ArrayAttr(map(StringAttr, each)) for each in names])

    def _values(self) -> dict[SSAValue, str]:
        """The arrays and numbers by their names; of several names for one, the first that is a plain name."""
        found: dict[SSAValue, str] = {}
        for name, value in sorted(self.variables.items(), key=lambda item: not item[0].isidentifier()):
            if name.startswith(".") or "[" in name:
                continue
            if isinstance(value, Array | Number) and isinstance(value.value, SSAValue):
                found.setdefault(cast(SSAValue, value.value), name)
        return found

    def _is_taken(self, name: str) -> bool:
        return self.owns(name) or name in self.variables or self.is_integer(name)

    def _is_number(self, name: str) -> bool:
        value = self.variables.get(name)
        if value is None:
            return self.is_integer(name)
        return isinstance(value, Number) and value.type.kind in "iu"

    def _require_weak(self, made: Directives) -> None:
        """Refuse a number of a float type of its own: a map that is written makes tensors as wide as that."""
        for name, beside in made.numbers.items():
            value = self.variables[name]
            if not isinstance(value, Number) or value.type.kind != "f" or value.type.weak or beside is None:
                continue
            if value.type.element != beside:
                raise CompileError(
                    f"{self.place}: '{name}' is a number of the type {value.type}, which a map that is written would "
                    f"keep: make it a 'float', which takes that of the arrays beside it, {beside}"
                )


def _condition(directive: MlDirective) -> str:
    return "" if directive.condition is None else f": {directive.condition}"


def region(
    evaluator: Evaluator, line: int, directive: MlDirective, op: MlOp, variables: Mapping[str, Variable]
) -> Region:
    """A region, whose directive is on a line of the function that is compiled, behind these variables."""
    place, dims = f"{evaluator.source.file}:{line}", evaluator.identities.dims
    return Region(directive, op, variables, place, dims, evaluator.owns, partial(is_integer, evaluator))


def is_integer(evaluator: Evaluator, name: str) -> bool:
    """Whether a name that is no variable is that of an integer."""
    found = as_number(evaluator.static(ast.Name(name, ast.Load())))
    return found is not None and found.type.kind in "iu"
