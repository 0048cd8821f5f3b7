"""The native half of the runtime, `shim.ll`, compiled and loaded into this process."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from hpacml.abi.symbols import forwarding
from hpacml.backend import llvm
from hpacml.disk import cache
from hpacml.errors import HpacmlError
from hpacml.locks import Order, lock
from hpacml.runtime.callbacks import make_callbacks

_EXPORT = re.compile(r"^define (?!internal)[^@]*@(\w+)\(", re.MULTILINE)
"""A function that other code may call."""

_lock = lock(Order.LOADING)
_loaded: list[Runtime] = []


@dataclass(frozen=True, slots=True)
class Runtime:
    """The loaded shim: the functions that enter compiled code, and the addresses of the symbols it may call.

    `is_temporary` tells whether at an address begins memory that the innermost code of this thread has allocated;
    `keep` has that live until `drop`, too. `stack_left` tells the bytes that the stack of this thread has left.
    `checksum` takes an array of addresses and sizes, and their number.
    """

    enter: Callable[[int, Any], int]
    enter_on: Callable[[int, Any, Any], int]
    is_temporary: Callable[[int], int]
    keep: Callable[[int], None]
    drop: Callable[[int], None]
    stack_left: Callable[[], int]
    checksum: Callable[[Any, int], int]
    symbols: Mapping[str, int]
    _owners: tuple[Any, ...]

    def live_blocks(self) -> int:
        """The number of blocks of temporary memory that compiled code holds now, in all threads."""
        return ctypes.CFUNCTYPE(ctypes.c_int64)(self.symbols["hpacml_live_blocks"])()


def runtime() -> Runtime:
    """The runtime of this process, loaded once. Raises `HpacmlError` if the process has no thread-specific key left."""
    if _loaded:  # each inference asks
        return _loaded[0]
    with _lock:
        if not _loaded:
            _loaded.append(_load())
        return _loaded[0]


_MODEL = 64 << 10
"""The least bytes of stack for a model, which may be loaded first."""


def require_stack() -> None:
    """Raise HpacmlError if the stack of this thread is too small for a model."""
    if runtime().stack_left() < _MODEL:
        raise no_stack()


def no_stack() -> HpacmlError:
    """The error of a stack that is too small."""
    return HpacmlError(
        f"the stack of this thread has {runtime().stack_left() >> 10} KiB left, and a call needs 32, one in "
        "another call or with a model 64: start the thread with a larger stack (threading.stack_size), or nest fewer "
        "calls in each other"
    )


def text() -> str:
    """The LLVM IR of the shim, with the symbols that forward to Python."""
    return (resources.files("hpacml.runtime") / "shim.ll").read_text(encoding="utf-8") + forwarding()


def exports(code: str) -> list[str]:
    """The functions of LLVM IR that other code may call."""
    return _EXPORT.findall(code)


def _load() -> Runtime:
    callbacks = make_callbacks()
    imports = {name: ctypes.cast(function, ctypes.c_void_p).value or 0 for name, function in callbacks.items()}
    code = text()
    names = exports(code)
    library = cache.fetch(
        cache.key("runtime", *llvm.host(), code),
        lambda: llvm.emit(code, names),
        lambda compiled: llvm.link(compiled, names, imports),
    )
    if ctypes.CFUNCTYPE(ctypes.c_int)(library.addresses["hpacml_init"])():
        raise HpacmlError("this process has no thread-specific key left (pthread_key_create failed)")
    enter = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_size_t, ctypes.c_void_p)(library.addresses["hpacml_enter"])
    on = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p)
    enter_on = on(library.addresses["hpacml_enter_on"])
    ask = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_size_t)(library.addresses["hpacml_is_temporary"])
    tell = ctypes.CFUNCTYPE(None, ctypes.c_size_t)
    keep, drop = tell(library.addresses["hpacml_keep"]), tell(library.addresses["hpacml_drop"])
    left = ctypes.PYFUNCTYPE(ctypes.c_uint64)(library.addresses["hpacml_stack_left"])
    of_memory = ctypes.PYFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p, ctypes.c_int64)
    checksum = of_memory(library.addresses["hpacml_checksum"])
    return Runtime(enter, enter_on, ask, keep, drop, left, checksum, library.addresses, (library, callbacks))
