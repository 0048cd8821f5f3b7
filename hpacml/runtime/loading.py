"""Compiled code loaded into this process, to call."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from hpacml.backend import llvm
from hpacml.backend.mlir import portable, portable_key
from hpacml.backend.trampolines import behind, packed, trampoline
from hpacml.disk import cache
from hpacml.runtime import openmp, shim, sites
from hpacml.runtime.entry import Function

NO_TEXTS: Mapping[str, bytes] = MappingProxyType({})


def compile(
    ir_text: str,
    entry_name: str,
    arg_types: Sequence[str],
    result_types: Sequence[str] = (),
    texts: Mapping[str, bytes] = NO_TEXTS,
    name: str | None = None,
) -> Function:
    """Load the function `entry_name` of a module in MLIR's func, scf, memref, arith, math, cf and llvm.

    It must be marked `llvm.emit_c_interface`. `arg_types` and `result_types` are "memref", "index", "i64",
    "i32", "i8", "i1", "f64" or "f32". The code finds `texts`, NUL-terminated, at symbols that the module declares.
    If machine code is in the cache on disk, neither MLIR nor LLVM compiles anything; if code for another kind of
    processor is, only LLVM does. Errors of calls show `name`. Raises CompileError.
    """
    entry = trampoline(entry_name, arg_types, result_types)
    symbol = packed(entry_name)

    data = {symbol: ctypes.create_string_buffer(text) for symbol, text in texts.items()}
    symbols = {**shim.runtime().symbols, **{symbol: ctypes.addressof(text) for symbol, text in data.items()}}
    for text in data.values():
        sites.keep(text)
    key = cache.key("code", *llvm.host(), shim.text(), portable_key(ir_text), entry)
    library = cache.fetch(
        key,
        lambda: portable(ir_text, lambda text: llvm.emit(text + entry, {symbol}, behind(entry_name))),
        lambda code: llvm.link(code, {symbol}, symbols, data),
    )
    if "hpacml_parallel" in library.imports:
        openmp.provide()
    return Function(name or entry_name, library, symbol, arg_types, result_types)
