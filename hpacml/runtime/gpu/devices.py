"""Devices as Torch sees them: streams, memory, and the tensors that lie there. It imports Torch."""

from __future__ import annotations

import functools
import math
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any, Protocol

import torch

from hpacml.dtypes import DTYPES, torch_dtypes
from hpacml.errors import DeviceError
from hpacml.runtime.arrays.views import ArrayView, require_no_negative
from hpacml.runtime.gpu import driver

_capturing = threading.RLock()
"""Torch cannot capture in two threads at once, and to wait for all of a device breaks what another thread captures."""


class Event(Protocol):
    """A point on a stream."""

    def synchronize(self) -> None:
        """Wait until the device has come there."""
        ...

    def query(self) -> bool:
        """Whether it has."""
        ...

    def elapsed_time(self, end_event: Any, /) -> float:
        """Milliseconds from here to another event, both of which are past."""
        ...


class Device:
    """A GPU of NVIDIA. Everything happens on Torch's current stream, in memory of Torch's allocator."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.torch = torch.device("cuda", index)
        self.name = str(self.torch)
        """For Torch, which is to load models there."""
        self._context = driver.primary_context(index)
        self.launcher = driver.launcher()
        """The address of what launches kernels, with the signature of `cuLaunchKernel`."""
        self._captures: dict[int, _Capture] = {}
        """By the stream that what they capture is replayed on."""

    @functools.cached_property
    def chip(self) -> str:
        """The chip that code is made for: the newest one known that is not newer than the device's."""
        from hpacml.backend.chips import chip_of

        return chip_of(*torch.cuda.get_device_capability(self.index))

    def active(self) -> AbstractContextManager[None]:
        """Have this be the current device of Torch and of the driver."""
        return _Active(self.index, self._context)

    def resume(self) -> None:
        """Have it be the current device again inside of `active`, behind code that may have chosen another one."""
        torch.cuda.set_device(self.index)
        driver.enter(self._context)

    @property
    def stream(self) -> int:
        """The handle of Torch's current stream."""
        # As torch.cuda.current_stream(...).cuda_stream, without the objects, which take ten times as long.
        return torch._C._cuda_getCurrentRawStream(self.index)  # pyright: ignore

    def wait_for(self, stream: int) -> None:
        """Have the current stream wait for what is on another one now."""
        if (other := self._other(stream)) is not None:
            torch.cuda.current_stream(self.index).wait_stream(other)

    def have_wait(self, stream: int) -> None:
        """Have another stream wait for what is on the current one now."""
        if (other := self._other(stream)) is not None:
            other.wait_stream(torch.cuda.current_stream(self.index))

    def _other(self, stream: int) -> torch.cuda.Stream | None:
        """A stream of the CUDA array interface, in which 1 is the default stream, unless it is the current one."""
        stream = 0 if stream == 1 else stream
        if stream == self.stream:
            return None
        return torch.cuda.ExternalStream(stream, device=self.torch) if stream else torch.cuda.default_stream(self.index)

    def synchronize(self) -> None:
        """Wait for the current stream."""
        torch.cuda.current_stream(self.index).synchronize()

    def synchronize_all(self) -> None:
        """Wait for all streams, of which none may be capturing."""
        with _capturing:
            torch.cuda.synchronize(self.index)

    def event(self, blocking: bool = False) -> Event:
        """A new event on the current stream, that tells its time; who waits for it sleeps if it is `blocking`."""
        event = torch.cuda.Event(enable_timing=True, blocking=blocking)
        event.record(torch.cuda.current_stream(self.index))
        return event

    def empty(self, shape: tuple[int, ...], dtype: str) -> torch.Tensor:
        """A tensor that is not filled. Raises `DeviceError` if there is no memory."""
        try:
            return torch.empty(shape, dtype=torch_dtypes()[dtype], device=self.torch)
        except torch.OutOfMemoryError as error:
            size = math.prod(shape) * torch_dtypes()[dtype].itemsize
            raise no_memory(self.index, size, str(error).splitlines()[0]) from error

    def pinned(self, size: int) -> torch.Tensor:
        """Bytes of host memory that the device copies from and to by itself."""
        return torch.empty(size, dtype=torch.uint8, device="cpu", pin_memory=True)

    def to_pinned(self, tensor: torch.Tensor) -> torch.Tensor:
        """A copy of a tensor in such memory, which is there when the current stream has come so far."""
        copy = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=True)
        return copy.copy_(tensor, non_blocking=True)

    def tensor(self, view: ArrayView) -> torch.Tensor:
        """A tensor over memory of this device, valid as long as that is. Raises MapError for negative strides."""
        kind = torch_dtypes()[view.dtype]
        if 0 in view.shape:
            return torch.empty_strided(view.shape, view.strides, dtype=kind, device=self.torch)
        require_no_negative(view.strides)
        tensor = torch.as_tensor(_Exporter(view), device=self.torch)
        return tensor.view(kind) if view.dtype == "bf16" else tensor

    def load(self, ptx: str, names: Sequence[str]) -> list[Any]:
        """The kernels of these names in a PTX text, on this device."""
        with driver.relaxed():
            module = driver.load(ptx)
            return [driver.function(module, name) for name in names]

    def launch(self, kernel: Any, grid: int, block: int, stream: int, parameters: int) -> None:
        """Launch one of the loaded kernels; `parameters` is the address of an array of pointers to its parameters."""
        driver.launch(kernel, grid, block, stream, parameters)

    @property
    def capturing(self) -> bool:
        """Whether what is launched on the current stream goes into a graph, instead of being done."""
        return torch.cuda.is_current_stream_capturing()

    def capture(self, run: Callable[[], None]) -> Callable[[], None]:
        """What `run` does on the current stream, as a graph: call it to have all of it done once. `run` does nothing.

        It must be replayed on the stream that is current now. What Torch raises for something that cannot be captured
        comes out. It may come to run twice.
        """
        with _capturing:
            try:
                return self._capture(run)
            except Exception as error:
                if not _lacks_memory(error):
                    raise
            torch.cuda.empty_cache()  # Torch does not give back by itself what it keeps, while something is captured
            return self._capture(run)

    def _capture(self, run: Callable[[], None]) -> Callable[[], None]:
        home = self.stream
        capture = self._captures.get(home) or self._captures.setdefault(home, _Capture(self))
        try:
            return capture.graph(run).replay
        except BaseException:
            del self._captures[home]  # its stream and its memory may be in any state
            raise

    def __repr__(self) -> str:
        return f"cuda:{self.index}"


class _Capture:
    """Captures what is replayed on one stream, where graphs run one after the other, so that they share memory.

    Whatever a graph allocates is free again when its capture ends, so a later capture takes the same memory, and each
    replay writes there before it reads. Of what is not freed, such as the workspaces that libraries keep for each
    stream they work on, no other graph gets a part. Hence the stream is neither one of Torch's, which others may have
    too, nor that of another capture.
    """

    def __init__(self, device: Device) -> None:
        self._index = device.index
        self._stream = torch.cuda.ExternalStream(driver.stream(), device=device.torch)
        self._pool: Any = None
        self._graphs: weakref.WeakSet[torch.cuda.CUDAGraph] = weakref.WeakSet()

    def graph(self, run: Callable[[], None]) -> torch.cuda.CUDAGraph:
        """What `run` does."""
        graph = torch.cuda.CUDAGraph()
        sharing = list(self._graphs)  # held till the capture has begun: Torch forgets a pool with its last graph
        if not sharing:
            self._pool = torch.cuda.graph_pool_handle()
        # Not `torch.cuda.graph`, which waits for the device and returns all memory that Torch keeps.
        with torch.cuda.stream(self._stream):
            try:
                graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
                try:
                    run()
                finally:
                    graph.capture_end()
            except BaseException:
                self._close_pool()
                raise
        self._graphs.add(graph)
        return graph

    def _close_pool(self) -> None:
        """Have Torch know that nothing is captured any more: after a failure it does not, and keeps all memory."""
        with suppress(RuntimeError):  # it does know if only `run` has failed
            torch._C._cuda_endAllocateToPool(self._index, self._pool)  # pyright: ignore
            torch._C._cuda_releasePool(self._index, self._pool)  # pyright: ignore


class _Active:
    __slots__ = ("_context", "_device")

    def __init__(self, index: int, context: Any) -> None:
        self._device = torch.cuda.device(index)
        self._context = context

    def __enter__(self) -> None:
        self._device.__enter__()
        try:
            driver.enter(self._context)
        except BaseException:
            self._device.__exit__(*sys.exc_info())
            raise

    def __exit__(self, *raised: Any) -> None:
        self._device.__exit__(*raised)


def _lacks_memory(error: BaseException | None) -> bool:
    """Whether it is, or comes of, an allocation that failed."""
    while error is not None and not isinstance(error, torch.OutOfMemoryError):
        error = error.__cause__ or error.__context__
    return error is not None


def no_memory(index: int, size: int, reason: str) -> DeviceError:
    """That a device has no room for a tensor of so many bytes."""
    return DeviceError(f"the GPU {index} has no memory for a tensor of {size} bytes: {reason}")


class _Exporter:
    """Memory of a device, for Torch to make a tensor of."""

    def __init__(self, view: ArrayView) -> None:
        width = torch_dtypes()[view.dtype].itemsize
        self.__cuda_array_interface__ = {
            "shape": view.shape,
            "typestr": DTYPES[view.dtype].type_code,
            "data": (view.address, False),
            "strides": tuple(width * stride for stride in view.strides),
            "version": 2,
        }


_devices: dict[int, Device] = {}
_making = threading.Lock()


def device(index: int) -> Device:
    """The GPU of that number, always the same object. Raises `DeviceError` if this process has none such."""
    if (found := _devices.get(index)) is None:
        with _making:
            found = _devices.get(index) or _devices.setdefault(index, _make(index))
    return found


def _make(index: int) -> Device:
    if not torch.cuda.is_available():
        reason = "this Torch is built without CUDA" if torch.version.cuda is None else "Torch finds no GPU"
        raise DeviceError(f"the GPU {index} cannot be used: {reason}")
    if torch.version.hip is not None:
        raise DeviceError("this Torch is for GPUs of AMD, for which code is made as text only (kernel.amdgcn)")
    if index >= torch.cuda.device_count():
        raise DeviceError(f"there is no GPU {index}: Torch finds {torch.cuda.device_count()}")
    return Device(index)


def current_device() -> Device:
    """Torch's current GPU."""
    return device(torch.cuda.current_device() if torch.cuda.is_available() else 0)
