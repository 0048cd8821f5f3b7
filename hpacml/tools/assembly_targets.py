"""What `hpacml-opt -t ptx` and `-t amdgcn` write: kernels as assembly for GPUs, at the end of the pipeline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.utils.target import Target

from hpacml.pipelines import generic_text


@dataclass(frozen=True)
class PtxTarget(Target):
    """The code of a module's kernels (`gpu.launch`) for a GPU of NVIDIA: `-t 'ptx{chip=sm_90}'`."""

    name = "ptx"

    chip: str = "sm_80"

    def emit(self, ctx: Context, module: ModuleOp, output: IO[str]) -> None:
        from hpacml.runtime import assembly

        output.write(assembly.of_text(generic_text(module), assembly.NVIDIA, self.chip))


@dataclass(frozen=True)
class AmdgcnTarget(Target):
    """The same for a GPU of AMD: `-t 'amdgcn{chip=gfx942}'`."""

    name = "amdgcn"

    chip: str = "gfx90a"

    def emit(self, ctx: Context, module: ModuleOp, output: IO[str]) -> None:
        from hpacml.runtime import assembly

        output.write(assembly.of_text(generic_text(module), assembly.AMD, self.chip))
