"""A GPU that is none: memory of this process, in which the PTX of kernels is interpreted when they are launched."""

from __future__ import annotations

import ctypes
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np
import pytest
import torch

from hpacml.dtypes import torch_dtypes
from hpacml.runtime.arrays.views import ArrayView, tensor_over
from hpacml.runtime.gpu import devices, driver, kernels
from tests import ptx


class Event:
    """A point in time: the simulated device has done all that was launched."""

    def __init__(self) -> None:
        self.time = time.perf_counter()

    def synchronize(self) -> None:
        pass

    def query(self) -> bool:
        return True

    def elapsed_time(self, end: Event) -> float:
        return 1e3 * (end.time - self.time)


CU_LAUNCH_KERNEL = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_size_t, *[ctypes.c_uint] * 7, *[ctypes.c_size_t] * 3)


_current = threading.local()


def current() -> SimulatedDevice | None:
    """The device that is the current one of this thread."""
    return getattr(_current, "device", None)


def choose(device: SimulatedDevice) -> None:
    """Make a device the current one of this thread, as programs do."""
    _current.device = device


class SimulatedDevice:
    """What `hpacml.runtime.gpu.devices.Device` is, without a GPU."""

    chip = "sm_80"
    name = "cpu:0"  # not the name of the host, as that of a GPU is not
    torch = torch.device("cpu")

    def __init__(self, index: int = 0) -> None:
        self.index = index
        self.memory = ptx.Memory()
        self.stream = 0
        self.launched: list[str] = []
        self.launched_by_code = 0
        """Launches that compiled code did by itself."""
        self._kernels: list[ptx.Kernel] = []
        self._launcher = CU_LAUNCH_KERNEL(self._cu_launch_kernel)
        self.launcher = ctypes.cast(self._launcher, ctypes.c_void_p).value
        self.loads = 0
        self.capturing = False
        self.captures = 0
        self.replays = 0
        self.replayed = 0
        """Launches by graphs."""
        self.synchronized = 0
        self.order: list[tuple[str, int]] = []
        self.left = 1 << 32
        """Bytes that can still be allocated."""
        self.traffic: list[ptx.Traffic] = []
        self._owners: Counter[int] = Counter()

    def hold(self, address: int, nbytes: int, owner: object) -> None:
        """Have memory of this process be memory of the device, as long as one of its owners lives."""
        if not nbytes:
            return
        if not self._owners[address]:
            self.memory.add(address, nbytes)
        self._owners[address] += 1
        weakref.finalize(owner, self._release, address)

    def _release(self, address: int) -> None:
        self._owners[address] -= 1
        if not self._owners[address]:
            self.memory.remove(address)

    @contextmanager
    def active(self) -> Generator[None]:
        before, _current.device = getattr(_current, "device", None), self
        try:
            yield
        finally:
            _current.device = before

    @contextmanager
    def on(self, stream: int) -> Generator[None]:
        before, self.stream = self.stream, stream
        try:
            with self.active():
                yield
        finally:
            self.stream = before

    def resume(self) -> None:
        _current.device = self

    def wait_for(self, stream: int) -> None:
        if stream != self.stream:
            self.order.append(("wait for", stream))

    def have_wait(self, stream: int) -> None:
        if stream != self.stream:
            self.order.append(("have wait", stream))

    def synchronize(self) -> None:
        self.synchronized += 1

    def synchronize_all(self) -> None:
        self.synchronized += 1

    def event(self, blocking: bool = False) -> Event:
        return Event()

    def empty(self, shape: tuple[int, ...], dtype: str) -> torch.Tensor:
        size = prod(shape) * torch_dtypes()[dtype].itemsize
        if size > self.left:
            raise devices.no_memory(self.index, size, "simulated")
        tensor = torch.empty(shape, dtype=torch_dtypes()[dtype], device="cpu")
        self.hold(tensor.data_ptr(), tensor.nbytes, tensor)
        return tensor

    def pinned(self, size: int) -> torch.Tensor:
        tensor = torch.empty(size, dtype=torch.uint8, device="cpu")
        self.hold(tensor.data_ptr(), size, tensor)
        return tensor

    def to_pinned(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.clone()

    def tensor(self, view: ArrayView) -> torch.Tensor:
        inside = (start <= view.address < end for start, end in self.memory.ends.items())
        assert 0 in view.shape or any(inside), "memory that is not this device's"
        return tensor_over(view)

    def load(self, text: str, names: Sequence[str]) -> list[Any]:
        self.loads += 1
        kernels = ptx.Program(text).kernels
        self._kernels += [kernels[name] for name in names]
        count = len(self._kernels)
        return list(range(count - len(names), count))

    def _cu_launch_kernel(self, kernel: int, *sizes_stream_and_parameters: int) -> int:
        """What compiled code calls. An error is told by the other way to launch, which it then tries."""
        *sizes, shared, stream, parameters, extra = sizes_stream_and_parameters
        assert (sizes[1:3], sizes[4:], shared, extra) == ([1, 1], [1, 1], 0, 0)
        try:
            self.launch(kernel, sizes[0], sizes[3], stream, parameters)
        except ptx.PtxError:
            return 1
        self.launched_by_code += 1
        return 0

    def launch(self, number: int, grid: int, block: int, stream: int, parameters: int) -> None:
        kernel = self._kernels[number]
        assert current() in (self, None)
        assert stream == self.stream
        assert 0 < grid < 1 << 31, "the driver takes no other grid"
        assert 0 < block <= 1024
        self.launched.append(kernel.name)
        self.order.append(("launch", stream))
        self.traffic.append(kernel.launch(self.memory, (grid, 1, 1), (block, 1, 1), parameters))

    def capture(self, run: Callable[[], None]) -> Callable[[], None]:
        before = [(start, ctypes.string_at(start, end - start)) for start, end in self.memory.ends.items()]
        launched, by_code = len(self.launched), self.launched_by_code
        self.capturing = True
        try:
            run()
        finally:
            self.capturing = False
        del self.launched[launched:]
        self.launched_by_code = by_code
        self.captures += 1
        for address, content in before:
            ctypes.memmove(address, content, len(content))

        def replay() -> None:
            self.replays += 1
            before, by_code = len(self.launched), self.launched_by_code
            run()
            self.replayed += len(self.launched) - before
            self.launched_by_code = by_code

        return replay


class OnDevice:
    """An array in the memory of a simulated device, as CuPy has them."""

    def __init__(self, array: np.ndarray[Any, Any], device: SimulatedDevice, stream: int | None = None) -> None:
        self.array = array
        self._device = device
        self._stream = stream
        base = array
        while isinstance(base.base, np.ndarray):
            base = base.base
        self._base = base
        device.hold(base.__array_interface__["data"][0], base.nbytes, self)

    @property
    def ndim(self) -> int:
        return self.array.ndim

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        array = self.array
        data = (array.__array_interface__["data"][0], not array.flags.writeable)
        return {
            "shape": array.shape,
            "typestr": array.dtype.str,
            "data": data,
            "strides": array.strides,
            "stream": self._stream,
            "version": 3,
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self._device.index


class TensorOnDevice:
    """A tensor in the memory of a simulated device, as JAX has them: by DLPack."""

    def __init__(self, tensor: torch.Tensor, device: SimulatedDevice) -> None:
        self.tensor = tensor
        self.streams: list[int] = []
        """The streams of those who were given its memory."""
        self._device = device
        storage = tensor.untyped_storage()
        device.hold(storage.data_ptr(), storage.nbytes(), self)

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self._device.index

    def __dlpack__(self, **options: Any) -> Any:
        self.streams.append(options.pop("stream"))
        return self.tensor.__dlpack__(**options)


@contextmanager
def simulated(monkeypatch: pytest.MonkeyPatch, count: int = 1) -> Generator[list[SimulatedDevice]]:
    """Devices that take the place of real ones."""
    for each in list(kernels._kernels.values()):  # what other devices of the same numbers have loaded
        each._tables[:] = [0] * kernels.MOST_DEVICES
    known = [SimulatedDevice(index) for index in range(count)]
    monkeypatch.setattr(devices, "device", lambda index: known[index])
    monkeypatch.setattr(devices, "current_device", lambda: known[0])
    monkeypatch.setattr(driver, "device_of", lambda address: 0)
    yield known
