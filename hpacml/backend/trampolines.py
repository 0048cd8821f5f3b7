"""LLVM IR of the entries of compiled functions, which take their arguments from slots."""

from __future__ import annotations

from collections.abc import Sequence

from hpacml.abi.symbols import VALUES


def packed(name: str) -> str:
    """The symbol that `trampoline` defines."""
    return f"{name}.packed"


def trampoline(name: str, arg_types: Sequence[str], result_type: str | None) -> str:
    """LLVM IR of `void @name.packed(ptr slots)`, which calls the C interface of `name`.

    `slots` holds one 8-byte slot an argument, then one for the result. A value lies at the start of its slot,
    an i1 as a byte of 0 or 1, a memref as the address of its descriptor.
    """
    types = [VALUES[kind].llvm for kind in arg_types]
    arguments = ", ".join(f"{kind} %value{i}" for i, kind in enumerate(types))
    lines = [f'define void @"{packed(name)}"(ptr %slots) {{']
    for i, kind in enumerate(types):
        lines += [
            f"%slot{i} = getelementptr i64, ptr %slots, i64 {i}",
            f"%value{i} = load {kind}, ptr %slot{i}",
        ]
    if result_type is None:
        lines.append(f'call void @"_mlir_ciface_{name}"({arguments})')
    else:
        kind = VALUES[result_type].llvm
        lines += [
            f'%result = call {kind} @"_mlir_ciface_{name}"({arguments})',
            f"%slot = getelementptr i64, ptr %slots, i64 {len(types)}",
            f"store {kind} %result, ptr %slot",
        ]
    return "\n  ".join(lines) + "\n  ret void\n}\n"
