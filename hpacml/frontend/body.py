"""The Python body of a region: what it may be, and what it does with the region's outputs."""

from __future__ import annotations

import atexit
import inspect
import logging
import threading
import zlib
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any
from weakref import WeakSet

import numpy as np

from hpacml.errors import DirectiveError, MapError
from hpacml.frontend.attributes import Attribute
from hpacml.runtime.arrays.protocols import array_view
from hpacml.runtime.arrays.views import numpy_array

_log = logging.getLogger("hpacml")

EVERY = 1000
"""Of bodies that run on copies, the first run is looked at, and each that comes so many later."""

PATIENCE = 3
"""The number of calls after which an output that no body has changed is reported."""


def require_plain(function: Callable[..., Any]) -> None:
    """Raise `DirectiveError` if a call of the function returns before its work is done."""
    kinds = {
        "a coroutine, which runs when it is awaited": inspect.iscoroutinefunction,
        "a generator, which runs when it is iterated": inspect.isgeneratorfunction,
        "an asynchronous generator, which runs when it is iterated": inspect.isasyncgenfunction,
    }
    for what, is_kind in kinds.items():
        if is_kind(function):
            raise DirectiveError(
                f"a call of {function.__name__}() makes {what}, so that outputs would be recorded before the work is "
                "done: make a region of a plain function with that work, and call it from this one"
            )


class Outputs:
    """The outputs of a region while its body runs in calls that go on with what it has made.

    A body that assigns a new array to a parameter, or returns one, leaves the output as it was: that is a warning,
    once for each output. An attribute that the body assigns is an error, since the model would not do that.
    """

    def __init__(self, region: str, arrays: Sequence[str], attributes: Sequence[Attribute]):
        self.region = region
        self._attributes = [attribute for attribute in attributes if attribute.path in arrays]
        self._unchanged = dict.fromkeys(arrays, 0)
        """The numbers of calls that have left outputs as they were, of those that none has changed."""
        self._runs = count()

    @property
    def of_interest(self) -> bool:
        """Whether `around` has something to look at."""
        return bool(self._unchanged or self._attributes)

    def around(self, body: Callable[[], None], values: Mapping[str, object]) -> Callable[[], None]:
        """The body in a call with these arguments, and the looks at the outputs before and after it."""

        def watched() -> None:
            with self.watched(values):
                body()
                self.require_same(values)

        return watched

    @contextmanager
    def watched(self, values: Mapping[str, object], given: Mapping[str, object] | None = None) -> Generator[None]:
        """Look at arrays of outputs, by name, before and after a body that does not fail.

        Where they stand for those that were `given`, raise `MapError` if the body writes to these, which is looked at
        the first time and each thousandth.
        """
        given = given or {}
        looks = bool(given) and next(self._runs) % EVERY == 0
        others = {name: _digest(array, name) for name, array in given.items() if looks}
        seen = {name: _digest(values[name], name) for name in list(self._unchanged) if name in values}
        yield
        for name, digest in others.items():
            if digest != _digest(given[name], name):
                self._refuse(name)
        for name, digest in seen.items():
            self._compare(name, digest is None or digest != _digest(values[name], name))

    def _refuse(self, name: str) -> None:
        """Raise `MapError` for an output that is written while the body runs on a copy. Threads may write it, too."""
        what = (
            f"the body of {self.region} writes the output '{name}' by another way than its parameter, such as a global "
            "variable or an object that holds it, and beside a model it runs on a copy: let it write into the "
            f"parameter, as in {name}[:] = ..."
        )
        own = threading.current_thread()
        if all(each is own or each.daemon or each.name.startswith("hpacml") for each in threading.enumerate()):
            raise MapError(what)
        _log.warning(
            "the output '%s' was written while a copy stood for it: either by another thread, or %s", name, what
        )

    def _compare(self, name: str, has_changed: bool) -> None:
        if has_changed:
            self._unchanged.pop(name, None)
        elif name in self._unchanged:
            self._unchanged[name] += 1
            _watch(self)
            if self._unchanged[name] == PATIENCE:
                self._warn(name)

    def require_same(self, values: Mapping[str, object]) -> None:
        """Raise `MapError` if an attribute is not, or no longer, the memory that it was when these were its values."""
        for attribute in self._attributes:
            path = attribute.path
            if _memory(attribute.value(values), path) != _memory(values[path], path):
                raise MapError(
                    f"'{path}', an output of the region {self.region}, is another array than when the call began: the "
                    "body has assigned it, or it is a property that makes a new array each time. Let the body write "
                    f"into the array that is there, as in {path}[:] = ..."
                )

    def warn(self) -> None:
        """Report the outputs that no call has changed."""
        for name in list(self._unchanged):
            if self._unchanged.get(name):
                self._warn(name)

    def _warn(self, name: str) -> None:
        if (calls := self._unchanged.pop(name, 0)) == 0:
            return
        _log.warning(
            "the output '%s' of the region %s was not changed by its body in the %s, or was given the very values that "
            "it had, which looks the same: if the body assigns or returns a new array, let it write into this one, as "
            "in %s[:] = ...; if it wrote these values, nothing is wrong",
            name,
            self.region,
            "call" if calls == 1 else f"{calls} calls",
            name,
        )


_watched: WeakSet[Outputs] = WeakSet()


def _watch(outputs: Outputs) -> None:
    """Have outputs reported when the data are flushed, and when the program ends."""
    from hpacml.runtime.databases import writer

    if _warn_of_outputs not in writer.before_flush:
        writer.before_flush.append(_warn_of_outputs)
        atexit.register(_warn_of_outputs)
    _watched.add(outputs)


def _warn_of_outputs() -> None:
    for outputs in list(_watched):
        outputs.warn()
    _watched.clear()


def _memory(array: object, name: str) -> tuple[object, ...]:
    view = array_view(array, name, gpu=True)
    return view.address, view.dtype, view.shape, view.strides


def _digest(array: object, name: str) -> int | None:
    """A digest of an array's elements, None of one that is not in memory of the host."""
    view = array_view(array, name, gpu=True)
    if view.device is not None:
        return None
    elements: Any = np.ascontiguousarray(numpy_array(view))
    return zlib.crc32(elements)
