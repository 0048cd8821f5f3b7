"""Compiled code that launches kernels, loaded into this process."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hpacml.backend import launchers, llvm
from hpacml.backend.host_and_device import device_and_host
from hpacml.backend.trampolines import behind, packed, trampoline
from hpacml.disk import cache
from hpacml.runtime import shim, sites
from hpacml.runtime.entry import Function
from hpacml.runtime.gpu import device_handlers
from hpacml.runtime.gpu.device_call import current
from hpacml.runtime.gpu.kernels import Kernels


def compile(
    ir_text: str,
    entry_name: str,
    arg_types: Sequence[str],
    result_types: Sequence[str],
    texts: Mapping[str, bytes],
    chip: str,
) -> Function:
    """Load the function `entry_name` of a module with `gpu.launch`, as `loading.compile` does; it uses device memory.

    If PTX and machine code are in the cache on disk, neither MLIR nor LLVM compiles anything; if machine code for
    another kind of processor is, only LLVM does. Raises CompileError.
    """
    device_handlers.install()
    entry = trampoline(entry_name, arg_types, result_types)
    symbol = packed(entry_name)
    device, host = device_and_host(ir_text, chip)
    data = {symbol: ctypes.create_string_buffer(text) for symbol, text in texts.items()}
    for text in data.values():
        sites.keep(text)
    key = cache.key("devicecode", *llvm.host(), shim.text(), host, entry)
    kernels = Kernels(device)
    symbols = {**shim.runtime().symbols, launchers.KERNELS: kernels.address}
    symbols |= {symbol: ctypes.addressof(text) for symbol, text in data.items()}
    library = cache.fetch(
        key,
        lambda: llvm.emit(host + entry, {symbol}, behind(entry_name)),
        lambda code: llvm.link(code, {symbol}, symbols, kernels, data),
    )
    return Function(entry_name, library, symbol, arg_types, result_types, _enter())


RESERVED = 64 << 20
"""The most bytes that a call reserves for its tensors; a call with more asks for each tensor, and frees it early."""


def _enter() -> Callable[[int, Any], int]:
    """Make what runs a function on the device of the current call, with as much memory as the call before asked for."""
    enter_on, size = shim.runtime().enter_on, 0

    def enter(address: int, slots: Any) -> int:
        nonlocal size
        call = current()
        if size:
            call.reserve(size)
        status = enter_on(address, slots, call.words)
        size = call.asked if 0 < call.asked <= RESERVED else 0
        return status

    return enter
