"""Numbers as sources of maps: each becomes an array of one element, which broadcasts."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeAlias, TypeGuard, cast

from xdsl.builder import Builder
from xdsl.dialects import arith, memref, scf
from xdsl.dialects.builtin import FloatAttr, IndexType, IntegerAttr, IntegerType, MemRefType, i64
from xdsl.ir import Attribute, Block, Region, SSAValue

from hpacml.dialects.hpacml.attributes import ELEMENT_TYPES, FLOATS, dtype_name
from hpacml.errors import MapError
from hpacml.frontend.sources import weak_dtype
from hpacml.ir.given import type_of

Number: TypeAlias = "SSAValue | float"


def is_number(value: object) -> TypeGuard[Number]:
    """Whether a value is a number: one that is known, or one of the IR."""
    return isinstance(value, int | float) or isinstance(type_of(value), (*FLOATS, IntegerType, IndexType))


def array_of(number: Number, rank: int, beside: Collection[Attribute], builder: Builder) -> SSAValue:
    """New memory of one element that is the number; one that is known has the floating type of the elements `beside`.

    It is stored by a parallel loop, which a GPU can run.
    """
    value = _value(number, [dtype_name(each) for each in beside], builder)
    array = builder.insert(memref.AllocOp([], [], MemRefType(value.type, [1] * rank))).memref
    array.name_hint = value.name_hint
    zero, one = (builder.insert(arith.ConstantOp(IntegerAttr(n, IndexType()))).result for n in (0, 1))
    body = Block(arg_types=[IndexType()])
    body.add_op(memref.StoreOp.get(value, array, [body.args[0], *[zero] * (rank - 1)]))
    body.add_op(scf.ReduceOp())
    builder.insert(scf.ParallelOp([zero], [one], [one], Region(body)))
    return array


def _value(number: Number, beside: Collection[str], builder: Builder) -> SSAValue:
    if isinstance(number, SSAValue):
        if isinstance(number.type, IndexType):
            cast = builder.insert(arith.IndexCastOp(number, i64)).result
            cast.name_hint = number.name_hint
            return cast
        dtype_name(number.type)
        return number
    kind = "b" if isinstance(number, bool) else "i" if isinstance(number, int) else "f"
    if kind == "i" and not -(1 << 63) <= number < 1 << 63:
        raise MapError(f"the number {number} does not fit 64 bits")
    type = ELEMENT_TYPES[weak_dtype(kind, beside)]
    known = FloatAttr(float(number), type) if isinstance(type, FLOATS) else _integer_attribute(int(number), type)
    return builder.insert(arith.ConstantOp(known)).result


def _integer_attribute(number: int, type: Attribute) -> IntegerAttr:
    return IntegerAttr(number, cast("IntegerType", type))
