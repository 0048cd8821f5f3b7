"""What the body of a region returns with its work still to be done, so that outputs would be recorded too early."""

from __future__ import annotations

import gc
import inspect
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack, ExitStack, suppress
from dataclasses import dataclass, is_dataclass
from functools import lru_cache, partial
from itertools import islice
from types import (
    AsyncGeneratorType,
    CoroutineType,
    FunctionType,
    GeneratorType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any

import numpy as np

from hpacml.errors import DirectiveError

_log = logging.getLogger("hpacml")

_DATA = (int, float, complex, str, bytes, np.ndarray, np.generic)

_LATER = (CoroutineType, GeneratorType, AsyncGeneratorType, map, filter)
"""What a function returns that has its work still to do."""

_PLAIN = (type, ModuleType, FunctionType, MethodType, partial)
"""What has attributes that are no results."""

_MAYBE: tuple[type, ...] = (FunctionType, MethodType, partial, ExitStack, AsyncExitStack)

_FRAMES: dict[type, str] = {CoroutineType: "cr_frame", GeneratorType: "gi_frame", AsyncGeneratorType: "ag_frame"}
"""The attributes that are None once the work is done."""

_MANAGERS: tuple[type, ...] = (AbstractContextManager, AbstractAsyncContextManager)
"""Those that `contextlib` makes of generators have these as `gen`, and run them in a `with` statement."""

_FIRST = 1000
"""The number of objects that are looked at in a result, and in each container."""


def _is_not_done(future: Any) -> bool:
    done = getattr(future, "done", None)
    return not (callable(done) and done())


_TELLING: tuple[tuple[tuple[str, ...], Callable[[Any], bool]], ...] = (
    (("__await__",), _is_not_done),
    (("add_done_callback",), _is_not_done),
    (("done", "wait"), _is_not_done),
    (("ready", "wait"), lambda result: not result.ready()),  # of multiprocessing's pools
    (("_set_length", "__next__"), lambda results: results._index != results._length),  # of their imap
    (("is_completed", "wait"), lambda work: not work.is_completed()),  # of torch.distributed
    (("is_alive", "join"), lambda thread: thread.is_alive() or thread.ident is None),
    (("poll", "communicate"), lambda process: process.poll() is None),
    (("Get_status", "Wait"), lambda request: not request.Get_status()),  # of mpi4py
    (("__dask_graph__",), lambda collection: collection.__dask_graph__() is not None),
)
"""The methods that tell of a class that its objects stand for work, and whether that is still to be done."""


def require_finished(result: object, name: str, given: Iterable[object] = ()) -> None:
    """Raise `DirectiveError` if the body of the region `name` returns what has its work still to do, or contains that.

    A function, an iterator of a class written in Python, an `ExitStack`, or an object with a method `compute` may have:
    that is a warning, once. The fields of objects are looked at too, not those of objects in these, nor
    those of what was `given` to the body, such as its self: its threads may serve for longer than a call.
    """
    if result is None or isinstance(result, _DATA):
        return
    later: list[str] = []
    possible: set[str] = set()
    for each in _parts(result, given):
        kind = _kind(type(each))
        if kind.is_later is not None and kind.is_later(each):
            later.append(kind.name)
            if isinstance(each, CoroutineType | GeneratorType):
                each.close()  # else Python warns that nobody awaits it
        elif kind.may_be_later:
            possible.add(kind.name)
    if later:
        outer = type(result).__name__
        raise DirectiveError(
            f"the body of the region {name} returns a {outer}{'' if outer == later[0] else f' with a {later[0]}'}, "
            "whose work is still to be done, so that outputs would be recorded too early: finish the work in the body"
        )
    kinds = " and a ".join(sorted(possible))
    if possible and (name, kinds) not in _told:
        _told.add((name, kinds))
        _log.warning(
            "the body of the region %s returns a %s: if that writes outputs when it is used, they are recorded too "
            "early. Finish the work in the body",
            name,
            kinds,
        )


_told: set[tuple[str, str]] = set()


def _parts(result: object, given: Iterable[object]) -> list[object]:
    """A result and what it contains, or iterates over, and the work in the fields of objects among these."""
    found = [result]
    seen = {id(result)}
    works: list[object] = []
    for each in found:  # which grows meanwhile
        kind = _kind(type(each))
        inside = () if kind.inside is None else kind.inside(each)
        if kind.slots is not None and not any(each is other for other in given):
            fields = _fields(each, kind.slots)
            if kind.is_record:
                inside = fields
            else:
                works += _works(fields)
        for inner in islice(inside, _FIRST):
            if inner is None or isinstance(inner, _DATA) or id(inner) in seen or len(found) == _FIRST:
                continue
            seen.add(id(inner))
            found.append(inner)
    return found + works


def _works(fields: Iterable[object]) -> Iterator[object]:
    """What is told apart as work of the fields of an object, and of what these contain."""
    for field in islice(fields, _FIRST):
        if field is None or isinstance(field, _DATA):
            continue
        inside = _kind(type(field)).inside
        for each in (field, *(() if inside is None else islice(inside(field), _FIRST))):
            if _kind(type(each)).is_later is not None:
                yield each


def _fields(holder: object, slots: Sequence[Any]) -> list[object]:
    try:
        fields = list(object.__getattribute__(holder, "__dict__").values())
    except AttributeError:
        fields = []
    for slot in slots:
        with suppress(AttributeError):  # which is not set
            fields.append(slot.__get__(holder))
    return fields


@dataclass(frozen=True, slots=True)
class _Kind:
    """What objects of a class can be: `is_later` tells whether one has work to do, `inside` has what it contains.

    `slots` are the descriptors of fields that are in no `__dict__`, None where fields are not looked at; those of a
    record, a dataclass, are looked at as the elements of a list are.
    """

    name: str
    is_later: Callable[[Any], bool] | None
    may_be_later: bool
    inside: Callable[[Any], Iterable[object]] | None
    slots: tuple[Any, ...] | None = None
    is_record: bool = False


@lru_cache(256)
def _kind(kind: Any) -> _Kind:
    name = str(kind.__name__)
    is_own = kind.__module__ == "itertools" or (kind.__module__ == "builtins" and hasattr(kind, "__next__"))
    inside = _referents if is_own else next((of for base, of in _INSIDE.items() if issubclass(kind, base)), None)
    if issubclass(kind, _LATER):
        return _Kind(name, _is_open, False, None)
    if is_own:
        return _Kind(name, lambda iterator: any(map(callable, _referents(iterator))), False, inside)
    manager = _is_open_manager if issubclass(kind, _MANAGERS) and not issubclass(kind, _MAYBE) else None
    tells = next((tells for methods, tells in _TELLING if all(hasattr(kind, each) for each in methods)), manager)
    if tells is not None:
        return _Kind(name, tells, False, inside)
    is_next_python = isinstance(inspect.getattr_static(kind, "__next__", None), FunctionType)
    may_be_later = is_next_python or issubclass(kind, _MAYBE) or callable(getattr(kind, "compute", None))
    if kind.__module__ == "builtins" or issubclass(kind, _PLAIN):
        return _Kind(name, None, may_be_later, inside)
    return _Kind(name, None, may_be_later, inside, _slots(kind), is_dataclass(kind))


def _slots(kind: type) -> tuple[Any, ...]:
    """The descriptors of what a class and its bases have in `__slots__`."""
    bases = [vars(base) for base in kind.__mro__ if "__slots__" in vars(base)]
    return tuple(each for base in bases for each in base.values() if isinstance(each, MemberDescriptorType))


def _referents(iterator: object) -> list[object]:
    """What an iterator of Python's own uses: other iterators, and functions that it applies."""
    return [each for each in gc.get_referents(iterator) if not isinstance(each, type)]


_INSIDE: dict[type, Callable[[Any], Iterable[object]]] = {
    dict: lambda values: list(values.values()),
    list: iter,
    tuple: iter,
    set: list,  # another thread may change it
    frozenset: iter,
    deque: list,
}


def _is_open(generator: Any) -> bool:
    frame = _FRAMES.get(generator.__class__)
    return frame is None or getattr(generator, frame) is not None


def _is_open_manager(manager: Any) -> bool:
    generator = getattr(manager, "gen", None)
    return isinstance(generator, _LATER) and _is_open(generator)
