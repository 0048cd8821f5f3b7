"""Modules of known layers run by compiled code, whose weights are theirs. It imports Torch."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence

import torch

from hpacml.runtime import openmp
from hpacml.runtime.arrays.views import ArrayView, Layout, Words, layout_of, moved, words_at
from hpacml.runtime.entry import Function
from hpacml.runtime.models.described import NotDescribed
from hpacml.runtime.models.network import InputType
from hpacml.runtime.models.network_code import Views
from hpacml.runtime.models.packed_network import Code, PackedNetwork

LEAST_WORK = 1 << 20
"""The least multiplications for which a thread is started: some ten microseconds."""


class Engine:
    """Runs what `find` gives by compiled code. A module that is `fixed` is looked at once, others at each call.

    `declared` are the inputs that its file declares, if it is of one that does.
    """

    def __init__(
        self, find: Callable[[], torch.nn.Module], fixed: bool, declared: Sequence[InputType] | None = None
    ) -> None:
        self._find, self._fixed, self._declared = find, fixed, declared
        self._known: PackedNetwork | None = None
        self._reason: str | None = None
        """Why a module that never changes is not compiled."""

    def run(self, x: ArrayView, y: ArrayView) -> None:
        """Fill a tensor's memory with what the module makes of another's.

        The features of `x` are its last dimension, or its last ones where they are an image.
        Raises NotDescribed, and has written nothing then, for what compiled code does not compute.
        """
        if layout_of(x) is not Layout.PACKED or layout_of(y) is not Layout.PACKED:
            raise NotDescribed("its arrays are not packed")
        known = self._look()
        code, x_words, y_words = known.code_for(x, y)
        views = moved(x_words, x.address), moved(y_words, y.address)
        self._compute(known, code, views, x_words[3])

    def run_on_views(self, views: Views, points: int, pointers: int) -> None:
        """Do the same from views to views; `pointers` points to pointers to their descriptors. No two share an element.

        Raises NotDescribed, and has written nothing then.
        """
        known = self._look()
        code, enter = known.code_for_views(views)
        if _is_for_one_thread(code, points):
            enter(pointers)
            return
        memory = (ctypes.c_size_t * len(views.types)).from_address(pointers)
        words = [words_at(at, len(type.strides)) for at, type in zip(memory, views.types, strict=True)]
        self._compute(known, code, words, points)

    def entrance(self, views: Views, points: int) -> tuple[Function, tuple[int, ...]] | None:
        """The code of a module that never changes and what it takes before the views: addresses of its weights, which
        hold as long as this engine. None where calls must look at the module, or share the points among threads.
        """
        if not self._fixed or self._known is None:
            return None
        code, _ = self._known.code_for_views(views)
        return (code.function, self._known.addresses) if _is_for_one_thread(code, points) else None

    def _compute(self, known: PackedNetwork, code: Code, views: Sequence[Words], points: int) -> None:
        """Enter the code with descriptors of views, which threads share along their first dimension."""
        shares = _shares(views[0][3], points, code)
        if len(shares) == 1:
            code.function(*known.addresses, *map(ctypes.addressof, views))
            return
        parts = [[_part(view, a, b) for view in views] for a, b in shares]
        openmp.call_with_each(code.function, [(*known.addresses, *map(ctypes.addressof, part)) for part in parts])

    def _look(self) -> PackedNetwork:
        """What the module is now. Its weights are packed anew if it is another, or they are."""
        if self._fixed:
            return self._once()
        module, known = self._find(), self._known
        if known is None or not known.snapshot.holds(module) or known.snapshot.digest() != known.digest:
            known = self._known = PackedNetwork(module, self._declared)
        return known

    def _once(self) -> PackedNetwork:
        """A module that never changes, or the reason why there is none."""
        if self._reason is not None:
            raise NotDescribed(self._reason)
        if self._known is None:
            try:
                self._known = PackedNetwork(self._find(), self._declared)
            except NotDescribed as error:
                self._reason = str(error)
                raise
        return self._known


def _is_for_one_thread(code: Code, points: int) -> bool:
    """Whether so many points are too little work for two threads."""
    return points * code.work < 2 * LEAST_WORK


def _part(view: Words, start: int, stop: int) -> Words:
    """The descriptor of a part of the first dimension of a view."""
    part = type(view).from_buffer_copy(view)
    rank = (len(part) - 3) // 2
    part[2] += start * part[3 + rank]
    part[3] = stop - start
    return part


def _shares(rows: int, points: int, code: Code) -> list[tuple[int, int]]:
    """Part the rows of points among as many threads as Torch has, or fewer where there is little work.

    A row that is a point by itself is parted in multiples of the least points that are worth a thread.
    """
    if _is_for_one_thread(code, points):
        return [(0, rows)]
    count = min(torch.get_num_threads(), points * code.work // LEAST_WORK)
    least = code.least if rows == points else 1
    size = max(least, -(-rows // count // least) * least)
    return [(start, min(rows, start + size)) for start in range(0, rows, size)]
