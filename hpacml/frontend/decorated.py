"""What kernels and regions have in common as Python objects, whatever they do when they are called."""

from __future__ import annotations

import functools
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib import import_module
from types import FunctionType, MethodType
from typing import Any, ClassVar
from weakref import WeakKeyDictionary, ref

DOORS = {
    "kernel": "hpacml.frontend.kernel:Kernel",
    "region": "hpacml.frontend.region:Region",
    "pure region": "hpacml.jax.pure_region:PureRegion",
}
"""Where the classes are. Pickles have the names on the left, which stay when files move."""

_restored: WeakKeyDictionary[Callable[..., Any], ref[Decorated]] = WeakKeyDictionary()
"""The objects by the functions that stand for them in pickles."""


class Decorated(ABC):
    """A Python function that hpacml calls in its own way.

    It looks like the function, and as an attribute of a class it is a method. It pickles by its module and its
    qualified name, as functions do; where cloudpickle takes a function apart, because other processes cannot import
    it, it takes the function of this object apart, too. What is compiled stays behind: the other side finds it in the
    cache. Copies are the same object.
    """

    __name__: str
    __qualname__: str
    door: ClassVar[str]
    """The name of the class in `DOORS`, for pickles."""

    def __init__(self, function: Callable[..., Any]):
        for name in functools.WRAPPER_ASSIGNMENTS:
            if hasattr(function, name):
                setattr(self, name, getattr(function, name))
        # Not all of the function's attributes, as functools.update_wrapper does: these must not hide what is here.
        vars(self).update((name, value) for name, value in vars(function).items() if not hasattr(type(self), name))
        self.__wrapped__ = function

    @property
    def __globals__(self) -> dict[str, Any]:
        """The names of the function's module, where decorators above look up annotations."""
        return self.__wrapped__.__globals__

    @abstractmethod
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: object) -> Any:
        return self

    # -- pickles ---------------------------------------------------------------------------------

    @abstractmethod
    def options(self) -> dict[str, Any]:
        """The arguments that make this object anew, beside the function."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        module, name = self.__module__, self.__qualname__
        is_main = module in ("__main__", "__mp_main__")  # another program in a process that cloudpickle serves
        if protocol < 4 or (not is_main and _named(module, name) is self):
            return name
        return _unpickled, (self.door, self.pickled_function, name, self.options())

    @functools.cached_property
    def pickled_function(self) -> Callable[..., Any]:
        """A function that stands for this object in pickles: its qualified name leads to it."""
        function: Any = self.__wrapped__
        twin = FunctionType(
            function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
        )
        twin.__dict__.update(function.__dict__)
        twin.__kwdefaults__, twin.__annotations__ = function.__kwdefaults__, function.__annotations__
        twin.__module__, twin.__qualname__ = self.__module__, f"{self.__qualname__}.pickled_function"
        _restored[twin] = ref(self)
        return twin


def inside(method: Any, decorate: Callable[[Any], Any]) -> Any:
    """What `decorate` makes of a function, which may be inside of a staticmethod or classmethod, as the result is."""
    if type(method) in (staticmethod, classmethod):
        return type(method)(decorate(method.__func__))
    return decorate(method)


def _named(module: str, name: str) -> object:
    found: object = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _unpickled(door: str, function: Any, name: str, options: dict[str, Any]) -> Decorated:
    """The object for which a function stands in a pickle, made anew where it came without a name."""
    known = _restored.get(function)
    found = None if known is None else known()
    if found is None:
        module, _, kind = DOORS[door].partition(":")
        found = getattr(import_module(module), kind)(function, **options)
        found.__qualname__ = function.__qualname__ = name
        _restored[function] = ref(found)
    return found


_unpickled.__module__ = "hpacml"  # pickles name this, which stays when files move
