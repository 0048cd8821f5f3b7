"""Compiled networks of files in programs of XLA: without Python, once it is known where inputs and outputs are."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from hpacml import environment
from hpacml.dtypes import SIZES
from hpacml.functors.application import Way
from hpacml.functors.arithmetic import EXACT
from hpacml.jax.call_primitive import ArrayForm
from hpacml.jax.inference_call import RegionInference
from hpacml.jax.inferring import views_at
from hpacml.jax.map_call import Use
from hpacml.jax.templates import Record, Template
from hpacml.locks import Order, lock
from hpacml.runtime.arrays.views import c_strides
from hpacml.runtime.models import model as models
from hpacml.runtime.reports import instruments

if TYPE_CHECKING:
    from hpacml.runtime.models.on_views import Seen


class Place(NamedTuple):
    """Where a view of a map begins: an array, and an element of it."""

    array: str
    offset: int


class _State:
    """Which calls run without Python, and how often that was ended for all of them."""

    def __init__(self) -> None:
        self.lock = lock(Order.COUNTING)
        self.epoch = 0
        self.calls: weakref.WeakSet[RegionInference] = weakref.WeakSet()


_state = _State()


def _end() -> None:
    """Have all calls ask Python again: a model or an instrument may be another one."""
    with _state.lock:
        _state.epoch += 1
        for call in _state.calls:
            call.record.replace_by(None)
        _state.calls.clear()


models.on_change.append(_end)
instruments.listeners.append(_end)


def places_of(reads: Sequence[Use], writes: Sequence[Use], forms: Mapping[str, ArrayForm]) -> Sequence[Place] | None:
    """Where the views of maps begin, inputs first; None if indices decide that."""
    found: list[Place] = []
    ways: list[tuple[Use, Way]] = [*((use, "to") for use in reads), *((use, "from") for use in writes)]
    for use, way in ways:
        application = use.application
        if len(application.arrays) != len(application.heads):
            return None
        mapped = use.resolve(way, forms)
        targets = application.targets
        per_view = targets * len(mapped.views) if len(targets) == 1 else targets
        for view, target in zip(mapped.views, per_view, strict=True):
            offset, _ = view.strided(c_strides(forms[target.array].shape), EXACT)
            found.append(Place(target.array, offset))
    return found


def quicken(
    call: RegionInference, run: Callable[[], None], slots: int, places: Callable[[], Sequence[Place] | None]
) -> None:
    """Run a call by Python. If a network of a file did what it does, have the handler enter that the next time.

    Until then another model may be saved, or a report begun: `_end` takes that back. What the environment says is
    asked no more.
    """
    from hpacml.runtime.models.on_views import watch

    epoch = _state.epoch
    watch.is_on, watch.seen = True, None
    try:
        run()
        seen = watch.seen
    finally:
        watch.is_on, watch.seen = False, None
    if seen is None or environment.MODEL_RELOAD.is_on() or (record := _record(call, seen, slots, places())) is None:
        return
    with _state.lock:
        if _state.epoch == epoch:
            call.kept.append((record, seen.model))
            call.record.replace_by(record)
            _state.calls.add(call)


def _record(call: RegionInference, seen: Seen, slots: int, places: Sequence[Place] | None) -> Record | None:
    """The record of a call that enters the code of a network, if its views are those of the maps."""
    engine = seen.model.engine
    found = None if engine is None else engine.entrance(seen.types, seen.points)
    if found is None or places is None or len(places) != len(seen.views):
        return None
    function, weights = found
    arrays = dict(zip(call.forms, views_at(slots, [*call.forms.values()]), strict=True))
    begins = [arrays[place.array].address + place.offset * SIZES[arrays[place.array].dtype] for place in places]
    if function.needs_frame or begins != [view.address for view in seen.views]:
        return None
    template = Template(function.slots, 1)
    for slot, address in enumerate(weights):
        template.point(slot, address)
    for slot, (place, view) in enumerate(zip(places, seen.views, strict=True), len(weights)):
        template.array(slot, call.buffer(place.array), view.dtype, view.shape, place.offset, view.strides)
    return template.record(call.digest, function.address, len(call.operands), len(call.results))
