"""The Python body of a region on other arrays than those of the call: on those that have only some of its points."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from hpacml.errors import DirectiveError
from hpacml.runtime.arrays.protocols import is_tensor
from hpacml.runtime.arrays.views import ArrayView, numpy_array, tensor_over


class Substitute:
    """The body of a call, in which arrays and sizes stand for those that were given."""

    def __init__(
        self,
        region: str,
        names: Sequence[str],
        values: Mapping[str, object],
        written: Collection[int],
        sizes: Sequence[str],
        run: Callable[[Mapping[str, object]], None],
    ):
        self._region, self._names, self._values = region, names, values
        self._written, self._sizes, self._run = written, sizes, run

    def __call__(self, views: Sequence[ArrayView], sizes: int) -> None:
        """Run the body on arrays of its own, which it may keep, with the elements of `views`; then write these.

        `sizes` is the address of the sizes, 64-bit integers. An array is a tensor where the call has one, and else
        NumPy's. Raises `DirectiveError` for an attribute.
        """
        arrays: dict[str, Any] = {}
        for name, view in zip(self._names, views, strict=True):
            if "." in name:
                raise DirectiveError(
                    f"the region {self._region} is pointwise, and its body cannot be given another array in the place "
                    f"of '{name}', which is an attribute: make it a parameter of the function"
                )
            tensor = is_tensor(self._values[name]) or view.device is not None
            arrays[name] = tensor_over(view).clone() if tensor else numpy_array(view).copy()
        given = (ctypes.c_int64 * len(self._sizes)).from_address(sizes) if self._sizes else ()
        self._run({**arrays, **dict(zip(self._sizes, given, strict=True))})
        for position in self._written:
            view, made = views[position], arrays[self._names[position]]
            if is_tensor(made):
                tensor_over(view).copy_(made)
            else:
                numpy_array(view)[...] = made
