"""LLVM IR of the functions that launch kernels. Host code calls them with the kernel's arguments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hpacml.abi.symbols import SYMBOLS, VALUES

KERNELS = "hpacml_kernels"
"""The symbol whose address identifies the kernels to the runtime."""

MOST_THREADS = 2**31 - 2**16
"""The most threads of a launch with 32-bit indices: numbers of threads and points stay far from an overflow."""

DECLARATIONS = f"""
@{KERNELS} = external global i64
{SYMBOLS["hpacml_launch"].declaration}
declare i64 @llvm.abs.i64(i64, i1)
declare i64 @llvm.uadd.sat.i64(i64, i64)
"""


@dataclass(frozen=True, slots=True)
class Launch:
    """A kernel as host code launches it; `types` has the MLIR type of each argument, or the rank of a memref."""

    name: str
    types: tuple[str | int, ...]

    @property
    def symbol(self) -> str:
        """The name of the function that launches it."""
        return f"{self.name}.launch"


def wrapper(launch: Launch, number: int) -> str:
    """The LLVM IR of the function that launches kernel `number`.

    Its arguments are the number of blocks, the number of threads in a block, and those of the kernel, memrefs
    expanded. It chooses 32-bit indices where all integers, and the offsets of all elements of memrefs, fit 31 bits.
    """
    expanded = list(flat(launch.types))
    lines = [
        f'define void @"{launch.symbol}"({", ".join(f"{kind} %{name}" for name, kind in [*_SIZES, *expanded])}) {{',
        f"%slots = alloca i64, i64 {max(1, len(expanded))}",
        f"%parameters = alloca ptr, i64 {max(1, len(expanded))}",
    ]
    for position, (name, kind) in enumerate(expanded):
        stored, value = ("i8", f"%{name}.byte") if kind == "i1" else (kind, f"%{name}")
        if kind == "i1":
            lines.append(f"{value} = zext i1 %{name} to i8")
        lines += [
            f"%{name}.slot = getelementptr i64, ptr %slots, i64 {position}",
            f"store {stored} {value}, ptr %{name}.slot",
            f"%{name}.place = getelementptr ptr, ptr %parameters, i64 {position}",
            f"store ptr %{name}.slot, ptr %{name}.place",
        ]
    spans = _spans(launch.types, lines)
    integers = [f"%{name}" for name, kind in expanded if kind == "i64"]
    checks = [(f"%few = icmp ult i64 %threads, {MOST_THREADS}", "%few")]
    for position, span in enumerate(spans):
        checks.append((f"%near{position} = icmp ult i64 {span}, {2**31}", f"%near{position}"))
    for position, integer in enumerate(integers):
        lines.append(f"%moved{position} = add i64 {integer}, {2**31}")
        checks.append((f"%small{position} = icmp ult i64 %moved{position}, {2**32}", f"%small{position}"))
    lines.append("%threads = mul i64 %grid, %block")
    fits = "true"
    for position, (check, passed) in enumerate(checks):
        lines += [check, f"%all{position} = and i1 {fits}, {passed}"]
        fits = f"%all{position}"
    lines += [
        f"%narrow = zext i1 {fits} to i64",
        f"call void @hpacml_launch(ptr @{KERNELS}, i64 {number}, i64 %grid, i64 %block, i64 %narrow, ptr %parameters)",
    ]
    return "\n  ".join(lines) + "\n  ret void\n}\n"


_SIZES = (("grid", "i64"), ("block", "i64"))


def flat(types: Sequence[str | int]) -> Iterator[tuple[str, str]]:
    """Yield the names and LLVM types of arguments, memrefs expanded."""
    for position, kind in enumerate(types):
        if isinstance(kind, str):
            yield f"a{position}", VALUES[kind].llvm
            continue
        yield from ((f"a{position}.allocated", "ptr"), (f"a{position}.aligned", "ptr"), (f"a{position}.offset", "i64"))
        yield from ((f"a{position}.size{d}", "i64") for d in range(kind))
        yield from ((f"a{position}.stride{d}", "i64") for d in range(kind))


def _spans(types: Sequence[str | int], lines: list[str]) -> list[str]:
    """For each memref, a bound on the distance of elements from its pointer: |offset| + sum of size * |stride|.

    Where sizes and strides fit 31 bits, products do not overflow; sums saturate.
    """
    spans: list[str] = []
    for position, rank in enumerate(types):
        if isinstance(rank, str):
            continue
        span = f"%a{position}.span"
        lines.append(f"{span} = call i64 @llvm.abs.i64(i64 %a{position}.offset, i1 false)")
        for d in range(rank):
            name = f"%a{position}.span{d}"
            lines += [
                f"{name}.stride = call i64 @llvm.abs.i64(i64 %a{position}.stride{d}, i1 false)",
                f"{name}.length = mul i64 {name}.stride, %a{position}.size{d}",
                f"{name} = call i64 @llvm.uadd.sat.i64(i64 {span}, i64 {name}.length)",
            ]
            span = name
        spans.append(span)
    return spans
