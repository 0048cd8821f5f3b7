"""Makes code for host and device of a module with kernels: both fit any machine, and are kept in the cache."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from hpacml.abi.symbols import SYMBOLS
from hpacml.backend import launchers
from hpacml.backend.chips import NVIDIA
from hpacml.backend.mlir import lower
from hpacml.backend.outlining import outline
from hpacml.backend.ptx_and_amdgcn import DeviceCode, device_code
from hpacml.disk import cache
from hpacml.pipelines import MLIR_GPU_PIPELINE, MLIR_OUTLINING, MLIR_PIPELINE

_REPLACEMENTS = {symbol.replaces: symbol.name for symbol in SYMBOLS.values() if symbol.replaces is not None}
"""Maps the symbols of memory and clocks to those that host code for devices calls instead."""

_REPLACED = re.compile(rf"@({'|'.join(_REPLACEMENTS)})\b")


def device_and_host(ir_text: str, chip: str) -> tuple[DeviceCode, str]:
    """Return the kernels of a lowered module, and LLVM IR for any host that launches them. Raises CompileError."""
    made_by = MLIR_PIPELINE, MLIR_OUTLINING, MLIR_GPU_PIPELINE, chip
    return cache.fetch(cache.key("ptx", *made_by, ir_text), lambda: _make(ir_text, chip), _read)


def _read(made: bytes) -> tuple[DeviceCode, str]:
    device, host = json.loads(made)
    return DeviceCode.from_json(device), host


def _make(ir_text: str, chip: str) -> bytes:
    outlined = outline(ir_text)
    code = device_code(outlined.device, NVIDIA, chip)
    numbers = {kernel: number for number, kernel in enumerate(code.kernels)}
    functions = [launchers.wrapper(launch, numbers[launch.name]) for launch in outlined.launches]
    host = _undeclared(lower(outlined.host), outlined.launches)
    host = _REPLACED.sub(lambda match: f"@{_REPLACEMENTS[match[1]]}", host)
    return json.dumps([code.to_json(), "".join([host, launchers.DECLARATIONS, *functions])]).encode()


def _undeclared(text: str, launches: Sequence[launchers.Launch]) -> str:
    """Remove the declarations of launching functions from LLVM IR: their definitions follow it."""
    for launch in launches:
        text = re.sub(rf'^declare void @"?{re.escape(launch.symbol)}"?\(.*\n', "", text, flags=re.MULTILINE)
    return text
