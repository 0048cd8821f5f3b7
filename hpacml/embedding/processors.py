"""The processors that libraries are built for, and the check that a program runs on such a one."""

from __future__ import annotations

import platform
from collections import defaultdict
from collections.abc import Collection
from typing import NamedTuple

from hpacml.backend import llvm
from hpacml.backend.llvm import Processor
from hpacml.errors import CompileError


class _Bit(NamedTuple):
    """Where `cpuid` tells of a feature: the leaf, the one below it, the register (eax, ebx, ecx, edx), the bit."""

    leaf: int
    below: int
    register: int
    bit: int


def _bits(leaf: int, below: int, register: int, features: dict[str, int]) -> dict[str, _Bit]:
    return {name: _Bit(leaf, below, register, bit) for name, bit in features.items()}


_FEATURES = {
    **_bits(1, 0, 2, {"sse3": 0, "pclmul": 1, "ssse3": 9, "fma": 12, "cx16": 13, "sse4.1": 19, "sse4.2": 20}),
    **_bits(1, 0, 2, {"movbe": 22, "popcnt": 23, "aes": 25, "xsave": 26, "avx": 28, "f16c": 29, "rdrnd": 30}),
    **_bits(7, 0, 1, {"fsgsbase": 0, "bmi": 3, "avx2": 5, "bmi2": 8, "avx512f": 16, "avx512dq": 17, "rdseed": 18}),
    **_bits(7, 0, 1, {"adx": 19, "avx512ifma": 21, "clflushopt": 23, "clwb": 24, "avx512cd": 28, "sha": 29}),
    **_bits(7, 0, 1, {"avx512bw": 30, "avx512vl": 31}),
    **_bits(7, 0, 2, {"avx512vbmi": 1, "avx512vbmi2": 6, "gfni": 8, "vaes": 9, "vpclmulqdq": 10, "avx512vnni": 11}),
    **_bits(7, 0, 2, {"avx512bitalg": 12, "avx512vpopcntdq": 14}),
    **_bits(7, 0, 3, {"avx512fp16": 23}),
    **_bits(7, 1, 0, {"avxvnni": 4, "avx512bf16": 5}),
    **_bits(0x80000001, 0, 2, {"sahf": 0, "lzcnt": 5, "prfchw": 8}),
}
"""The features of x86-64 that code may use."""

_BASELINE = "+64bit,+cx8,+fxsr,+mmx,+sse,+sse2,+x87"
_V2 = ("cx16", "popcnt", "sahf", "sse3", "sse4.1", "sse4.2", "ssse3")
_V3 = (*_V2, "avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "xsave")
_LEVELS = {
    "x86-64": (),
    "x86-64-v2": _V2,
    "x86-64-v3": _V3,
    "x86-64-v4": (*_V3, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
}
NATIVE = "native"

_OSXSAVE = _Bit(1, 0, 2, 27)
_AVX_STATE, _AVX512_STATE = 0b110, 0b11100110
"""What the system must keep of a thread, as bits of the register XCR0."""


def default_name() -> str:
    """The processors that libraries are built for by default: nearly all of the last ten years."""
    return "x86-64-v3" if _is_x86() else "generic"


def names() -> list[str]:
    """The kinds of processors that `--cpu` takes on this machine."""
    return [*(_LEVELS if _is_x86() else ["generic"]), NATIVE]


def processor(name: str) -> Processor:
    """A kind of processor by its name. Raises `CompileError` for an unknown one."""
    if name not in names():
        raise CompileError(f"unknown kind of processor '{name}': there are {', '.join(names())}")
    if not _is_x86():
        return Processor(llvm.host().cpu, llvm.host().features) if name == NATIVE else Processor("generic", "")
    if name != NATIVE:
        return Processor(name, ",".join([_BASELINE, *(f"+{feature}" for feature in _LEVELS[name])]))
    given = llvm.host().features.split(",")  # of which a program must be able to tell that they are there
    kept = {*(f"+{name}" for name in _FEATURES), *_BASELINE.split(","), "+64bit", "+cmov"}
    checked = [each if each in kept else f"-{each[1:]}" for each in given]
    return Processor(llvm.host().cpu, ",".join(checked))


def attributes() -> str:
    """Attributes in LLVM IR of functions that must run on any processor, so that they can tell that others cannot."""
    return f'noinline "target-cpu"="x86-64" "target-features"="{_BASELINE}"' if _is_x86() else "noinline"


def check(processor: Processor) -> str:
    """LLVM IR of `i1 @hpacml_processor()`, which tells whether the code for a processor can run on this one."""
    used = [name for name in _FEATURES if f"+{name}" in processor.features.split(",")] if _is_x86() else []
    if not used:
        return "define internal i1 @hpacml_processor() {\n  ret i1 true\n}\n"
    return _CHECK.format(attributes=attributes(), tests=_tests(used))


def _is_x86() -> bool:
    return platform.machine() in ("x86_64", "AMD64")


def _tests(features: Collection[str]) -> str:
    """The tests of all leaves of `cpuid` that tell of features, then that of what the system keeps."""
    masks: defaultdict[tuple[int, int], list[int]] = defaultdict(lambda: [0] * 4)
    for bit in [_FEATURES[name] for name in features] + [_OSXSAVE] * ("avx" in features):
        masks[bit.leaf, bit.below][bit.register] |= 1 << bit.bit
    lines: list[str] = []
    for n, ((leaf, below), registers) in enumerate(masks.items()):
        first = leaf & 0x80000000
        lines += [
            f"  %last{n} = {_cpuid(first, 0)}",
            f"  %most{n} = extractvalue {_REGISTERS} %last{n}, 0",
            f"  %has{n} = icmp uge i32 %most{n}, {leaf}",
            f"  br i1 %has{n}, label %leaf{n}, label %no",
            f"leaf{n}:",
            f"  %words{n} = {_cpuid(leaf, below)}",
        ]
        for register, mask in enumerate(registers):
            if mask:
                name = f"{n}.{register}"
                lines += [f"  %word{name} = extractvalue {_REGISTERS} %words{n}, {register}", *_bits_set(name, mask)]
    if "avx" in features:
        state = _AVX512_STATE if "avx512f" in features else _AVX_STATE
        pair = "{ i32, i32 }"
        lines += [
            f'  %kept = call {pair} asm sideeffect "xgetbv", "={{ax}},={{dx}},{{cx}}"(i32 0)',
            f"  %word.kept = extractvalue {pair} %kept, 0",
            *_bits_set(".kept", state),
        ]
    return "\n".join(lines)


_REGISTERS = "{ i32, i32, i32, i32 }"


def _cpuid(leaf: int, below: int) -> str:
    places = "={ax},={bx},={cx},={dx},0,2"
    return f'call {_REGISTERS} asm sideeffect "cpuid", "{places}"(i32 {leaf}, i32 {below})'


def _bits_set(name: str, mask: int) -> list[str]:
    return [
        f"  %some{name} = and i32 %word{name}, {mask}",
        f"  %all{name} = icmp eq i32 %some{name}, {mask}",
        f"  br i1 %all{name}, label %next{name}, label %no",
        f"next{name}:",
    ]


_CHECK = """
@hpacml_processor_known = internal global i32 0 ; 1: it can, 2: it cannot

define internal i1 @hpacml_processor() {attributes} {{
  %known = load atomic i32, ptr @hpacml_processor_known monotonic, align 4
  %new = icmp eq i32 %known, 0
  br i1 %new, label %ask, label %answer

answer:
  %can = icmp eq i32 %known, 1
  ret i1 %can

ask:
{tests}
  store atomic i32 1, ptr @hpacml_processor_known monotonic, align 4
  ret i1 true

no:
  store atomic i32 2, ptr @hpacml_processor_known monotonic, align 4
  ret i1 false
}}
"""
