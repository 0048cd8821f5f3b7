"""The maps of a region, derived from its code."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

from xdsl.dialects.builtin import ArrayAttr, StringAttr
from xdsl.dialects.func import FuncOp

from hpacml.dialects.hpacml.control import DIMS, MlOp
from hpacml.passes.common.located import refusal
from hpacml.passes.derivation.accesses import Accesses
from hpacml.passes.derivation.elements import Elements
from hpacml.passes.derivation.integers import Integers, Size, Value
from hpacml.passes.derivation.maps import DerivedMap, Maps
from hpacml.passes.derivation.memory import Dims, origin_of
from hpacml.passes.derivation.nests import told
from hpacml.passes.derivation.numbers import numbers_of


def derive(
    region: MlOp,
    accesses: Accesses | None = None,
    is_taken: Callable[[str], bool] = lambda name: False,
    name_of: Callable[[str], str | None] | None = None,
) -> tuple[Elements, list[DerivedMap]]:
    """What a region touches, and maps of that. `is_taken` tells of names that no symbol of a functor may have.

    `name_of` names atoms in functors, by default as the IR does. Raises `PassFailedException` for code that is not
    followed.
    """
    accesses = accesses or Accesses(region.body, dims_of(region))
    elements = Elements(accesses)
    _require_apart(elements)
    numbers = numbers_of(region.body)
    if not elements.written:
        raise refusal(region, "the region writes no array from outside: a model in its place has no output")
    if not elements.read and not numbers:
        raise refusal(region, "the region reads nothing from outside: a model in its place has no input")
    named = name_of or partial(_name_of, elements.integers)
    return elements, Maps(elements, numbers, named, is_taken).maps


def dims_of(region: MlOp) -> Dims:
    """The names of dimensions that the attribute of a region gives."""
    names, around = region.attributes.get(DIMS), region.parent_block()
    while around is not None and not isinstance(around.parent_op(), FuncOp):
        around = None if (op := around.parent_op()) is None else op.parent_block()
    if not isinstance(names, ArrayAttr) or around is None:
        return {}
    found = zip(around.args, cast("ArrayAttr[ArrayAttr[StringAttr]]", names), strict=False)
    return {argument: [dim.data for dim in dims] for argument, dims in found}


def _require_apart(elements: Elements) -> None:
    """Refuse two arrays that the code before the region has made of one."""
    origins: dict[object, object] = {}
    for access in (*elements.written, *elements.read):
        other = origins.setdefault(origin_of(access.array), access.array)
        if other is not access.array:
            raise refusal(
                access.op,
                f"no map is inferred for {access.what}: {told(access.array)} is memory of another array in other "
                "shape, which the region uses as well. Give the region in(...) and out(...)",
            )


def _name_of(integers: Integers, atom: str) -> str | None:
    """A name for what an atom stands for."""
    match integers.atoms[atom]:
        case Value(value) if value.name_hint and value.name_hint.isidentifier():
            return value.name_hint
        case Size(array, dim):
            return f"{array.name_hint or 'size'}_{dim}"
        case _:
            return None
