"""Puts the code of plain functions, of functions inside of kernels and of lambdas in the place of their calls."""

from __future__ import annotations

import ast
from collections.abc import Callable
from types import FunctionType

from hpacml.frontend.python import elementwise, forms, jumps
from hpacml.frontend.python.arguments import bound_values
from hpacml.frontend.python.constants import constant_of
from hpacml.frontend.python.context import Ended
from hpacml.frontend.python.definition import Definition
from hpacml.frontend.python.emitter import Emitter
from hpacml.frontend.python.evaluator import Evaluator
from hpacml.frontend.python.source import Source
from hpacml.frontend.python.types import Refusal
from hpacml.frontend.python.values import Inner, Unset, Value

Begin = Callable[[Source, Evaluator, "Inner | Definition"], tuple[Evaluator, Callable[[list[ast.stmt]], bool]]]
"""Makes the evaluator of a function that is called, and what compiles its statements, which may always raise."""


class Inlining:
    """Compiles calls by the code of what they call. Raises `Refusal`, and `CompileError` in the callee's source."""

    def __init__(self, begin: Begin):
        self._begin = begin
        self._open: list[ast.AST] = []
        """The functions whose code is being compiled, each called by the one before."""
        self._plain: dict[FunctionType, Definition] = {}

    def call(
        self, evaluator: Evaluator, callee: FunctionType | Inner, node: ast.Call, owner: Value | None = None
    ) -> Value | None:
        """The result of a call, None if the function returns nothing. `owner` is the `self` of a method."""
        if isinstance(callee, FunctionType) and callee.__name__ == "<lambda>":
            raise Refusal(f"'{ast.unparse(node.func)}' is a lambda outside of the kernel: write it with 'def'")
        definition = callee if isinstance(callee, Inner) else self._definition(callee)
        source = definition.source
        if source.function in self._open:
            raise Refusal(f"'{_name(source)}' calls itself, which a kernel cannot: write a loop")
        if isinstance(definition, Definition):
            defaults = _defaults(definition, evaluator.emit)
        else:
            defaults = definition.defaults
        arguments = bound_values(evaluator, source.function.args, defaults, node, owner)
        inner, statements = self._begin(source, evaluator, definition)
        for name, value in arguments.items():
            for part, each in forms.write(inner.variables, name, value):
                inner.variables[part] = each
        self._open.append(source.function)
        try:
            result = _run(inner, source.function, statements)
        finally:
            self._open.pop()
        evaluator.has_regions |= inner.has_regions
        return result

    def _definition(self, function: FunctionType) -> Definition:
        if function not in self._plain:
            self._plain[function] = Definition(function)
        return self._plain[function]


def _run(
    inner: Evaluator, function: ast.FunctionDef | ast.Lambda, statements: Callable[[list[ast.stmt]], bool]
) -> Value | None:
    if isinstance(function, ast.Lambda):
        return elementwise.computed(inner, inner.value(function.body))
    if statements(jumps.function_body(function.body)):
        raise Ended
    result = forms.read(inner.variables, jumps.RESULT)
    if isinstance(result, Unset):
        raise inner.source.error(function, result.reason)
    return result


def _name(source: Source) -> str:
    return source.function.name if isinstance(source.function, ast.FunctionDef) else "lambda"


def _defaults(definition: Definition, emit: Emitter) -> dict[str, Value]:
    parameters = definition.signature.parameters.values()
    return {p.name: constant_of(p.default, emit) for p in parameters if p.default is not p.empty}
