"""Kernels as assembly text to read, which methods of kernels, regions and functors return."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from hpacml.backend import llvm
from hpacml.backend.anonymous import ENTRY, take_texts, without_names
from hpacml.backend.chips import AMD, DEFAULT_CHIPS, NVIDIA, chip_of, require_chip
from hpacml.backend.host_and_device import device_and_host
from hpacml.backend.mlir import portable
from hpacml.backend.outlining import outline
from hpacml.backend.ptx_and_amdgcn import device_code
from hpacml.errors import CompileError
from hpacml.pipelines import generic_text, run_passes

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp


def llvm_ir(module: ModuleOp, entry: str) -> str:
    """Lower a module in place, and return the optimised LLVM IR of its function `entry` for this machine.

    The function is called `ENTRY`, as in what a call runs. Raises `CompileError` for what cannot be lowered.
    """
    return _native(module, entry, llvm.text)


def asm(module: ModuleOp, entry: str) -> str:
    """Do as `llvm_ir`, and return assembly."""
    return _native(module, entry, llvm.assembly)


def _native(module: ModuleOp, entry: str, write: Callable[[str, Collection[str]], str]) -> str:
    lowered, _ = without_names(run_passes(module), entry)
    return portable(lowered, lambda text: write(text, {ENTRY}))


def ptx(module: ModuleOp, chip: str | None = None) -> str:
    """Lower a module in place, and return PTX of the kernels that its maps and parallel loops become.

    The chip is by default that of Torch's current GPU, or the one of `DEFAULT_CHIPS` without a GPU. Raises
    `HpacmlError` for an unknown chip, `CompileError` for what no kernel can do, or if there are no kernels.
    """
    return _assembly(module, NVIDIA, chip or _chip_here() or DEFAULT_CHIPS[NVIDIA])


def _chip_here() -> str | None:
    """The chip of Torch's current GPU; None without a GPU."""
    import torch

    return chip_of(*torch.cuda.get_device_capability()) if torch.cuda.is_available() else None


def amdgcn(module: ModuleOp, chip: str = DEFAULT_CHIPS[AMD]) -> str:
    """Do as `ptx`, for a GPU of AMD."""
    return _assembly(module, AMD, chip)


def _assembly(module: ModuleOp, triple: str, chip: str) -> str:
    require_chip(triple, chip)
    return of_lowered(run_passes(module, gpu=True), triple, chip)


def of_lowered(module: ModuleOp, triple: str, chip: str) -> str:
    """Return assembly of the kernels in a lowered module, which is changed. Raises as `ptx` does.

    For GPUs of NVIDIA, it and the code for the host go into the cache, where machines with a GPU find them.
    """
    if inner := [op for op in module.body.block.ops if op.name == module.name]:
        names = ", ".join(str(op.get_attr_or_prop("sym_name")) for op in inner)
        raise CompileError(
            f"assembly is made of one module, and this one holds others ({names}): "
            "give one kernel a file of its own, or call its .ptx() or .amdgcn()"
        )
    take_texts(module)  # as calls do before they look into the cache
    ir_text = generic_text(module)
    if triple == NVIDIA:
        code, _ = device_and_host(ir_text, chip)
    else:
        code = device_code(outline(ir_text).device, triple, chip)
    if not code.kernels:
        raise CompileError("there is nothing for a GPU here: maps that copy and parallel loops (prange) become kernels")
    return code.text
