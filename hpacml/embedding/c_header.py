"""The C header of a library."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from hpacml.abi.entries import TEXT_SYMBOL, Status
from hpacml.embedding.c_types import CArray, CNumber, CParameter, CText, c_prototype
from hpacml.embedding.exported import REQUIRED, Exported
from hpacml.frontend.python.annotations import ArrayParameter
from hpacml.runtime.arrays.views import Layout

_HEAD = """/* {file}: functions that hpacml has compiled{built_for}. Made by `hpacml build`.
 *
 * A function returns 0, or another status: then hpacml_last_error() tells what is wrong, in English, until this
 * thread's next call. An array is passed as a pointer to its first element, its sizes, and its strides, which count
 * elements and may be NULL for an array in C order without gaps. Results are written only with status 0.
 *{on_gpus}
{statuses}
 */
#ifndef {guard}
#define {guard}

#ifndef __cplusplus
#include <stdbool.h>
#endif
#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

{error};
"""

_TAIL = """
#ifdef __cplusplus
}
#endif

#endif
"""


def header(functions: Sequence[Exported], file: str, built_for: str) -> str:
    """The text of the header `file` for functions that were built for a kind of machine."""
    guard = "HPACML_BUILT_" + re.sub(r"\W", "_", file, flags=re.ASCII).upper()
    on_gpus = any(function.chip is not None for function in functions)
    meanings = _MEANINGS | (_MEANINGS_ON_GPUS if on_gpus else {})
    statuses = "\n".join(f" *   {status.value}  {meanings[status]}" for status in Status)
    text = _HEAD.format(
        file=file,
        built_for=f" for {built_for}",
        statuses=statuses,
        on_gpus=_ON_GPUS if on_gpus else "",
        guard=guard,
        error=TEXT_SYMBOL.prototype,
    )
    return text + "".join("\n" + "\n".join(_declaration(function)) + "\n" for function in functions) + _TAIL


_MEANINGS = {
    Status.OK: "done",
    Status.FAILED: "the call failed: a map, a model, a database, or memory",
    Status.BAD_ARGUMENT: "an argument does not fit; nothing has run",
    Status.BAD_PROCESSOR: "the code is for processors with more instructions; nothing has run",
    Status.NO_RUNTIME: "the runtime cannot be started",
}


_MEANINGS_ON_GPUS = {
    Status.BAD_PROCESSOR: "the code is for another kind of GPU, or of processor; nothing has run",
    Status.NO_RUNTIME: "there is no CUDA driver or no GPU, or the runtime cannot be started",
}

_ON_GPUS = """
 * Arrays are in memory of a GPU (cudaMalloc, cuMemAlloc, managed memory), all of one; sizes, strides, texts and results
 * are in that of the host. The work is put on `stream`, a cudaStream_t or CUstream, NULL for the default one, and the
 * function returns before it is done: what goes wrong on the GPU is told by a later call.
 *"""


def declared(parameter: CParameter, result: bool = False) -> list[str]:
    """The declarations in C of what is passed for a parameter."""
    match parameter:
        case CArray(name=name, sizes=sizes, strides=strides, rank=rank, written=written):
            const = "" if written else "const "
            return [
                f"{const}{parameter.c_type} *{name}",
                f"const int64_t {sizes}[{rank}]",
                f"const int64_t {strides}[{rank}]",
            ]
        case CNumber(name=name):
            return [f"{parameter.c_type} {'*' if result else ''}{name}"]
        case CText(name=name):
            return [f"const char *{name}"]


def shape_text(parameter: ArrayParameter) -> str:
    """An array's elements and sizes, such as `float32[N, 3]`."""
    dims = ", ".join("any" if dim is None else str(dim) for dim in parameter.dims)
    return f"{parameter.element.dtype.name}[{dims}]"


def _declaration(function: Exported) -> Iterator[str]:
    prototype = c_prototype(function)
    layouts = dict(zip((each.name for each in prototype.arrays), function.versions[-1].layouts, strict=True))
    notes = [
        *(_note(each, layouts) for each in prototype.parameters),
        *((each.name, "written") for each in prototype.results),
    ]
    width = max((len(name) for name, _ in notes), default=0)
    yield f"/* {function.name}({', '.join(parameter.name for parameter in function.parameters)})"
    yield from (f" *   {name:<{width}}  {note}" for name, note in notes)
    yield " */"
    given = [text for each in prototype.parameters for text in declared(each)]
    given += [text for each in prototype.results for text in declared(each, result=True)]
    given += [] if prototype.stream is None else [f"void *{prototype.stream}"]
    start = f"int32_t {function.name}("
    yield start + f",\n{' ' * len(start)}".join(given or ["void"]) + ");"


def _note(parameter: CParameter, layouts: Mapping[str, Layout]) -> tuple[str, str]:
    """The name of a parameter and what is said of it; `layouts` are those that the function takes, by arrays."""
    match parameter:
        case CArray(name=name, parameter=array, written=written):
            needs = f", with {REQUIRED[layouts[name]]}" if layouts[name] in REQUIRED else ""
            return name, f"{shape_text(array)}, {'written' if written else 'read'}{needs}"
        case CNumber(name=name, type=type):
            return name, f"a number, {type}"
        case CText(name=name, needed=needed):
            return name, f"a path{'' if needed else ', or NULL for none'}"
