"""Variables to which the iterations of a loop add, or of which they take the greatest or least, in any order."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from xdsl.dialects.builtin import f32, f64

from hpacml.frontend.python.number import Kind
from hpacml.passes.common.block_reductions import Reduction

_EXTREMA: Mapping[Any, str] = {max: "max", min: "min", np.maximum: "maximum", np.minimum: "minimum"}
_COMPARED: Mapping[type[ast.cmpop], str] = {ast.Gt: "max", ast.GtE: "max", ast.Lt: "min", ast.LtE: "min"}
_OPPOSITE = {"max": "min", "min": "max"}


@dataclass(frozen=True)
class Step:
    """What a statement does to a variable: it adds to it (`add`), or `variable = function(variable, ...)`."""

    function: str
    is_first: bool = True
    """Whether the variable is the first argument: the order matters where floats are equal, or NaN."""

    def reduction(self, kind: Kind, fastmath: bool) -> Reduction | None:
        """The reduction that iterations are together, None if its result depends on their order."""
        type = kind.type
        if not type.is_float:
            return _OF_INTEGERS.get((self.function, type.kind))
        if type.ir not in (f32, f64) or not self.is_first:
            return None
        if self.function == "add":
            return "add" if fastmath else None
        return _OF_FLOATS[self.function]


_OF_FLOATS: Mapping[str, Reduction] = {
    "max": "python_max",
    "min": "python_min",
    "maximum": "numpy_maximum",
    "minimum": "numpy_minimum",
}
_OF_INTEGERS: Mapping[tuple[str, str], Reduction] = {
    **dict.fromkeys([("add", "i"), ("add", "u")], "add"),
    **dict.fromkeys([("max", "i"), ("maximum", "i")], "maxs"),
    **dict.fromkeys([("min", "i"), ("minimum", "i")], "mins"),
    **dict.fromkeys([("max", "u"), ("maximum", "u")], "maxu"),
    **dict.fromkeys([("min", "u"), ("minimum", "u")], "minu"),
}


def steps(
    statements: Sequence[ast.stmt], names: Collection[str], meaning: Callable[[ast.expr], Any]
) -> dict[str, Step | None] | None:
    """What statements do to variables, if all that they do with each is to accumulate: `x += ...`, `x = max(x, ...)`.

    A variable has None if its steps are of several kinds, or of one that depends on the order, such as `x *= ...`.
    """
    found: dict[str, set[Step | None]] = {}
    known: set[ast.AST] = set()
    nodes = [node for statement in statements for node in ast.walk(statement)]
    for node in nodes:
        step = _step(node, meaning)
        if step is not None and step[0].id in names:
            variable, reads, what = step
            found.setdefault(variable.id, set()).add(what)
            known |= {variable, *reads}
    if any(isinstance(node, ast.Name) and node.id in names and node not in known for node in nodes):
        return None
    return {name: kinds.copy().pop() if len(kinds) == 1 else None for name, kinds in found.items()}


def _step(node: ast.AST, meaning: Callable[[ast.expr], Any]) -> tuple[ast.Name, list[ast.Name], Step | None] | None:
    """A statement that accumulates: its variable, where else it reads that, and what it does."""
    match node:
        case ast.AugAssign(target=ast.Name() as variable, op=operator):
            return variable, [], Step("add") if isinstance(operator, ast.Add | ast.Sub) else None
        case ast.Assign(targets=[ast.Name() as variable], value=ast.Call(func=function, args=args, keywords=[])):
            reads = [arg for arg in args if isinstance(arg, ast.Name) and arg.id == variable.id]
            if len(reads) == 1 and len(args) > 1 and (name := _extremum(meaning(function))) is not None:
                return variable, reads, Step(name, reads[0] is args[0])
        case ast.If(
            test=ast.Compare(left=left, ops=[operator], comparators=[right]),
            body=[ast.Assign(targets=[ast.Name() as variable], value=value)],
            orelse=[],
        ) if (name := _COMPARED.get(type(operator))) is not None:
            is_strict = isinstance(operator, ast.Gt | ast.Lt)
            for read, new, what in ((right, left, name), (left, right, _OPPOSITE[name])):
                if isinstance(read, ast.Name) and read.id == variable.id and ast.dump(new) == ast.dump(value):
                    return variable, [read], Step(what, is_strict)
        case _:
            pass
    return None


def _extremum(function: Any) -> str | None:
    return next((name for each, name in _EXTREMA.items() if each is function), None)
