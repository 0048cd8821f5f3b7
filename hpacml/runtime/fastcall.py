"""The fast path of calls: native code takes arguments out of Python's objects and runs compiled code with them.

It is for arguments that are plainly what the code takes (packed NumPy arrays, Python's numbers), and for code that
calls nothing of the runtime, which needs no frame and cannot fail. For anything else the method in Python is called, as
if there were no fast path.
"""

from __future__ import annotations

import ctypes
import struct
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, TypeAlias

import numpy as np

from hpacml.backend import cache, llvm
from hpacml.locks import Order, lock
from hpacml.runtime.entry import Function
from hpacml.runtime.fast_path import ABSENT, Callee, Conditions
from hpacml.runtime.shim import runtime


@dataclass(frozen=True, slots=True)
class Packed:
    """An argument that is an array in C order."""

    dtype: np.dtype[Any]
    rank: int
    written: bool


Rule: TypeAlias = tuple[tuple[int, int], tuple[int, int] | None, int]
"""An axis of an argument, and that of another which has the same size, or the size."""


@dataclass(frozen=True, slots=True, eq=False)
class Signature:
    """What code takes: arrays, and numbers of the types float, int and bool. `returns` is a number's type, or None."""

    takes: Sequence[Packed | type[Any]]
    rules: Sequence[Rule]
    returns: type[Any] | None


RETURNS: Mapping[type[Any], tuple[int, type[Any] | None]] = {
    float: (1, None),
    int: (2, None),
    bool: (3, None),
    np.float64: (1, np.float64),
    np.int64: (2, np.int64),
    np.bool_: (3, np.bool_),
    np.float32: (4, np.float32),
    np.int32: (5, np.int32),
}
"""How the table tells the types of results: a number, and a class that Python's number is converted to."""

_C_ORDER, _ALIGNED, _WRITEABLE = 0x1, 0x100, 0x400
_TAKES: Mapping[type[Any], tuple[int, object]] = {float: (1, np.float64), int: (2, None), bool: (3, True)}
"""The same of arguments: a number, and an object. NumPy's float64 is a Python float."""

_ARRAY = 0
_METHOD_FLAGS = 0x80 | 0x02  # METH_FASTCALL | METH_KEYWORDS
_HEAD = 16
"""The bytes of the head of an object: the number of its references, and its class."""


def open(callee: Callee, function: Function, signature: Signature, conditions: Conditions) -> None:
    """Have calls of `callee` run a function natively, where that is possible here and for this function.

    Native code then takes the place of the method `__call__` of its class, which alone is a `Callee` directly.
    """
    if (address := function.leaf) is not None and _is_ready(type(callee)):
        callee.fast_path = _table(address, signature, conditions), function, signature, conditions


def _table(address: int, signature: Signature, conditions: Conditions) -> bytes:
    takes, rules = signature.takes, signature.rules
    words = len(takes) + 1 + sum(3 + 2 * each.rank for each in takes if isinstance(each, Packed))
    returns, made = (0, None) if signature.returns is None else RETURNS[signature.returns]
    counts = len(conditions.entries), len(conditions.answers), len(rules)
    table = struct.pack("=3q2Q3q", len(takes), words, returns, id(made) if made else 0, address, *counts)
    for dictionary, key, there in conditions.entries:
        table += struct.pack("=3Q", id(dictionary), id(key), 0 if there is ABSENT else id(there))
    for asked, answer in conditions.answers:
        table += struct.pack("=2Q", id(asked), id(answer))
    for (one, axis), other, size in rules:
        table += struct.pack("=4q", one, axis, *(other or (-1, size)))
    for each in takes:
        if isinstance(each, Packed):
            flags = _C_ORDER | _ALIGNED | _WRITEABLE * each.written
            table += struct.pack("=q2Q2i", _ARRAY, id(np.ndarray), id(each.dtype), each.rank, flags)
        else:
            kind, extra = _TAKES[each]
            table += struct.pack("=q2Q2i", kind, id(each), id(extra), 0, 0)
    return table


class _Method(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("code", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p))


_PYTHON = (
    "PyBool_FromLong",
    "PyBytes_AsString",
    "PyDict_GetItem",
    "PyErr_NoMemory",
    "PyEval_RestoreThread",
    "PyEval_SaveThread",
    "PyFloat_AsDouble",
    "PyFloat_FromDouble",
    "PyLong_AsLongLongAndOverflow",
    "PyLong_FromLongLong",
    "PyMem_Free",
    "PyMem_Malloc",
    "PyObject_CallNoArgs",
    "PyObject_Vectorcall",
    "PyTuple_GetItem",
    "PyTuple_Size",
    "Py_DecRef",
    "Py_IncRef",
)
"""What the native code calls of Python."""

_lock = lock(Order.LOADING)
_ready: list[bool] = []
_owners: list[object] = []
"""What native code points to."""


def _is_ready(cls: type[Callee]) -> bool:
    """Load the native code once, and tell whether that is possible."""
    if not _ready:
        known = _is_known()
        symbols = runtime().symbols
        with _lock:
            if not _ready:
                if known:
                    _install(next(each for each in cls.__mro__ if Callee in each.__bases__), symbols)
                _ready.append(known)
    return _ready[0]


def _install(cls: Any, symbols: Mapping[str, int]) -> None:
    imports = {name: ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0 for name in _PYTHON}
    code = (resources.files("hpacml.runtime") / "fastcall.ll").read_text(encoding="utf-8")
    exports = "hpacml_admit", "hpacml_call"
    library = cache.fetch(
        cache.key("fastcall", *llvm.host(), code),
        lambda: llvm.emit(code, exports),
        lambda compiled: llvm.link(compiled, exports, {**symbols, **imports}),
    )
    method, in_python = _Method(b"__call__", library.addresses["hpacml_call"], _METHOD_FLAGS, None), cls.__call__
    _owners.extend((library, method, in_python))
    admit = ctypes.PYFUNCTYPE(None, ctypes.py_object, ctypes.c_int64, ctypes.py_object)
    admit(library.addresses["hpacml_admit"])(in_python, _place(cls), None)
    make = ctypes.PyDLL(None).PyDescr_NewMethod
    make.argtypes, make.restype = (ctypes.py_object, ctypes.c_void_p), ctypes.py_object
    cls.__call__ = make(cls, ctypes.addressof(method))


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
