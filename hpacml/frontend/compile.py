"""Compiles modules of IR and loads the code, for kernels, regions and functors alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hpacml.backend.stacks import on_large_stack
from hpacml.backend.trampolines import ARRAY
from hpacml.errors import CompileError
from hpacml.pipelines import generic_text, run_passes
from hpacml.runtime import handlers, loading
from hpacml.runtime.entry import Function
from hpacml.runtime.reports import instruments

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp
    from xdsl.ir import Attribute

KEPT = 64
"""The number of lowered modules that are kept, about 50 KB each."""


class Lowered(NamedTuple):
    """A lowered module as text, and the texts of its call sites by their symbols."""

    text: str
    texts: dict[str, bytes]


_lowered: dict[tuple[str, str, bool], Lowered] = {}
"""Lowered modules by what they were: pools of processes unpickle a function for each of their tasks."""


def compile(
    module: ModuleOp, name: str, chosen: instruments.Instruments = instruments.OFF, chip: str | None = None
) -> Function:
    """Lower a module to machine code, and load its function `name`.

    With a `chip`, maps and parallel loops become kernels for that GPU. `chosen` decides whether the code measures
    itself. Raises `CompileError` and `MapError`.
    """
    try:
        return on_large_stack(lambda: _compile(module, name, chosen, chip))
    except RecursionError as error:
        raise CompileError(f"'{name}' is nested too deep to be compiled with Python's recursion limit") from error


def _compile(module: ModuleOp, name: str, chosen: instruments.Instruments, chip: str | None) -> Function:
    from xdsl.dialects.func import FuncOp

    from hpacml.backend.anonymous import ENTRY, take_texts

    handlers.install()
    function = next(op for op in module.body.block.ops if isinstance(op, FuncOp) and op.sym_name.data == name)
    types = [_kind(type) for type in function.function_type.inputs]
    results = list(map(_kind_of_result, function.function_type.outputs))
    if chip is None:
        lowered = _lower(module, name, chosen.timing)
        return loading.compile(lowered.text, ENTRY, types, results, lowered.texts, name)
    from hpacml.runtime.gpu import compilation

    lowered = run_passes(module, report=chosen.timing, gpu=True)
    texts = take_texts(lowered)  # profilers show the names of functions, so kernels for GPUs keep them
    return compilation.compile(generic_text(lowered), name, types, results, texts, chip)


def _lower(module: ModuleOp, name: str, report: bool) -> Lowered:
    """Lower a module for this processor, or return what came out when an equal one was lowered."""
    key = generic_text(module), name, report
    if (found := _lowered.get(key)) is not None:
        return found
    from hpacml.backend.anonymous import without_names

    lowered = Lowered(*without_names(run_passes(module, report=report), name))
    if len(_lowered) >= KEPT:
        _lowered.clear()
    _lowered[key] = lowered
    return lowered


def _kind(type: Attribute) -> str:
    """The runtime's name for the type of an argument or result."""
    from xdsl.dialects.builtin import MemRefType

    return "memref" if isinstance(type, MemRefType) else str(type)


def _kind_of_result(type: Attribute) -> str:
    from xdsl.dialects.builtin import MemRefType

    return f"{ARRAY}{type.get_num_dims()}" if isinstance(type, MemRefType) else str(type)
