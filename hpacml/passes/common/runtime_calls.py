"""What passes need to call functions of the runtime and of the C library."""

from __future__ import annotations

from xdsl.dialects import func, llvm
from xdsl.dialects.builtin import ModuleOp, f64, i32, i64
from xdsl.ir import Attribute
from xdsl.rewriter import InsertPoint
from xdsl.traits import SymbolTable

from hpacml.abi.symbols import SYMBOLS
from hpacml.passes.common.located import Builder, refusal

C_FUNCTIONS = ("erf", "erfc", "expm1", "pow", "powf")
"""The functions of the C library that kernels may call: device libraries have them too."""

POINTER = llvm.LLVMPointerType()

_TYPES = {"ptr": POINTER, "i32": i32, "i64": i64, "double": f64}
"""MLIR types of parameters and results of runtime symbols, by LLVM's names."""


def declare(module: ModuleOp, name: str, builder: Builder) -> None:
    """Declare a runtime function, once. Raises `PassFailedException` if the module has something else of its name."""
    parameters = [_TYPES[kind] for kind in SYMBOLS[name].parameters.values()]
    declaration = func.FuncOp.external(name, parameters, results(name))
    found = SymbolTable.lookup_symbol(module, name)
    if found is None:
        builder.insert(declaration, InsertPoint.at_start(module.body.block))
    elif not isinstance(found, func.FuncOp) or found.function_type != declaration.function_type:
        type = declaration.function_type
        raise refusal(found, f"@{name} is a function of the runtime, of type {type}: give this another name")


def results(name: str) -> list[Attribute]:
    """The result types of a runtime function."""
    result = SYMBOLS[name].result
    return [] if result == "void" else [_TYPES[result]]


def descriptor_type(rank: int) -> llvm.LLVMStructType:
    """The type of the descriptor of a memref."""
    words = llvm.LLVMArrayType(rank, i64)
    fields: list[Attribute] = [POINTER, POINTER, i64, *([words, words] if rank else [])]
    return llvm.LLVMStructType.from_type_list(fields)
