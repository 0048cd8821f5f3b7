"""The runtime of libraries without Python as a part of their object code."""

from __future__ import annotations

from importlib import resources

from hpacml.backend.llvm import Part
from hpacml.embedding import processors
from hpacml.embedding.constants import global_text
from hpacml.runtime import shim

EXPORTS = ("hpacml_last_error",)
"""The symbols of the runtime that programs use."""

ANSWERED = frozenset(
    {
        "hpacml_check_map",
        "hpacml_fail",
        "hpacml_number",
        "hpacml_parallel",
        "hpacml_print",
        "hpacml_refuse",
        "hpacml_refuse_size",
        "hpacml_refuse_sizes",
        "hpacml_time_ms",
        "hpacml_time_ns",
        "_mlir_memref_to_llvm_alloc",
        "_mlir_memref_to_llvm_aligned_alloc",
        "_mlir_memref_to_llvm_free",
        "memrefCopy",
    }
)
"""The symbols that code may call which stands alone."""

_TEXTS = {
    "no_key": "this process has no thread-specific key left",
    "no_entry": "there is no memory for the call",
    "no_stack": (
        "the stack of this thread has less than 32 KiB left, or 64 in another call: start the thread with a larger one"
    ),
    "no_array": "a kernel cannot make an array of the shape [",
    "negative_size": "]: write max(n, 0) for a size that may be negative",
    "huge_size": "]: no memory has so many bytes",
    "negative_tensor": "a temporary tensor would have a negative size: {given} bytes",
    "no_tensor": "no memory for a temporary tensor of {given} bytes",
}


def parts() -> list[Part]:
    """The modules of the runtime."""
    text = (resources.files("hpacml.embedding") / "standalone.ll").read_text(encoding="utf-8")
    texts = "\n".join(global_text(name, each) for name, each in _TEXTS.items())
    own = f"{text}\n{texts}\nattributes #0 = {{ {processors.attributes()} }}\n"
    code = shim.text()
    return [Part(own, shim.exports(text)), Part(code, shim.exports(code))]
