"""LLVM IR of the entries of compiled functions, which take their arguments from slots."""

from __future__ import annotations

from collections.abc import Sequence

from hpacml.abi.symbols import VALUES


def packed(name: str) -> str:
    """The symbol that `trampoline` defines."""
    return f"{name}.packed"


def c_interface(name: str) -> str:
    """The symbol that upstream MLIR gives the C interface of a function."""
    return f"_mlir_ciface_{name}"


def behind(name: str) -> tuple[str, str]:
    """The functions that `trampoline` is the only way to: each calls the next one alone."""
    return c_interface(name), name


def trampoline(name: str, arg_types: Sequence[str], result_types: Sequence[str]) -> str:
    """LLVM IR of `void @name.packed(ptr slots)`, which calls the C interface of `name`.

    `slots` holds one 8-byte slot an argument, then the results: one number in a slot, else the structure of all.
    A value lies at the start of its slot, an i1 as a byte of 0 or 1, an argument that is a memref as the address of
    its descriptor. Memory that the function has allocated and returns is kept (`hpacml_keep`).
    """
    types = [VALUES[kind].llvm for kind in arg_types]
    arguments = [f"{kind} %value{i}" for i, kind in enumerate(types)]
    lines = [f'define void @"{packed(name)}"(ptr %slots) {{']
    for i, kind in enumerate(types):
        lines += [
            f"%slot{i} = getelementptr i64, ptr %slots, i64 {i}",
            f"%value{i} = load {kind}, ptr %slot{i}",
        ]
    if result_types:
        lines.append(f"%results = getelementptr i64, ptr %slots, i64 {len(types)}")
    if is_number(result_types):
        kind = VALUES[result_types[0]].llvm
        lines += [
            f'%result = call {kind} @"{c_interface(name)}"({", ".join(arguments)})',
            f"store {kind} %result, ptr %results",
        ]
    else:
        given = ["ptr %results", *arguments] if result_types else arguments
        lines.append(f'call void @"{c_interface(name)}"({", ".join(given)})')
    for i, kind in enumerate(result_types):
        if kind.startswith(ARRAY):
            lines += [
                f"%place{i} = getelementptr {structure(result_types)}, ptr %results, i32 0, i32 {i}",
                f"%memory{i} = load ptr, ptr %place{i}",
                f"call void @hpacml_keep_temporary(ptr %memory{i})",
            ]
    keep = "declare void @hpacml_keep_temporary(ptr)\n" if any(kind.startswith(ARRAY) for kind in result_types) else ""
    return "\n  ".join(lines) + "\n  ret void\n}\n" + keep


ARRAY = "memref:"
"""How the type of a result that is an array begins; its rank follows."""


def is_number(result_types: Sequence[str]) -> bool:
    """Whether a function returns one number, which does not come as a structure."""
    return len(result_types) == 1 and not result_types[0].startswith(ARRAY)


def structure(result_types: Sequence[str]) -> str:
    """The type in LLVM of the structure that has several results."""
    return f"{{ {', '.join(map(_in_structure, result_types))} }}"


def _in_structure(kind: str) -> str:
    """The type of a result in LLVM, inside of a structure."""
    if not kind.startswith(ARRAY):
        return VALUES[kind].llvm
    rank = int(kind.removeprefix(ARRAY))
    extents = f", [{rank} x i64], [{rank} x i64]" if rank else ""
    return f"{{ ptr, ptr, i64{extents} }}"


def results_format(result_types: Sequence[str]) -> str:
    """The `struct` format of the results. Of an array it has the words of its descriptor."""
    if is_number(result_types):
        return "=" + VALUES[result_types[0]].slot
    formats: list[str] = []
    for kind in result_types:
        words = 3 + 2 * int(kind.removeprefix(ARRAY)) if kind.startswith(ARRAY) else 0
        formats.append(f"{words}q" if words else VALUES[kind].slot[0])
    return "@" + "".join(formats)
