"""Kernels as assembly text, to read: what `ptx` and `amdgcn` of kernels, regions and functors give."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpacml.backend.chips import AMD, DEFAULT_CHIPS, NVIDIA, chip_of, require_chip
from hpacml.backend.device_code import device_code
from hpacml.backend.host_and_device import portable
from hpacml.backend.outlining import outline
from hpacml.errors import CompileError
from hpacml.pipelines import generic_text, run_passes

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp


def ptx(module: ModuleOp, chip: str | None = None) -> str:
    """PTX of the kernels that the maps and parallel loops of a module become, which is lowered in place.

    The chip is by default that of the GPU that Torch has as its current one, and `DEFAULT_CHIPS` without one.
    Raises `HpacmlError` for a chip that is not known, `CompileError` for what no kernel can do, or if there are none.
    """
    return _assembly(module, NVIDIA, chip or _chip_here() or DEFAULT_CHIPS[NVIDIA])


def _chip_here() -> str | None:
    """The chip of this machine's GPU."""
    import torch

    return chip_of(*torch.cuda.get_device_capability()) if torch.cuda.is_available() else None


def amdgcn(module: ModuleOp, chip: str = DEFAULT_CHIPS[AMD]) -> str:
    """Assembly of the kernels for a GPU of AMD; as `ptx`."""
    return _assembly(module, AMD, chip)


def _assembly(module: ModuleOp, triple: str, chip: str) -> str:
    require_chip(triple, chip)
    return of_text(generic_text(run_passes(module, gpu=True)), triple, chip)


def of_text(ir_text: str, triple: str, chip: str) -> str:
    """Assembly of the kernels in a lowered module, in generic form; for NVIDIA's GPUs it, and the host's part, are kept
    in the cache, for a machine that has a GPU. Raises as `ptx` does.
    """
    if triple == NVIDIA:
        code, _ = portable(ir_text, chip)
    else:
        code = device_code(outline(ir_text).device, triple, chip)
    if not code.kernels:
        raise CompileError("there is nothing for a GPU here: maps that copy and parallel loops (prange) become kernels")
    return code.text
