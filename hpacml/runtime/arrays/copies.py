"""Copies of arrays, of the kinds that these have. Those of arrays that share memory share memory, too."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from hpacml.dtypes import BRAIN, SIZES, torch_dtypes
from hpacml.errors import HpacmlError, MapError
from hpacml.runtime.arrays.protocols import array_view, is_tensor
from hpacml.runtime.arrays.views import ArrayView, extent, numpy_array, tensor_over

if TYPE_CHECKING:
    import torch


def copies_of(values: Mapping[str, object]) -> dict[str, Any]:
    """Copies of those of some objects that are arrays which can be written, by their names.

    Raises MapError for arrays that share memory in such a way that it cannot be copied.
    """
    found: dict[str, Any] = {}
    views = _views(values)
    for name, value in values.items():
        if name not in views and isinstance(value, np.ndarray):  # of objects
            found[name] = _array(value).copy("K")
    for group in _sharing(views):
        if all(views[name].readonly for name in group):
            continue
        name, value = group[0], values[group[0]]
        if len(group) > 1:
            found |= _together({name: values[name] for name in group}, views)
        elif isinstance(value, np.ndarray) and views[name].shape != _array(value).shape:  # which is that of its bytes
            found[name] = _array(value).copy("K")
        else:
            found[name] = copy_of(cast(object, value), views[name])
    return found


def sharing(values: Mapping[str, object]) -> list[list[str]]:
    """The names of objects that are arrays, those together whose memory overlaps."""
    return _sharing(_views(values))


def _views(values: Mapping[str, object]) -> dict[str, ArrayView]:
    """The memory of those of some objects that are arrays; of complex numbers and records it is that of bytes."""
    views: dict[str, ArrayView] = {}
    for name, value in values.items():
        try:
            views[name] = array_view(value, name, gpu=True)
        except HpacmlError:  # it is no array, or has elements of other types
            if isinstance(value, np.ndarray) and not (array := _array(value)).dtype.hasobject:
                low, high = np.lib.array_utils.byte_bounds(array)
                views[name] = ArrayView(low, "u8", (high - low,), (1,), not array.flags.writeable, array)
    return views


def _array(value: Any) -> np.ndarray[Any, np.dtype[Any]]:
    return cast("np.ndarray[Any, np.dtype[Any]]", value)


def copy_of(value: object, view: ArrayView) -> Any:
    """A copy of the elements of a view, of the kind of `value`: of Torch, NumPy, CuPy or JAX.

    Of other kinds it is NumPy's, or a tensor on a device and of bf16.
    """
    if isinstance(value, np.ndarray):
        dtype = cast(Any, value).dtype
        own = numpy_array(view).copy("K")
        return own if own.dtype == dtype else own.view(dtype)
    return _of_kind(value, view, _tensor(view).clone())


def keep(values: Mapping[str, object]) -> Callable[[], None]:
    """Copy arrays, by name; the result writes to those that can be written what they were.

    An array that has other sizes or another dtype by then stays as it is. Raises MapError for what is no array.
    """
    views = {name: array_view(value, name, gpu=True) for name, value in values.items()}
    kept = {name: copy_of(values[name], view) for name, view in views.items() if not view.readonly}

    def restore() -> None:
        for name, copy in kept.items():
            now, then = array_view(values[name], name, gpu=True), views[name]
            if (now.shape, now.dtype, now.device) == (then.shape, then.dtype, then.device):
                write(now, copy)

    return restore


def write(view: ArrayView, made: Any) -> None:
    """Write the elements of an array to memory of the same sizes."""
    if view.device is None and isinstance(made, np.ndarray):
        target = numpy_array(view)
        target[...] = cast(Any, made).view(target.dtype)
        return
    import torch

    with torch.no_grad():
        _tensor(view).copy_(made if is_tensor(made) else torch.from_dlpack(made))


def _of_kind(value: object, view: ArrayView, tensor: torch.Tensor) -> Any:
    """A tensor as an array of the kind of `value`, which has the view."""
    if is_tensor(value):
        return tensor
    if (make := _from_dlpack(value)) is not None:
        return make(tensor)
    return tensor.numpy() if view.device is None and view.dtype != BRAIN else tensor


def _from_dlpack(value: object) -> Callable[[torch.Tensor], Any] | None:
    """What makes an array of the kind of `value` of a tensor, as in CuPy and JAX; None where that is not known."""
    if (namespace := getattr(value, "__array_namespace__", None)) is not None:
        library: Any = namespace()
    else:
        library = sys.modules.get(type(value).__module__.partition(".")[0])
    return getattr(library, "from_dlpack", None)


def _tensor(view: ArrayView) -> torch.Tensor:
    """A tensor over the memory of a view."""
    if view.device is None:
        return tensor_over(view)
    from hpacml.runtime.gpu import devices

    return devices.device(view.device).tensor(view)


def _sharing(views: Mapping[str, ArrayView]) -> list[list[str]]:
    """The names of arrays, those together whose addresses overlap."""
    extents = {name: extent(view) for name, view in views.items()}
    groups = [[name] for name, (low, high) in extents.items() if low == high]
    devices = {view.device for view in views.values()}
    for device in devices:
        end = 0
        there = [name for name, (low, high) in extents.items() if low < high and views[name].device == device]
        for name in sorted(there, key=extents.__getitem__):
            low, high = extents[name]
            if low < end:
                groups[-1].append(name)
            else:
                groups.append([name])
            end = max(end, high)
    return groups


def _together(values: Mapping[str, object], views: Mapping[str, ArrayView]) -> dict[str, Any]:
    """Copies of arrays in one copy of the memory that they have together."""
    extents = {name: extent(views[name]) for name in values}
    low, high = min(low for low, _ in extents.values()), max(high for _, high in extents.values())
    first = views[next(iter(values))]
    block = _tensor(ArrayView(low, "u8", (high - low,), (1,), False, None, first.device)).clone()
    return {name: _part(name, value, views[name], low, block) for name, value in values.items()}


def _part(name: str, value: object, view: ArrayView, low: int, block: torch.Tensor) -> Any:
    """An array in a copy of memory that began at the address `low`."""
    if isinstance(value, np.ndarray):
        array = _array(value)
        return np.ndarray(array.shape, array.dtype, cast(Any, block).numpy(), array.ctypes.data - low, array.strides)
    width, offset = SIZES[view.dtype], view.address - low
    if offset % width:
        raise MapError(
            f"argument '{name}' begins within an element of another argument that it shares memory with: give the "
            "region arrays of their own, or of whole elements of one another"
        )
    elements = block[: len(block) // width * width].view(torch_dtypes()[view.dtype])
    return _of_kind(value, view, elements.as_strided(view.shape, view.strides, offset // width))
