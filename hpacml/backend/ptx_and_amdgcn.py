"""The kernels of a module as assembly text, and how each is launched: PTX for GPUs of NVIDIA, AMDGCN for those of AMD.

Making them needs neither a GPU nor ROCm, and of CUDA only libdevice, if loops use mathematics.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import asdict, dataclass

from hpacml.backend import libdevice, llvm, outlining
from hpacml.backend.chips import AMD, DEFAULT_CHIPS, NVIDIA, require_chip
from hpacml.errors import CompileError
from hpacml.pipelines import MLIR_GPU_PIPELINE

NARROW = "_narrow"
"""The end of the names of kernels that compute indices in 32 bits, without 64-bit division and in fewer registers.

They are correct for a launch in which all of these are below 2**31:
- the magnitude of each integer parameter, those of memrefs included,
- |offset| + the sum of (size - 1) * |stride| of each memref,
- blocks * threads + 2**16.

Then no number overflows that matters:
- Points and elements have numbers below blocks * threads, since so small a launch has a block for each tile; the
  number of a block's next tile is below twice the blocks.
- Unsigned division turns these numbers into indices, each below the size that it indexes, which is a parameter. Loops
  over features end at such sizes.
- The rows of a tensor are a memref too, and a block steps through its own by less than 2**16.
- The number of a feature is below the features of the tensor. Those of a gather lie in memory; those of a scatter are
  at most the view's first plus the view's own, which is below 2**32, and only divided.
- The place of an element is an offset, added to the pointer, and products of index and stride: the second condition
  bounds every sum of them.
- Indices that are read from memory have been checked, and are below a size.
- Everything else is computed on the host, and is a parameter. Pointers have 64 bits.
"""

_KERNEL = re.compile(r"^define (?:ptx|amdgpu)_kernel void @([\w$]+)\((.*?)\)[^()]*{$", re.MULTILINE)
"""A kernel in LLVM IR, and its parameters."""

_INSTRUCTION = re.compile(r"@__(?:nv|ocml)_(sqrt|fabs|floor|ceil|trunc|rint|copysign|fma)(f|_f32|_f64)?\(")
"""A function of a device library for which there is an instruction, which is exact."""

_C_FUNCTION = re.compile(r"@_mlir_ciface_(\w+)\(")
"""A function of the C library, which CUDA's libdevice has under another name."""

_ROCM_FUNCTION = re.compile(r"@(?:__ocml_|_mlir_ciface_|llvm\.(?=acos|asin|atan|cosh|sinh|tan))([a-z0-9]+)")
"""A function of ROCm's device libraries, or one that only they could provide."""


@dataclass(frozen=True, slots=True)
class Signature:
    """How to launch a kernel."""

    parameters: tuple[str, ...]
    """LLVM types, in order; a memref is two pointers, offset, sizes and strides."""
    narrow: bool
    """Whether there is also `<name>_narrow`, whose parameters are `i32` where these are `i64` (see `NARROW`)."""


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """Kernels as assembly text, and how to launch each, by name."""

    text: str
    kernels: dict[str, Signature]

    def to_json(self) -> str:
        """Write it for `from_json`."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> DeviceCode:
        """Read what `to_json` wrote."""
        content = json.loads(text)
        signatures = {
            name: Signature(tuple(each["parameters"]), each["narrow"]) for name, each in content["kernels"].items()
        }
        return DeviceCode(content["text"], signatures)


def device_code(device_text: str, triple: str = NVIDIA, chip: str | None = None) -> DeviceCode:
    """The code of the kernels in `outlining.Outlined.device`; it is empty without kernels.

    Raises `HpacmlError` for an unknown chip, `CompileError` for what no kernel can do.
    """
    chip = chip or DEFAULT_CHIPS[triple]
    require_chip(triple, chip)
    text = _with_instructions(outlining.lower_kernels(device_text, _variants(triple, chip)))
    found = {name: _types(parameters) for name, parameters in _KERNEL.findall(text)}
    kernels = {
        name: Signature(types, name + NARROW in found) for name, types in found.items() if not name.endswith(NARROW)
    }
    if not kernels:
        return DeviceCode("", {})
    return DeviceCode((_nvidia if triple == NVIDIA else _amd)(text, chip, found), kernels)


def _variants(triple: str, chip: str) -> list[outlining.Variant]:
    def pipeline(index_bits: int) -> str:
        to_target = "convert-gpu-to-nvvm{" if triple == NVIDIA else f"convert-gpu-to-rocdl{{chipset={chip} "
        return MLIR_GPU_PIPELINE.format(to_target=f"{to_target}index-bitwidth={index_bits}}}")

    # Integers in a parallel loop are those of the original code, which have 64 bits.
    return [outlining.Variant(pipeline(64)), outlining.Variant(pipeline(32), NARROW, ("gather", "scatter", "check"))]


def _types(parameters: str) -> tuple[str, ...]:
    return tuple(each.split()[0] for each in parameters.split(", ") if each)


def _with_instructions(text: str) -> str:
    """Replace functions of device libraries in LLVM IR by instructions where there are some."""
    return _INSTRUCTION.sub(lambda call: f"@llvm.{call[1]}.{'f32' if call[2] in ('f', '_f32') else 'f64'}(", text)


def _nvidia(text: str, chip: str, kernels: Collection[str]) -> str:
    """PTX, with what it needs of libdevice, which keeps denormal numbers unless a flag says otherwise."""
    text = _C_FUNCTION.sub(r"@__nv_\1(", text)
    return llvm.assemble(text, NVIDIA, chip, kernels, libdevice.bitcode() if "@__nv_" in text else None)


def _amd(text: str, chip: str, kernels: Collection[str]) -> str:
    if missing := sorted(set(_ROCM_FUNCTION.findall(text))):
        raise CompileError(
            f"a parallel loop (prange) that cannot run on a GPU of AMD uses {', '.join(missing)}: ROCm's device "
            "libraries are not linked; sqrt, abs, floor, ceil, trunc, round and copysign are instructions"
        )
    return llvm.assemble(text, AMD, chip, kernels)
