"""The symbols of the C ABI between compiled code and the runtime, and the values that they take.

`convert-hpacml-to-runtime` calls them, `hpacml.runtime` implements them, docs/runtime-abi.md describes them, and
`hpacml.abi.header` declares them. A new symbol that Python answers needs a row here and a handler in
`hpacml.runtime.handlers`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

VERSION = 1
"""The version of the ABI, which `hpacml_abi_version` returns. It grows with each change that a runtime of another
version would not notice: of a symbol's parameters, of a key that records have always had, of what a call means."""


class Value(NamedTuple):
    """How a number or an array is passed to compiled code: its LLVM type, and its `struct` format in an 8-byte slot."""

    llvm: str
    slot: str


VALUES = {
    "memref": Value("ptr", "Q"),
    "index": Value("i64", "q"),
    "i64": Value("i64", "q"),
    "i32": Value("i32", "i4x"),
    "i16": Value("i16", "h6x"),
    "i8": Value("i8", "b7x"),
    "i1": Value("i1", "?7x"),
    "f64": Value("double", "d"),
    "f32": Value("float", "f4x"),
}
"""Values by MLIR type; an array is passed as the address of its descriptor."""

C_TYPES = {"void": "void", "int32_t": "i32", "int64_t": "i64", "double": "double"}
"""LLVM types by C types; a pointer is `ptr`."""


@dataclass(frozen=True)
class Symbol:
    """A function of the ABI, by its C prototype."""

    prototype: str
    python: bool = False
    """Whether Python answers it alone. An integer that such a symbol returns is yes (1) or no (0)."""
    replaces: str | None = None
    """The symbol that it replaces in host code for kernels on GPUs."""

    @cached_property
    def _parts(self) -> tuple[str, str, list[str]]:
        result, name, parameters = re.fullmatch(r"(.*?)(\w+)\((.*)\)", self.prototype).groups()  # pyright: ignore
        return result.strip(), name, [] if parameters == "void" else parameters.split(", ")

    @property
    def name(self) -> str:
        return self._parts[1]

    @property
    def result(self) -> str:
        """The type of its result in LLVM, such as `void`."""
        return _llvm_type(self._parts[0])

    @property
    def parameters(self) -> dict[str, str]:
        """The types of its parameters in LLVM, by name."""
        split = (re.fullmatch(r"(.*?)(\w+)", each) for each in self._parts[2])
        return {found[2]: _llvm_type(found[1]) for found in split if found}

    @property
    def declaration(self) -> str:
        """Its declaration in LLVM IR."""
        return f"declare {self.result} @{self.name}({', '.join(self.parameters.values())})"


def _llvm_type(c_type: str) -> str:
    return "ptr" if "*" in c_type else C_TYPES[c_type.strip()]


HOST_SYMBOLS = (
    Symbol("int32_t hpacml_abi_version(void)"),
    Symbol("int32_t hpacml_infer(const char *site, void **tensors)", python=True),
    Symbol("int32_t hpacml_infer_on_views(const char *site, const char *views, void **memory)", python=True),
    Symbol("int32_t hpacml_sample(const char *site)", python=True),
    Symbol("void hpacml_collect(const char *site, void **tensors, double milliseconds)", python=True),
    Symbol("int32_t hpacml_domain(const char *site, void **tensors)", python=True),
    Symbol("void hpacml_count_points(const char *site, void **tensors, int64_t *found)", python=True),
    Symbol("void hpacml_count_inference(const char *site, int64_t *found)", python=True),
    Symbol("int32_t hpacml_verify(const char *site, void **tensors)", python=True),
    Symbol("int32_t hpacml_is_compared(const char *site, void **tensors)", python=True),
    Symbol("void hpacml_compare_points(const char *site, void **tensors)", python=True),
    Symbol("void hpacml_check_map(const char *site, const int64_t *values, void **arrays)", python=True),
    Symbol("void hpacml_call_body(int64_t index)", python=True),
    Symbol("void hpacml_keep_random(int64_t restores)", python=True),
    Symbol("void hpacml_call_body_on(int64_t index, void **arrays, const int64_t *numbers)", python=True),
    Symbol("void hpacml_refuse_size(int64_t size, int64_t more)", python=True),
    Symbol("void hpacml_refuse_sizes(const char *site, int64_t given, int64_t wanted)", python=True),
    Symbol("void hpacml_number(int64_t bits)", python=True),
    Symbol("void hpacml_fail(const char *site)", python=True),
    Symbol("void hpacml_print(const char *site)", python=True),
    Symbol("double hpacml_time_ms(void)"),
    Symbol("int64_t hpacml_time_ns(void)"),
    Symbol(
        "void hpacml_record(const char *site, void **counters, int64_t stages, const int64_t *times, "
        "const int64_t *bytes)"
    ),
    Symbol("void hpacml_refuse(const char *site)", python=True),
    Symbol("void hpacml_parallel(void *function, void *values, int64_t count, double work)"),
    # As in MLIR's own runtime.
    Symbol("void *_mlir_memref_to_llvm_alloc(int64_t bytes)"),
    Symbol("void *_mlir_memref_to_llvm_aligned_alloc(int64_t alignment, int64_t bytes)"),
    Symbol("void _mlir_memref_to_llvm_free(void *memory)"),
    Symbol("void memrefCopy(int64_t element_size, void *source, void *target)"),
)
"""The symbols that compiled code calls."""

DEVICE_SYMBOLS = (
    Symbol("void hpacml_device_flag(const char *site, int64_t *found)", python=True),
    Symbol("int32_t hpacml_device_flag_down(void)", python=True),
    Symbol(
        "void hpacml_launch(const void *kernels, int64_t number, int64_t grid, int64_t block, int64_t narrow, "
        "void **parameters)"
    ),
    Symbol("void *hpacml_device_alloc(int64_t bytes)", replaces="_mlir_memref_to_llvm_alloc"),
    Symbol(
        "void *hpacml_device_aligned_alloc(int64_t alignment, int64_t bytes)",
        replaces="_mlir_memref_to_llvm_aligned_alloc",
    ),
    Symbol("void hpacml_device_free(void *memory)", replaces="_mlir_memref_to_llvm_free"),
    Symbol("double hpacml_device_time_ms(void)", replaces="hpacml_time_ms"),
    Symbol("int64_t hpacml_device_time_ns(void)", replaces="hpacml_time_ns"),
    Symbol(
        "void hpacml_device_record(const char *site, void **counters, int64_t stages, const int64_t *times, "
        "const int64_t *bytes)",
        python=True,
        replaces="hpacml_record",
    ),
)
"""The symbols that code which launches kernels on GPUs calls besides, or in place of those that they replace."""

WITHOUT_FRAME = frozenset(
    {
        "hpacml_abi_version",
        "hpacml_fail",
        "hpacml_keep_temporary",
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
"""The symbols that need to know nothing of the call that calls them."""

SYMBOLS = {symbol.name: symbol for symbol in (*HOST_SYMBOLS, *DEVICE_SYMBOLS)}
"""All of them by name. A call that fails does not return."""

PYTHON_HALVES = {
    half.name.removeprefix("hpacml_"): half
    for half in (
        *(symbol for symbol in SYMBOLS.values() if symbol.python),
        # Native code calls these where it cannot go on without Python.
        Symbol("void no_memory(int64_t bytes)"),
        Symbol("void open_counters(const char *site, void **found)"),
        Symbol(SYMBOLS["hpacml_launch"].prototype),
        Symbol("void device_alloc(int64_t bytes, void **found)"),
        Symbol("void device_free(void *memory)"),
        Symbol("void device_time(int64_t *found)"),
        Symbol("void device_body_time(double *found)"),
    )
}
"""The Python functions behind the symbols, by the names of their handlers."""


RECORDED = {
    "hpacml_number": "false",
    "hpacml_refuse_size": "%last",
    "hpacml_refuse_sizes": "true",
    "hpacml_fail": "true",
    "no_memory": "true",
}
"""What iterations of parallel loops may call that fails, and whether it then ends them, in LLVM IR. Threads record such
calls, which the thread that has entered the code repeats: Python's errors are those of a thread."""


def forwarding() -> str:
    """LLVM IR: the version, the declarations of all Python functions, and the symbols that only forward to one."""
    declared = (f"declare i32 @hpacml_py_{name}({_types(half)})" for name, half in PYTHON_HALVES.items())
    forwards = (_forward(symbol) for symbol in SYMBOLS.values() if symbol.python and symbol.name not in RECORDED)
    recorded = map(_record, RECORDED)
    version = f"define i32 @hpacml_abi_version() {{\n  ret i32 {VERSION}\n}}"
    return "\n".join([*declared, version, *forwards, *recorded, _repeat(), ""])


def _types(symbol: Symbol) -> str:
    return ", ".join(symbol.parameters.values())


def _forward(symbol: Symbol) -> str:
    given = ", ".join(f"{kind} %{name}" for name, kind in symbol.parameters.items())
    half = f"hpacml_py_{symbol.name.removeprefix('hpacml_')}"
    if symbol.result == "void":
        end = "call void @check(i32 %status)\n  ret void"
    else:
        end = "%answer = call i32 @answer(i32 %status)\n  ret i32 %answer"
    return f"define {symbol.result} @{symbol.name}({given}) {{\n  %status = call i32 @{half}({given})\n  {end}\n}}"


def _half_of(name: str) -> Symbol:
    return PYTHON_HALVES[name.removeprefix("hpacml_")]


def _record(name: str) -> str:
    """The function `name`, which asks Python if it is not recorded."""
    half = _half_of(name)
    given = ", ".join(f"{kind} %{each}" for each, kind in half.parameters.items())
    lines = [f"define {'' if name in SYMBOLS else 'internal '}void @{name}({given}) {{"]
    words: list[str] = []
    for each, kind in half.parameters.items():
        lines += [f"  %word_{each} = ptrtoint ptr %{each} to i64"] if kind == "ptr" else []
        words.append(f"i64 %word_{each}" if kind == "ptr" else f"i64 %{each}")
    words += ["i64 0"] * (3 - len(words))
    number, ends = list(RECORDED).index(name), RECORDED[name]
    lines += ["  %last = icmp eq i64 %more, 0"] if ends == "%last" else []
    lines += [
        f"  %kept = call i1 @kept(i64 {number}, {', '.join(words)}, i1 {ends})",
        "  br i1 %kept, label %return, label %ask",
        "ask:",
        f"  %status = call i32 @hpacml_py_{half.name.removeprefix('hpacml_')}({given})",
        "  call void @check(i32 %status)",
        "  br label %return",
        "return:",
        "  ret void",
        "}",
    ]
    return "\n".join(lines)


def _repeat() -> str:
    """The function that repeats a call that was recorded."""
    cases = " ".join(f"i64 {number}, label %{name}" for number, name in enumerate(RECORDED))
    lines = [
        "define internal void @repeat(i64 %kind, i64 %a, i64 %b, i64 %c) {",
        f"  switch i64 %kind, label %return [ {cases} ]",
        "return:",
        "  ret void",
    ]
    for name in RECORDED:
        kinds = list(_half_of(name).parameters.values())
        lines.append(f"{name}:")
        arguments: list[str] = []
        for kind, word in zip(kinds, "abc", strict=False):
            lines += [f"  %{name}_{word} = inttoptr i64 %{word} to ptr"] if kind == "ptr" else []
            arguments.append(f"ptr %{name}_{word}" if kind == "ptr" else f"i64 %{word}")
        lines += [f"  call void @{name}({', '.join(arguments)})", "  br label %return"]
    return "\n".join([*lines, "}"])
