"""The CUDA driver, through NVIDIA's `cuda-bindings`: contexts, modules of PTX, and launches."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from hpacml.errors import DeviceError

LOG_BYTES = 16 << 10
"""The most bytes of what the driver's compiler says about a module that it refuses."""


@functools.cache
def bindings() -> Any:
    """The module `cuda.bindings.driver`, initialised. Raises `DeviceError` if it, or the driver, is missing."""
    try:
        cuda = importlib.import_module("cuda.bindings.driver")
    except ImportError as error:
        raise DeviceError(f"running on a GPU needs cuda-bindings: pip install 'hpacml[gpu]' ({error})") from error
    try:
        (status,) = cuda.cuInit(0)
    except RuntimeError as error:  # cuda-bindings loads the driver's library at the first call
        raise DeviceError(f"this machine has no CUDA driver: {error}") from error
    _require(cuda, status, "initialise the CUDA driver")
    return cuda


def primary_context(index: int) -> Any:
    """The context of a device in which Torch, and all users of the CUDA runtime, work. It is never released."""
    cuda = bindings()
    device = _result(cuda.cuDeviceGet(index), f"find the GPU {index}")
    return _result(cuda.cuDevicePrimaryCtxRetain(device), f"use the GPU {index}")


def enter(context: Any) -> None:
    """Make a context the current one of this thread."""
    cuda = bindings()
    (status,) = cuda.cuCtxSetCurrent(context)
    if status:
        _require(cuda, status, "use the GPU")


def new_stream() -> int:
    """The handle of a new stream of the current context, which waits for no other stream. It is never released."""
    cuda = bindings()
    return int(_result(cuda.cuStreamCreate(cuda.CUstream_flags.CU_STREAM_NON_BLOCKING), "make a stream"))


@contextmanager
def relaxed() -> Generator[None]:
    """Let this thread do work that cannot be captured, while another captures a graph."""
    cuda = bindings()
    mode = cuda.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
    before = _result(cuda.cuThreadExchangeStreamCaptureMode(mode), "relax the capture of graphs")
    try:
        yield
    finally:
        cuda.cuThreadExchangeStreamCaptureMode(before)


def load(ptx: str) -> Any:
    """Load a PTX text as a module of the current context, for whose device the driver compiles it."""
    cuda = bindings()
    log = bytearray(LOG_BYTES)
    keys = [cuda.CUjit_option.CU_JIT_ERROR_LOG_BUFFER, cuda.CUjit_option.CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES]
    status, module = cuda.cuModuleLoadDataEx(ptx.encode() + b"\0", len(keys), keys, [log, len(log)])
    said = log.split(b"\0")[0].decode(errors="replace").strip()
    _require(cuda, status, f"load the kernels{f' ({said})' if said else ''}")
    return module


def function(module: Any, name: str) -> Any:
    """The kernel with a name in a module."""
    return _result(bindings().cuModuleGetFunction(module, name.encode()), f"find the kernel {name}")


def launch(kernel: Any, grid: int, block: int, stream: int, parameters: int) -> None:
    """Launch a kernel on a stream; `parameters` is the address of an array of pointers to its parameters.

    Raises `DeviceError`, perhaps for a kernel that was launched before.
    """
    cuda = bindings()
    (status,) = cuda.cuLaunchKernel(kernel, grid, 1, 1, block, 1, 1, 0, stream, parameters, 0)
    if status:
        _require(cuda, status, "launch a kernel")


def launcher() -> int:
    """The address of `cuLaunchKernel`."""
    cuda = bindings()
    _, version = cuda.cuDriverGetVersion()
    found = cuda.cuGetProcAddress(b"cuLaunchKernel", min(version, 12000), 0)
    _require(cuda, found[0], "find its function that launches")
    return int(found[1])


def device_of(address: int) -> int | None:
    """The number of the device with the memory at an address; None if the driver knows no such device."""
    cuda = bindings()
    attribute = cuda.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
    status, index = cuda.cuPointerGetAttribute(attribute, address)
    return None if status else int(index)


def _result(returned: tuple[Any, Any], to: str) -> Any:
    status, value = returned
    _require(bindings(), status, to)
    return value


def _require(cuda: Any, status: Any, to: str) -> None:
    if status:
        _, name = cuda.cuGetErrorName(status)
        _, text = cuda.cuGetErrorString(status)
        said = ": ".join(each.decode() for each in (name, text) if each)
        raise DeviceError(f"the CUDA driver cannot {to}: {said}")
