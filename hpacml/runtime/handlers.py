"""The runtime symbols that Python answers. Handlers take C arguments as they come, pointers as integer addresses.

Importing this file is cheap: the first call site loads the records of sites, the first inference Torch, the first
collection h5py, the first bad map the judge.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from hpacml.errors import DeviceError, HpacmlError, MapError, at_place
from hpacml.runtime import callbacks, frame, messages
from hpacml.runtime.arrays.views import view_of_descriptor
from hpacml.runtime.reports import instruments
from hpacml.runtime.shim import require_stack
from hpacml.runtime.sites import Sites

if TYPE_CHECKING:
    from hpacml.abi.records import Json, RefuseSite, SizeSite
    from hpacml.runtime.databases.collection import Collection
    from hpacml.runtime.databases.sampler import Samples
    from hpacml.runtime.gpu.device_call import Call
    from hpacml.runtime.guards.comparison import Comparison
    from hpacml.runtime.guards.domains import DomainOfSite
    from hpacml.runtime.guards.points import Points
    from hpacml.runtime.guards.verification import VerificationOfSite
    from hpacml.runtime.mapcheck import MapCheck
    from hpacml.runtime.models.inference import Inference
    from hpacml.runtime.models.on_views import ViewsOfSite

Given = ParamSpec("Given")
Answer = TypeVar("Answer")


def install() -> None:
    """Register the handlers of all symbols but those for refused memory, which `callbacks` has, and those for devices.

    They are in ranges for profilers where the instruments ask for these.
    """
    around = instruments.current.around
    if install not in instruments.listeners:
        instruments.listeners.append(install)
    callbacks.register(
        infer=around(_name_of_infer, infer),
        infer_on_views=infer_on_views,
        collect=around(_name_of_collect, collect),
        sample=sample,
        count_points=count_points,
        domain=fill_domain,
        count_inference=count_inference,
        verify=verify,
        is_compared=is_compared,
        compare_points=compare_points,
        check_map=check_map,
        call_body=around(_name_of_body, call_body),
        call_body_on=call_body_on,
        keep_random=keep_random,
        open_counters=open_counters,
        refuse=refuse,
        refuse_sizes=refuse_sizes,
        number=messages.number,
        fail=messages.fail,
        print=messages.print_text,
    )


def _name_of_infer(site: int, tensors: int) -> str:
    return f"hpacml.infer {_labels.at(site)}"


def _name_of_collect(site: int, tensors: int, milliseconds: float) -> str:
    return f"hpacml.collect {_labels.at(site)}"


def _name_of_body(index: int) -> str:
    return "hpacml.body"


def _placed(handler: Callable[Concatenate[int, Given], Answer]) -> Callable[Concatenate[int, Given], Answer]:
    """A handler whose errors begin with the place of the site, if that is known."""

    @wraps(handler)
    def placed(site: int, *given: Given.args, **names: Given.kwargs) -> Answer:
        try:
            return handler(site, *given, **names)
        except HpacmlError as error:
            at_place(error, _places.at(site))
            raise

    return placed


def infer(site: int, tensors: int) -> bool:
    """Run the model of a site: `tensors` points to pointers to descriptors, inputs first, then destinations.

    Returns False if the model has failed and the original code must run. Raises ModelError where site and
    environment do not want that. In both cases no destination has been written.
    """
    require_stack()
    return _inferences.at(site).run(tensors)


@_placed
def infer_on_views(site: int, views: int, memory: int) -> bool:
    """Run the network of a site from views to views, whose descriptors `memory` points to pointers to.

    Returns False where compiled code does not do that, and nothing has been written; then `infer` is to follow.
    """
    require_stack()
    return _inferences.at(site).on_views.run(_views.at(views), memory)


@_placed
def sample(site: int) -> bool:
    """Count a call of a site that would collect; return whether to collect it."""
    _leave_to_host("collecting")
    return _samples.at(site).take()


@_placed
def collect(site: int, tensors: int, milliseconds: float) -> None:
    """Append the tensors of a site and the time of its body to its database. Raises DatabaseError."""
    _leave_to_host("collecting")
    _collections.at(site).run(tensors, milliseconds)


@_placed
def count_points(site: int, tensors: int, found: int) -> None:
    """Count the points of a call that guards reject, of a site; `tensors` and `found` are as `Points.count` has them.

    Raises DeviceError where a call on a device is captured.
    """
    _points.at(site).count(tensors, found)


def fill_domain(site: int, tensors: int) -> bool:
    """Fill the memory that `tensors` points to with the domain of the model of the current call.

    Returns False if there is none and the original code must run; then no point is in what is filled. Raises
    ModelError where site and environment do not want that.
    """
    return _domains.at(site).fill(tensors)


@_placed
def count_inference(site: int, found: int) -> None:
    """Count an inference, and write to the word at `found` whether it is to be checked, 1, and the breaker is open, 2.

    This and the next raise DeviceError in captured calls.
    """
    _leave_to_host("the checking of a model")
    _verifications.at(site).count(found)


@_placed
def verify(site: int, tensors: int) -> bool:
    """Compare tensors of a model with those of the original code; tell whether the former may be used.

    `tensors` is as `VerificationOfSite.verify` has it. Raises ModelError beyond the tolerance, if asked to.
    """
    require_stack()
    _leave_to_host("the checking of a model")
    return _verifications.at(site).verify(tensors)


@_placed
def is_compared(site: int, tensors: int) -> bool:
    """Count a call of pointwise code of a site, and tell whether it is to be compared with the code on all points.

    `tensors` is as `Comparison.is_due` has it.
    """
    _leave_to_host("the comparison of original code")
    return _comparisons.at(site).is_due(tensors)


@_placed
def compare_points(site: int, tensors: int) -> None:
    """Raise MapError where pointwise code makes something else of a point than among all points.

    `tensors` is as `Comparison.compare` has it.
    """
    _leave_to_host("the comparison of original code")
    _comparisons.at(site).compare(tensors)


@_placed
def check_map(site: int, values: int, arrays: int) -> None:
    """Raise MapError unless a map fits its arrays.

    `values` points to 64-bit integers: the sizes of all arrays, the open numbers of all targets, the
    parameters. `arrays` points to pointers to the descriptors of the arrays, if the site has any.
    """
    _map_checks.at(site).run(values, arrays)


def call_body(index: int) -> None:
    """Run an opaque body of the current call."""
    body = frame.current().bodies[index]
    if not frame.is_on_device():
        body()
        return
    with _original_code() as call:
        call.original = True
        body()


@contextmanager
def _original_code() -> Generator[Call]:
    """The call on a device, in which code runs that may call code for the host."""
    from hpacml.runtime.gpu import device_call

    call = device_call.current()
    call.leave_to_host("original code")
    try:
        with frame.Frame(paths=frame.paths()):
            yield call
    finally:
        call.device.resume()


def call_body_on(index: int, arrays: int, numbers: int) -> None:
    """Run an opaque body of the current call on arrays: those of the call, or others that stand for them.

    `arrays` points to pointers to their descriptors, and `numbers` to 64-bit integers that stand for sizes.
    """
    found = frame.current()
    _, given = found.arrays
    addresses = (ctypes.c_size_t * len(given)).from_address(arrays)
    views = [
        view_of_descriptor(address, view.dtype, len(view.shape)) for address, view in zip(addresses, given, strict=True)
    ]
    if all((a.address, a.shape) == (b.address, b.shape) for a, b in zip(views, given, strict=True)):
        call_body(index)
        return
    body = found.bodies[index + 1]
    if not frame.is_on_device():
        body(views, numbers)
        return
    with _original_code():
        body(views, numbers)


def keep_random(restores: int) -> None:
    """Keep the state of the program's random numbers, or restore that."""
    from hpacml.runtime.guards import random_state

    random_state.keep(restores)


def _leave_to_host(what: str) -> None:
    """Note that a call on a device needs the host each time. Raises DeviceError where the call is captured."""
    if frame.is_on_device():
        from hpacml.runtime.gpu import device_call

        device_call.current().leave_to_host(what)


def refuse(site: int) -> None:
    """Raise DeviceError: code of the host would access memory of the device."""
    refusal = _refusals.at(site)
    raise at_place(DeviceError(refusal.text), refusal.place)


def refuse_sizes(site: int, given: int, wanted: int) -> None:
    """Raise MapError: an array that a kernel passes to another has not the size that this one demands."""
    raise MapError(_size_refusals.at(site).text.format(given=given, wanted=wanted))


def open_counters(site: int, found: int) -> None:
    """Write the address of the counters of a site to the pointer at `found`."""
    from hpacml.runtime.reports import counters

    ctypes.c_size_t.from_address(found).value = counters.open_counters(ctypes.string_at(site))


def _inference(record: Json) -> Inference:
    from hpacml.abi.records import InferSite
    from hpacml.runtime.models.inference import Inference

    return Inference(InferSite.parse(record))


def _views_of_site(record: Json) -> ViewsOfSite:
    from hpacml.abi.records import ViewsSite
    from hpacml.runtime.models.on_views import ViewsOfSite

    return ViewsOfSite(ViewsSite.parse(record))


def _sampling(record: Json) -> Samples:
    from hpacml.abi.records import SampleSite
    from hpacml.runtime.databases.sampler import Samples

    return Samples(SampleSite.parse(record))


def _collection(record: Json) -> Collection:
    from hpacml.abi.records import CollectSite
    from hpacml.runtime.databases.collection import Collection

    return Collection(CollectSite.parse(record))


def _points_of_site(record: Json) -> Points:
    from hpacml.abi.guard_records import PointsSite
    from hpacml.runtime.guards.points import Points

    return Points(PointsSite.parse(record))


def _domain_of_site(record: Json) -> DomainOfSite:
    from hpacml.abi.guard_records import DomainSite
    from hpacml.runtime.guards.domains import DomainOfSite

    return DomainOfSite(DomainSite.parse(record))


def _verification(record: Json) -> VerificationOfSite:
    from hpacml.abi.guard_records import VerifySite
    from hpacml.runtime.guards.verification import VerificationOfSite

    return VerificationOfSite(VerifySite.parse(record))


def _comparison(record: Json) -> Comparison:
    from hpacml.abi.guard_records import ComparisonSite
    from hpacml.runtime.guards.comparison import Comparison

    return Comparison(ComparisonSite.parse(record))


def _map_check(record: Json) -> MapCheck:
    from hpacml.abi.records import MapSite
    from hpacml.runtime.mapcheck import MapCheck

    return MapCheck(MapSite.parse(record))


def _refusal(record: Json) -> RefuseSite:
    from hpacml.abi.records import RefuseSite

    return RefuseSite.parse(record)


def _size_refusal(record: Json) -> SizeSite:
    from hpacml.abi.records import SizeSite

    return SizeSite.parse(record)


_inferences = Sites(_inference)
_views = Sites(_views_of_site)
_samples = Sites(_sampling)
_collections = Sites(_collection)
_points = Sites(_points_of_site)
_domains = Sites(_domain_of_site)
_verifications = Sites(_verification)
_comparisons = Sites(_comparison)
_labels = Sites(lambda record: str(record["label"]))
_places: Sites[str | None] = Sites(lambda record: record.get("place"))
_refusals = Sites(_refusal)
_size_refusals = Sites(_size_refusal)
_map_checks = Sites(_map_check)
