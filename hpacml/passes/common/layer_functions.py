"""What layers on tiles and on images share: functions of vectors, and the loops around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from xdsl.dialects import arith, memref, scf
from xdsl.dialects.builtin import IndexType, f64
from xdsl.ir import Block, Region, SSAValue
from xdsl.rewriter import InsertPoint

from hpacml.networks.architecture import Activation, Residual, Scaling, Stage
from hpacml.passes.common.located import Builder
from hpacml.passes.common.vectors import Vectors

Function: TypeAlias = "tuple[Scaling | Activation | Residual, SSAValue | None]"
"""A function of numbers, with its weights, or with what it adds."""


def functions_of(stage: Stage, weights: Iterator[SSAValue], sums: Sequence[SSAValue]) -> list[Function]:
    """The functions of a stage, whose weights come next."""
    added = iter(sums)
    return [
        (each, next(added) if isinstance(each, Residual) else next(weights) if each.parameters else None)
        for each in stage.functions
    ]


def applied(
    functions: Sequence[Function], x: SSAValue, feature: SSAValue, load: Callable[[SSAValue], SSAValue], v: Vectors
) -> SSAValue:
    """Apply functions, one after the other, to numbers of a feature; `load` gives those in their place elsewhere."""
    for function, memory in functions:
        if isinstance(function, Activation):
            x = activation(function, x, v)
        elif isinstance(function, Residual) and memory is not None:
            x = v.add(x, load(memory))
        elif isinstance(function, Scaling) and memory is not None:
            x = _scaled(function, memory, x, feature, v)
    return x


def _scaled(layer: Scaling, weights: SSAValue, x: SSAValue, feature: SSAValue, v: Vectors) -> SSAValue:
    """A function of the points of a feature that has weights of its own."""

    wide = Vectors(f64, v.lanes, v.builder)

    def weight(number: int) -> SSAValue:
        first = v.builder.index(number * layer.features)
        place = first if layer.is_for_all else v.builder.insert(arith.AddiOp(first, feature)).result
        return (wide if "64" in layer.kind else v).splat(v.builder.insert(memref.LoadOp.get(weights, [place])).res)

    match layer.kind:
        case "normalize64":
            return v.narrow(wide.div(wide.sub(v.widen(x), weight(0)), weight(1)))
        case "denormalize64":
            return wide.add(wide.mul(v.widen(x), weight(1)), weight(0))
        case "normalize":
            return v.div(v.sub(x, weight(0)), weight(1))
        case "denormalize":
            return v.add(v.mul(x, weight(1)), weight(0))
        case "batch_norm":
            return v.add(v.mul(v.sub(x, weight(0)), weight(1)), weight(2))
        case _:  # prelu
            return v.prelu(x, weight(0))


def activation(layer: Activation, x: SSAValue, v: Vectors) -> SSAValue:
    """A function of numbers; NaN stays NaN, as in Torch."""
    match layer.function:
        case "relu":
            return v.relu(x)
        case "leaky_relu":
            return v.leaky_relu(x, *layer.numbers)
        case "elu":
            return v.elu(x, *layer.numbers)
        case "tanh":
            return v.tanh(x)
        case "sigmoid":
            return v.sigmoid(x)
        case "silu":
            return v.mul(x, v.sigmoid(x))
        case "gelu":
            return v.mul(x, v.normal_distribution(x))
        case "gelu_tanh":
            return v.gelu_tanh(x)
        case _:
            return v.clamp(x, *layer.numbers)


def loop(end: SSAValue, step: int, builder: Builder, body: Callable[[SSAValue, Builder], None]) -> None:
    block = Block(arg_types=[IndexType()])
    builder.insert(scf.ForOp(builder.index(0), end, builder.index(step), [], Region(block)))
    inner = Builder(InsertPoint.at_end(block))
    body(block.args[0], inner)
    inner.insert(scf.YieldOp())


def carry(
    end: int,
    values: Sequence[SSAValue],
    builder: Builder,
    body: Callable[[SSAValue, Sequence[SSAValue], Builder], Sequence[SSAValue]],
) -> Sequence[SSAValue]:
    """Build a loop up to `end`, whose body makes new values of those that it gets, and give the last ones."""
    if end == 1:
        return body(builder.index(0), values, builder)
    block = Block(arg_types=[IndexType(), *(value.type for value in values)])
    first, last, step = (builder.index(number) for number in (0, end, 1))
    found = builder.insert(scf.ForOp(first, last, step, values, Region(block)))
    inner = Builder(InsertPoint.at_end(block))
    inner.insert(scf.YieldOp(*body(block.args[0], block.args[1:], inner)))
    return found.results


def plus(value: SSAValue, number: int, builder: Builder) -> SSAValue:
    return builder.insert(arith.AddiOp(value, builder.index(number))).result


def times(value: SSAValue, number: int, builder: Builder) -> SSAValue:
    return builder.insert(arith.MuliOp(value, builder.index(number))).result
