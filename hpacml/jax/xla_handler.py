"""The handler of the calls that programs of XLA make: compiled once, known to XLA by one name."""

from __future__ import annotations

import atexit
import ctypes
import gc
import itertools
import os
import re
import sys
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

from hpacml.backend import llvm
from hpacml.disk import cache as disk_cache
from hpacml.errors import CompileError, HpacmlError
from hpacml.jax.libraries import jax
from hpacml.jax.templates import Record
from hpacml.jax.xla_stream import Queue, queue_of
from hpacml.runtime.models.jax_programs import inside
from hpacml.runtime.shim import runtime

TARGET = "hpacml"
"""The name of the handler in programs."""

VERSION = (0, 3)
"""The version of XLA's interface whose structures `xla_handler.ll` knows."""

MOST = 1 << 20
"""The most calls in programs that one process can make."""

_HANDLERS = ("hpacml_jax_handler", "hpacml_jax_handler_on_gpus")
_EXPORTS = (*_HANDLERS, "hpacml_jax_set_sites", "hpacml_jax_close", "hpacml_jax_release")
_DONE, _FAILED = 1, 0


class Answering(Protocol):
    """What Python does for a call."""

    def answer(self, slots: int, status: int) -> None:
        """Run the call whose slots are at an address, if the status is -1; else raise what has stopped it."""
        ...

    def answer_on(self, queue: Queue, slots: int) -> None:
        """Run the call on a GPU: its buffers, to which the slots at an address point, are there."""
        ...


class _Thread(threading.local):
    text: Any = None
    """The text of the last error, which XLA copies."""


_thread = _Thread()
_table = (ctypes.c_size_t * MOST)()
_holds = (ctypes.c_int64 * MOST)()
"""How many calls XLA's executables have of each record, also of those that only a program under way keeps."""
_type, _type_info = ctypes.c_int64(0), (ctypes.c_size_t * 3)()
_late: dict[int, Answering] = {}
"""The calls of programs that are under way behind the end of what they were made for."""
_numbers = itertools.count()
_answering: weakref.WeakValueDictionary[int, Answering] = weakref.WeakValueDictionary()
_for_gpus: set[int] = set()
"""The numbers of calls in programs for GPUs."""
_raised: OrderedDict[str, BaseException] = OrderedDict()
"""The last errors by their texts, which are all that XLA keeps of them."""

_REMEMBERED = 64
_closers: list[Callable[[], int]] = []
"""What tells the handler that the process ends, once it is loaded, and how many of its calls are under way."""
os.register_at_fork(after_in_child=_closers.clear)  # which has none of the threads


def publish(call: Answering, record: Record, for_gpus: bool = False) -> int:
    """Have the handler know a call as long as `call` lives, and return its number. The call keeps the record alive."""
    _load()
    _let_go()
    number = next(_numbers)
    if number >= MOST:
        raise HpacmlError(f"programs of JAX in this process have made {MOST} regions: trace fewer of them anew")
    _answering[number] = call
    if for_gpus:
        _for_gpus.add(number)
    weakref.finalize(call, _table.__setitem__, number, 0).atexit = False
    _table[number] = record.address
    return number


class Hold:
    """Keeps a call while there is a program that JAX may run, and behind that, while one is under way."""

    def __init__(self, call: Any, number: int) -> None:
        self._call, self._number = call, number

    def __del__(self, ends: Callable[[], bool] = sys.is_finalizing) -> None:
        if ends():  # and what is global may be gone
            return
        _let_go()
        number = self._number
        if _holds[number] > 0 and _answering.get(number) is self._call:
            self._call.__dict__.pop("program", None)  # which would keep what it waits for
            _late[number] = self._call


def _let_go(*_: object) -> None:
    """Forget the calls of programs that have ended. Python's collector of garbage asks for it, too."""
    for number in [number for number in [*_late] if _holds[number] <= 0]:
        _late.pop(number, None)


def original(error: Exception) -> BaseException | None:
    """The error of hpacml behind one that JAX raises."""
    text = str(error)
    return next((each for known, each in reversed([*_raised.items()]) if known in text), None)


def _answer(number: int, slots: int, status: int, frame: int, message: int) -> int:
    try:
        if (call := _answering.get(number)) is None:
            raise HpacmlError("a program of JAX called a region that is gone")
        before, inside.program = inside.program, True
        try:
            if number in _for_gpus:
                call.answer_on(queue_of(frame), slots)
            else:
                call.answer(slots, status)
        finally:
            inside.program = before
    except BaseException as error:
        text = f"{type(error).__name__}: {error}".replace("\0", "\\0")
        _remember(text, error)
        _thread.text = ctypes.create_string_buffer(text.encode())
        ctypes.c_size_t.from_address(message).value = ctypes.addressof(_thread.text)
        return _FAILED
    return _DONE


def _remember(text: str, error: BaseException) -> None:
    _raised[text] = error.with_traceback(None)
    _raised.move_to_end(text)
    if len(_raised) > _REMEMBERED:
        _raised.popitem(last=False)


@cache
def _load() -> tuple[Any, ...]:
    """Compile the handler and tell XLA of it; what is returned must live as long as the process."""
    _require_version()
    text = (resources.files("hpacml.jax") / "xla_handler.ll").read_text(encoding="utf-8")
    address = ctypes.c_size_t
    of_python = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int64, address, ctypes.c_int, address, address)
    callback: Any = of_python(_answer)
    imports = {
        "hpacml_enter": runtime().symbols["hpacml_enter"],
        "hpacml_jax_python": ctypes.cast(callback, ctypes.c_void_p).value or 0,
    }
    library = disk_cache.fetch(
        disk_cache.key("jax", *llvm.host(), text),
        lambda: llvm.emit(text, _EXPORTS),
        lambda code: llvm.link(code, _EXPORTS, imports),
    )
    of_sites = ctypes.CFUNCTYPE(None, ctypes.c_size_t, ctypes.c_int64, ctypes.c_size_t, ctypes.c_size_t)(
        library.addresses["hpacml_jax_set_sites"]
    )
    of_sites(ctypes.addressof(_table), MOST, ctypes.addressof(_holds), ctypes.addressof(_type))
    _type_info[:] = ctypes.sizeof(_type_info), 0, library.addresses["hpacml_jax_release"]
    capsules = {"type_id": _capsule(_type), "type_info": _capsule(_type_info)}
    jax.ffi.register_ffi_type(f"{TARGET}_hold", capsules, platform="cpu")
    of_frame = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_size_t)
    handler, on_gpus = (of_frame(library.addresses[name]) for name in _HANDLERS)
    gc.callbacks.append(_let_go)
    _closers.append(ctypes.CFUNCTYPE(ctypes.c_int64)(library.addresses["hpacml_jax_close"]))
    stages = {stage: jax.ffi.pycapsule(handler) for stage in ("instantiate", "execute")}
    jax.ffi.register_ffi_target(TARGET, stages, platform="cpu", api_version=1)
    jax.ffi.register_ffi_target(TARGET, jax.ffi.pycapsule(on_gpus), platform="CUDA", api_version=1)
    return library, callback, handler, on_gpus


def _capsule(memory: Any) -> Any:
    """A capsule of Python with the address of memory of ctypes."""
    return jax.ffi.pycapsule(ctypes.cast(ctypes.addressof(memory), ctypes.CFUNCTYPE(None)))


@atexit.register
def _close() -> None:
    """Let no call begin any more, and wait for those under way: behind this a thread that asks Python ends there, and
    its program never does, for which JAX waits."""
    for close in _closers:
        try:
            jax.effects_barrier()
        finally:
            while close():
                time.sleep(0.001)


def _require_version() -> None:
    """Raise CompileError for a version of XLA's interface whose structures are others."""
    header = Path(jax.ffi.include_dir()) / "xla" / "ffi" / "api" / "c_api.h"
    text = header.read_text(encoding="utf-8") if header.exists() else ""
    found = [re.search(rf"#define XLA_FFI_API_{part} (\d+)", text) for part in ("MAJOR", "MINOR")]
    version = tuple(int(each[1]) for each in found if each is not None)
    if version != VERSION:
        wanted, shown = (".".join(map(str, each)) or "unknown" for each in (VERSION, version))
        raise CompileError(
            f"hpacml.jax knows XLA's foreign function interface {wanted}, and that of jaxlib "
            f"{jax.lib.__version__} is {shown}: pip install 'hpacml[jax]' installs a jaxlib that fits"
        )
