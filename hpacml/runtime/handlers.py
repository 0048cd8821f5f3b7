"""The runtime symbols that need Python. They take C arguments as they come, pointers as integer addresses.

Importing this is cheap: Torch and h5py are loaded by the first inference and the first collection.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from hpacml.abi.records import (
    CollectSite,
    FlagSite,
    InferSite,
    Json,
    MapSite,
    RefuseSite,
    SampleSite,
)
from hpacml.errors import DeviceError
from hpacml.runtime import callbacks, frame
from hpacml.runtime.gpu import call, timing
from hpacml.runtime.mapcheck import MapCheck
from hpacml.runtime.reports import instruments
from hpacml.runtime.sites import Sites

if TYPE_CHECKING:
    from hpacml.runtime.databases.collection import Collection
    from hpacml.runtime.databases.sampler import Samples
    from hpacml.runtime.models.inference import Inference


def install() -> None:
    """Have compiled code call the functions below, in ranges where the instruments have them."""
    around = instruments.current.around
    if install not in instruments.listeners:
        instruments.listeners.append(install)
    callbacks.register(
        infer=around(_name_of_infer, infer),
        collect=around(_name_of_collect, collect),
        sample=sample,
        check_map=check_map,
        call_body=around(_name_of_body, call_body),
        open_counters=open_counters,
        refuse=refuse,
        launch=call.launch,
        device_alloc=call.allocate,
        device_free=call.free,
        device_time=call.time,
        device_body_time=call.body_time,
        device_record=timing.record_stages,
        device_flag=flag,
        device_flag_down=flag_down,
    )


def _name_of_infer(site: int, tensors: int) -> str:
    return f"hpacml.infer {_labels.at(site)}"


def _name_of_collect(site: int, tensors: int, milliseconds: float) -> str:
    return f"hpacml.collect {_labels.at(site)}"


def _name_of_body(index: int) -> str:
    return "hpacml.body"


def infer(site: int, tensors: int) -> bool:
    """Run the model of a site: `tensors` points to pointers to descriptors, inputs first, then destinations.

    False: the model has failed, and the original code is to run. Raises ModelError where that is not what the site
    or the environment wants. In both cases it has written to no destination.
    """
    return _inferences.at(site).run(tensors)


def sample(site: int) -> bool:
    """Count a call of a site that would collect: is it to be collected?"""
    _leave_to_host("collecting")
    return _samples.at(site).take()


def collect(site: int, tensors: int, milliseconds: float) -> None:
    """Append the tensors of a site and the time of its body to its database. Raises DatabaseError."""
    _leave_to_host("collecting")
    _collections.at(site).run(tensors, milliseconds)


def check_map(site: int, values: int, arrays: int) -> None:
    """Return if a map fits its arrays, else raise MapError.

    `values` points to 64-bit integers: the sizes of all arrays, the open numbers of all targets, the
    parameters. `arrays` points to pointers to the descriptors of the arrays, if the site has any.
    """
    _map_checks.at(site).run(values, arrays)


def call_body(index: int) -> None:
    """Run an opaque body of the current call."""
    body = frame.current().bodies[index]
    if (gpu := call.innermost()) is None:
        body()
        return
    gpu.leave_to_host("original code")
    gpu.original = True
    try:
        with frame.Frame(paths=frame.paths()):  # what it calls may be of the host
            body()
    finally:
        gpu.device.resume()


def _leave_to_host(what: str) -> None:
    """Have a call on a device do something on the host each time. Raises DeviceError where it is captured."""
    if (gpu := call.innermost()) is not None:
        gpu.leave_to_host(what)


def refuse(site: int) -> None:
    """Stop at code of the host that would need memory of the device."""
    raise DeviceError(_refusals.at(site).text)


def flag(site: int, found: int) -> None:
    """Write where the flag of the call and its record are, and the number of the site's first check, to `found`."""
    flag = call.current().flag
    (ctypes.c_int64 * 3).from_address(found)[:] = flag.address, flag.record, _flag_sites.at(site)


def flag_down() -> bool:
    """Whether no bad index is known of."""
    return call.current().flag.is_down()


def open_counters(site: int, found: int) -> None:
    """Write where the calls of a site are counted to the pointer at `found`."""
    from hpacml.runtime.reports import counters

    ctypes.c_size_t.from_address(found).value = counters.open_counters(ctypes.string_at(site))


def _inference(record: Json) -> Inference:
    from hpacml.runtime.models.inference import Inference

    return Inference(InferSite.parse(record))


def _sampling(record: Json) -> Samples:
    from hpacml.runtime.databases.sampler import Samples

    return Samples(SampleSite.parse(record))


def _collection(record: Json) -> Collection:
    from hpacml.runtime.databases.collection import Collection

    return Collection(CollectSite.parse(record))


_inferences = Sites(_inference)
_samples = Sites(_sampling)
_collections = Sites(_collection)
_labels = Sites(lambda record: str(record["label"]))


def _checks(record: Json) -> int:
    from hpacml.runtime.gpu import flags

    site = FlagSite.parse(record)
    return flags.register(site.label, site.maps)


_flag_sites = Sites(_checks)
_refusals = Sites(RefuseSite.parse)
_map_checks = Sites(lambda record: MapCheck(MapSite.parse(record)))
