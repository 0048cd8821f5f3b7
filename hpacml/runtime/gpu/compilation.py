"""MLIR text to a callable function that launches kernels: machine code for the host, PTX for the device."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hpacml.pipelines import MLIR_GPU_PIPELINE, MLIR_OUTLINING, MLIR_PIPELINE
from hpacml.runtime import assembly, cache, entry, native, toolchain
from hpacml.runtime.gpu import wrappers
from hpacml.runtime.gpu.kernels import Kernels

_OF_THE_HOST = re.compile(r"@(?:_mlir_memref_to_llvm_(aligned_alloc|alloc|free)|hpacml_(time_ms|time_ns|record))\b")
"""What code for devices has of its own: memory and clocks."""


def compile(
    ir_text: str, entry_name: str, arg_types: Sequence[str], result_type: str | None, chip: str
) -> entry.Function:
    """The function `entry_name` of a module with `gpu.launch`, as by `toolchain.compile`; its memory is the device's.

    Machine code and PTX come from the cache on disk where they can: then neither MLIR nor LLVM compiles anything.
    Raises CompileError.
    """
    way_in = toolchain.trampoline(entry_name, arg_types, result_type)
    symbol = toolchain.packed(entry_name)
    made_by = *native.host(), MLIR_PIPELINE, MLIR_OUTLINING, MLIR_GPU_PIPELINE, entry.shim_text(), chip
    name = cache.key("kernel for a GPU", *made_by, ir_text, way_in)

    def make() -> bytes:
        outlined = toolchain.outline(ir_text)
        code = assembly.device_code(outlined.device, assembly.NVIDIA, chip)
        text, launches = toolchain.lower(outlined.host), outlined.launches
        numbers = {kernel: number for number, kernel in enumerate(code.kernels)}
        functions = [wrappers.wrapper(launch, numbers[launch.name]) for launch in launches]
        text = _OF_THE_HOST.sub(lambda match: f"@hpacml_device_{match[1] or match[2]}", _undeclared(text, launches))
        host = native.emit(text + wrappers.DECLARATIONS + "".join(functions) + way_in, {symbol})
        device = code.to_json().encode()
        return len(device).to_bytes(8, "little") + device + host

    content = cache.fetch(name, make)
    end = 8 + int.from_bytes(content[:8], "little")
    kernels = Kernels(assembly.DeviceCode.from_json(content[8:end].decode()))
    symbols = {**entry.runtime().symbols, wrappers.KERNELS: kernels.address}
    library = native.link(content[end:], {symbol}, symbols, kernels)
    return entry.Function(entry_name, library, symbol, arg_types, result_type)


def _undeclared(text: str, launches: Sequence[wrappers.Launch]) -> str:
    """LLVM IR without the declarations of what is defined behind it."""
    for launch in launches:
        text = re.sub(rf'^declare void @"?{re.escape(launch.symbol)}"?\(.*\n', "", text, flags=re.MULTILINE)
    return text
