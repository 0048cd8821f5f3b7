"""Machines with GPUs for tests: a simulated one, and the one that tests run on. Both take arrays of any strides."""

from __future__ import annotations

import ctypes
import functools
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from hpacml.runtime.gpu import devices, driver
from hpacml.runtime.gpu.devices import Device
from tests import differential
from tests.simulated_gpu import CU_LAUNCH_KERNEL, OnDevice, SimulatedDevice, TensorOnDevice


@functools.cache
def missing_gpu() -> str | None:
    """Why tests can use no GPU; None if there is one. What Torch warns of, such as an old driver, is a part of it."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        if torch.cuda.is_available():
            return None
    if torch.version.cuda is None:
        return "this Torch is built without CUDA"
    return ": ".join(["Torch finds no GPU", *(str(warning.message) for warning in told)])


class Simulated(differential.Placement):
    """Arrays stay where they are, and are called memory of the device."""

    real = False

    def __init__(self, devices: list[SimulatedDevice]) -> None:
        self.devices = devices

    def there(self, array: Any, index: int = 0, stream: int | None = None) -> Any:
        device = self.devices[index]
        if isinstance(array, torch.Tensor):
            return TensorOnDevice(array, device)
        return OnDevice(array, device, stream)

    def host(self, array: Any) -> Any:
        if isinstance(array, OnDevice):
            return array.array
        return array.tensor if isinstance(array, TensorOnDevice) else array

    def fill(self, there: OnDevice, values: Any) -> None:
        """Write the elements of an array that is there."""
        there.array[...] = values

    def network(self, network: torch.nn.Module) -> torch.nn.Module:
        """A network on the device, which computes on tensors there."""
        return network

    @property
    def device(self) -> Any:
        return self.devices[0]

    @property
    def launched(self) -> int:
        """How many kernels were launched by the runtime, and not by graphs."""
        return sum(len(device.launched) - device.replayed for device in self.devices)

    @property
    def launched_by_code(self) -> int:
        """How many of these compiled code launched by itself."""
        return sum(device.launched_by_code for device in self.devices)

    @property
    def captures(self) -> int:
        return sum(device.captures for device in self.devices)

    @property
    def replays(self) -> int:
        return sum(device.replays for device in self.devices)


class Cuda(differential.Placement):
    """GPUs of NVIDIA, of which Torch knows."""

    real = True

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._counts: Counter[str] = Counter()
        launch, capture = Device.launch, Device.capture
        cu_launch_kernel = CU_LAUNCH_KERNEL(driver.launcher())

        def counted(device: Device, *args: Any) -> None:
            self._counts["launched"] += 1
            launch(device, *args)

        def counted_by_code(*args: int) -> int:
            status = cu_launch_kernel(*args)
            if not status:  # else compiled code tries the other way
                self._counts["launched"] += 1
                self._counts["launched by code"] += 1
            return status

        launcher = CU_LAUNCH_KERNEL(counted_by_code)

        def captured(device: Device, run: Callable[[], None]) -> Callable[[], None]:
            before = self._counts.copy()
            replay = capture(device, run)
            self._counts = before
            self._counts["captures"] += 1

            def counted() -> None:
                self._counts["replays"] += 1
                replay()

            return counted

        monkeypatch.setattr(Device, "launch", counted)
        monkeypatch.setattr(Device, "launcher", _Launcher(launcher), raising=False)
        monkeypatch.setattr(Device, "capture", captured)

    def there(self, array: Any, index: int = 0, stream: int | None = None) -> Any:
        if isinstance(array, torch.Tensor):
            there = torch.empty_strided(array.shape, array.stride(), dtype=array.dtype, device=f"cuda:{index}")
            return there.copy_(array)
        return Exported(array, index, stream)

    def host(self, array: Any) -> Any:
        return array.host() if isinstance(array, Exported) else array.cpu()

    def fill(self, there: Exported, values: Any) -> None:
        torch.as_tensor(there, device=self.device.torch).copy_(torch.from_numpy(values))

    def network(self, network: torch.nn.Module) -> torch.nn.Module:
        return network.to("cuda")

    @property
    def device(self) -> Any:
        return devices.current_device()

    @property
    def launched(self) -> int:
        return self._counts["launched"]

    @property
    def launched_by_code(self) -> int:
        return self._counts["launched by code"]

    @property
    def captures(self) -> int:
        return self._counts["captures"]

    @property
    def replays(self) -> int:
        return self._counts["replays"]


class _Launcher:
    """What compiled code launches with, instead of what each device has: that is kept, and back once this is gone."""

    def __init__(self, launcher: Any) -> None:
        self._launcher = launcher
        self._address = ctypes.cast(launcher, ctypes.c_void_p).value

    def __get__(self, device: Device | None, kind: type[Device]) -> Any:
        return self._address

    def __set__(self, device: Device, address: int) -> None:
        device.__dict__["launcher"] = address


class Exported:
    """A copy of an array on a GPU, with the strides that it has, by the CUDA array interface: Torch has no negative ones."""

    def __init__(self, array: np.ndarray[Any, Any], index: int = 0, stream: int | None = None) -> None:
        base = array
        while isinstance(base.base, np.ndarray):
            base = base.base
        self.shape, self.ndim = array.shape, array.ndim
        self._array = array
        self._offset = address_of(array) - address_of(base)
        self._memory = torch.from_numpy(base.ravel("K").view(np.uint8).copy()).to(f"cuda:{index}")
        self.__cuda_array_interface__ = {
            "shape": array.shape,
            "typestr": array.dtype.str,
            "data": (self._memory.data_ptr() + self._offset, not array.flags.writeable),
            "strides": array.strides,
            "stream": stream,
            "version": 3,
        }

    def host(self) -> np.ndarray[Any, Any]:
        memory: Any = self._memory.cpu().numpy()
        return np.ndarray(self.shape, self._array.dtype, memory, self._offset, self._array.strides)


def address_of(array: np.ndarray[Any, Any]) -> int:
    return array.__array_interface__["data"][0]


Machine = Simulated | Cuda


class Transferred(differential.Placement):
    """Arrays stay on the host, and go to the device for each call."""

    target = "gpu"

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def host(self, array: Any) -> Any:
        return self._machine.host(array) if isinstance(array, torch.Tensor) and array.is_cuda else array
