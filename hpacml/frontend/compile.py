"""Compiles modules of IR and loads the code, for kernels, regions and functors alike."""

from __future__ import annotations

from xdsl.dialects.builtin import MemRefType, ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute

from hpacml.backend.anonymous import ENTRY, forget_names, take_texts
from hpacml.backend.stacks import on_large_stack
from hpacml.errors import CompileError
from hpacml.pipelines import generic_text, run_passes
from hpacml.runtime import handlers, loading
from hpacml.runtime.entry import Function
from hpacml.runtime.reports import instruments


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
    handlers.install()
    function = next(op for op in module.body.block.ops if isinstance(op, FuncOp) and op.sym_name.data == name)
    types = [_kind(type) for type in function.function_type.inputs]
    result = next(map(_kind, function.function_type.outputs), None)
    if chip is None:
        lowered = run_passes(module, report=chosen.timing)
        texts = take_texts(lowered)
        forget_names(lowered, name)
        return loading.compile(generic_text(lowered), ENTRY, types, result, texts, name)
    from hpacml.runtime.gpu import compilation

    lowered = run_passes(module, report=chosen.timing, gpu=True)
    texts = take_texts(lowered)  # profilers show the names of functions, so kernels for GPUs keep them
    return compilation.compile(generic_text(lowered), name, types, result, texts, chip)


def _kind(type: Attribute) -> str:
    """The runtime's name for the type of an argument or result."""
    return "memref" if isinstance(type, MemRefType) else str(type)
