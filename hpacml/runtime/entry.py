"""The way into compiled code and out of it: entries, the runtime symbols, and errors that unwind through it.

The symbols themselves are in `shim.ll`. Those that need Python call a handler that `register` sets; what a
handler raises unwinds the compiled code and is raised by the `Function` that was called.
"""

from __future__ import annotations

import ctypes
import functools
import re
import struct
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from hpacml.abi.symbols import PYTHON_HALVES, VALUES, Symbol, forwarding
from hpacml.backend import cache, llvm
from hpacml.errors import HpacmlError
from hpacml.runtime.arrays.views import ArrayView, descriptor

Handler = Callable[..., object]

# ctypes leaves the result undefined when an interrupt hits a callback outside its try block: only 1 is success.
_DONE, _FAILED, _NO = 1, 0, 2

_CTYPES = {"ptr": ctypes.c_size_t, "i64": ctypes.c_int64, "double": ctypes.c_double}
"""Of what a handler takes, by LLVM's name; pointers come as addresses."""

_DEFINED = re.compile(r"^define (?!internal)[^@]*@(\w+)\(", re.MULTILINE)
"""What other code may call."""


class _Pending(threading.local):
    """The exceptions of this thread that unwind compiled code; a stack, since entries nest."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []
        self.sizes: list[int] = []
        """Of the array that is being refused."""


_pending = _Pending()
_handlers: dict[str, Handler] = {}
_callables: list[Callable[..., int]] = []
"""What compiled code calls."""
_lock = threading.RLock()


@dataclass(frozen=True, slots=True)
class Runtime:
    """The loaded shim: the ways in, and the addresses of the symbols that compiled code may call."""

    enter: Callable[[int, Any], int]
    enter_on: Callable[[int, Any, Any], int]
    symbols: Mapping[str, int]
    _owners: tuple[Any, ...]

    def live_blocks(self) -> int:
        """How many blocks of temporary memory compiled code holds now, in all threads."""
        return ctypes.CFUNCTYPE(ctypes.c_int64)(self.symbols["hpacml_live_blocks"])()


class Function:
    """A compiled function. Call it with one value per argument; it returns its result, or None.

    A memref is passed as the address of its descriptor, which the caller keeps alive; the rest are Python
    numbers. Runs without the GIL. Raises what a runtime symbol raised on the way, and HpacmlError for a
    number that does not fit its type. `enter` is how to run it, if not on the host.
    """

    __slots__ = ("_address", "_enter", "_library", "_pack", "_slots", "_unpack", "name")

    def __init__(
        self,
        name: str,
        library: llvm.Library,
        symbol: str,
        argument_types: Sequence[str],
        result_type: str | None,
        enter: Callable[[int, Any], int] | None = None,
    ):
        arguments = struct.Struct("=" + "".join(VALUES[kind].slot for kind in argument_types))
        result = struct.Struct("=" + VALUES[result_type].slot) if result_type else None
        self.name = name
        self._library = library
        self._enter = enter or runtime().enter
        self._address = library.addresses[symbol]
        self._slots = ctypes.c_int64 * (len(argument_types) + 1)
        self._pack = arguments.pack_into
        self._unpack = functools.partial(result.unpack_from, offset=arguments.size) if result else None

    def __call__(self, *values: object) -> Any:
        slots = self._slots()
        try:
            self._pack(slots, 0, *values)
        except (struct.error, OverflowError) as error:
            raise HpacmlError(f"{self.name}: cannot pass the arguments {values}: {error}") from None
        # A callback that was interrupted outside of its try block has any status, also that of success.
        if self._enter(self._address, slots) or _pending.errors:
            self._raise_pending()
        return None if self._unpack is None else self._unpack(slots)[0]

    def _raise_pending(self) -> None:
        if not _pending.errors:
            raise HpacmlError(f"{self.name} was stopped by an error that left no trace, such as an interrupt")
        error = _pending.errors.pop()
        try:
            raise error
        finally:
            del error  # its traceback holds this frame


def call(function: Callable[..., object], views: Sequence[ArrayView], *scalars: int | bool) -> None:
    """Call a compiled function of arrays and numbers."""
    descriptors = [descriptor(view) for view in views]  # must outlive the call
    function(*map(ctypes.addressof, descriptors), *scalars)


def register(**handlers: Handler) -> None:
    """Set what some of the runtime symbols do, by their names in `PYTHON_HALVES`; pointers come as addresses.

    They may raise anything; those whose symbol returns a number return False for a no. Any thread that has entered
    compiled code may call them.
    """
    if unknown := handlers.keys() - PYTHON_HALVES.keys():
        raise HpacmlError(f"the runtime has no symbol for {', '.join(sorted(unknown))}")
    _handlers.update(handlers)


def runtime() -> Runtime:
    """The runtime of this process, loaded once."""
    with _lock:
        return _runtime()


def shim_text() -> str:
    """The LLVM IR of the symbols."""
    return (resources.files("hpacml.runtime") / "shim.ll").read_text(encoding="utf-8") + forwarding()


@functools.cache
def _runtime() -> Runtime:
    callbacks = {f"hpacml_py_{name}": _callback(name, half) for name, half in PYTHON_HALVES.items()}
    _keep_interrupts()
    addresses = {name: ctypes.cast(function, ctypes.c_void_p).value or 0 for name, function in callbacks.items()}
    text = shim_text()
    exports = _DEFINED.findall(text)
    code = cache.fetch(cache.key("shim", *llvm.host(), text), lambda: llvm.emit(text, exports))
    library = llvm.link(code, exports, addresses)
    if ctypes.CFUNCTYPE(ctypes.c_int)(library.addresses["hpacml_init"])():
        raise HpacmlError("this process has no thread-specific key left (pthread_key_create failed)")
    enter = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_size_t, ctypes.c_void_p)(library.addresses["hpacml_enter"])
    on = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p)
    enter_on = on(library.addresses["hpacml_enter_on"])
    return Runtime(enter, enter_on, library.addresses, (library, callbacks))


def _callback(name: str, half: Symbol) -> Any:
    symbol, may_refuse = f"hpacml_{name}", half.result != "void"

    def call(*arguments: Any) -> int:
        try:
            if (handler := _handlers.get(name)) is None:
                raise HpacmlError(f"compiled code called {symbol}, which nothing in this process implements")
            result = handler(*arguments)
        except BaseException as error:
            _pending.errors.append(error)
            return _FAILED
        return _NO if result is False and may_refuse else _DONE

    _callables.append(call)
    return ctypes.CFUNCTYPE(ctypes.c_int, *(_CTYPES[kind] for kind in half.parameters.values()))(call)


def _keep_interrupts() -> None:
    """Have interrupts of callbacks outside of their try blocks, which ctypes gives to this hook, unwind like others.

    That is where an interrupt comes out that meets compiled code, which runs without the interpreter.
    """
    previous = sys.unraisablehook

    def hook(unraisable: sys.UnraisableHookArgs) -> None:
        error = unraisable.exc_value
        if error is not None and any(unraisable.object is call for call in _callables):
            _pending.errors.append(error)
        else:
            previous(unraisable)

    sys.unraisablehook = hook


def _no_memory(size: int) -> None:
    if size < 0:
        raise HpacmlError(f"a temporary tensor would have a negative size: {size} bytes")
    raise HpacmlError(f"no memory for a temporary tensor of {size} bytes")


def _refuse_size(size: int, more: int) -> None:
    """The sizes of an array that cannot be come one by one; `more` are still to come."""
    _pending.sizes.append(size)
    if more:
        return
    sizes, _pending.sizes = _pending.sizes, []
    reason = "write max(n, 0) for a size that may be negative" if min(sizes) < 0 else "no memory has so many bytes"
    raise HpacmlError(f"a kernel cannot make an array of the shape {sizes}: {reason}")


_handlers["no_memory"] = _no_memory
_handlers["refuse_size"] = _refuse_size
