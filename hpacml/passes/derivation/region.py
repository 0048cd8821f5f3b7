"""The maps of a region, derived from its code."""

from __future__ import annotations

from collections.abc import Collection

from hpacml.dialects.hpacml.control import MlOp
from hpacml.passes.common.located import refusal
from hpacml.passes.derivation.accesses import Accesses
from hpacml.passes.derivation.elements import Elements
from hpacml.passes.derivation.integers import Integers, Size, Value
from hpacml.passes.derivation.maps import DerivedMap, Maps
from hpacml.passes.derivation.memory import origin_of
from hpacml.passes.derivation.nests import told
from hpacml.passes.derivation.numbers import numbers_of


def derive(region: MlOp, taken: Collection[str] = ()) -> tuple[Elements, list[DerivedMap]]:
    """What a region touches, and maps of that, whose symbols have none of the names `taken`.

    Raises `PassFailedException` for code that is not followed.
    """
    accesses = Accesses(region.body)
    elements = Elements(accesses)
    _require_apart(elements)
    numbers = numbers_of(region.body)
    if not elements.written:
        raise refusal(region, "the region writes no array from outside: a model in its place has no output")
    if not elements.read and not numbers:
        raise refusal(region, "the region reads nothing from outside: a model in its place has no input")
    maps = Maps(elements, numbers, lambda atom: _name_of(elements.integers, atom), taken)
    return elements, maps.maps


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
