"""What operations do to memory, so that passes of others know which ones they may remove, merge or move."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from xdsl.ir import Operation
from xdsl.traits import EffectInstance, MemoryEffect, MemoryEffectKind, MemoryReadEffect, MemoryWriteEffect


class MakesItsResults(MemoryEffect):
    """It makes its results, as an allocation does: unused it may be removed, but it is not merged and not moved."""

    @classmethod
    def get_effects(cls, op: Operation) -> AbstractSet[EffectInstance]:
        return frozenset(EffectInstance(MemoryEffectKind.ALLOC, result) for result in op.results)


READS_AND_WRITES = MemoryReadEffect(), MemoryWriteEffect()
"""The traits of what copies, and of what calls the runtime, which may stop the program there."""
