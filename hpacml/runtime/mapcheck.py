"""The exact check of a map at run time, for maps that the simple rules in compiled code do not show to be valid."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache, cached_property
from itertools import islice
from math import prod

from hpacml.abi.records import MapSite
from hpacml.errors import MapError
from hpacml.functors.application import WAYS, resolve
from hpacml.functors.arithmetic import EXACT, OVERFLOW
from hpacml.functors.hits import Array, Memory
from hpacml.functors.strided_views import Mapped, View
from hpacml.functors.targets import (
    Access,
    accesses,
    bind,
    format_map,
    heads,
    open_numbers,
    ranks,
)
from hpacml.functors.tensor_functor import Functor
from hpacml.runtime.arrays.views import ArrayView, numpy_array, view_of_descriptor
from hpacml.runtime.gpu.device_call import innermost
from hpacml.runtime.gpu.transfers import copy_to_host

CHANGED = (
    "indices were bad when they were used, and are good now: another thread changes them, which has to wait until "
    "the call has returned"
)

LARGEST = (1 << 63) - 1


class MapCheck:
    """The check of one map, whose numbers and arrays may differ between calls."""

    def __init__(self, site: MapSite) -> None:
        self._site = site
        self._ranks = ranks(site.targets)
        count = sum(self._ranks) + open_numbers(site.targets) + len(site.parameters)
        self._numbers = ctypes.c_int64 * count
        self._pointers = ctypes.c_size_t * len(site.arrays)
        elements = heads(site.targets)
        self._direct = len(elements) == len(self._ranks)
        of_indices = {name for n, name in enumerate(site.names) if n not in elements}
        self._indexes_itself = any(site.names[n] in of_indices for n in elements)
        self._fits: tuple[object, ...] | None = None

    def run(self, values: int, arrays: int) -> None:
        """Raise MapError unless the map fits the numbers and the arrays at these addresses."""
        numbers = tuple(self._numbers.from_address(values))
        views = self._views(arrays) if arrays else []
        key = (numbers, *((view.address, view.strides) for view in views))
        if key == self._fits:
            return
        try:
            lasting = self._check(numbers, views)
            _require_differences(numbers)
            if self._site.indices:
                raise MapError(CHANGED)
        except MapError as error:
            raise MapError(f"in the map '{self._map}': {error}") from None
        if lasting:
            self._fits = key

    def _check(self, numbers: Sequence[int], views: Sequence[ArrayView]) -> bool:
        """Raise MapError unless the map fits. Return whether it then always fits the same numbers and arrays."""
        site, rest = self._site, iter(numbers)
        shapes = [list(islice(rest, rank)) for rank in self._ranks]
        if OVERFLOW in numbers:
            raise MapError("a number in its ranges, or of its parameters, does not fit 64 bits")
        targets = bind(site.targets, site.names, shapes, rest, EXACT)
        parameters = dict(zip(site.parameters, rest, strict=True))
        memory = _memory(site.names, views)
        for way in WAYS[site.direction]:
            mapped = resolve(self._functor, targets, parameters, way, EXACT)
            used = accesses(site.targets, len(mapped.views))
            _require_64_bits(mapped, used, shapes)
            if site.sharing and not self._indexes_itself and memory.apart():
                return True
            if views:
                memory.check(mapped, used, writes=way == "from")
        return self._direct or not views

    def _views(self, arrays: int) -> list[ArrayView]:
        addresses = self._pointers.from_address(arrays)
        types = zip(addresses, self._site.arrays, strict=True)
        return [view_of_descriptor(address, type.dtype, type.rank) for address, type in types]

    @cached_property
    def _functor(self) -> Functor:
        from hpacml.directives.parser import parse_functor

        return parse_functor(self._site.functor).functor(frozenset(self._site.parameters))

    @property
    def _map(self) -> str:
        if self._site.text is not None:
            return self._site.text
        return format_map(self._site.functor, self._site.names, self._site.targets)


def _memory(names: Sequence[str], views: Sequence[ArrayView]) -> Memory:
    """The arrays of a map. Arrays on a device are copied when their elements are needed."""
    call = innermost()
    if call is None:
        arrays = [numpy_array(view) for view in views]
        return Memory(names, arrays, arrays.__getitem__)
    originals = [call.original_of(view) for view in views]

    @cache
    def content(number: int) -> Array:
        if (original := originals[number]) is not None:
            return numpy_array(original)
        call.leave_to_host("a map that writes to memory which its indices may share")
        return copy_to_host(call.device, views[number])

    return Memory(names, [numpy_array(one or other) for one, other in zip(originals, views, strict=True)], content)


def _require_differences(numbers: Sequence[int]) -> None:
    """Raise MapError where differences of numbers may overflow: compiled code takes them, even of empty ranges."""
    if (far := next((number for number in numbers if abs(number) > LARGEST // 2), None)) is not None:
        raise MapError(f"it needs the number {far}, but indices and sizes have 64 bits")


def _require_64_bits(mapped: Mapped[int], used: Sequence[Access], shapes: Sequence[Sequence[int]]) -> None:
    """Raise MapError where one of the 64-bit integers of compiled code would overflow."""
    numbers = [*mapped.shape, 8 * prod(mapped.shape)]

    def add(view: View[int], access: Access) -> None:
        shape = shapes[access.array]
        strides = [prod(shape[m + 1 :]) for m, _ in access.direct]
        offset, steps = view.strided(strides, EXACT, [d for _, d in access.direct])
        numbers.extend([offset, *steps])
        for _, inner in access.indirect:
            add(view, inner)

    for view, access in zip(mapped.views, used, strict=True):
        numbers += [*view.base, *(step for row in view.steps for step in row)]
        add(view, access)
    if largest := max((abs(number) for number in numbers if abs(number) > LARGEST), default=0):
        raise MapError(f"it needs the number {largest}, but indices and sizes have 64 bits")
