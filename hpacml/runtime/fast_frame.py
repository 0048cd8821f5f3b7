"""The frames of calls that native code makes (`hpacml.runtime.fastcall`), which look for what they have when asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from ctypes import c_size_t
from functools import partial
from typing import Any, NamedTuple

from hpacml.runtime.arrays.views import ArrayView, view_of_descriptor
from hpacml.runtime.frame import Paths


class Place(NamedTuple):
    """An array among the arguments, whose descriptor is in a slot."""

    name: str
    argument: int
    slot: int
    dtype: str
    rank: int


class FrameForm:
    """What the frames of calls have in common.

    `positions` are those of the arguments that code asks for by name, `constants` what it gets for other names. `body`
    is the original code of a region.
    """

    def __init__(
        self,
        positions: Mapping[str, int],
        constants: Mapping[str, object],
        paths: Paths,
        arrays: Sequence[Place],
        body: Callable[..., object] | None = None,
    ) -> None:
        self.positions, self.constants, self.paths, self.arrays, self.body = positions, constants, paths, arrays, body
        self.names = [place.name for place in arrays]
        self.make = partial(FastFrame, self)
        self.returned = None if body is None else "returned"
        """The attribute of a frame that is the result of its call, None if it has none."""
        self.stayed: Callable[..., bool] = lambda *_: False
        """Whether arrays have the memory and the sizes of the descriptors in slots; False where that is not known."""


class FastFrame:
    """One call, whose arguments are `given`. Their descriptors live until it ends, and say what arrays were before."""

    __slots__ = ("_form", "_given", "_slots", "returned")

    gpu = None
    recorder = None

    def __init__(self, form: FrameForm, slots: int, *given: Any) -> None:
        self._form, self._slots, self._given = form, slots, given
        self.returned: object = None

    @property
    def bodies(self) -> Sequence[Callable[[], object]]:
        return [self._body]

    @property
    def paths(self) -> Paths:
        return self._form.paths

    @property
    def arrays(self) -> tuple[Sequence[str], Sequence[ArrayView]]:
        return self._form.names, [self._view(place) for place in self._form.arrays]

    def argument(self, name: str) -> object:
        form = self._form
        return form.constants[name] if name in form.constants else self._given[form.positions[name]]

    def is_in_place(self) -> bool:
        return self._form.stayed(self._slots, *self._given)

    def _view(self, place: Place) -> ArrayView:
        view = view_of_descriptor(c_size_t.from_address(self._slots + 8 * place.slot).value, place.dtype, place.rank)
        view.owner = self._given[place.argument]
        return view

    def _body(self) -> None:
        assert self._form.body is not None
        self.returned = self._form.body(*self._given)
