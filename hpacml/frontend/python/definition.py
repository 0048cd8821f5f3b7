"""The Python function of a kernel, before it is compiled."""

from __future__ import annotations

import builtins
import inspect
from collections.abc import Callable
from functools import cached_property
from typing import Any, Final

from hpacml.frontend.python.annotations import Parameter, parameters_of
from hpacml.frontend.python.source import Source


class Definition:
    """Source, parameters and surroundings of a function. The properties raise `CompileError`."""

    def __init__(self, function: Callable[..., Any]):
        self.function: Final = function

    @property
    def name(self) -> str:
        return self.function.__name__

    @cached_property
    def source(self) -> Source:
        return Source.of(self.function)

    @cached_property
    def signature(self) -> inspect.Signature:
        return inspect.signature(self.function)

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        return parameters_of(self.function, self.source, self.surroundings)

    @property
    def surroundings(self) -> dict[str, Any]:
        """The names outside of the function that it sees: built-in, of its module, of the functions around it."""
        names = {**vars(builtins), **self.function.__globals__}
        for name, cell in zip(self.function.__code__.co_freevars, self.function.__closure__ or (), strict=True):
            try:
                names[name] = cell.cell_contents
            except ValueError:  # assigned later
                names.pop(name, None)
        return names
