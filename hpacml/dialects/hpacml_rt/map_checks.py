"""Checks of maps: whether they fit their arrays, and whether the indices of indirect targets do."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import cast

from xdsl.dialects.builtin import ArrayAttr, IndexType, IntegerType, MemRefType, StringAttr, UnitAttr, i1, i8
from xdsl.interfaces import HasCanonicalizationPatternsInterface
from xdsl.ir import Operation, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern
from xdsl.traits import EffectInstance, MemoryEffect, MemoryEffectKind, MemoryReadEffect
from xdsl.transforms.canonicalization_patterns.utils import const_evaluate_operand
from xdsl.utils.exceptions import VerifyException

from hpacml.dialects.hpacml.attributes import INDEX_TYPES, DirectionAttr, MappingType, TargetAttr
from hpacml.dialects.hpacml.effects import READS_AND_WRITES
from hpacml.dialects.hpacml.locations import PlacedOperation
from hpacml.dialects.hpacml.packing import VIEW, view_type
from hpacml.dialects.hpacml.texts import TEXT, TEXTS, TextualOperation
from hpacml.functors.targets import format_map, ranks


@irdl_op_definition
class CheckMapOp(TextualOperation, HasCanonicalizationPatternsInterface):
    """
    Stop here unless a map fits its arrays. `fits` is computed beforehand and cheap; it may be false for a
    map that does fit, and then all that is known of the map decides exactly.

    `sizes` are the dimensions of all arrays, `bounds` and `params` those of the map. With `arrays`, all that
    the targets name, their memory decides too: the indices in it, and whether elements share it. `sharing`
    says that only the latter is doubtful, `indices` that those are known to be bad, whatever they are by now.

    Example:
    ```mlir
    hpacml_rt.check_map %ok to "ifnctr: [i] = ([i - 1])" names ["t"] targets [#hpacml.target<[1 : ?]>]
      sizes(%d) bounds(%n) params() of []
    hpacml_rt.check_map %inside to "f: [i] = ([i])" names ["x", "idx"] targets [#hpacml.target<[*[0 : ?]]>]
      sizes(%d, %e) bounds(%n) params() of [] arrays(%x, %idx : memref<?xf32>, memref<?xi32>)
    ```
    """

    name = "hpacml_rt.check_map"

    fits = operand_def(IntegerType(1))
    sizes = var_operand_def(IndexType())
    bounds = var_operand_def(IndexType())
    params = var_operand_def(IndexType())
    arrays = var_operand_def(MemRefType)
    direction = prop_def(DirectionAttr)
    functor = prop_def(TEXT)
    parameters = prop_def(TEXTS)
    names = prop_def(TEXTS)
    targets = prop_def(ArrayAttr[TargetAttr])
    sharing = opt_prop_def(UnitAttr)
    indices = opt_prop_def(UnitAttr)
    text = opt_prop_def(TEXT)

    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    traits = traits_def(*READS_AND_WRITES)
    assembly_format = (
        "$fits $direction $functor `names` $names `targets` $targets `sizes` `(` $sizes `)` "
        "`bounds` `(` $bounds `)` `params` `(` $params `)` `of` $parameters "
        "(`arrays` `(` $arrays^ `:` type($arrays) `)`)? (`sharing` $sharing^)? (`indices` $indices^)? "
        "(`text` $text^)? attr-dict"
    )

    def verify_(self) -> None:
        given = ranks(target.data for target in self.targets)
        arrays, dims = len(given), sum(given)
        if len(self.names) != arrays or len(self.arrays) not in (0, arrays):
            raise VerifyException(
                f"the targets name {arrays} arrays, {len(self.names)} names and {len(self.arrays)} arrays are given"
            )
        if len(self.sizes) != dims:
            raise VerifyException(f"the arrays have {dims} dimensions, {len(self.sizes)} sizes are given")

    @property
    def map_text(self) -> str:
        """The map, as errors call it."""
        if self.text is not None:
            return self.text.data
        return format_map(self.functor.data, [name.data for name in self.names], [each.data for each in self.targets])

    @classmethod
    def get_canonicalization_patterns(cls) -> tuple[RewritePattern, ...]:
        return (DropTrueChecks(),)


class DropTrueChecks(RewritePattern):
    """A map that is known to fit needs no check."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: CheckMapOp, rewriter: PatternRewriter) -> None:
        if const_evaluate_operand(op.fits):
            rewriter.erase(op)


@irdl_op_definition
class RefuseOp(TextualOperation):
    """
    Stop here, with a message for the user.

    Example:
    ```mlir
    hpacml_rt.refuse "the original code of the region 'heat' uses the array 't' on the host"
    ```
    """

    name = "hpacml_rt.refuse"

    text = prop_def(TEXT)

    traits = traits_def(*READS_AND_WRITES)
    assembly_format = "$text attr-dict"

    def __init__(self, text: StringAttr):
        super().__init__(properties={"text": text})


@irdl_op_definition
class CheckIndicesOp(PlacedOperation):
    """
    Stop here unless the indices of a map lie inside the arrays that they index and, if it is a map that is
    written through, lead to different elements. Gathers and scatters do so themselves; this one comes before
    the first of several scatters.

    Example:
    ```mlir
    hpacml_rt.check_indices %out : !hpacml.mapping<?xf32>
    ```
    """

    name = "hpacml_rt.check_indices"

    mapping = operand_def(MappingType)

    traits = traits_def(*READS_AND_WRITES)
    assembly_format = "$mapping attr-dict `:` type($mapping)"

    def __init__(self, mapping: SSAValue):
        super().__init__(operands=[mapping])


class WritesCopy(MemoryEffect):
    """It writes if it copies."""

    @classmethod
    def get_effects(cls, op: Operation) -> AbstractSet[EffectInstance]:
        return frozenset() if cast(InBoundsOp, op).copy is None else {EffectInstance(MemoryEffectKind.WRITE)}


@irdl_op_definition
class InBoundsOp(PlacedOperation):
    """
    Whether all elements of a view of an index array are indices of a dimension of `size` elements. With `copy` these
    are copied in the same sweep, so that what was looked at is there to be used.

    Example:
    ```mlir
    %inside = hpacml_rt.in_bounds %idx below %size : memref<?xi32>
    %copied = hpacml_rt.in_bounds %idx below %size copy(%own : memref<?xi32>) : memref<?xi32>
    ```
    """

    name = "hpacml_rt.in_bounds"

    view = operand_def(VIEW)
    size = operand_def(IndexType())
    copy = opt_operand_def(MemRefType)
    inside = result_def(i1)

    traits = traits_def(MemoryReadEffect(), WritesCopy())
    assembly_format = "$view `below` $size (`copy` `(` $copy^ `:` type($copy) `)`)? attr-dict `:` type($view)"

    def __init__(self, view: SSAValue, size: SSAValue, copy: SSAValue | None = None):
        super().__init__(operands=[view, size, copy], result_types=[i1])

    def verify_(self) -> None:
        if (element_type := view_type(self.view).element_type) not in INDEX_TYPES:
            raise VerifyException(f"indices have elements of integers, not {element_type}")
        if self.copy is not None:
            copied = cast(MemRefType, self.copy.type)
            if copied.get_num_dims() != view_type(self.view).get_num_dims() or copied.element_type != element_type:
                raise VerifyException(f"a copy of type {copied} does not fit a view of type {self.view.type}")


@irdl_op_definition
class DistinctOp(PlacedOperation):
    """
    Whether no element is in two of the views, or twice in one. It writes to the elements, which are
    scratch memory of the shape of the array in question. With `in` it may write to all of this memory,
    which is faster where the views touch most of it.

    Example:
    ```mlir
    %different = hpacml_rt.distinct %a, %b : !hpacml.indirect<?xi8>, memref<?x2xi8, strided<[2, 1]>>
    %each_once = hpacml_rt.distinct %c in(%marks : memref<?xi8>) : !hpacml.indirect<?xi8>
    ```
    """

    name = "hpacml_rt.distinct"

    views = var_operand_def(VIEW)
    memory = opt_operand_def(MemRefType.constr(i8))
    different = result_def(i1)

    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    traits = traits_def(*READS_AND_WRITES)
    assembly_format = "$views (`in` `(` $memory^ `:` type($memory) `)`)? attr-dict `:` type($views)"

    def __init__(self, views: Sequence[SSAValue], memory: SSAValue | None = None):
        super().__init__(operands=[views, memory], result_types=[i1])

    def verify_(self) -> None:
        if not self.views:
            raise VerifyException("expected at least one view")
        if self.memory is not None and cast(MemRefType, self.memory.type).get_num_dims() != 1:
            raise VerifyException(f"scratch memory has one dimension, not the type {self.memory.type}")
        for view in self.views:
            if view_type(view).element_type != i8:
                raise VerifyException(f"the elements of scratch memory are i8, not {view_type(view).element_type}")
