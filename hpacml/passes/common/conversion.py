"""Conversion of elements between the types of `hpacml.dtypes`."""

from __future__ import annotations

from typing import cast

from xdsl.builder import Builder
from xdsl.dialects import arith
from xdsl.dialects.builtin import (
    AnyFloat,
    FloatAttr,
    IntegerAttr,
    IntegerType,
    UnrealizedConversionCastOp,
    bf16,
    f16,
    f32,
    i1,
)
from xdsl.ir import Attribute, SSAValue

from hpacml.dialects.hpacml.attributes import FLOATS, is_unsigned, number_type


def convert(value: SSAValue, target: Attribute, builder: Builder) -> SSAValue:
    """`value` as a `target`, rounded to nearest between floats, truncated from floats to integers.

    What is not 0 is true. The types tell the signs of integers, which arithmetic does not have.
    """
    source = value.type
    if source == target:
        return value
    number = retyped(value, number_type(source), builder)
    return retyped(_converted(number, source, target, builder), target, builder)


def added(one: SSAValue, other: SSAValue, builder: Builder) -> SSAValue:
    """The sum of two elements of a type."""
    if isinstance(one.type, FLOATS):
        return builder.insert(arith.AddfOp(one, other)).result
    a, b = (retyped(each, number_type(one.type), builder) for each in (one, other))
    return retyped(builder.insert(arith.AddiOp(a, b)).result, one.type, builder)


def retyped(value: SSAValue, target: Attribute, builder: Builder) -> SSAValue:
    """The same bits as another type of integers of this width."""
    if value.type == target:
        return value
    return builder.insert(UnrealizedConversionCastOp.get([value], [target])).results[0]


def _converted(value: SSAValue, source: Attribute, target: Attribute, builder: Builder) -> SSAValue:
    """The number `value`, an element of type `source`, as the number of an element of type `target`."""
    if target == i1:
        return _truth(value, builder)
    if isinstance(source, FLOATS) and isinstance(target, FLOATS):
        if {source, target} == {f16, bf16}:
            return convert(convert(value, f32, builder), target, builder)
        wider = cast(AnyFloat, target).bitwidth > cast(AnyFloat, source).bitwidth
        return builder.insert((arith.ExtFOp if wider else arith.TruncFOp)(value, target)).result
    if isinstance(target, FLOATS):
        return builder.insert((arith.UIToFPOp if is_unsigned(source) else arith.SIToFPOp)(value, target)).result
    wide = cast(IntegerType, number_type(target))
    if isinstance(source, FLOATS):
        return builder.insert((arith.FPToUIOp if is_unsigned(target) else arith.FPToSIOp)(value, wide)).result
    bits, wanted = cast(IntegerType, source).width.data, wide.width.data
    if wanted == bits:
        return value
    if wanted < bits:
        return builder.insert(arith.TruncIOp(value, wide)).result
    return builder.insert((arith.ExtUIOp if is_unsigned(source) else arith.ExtSIOp)(value, wide)).result


def _truth(value: SSAValue, builder: Builder) -> SSAValue:
    """Whether a number is not 0."""
    if isinstance(value.type, FLOATS):
        zero = builder.insert(arith.ConstantOp(FloatAttr(0.0, cast(AnyFloat, value.type)))).result
        return builder.insert(arith.CmpfOp(value, zero, "une")).result
    zero = builder.insert(arith.ConstantOp(IntegerAttr(0, cast(IntegerType, value.type)))).result
    return builder.insert(arith.CmpiOp(value, zero, "ne")).result
