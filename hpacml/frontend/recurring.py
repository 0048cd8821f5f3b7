"""Maps that run again on arrays like those before: what follows from their form is not found out anew."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from hpacml.runtime.arrays.protocols import array_view
from hpacml.runtime.arrays.torch_memory import ORDINARY
from hpacml.runtime.arrays.views import ArrayView, descriptor, extent, moved


class Recurring:
    """A map that has run on the host, on these arrays, a tensor and integers.

    It holds neither arrays nor tensors, so those of the next call may be others of the same form.
    """

    __slots__ = (
        "_arrays",
        "_constants",
        "_descriptors",
        "_forms",
        "_function",
        "_integers",
        "_reaches",
        "made",
        "written",
    )

    def __init__(
        self,
        arrays: Sequence[str],
        views: Sequence[ArrayView],
        written: Iterable[int],
        integers: Mapping[str, int],
        function: Callable[..., object],
        constants: Sequence[int],
    ) -> None:
        """`views` are those of the `arrays`, and of the tensor behind them; `constants` what the code takes besides."""
        self._arrays = tuple(arrays)
        self._forms = [(view.dtype, view.shape, view.strides, view.device) for view in views]
        self._reaches = [tuple(end - view.address for end in extent(view)) for view in views]
        self._descriptors = [descriptor(view) for view in views]
        self.made = views[-1].shape, views[-1].dtype
        """The shape and the dtype of the tensor."""
        self.written = frozenset(written)
        self._integers = tuple(integers.items())
        self._function, self._constants = function, tuple(constants)

    def views(self, names: Mapping[str, object]) -> list[ArrayView] | None:
        """The memory of the arrays, or None if an array or a number is not as it was. Raises MapError."""
        for name, value in self._integers:
            given = names[name]
            if type(given) is not int or given != value:
                return None
        views: list[ArrayView] = []
        for number, name in enumerate(self._arrays):
            view = self._view(names[name], name, number)
            if view is None:
                return None
            views.append(view)
        return views

    def tensor(self, value: object, name: str, views: Sequence[ArrayView]) -> ArrayView | None:
        """The memory of the tensor, or None if its form is another one, or memory of the `views` is in its reach."""
        number = len(self._arrays)
        if (view := self._view(value, name, number)) is None:
            return None
        low, high = self._reach(view, number)
        for other in range(number):
            other_low, other_high = self._reach(views[other], other)
            if low < other_high and other_low < high:
                return None
        return view

    def run(self, views: Sequence[ArrayView]) -> None:
        """Run the map on these arrays, and on the tensor behind them."""
        descriptors = [moved(words, view.address) for words, view in zip(self._descriptors, views, strict=True)]
        self._function(*map(ctypes.addressof, descriptors), *self._constants)

    def _view(self, value: object, name: str, number: int) -> ArrayView | None:
        kind: Any = type(value)
        if kind is not np.ndarray and kind not in ORDINARY:
            return None
        view = array_view(value, name, write=number in self.written, gpu=True)
        form = self._forms[number]
        return view if (view.dtype, view.shape, view.strides, view.device) == form else None

    def _reach(self, view: ArrayView, number: int) -> tuple[int, int]:
        low, high = self._reaches[number]
        return view.address + low, view.address + high
