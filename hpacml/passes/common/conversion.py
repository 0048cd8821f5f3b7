"""Conversion of elements between the types of `hpacml.dtypes`."""

from __future__ import annotations

from typing import cast

from xdsl.builder import Builder
from xdsl.dialects import arith
from xdsl.dialects.builtin import AnyFloat, IntegerType, bf16, f16, f32
from xdsl.ir import Attribute, SSAValue

from hpacml.dialects.hpacml.attributes import FLOATS, is_unsigned


def convert(value: SSAValue, target: Attribute, builder: Builder) -> SSAValue:
    """`value` as a `target`, rounded to nearest between floats, truncated from floats to integers."""
    source = value.type
    if source == target:
        return value
    if isinstance(source, FLOATS) and isinstance(target, FLOATS):
        if {source, target} == {f16, bf16}:
            return convert(convert(value, f32, builder), target, builder)
        wider = cast(AnyFloat, target).bitwidth > cast(AnyFloat, source).bitwidth
        return builder.insert((arith.ExtFOp if wider else arith.TruncFOp)(value, target)).result
    if isinstance(target, FLOATS):
        return builder.insert((arith.UIToFPOp if is_unsigned(source) else arith.SIToFPOp)(value, target)).result
    if isinstance(source, FLOATS):
        to_integer = arith.FPToUIOp if is_unsigned(target) else arith.FPToSIOp
        return builder.insert(to_integer(value, cast(IntegerType, target))).result
    narrow, wide = cast(IntegerType, source), cast(IntegerType, target)
    if wide.width.data < narrow.width.data:
        return builder.insert(arith.TruncIOp(value, wide)).result
    return builder.insert((arith.ExtUIOp if is_unsigned(source) else arith.ExtSIOp)(value, wide)).result
