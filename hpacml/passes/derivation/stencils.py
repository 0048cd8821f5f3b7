"""What xDSL's `stencil` touches before it is lowered: fields of memrefs, at the offsets of `stencil.access`.

Values of stencils are computed where they are stored, and what is loaded is what was there at `stencil.load`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from xdsl.dialects import stencil
from xdsl.dialects.builtin import MemRefType
from xdsl.ir import Attribute, Block, Operation, SSAValue

from hpacml.passes.common.located import refusal
from hpacml.passes.derivation.nests import ADVICE

_QUIET = (
    stencil.LoadOp,
    stencil.AllocOp,
    stencil.BufferOp,
    stencil.CastOp,
    stencil.ExternalLoadOp,
)
"""Operations that touch nothing by themselves."""


@dataclass(frozen=True)
class Touch:
    """An access of a memref at each point of `bounds`, moved by `offset`. None as memory is the region's own."""

    op: Operation
    is_store: bool
    memory: SSAValue | None
    offset: tuple[int, ...]
    loaded_at: int | None = None
    """The number of the operation that has taken the values, of a load."""


@dataclass(frozen=True)
class Points:
    """The points for which something is computed, and what is touched at each."""

    bounds: tuple[tuple[int, int], ...]
    touches: tuple[Touch, ...]


class Stencils:
    """Follows the operations of one region. Raises `PassFailedException` for those that it does not know."""

    def __init__(self) -> None:
        self._taken: dict[SSAValue, int] = {}
        """When loads took their values, by these."""

    def points(self, op: Operation, number: int) -> Points | None:
        """What an operation, the `number`-th, touches; None if it touches nothing by itself."""
        match op:
            case stencil.LoadOp():
                self._taken[op.res] = number
                return None
            case stencil.StoreOp():
                touches = [*self._reads(op.temp, (0,) * len(list(op.bounds.lb)), number, op), self._write(op, op.field)]
                return _points(op.bounds, touches)
            case stencil.ApplyOp(bounds=bounds) if op.dest and bounds is not None:
                reads = self._inside(op, (0,) * len(list(bounds.lb)), number)
                return _points(bounds, [*reads, *(self._write(op, field) for field in op.dest)])
            case stencil.ExternalStoreOp():
                if _memory(op.temp, op)[0] is not op.field:
                    raise refusal(op, f"stencil.external_store copies a field to other memory. {ADVICE}")
                return None
            case _ if isinstance(op, (stencil.ApplyOp, *_QUIET)):
                return None
            case _:
                raise refusal(op, f"{op.name} is not followed. {ADVICE}")

    @staticmethod
    def _write(op: Operation, field: SSAValue) -> Touch:
        memory, first = _memory(field, op)
        return Touch(op, True, memory, tuple(-each for each in first))

    def _reads(self, temp: SSAValue, offset: tuple[int, ...], number: int, user: Operation) -> Iterator[Touch]:
        """The loads that one point of a value needs, at an offset."""
        match owner := temp.owner:
            case stencil.LoadOp():
                if temp not in self._taken:
                    raise refusal(user, f"the region uses what a stencil.load before it has loaded. {ADVICE}")
                memory, first = _memory(owner.field, user)
                moved = tuple(a - b for a, b in zip(offset, first, strict=True))
                yield Touch(owner, False, memory, moved, self._taken[temp])
            case stencil.BufferOp():
                yield from self._reads(owner.temp, offset, number, user)
            case stencil.ApplyOp():
                yield from self._inside(owner, offset, number)
            case Block():
                raise refusal(user, f"{user.name} takes a value of stencils that comes from elsewhere. {ADVICE}")
            case _:
                raise refusal(owner, f"{owner.name} is not followed. {ADVICE}")

    def _inside(self, apply: stencil.ApplyOp, offset: tuple[int, ...], number: int) -> Iterator[Touch]:
        """The loads that one point of an apply needs."""
        seen: set[Touch] = set()
        for op in apply.region.walk():
            for touch in self._access(apply, op, offset, number):
                if touch not in seen:
                    seen.add(touch)
                    yield touch

    def _access(self, apply: stencil.ApplyOp, op: Operation, offset: tuple[int, ...], number: int) -> Iterator[Touch]:
        if isinstance(op, stencil.DynAccessOp | stencil.StoreResultOp) or (op.regions and not _is_free(op)):
            raise refusal(op, f"{op.name} in a stencil.apply is not followed. {ADVICE}")
        if not isinstance(op, stencil.AccessOp):
            return
        if op.offset_mapping is not None and list(op.offset_mapping) != list(range(len(offset))):
            raise refusal(op, f"stencil.access of some dimensions of its stencil.apply is not followed. {ADVICE}")
        source = apply.args[apply.region.block.args.index(op.temp)]  # pyright: ignore[reportArgumentType]
        moved = tuple(a + b for a, b in zip(offset, op.offset, strict=True))
        if isinstance(source.type, stencil.FieldType):
            memory, first = _memory(source, op)
            yield Touch(op, False, memory, tuple(a - b for a, b in zip(moved, first, strict=True)), number)
        else:
            yield from self._reads(source, moved, number, op)


def _points(bounds: stencil.StencilBoundsAttr, touches: Sequence[Touch]) -> Points:
    return Points(tuple(zip(bounds.lb, bounds.ub, strict=True)), tuple(touches))


def _is_free(op: Operation) -> bool:
    """Whether the regions of an operation inside of an apply run whatever the point is."""
    return not any(isinstance(each, stencil.IndexOp) for each in op.walk())


def _memory(field: SSAValue, user: Operation) -> tuple[SSAValue | None, tuple[int, ...]]:
    """The memref of a field, None for the region's own, and the point at which it begins."""
    first: tuple[int, ...] | None = None
    while True:
        type = cast("stencil.FieldType[Attribute]", field.type)
        if isinstance(type.bounds, stencil.StencilBoundsAttr):
            first = first or tuple(type.bounds.lb)
        match owner := field.owner:
            case stencil.CastOp():
                field = owner.field
            case stencil.AllocOp():
                return None, first or (0,) * type.get_num_dims()
            case stencil.ExternalLoadOp() if isinstance(owner.field.type, MemRefType) and first is not None:
                return owner.field, first
            case _:
                raise refusal(
                    user,
                    f"{user.name} is of a field of which no memref is known, as stencil.external_load gives it with "
                    f"bounds. {ADVICE}",
                )
