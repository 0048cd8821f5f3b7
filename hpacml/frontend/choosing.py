"""Kernels of which some arguments choose the code: texts, arrays that may be None, and bundles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from functools import partial
from typing import Any

from hpacml.errors import CompileError, MapError
from hpacml.frontend import placement
from hpacml.frontend.dispatch import Dispatcher
from hpacml.frontend.python import bundles
from hpacml.frontend.python.annotations import ArrayParameter, BundleParameter, OpaqueParameter, Parameter, leaves
from hpacml.frontend.python.definition import NO_CONSTANTS, THERE, Definition
from hpacml.frontend.python.types import NeedsValue
from hpacml.frontend.remembered import code_of


def dispatcher(
    kernel: Definition, target: placement.Machine | None
) -> Callable[[Sequence[Any], Mapping[str, Any]], object]:
    """What calls the compiled code of a kernel."""
    parameters = kernel.parameters
    if any(isinstance(each, BundleParameter | OpaqueParameter) or _may_be_none(each) for each in parameters):
        return _Chooser(kernel, target)
    return Dispatcher(kernel, partial(code_of, kernel), target)


def _may_be_none(parameter: Parameter) -> bool:
    return isinstance(parameter, ArrayParameter) and parameter.optional


class _Chooser:
    """Calls the code that was compiled for the constants of a call."""

    def __init__(self, kernel: Definition, target: placement.Machine | None):
        self._kernel = kernel
        self._target: placement.Machine | None = target
        self._has_bundles = any(isinstance(parameter, BundleParameter) for parameter in kernel.parameters)
        known = list(leaves(kernel.parameters))
        self._positions = {parameter.name: position for position, parameter in enumerate(known)}
        self._optional = [position for position, parameter in enumerate(known) if _may_be_none(parameter)]
        self._chosen: dict[str, NeedsValue] = {}
        """The parameters whose values are constants of the code, and where it depends on them."""
        self._asked: list[str] = []
        """Those of which the code depends on whether they are None."""
        self._codes: dict[object, Dispatcher] = {}
        self._only = None if self._has_bundles or self._optional else self._dispatcher()
        """What calls the code as long as no argument chooses it."""

    def _dispatcher(self, constants: Mapping[str, object] = NO_CONSTANTS) -> Dispatcher:
        return Dispatcher(self._kernel, partial(code_of, self._kernel), self._target, constants)

    def __call__(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> object:
        """Run the kernel. Raises what `Dispatcher` does."""
        if (only := self._only) is not None:  # threads may change these attributes at any time
            try:
                return only(args, kwargs)
            except NeedsValue:
                self._only = None
        args = self._kernel.bind(args, kwargs)
        if self._has_bundles:
            args = [leaf for p, given in zip(self._kernel.parameters, args, strict=True) for leaf in _parts(p, given)]
        while True:
            try:
                return self._code(args).run(args)
            except NeedsValue as need:
                self._choose_by(need, args[self._positions[need.name]])

    def _code(self, args: Sequence[Any]) -> Dispatcher:
        chosen = {name: args[self._positions[name]] for name in self._chosen}
        absent = [position for position in self._optional if args[position] is None]
        there = {name: None if args[self._positions[name]] is None else THERE for name in self._asked}
        key = *absent, *there.items(), *((each.__class__, each) for each in chosen.values())
        try:
            found = self._codes.get(key)
        except TypeError:
            found = None
        if found is None:
            for need in self._chosen.values():
                self._require_constant(need, chosen[need.name])
            known = list(self._positions)
            constants = {**{known[k]: None for k in absent}, **there, **chosen}
            found = self._codes[key] = self._dispatcher(constants)
        return found

    def _choose_by(self, need: NeedsValue, value: object) -> None:
        if need.is_none:
            if need.name not in self._asked:
                self._asked = [*self._asked, need.name]
            return
        self._require_constant(need, value)
        if need.name not in self._chosen:
            self._chosen = {**self._chosen, need.name: need}

    def _require_constant(self, need: NeedsValue, value: object) -> None:
        if not isinstance(value, str | Enum | None):
            message = (
                f"what {self._kernel.name}() does depends on '{need.name}', a {value.__class__.__name__}: that can be "
                "a text, an enumeration or None, for each of which the kernel is compiled; annotate numbers as such, "
                "and ask of other objects only whether they are None, as in 'if x is None:'"
            )
            raise need.error(message) if need.error is not None else CompileError(message)


def _parts(parameter: Parameter, given: Any) -> Iterator[Any]:
    """The arguments in an argument. Raises `MapError` for a bundle of another class."""
    if not isinstance(parameter, BundleParameter):
        yield given
        return
    if given.__class__ is not parameter.type:  # a class that inherits from it may have other methods
        raise MapError(f"argument '{parameter.name}' takes a {parameter.type.__name__}, not a {type(given).__name__}")
    names = bundles.fields_of(parameter.type)
    for field, name in zip(parameter.fields, names, strict=True):
        yield from _parts(field, getattr(given, name))
