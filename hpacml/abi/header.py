"""The C header of the ABI, `hpacml_abi.h`, made of the table of its symbols."""

from __future__ import annotations

from collections.abc import Iterable

from hpacml.abi.entries import ENTRY_SYMBOLS, TEXT_SYMBOL
from hpacml.abi.symbols import C_TYPES, DEVICE_SYMBOLS, HOST_SYMBOLS, VERSION, Symbol

DESCRIPTOR = "struct { T *allocated; T *aligned; int64_t offset; int64_t sizes[rank]; int64_t strides[rank]; };"
"""The descriptor of an array in C."""

_HEADER = """/* The symbols that code compiled by hpacml calls. docs/runtime-abi.md tells what they do.
 *
 * Written by `python docs/generate.py` from the table in hpacml/abi/symbols.py.
 */
#ifndef HPACML_ABI_H
#define HPACML_ABI_H

#include <stdint.h>
#include <string.h>

/* What hpacml_abi_version() of a runtime returns that is built with this header. */
#define HPACML_ABI_VERSION {version}

#ifdef __cplusplus
extern "C" {{
#endif

/* A tensor or an array comes as the address of MLIR's descriptor of a ranked memref; that of rank 0 has no arrays:
 *
 *   {descriptor}
 */

{host}

/* What code that launches kernels on GPUs calls besides, or in place of the symbols that are named. */

{device}

/* What the functions of built objects call besides, and programs: hpacml_last_error(). */

{entries}

/* What a record says of `key`, or NULL. Only records that are strings (plain=true) are for this function: keys and
 * values, each with a NUL behind it, then an empty key. */
static inline const char *hpacml_site(const char *site, const char *key)
{{
    while (*site != 0) {{
        const char *value = site + strlen(site) + 1;
        if (strcmp(site, key) == 0)
            return value;
        site = value + strlen(value) + 1;
    }}
    return 0;
}}

#ifdef __cplusplus
}}
#endif

#endif
"""


def header() -> str:
    """The text of `hpacml_abi.h`, for C99 and C++11."""
    host, device, entries = map(declarations, (HOST_SYMBOLS, DEVICE_SYMBOLS, (*ENTRY_SYMBOLS, TEXT_SYMBOL)))
    return _HEADER.format(version=VERSION, descriptor=DESCRIPTOR, host=host, device=device, entries=entries)


_WIDEST = max(map(len, C_TYPES))
"""The width of results in `declarations`."""
_NOTES = 72
"""The column of notes in `declarations`, where a declaration leaves it free."""


def declarations(symbols: Iterable[Symbol]) -> str:
    """C declarations of symbols, a line each, with their names in one column."""
    return "\n".join(map(_declared, symbols))


def _declared(symbol: Symbol) -> str:
    result, _, rest = symbol.prototype.partition(symbol.name)
    type, pointer = result.rstrip(" *"), "*" if "*" in result else " "
    gap = " " if len(type) > _WIDEST else ""
    line = f"{type:<{_WIDEST}}{gap}{pointer}{symbol.name}{rest};"
    return f"{line:<{_NOTES}} /* for {symbol.replaces} */" if symbol.replaces else line
