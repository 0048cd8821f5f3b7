"""The code of a network between two dense tensors, made once for each architecture: weights are arguments."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from xdsl.dialects.builtin import DYNAMIC_INDEX, FunctionType, MemRefType, ModuleOp, UnitAttr, f32, f64
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region

from hpacml.backend import llvm
from hpacml.backend.stacks import on_large_stack
from hpacml.dialects.hpacml.networks import NetworkOp
from hpacml.networks.architecture import Layer, Scaling
from hpacml.pipelines import generic_text, lower_networks
from hpacml.runtime import loading
from hpacml.runtime.entry import Function

_FLOATS = {"f32": f32, "f64": f64}
_NAME = "network"


@functools.lru_cache(256)
def compiled(layers: tuple[Layer, ...], element: str, x: str, y: str, inputs: int, outputs: int) -> Function:
    """The function that applies layers to packed tensors: weights, `x[points, inputs]`, `y[points, outputs]`."""
    module = _module(layers, element, x, y, inputs, outputs)
    count = sum(bool(layer.parameters) for layer in layers) + 2

    def load() -> Function:
        return loading.compile(generic_text(lower_networks(module, vector_bytes(), rows())), _NAME, ["memref"] * count)

    return on_large_stack(load)


def _module(layers: Sequence[Layer], element: str, x: str, y: str, inputs: int, outputs: int) -> ModuleOp:
    weights = [
        MemRefType(
            f64 if isinstance(each, Scaling) and each.kind.endswith("64") else _FLOATS[element], [each.parameters]
        )
        for each in layers
        if each.parameters
    ]
    types = [
        *weights,
        MemRefType(_FLOATS[x], [DYNAMIC_INDEX, inputs]),
        MemRefType(_FLOATS[y], [DYNAMIC_INDEX, outputs]),
    ]
    block = Block(arg_types=types)
    *given, source, target = block.args
    block.add_ops([NetworkOp(layers, _FLOATS[element], 1, given, [source], [target]), ReturnOp()])
    function = FuncOp(_NAME, FunctionType.from_lists(types, []), Region(block))
    function.attributes["llvm.emit_c_interface"] = UnitAttr()
    return ModuleOp([function])


@functools.cache
def vector_bytes() -> int:
    """The bytes of this processor's vectors."""
    features = llvm.host().features.split(",")
    return 64 if "+avx512f" in features else 32 if "+avx2" in features else 16


def rows() -> int:
    """The outputs that are computed at once: registers hold twice as many sums."""
    return 8 if vector_bytes() == 64 else 4
