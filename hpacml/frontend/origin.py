"""Where a function is defined, as databases record it to tell functions of one name apart."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hpacml import environment


def origin_of(function: Callable[..., Any], name: str | None = None) -> str:
    """`module:qualified name` of a function. That of a lambda has its line, since all lambdas have one name."""
    line = f" of line {function.__code__.co_firstlineno}" if function.__name__ == "<lambda>" else ""
    return f"{_module(function)}:{name or function.__qualname__}{line}"


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


def _notebook() -> str | None:
    session = environment.JPY_SESSION_NAME.text()
    return session if session and session.endswith(".ipynb") else None
