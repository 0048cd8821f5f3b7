"""The Python body of a region on other arrays than those of the call: on those that have only some of its points."""

from __future__ import annotations

import ctypes
import inspect
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hpacml.errors import DirectiveError
from hpacml.frontend.region_plan import Plan
from hpacml.runtime.arrays.protocols import is_tensor
from hpacml.runtime.arrays.views import ArrayView, numpy_array, tensor_over


class Substitute:
    """The body of a call, in which arrays and sizes stand for those that were given."""

    def __init__(
        self,
        region: str,
        body: Callable[..., object],
        given: inspect.BoundArguments,
        plan: Plan,
        values: Mapping[str, object],
        sizes: Sequence[str],
    ):
        self._region, self._body, self._given, self._values = region, body, given, values
        self._names, self._written, self._sizes = plan.arrays, plan.written, sizes

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
        arguments = inspect.BoundArguments(self._given.signature, OrderedDict(self._given.arguments))
        arguments.arguments.update({**arrays, **dict(zip(self._sizes, given, strict=True))})
        self._body(*arguments.args, **arguments.kwargs)
        for position in self._written:
            view, made = views[position], arrays[self._names[position]]
            if is_tensor(made):
                tensor_over(view).copy_(made)
            else:
                numpy_array(view)[...] = made
