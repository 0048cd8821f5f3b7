"""The targets of `hpacml-opt -t ptx` and `-t amdgcn`: they write the kernels of a lowered module as GPU assembly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.utils.target import Target

from hpacml.backend.assembly import of_lowered
from hpacml.backend.chips import AMD, DEFAULT_CHIPS, NVIDIA


@dataclass(frozen=True)
class _AssemblyTarget(Target):
    triple: ClassVar[str]

    chip: str

    def emit(self, ctx: Context, module: ModuleOp, output: IO[str]) -> None:
        output.write(of_lowered(module, self.triple, self.chip))


@dataclass(frozen=True)
class PtxTarget(_AssemblyTarget):
    """Writes the kernels of a module (`gpu.launch`) as code for an NVIDIA GPU: `-t 'ptx{chip=sm_90}'`."""

    name = "ptx"
    triple = NVIDIA

    chip: str = DEFAULT_CHIPS[NVIDIA]


@dataclass(frozen=True)
class AmdgcnTarget(_AssemblyTarget):
    """The same for an AMD GPU: `-t 'amdgcn{chip=gfx942}'`."""

    name = "amdgcn"
    triple = AMD

    chip: str = DEFAULT_CHIPS[AMD]
