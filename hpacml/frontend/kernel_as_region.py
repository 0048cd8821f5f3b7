"""Kernels that take part in derivatives: those whose region is all they do, as regions in Python.

Compiled code has no derivatives. A kernel that only makes names before its region has the same inference as a region
whose arguments are these names.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from functools import cached_property
from typing import Any, NamedTuple

from hpacml.errors import CompileError, MapError
from hpacml.frontend.plain import approx
from hpacml.frontend.python.definition import Definition
from hpacml.frontend.region import Region
from hpacml.runtime.differentiation import wanted


class _Form(NamedTuple):
    """A kernel that makes names, declares maps and has a region at its end."""

    names: Callable[..., dict[str, Any]]
    """Gives all names by the arguments."""
    outside: tuple[str, ...]
    """Integers that maps use, and that stand outside of the function."""
    region: Region[..., None]


class KernelAsRegion:
    """Calls a kernel where derivatives are recorded."""

    def __init__(self, definition: Definition) -> None:
        self._definition = definition

    def __call__(self, args: Sequence[Any], kwargs: Mapping[str, Any], compiled: Callable[[], Any]) -> Any:
        """Infer, recorded; what has no derivatives runs as `compiled`.

        Raises `CompileError` for a kernel that does more than its region, and `MapError` if other code than inference
        would take tensors whose derivatives are recorded.
        """
        values = dict(zip(self._definition.signature.parameters, self._definition.bind(args, kwargs), strict=True))
        if (form := self._form) is not None:
            names = form.names(**values)
            names |= {name: self._definition.surroundings[name] for name in form.outside}
            if form.region.infers(**names):
                form.region(**names)
                return None
        if wanted(values.values()):
            name = self._definition.name
            raise MapError(
                f"a tensor given to the kernel {name} needs gradients, and compiled code has none: use {name}.py_func "
                "where no model runs, pass its .detach(), or call the kernel outside of hpacml.differentiable()"
            )
        return compiled()

    @cached_property
    def _form(self) -> _Form | None:
        """None for a kernel without a region."""
        function = self._definition.source.function
        regions = [node for node in ast.walk(function) if isinstance(node, ast.With)]
        if not regions or isinstance(function, ast.Lambda):
            return None
        *before, last = function.body
        if last is not regions[0] or len(regions) > 1:
            raise self._refusal(last, "something follows its region, or is around it")
        texts: list[str] = []
        assigned: list[ast.stmt] = []
        for statement in before:
            match statement:
                case ast.Expr(ast.Constant()):
                    pass
                case ast.Expr(ast.Call() as call) if self._is_approx(call):
                    texts.append(self._text(call))
                case ast.Assign() | ast.AnnAssign(value=ast.expr()) if all(map(_is_name, _targets(statement))):
                    assigned.append(statement)
                case _:
                    raise self._refusal(statement, "this does more than to make a name")
        call = regions[0].items[0].context_expr
        if not isinstance(call, ast.Call) or not self._is_approx(call):
            raise self._refusal(call, "this is no region")
        directives = "\n".join([*texts, self._text(call)])
        names = _names(function, assigned, self._definition.surroundings)
        known = [*self._definition.signature.parameters]
        known += [each.id for statement in assigned for target in _targets(statement) for each in _leaves(target)]
        outside = tuple(
            name
            for name in dict.fromkeys(re.findall(r"[^\W\d]\w*", directives))
            if name not in known and type(self._definition.surroundings.get(name)) is int
        )
        arguments = ", ".join(dict.fromkeys([*known, *outside]))
        stand_in = eval(f"lambda {arguments}: None", dict(self._definition.surroundings))  # which sees what it does
        stand_in.__name__ = self._definition.name
        stand_in.__qualname__, stand_in.__module__ = (
            self._definition.function.__qualname__,
            self._definition.function.__module__,
        )
        return _Form(names, outside, Region(stand_in, directives, on_error="raise"))

    def _is_approx(self, call: ast.Call) -> bool:
        surroundings = self._definition.surroundings
        try:
            return eval(ast.unparse(call.func), surroundings) is approx
        except (NameError, AttributeError):
            return False

    def _text(self, call: ast.Call) -> str:
        if any(keyword.arg == "unchecked" for keyword in call.keywords):
            raise self._refusal(call, "unchecked maps of a kernel are none of a region")
        return str(eval(ast.unparse(call.args[0]), self._definition.surroundings))

    def _refusal(self, node: ast.AST, why: str) -> CompileError:
        name = self._definition.name
        return self._definition.source.error(
            node,
            f"the kernel {name} cannot take part in derivatives, which compiled code lacks: {why}. Inside of "
            "hpacml.differentiable() a kernel makes names, declares maps, and ends with its one region; write the rest "
            "with Torch, or the region with @hpacml.region",
        )


def _targets(statement: ast.stmt) -> list[ast.expr]:
    return statement.targets if isinstance(statement, ast.Assign) else [statement.target]  # pyright: ignore


def _is_name(target: ast.expr) -> bool:
    return isinstance(target, ast.Name) or (isinstance(target, ast.Tuple) and all(map(_is_name, target.elts)))


def _leaves(target: ast.expr) -> Iterator[ast.Name]:
    return (node for node in ast.walk(target) if isinstance(node, ast.Name))


def _names(
    function: ast.FunctionDef, assigned: Sequence[ast.stmt], surroundings: Mapping[str, Any]
) -> Callable[..., dict[str, Any]]:
    """A function that gives its arguments, and the names that statements make of them."""
    arguments = deepcopy(function.args)
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        argument.annotation = None
    arguments.args, arguments.posonlyargs = [*arguments.posonlyargs, *arguments.args], []
    arguments.defaults, arguments.kw_defaults = [], [None] * len(arguments.kwonlyargs)
    returned = ast.Return(ast.Call(ast.Name("locals", ast.Load()), [], []))
    maker = ast.FunctionDef(function.name, arguments, [*assigned, returned], [])
    module = ast.fix_missing_locations(ast.Module([maker], []))
    scope = dict(surroundings)
    exec(compile(module, "<names of a kernel>", "exec"), scope)
    return scope[function.name]
