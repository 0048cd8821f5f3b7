"""The calls of the CUDA driver through `cuda-bindings`, taken down by a driver without a device."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("cuda.bindings.driver")

Run = Callable[..., str]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a libcuda.so.1."""
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc")
    folder = tmp_path_factory.mktemp("driver")
    source = Path(__file__).with_name("cuda_stub.c")
    target = folder / "libcuda.so.1"
    subprocess.run(["gcc", "-shared", "-fPIC", "-w", "-Wl,-soname,libcuda.so.1", source, "-o", target], check=True)
    return folder


@pytest.fixture
def run(library: Path) -> Run:
    """What Python code prints, with that of the driver."""

    def run(code: str, **variables: str) -> str:
        lines = "from hpacml.errors import DeviceError\nfrom hpacml.runtime.gpu import driver\n" + code
        environment = {**os.environ, "LD_LIBRARY_PATH": str(library), **variables}
        done = subprocess.run(
            [sys.executable, "-u", "-c", lines], capture_output=True, text=True, env=environment, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


FAILING = """
try:
    {}
except DeviceError as error:
    print(error)
"""


def test_a_module_is_loaded_and_launched(run: Run) -> None:
    shown = run("""
import ctypes
context = driver.primary_context(1)
driver.enter(context)
with driver.relaxed():
    kernel = driver.function(driver.load("a text of PTX"), "heat")
number, factor = ctypes.c_int64(-7), ctypes.c_double(2.5)
parameters = (ctypes.c_void_p * 2)(ctypes.addressof(number), ctypes.addressof(factor))
driver.launch(kernel, 12, 256, 0xABC0, ctypes.addressof(parameters))
driver.launch(kernel, 12, 256, 0, ctypes.addressof(parameters))
""")
    launch = "launch 1 grid 12 1 1 block 256 1 1 shared 0 stream {} extra 0 parameters -7 2.5"
    assert shown.splitlines() == [
        "init 0",
        "retain 1",
        "current 1",
        "capture mode 2",
        "load a text of PTX, options 5 6, 16384 bytes",
        "function 1 heat",
        "capture mode 0",
        launch.format("0xabc0"),
        launch.format("(nil)"),
    ]


def test_a_stream_is_made_that_waits_for_no_other(run: Run) -> None:
    assert run("print(hex(driver.new_stream()))").splitlines() == ["init 0", "stream, flags 1", "0xabc0"]


def test_what_the_compiler_of_the_driver_says_is_told(run: Run) -> None:
    shown = run(FAILING.format("driver.load('wrong')"))
    assert "cannot load the kernels (line 3: there is an error): CUDA_ERROR_INVALID_PTX: as the driver says" in shown


def test_a_kernel_that_is_missing(run: Run) -> None:
    shown = run(FAILING.format("driver.function(driver.load('right'), 'missing')"))
    assert "the CUDA driver cannot find the kernel missing: CUDA_ERROR: as the driver says" in shown


def test_an_error_of_a_launch(run: Run) -> None:
    shown = run(
        "import ctypes\nnumber = ctypes.c_double(1)\n"
        "parameters = (ctypes.c_void_p * 2)(*[ctypes.addressof(number)] * 2)\n"
        "kernel = driver.function(driver.load('right'), 'heat')"
        + FAILING.format("driver.launch(kernel, 666, 1, 0, ctypes.addressof(parameters))")
    )
    assert "cannot launch a kernel: CUDA_ERROR_ILLEGAL_ADDRESS: as the driver says" in shown


def test_a_device_that_is_missing(run: Run) -> None:
    assert "the CUDA driver cannot find the GPU 5: CUDA_ERROR" in run(FAILING.format("driver.primary_context(5)"))


def test_no_device_at_all(run: Run) -> None:
    shown = run(FAILING.format("driver.primary_context(0)"), STUB_NO_DEVICE="1")
    assert "the CUDA driver cannot initialise the CUDA driver: CUDA_ERROR" in shown


def test_the_device_of_an_address(run: Run) -> None:
    shown = run("print(driver.device_of(0x7f0000000000), driver.device_of(8))")
    assert "attribute 9 of 0x7f0000000000" in shown
    assert "1 None" in shown


def test_no_driver(run: Run) -> None:
    shown = run(FAILING.format("driver.bindings()"), LD_LIBRARY_PATH="")
    assert "this machine has no CUDA driver" in shown


def test_no_bindings(run: Run) -> None:
    shown = run("import sys\nsys.modules['cuda.bindings.driver'] = None" + FAILING.format("driver.bindings()"))
    assert "running on a GPU needs cuda-bindings: pip install 'hpacml[gpu]'" in shown
