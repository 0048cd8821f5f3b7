"""The runtime symbols that compiled code calls in a call on a device. Handlers take pointers as integer addresses."""

from __future__ import annotations

import ctypes

from hpacml.abi.records import FlagSite, Json
from hpacml.runtime import callbacks
from hpacml.runtime.gpu import kernels, timing
from hpacml.runtime.gpu.device_call import current
from hpacml.runtime.sites import Sites


def install() -> None:
    """Register the handlers of the symbols for devices."""
    callbacks.register(
        launch=launch,
        device_alloc=allocate,
        device_free=free,
        device_time=time,
        device_body_time=body_time,
        device_record=record_stages,
        device_flag=find_flag,
        device_flag_down=flag_is_down,
    )


def launch(address: int, number: int, grid: int, block: int, narrow: int, parameters: int) -> None:
    """Launch kernel `number` of the host code whose kernels are at `address`; `narrow` if its numbers fit 32 bits.

    `grid` and `block` count blocks and threads in a block; `parameters` points to pointers to the parameters.
    """
    call = current()
    kernel = kernels.at(address).on(call.device)[2 * number + narrow]
    call.device.launch(kernel, grid, block, call.stream, parameters)


def allocate(size: int, found: int) -> None:
    """Write the address of `size` bytes of new memory of the device to the pointer at `found`."""
    ctypes.c_size_t.from_address(found).value = current().allocate(size)


def free(address: int) -> None:
    """Free memory that `allocate` gave; null is no memory."""
    if address:
        current().free(address)


def time(found: int) -> None:
    """Write the number of a new event of the call to the 64-bit integer at `found`."""
    ctypes.c_int64.from_address(found).value = current().time()


def body_time(found: int) -> None:
    """Write the number of a new event before or after a body to the double at `found`."""
    ctypes.c_double.from_address(found).value = current().body_time()


def record_stages(site: int, _counters: int, stages: int, times: int, bytes: int) -> None:
    """Record the stages of a region: `times` points to `stages + 1` numbers of events, `bytes` to what each copied."""
    call = current()
    if call.capturing:
        return
    numbers: list[int] = (ctypes.c_int64 * (stages + 1)).from_address(times)[:]
    copied: list[int] = (ctypes.c_int64 * stages).from_address(bytes)[:]
    timing.record(ctypes.string_at(site), [call.events[number] for number in numbers], copied)


def find_flag(site: int, found: int) -> None:
    """Write three 64-bit integers to `found`: the addresses of flag and record, and the number of the first check."""
    flag = current().flag
    (ctypes.c_int64 * 3).from_address(found)[:] = flag.address, flag.record, _first_checks.at(site)


def flag_is_down() -> bool:
    """Whether no bad index of the call is known so far."""
    return current().flag.is_down()


def _register_checks(record: Json) -> int:
    from hpacml.runtime.gpu import flags

    site = FlagSite.parse(record)
    return flags.register(site.label, site.maps)


_first_checks = Sites(_register_checks)
