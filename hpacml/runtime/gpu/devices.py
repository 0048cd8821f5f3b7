"""Devices through Torch: streams, memory, tensors, and graphs. Importing this file imports Torch."""

from __future__ import annotations

import functools
import math
import sys
import weakref
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, Protocol

import torch

from hpacml.dtypes import BRAIN, DTYPES, torch_dtypes
from hpacml.errors import DeviceError
from hpacml.locks import Order, lock
from hpacml.runtime.arrays.views import ArrayView, require_no_negative
from hpacml.runtime.gpu import driver

_capturing = lock(Order.DEVICE)
"""Held to capture, which Torch cannot do in two threads at once, and to wait for a device, which breaks a capture."""


class Event(Protocol):
    """A point on a stream, which is past once the device has come there."""

    def synchronize(self) -> None:
        """Wait until the event is past."""
        ...

    def query(self) -> bool:
        """Whether the event is past."""
        ...

    def elapsed_time(self, end_event: Any, /) -> float:
        """The milliseconds from this event to another; both must be past."""
        ...


class Device:
    """A GPU of NVIDIA. It works on Torch's current stream, in memory of Torch's allocator."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.torch = torch.device("cuda", index)
        self.name = str(self.torch)
        """Torch's name of the device, to load models there."""
        self._context = driver.primary_context(index)
        self.launcher = driver.launcher()
        """The address of the function that launches kernels, with the signature of `cuLaunchKernel`."""
        self._captures: dict[int, _Capture] = {}
        """The captures by the stream on which their graphs are replayed."""

    @functools.cached_property
    def chip(self) -> str:
        """The chip for which code is made: the newest known one that is not newer than the device."""
        from hpacml.backend.chips import chip_of

        return chip_of(*torch.cuda.get_device_capability(self.index))

    def active(self) -> AbstractContextManager[None]:
        """Make this the current device of Torch and of the driver, inside `with`."""
        return _Active(self.index, self._context)

    def resume(self) -> None:
        """Make this the current device again inside `active`, after code that may have chosen another."""
        torch.cuda.set_device(self.index)
        driver.enter(self._context)

    @contextmanager
    def on(self, stream: int) -> Generator[None]:
        """Make this the current device, and a stream of it Torch's current one, inside `with`."""
        with self.active():
            if (other := self._other(stream)) is None:
                yield
            else:
                with torch.cuda.stream(other):
                    yield

    @property
    def stream(self) -> int:
        """The handle of Torch's current stream."""
        # torch.cuda.current_stream(...).cuda_stream is the same, but makes objects, which takes ten times as long.
        return torch._C._cuda_getCurrentRawStream(self.index)  # pyright: ignore

    def wait_for(self, stream: int) -> None:
        """Make the current stream wait for the work that is on another stream now."""
        if (other := self._other(stream)) is not None:
            torch.cuda.current_stream(self.index).wait_stream(other)

    def have_wait(self, stream: int) -> None:
        """Make another stream wait for the work that is on the current stream now."""
        if (other := self._other(stream)) is not None:
            other.wait_stream(torch.cuda.current_stream(self.index))

    def _other(self, stream: int) -> torch.cuda.Stream | None:
        """The stream with a number of the CUDA array interface, where 1 is the default; None for the current stream."""
        stream = 0 if stream == 1 else stream
        if stream == self.stream:
            return None
        return torch.cuda.ExternalStream(stream, device=self.torch) if stream else torch.cuda.default_stream(self.index)

    def synchronize(self) -> None:
        """Wait for all work on the current stream."""
        torch.cuda.current_stream(self.index).synchronize()

    def synchronize_all(self) -> None:
        """Wait for all work on all streams, none of which may be capturing."""
        with _capturing:
            torch.cuda.synchronize(self.index)

    def event(self, blocking: bool = False) -> Event:
        """Record a new event, with its time, on the current stream; a thread that waits for a `blocking` one sleeps."""
        event = torch.cuda.Event(enable_timing=True, blocking=blocking)
        event.record(torch.cuda.current_stream(self.index))
        return event

    def empty(self, shape: tuple[int, ...], dtype: str) -> torch.Tensor:
        """Return an unfilled tensor. Raises `DeviceError` if there is no memory."""
        try:
            return torch.empty(shape, dtype=torch_dtypes()[dtype], device=self.torch)
        except torch.OutOfMemoryError as error:
            size = math.prod(shape) * torch_dtypes()[dtype].itemsize
            raise no_memory(self.index, size, str(error).splitlines()[0]) from error

    def pinned(self, size: int) -> torch.Tensor:
        """Return `size` bytes of pinned host memory, from and to which the device itself copies."""
        return torch.empty(size, dtype=torch.uint8, device="cpu", pin_memory=True)

    def to_pinned(self, tensor: torch.Tensor) -> torch.Tensor:
        """Start a copy of a tensor to pinned memory, and return it; it is complete once the stream has come there."""
        copy = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=True)
        return copy.copy_(tensor, non_blocking=True)

    def tensor(self, view: ArrayView) -> torch.Tensor:
        """A tensor over memory of this device, valid as long as the memory is. Raises MapError for negative strides."""
        kind = torch_dtypes()[view.dtype]
        if 0 in view.shape:
            return torch.empty_strided(view.shape, view.strides, dtype=kind, device=self.torch)
        require_no_negative(view.strides)
        tensor = torch.as_tensor(_Exporter(view), device=self.torch)
        return tensor.view(kind) if view.dtype == BRAIN else tensor

    def load(self, ptx: str, names: Sequence[str]) -> list[Any]:
        """Load a PTX text, and return its kernels of these names on this device."""
        with driver.relaxed():
            module = driver.load(ptx)
            return [driver.function(module, name) for name in names]

    def launch(self, kernel: Any, grid: int, block: int, stream: int, parameters: int) -> None:
        """Launch a loaded kernel; `parameters` is the address of an array of pointers to its parameters."""
        driver.launch(kernel, grid, block, stream, parameters)

    @property
    def capturing(self) -> bool:
        """Whether work on the current stream is captured in a graph, instead of being done."""
        return torch.cuda.is_current_stream_capturing()

    def capture(self, run: Callable[[], None]) -> Callable[[], None]:
        """Capture the work of `run` on the current stream, without doing it, and return what replays it.

        It must be replayed on the stream that is current now. `run` may be called twice. Raises what Torch raises for
        work that cannot be captured.
        """
        with _capturing:
            try:
                return self._capture(run)
            except Exception as error:
                if not _lacks_memory(error):
                    raise
            torch.cuda.empty_cache()  # during a capture, Torch does not release the memory that it keeps
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
    """Captures the graphs of one stream. They run one after the other there, so they can share memory.

    Memory that a graph allocates is free again when its capture ends. A later capture takes the same memory, and each
    replay writes there before it reads. Memory that is not freed, such as the workspaces that libraries keep for each
    stream, goes to no other graph. So the stream of the capture is neither one of Torch's, which other code may use,
    nor that of another capture.
    """

    def __init__(self, device: Device) -> None:
        self._index = device.index
        self._stream = torch.cuda.ExternalStream(driver.new_stream(), device=device.torch)
        self._pool: Any = None
        self._graphs: weakref.WeakSet[torch.cuda.CUDAGraph] = weakref.WeakSet()

    def graph(self, run: Callable[[], None]) -> torch.cuda.CUDAGraph:
        """Capture the work of `run`."""
        graph = torch.cuda.CUDAGraph()
        sharing = list(self._graphs)  # kept until the capture has begun: Torch frees a pool with its last graph
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
        """Tell Torch that no capture is under way: after a failure it does not know, and frees no memory."""
        with suppress(RuntimeError):  # Torch knows if only `run` has failed
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
    """Whether an error is, or was caused by, a failed allocation."""
    while error is not None and not isinstance(error, torch.OutOfMemoryError):
        error = error.__cause__ or error.__context__
    return error is not None


def no_memory(index: int, size: int, reason: str) -> DeviceError:
    """The error for a device without room for a tensor of `size` bytes."""
    return DeviceError(f"the GPU {index} has no memory for a tensor of {size} bytes: {reason}")


class _Exporter:
    """Memory of a device, of which Torch can make a tensor."""

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
_making = lock(Order.DEVICE)


def device(index: int) -> Device:
    """The GPU with a number, always the same object. Raises `DeviceError` if this process cannot use it."""
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
    """Torch's current GPU. Raises `DeviceError` if this process cannot use it."""
    return device(torch.cuda.current_device() if torch.cuda.is_available() else 0)
