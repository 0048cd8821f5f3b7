"""Upstream MLIR takes kernels for GPUs out of the code of the host, and lowers them apart from it."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from hpacml.backend.launchers import Launch
from hpacml.backend.mlir import Mlir, asm_of, lowered, to_llvm_ir
from hpacml.pipelines import MLIR_OUTLINING

if TYPE_CHECKING:
    from hpacml.passes.gpu.launches import Kind

_REMAINDER = re.compile(r'"llvm\.frem"\((.*?)\) <{.*?}>')

_PRIVATE = re.compile(r"(memref<\w+), 5(?: : i64)?>")
"""A memref in the private memory of a thread, whose address space differs between GPUs."""


@dataclass(frozen=True, slots=True)
class Outlined:
    """A module in generic MLIR whose kernels are outlined: their arguments have the same order on both sides."""

    host: str
    """The module without kernels and their shared memory. It calls undefined functions, which have to launch them."""
    device: str
    """A module of the kernels, each in a `gpu.module` of its name."""
    launches: tuple[Launch, ...]
    """The functions that the host calls."""


def outline(ir_text: str) -> Outlined:
    """Split a module in generic MLIR into host and device. Raises CompileError, with MLIR's diagnostics."""
    with lowered(ir_text, MLIR_OUTLINING) as (mlir, module):
        launches = _call_launches(mlir, module)
        kernels: list[str] = []
        for op in list(module.body.operations):
            if op.operation.name == "gpu.module":
                _mark_read_only(mlir, op)
                kernels.append(asm_of(op))
            if op.operation.name == "gpu.module" or _is_shared_memory(op):
                op.operation.erase()
        # MLIR lowers arith.remf for GPUs, but xDSL lacks it.
        device = _REMAINDER.sub(r'"arith.remf"(\1)', "\n".join(kernels))
        device = _PRIVATE.sub(r"\1, #gpu.address_space<private>>", device)
        return Outlined(asm_of(module), device, launches)


def _call_launches(mlir: Mlir, module: Any) -> tuple[Launch, ...]:
    """Replace launches by calls of undefined functions, which get blocks, threads and the kernel's arguments."""
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


def _mark_read_only(mlir: Mlir, kernels: Any) -> None:
    """Promise LLVM that the kernel of a map writes no memory that it reads: loads may then use a read-only cache."""
    from hpacml.passes.gpu.launches import kind_of

    kind = kind_of(kernels.attributes["sym_name"].value)
    if kind == "loop":
        return  # a loop may work in place
    promise = mlir.ir.Attribute.parse("{llvm.readonly}")
    nothing = mlir.ir.DictAttr.get({})
    for op in kernels.operation.regions[0].blocks[0].operations:
        if "gpu.kernel" in op.attributes:
            arguments = op.operation.regions[0].blocks[0].arguments
            op.attributes["arg_attrs"] = mlir.ir.ArrayAttr.get(
                [promise if _is_only_read(value, kind) else nothing for value in arguments]
            )


def _is_only_read(value: Any, kind: Kind) -> bool:
    """Whether a kernel only reads a memref. The index array of a scatter may be its target, too, and be written."""
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
    """Return LLVM IR text of the kernels in `Outlined.device`, in all `variants`; without kernels it defines nothing.

    Raises CompileError, with MLIR's diagnostics.
    """
    symbols: dict[str, str] = {}
    for variant in variants:
        with lowered(device_text, variant.pipeline) as (mlir, module):
            symbols |= _symbols(mlir, module, variant)
    with lowered("\n".join(symbols.values()), "builtin.module()") as (mlir, module):
        # MLIR drops noalias, since the two pointers of a memref are equal; but loads go through only one of them.
        return to_llvm_ir(mlir, module).replace("ptr readonly %", "ptr noalias readonly %")


def _symbols(mlir: Mlir, module: Any, variant: Variant) -> dict[str, str]:
    """The contents of the kernels' modules by name. Memory that kernels share has the same name in each."""
    from hpacml.passes.gpu.launches import kind_of

    texts: dict[str, str] = {}
    for kernels in module.body.operations:
        name = kernels.attributes["sym_name"].value
        if kind_of(name) not in variant.kinds:
            continue
        for op in kernels.operation.regions[0].blocks[0].operations:
            if "gpu.kernel" in op.attributes:
                op.attributes["sym_name"] = mlir.ir.StringAttr.get(name + variant.suffix)
            texts[str(op.attributes["sym_name"])] = asm_of(op)
    return texts


def _is_shared_memory(op: Any) -> bool:
    """Whether it is memory that the threads of a block share; memory of the host has no memory space."""
    return op.operation.name == "memref.global" and op.attributes["type"].value.memory_space is not None
