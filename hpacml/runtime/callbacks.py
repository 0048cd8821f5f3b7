"""What compiled code calls in Python: one handler for each symbol, and the errors that handlers raise.

No exception can pass through compiled code. It is kept here while `shim.ll` unwinds that code; then the
`hpacml.runtime.entry.Function` that was called raises it.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

from hpacml.abi.symbols import PYTHON_HALVES, Symbol
from hpacml.errors import HpacmlError

Handler = Callable[..., object]

Around: TypeAlias = "Callable[[], AbstractContextManager[object]]"

# ctypes leaves the result undefined when an interrupt hits a callback outside its try block: only 1 is success.
_DONE, _FAILED, _NO = 1, 0, 2

_CTYPES = {"ptr": ctypes.c_size_t, "i64": ctypes.c_int64, "double": ctypes.c_double}
"""Maps LLVM types to ctypes types; pointers come as addresses."""


class _Pending(threading.local):
    """What unwinds compiled code in this thread: a stack of exceptions, since entries nest."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []
        self.sizes: list[int] = []
        """The sizes, so far, of an array that is being refused."""
        self.numbers: list[int] = []
        """The numbers, so far, of a text."""


pending = _Pending()
_handlers: dict[str, Handler] = {}
_callbacks: list[Callable[..., int]] = []
"""The functions that compiled code calls; each calls a handler."""


def register(**handlers: Handler) -> None:
    """Set what some of the runtime symbols do, by their names in `PYTHON_HALVES`; pointers come as addresses.

    Handlers may raise any exception; where the symbol returns a number, False means no. They are called in any
    thread that has entered compiled code. Raises `HpacmlError` for a name that is no symbol.
    """
    if unknown := handlers.keys() - PYTHON_HALVES.keys():
        raise HpacmlError(f"the runtime has no symbol for {', '.join(sorted(unknown))}")
    _handlers.update(handlers)


def make_callbacks(around: Around | None = None) -> dict[str, Any]:
    """Make the C functions that call the handlers, by the symbols under which the shim imports them.

    Who loads a shim does this once, and keeps them alive. Handlers are called inside of `with around():`, if that is
    given.
    """
    _keep_interrupts()
    return {f"hpacml_py_{name}": _callback(name, half, around) for name, half in PYTHON_HALVES.items()}


def _callback(name: str, half: Symbol, around: Around | None) -> Any:
    symbol, may_refuse = f"hpacml_{name}", half.result != "void"

    def call(*arguments: Any) -> int:
        try:
            if (handler := _handlers.get(name)) is None:
                raise HpacmlError(f"compiled code called {symbol}, which nothing in this process implements")
            result = handler(*arguments) if around is None else _inside(around, handler, arguments)
        except BaseException as error:
            pending.errors.append(error)
            return _FAILED
        return _NO if result is False and may_refuse else _DONE

    _callbacks.append(call)
    return ctypes.CFUNCTYPE(ctypes.c_int, *(_CTYPES[kind] for kind in half.parameters.values()))(call)


def _inside(around: Around, handler: Handler, arguments: tuple[Any, ...]) -> object:
    with around():
        return handler(*arguments)


def _keep_interrupts() -> None:
    """Make interrupts that hit a callback outside its try block unwind compiled code as other errors do.

    Such an interrupt arrives there when it meets compiled code, which runs without the interpreter. ctypes cannot
    raise it, and passes it to this hook.
    """
    previous = sys.unraisablehook

    def hook(unraisable: sys.UnraisableHookArgs) -> None:
        error = unraisable.exc_value
        if error is not None and any(unraisable.object is call for call in _callbacks):
            pending.errors.append(error)
        else:
            previous(unraisable)

    sys.unraisablehook = hook


def _no_memory(size: int) -> None:
    if size < 0:
        raise HpacmlError(f"a temporary tensor would have a negative size: {size} bytes")
    raise HpacmlError(f"no memory for a temporary tensor of {size} bytes")


def _refuse_size(size: int, more: int) -> None:
    """Take the sizes of an array that cannot exist, one by one; raise HpacmlError once no `more` follow."""
    pending.sizes.append(size)
    if more:
        return
    sizes, pending.sizes = pending.sizes, []
    reason = "write max(n, 0) for a size that may be negative" if min(sizes) < 0 else "no memory has so many bytes"
    raise HpacmlError(f"a kernel cannot make an array of the shape {sizes}: {reason}")


register(no_memory=_no_memory, refuse_size=_refuse_size)
