"""The data bridge at work: the dense tensors of maps, gathered from application memory and scattered into it."""

from __future__ import annotations

from typing import cast

from xdsl.dialects.builtin import MemRefType, NoneAttr, UnitAttr
from xdsl.ir import SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, opt_prop_def, result_def, traits_def
from xdsl.utils.exceptions import VerifyException

from hpacml.dialects.hpacml.attributes import Direction, MappingType, known
from hpacml.dialects.hpacml.bridge import MapOp
from hpacml.dialects.hpacml.effects import READS_AND_WRITES, MakesItsResults
from hpacml.dialects.hpacml.locations import PlacedOperation


def verify_tensor(tensor: SSAValue, mapping: SSAValue) -> None:
    """A tensor has the shape, as far as known, and the element type of the mapping it belongs to."""
    tensor_type, mapping_type = cast(MemRefType, tensor.type), cast(MappingType, mapping.type)
    sizes, expected = tensor_type.get_shape(), mapping_type.get_shape()
    fits = len(sizes) == len(expected) and all(
        known(a) is None or known(b) is None or a == b for a, b in zip(sizes, expected, strict=True)
    )
    if not fits or tensor_type.element_type != mapping_type.element_type:
        raise VerifyException(f"a tensor of type {tensor_type} does not fit a mapping of type {mapping_type}")


@irdl_op_definition
class TensorOp(PlacedOperation):
    """
    The dense tensor of a map: memory of the map's shape, row-major, which lives to the end of the block.

    It may be the application's memory itself where the map is packed already; with `fresh` it never is.

    Example:
    ```mlir
    %x = hpacml.tensor %in : !hpacml.mapping<?x?x5xf32> -> memref<?x?x5xf32>
    %x = hpacml.tensor fresh %in : !hpacml.mapping<?x?x5xf32> -> memref<?x?x5xf32>
    ```
    """

    name = "hpacml.tensor"

    fresh = opt_prop_def(UnitAttr)
    mapping = operand_def(MappingType)
    tensor = result_def(MemRefType)

    traits = traits_def(MakesItsResults())
    assembly_format = "(`fresh` $fresh^)? $mapping attr-dict `:` type($mapping) `->` type($tensor)"

    def __init__(self, mapping: SSAValue, fresh: bool = False):
        super().__init__(
            operands=[mapping],
            properties={"fresh": UnitAttr() if fresh else None},
            result_types=[cast(MappingType, mapping.type).tensor_type],
        )

    def verify_(self) -> None:
        verify_tensor(self.tensor, self.mapping)
        if not isinstance(space := self.tensor.type.memory_space, NoneAttr):
            raise VerifyException(f"the memory of a tensor is taken where code runs, not in memory space {space}")


@irdl_op_definition
class GatherOp(PlacedOperation):
    """
    Read application memory through a map into a dense tensor.

    Example:
    ```mlir
    hpacml.gather %in into %x : !hpacml.mapping<?x?x5xf32>, memref<?x?x5xf32>
    ```
    """

    name = "hpacml.gather"

    mapping = operand_def(MappingType)
    tensor = operand_def(MemRefType)

    traits = traits_def(*READS_AND_WRITES)
    assembly_format = "$mapping `into` $tensor attr-dict `:` type($mapping) `,` type($tensor)"

    def __init__(self, mapping: SSAValue, tensor: SSAValue):
        super().__init__(operands=[mapping, tensor])

    def verify_(self) -> None:
        verify_tensor(self.tensor, self.mapping)


@irdl_op_definition
class ScatterOp(PlacedOperation):
    """
    Write a dense tensor through a map into application memory.

    With `add` its elements are added to what is there, in the order of the sweep. Elements may then be met several
    times, and the map may be one that only reads: this is the adjoint of its gather.

    Example:
    ```mlir
    hpacml.scatter %y into %out : memref<?x?x1xf32>, !hpacml.mapping<?x?x1xf32>
    hpacml.scatter add %x into %in : memref<?x?x5xf32>, !hpacml.mapping<?x?x5xf32>
    ```
    """

    name = "hpacml.scatter"

    add = opt_prop_def(UnitAttr)
    tensor = operand_def(MemRefType)
    mapping = operand_def(MappingType)

    traits = traits_def(*READS_AND_WRITES)
    assembly_format = "(`add` $add^)? $tensor `into` $mapping attr-dict `:` type($tensor) `,` type($mapping)"

    def __init__(self, tensor: SSAValue, mapping: SSAValue, add: bool = False):
        super().__init__(operands=[tensor, mapping], properties={"add": UnitAttr() if add else None})

    def verify_(self) -> None:
        verify_tensor(self.tensor, self.mapping)
        source = self.mapping.owner
        if self.add is None and isinstance(source, MapOp) and source.direction.data == Direction.To:
            raise VerifyException("cannot scatter through a 'to' map, only add")
