"""The call sites of compiled code at run time, each of whose records is read once."""

from __future__ import annotations

import ctypes
import json
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from hpacml.environment import Variable
from hpacml.runtime import frame

if TYPE_CHECKING:
    from hpacml.abi.records import Json, Source

State = TypeVar("State")


def find(source: Source, variable: Variable) -> object:
    """What a source names: the path of its clause, the value of its argument, or the text of `variable`; else None."""
    given: object = source.path
    if source.argument is not None:
        given = frame.current().argument(source.argument)
    return given if given is not None else variable.text() or None


def why_none(source: Source, variable: Variable) -> str:
    """Why `find` returned None, as a part of an error text."""
    clause = "" if source.argument is None else f"the argument '{source.argument}' is None, and "
    return f"{clause}the environment variable {variable.name} is not set"


_all: list[dict[int, Any]] = []
"""The states of all kinds of sites."""

_kept: set[int] = set()
"""The addresses of texts of which it is known how long they live."""


def keep(text: ctypes.Array[ctypes.c_char]) -> None:
    """Know the text of a site from now until it is freed, with the code that has it."""
    address = ctypes.addressof(text)
    _kept.add(address)
    weakref.finalize(text, _forget, address).atexit = False


def _forget(address: int) -> None:
    """Let go of the states of the site whose text was at an address."""
    _kept.discard(address)
    for states in _all:
        states.pop(address, None)


class Sites(Generic[State]):
    """The states of call sites, by the address of their text. `make` makes each once, from its record."""

    def __init__(self, make: Callable[[Json], State]) -> None:
        self._make = make
        self._states: dict[int, tuple[bytes | None, State]] = {}
        """The texts and the states; None for a text that is the same as long as there is a state."""
        _all.append(self._states)

    def at(self, address: int) -> State:
        """The state of the site whose NUL-terminated text is at `address`."""
        known = self._states.get(address)
        if known is not None and known[0] is None:
            return known[1]
        text = ctypes.string_at(address)
        # New code may lie where unloaded code was.
        if known is None or known[0] != text:
            kept = None if address in _kept else text
            known = self._states[address] = (kept, self._make(json.loads(text)))
        return known[1]
