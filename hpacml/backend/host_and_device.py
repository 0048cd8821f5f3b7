"""MLIR text to a callable function that launches kernels: machine code for the host, PTX for the device."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from hpacml.backend import assembly, cache, launchers, llvm, mlir
from hpacml.pipelines import MLIR_GPU_PIPELINE, MLIR_OUTLINING, MLIR_PIPELINE
from hpacml.runtime import entry
from hpacml.runtime.gpu.call import current
from hpacml.runtime.gpu.kernels import Kernels

_OF_THE_HOST = re.compile(r"@(?:_mlir_memref_to_llvm_(aligned_alloc|alloc|free)|hpacml_(time_ms|time_ns|record))\b")
"""What code for devices has of its own: memory and clocks."""


def compile(
    ir_text: str, entry_name: str, arg_types: Sequence[str], result_type: str | None, chip: str
) -> entry.Function:
    """The function `entry_name` of a module with `gpu.launch`, as by `toolchain.compile`; its memory is the device's.

    PTX and machine code come from the cache on disk where they can: then neither MLIR nor LLVM compiles anything.
    On another kind of processor LLVM alone does. Raises CompileError.
    """
    way_in = mlir.trampoline(entry_name, arg_types, result_type)
    symbol = mlir.packed(entry_name)
    device, host = portable(ir_text, chip)
    name = cache.key("kernel for a GPU", *llvm.host(), entry.shim_text(), host, way_in)
    code = cache.fetch(name, lambda: llvm.emit(host + way_in, {symbol}))
    kernels = Kernels(device)
    symbols = {**entry.runtime().symbols, launchers.KERNELS: kernels.address}
    library = llvm.link(code, {symbol}, symbols, kernels)
    return entry.Function(entry_name, library, symbol, arg_types, result_type, _enter())


RESERVED = 64 << 20
"""Bytes that a call may reserve for its tensors; calls with more ask for each, and give it back at once."""


def _enter() -> Callable[[int, Any], int]:
    """How to run a function on the device of the current call: with as much memory as the call before asked for."""
    enter_on, size = entry.runtime().enter_on, 0

    def enter(address: int, slots: Any) -> int:
        nonlocal size
        call = current()
        if size:
            call.reserve(size)
        status = enter_on(address, slots, call.words)
        size = call.asked if 0 < call.asked <= RESERVED else 0
        return status

    return enter


def portable(ir_text: str, chip: str) -> tuple[assembly.DeviceCode, str]:
    """The kernels of a lowered module, and LLVM IR for any host, which launches them. Raises CompileError."""
    made_by = MLIR_PIPELINE, MLIR_OUTLINING, MLIR_GPU_PIPELINE, chip
    device, host = json.loads(cache.fetch(cache.key("kernels", *made_by, ir_text), lambda: _make(ir_text, chip)))
    return assembly.DeviceCode.from_json(device), host


def _make(ir_text: str, chip: str) -> bytes:
    outlined = mlir.outline(ir_text)
    code = assembly.device_code(outlined.device, assembly.NVIDIA, chip)
    numbers = {kernel: number for number, kernel in enumerate(code.kernels)}
    functions = [launchers.wrapper(launch, numbers[launch.name]) for launch in outlined.launches]
    host = _undeclared(mlir.lower(outlined.host), outlined.launches)
    host = _OF_THE_HOST.sub(lambda match: f"@hpacml_device_{match[1] or match[2]}", host)
    return json.dumps([code.to_json(), "".join([host, launchers.DECLARATIONS, *functions])]).encode()


def _undeclared(text: str, launches: Sequence[launchers.Launch]) -> str:
    """LLVM IR without the declarations of what is defined behind it."""
    for launch in launches:
        text = re.sub(rf'^declare void @"?{re.escape(launch.symbol)}"?\(.*\n', "", text, flags=re.MULTILINE)
    return text
