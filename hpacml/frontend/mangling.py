"""Symbols in the IR for names of Python: the names themselves where the IR and what comes after it allow them."""

from __future__ import annotations

import math
import re
from collections.abc import Collection

from hpacml.abi.symbols import SYMBOLS

_RESERVED = {*SYMBOLS, *vars(math), "free", "index", "main", "malloc", "memcpy", "memmove", "memset", "pow", "powf"}
"""Functions that the lowering or MLIR calls by these names. `hpacml.backend.anonymous` takes care of all others."""

_OWNED = re.compile(r"hpacml_|_mlir_|__|llvm")
"""What the names begin with that the lowering, MLIR and LLVM make up."""


def symbol_for(name: str, taken: Collection[str]) -> str:
    """A symbol like `name` that is none of `taken`, and none that passes make."""
    stem = re.sub(r"[^A-Za-z0-9_]", "_", name)
    stem = f"py_{stem}" if stem in _RESERVED or _OWNED.match(stem) else stem
    symbol, count = stem, 0
    while symbol in taken:
        symbol, count = f"{stem}_{count}", count + 1
    return symbol
