"""Decides where a call runs: on the host, or on the device of its arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from hpacml.errors import DirectiveError, MapError
from hpacml.runtime.arrays.views import ArrayView

if TYPE_CHECKING:
    from hpacml.runtime.gpu.devices import Device

Machine: TypeAlias = Literal["cpu", "gpu"]
"""What the argument `target` of kernels, regions and functors names."""

MACHINES: tuple[Machine, ...] = get_args(Machine)


def require_machine(target: object) -> None:
    """Raise `DirectiveError` unless the target is a machine or None."""
    if target is not None and target not in MACHINES:
        raise DirectiveError(f"target is 'cpu', 'gpu', or None for where the arrays are, and this is {target!r}")


def on_host(views: Sequence[ArrayView], target: Machine | None) -> bool:
    """Whether a call with these arrays runs on the host."""
    return target != "gpu" and all([view.device is None for view in views])  # noqa: C419 (a list is faster)


def require_one_place(views: Sequence[ArrayView], names: Sequence[str]) -> None:
    """Raise `MapError` unless all arrays are in the same place."""
    if any([view.device != views[0].device for view in views]):  # noqa: C419 (a list is faster)
        raise MapError(f"all arrays of a call must be in the same place: {_locations(views, names)}")


def device_of(views: Sequence[ArrayView], names: Sequence[str], target: Machine | None) -> Device:
    """The device that runs a call: that of the arrays or, if these are on the host, the current device.

    Raises `MapError` if the arrays are in several places or the target is "cpu", and `DeviceError` if there is no such
    device.
    """
    require_one_place(views, names)
    if target == "cpu":
        raise MapError(f"the target is 'cpu', so no array may be on a GPU: {_locations(views, names)}")
    from hpacml.runtime.gpu import devices

    index = views[0].device if views else None
    return devices.current_device() if index is None else devices.device(index)


def _locations(views: Sequence[ArrayView], names: Sequence[str]) -> str:
    """Where the arrays are, such as `'a' is on the host, 'b' and 'c' are on cuda:0`."""
    places: dict[str, list[str]] = {}
    for view, name in zip(views, names, strict=True):
        places.setdefault("the host" if view.device is None else f"cuda:{view.device}", []).append(f"'{name}'")
    return ", ".join(
        f"{' and '.join(arrays)} {'is' if len(arrays) == 1 else 'are'} on {place}" for place, arrays in places.items()
    )
