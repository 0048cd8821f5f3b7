"""Calls of regions whose arguments have the form of the last ones, which native code takes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np

from hpacml.frontend import tracers
from hpacml.frontend.forms import Forms, known_array
from hpacml.runtime import differentiation
from hpacml.runtime.arrays.views import ArrayView
from hpacml.runtime.entry import Function
from hpacml.runtime.fast_frame import FrameForm, Place
from hpacml.runtime.fast_path import Conditions, OfClass, Signature, Taken
from hpacml.runtime.fastcall import caller
from hpacml.runtime.frame import Paths
from hpacml.runtime.reports import instruments

Body = Callable[..., tuple[object]]


class InferringCall(NamedTuple):
    """A call of a region that has run its model on the host."""

    args: tuple[Any, ...]
    values: Mapping[str, object]
    """The arguments by name, defaults behind those that were given."""
    arrays: Sequence[str]
    views: Sequence[ArrayView]
    written: Collection[int]
    numbers: Sequence[int]
    """What the code takes behind the arrays."""
    used: Collection[str]
    """The names that the numbers depend on."""
    run: Callable[..., object]


class FastRegion:
    """The form of the last calls of a region. `body` runs the original code, and gives its result in a tuple."""

    def __init__(self, paths: Paths, body: Body) -> None:
        self._paths, self._body = paths, body
        self._forms = Forms()

    def call(self, args: tuple[Any, ...]) -> Any:
        """Call the region, and return the tuple of its body, or None if that has not run.

        Returns NotImplemented, and has done nothing then, for arguments of another form.
        """
        known = self._forms.open.get(len(args))
        return NotImplemented if known is None else known(*args)

    def note(self, call: InferringCall) -> None:
        """Have calls like this one run natively if it is like the one before."""
        plain = {name for name in call.arrays if type(call.values[name]) is np.ndarray}
        given = [*call.values][: len(call.args)]
        if len(plain) != len(call.arrays) or not plain.issubset(given) or not isinstance(call.run, Function):
            return
        takes = [self._taken(name, call) for name in given]
        form = (*takes, *call.numbers, call.run, instruments.current)
        if None in takes or not self._forms.recurs(len(call.args), form):
            return
        slots = {name: slot for slot, name in enumerate(call.arrays)}
        nowhere = call.run.slots  # the place of the result, of which there is none
        taken = [(each, k, slots.get(given[k], nowhere)) for k, each in enumerate(takes) if each is not None]
        places = [
            Place(name, given.index(name), slot, view.dtype, len(view.shape))
            for (name, slot), view in zip(slots.items(), call.views, strict=True)
        ]
        defaults = {name: value for name, value in call.values.items() if name not in given}
        frame = FrameForm({name: k for k, name in enumerate(given)}, defaults, self._paths, places, self._body)
        signature = Signature(len(given), taken, constants=[*enumerate(call.numbers, len(slots))], frame=frame)
        same = ((vars(instruments), "current", instruments.current), (vars(differentiation), "inside", None))
        conditions = tracers.untraced_calls + Conditions(same)
        if (found := caller(call.run, signature, conditions)) is not None:
            self._forms.open[len(call.args)] = found

    @staticmethod
    def _taken(name: str, call: InferringCall) -> Taken | None:
        """What native code takes of an argument, None if there is nothing of the kind."""
        value: Any = call.values[name]
        if name in call.arrays:
            number = call.arrays.index(name)
            return known_array(value, call.views[number], number in call.written)
        if type(value) is int:
            return value if name in call.used else int
        return None if name in call.used or hasattr(value, "__index__") else OfClass(cast("type[Any]", type(value)))
