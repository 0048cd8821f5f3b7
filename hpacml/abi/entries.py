"""What the C functions of built libraries call besides the symbols of compiled code, and the statuses that they return.

A runtime defines these functions: libhpacml, which embeds Python, or one without Python.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import IntEnum

from hpacml.abi.symbols import Symbol


class Status(IntEnum):
    """What a C function returns; the text of `hpacml_last_error` tells why."""

    OK = 0
    FAILED = 1
    """What the code called has failed: a map, a model, a database, memory."""
    BAD_ARGUMENT = 2
    """An argument does not fit; nothing has run."""
    BAD_PROCESSOR = 3
    """The library was built for other processors, or another GPU; nothing has run."""
    NO_RUNTIME = 4
    """The runtime cannot be started, or there is no CUDA driver, or no GPU."""


ENTRY_SYMBOLS = (
    Symbol("int32_t hpacml_enter_native(void *code, void *slots, const char *call, const char *const *texts)"),
    Symbol(
        "int32_t hpacml_enter_device(void *program, void *slots, const char *call, const char *const *texts, "
        "void *stream, const void *arrays, int64_t number)"
    ),
    Symbol("int32_t hpacml_refuse_call(int32_t status, const char *text, int64_t given, int64_t wanted)"),
)
"""`hpacml_enter_native` runs `code(slots)`, where a call of the runtime that fails does not return: the result is then
the status of that, else OK. `call` is the record of the C function (`CallRecord`), `texts` has the values of the
arguments that it names. `hpacml_enter_device` does so on a stream of the GPU that has the arrays: `program` is what
`hpacml.embedding.device_code` writes, `arrays` points to four words for each: the address of its descriptor, null if it
has no elements, its name in messages, its rank, and the bytes of an element. `hpacml_refuse_call` notes a text, with
the numbers in the place of `{given}` and `{wanted}`, and returns the status. All set what `hpacml_last_error` returns
in this thread."""

TEXT_SYMBOL = Symbol("const char *hpacml_last_error(void)")


@dataclass(frozen=True)
class CallRecord:
    """What a runtime may want to know of a C function, a constant in its memory, as JSON."""

    name: str
    texts: list[str]
    """The arguments whose values regions use, by which sites call them, in the order of `texts`."""
    constants: dict[str, str]
    """What sites find under other names: paths."""
    origins: dict[str, tuple[str, bool, list[str]]]
    """The functions whose regions collect, by their labels: name, whether its region gives the label, sources."""

    def to_json(self) -> str:
        return json.dumps({"kind": "call", **vars(self)})

    @staticmethod
    def parse(text: str | bytes) -> CallRecord:
        record = json.loads(text)
        return CallRecord(record["name"], record["texts"], record["constants"], record["origins"])
