"""The arguments of calls in a kernel."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping, Sequence

from hpacml.frontend.python import elementwise
from hpacml.frontend.python.context import Context
from hpacml.frontend.python.types import Refusal
from hpacml.frontend.python.values import Value


def bound(context: Context, node: ast.Call, names: Sequence[str], needed: int) -> dict[str, ast.expr]:
    """The arguments of a call of a function with these parameters, by name. Raises `Refusal`."""
    check(context, node, names)
    given = dict(zip(names, node.args, strict=False))
    twice = [keyword.arg for keyword in node.keywords if keyword.arg in given]
    given |= {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg is not None}
    if twice or len(node.args) > len(names) or any(name not in given for name in names[:needed]):
        raise Refusal(f"write {ast.unparse(node.func)}({', '.join(names)})")
    return given


def check(context: Context, node: ast.Call, keywords: Sequence[str] = ()) -> None:
    """Refuse `*`, `**`, and keywords that the callee does not have."""
    for argument in node.args:
        if isinstance(argument, ast.Starred):
            raise context.error(argument, "'*' in a call cannot be compiled: write the arguments one by one")
    for keyword in node.keywords:
        if keyword.arg is None:
            raise context.error(keyword.value, "'**' in a call cannot be compiled: write the arguments one by one")
        if keyword.arg not in keywords:
            raise context.error(keyword, f"{ast.unparse(node.func)}(...) takes no '{keyword.arg}=' here")


def bound_values(
    context: Context,
    arguments: ast.arguments,
    defaults: Mapping[str, Value],
    node: ast.Call,
    owner: Value | None = None,
) -> dict[str, Value]:
    """The values of the parameters `arguments` of a function in a call of it. Raises `Refusal`.

    The first is `owner` in the call of a method.
    """
    signature, before = _signature(arguments, defaults), [] if owner is None else [ast.Constant(None)]
    check(context, node, tuple(signature.parameters))
    try:
        bound = signature.bind(*before, *node.args, **{k.arg or "": k.value for k in node.keywords})
    except TypeError as error:
        raise Refusal(f"{ast.unparse(node.func)}(): {error}") from None
    found = {each: owner for each in before if owner is not None} | evaluated(context, node)
    values = {name: elementwise.computed(context, found[each]) for name, each in bound.arguments.items()}
    return {**{name: value for name, value in defaults.items() if name not in values}, **values}


def evaluated(context: Context, node: ast.Call) -> dict[ast.expr, Value]:
    """The values of the arguments of a call by their expressions, computed in the order in which they are written."""
    given = [*node.args, *(keyword.value for keyword in node.keywords)]
    return dict(zip(given, elementwise.operands(context, *given), strict=True))


def _signature(arguments: ast.arguments, defaults: Mapping[str, Value]) -> inspect.Signature:
    for extra in (arguments.vararg, arguments.kwarg):
        if extra is not None:
            raise Refusal(f"'{extra.arg}' takes any number of arguments, which the functions of a kernel cannot")
    kinds = (
        (arguments.posonlyargs, inspect.Parameter.POSITIONAL_ONLY),
        (arguments.args, inspect.Parameter.POSITIONAL_OR_KEYWORD),
        (arguments.kwonlyargs, inspect.Parameter.KEYWORD_ONLY),
    )
    parameters = [
        inspect.Parameter(each.arg, kind, default=None if each.arg in defaults else inspect.Parameter.empty)
        for group, kind in kinds
        for each in group
    ]
    return inspect.Signature(parameters)


def defaults_in(context: Context, arguments: ast.arguments) -> dict[str, Value]:
    """The defaults of the parameters of a function inside of a kernel, at its definition."""
    positional = [*arguments.posonlyargs, *arguments.args]
    pairs = [*zip(positional[len(positional) - len(arguments.defaults) :], arguments.defaults, strict=True)]
    pairs += [
        (each, default)
        for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        if default is not None
    ]
    return {each.arg: elementwise.computed(context, context.value(default)) for each, default in pairs}
