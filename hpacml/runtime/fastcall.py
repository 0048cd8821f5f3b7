"""The fast path of calls: native code takes arguments out of Python's objects and runs compiled code with them.

It is for arguments that are plainly what the code takes, such as packed NumPy arrays and Python's numbers. For anything
else Python does what it does without a fast path.
"""

from __future__ import annotations

import ctypes
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np

from hpacml.backend import llvm
from hpacml.disk import cache
from hpacml.locks import Order, lock
from hpacml.runtime import frame
from hpacml.runtime.arrays.torch_layout import TELLING_FLAGS
from hpacml.runtime.arrays.views import c_strides
from hpacml.runtime.entry import Function
from hpacml.runtime.fast_path import (
    ABSENT,
    RETURNS,
    Callee,
    Conditions,
    FastPath,
    Known,
    KnownTensor,
    OfClass,
    Packed,
    Pointers,
    Signature,
    Taken,
)
from hpacml.runtime.shim import runtime

_TAKES: Mapping[object, tuple[int, object]] = {float: (1, np.float64), int: (2, None), bool: (3, True)}
"""How the table tells types of arguments: a number, and an object. NumPy's float64 is a Python float."""

_PACKED, _KNOWN_INT, _KNOWN, _OF_CLASS, _TENSOR, _POINTERS = 0, 4, 5, 6, 7, 8
_C_ORDER, _ALIGNED, _WRITEABLE = 0x1, 0x100, 0x400
_FASTCALL, _KEYWORDS = 0x80, 0x02
_HEAD = 16
"""The bytes of the head of an object: the number of its references, and its class."""


def open(callee: Callee, function: Function, signature: Signature, conditions: Conditions) -> None:
    """Have calls of `callee` run a function, where that is possible here.

    Either the signature has a frame, or the code needs none. Native code then takes the place of the method `__call__`
    of its class, which alone is a `Callee` directly.
    """
    if (native := _native()) is not None:
        _install(next(each for each in type(callee).__mro__ if Callee in each.__bases__), native)
        callee.fast_path = _path(native, function, signature, conditions)


def caller(function: Function, signature: Signature, conditions: Conditions) -> Callable[..., Any] | None:
    """A function that runs code for arguments that fit, and returns NotImplemented for others; None if it cannot be.

    Either the signature has a frame, or the code needs none.
    """
    if (native := _native()) is None:
        return None
    return _function(native.function, _path(native, function, signature, conditions))


def same(dictionaries: Sequence[dict[str, Any]]) -> Callable[[], bool]:
    """A function that tells whether dictionaries have the keys and values that they have now, in the same order.

    They are compared by identity.
    """
    found = [(each, [*each.items()]) for each in dictionaries]
    if (native := _native()) is None:
        return lambda: all(
            len(each) == len(before) and all(map(_is_pair, each.items(), before)) for each, before in found
        )
    table = struct.pack("=Q", len(found))
    for each, before in found:
        identities = [id(part) for pair in before for part in pair]
        table += struct.pack(f"=2Q{len(identities)}Q", id(each), len(before), *identities)
    return _function(native.same, (table, found))


def checksum(pieces: Sequence[tuple[int, int]]) -> Callable[[], int]:
    """A function that gives the checksum of pieces of memory, each an address and a number of bytes."""
    numbers = [number for piece in pieces for number in piece]
    if (native := _native()) is None:
        table = (ctypes.c_int64 * len(numbers))(*numbers)
        return lambda: runtime().checksum(table, len(pieces))
    return _function(native.sum, (struct.pack(f"={1 + len(numbers)}Q", len(pieces), *numbers),))


def contents(sizes: Sequence[int]) -> Callable[[int], bytes]:
    """A function that takes the address of pointers, and gives the bytes that they point to, of these numbers."""
    if (native := _native()) is None:
        pointers = ctypes.c_size_t * len(sizes)
        return lambda address: b"".join(map(ctypes.string_at, pointers.from_address(address), sizes))
    return _function(native.contents, (struct.pack(f"={1 + len(sizes)}Q", len(sizes), *sizes),))


def _is_pair(now: tuple[object, object], before: tuple[object, object]) -> bool:
    return now[0] is before[0] and now[1] is before[1]


def _function(method: _Method, path: FastPath) -> Callable[..., Any]:
    make = ctypes.PyDLL(None).PyCFunction_NewEx
    make.argtypes, make.restype = (ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p), ctypes.py_object
    return make(ctypes.addressof(method), path, None)


def _path(native: _Native, function: Function, signature: Signature, conditions: Conditions) -> FastPath:
    """The table, whose numbers are 64 bits each, and the owners of what it points to."""
    owners: list[object] = [function, signature, conditions]

    def described(shape: Sequence[int], strides: Sequence[int], size: int) -> int:
        """The address of a description: the rank, a descriptor, the strides in bytes, and where its memory ends.

        These are the bytes from its first element down to the lowest, and up to the end of the highest.
        """
        steps = [stride * size for stride in strides]
        spans = [(extent - 1) * step for extent, step in zip(shape, steps, strict=True)]
        ends = sum(min(span, 0) for span in spans), sum(max(span, 0) for span in spans) + size
        return kept(len(shape), 0, 0, 0, *shape, *strides, *steps, *ends)

    def kept(*words: int) -> int:
        owners.append(memory := (ctypes.c_int64 * len(words))(*words))
        return ctypes.addressof(memory)

    def parameter(taken: Taken) -> bytes:
        match taken:
            case Packed(dtype, rank, written):
                flags = _C_ORDER | _ALIGNED | _WRITEABLE * written
                return struct.pack("=4Q2i", _PACKED, id(np.ndarray), id(dtype), 0, rank, flags)
            case Known(dtype, shape, strides, written):
                flags, description = _ALIGNED | _WRITEABLE * written, described(shape, strides, dtype.itemsize)
                return struct.pack("=4Q2i", _KNOWN, id(np.ndarray), id(dtype), description, len(shape), flags)
            case KnownTensor(kind, keys, size, shape, strides, written):
                description, form = described(shape, strides, size), kept(kind, keys, size, TELLING_FLAGS)
                owners.append(cls := sys.modules["torch"].Tensor)
                return struct.pack("=4Q2i", _TENSOR, id(cls), form, description, len(shape), _WRITEABLE * written)
            case OfClass(kind):
                return struct.pack("=4Q2i", _OF_CLASS, id(kind), 0, 0, 0, 0)
            case Pointers(number):
                return struct.pack("=4Q2i", _POINTERS, id(int), number, 0, 0, 0)
            case type():
                kind, extra = _TAKES[taken]
                return struct.pack("=4Q2i", kind, id(taken), id(extra), 0, 0, 0)
            case int():
                return struct.pack("=2Qq2Q", _KNOWN_INT, id(int), taken, 0, 0)

    takes, rules, constants, made = signature.takes, signature.rules, signature.constants, signature.made
    ranks = [each.rank for each, _, _ in takes if isinstance(each, Packed | Known | KnownTensor)]
    ranks += [] if made is None else [len(made.shape)]
    words = function.slots + 1 + sum(3 + 2 * rank for rank in ranks)
    judge = None if function.is_leaf else function.settle
    kind, cls = (0, None) if signature.returns is None else RETURNS[signature.returns]
    maker = (0, 0, 0)
    if made is not None:
        maker = id(made.make), made.slot, described(made.shape, c_strides(made.shape), 0)
    owners.append(judge)
    counts = len(conditions.entries), len(conditions.answers), len(rules), len(constants), len(takes)
    head = signature.arguments, words, function.slots, function.address, _identity(judge), kind, _identity(cls)
    make, returned = (None, None) if (form := signature.frame) is None else (form.make, form.returned)
    owners += make, returned
    frames = _identity(make), id(frame.FRAMES[0]), id(frame.FRAMES[1]), frame.SHALLOW, _identity(returned)
    last = (-1 if number is None else number for number in (signature.apart, signature.given))
    table = struct.pack("=20Q2q", *head, *maker, *counts, *frames, *last)
    for dictionary, key, there in conditions.entries:
        table += struct.pack("=3Q", id(dictionary), id(key), 0 if there is ABSENT else id(there))
    for asked, answer in conditions.answers:
        table += struct.pack("=2Q", id(asked), id(answer))
    for (one, axis), other, size in rules:
        table += struct.pack("=4q", one, axis, *(other or (-1, size)))
    for slot, value in constants:
        table += struct.pack("=2q", slot, value)
    for taken, argument, slot in takes:
        table += parameter(taken) + struct.pack("=2Q", argument, slot)
    if form is not None:
        form.stayed = _function(native.stayed, (table,))
    return table, *owners


def _identity(value: object) -> int:
    return 0 if value is None else id(value)


class _Method(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("code", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p))


_PYTHON = (
    "PyBool_FromLong",
    "PyBytes_AsString",
    "PyBytes_FromStringAndSize",
    "PyDict_GetItem",
    "PyDict_Next",
    "PyDict_Size",
    "PyErr_NoMemory",
    "PyEval_RestoreThread",
    "PyEval_SaveThread",
    "PyFloat_AsDouble",
    "PyFloat_FromDouble",
    "PyList_Append",
    "PyList_SetSlice",
    "PyList_Size",
    "PyLong_AsLongLongAndOverflow",
    "PyLong_AsVoidPtr",
    "PyLong_FromLongLong",
    "PyLong_FromVoidPtr",
    "PyMem_Free",
    "PyMem_Malloc",
    "PyObject_CallNoArgs",
    "PyObject_GetAttr",
    "PyObject_Vectorcall",
    "PyTuple_GetItem",
    "PyTuple_Size",
    "Py_DecRef",
    "Py_IncRef",
)
"""What the native code calls of Python."""

_EXPORTS = (
    "hpacml_admit",
    "hpacml_begin",
    "hpacml_call",
    "hpacml_contents",
    "hpacml_same",
    "hpacml_stayed",
    "hpacml_sum",
    "hpacml_try",
)


class _Native:
    """The loaded native code."""

    def __init__(self, library: llvm.Library):
        self.addresses = library.addresses
        self.method = _Method(b"__call__", library.addresses["hpacml_call"], _FASTCALL | _KEYWORDS, None)
        self.function = _Method(b"fast_path", library.addresses["hpacml_try"], _FASTCALL, None)
        self.same = _Method(b"same", library.addresses["hpacml_same"], _FASTCALL, None)
        self.contents = _Method(b"contents", library.addresses["hpacml_contents"], _FASTCALL, None)
        self.sum = _Method(b"checksum", library.addresses["hpacml_sum"], _FASTCALL, None)
        self.stayed = _Method(b"stayed", library.addresses["hpacml_stayed"], _FASTCALL, None)
        self._owners: list[object] = [library]

    def keep(self, owner: object) -> None:
        """Keep what native code points to."""
        self._owners.append(owner)


_lock = lock(Order.LOADING)
_loaded: list[_Native | None] = []
_installed: set[type[Any]] = set()


def _native() -> _Native | None:
    """The native code, loaded once; None where it cannot be used."""
    if not _loaded:
        known, symbols = _is_known(), runtime().symbols
        with _lock:
            if not _loaded:
                _loaded.append(_load(symbols) if known else None)
    return _loaded[0]


def _load(symbols: Mapping[str, int]) -> _Native:
    imports = {name: ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0 for name in _PYTHON}
    code = (resources.files("hpacml.runtime") / "fastcall.ll").read_text(encoding="utf-8")
    library = cache.fetch(
        cache.key("fastcall", *llvm.host(), code),
        lambda: llvm.emit(code, _EXPORTS),
        lambda compiled: llvm.link(compiled, _EXPORTS, {**symbols, **imports}),
    )
    begin = ctypes.PYFUNCTYPE(None, ctypes.py_object, ctypes.py_object)
    begin(library.addresses["hpacml_begin"])(None, NotImplemented)
    return _Native(library)


def _install(cls: Any, native: _Native) -> None:
    """Have native code take the place of a class's method `__call__`, once."""
    with _lock:
        if cls in _installed:
            return
        _installed.add(cls)
        in_python = cls.__call__
        native.keep(in_python)
        admit = ctypes.PYFUNCTYPE(None, ctypes.py_object, ctypes.c_int64)
        admit(native.addresses["hpacml_admit"])(in_python, _place(cls))
        make = ctypes.PyDLL(None).PyDescr_NewMethod
        make.argtypes, make.restype = (ctypes.py_object, ctypes.c_void_p), ctypes.py_object
        cls.__call__ = make(cls, ctypes.addressof(native.method))


def _place(cls: type[Callee]) -> int:
    """The offset of the fast path in objects of a class."""
    sample, path = object.__new__(cls), (b"",)
    sample.fast_path = path
    return next(offset for offset in range(_HEAD, cls.__basicsize__, 8) if _word(sample, offset) == id(path))


def _is_known() -> bool:
    """Whether objects and arrays are laid out as in the headers of Python and NumPy; others may have other objects."""
    if sys.implementation.name != "cpython" or object.__basicsize__ != _HEAD or ctypes.sizeof(ctypes.c_void_p) != 8:
        return False  # a build without the GIL has larger heads
    numbers = all(_class(number) == id(type(number)) for number in (1.5, 2, True, np.float64(1.5)))
    samples = np.zeros((2, 3)), np.zeros((3, 4), np.int8)[1:, ::-1], np.frombuffer(bytes(8), np.float32)
    return numbers and all(map(_is_array, samples))


def _is_array(array: np.ndarray[Any, Any]) -> bool:
    sizes = (ctypes.c_int64 * array.ndim).from_address(_word(array, 32))
    return (
        _class(array) == id(np.ndarray)
        and _word(array, 16) == array.__array_interface__["data"][0]
        and _word(array, 24) & 0xFFFFFFFF == array.ndim
        and tuple(sizes) == array.shape
        and _word(array, 56) == id(array.dtype)
        and _word(array, 64) & 0x501 == array.flags.num & 0x501
    )


def _class(value: object) -> int:
    return _word(value, 8)


def _word(value: object, offset: int) -> int:
    return ctypes.c_uint64.from_address(id(value) + offset).value
