"""What is called: the Python function of a kernel, before it is compiled, or a function of a module."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final

from hpacml.errors import CompileError
from hpacml.frontend.python.annotations import Parameter, parameters_of
from hpacml.frontend.python.source import Source, surroundings_of

NO_CONSTANTS: Mapping[str, object] = MappingProxyType({})
"""Arguments for which alone code is valid, by the names of their parameters: none."""

THERE = object()
"""Stands among them for anything but None."""


class Interface(ABC):
    """The name and the parameters of a function, by which calls bind and check their arguments."""

    @property
    @abstractmethod
    def name(self) -> str: ...

    @cached_property
    @abstractmethod
    def signature(self) -> inspect.Signature: ...

    @cached_property
    @abstractmethod
    def parameters(self) -> tuple[Parameter, ...]: ...

    @cached_property
    def positional(self) -> int | None:
        """The number of arguments that are bound as they come; None if a parameter is keyword-only."""
        parameters = self.signature.parameters.values()
        return None if any(p.kind is p.KEYWORD_ONLY for p in parameters) else len(parameters)

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Sequence[Any]:
        """The arguments of a call in the order of the parameters. Raises `TypeError` if they do not fit."""
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}(): {error}") from None
        bound.apply_defaults()
        return [bound.arguments[name] for name in self.signature.parameters]


class Definition(Interface):
    """Source, parameters and surroundings of a function. The properties raise `CompileError`."""

    def __init__(self, function: Callable[..., Any], read: Source | CompileError | None = None, fastmath: bool = False):
        self.function: Final = function
        self.fastmath: Final = fastmath
        self.read: Final = read or _read(function)
        """The source, or what was wrong with it, which is of interest only when the kernel is compiled."""

    @property
    def choices(self) -> tuple[object, ...]:
        """What decides its code beside the function, as objects that print alike only if they are."""
        return (self.fastmath,)

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def source(self) -> Source:
        if isinstance(self.read, CompileError):
            raise copy(self.read)  # each thread has its own, for the traceback in it
        return self.read

    @cached_property
    def signature(self) -> inspect.Signature:
        return inspect.signature(self.function)

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        return parameters_of(self.function, self.source, self.surroundings)

    @property
    def surroundings(self) -> dict[str, Any]:
        """The names outside of the function that it sees."""
        return surroundings_of(self.function)


def _read(function: Callable[..., Any]) -> Source | CompileError:
    try:
        return Source.of(function)
    except CompileError as error:
        return error.with_traceback(None)
