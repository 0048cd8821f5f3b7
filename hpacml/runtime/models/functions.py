"""Functions that are models: of a module, which is then evaluated, or of anything else. It imports Torch."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from types import FunctionType, MethodType
from typing import Any, cast

import torch
from torch import nn
from torch.nn.modules import batchnorm, dropout

_CHANGING = (dropout._DropoutNd, batchnorm._NormBase, nn.RReLU)  # pyright: ignore[reportPrivateUsage]
"""Layers that do another thing in training mode."""

_log = logging.getLogger("hpacml")

_DEEP = 3
"""How many functions within functions are looked into, such as those of decorators."""

_changing: weakref.WeakKeyDictionary[nn.Module, list[weakref.ref[nn.Module]]] = weakref.WeakKeyDictionary()
_reported: weakref.WeakSet[nn.Module] = weakref.WeakSet()


def module_of(network: object) -> nn.Module | None:
    """Find the module of which a callable is a method, or to which it is a partial call; it may be the module."""
    while isinstance(network, partial):
        network = cast("partial[object]", network).func
    if isinstance(network, MethodType):
        network = network.__self__
    return network if isinstance(network, nn.Module) else None


def upon(network: Any, module: nn.Module) -> Callable[..., object]:
    """Make such a callable of another module, a copy of its own."""
    if isinstance(network, partial):
        inner: Any = cast("partial[object]", network)
        return partial(upon(inner.func, module), *inner.args, **inner.keywords)
    if isinstance(network, MethodType):
        return getattr(module, network.__func__.__name__, None) or MethodType(network.__func__, module)
    return module


def as_it_is(network: Callable[..., object], find: Callable[[], Any]) -> Callable[..., object]:
    """Make a function of one that may do anything, also call modules in training mode, which is said once of each.

    `find` gives the function, which this does not keep alive.
    """
    name = repr(network)
    known = [(weakref.ref(module), parts) for module in set(_called(network, _DEEP)) if (parts := _parts(module))]

    def run(*inputs: torch.Tensor) -> object:
        for module, parts in known:
            _report_training(name, module(), parts)
        return find()(*inputs)

    return run if known else lambda *inputs: find()(*inputs)


def _called(value: object, deep: int) -> Iterator[nn.Module]:
    """List the modules that a function can call, by its closure, its arguments, its globals or its object."""
    if (module := module_of(value)) is not None:
        yield module
    elif deep:
        for each in _within(value):
            if isinstance(each, nn.Module | FunctionType | MethodType | partial):
                yield from _called(cast(object, each), deep - 1)


def _within(value: Any) -> Iterable[object]:
    if isinstance(value, partial):
        call: Any = cast("partial[object]", value)
        return (call.func, *call.args, *call.keywords.values())
    if isinstance(value, MethodType):
        return (value.__func__, *getattr(value.__self__, "__dict__", {}).values())
    if not isinstance(value, FunctionType):
        kind = cast("type[Any]", type(value))
        return (*getattr(value, "__dict__", {}).values(), vars(kind).get("__call__"))
    cells = [_content(cell) for cell in value.__closure__ or ()]
    names = [value.__globals__.get(name) for name in value.__code__.co_names]
    return (*cells, *names, *(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values())


def _content(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # it is empty
        return None


def _parts(module: nn.Module) -> list[weakref.ref[nn.Module]]:
    """List the parts of a module that do another thing in training mode."""
    if (found := _changing.get(module)) is None:
        found = _changing[module] = [weakref.ref(part) for part in module.modules() if isinstance(part, _CHANGING)]
    return found


def _report_training(network: str, module: nn.Module | None, parts: Iterable[weakref.ref[nn.Module]]) -> None:
    if module is None or module in _reported:
        return
    for reference in parts:
        part = reference()
        if part is not None and part.training:
            _reported.add(module)
            _log.warning(
                "the model %s can call a %s that is in training mode, with its %s: a region leaves what a function "
                "calls as it is. Give it the module itself, which it evaluates, or call module.eval() before",
                network,
                type(module).__name__,
                type(part).__name__,
            )
            return
