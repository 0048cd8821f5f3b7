"""The Python body of a region on other arrays than those of the call: on those that have only some of its points."""

from __future__ import annotations

import ctypes
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from hpacml.dtypes import BRAIN
from hpacml.errors import DirectiveError
from hpacml.frontend.region_plan import Plan
from hpacml.runtime.arrays.protocols import is_tensor
from hpacml.runtime.arrays.views import ArrayView, numpy_array, tensor_over

if TYPE_CHECKING:
    import torch

    from hpacml.runtime.gpu.device_call import Call


class Substitute:
    """The body of a call, in which arrays and sizes stand for those that were given."""

    def __init__(
        self,
        region: str,
        body: Callable[..., object],
        given: Callable[[], inspect.BoundArguments],
        plan: Plan,
        values: Mapping[str, object],
        views: Sequence[ArrayView],
    ):
        self._region, self._body, self._given, self._values = region, body, given, values
        self._names, self._written, self._views = plan.arrays, plan.written, views
        self._sizes = [str(each) for each in plan.sizes]

    def __call__(self, views: Sequence[ArrayView], sizes: int, call: Call | None = None) -> None:
        """Run the body on arrays of its own, which it may keep, with the elements of `views`; then write these.

        `sizes` is the address of the sizes, 64-bit integers. An array is of the kind that the call has, where that is
        one of Torch, NumPy, CuPy or JAX, and else NumPy's, or on a device a tensor. What is the call's own memory, as a
        number is, stays the object that was given. `call` is the one on a device that has the memory of `views`. Raises
        `DirectiveError` for an attribute.
        """
        pairs = zip(self._names, views, self._views, strict=True)
        arrays = {name: self._copy(name, view, call) for name, view, given in pairs if not _is_same(view, given)}
        numbers = (ctypes.c_int64 * len(self._sizes)).from_address(sizes) if self._sizes else ()
        arguments = self._given()
        arguments.arguments.update({**arrays, **dict(zip(self._sizes, numbers, strict=True))})
        try:
            self._body(*arguments.args, **arguments.kwargs)
        except Exception as error:
            shapes = ", ".join(f"'{name}' of shape {tuple(array.shape)}" for name, array in arrays.items())
            error.add_note(f"A guard had the body of {self._region} make some points, with other arrays: {shapes}.")
            raise
        for position in self._written:
            made = arrays.get(self._names[position])
            if made is not None:
                _write(views[position], made, call)

    def _copy(self, name: str, view: ArrayView, call: Call | None) -> Any:
        if "." in name:
            raise DirectiveError(
                f"a guard has the body of {self._region} make some points, and it cannot be given another array in the "
                f"place of '{name}', which is an attribute: make it a parameter of the function"
            )
        value = self._values[name]
        if isinstance(value, np.ndarray):
            return numpy_array(view).copy().view(cast(Any, value).dtype)
        tensor = (tensor_over(view) if call is None else call.device.tensor(view)).clone()
        if is_tensor(value):
            return tensor
        if (make := _from_dlpack(value)) is not None:
            return make(tensor)
        return tensor.numpy() if call is None and view.dtype != BRAIN else tensor


def _from_dlpack(value: object) -> Callable[[torch.Tensor], Any] | None:
    """What makes an array of the kind of `value` of a tensor, as in CuPy and JAX; None where that is not known."""
    if (namespace := getattr(value, "__array_namespace__", None)) is not None:
        library: Any = namespace()
    else:
        library = sys.modules.get(type(value).__module__.partition(".")[0])
    return getattr(library, "from_dlpack", None)


def _write(view: ArrayView, made: Any, call: Call | None) -> None:
    if call is None and isinstance(made, np.ndarray):
        target = numpy_array(view)
        target[...] = made.view(cast(Any, target.dtype))
        return
    import torch

    target = tensor_over(view) if call is None else call.device.tensor(view)
    with torch.no_grad():
        target.copy_(made if is_tensor(made) else torch.from_dlpack(made))


def _is_same(view: ArrayView, other: ArrayView) -> bool:
    return (view.address, view.shape) == (other.address, other.shape)
