"""The inference of one call site from views to views, by compiled code of its network. It imports Torch."""

from __future__ import annotations

import ctypes
import math
import threading
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch

from hpacml.abi.records import TensorType, ViewsSite
from hpacml.errors import HpacmlError
from hpacml.runtime import checks, differentiation, frame
from hpacml.runtime.arrays.views import ArrayView, descriptor_bytes, extent, view_of_descriptor
from hpacml.runtime.fastcall import contents
from hpacml.runtime.gpu.device_call import innermost
from hpacml.runtime.models.engines import Engines
from hpacml.runtime.models.lent import meet
from hpacml.runtime.models.model import Model
from hpacml.runtime.models.network_code import Views, ViewType
from hpacml.runtime.reports import instruments

LEAST_ROW = 64
"""The least points of a row: a tile holds some of one row, and tensors have no rows."""

NARROW = 16
"""The largest stride of the points of a row for which code is made of its own."""

KNOWN_MEMORIES = 64
"""How many sets of views a call site remembers."""


class Seen(NamedTuple):
    """An inference that was made from views to views: its model, the types of the views, points, and the views."""

    model: Model
    types: Views
    points: int
    views: Sequence[ArrayView]


class _Watch(threading.local):
    is_on = False
    seen: Seen | None = None
    """The last inference of this thread while it was on."""


watch = _Watch()


class ViewsOfSite:
    """The views of a call site of `hpacml_infer_on_views`."""

    def __init__(self, site: ViewsSite) -> None:
        self._site = site
        types = (*site.inputs, *site.outputs)
        self._pointers = ctypes.c_size_t * len(types)
        self._memory = contents([descriptor_bytes(type.rank) for type in types])
        self._known: dict[bytes, tuple[Views, int] | None] = {}
        """The views of earlier calls and their points, by their descriptors."""

    def views(self, pointers: int) -> list[ArrayView]:
        """The views to whose descriptors pointers lead."""
        types = (*self._site.inputs, *self._site.outputs)
        memory = self._pointers.from_address(pointers)
        return [view_of_descriptor(at, type.dtype, type.rank) for at, type in zip(memory, types, strict=True)]

    def at(self, pointers: int) -> tuple[Views, int] | None:
        """The types of views, and how many points they have; None where tensors are needed."""
        memory = self._memory(pointers)
        if memory not in self._known:
            if len(self._known) >= KNOWN_MEMORIES:
                self._known.clear()
            self._known[memory] = _views(self._site, self.views(pointers))
        return self._known[memory]


class OnViews:
    """Runs the networks of a call site without tensors. Where it does not, nothing has been written.

    `find` gives the model of the current call, and whether it is given a batch of one: then all of a view is one point
    of it, and tensors are needed. It raises an HpacmlError if there is no model that fits. It is not
    `is_possible` where something is done to outputs before they are written.
    """

    def __init__(self, find: Callable[[], tuple[Model, bool]], engines: Engines, is_possible: bool = True) -> None:
        self._find, self._engines, self._is_possible = find, engines, is_possible

    def run(self, memory: ViewsOfSite, pointers: int) -> bool:
        """Fill the outputs; `pointers` points to pointers to descriptors, inputs first. Returns whether it did."""
        is_plain = instruments.current is instruments.OFF and innermost() is None and not checks.chosen()
        if not (is_plain and self._is_possible) or torch.is_inference_mode_enabled():
            return False
        if differentiation.inside is not None and frame.recorder() is not None:
            return False
        try:
            if self._engines.is_torch_expected():
                return False
            model, batch = self._find()
            if batch:
                return False
            known = memory.at(pointers)
            done = known is not None and self._engines.on_views(model, *known, pointers)
        except HpacmlError:
            return False  # the inference of tensors raises it
        if done and known is not None and watch.is_on:
            watch.seen = Seen(model, *known, memory.views(pointers))
        return done


def _views(site: ViewsSite, views: Sequence[ArrayView]) -> tuple[Views, int] | None:
    """The types of views, and how many points they have.

    None where tensors are needed: no points, short rows, and memory that is read and written.
    """
    types = (*site.inputs, *site.outputs)
    sweep = views[0].shape[: site.sweep]
    if 0 in sweep or (site.sweep > 1 and sweep[-1] < LEAST_ROW):
        return None
    if any(view.shape[: site.sweep] != sweep for view in views):
        return None
    inputs, outputs = views[: len(site.inputs)], views[len(site.inputs) :]
    written = sorted(map(extent, outputs))
    if any(stop > start for (_, stop), (start, _) in pairwise(written)):
        return None
    if any(meet(extent(view), written) for view in inputs):
        return None
    found = [_type(type, view.shape, view.strides, site.sweep) for type, view in zip(types, views, strict=True)]
    return Views(site.sweep, tuple(found[: len(inputs)]), tuple(found[len(inputs) :])), math.prod(sweep)


def _type(type: TensorType, shape: Sequence[int], strides: Sequence[int], sweep: int) -> ViewType:
    row = sweep - 1
    known = [stride if stride == 1 or (d == row and 0 < stride <= NARROW) else None for d, stride in enumerate(strides)]
    return ViewType(type.dtype, tuple(shape[sweep:]), tuple(known))
