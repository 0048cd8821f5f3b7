"""Compiled code loaded into this process, to call."""

from __future__ import annotations

from collections.abc import Sequence

from hpacml.backend import cache, llvm
from hpacml.backend.mlir import portable, portable_key
from hpacml.backend.trampolines import packed, trampoline
from hpacml.runtime import shim
from hpacml.runtime.entry import Function


def compile(ir_text: str, entry_name: str, arg_types: Sequence[str], result_type: str | None = None) -> Function:
    """Load the function `entry_name` of a module in MLIR's func, scf, memref, arith, math, cf and llvm.

    It must be marked `llvm.emit_c_interface`. `arg_types` and `result_type` are "memref", "index", "i64",
    "i32", "i8", "i1", "f64" or "f32". If machine code is in the cache on disk, neither MLIR nor LLVM compiles
    anything; if code for another kind of processor is, only LLVM does. Raises CompileError.
    """
    entry = trampoline(entry_name, arg_types, result_type)
    symbol = packed(entry_name)

    name = cache.key("kernel", *llvm.host(), shim.text(), portable_key(ir_text), entry)
    library = cache.fetch(
        name,
        lambda: portable(ir_text, lambda text: llvm.emit(text + entry, {symbol})),
        lambda code: llvm.link(code, {symbol}, shim.runtime().symbols),
    )
    return Function(entry_name, library, symbol, arg_types, result_type)
