"""Python's half of libhpacml, which runs where a C program has called what its compiled code leaves to Python.

The library starts Python, or finds it, and calls `start`; from then on it calls the same functions that compiled code
calls in Python programs.
"""

from __future__ import annotations

import atexit
import ctypes
import io
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from hpacml.abi.entries import CallRecord
from hpacml.abi.symbols import PYTHON_HALVES
from hpacml.environment import inherited
from hpacml.errors import HpacmlError
from hpacml.runtime import handlers
from hpacml.runtime.callbacks import make_callbacks, pending
from hpacml.runtime.databases.origins import Origin, Source
from hpacml.runtime.databases.writer import flush
from hpacml.runtime.frame import Frame, Paths

if TYPE_CHECKING:
    from hpacml.embedding.embedded_calls import CallOfC


class Table(ctypes.Structure):
    """What the library and Python call of each other; libhpacml.c has the same structure."""

    _fields_ = [
        ("halves", ctypes.c_void_p * len(PYTHON_HALVES)),
        ("take_error", ctypes.c_void_p),
        ("flush", ctypes.c_void_p),
        ("end", ctypes.c_void_p),
        ("current", ctypes.c_void_p),
        ("at_exit", ctypes.c_void_p),
        ("begin_on_gpu", ctypes.c_void_p),
        ("end_on_gpu", ctypes.c_void_p),
    ]


class _Call(ctypes.Structure):
    """A call of a C function."""

    _fields_ = [
        ("record", ctypes.c_char_p),
        ("texts", ctypes.POINTER(ctypes.c_char_p)),
        ("outer", ctypes.c_void_p),
        ("gpu", ctypes.c_void_p),
    ]


_kept: list[Any] = []
"""The C functions that the library calls, and the states of C functions of libraries."""


def start(address: int) -> None:
    """Fill the table at an address."""
    table = Table.from_address(address)
    handlers.install()
    if table.at_exit:  # this Python is new, and has not looked at the environment
        sys.path += filter(None, inherited().get("PYTHONPATH", "").split(os.pathsep))
        sys.stdout = io.TextIOWrapper(cast("BinaryIO", _Output()), "utf-8", "surrogateescape", write_through=True)
    ends = ctypes.CFUNCTYPE(ctypes.c_int)(table.at_exit) if table.at_exit else None
    around = _Around(ctypes.PYFUNCTYPE(ctypes.c_void_p)(table.current), ends)
    callbacks = make_callbacks(around.call)
    take_error = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(_take_error)
    flushing, ending = ctypes.CFUNCTYPE(ctypes.c_int)(_flush), ctypes.CFUNCTYPE(None)(_end)
    for k, name in enumerate(PYTHON_HALVES):
        table.halves[k] = _address(callbacks[f"hpacml_py_{name}"])
    beginning = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(around.begin_on_gpu)
    closing = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(around.end_on_gpu)
    table.take_error, table.flush, table.end = map(_address, (take_error, flushing, ending))
    table.begin_on_gpu, table.end_on_gpu = map(_address, (beginning, closing))
    _kept.append((callbacks, take_error, flushing, ending, beginning, closing, around))
    around.note_modules()


class _Output(io.RawIOBase):
    """The stream `stdout` of the C library, by which the program prints: what kernels print stands in between."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)
        self._library.fwrite.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_void_p]
        self._library.fwrite.restype = ctypes.c_size_t
        self._stream = ctypes.c_void_p.in_dll(self._library, "stdout")

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        return self._library.fwrite(bytes(data), 1, len(data), self._stream)

    def flush(self) -> None:
        self._library.fflush(self._stream)


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


class _Around:
    """What is done around each call of Python."""

    def __init__(self, current: Any, ends: Any) -> None:
        self._current, self._ends = current, ends
        self._modules = 0
        self._functions: dict[tuple[int, bytes], tuple[CallRecord, Paths]] = {}
        self._on_gpus: dict[int, CallOfC] = {}
        """The calls on GPUs that have asked something, by the addresses of what libhpacml knows of each."""

    @contextmanager
    def call(self) -> Generator[None]:
        """Have the frame of the C function's call as the innermost one, and its stream as Torch's current one."""
        frame, gpu = self._frame()
        if gpu is None:
            with frame:
                yield
        else:
            with gpu.device.on(gpu.stream), frame.on(gpu):
                yield
        self.note_modules()

    def begin_on_gpu(self, address: int) -> int:
        """Set up a call on a GPU. Returns 1, or 0 where that is an error, which is pending then."""
        try:
            from hpacml.embedding.embedded_calls import begun

            gpu = _Call.from_address(address).gpu
            self._on_gpus[gpu] = begun(gpu)
        except BaseException as error:
            pending.errors.append(error)
            return 0
        self.note_modules()
        return 1

    def end_on_gpu(self, address: int) -> None:
        """Forget a call on a GPU that was set up."""
        self._on_gpus.pop(_Call.from_address(address).gpu).close()

    def note_modules(self) -> None:
        """Have collections written before what new modules do at the end: HDF5 ends itself when the program does."""
        if self._ends is not None and len(sys.modules) != self._modules:
            self._modules = len(sys.modules)
            self._ends()

    def _frame(self) -> tuple[Frame, CallOfC | None]:
        address = self._current()
        if not address:
            return Frame(), None
        call = _Call.from_address(address)
        record, paths = self._function(address, call.record)
        given = {name: _text(call.texts[k]) for k, name in enumerate(record.texts)}
        gpu = self._on_gpus.get(call.gpu)
        return Frame({**record.constants, **given}, paths=paths), gpu

    def _function(self, address: int, text: bytes) -> tuple[CallRecord, Paths]:
        key = ctypes.c_size_t.from_address(address).value, text
        if key not in self._functions:
            record, paths = CallRecord.parse(text), Paths()
            for label, (function, labelled, sources) in record.origins.items():
                paths.origins[label] = Origin(function, labelled, tuple(map(Source.of, sources)))
            self._functions[key] = record, paths
        return self._functions[key]


def _text(given: bytes | None) -> str | None:
    return None if given is None else given.decode(errors="surrogateescape")


def _take_error(buffer: int, size: int) -> None:
    """Write what a call has raised to memory, as UTF-8 with NUL."""
    pending.sizes.clear()
    pending.numbers.clear()
    error = pending.errors.pop() if pending.errors else None
    text = "it was stopped by an error that left no trace" if error is None else _told(error)
    data = text.encode(errors="backslashreplace").replace(b"\0", b"")[: size - 1]
    data = data.decode(errors="ignore").encode()  # no half of a letter
    ctypes.memmove(buffer, data + b"\0", len(data) + 1)


def _told(error: BaseException) -> str:
    return str(error) if isinstance(error, HpacmlError) else f"{type(error).__name__}: {error}"


def _flush() -> int:
    try:
        flush()
    except BaseException as error:
        pending.errors.append(error)
        return 0
    return 1


def _end() -> None:
    """Do what Python does at its end, except for freeing memory."""
    atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
