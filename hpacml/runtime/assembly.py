"""Kernels as assembly text for GPUs: PTX of NVIDIA's, AMDGCN of AMD's. No GPU is needed, nor CUDA or ROCm."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hpacml.errors import CompileError, HpacmlError
from hpacml.pipelines import MLIR_GPU_PIPELINE, generic_text, run_passes
from hpacml.runtime import native, toolchain

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp

NVIDIA = "nvptx64-nvidia-cuda"
AMD = "amdgcn-amd-amdhsa"

CHIPS = {
    NVIDIA: (
        *("sm_70", "sm_72", "sm_75", "sm_80", "sm_86", "sm_87", "sm_89", "sm_90", "sm_90a"),
        *("sm_100", "sm_100a", "sm_103", "sm_103a", "sm_120", "sm_120a", "sm_121", "sm_121a"),
    ),
    AMD: (
        *("gfx906", "gfx908", "gfx90a", "gfx942", "gfx950"),
        *("gfx1030", "gfx1100", "gfx1101", "gfx1102", "gfx1200", "gfx1201"),
    ),
}
"""The chips that code can be made for. LLVM takes any other name too, and makes code for none."""

_LIBRARY_CALL = re.compile(r"@__(?:nv|ocml)_([a-z0-9]+?)(f|_f32|_f64)?\(")
"""A call of a device library: CUDA's libdevice, or ROCm's OCML."""

_INSTRUCTIONS = {"sqrt", "fabs", "floor", "ceil", "trunc", "rint", "copysign", "fma"}
"""Functions of these libraries that are instructions, and exact."""


def ptx(module: ModuleOp, chip: str = "sm_90") -> str:
    """PTX of the kernels that the maps and parallel loops of a module become, which is lowered in place.

    Raises `HpacmlError` for a chip that is not known, `CompileError` for what no kernel can do, or if there are none.
    """
    return _assembly(module, NVIDIA, chip, "convert-gpu-to-nvvm")


def amdgcn(module: ModuleOp, chip: str = "gfx90a") -> str:
    """Assembly of the kernels for a GPU of AMD; as `ptx`."""
    return _assembly(module, AMD, chip, f"convert-gpu-to-rocdl{{chipset={chip}}}")


def _assembly(module: ModuleOp, triple: str, chip: str, to_target: str) -> str:
    if chip not in CHIPS[triple]:
        raise HpacmlError(f"unknown chip '{chip}': the chips are {', '.join(CHIPS[triple])}")
    text = toolchain.lower_kernels(
        generic_text(run_passes(module, gpu=True)), MLIR_GPU_PIPELINE.format(to_target=to_target)
    )
    if "define" not in text:
        raise CompileError("there is nothing for a GPU here: maps that copy and parallel loops (prange) become kernels")
    return native.assemble(_without_library(text), triple, chip)


def _without_library(text: str) -> str:
    """LLVM IR without calls of the device libraries, which are not at hand. Raises `CompileError` if it needs one."""
    missing = sorted({name for name, _ in _LIBRARY_CALL.findall(text)} - _INSTRUCTIONS)
    if missing:
        raise CompileError(
            f"a parallel loop (prange) that cannot run on a GPU uses {', '.join(missing)}: functions of the device "
            "libraries are not linked; sqrt, abs, floor, ceil, trunc, round and copysign are instructions"
        )
    return _LIBRARY_CALL.sub(lambda call: f"@llvm.{call[1]}.{'f32' if call[2] in ('f', '_f32') else 'f64'}(", text)
