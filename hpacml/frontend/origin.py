"""Where a function is defined, and what it does, as databases record it to tell functions of one name apart."""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Callable, Iterator
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, cast

from hpacml import environment
from hpacml.runtime.databases.origins import Origin, Source

_INSTALLED = ("site-packages", "dist-packages")


def origin_of(function: Callable[..., Any], labelled: bool = False) -> Origin:
    """`module:qualified name` of a function, and its file and code. That of a lambda has its line, as all have a name.

    It is to be asked for when the function is called, which is when the functions are there that it calls.
    """
    line = f" of line {function.__code__.co_firstlineno}" if function.__name__ == "<lambda>" else ""
    plain = inspect.unwrap(function)
    source = Source(_file(plain), MAGIC_NUMBER.hex(), _digest(plain))
    return Origin(f"{_module(function)}:{function.__qualname__}{line}", labelled, (source,))


def _module(function: Callable[..., Any]) -> str:
    """The module of a function. That of the main program is the name that others import it by.

    So it does not matter whether a script is run or imported, and which process runs a function that cloudpickle has
    taken there. A notebook has the name of its file, if Jupyter tells it.
    """
    names: dict[str, Any] = inspect.unwrap(function).__globals__
    module: str | None = function.__module__
    if module not in ("__main__", "__mp_main__"):
        return str(module)
    file = names.get("__file__") or _notebook()
    if not isinstance(file, str):
        return "__main__"
    path = Path(file)
    if package := names.get("__package__"):
        return f"{package}.{path.stem}"
    return path.parent.name if path.stem == "__main__" else path.stem


def _file(function: Callable[..., Any]) -> str:
    """The file of a function; "" if it has none, as what Python reads by `-c` or from a terminal.

    That of an installed package is the same in every environment.
    """
    names: dict[str, Any] = function.__globals__
    file = names.get("__file__") or names.get("__vsc_ipynb_file__") or _notebook()
    if not isinstance(file, str) or file.startswith("<"):  # "<stdin>"
        return ""
    path = Path(os.path.realpath(file))
    installed = [path.parts.index(name) for name in _INSTALLED if name in path.parts]
    return str(Path(*path.parts[min(installed) :])) if installed else str(path)


def _notebook() -> str | None:
    session = environment.JPY_SESSION_NAME.text()
    return session if session and session.endswith(".ipynb") else None


def _digest(function: Callable[..., Any]) -> str:
    """A digest of the code of a function, and of functions and classes of its module that it names, and so on.

    Neither comments, layout nor the place in the file matter, nor other values of the module, which runs may vary.
    """
    parts = [text for each in _family(cast(FunctionType, function)) for text in (each.__qualname__, *_texts(each))]
    return hashlib.sha256("\0".join(parts).encode(errors="backslashreplace")).hexdigest()[:32]


def _family(function: FunctionType) -> list[FunctionType]:
    """The function itself, then those of its module that it needs, in an order that does not depend on the run."""
    found, ahead = {function.__code__: function}, [function]
    while ahead:
        each = ahead.pop()
        outer = each.__qualname__.partition(".")[0]  # the class of a method
        for name in sorted({outer, *_names(each.__code__)}):
            for callee in _functions(each.__globals__.get(name)):
                if callee.__globals__ is function.__globals__ and callee.__code__ not in found:
                    found[callee.__code__] = callee
                    ahead.append(callee)
    return list(found.values())


def _functions(value: object) -> Iterator[FunctionType]:
    """The functions that a value is or, as a class, has; without what is wrapped around them."""
    for member in vars(value).values() if isinstance(value, type) else (value,):
        each: Any = member
        if isinstance(each, staticmethod | classmethod):
            each = cast(Any, each).__func__
        elif isinstance(each, property):
            each = each.fget
        while (inner := inspect.getattr_static(each, "__wrapped__", None)) is not None:
            each = inner
        if isinstance(each, FunctionType):
            yield each


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _texts(function: FunctionType) -> tuple[str, ...]:
    defaults = (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
    plain = [value for value in defaults if isinstance(value, bool | int | float | complex | str)]
    return _text(function.__code__), *map(repr, plain)


def _text(constant: object) -> str:
    """What code or one of its constants is, without its place."""
    if isinstance(constant, CodeType):
        names = (constant.co_names, constant.co_varnames, constant.co_freevars, constant.co_cellvars)
        return f"{constant.co_name}{constant.co_code.hex()}{names}{[*map(_text, constant.co_consts)]}"
    if isinstance(constant, tuple):
        return str([*map(_text, cast("tuple[object, ...]", constant))])
    if isinstance(constant, frozenset):
        return str(sorted(map(_text, cast("frozenset[object]", constant))))
    return repr(constant)
