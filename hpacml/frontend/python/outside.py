"""What the code of a kernel takes from outside of its text, so that a later process can tell whether that is the same.

A fact is an expression of a function, such as `np.sqrt` or `N`, and what it stood for. Who compiles notes each of them,
in order: compilation is a function of the text and of the facts, so that equal ones lead to equal code. What they stand
for is compared by texts that say all of it. Of what has no such text, `Unknown` is raised, and nothing is remembered.
"""

from __future__ import annotations

import ast
import hashlib
import linecache
import struct
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType, NoneType
from typing import Any, NamedTuple, cast

import numpy as np

from hpacml.errors import HpacmlError
from hpacml.frontend.python.annotations import (
    ArrayParameter,
    OpaqueParameter,
    Parameter,
    ScalarParameter,
)
from hpacml.frontend.python.definition import Definition
from hpacml.frontend.python.source import code_key, surroundings_of

MISSING = object()
"""Stands for what is not there."""

_VERSIONED = ("builtins", "math", "cmath", "operator", "numpy", "hpacml")
"""The modules whose contents a version tells, which is a part of all keys."""

_MOST_BYTES = 1 << 20
"""The largest array that is compared."""


class Unknown(Exception):
    """There is no text that says all that an object is."""


class Fact(NamedTuple):
    """An expression of a function: of the kernel itself, or of one that the fact of number `function` stands for."""

    function: int | None
    spelled: str


class Notes:
    """The facts of one kernel, while it is compiled."""

    def __init__(self, kernel: Callable[..., Any]) -> None:
        self.known: dict[Fact, str] = {}
        """The facts, and the texts of what they stood for."""
        self.meanings: dict[Fact, None] = {}
        """Those that calls must find unchanged."""
        self.is_complete = True
        """Whether all that was taken from outside is known."""
        self._functions: dict[object, int | None] = {kernel: None}

    def of(self, function: Callable[..., Any]) -> NotesOfFunction:
        """The notes of a function that is compiled, which an expression of another one stands for."""
        if function not in self._functions:
            self.is_complete = False
        return NotesOfFunction(self, self._functions.get(function))

    def add(self, fact: Fact, found: object) -> None:
        if fact in self.known:
            return
        try:
            text = text_of(found)
        except (Unknown, HpacmlError):  # of a kernel that cannot be compiled
            self.is_complete = False
            return
        self.known[fact] = text
        if (function := _function_of(found)) is not None:
            self._functions.setdefault(function, len(self.known) - 1)


class NotesOfFunction(NamedTuple):
    """The facts of one function."""

    notes: Notes
    function: int | None

    def add(self, node: ast.expr, found: object) -> None:
        """Note what an expression outside of the kernel stands for, `MISSING` if for nothing."""
        self.notes.add(Fact(self.function, ast.unparse(node)), found)

    def add_meaning(self, node: ast.expr) -> None:
        """Note that calls must find this expression unchanged."""
        self.notes.meanings[Fact(self.function, ast.unparse(node))] = None


def look_up(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """What a name, an attribute or a subscript stands for among these names, `MISSING` if for nothing."""
    match node:
        case ast.Name(id=name):
            return names.get(name, MISSING)
        case ast.Attribute(value=owner, attr=name):
            found = look_up(owner, names)
            return MISSING if found is MISSING else getattr(found, name, MISSING)
        case ast.Subscript(value=owner, slice=index):
            found = look_up(owner, names)
            key = index.value if isinstance(index, ast.Constant) else look_up(index, names)
            return MISSING if found is MISSING else item(found, key)
        case _:
            return MISSING


def item(owner: Any, key: Any) -> Any:
    """An item of a list, a tuple or a dictionary, `MISSING` of anything else."""
    from enum import Enum

    if not isinstance(owner, list | tuple | dict) or not isinstance(key, int | str | Enum):
        return MISSING
    container = cast(Any, owner)
    try:
        return container[key]
    except (LookupError, TypeError):
        return MISSING


def root(node: ast.expr) -> ast.expr:
    """The expression of whose attributes and items another one is."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node


class Found(NamedTuple):
    """What facts stand for now."""

    texts: list[str]
    objects: list[Any]
    functions: list[Callable[..., Any]]
    """The functions whose expressions they are."""


def find(kernel: Callable[..., Any], facts: Sequence[Fact]) -> Found | None:
    """What facts stand for now; None where one stands for something that has no text, or is no function any more."""
    texts: list[str] = []
    objects: list[Any] = []
    functions: list[Callable[..., Any]] = []
    names: dict[Callable[..., Any], Mapping[str, Any]] = {}
    for fact in facts:
        function = kernel if fact.function is None else _function_of(objects[fact.function])
        if function is None:
            return None
        if function not in names:
            names[function] = surroundings_of(function)
        try:
            found = look_up(ast.parse(fact.spelled, mode="eval").body, names[function])
            texts.append(text_of(found))
        except Exception:  # of a module's own __getattr__, for one; what is wrong, compilation will tell
            return None
        objects.append(found)
        functions.append(function)
    return Found(texts, objects, functions)


def _function_of(found: object) -> Callable[..., Any] | None:
    if isinstance(found, Definition):
        return found.function
    return found if isinstance(found, FunctionType) else None


# -- texts -------------------------------------------------------------------------------------------


def text_of(found: object) -> str:
    """A text that says all of an object that a kernel can depend on. Raises `Unknown`."""
    return repr(_parts(found, 0))


def _parts(found: object, depth: int) -> object:
    kind = type(found)  # not what it says to be
    if depth > 8:
        raise Unknown
    if found is MISSING:
        return "missing"
    if kind in (NoneType, bool, str):
        return kind.__name__, repr(found)
    if kind is int:
        return "int", hex(cast(int, found))
    if kind is float:
        return "float", struct.pack("<d", cast(float, found))
    if isinstance(found, np.generic) and kind.__module__ == "numpy":
        number = cast("np.generic[Any]", found)
        return "number", _plain_dtype(number.dtype), number.tobytes()
    if kind in (tuple, list):
        return kind.__name__, [_parts(each, depth + 1) for each in cast("Sequence[object]", found)]
    if kind is np.ndarray:
        return _array(cast("np.ndarray[Any, Any]", found))
    if isinstance(found, np.dtype):
        return "dtype", _plain_dtype(cast("np.dtype[Any]", found))
    if kind is ModuleType:
        return "module", cast(ModuleType, found).__name__
    if (name := _name_in_versioned(cast(object, found))) is not None:
        return "known", name
    if isinstance(found, Definition):
        return "kernel", kernel_parts(found)
    if kind is FunctionType:
        return "function", _function(cast(FunctionType, found), depth)
    raise Unknown


def _array(found: np.ndarray[Any, Any]) -> object:
    if found.nbytes > _MOST_BYTES:
        raise Unknown
    content = hashlib.sha256(np.ascontiguousarray(found).tobytes()).hexdigest()
    return "array", _plain_dtype(found.dtype), found.shape, found.flags.c_contiguous, content


def _plain_dtype(dtype: np.dtype[Any]) -> str:
    if dtype.kind not in "biuf" or dtype.metadata is not None:
        raise Unknown
    return dtype.str


def _name_in_versioned(found: object) -> str | None:
    """The name of a function or a type of a module that has not changed since it was written, None of anything else."""
    if not isinstance(found, type | BuiltinFunctionType | FunctionType | np.ufunc) and not _is_of_numpy(found):
        return None
    module = "numpy" if isinstance(found, np.ufunc) else getattr(found, "__module__", None)
    name = getattr(found, "__qualname__", None) or getattr(found, "__name__", None)
    if not isinstance(module, str) or not isinstance(name, str) or module.partition(".")[0] not in _VERSIONED:
        return None
    there: object = sys.modules.get(module)
    for part in name.split("."):
        there = getattr(there, part, None)
    return f"{module}:{name}" if there is found else None


def _is_of_numpy(found: object) -> bool:
    """Whether this is one of NumPy's functions that are no plain ones."""
    return found.__class__.__module__.partition(".")[0] == "numpy"


def _function(function: FunctionType, depth: int, lines: Sequence[str] = ()) -> object:
    """All of a function but what its names stand for, which are facts of their own."""
    defaults = (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).items())
    parts = [_parts(each, depth + 1) for each in defaults]
    code = function.__code__
    place = code.co_filename, code.co_firstlineno, lines or _lines_of(function)  # which errors tell
    return place, repr(code_key(code)), parts, function.__module__, function.__name__, function.__qualname__


def kernel_parts(kernel: Definition) -> object:
    """All of a kernel but what its names stand for. Raises `Unknown`, and `CompileError` where it is no kernel."""
    parameters = [_parameter(each) for each in kernel.parameters]
    lines = kernel.source.lines  # as they were when it was defined
    return _function(cast(FunctionType, kernel.function), 1, lines), parameters, repr(kernel.choices)


def _parameter(parameter: Parameter) -> object:
    match parameter:
        case ArrayParameter(name=name, element=element, dims=dims, optional=optional):
            return "array", name, element.name, dims, optional
        case ScalarParameter(name=name, type=type):
            return "number", name, type.name, type.weak
        case OpaqueParameter(name=name):
            return "opaque", name
        case _:  # the methods of its class are not known
            raise Unknown


def _lines_of(function: FunctionType) -> Sequence[str]:
    """The text of a function, which has what its code has not."""
    code = function.__code__
    last = max(_numbers_of_lines(code))
    return linecache.getlines(code.co_filename, function.__globals__)[code.co_firstlineno - 1 : last]


def _numbers_of_lines(code: CodeType) -> Iterator[int]:
    yield code.co_firstlineno
    yield from (line for _, _, line in code.co_lines() if line is not None)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _numbers_of_lines(constant)
