"""Functions to one object file, for a linker: their code for each layout, and the C functions that choose it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

from hpacml.backend.llvm import Part, emit_parts
from hpacml.backend.mlir import portable
from hpacml.backend.trampolines import behind, packed, trampoline
from hpacml.embedding import processors
from hpacml.embedding.c_entries import entries
from hpacml.embedding.constants import global_text
from hpacml.embedding.device_code import host_and_kernels
from hpacml.embedding.exported import Exported, Version


def object_code(
    functions: Sequence[Exported], processor: str, own: Sequence[Part] = (), exports: Collection[str] = ()
) -> bytes:
    """The object code of functions for a kind of processors, perhaps with the modules of a runtime of their `own`.

    All but the functions themselves and `exports` stays inside of it, so that objects with equal names in them link
    together.
    """
    named = {function.name: function for function in functions}
    codes = {name: [f"{name}.{n}.hpacml" for n in range(len(function.versions))] for name, function in named.items()}
    target = processors.processor(processor)
    versions = (
        _part(version, code, function.chip)
        for name, function in named.items()
        for version, code in zip(function.versions, codes[name], strict=True)
    )
    chosen = Part(entries(named, codes, processor, not own) + processors.check(target), named)
    return emit_parts([chosen, *versions, *own], {*named, *exports}, target)


def _part(version: Version, symbol: str, chip: str | None) -> Part:
    lowered = version.lowered
    entry = trampoline(lowered.entry, lowered.arguments, lowered.results)
    code = symbol if chip is None else f"{symbol}.code"
    entry = entry.replace(f'"{packed(lowered.entry)}"', f'"{code}"')
    if chip is not None:
        text = _with_texts(host_and_kernels(lowered, chip, symbol, code), lowered.texts)
    else:
        text = portable(lowered.text, lambda text: _with_texts(text, lowered.texts))
    return Part(text + entry, {code}, behind(lowered.entry))


def _with_texts(ir_text: str, texts: dict[str, str]) -> str:
    """A module in LLVM IR with the texts of the sites that it declares."""
    return "\n".join(_defined(ir_text.splitlines(), texts))


_DECLARED = re.compile(r'@"?([\w.$-]+)"? = external (?:\w+ )*constant ')


def _defined(lines: Sequence[str], texts: dict[str, str]) -> Iterator[str]:
    for line in lines:
        found = _DECLARED.match(line)
        yield line if found is None or found[1] not in texts else global_text(found[1], texts[found[1]])
