"""Compiled code that launches kernels, loaded into this process, to call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hpacml.backend import cache, launchers, llvm
from hpacml.backend.host_and_device import portable
from hpacml.backend.trampolines import packed, trampoline
from hpacml.runtime import shim
from hpacml.runtime.entry import Function
from hpacml.runtime.gpu.device_call import current
from hpacml.runtime.gpu.kernels import Kernels


def compile(ir_text: str, entry_name: str, arg_types: Sequence[str], result_type: str | None, chip: str) -> Function:
    """The function `entry_name` of a module with `gpu.launch`, as by `loading.compile`; its memory is the device's.

    PTX and machine code come from the cache on disk where they can: then neither MLIR nor LLVM compiles anything.
    On another kind of processor LLVM alone does. Raises CompileError.
    """
    way_in = trampoline(entry_name, arg_types, result_type)
    symbol = packed(entry_name)
    device, host = portable(ir_text, chip)
    name = cache.key("kernel for a GPU", *llvm.host(), shim.text(), host, way_in)
    code = cache.fetch(name, lambda: llvm.emit(host + way_in, {symbol}))
    kernels = Kernels(device)
    symbols = {**shim.runtime().symbols, launchers.KERNELS: kernels.address}
    library = llvm.link(code, {symbol}, symbols, kernels)
    return Function(entry_name, library, symbol, arg_types, result_type, _enter())


RESERVED = 64 << 20
"""Bytes that a call may reserve for its tensors; calls with more ask for each, and give it back at once."""


def _enter() -> Callable[[int, Any], int]:
    """How to run a function on the device of the current call: with as much memory as the call before asked for."""
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
