"""XLA as programs for GPUs have it, without a GPU: it gives calls buffers and a stream of a simulated device."""

from __future__ import annotations

import ctypes
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
import pytest

from hpacml.jax import call_primitive, xla_handler
from hpacml.jax.call_primitive import XlaCall
from tests.simulated_gpu import SimulatedDevice

STREAM = 0x5EA
_ERROR_CREATE, _GET_MESSAGE, _DESTROY, _STREAM_GET, _DEVICE_ORDINAL_GET, _FUNCTIONS = 0, 1, 2, 4, 17, 18
_PREFIX = "Prefix of XLA: "


class Metadata(ctypes.Structure):
    """What a handler tells of itself: XLA_FFI_Metadata, and the extension of a frame that asks for it."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("size", "size_of_version", "extension_of_version")),
        *((name, ctypes.c_int32) for name in ("major", "minor", "traits")),
        ("state", ctypes.c_int64),
    )

    @staticmethod
    def of(handler: Any) -> Metadata:
        told = Metadata(major=-1, minor=-1, traits=-1, state=-1)
        extension = (ctypes.c_int64 * 4)(32, 1, 0, ctypes.addressof(told))
        frame = Frame(ctypes.sizeof(Frame), ctypes.addressof(extension))
        assert not handler(ctypes.addressof(frame))
        return told


class Address(ctypes.Structure):
    _fields_ = (*((name, ctypes.c_int64) for name in ("size", "extension", "given")), ("found", ctypes.c_int64))


class Buffer(ctypes.Structure):
    _fields_ = (
        *(("size", ctypes.c_size_t), ("extension", ctypes.c_void_p), ("dtype", ctypes.c_int)),
        *(("data", ctypes.c_void_p), ("rank", ctypes.c_int64), ("dims", ctypes.c_void_p)),
    )


class Scalar(ctypes.Structure):
    _fields_ = (("dtype", ctypes.c_int), ("value", ctypes.c_void_p))


class Buffers(ctypes.Structure):
    _fields_ = (
        *(("size", ctypes.c_size_t), ("extension", ctypes.c_void_p), ("count", ctypes.c_int64)),
        *(("types", ctypes.c_void_p), ("all", ctypes.c_void_p)),
    )


class Attributes(ctypes.Structure):
    _fields_ = (*Buffers._fields_[:4], ("names", ctypes.c_void_p), ("all", ctypes.c_void_p))


class Frame(ctypes.Structure):
    _fields_ = (
        *(("size", ctypes.c_size_t), ("extension", ctypes.c_void_p), ("api", ctypes.c_void_p)),
        *(("context", ctypes.c_void_p), ("stage", ctypes.c_int), ("arguments", Buffers)),
        *(("results", Buffers), ("attributes", Attributes), ("future", ctypes.c_void_p)),
    )


class Api(ctypes.Structure):
    _fields_ = (
        *(("size", ctypes.c_size_t), ("extension", ctypes.c_void_p), ("version", ctypes.c_int64 * 3)),
        *(("internal", ctypes.c_void_p), ("functions", ctypes.c_void_p * _FUNCTIONS)),
    )


class SimulatedXla:
    """Runs calls, each for itself, in buffers of its own, unless they are `refused` a stream."""

    def __init__(self, device: SimulatedDevice) -> None:
        self._device = device
        self.calls = 0
        self.refused = b""
        self._raised = ""
        self._kept: list[Any] = []
        self._api = Api(ctypes.sizeof(Api))
        self._answer(_ERROR_CREATE, self._create)
        self._answer(_GET_MESSAGE, self._tell)
        self._answer(_DESTROY, lambda _: 0)
        self._answer(_STREAM_GET, self._stream)
        self._answer(_DEVICE_ORDINAL_GET, self._ordinal)

    def _answer(self, number: int, function: Any) -> None:
        callback = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_size_t)(function)
        self._kept.append(callback)
        self._api.functions[number] = ctypes.cast(callback, ctypes.c_void_p).value

    def _create(self, address: int) -> int:
        self._raised = ctypes.string_at(Address.from_address(address).given).decode()
        return 1

    def _tell(self, address: int) -> int:
        told = Address.from_address(address)
        assert (told.size, told.given) == (32, 7)
        told.found = ctypes.cast(ctypes.c_char_p(self.refused), ctypes.c_void_p).value or 0
        return 0

    def _stream(self, address: int) -> int:
        asked = Address.from_address(address)
        assert (asked.size, asked.given) == (32, id(self._device))
        asked.found = STREAM
        return 7 if self.refused else 0

    def _ordinal(self, address: int) -> int:
        assert ctypes.c_int64.from_address(address).value == 28
        ctypes.c_int32.from_address(address + 24).value = self._device.index
        return 0

    def run(self, *arguments: Any, call: XlaCall) -> list[Any]:
        """What a call makes. Raises RuntimeError with the text of the handler's error, as JAX does."""
        self.calls += 1
        given = [np.array(x) for x in arguments]
        made = [np.zeros(x.shape, x.dtype) for x in call.results]
        for argument, result in call.aliases.items():
            made[result] = given[argument]  # XLA has copied what is used elsewhere
        for array in (*given, *made):
            self._device.hold(array.__array_interface__["data"][0], array.nbytes, array)
        if error := self._handler(self._frame(given, made, call)):
            assert error == 1
            raise RuntimeError(_PREFIX + self._raised)
        return [jax.numpy.asarray(array) for array in made]

    def _handler(self, frame: Frame) -> int:
        *_, handler = xla_handler._load()
        return handler(ctypes.addressof(frame))

    def _frame(self, given: Sequence[Any], made: Sequence[Any], call: XlaCall) -> Frame:
        frame = Frame(ctypes.sizeof(Frame), None, ctypes.addressof(self._api), id(self._device), 3)
        self._buffers = [
            Buffer(ctypes.sizeof(Buffer), None, 0, x.__array_interface__["data"][0], x.ndim, None)
            for x in (*given, *made)
        ]
        self._values = [ctypes.c_int64(call.digest), ctypes.c_int64(call.number_for_gpus)]
        self._scalars = [Scalar(5, ctypes.addressof(value)) for value in self._values]
        frame.arguments.count, frame.results.count, frame.attributes.count = len(given), len(made), 2
        frame.arguments.all = self._pointers(self._buffers[: len(given)])
        frame.results.all = self._pointers(self._buffers[len(given) :])
        frame.attributes.all = self._pointers(self._scalars)
        return frame

    def _pointers(self, objects: Sequence[Any]) -> int:
        pointers = (ctypes.c_size_t * max(1, len(objects)))(*map(ctypes.addressof, objects))
        self._kept[5:] = [*self._kept[5:][-8:], pointers]
        return ctypes.addressof(pointers)


@contextmanager
def simulated_xla(monkeypatch: pytest.MonkeyPatch, device: SimulatedDevice) -> Generator[SimulatedXla]:
    """Programs run operation by operation, and hpacml's calls on a simulated device."""
    xla = SimulatedXla(device)
    run = lambda *arguments, call: call_primitive.settled(lambda: xla.run(*arguments, call=call))  # noqa: E731
    monkeypatch.setattr(call_primitive.primitive, "impl", run)
    with jax.disable_jit():
        yield xla
