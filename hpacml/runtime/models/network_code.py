"""The code of a network between views of memory, made once for each architecture: weights are arguments."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from math import prod
from typing import NamedTuple

from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    FunctionType,
    MemRefType,
    ModuleOp,
    StridedLayoutAttr,
    UnitAttr,
    f32,
    f64,
)
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region

from hpacml.backend import llvm
from hpacml.backend.stacks import on_large_stack
from hpacml.dialects.hpacml.attributes import ELEMENT_TYPES
from hpacml.dialects.hpacml.networks import NetworkOp
from hpacml.networks.architecture import Layer, Scaling
from hpacml.pipelines import generic_text, lower_networks
from hpacml.runtime import loading
from hpacml.runtime.entry import Function

FLOATS = {"f32": f32, "f64": f64}
"""The types in which networks compute, by name."""

INTEGERS = ("u8", "i8", "u16", "i16")
"""Those of inputs that become floats as they are gathered, which have all their numbers."""

_NAME = "network"


class ViewType(NamedTuple):
    """The type of a view: its dimensions are those of the sweep, then its own features."""

    dtype: str
    features: tuple[int, ...]
    """The sizes of the dimensions of features."""
    strides: tuple[int | None, ...]
    """The strides of all dimensions in elements, None for one that only a call has."""

    @property
    def width(self) -> int:
        """The number of features."""
        return prod(self.features)

    @property
    def memory(self) -> MemRefType:
        sweep = [DYNAMIC_INDEX] * (len(self.strides) - len(self.features))
        layout = StridedLayoutAttr(self.strides, None)
        return MemRefType(ELEMENT_TYPES[self.dtype], [*sweep, *self.features], layout)


class Views(NamedTuple):
    """The types of all views of a network, which have `sweep` dimensions before their own features."""

    sweep: int
    inputs: tuple[ViewType, ...]
    outputs: tuple[ViewType, ...]

    @property
    def types(self) -> tuple[ViewType, ...]:
        return (*self.inputs, *self.outputs)


def packed_type(dtype: str, features: tuple[int, ...]) -> ViewType:
    """The type of a packed tensor, whose dimensions are points and those of features."""
    return ViewType(dtype, features, tuple(prod(features[d:]) for d in range(len(features) + 1)))


@functools.lru_cache(256)
def compiled(layers: tuple[Layer, ...], element: str, views: Views) -> Function:
    """The function that applies layers to all points of a sweep, whose arguments are weights, inputs and outputs."""
    module = _module(layers, element, views)
    count = sum(bool(layer.parameters) for layer in layers) + len(views.types)

    def load() -> Function:
        lowered = lower_networks(module, vector_bytes(llvm.host().features), rows(llvm.host().features))
        return loading.compile(generic_text(lowered), _NAME, ["memref"] * count)

    return on_large_stack(load)


def weight_types(layers: Sequence[Layer], element: str) -> list[MemRefType]:
    """The types of the weights of the layers that have some."""
    return [
        MemRefType(
            f64 if isinstance(each, Scaling) and each.kind.endswith("64") else FLOATS[element], [each.parameters]
        )
        for each in layers
        if each.parameters
    ]


def _module(layers: Sequence[Layer], element: str, views: Views) -> ModuleOp:
    weights = weight_types(layers, element)
    types = [*weights, *(view.memory for view in views.types)]
    block = Block(arg_types=types)
    outputs = len(types) - len(views.outputs)
    given, sources, targets = block.args[: len(weights)], block.args[len(weights) : outputs], block.args[outputs:]
    block.add_ops([NetworkOp(layers, FLOATS[element], views.sweep, given, sources, targets), ReturnOp()])
    function = FuncOp(_NAME, FunctionType.from_lists(types, []), Region(block))
    function.attributes["llvm.emit_c_interface"] = UnitAttr()
    return ModuleOp([function])


@functools.cache
def vector_bytes(features: str) -> int:
    """The bytes of the vectors of a processor with these features, as LLVM writes them."""
    has = features.split(",")
    return 64 if "+avx512f" in has else 32 if "+avx2" in has else 16


def rows(features: str) -> int:
    """The outputs that such a processor computes at once: its registers hold twice as many sums."""
    return 8 if vector_bytes(features) == 64 else 4
