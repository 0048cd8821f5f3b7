"""Libraries for GPUs: a driver without a GPU takes down what they launch, or interprets it beside what Python gives."""

import ctypes
import json
import re
import shutil
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch

import hpacml
from hpacml.backend import ptxas
from hpacml.embedding import host_library
from hpacml.runtime.gpu.kernels import MOST_DEVICES
from tests.compilers import ROOT, needs_cc, needs_gfortran, run
from tests.embedding import gpu_kernels, on_fake_gpu
from tests.embedding.test_build import Library

pytestmark = needs_cc

CHIP = "sm_90"


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a libcuda.so.1 without a GPU."""
    folder = tmp_path_factory.mktemp("driver")
    source = Path(__file__).with_name("fake_cuda.c")
    flags = "-shared", "-fPIC", "-Wall", "-Wl,-soname,libcuda.so.1"
    run("cc", *flags, source, "-o", folder / "libcuda.so.1", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the library, its header and its Fortran module."""
    folder = tmp_path_factory.mktemp("gpu_target")
    texts = {"header": folder / "kernels.h", "fortran": folder / "kernels.f90"}
    hpacml.build(gpu_kernels.KERNELS, folder / "libkernels.so", target=CHIP, **texts)
    return folder


@pytest.fixture(scope="module")
def outcomes(folder: Path, driver: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What went wrong in each check of `on_fake_gpu`, in a process of its own: a driver stays in one."""
    command = sys.executable, "-m", "tests.embedding.on_fake_gpu", folder / "libkernels.so", driver / "libcuda.so.1"
    done = run(*command, cwd=tmp_path_factory.mktemp("checks"), PYTHONPATH=str(ROOT))
    return {name: json.loads(wrong) for name, wrong in (line.split(" ", 1) for line in done.stdout.splitlines())}


@pytest.mark.slow
@pytest.mark.parametrize("check", on_fake_gpu.CHECKS)
def test_on_a_gpu_that_interprets_kernels(outcomes: dict[str, str], check: str) -> None:
    assert outcomes[check] == "", outcomes[check]


MAIN = """
#include "kernels.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
enum { N = 1000, M = 3 };
static const int64_t sizes[2] = {N, M};
static double on_host[2][N * M];
int main(void) {
    double *x = on_host[0], *y = on_host[1];
    void *driver = dlopen("libcuda.so.1", RTLD_NOW), *context, *before;
    if (driver != NULL) {
        ((int (*)(unsigned))dlsym(driver, "cuInit"))(0);
        ((int (*)(void **, int))dlsym(driver, "cuDevicePrimaryCtxRetain"))(&context, 1);
        ((int (*)(void *))dlsym(driver, "cuCtxPushCurrent_v2"))(context);
        int (*alloc)(double **, size_t) = (int (*)(double **, size_t))dlsym(driver, "cuMemAlloc_v2");
        int (*managed)(double **, size_t, unsigned) =
            (int (*)(double **, size_t, unsigned))dlsym(driver, "cuMemAllocManaged");
        int (*freed)(double *) = (int (*)(double *))dlsym(driver, "cuMemFree_v2");
        char *none = getenv("FAKE_NO_MEMORY") ? "FAKE_NO_MEMORY" : NULL;
        if (none) unsetenv(none);
        if (alloc(&x, sizeof on_host[0]) || managed(&y, sizeof on_host[1], 1)) return 1;
        if (none) setenv(none, "1", 1);
        ((int (*)(void **))dlsym(driver, "cuCtxPopCurrent_v2"))(&before);
        (void)freed;
    }
    int64_t rows = -1;
    int32_t status = scale(x, sizes, NULL, y, sizes, NULL, 2.0, &rows, NULL);
    printf("%d %d %s\\n", status, (int)rows, status ? hpacml_last_error() : "done");
    if (driver != NULL) printf("%d blocks\\n", ((int (*)(void))dlsym(driver, "fake_blocks"))());
}
"""


def compiled(folder: Path, name: str, text: str, *more: str) -> Path:
    (folder / f"{name}.c").write_text(text)
    flags = f"-Wl,-rpath,{folder}", "-L.", "-lkernels", *host_library.linker_flags(), "-ldl", *more
    warnings = "-Wall", "-Wextra", "-Werror"
    run("cc", *warnings, *host_library.compiler_flags(), f"{name}.c", "-o", name, *flags, cwd=folder)
    return folder / name


@pytest.fixture(scope="module")
def program(folder: Path) -> Path:
    return compiled(folder, "main", MAIN)


def test_what_is_launched(program: Path, driver: Path) -> None:
    """Machine code where `ptxas` has made it, on the GPU that has the arrays, which is not the first."""
    shown = run(program, cwd=program.parent, LD_LIBRARY_PATH=str(driver)).stdout.splitlines()
    assert shown[0] == f"load {'cubin' if ptxas.find() else 'PTX'}"
    *launches, status, blocks = shown[1:]
    assert (status, blocks) == ("0 1000 done", "2 blocks")
    found = [re.fullmatch(r"launch (\w+) grid (\d+) block (\d+) stream default", line) for line in launches]
    assert len(found) >= 3
    sizes = [(int(match[2]), int(match[3])) for match in found if match]
    assert len(sizes) == len(found)
    assert sizes[0][0] * sizes[0][1] >= 1000  # a thread for each row
    assert all(block % 32 == 0 for _, block in sizes)


@pytest.mark.parametrize(
    ("variable", "status", "said"),
    [
        ({"FAKE_NO_CUBIN": "1"}, "0 1000", "load PTX"),
        ({"FAKE_NO_POOLS": "1"}, "0 1000", "2 blocks"),
        ({"FAKE_NEEDS_CONTEXT": "1"}, "0 1000", "launch"),
        ({"FAKE_CAPABILITY": "121"}, "0 1000", "launch"),
        (
            {"FAKE_CAPABILITY": "80"},
            "3 -1",
            "built for sm_90, and the GPU 1 is of compute capability 8.0: build it with",
        ),
        ({"FAKE_NO_GPU": "1"}, "4 -1", "the CUDA driver finds no GPU: CUDA_ERROR: as the driver says"),
        (
            {"FAKE_BAD_PTX": "1", "FAKE_NO_CUBIN": "1"},
            "1 -1",
            "cannot load the kernels (line 3: there is an error): CUDA",
        ),
        ({"FAKE_ILLEGAL_ADDRESS": "1"}, "1 -1", "the CUDA driver cannot launch a kernel: CUDA_ERROR_ILLEGAL_ADDRESS"),
        ({"FAKE_NO_MEMORY": "1"}, "1 -1", "the GPU 1 has no memory for a temporary tensor of 24 bytes"),
    ],
)
def test_other_drivers_and_gpus(program: Path, driver: Path, variable: dict[str, str], status: str, said: str) -> None:
    shown = run(program, cwd=program.parent, LD_LIBRARY_PATH=str(driver), **variable).stdout
    assert f"{status} " in shown
    assert said in shown
    assert "2 blocks" in shown


REGION = """
#include "kernels.h"
#include <hpacml.h>
#include <stdio.h>
int cuInit(unsigned), cuDevicePrimaryCtxRetain(void **, int), cuCtxPushCurrent_v2(void *);
int cuMemAlloc_v2(void **, size_t), fake_blocks(void);
enum { N = 16 };
static const int64_t sizes[2] = {N, N};
int main(void) {
    void *context, *x, *y;
    int64_t rows;
    cuInit(0), cuDevicePrimaryCtxRetain(&context, 0), cuCtxPushCurrent_v2(context);
    if (cuMemAlloc_v2(&x, N * N * 8) || cuMemAlloc_v2(&y, N * N * 8)) return 1;
    for (int turn = 0; turn < 2; turn++) {
        int32_t status = heat(x, sizes, NULL, y, sizes, NULL, true, 1, "net.safetensors", NULL, NULL);
        printf("%d %s\\n", status, hpacml_last_error());
    }
    printf("%d\\n", scale(x, sizes, NULL, y, sizes, NULL, 1, &rows, NULL));
    printf("%d %d\\n", hpacml_stop(), fake_blocks());
}
"""


@pytest.mark.skipif(torch.cuda.is_available(), reason="Torch has a GPU here, which is not the driver's")
def test_a_region_without_a_torch_for_gpus_is_a_status(folder: Path, driver: Path) -> None:
    program = compiled(folder, "region", REGION, f"-L{driver}", "-l:libcuda.so.1")
    shown = run(program, cwd=folder, LD_LIBRARY_PATH=str(driver)).stdout.splitlines()
    told = [line for line in shown if not line.startswith(("load", "launch"))]
    assert told[0].startswith("1 the GPU 0 cannot be used: ")
    assert told == [told[0], told[0], "0", "0 2"]
    assert any(line.startswith("launch scale") for line in shown)


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="this machine has a driver")
def test_without_a_driver_a_call_is_a_status(program: Path) -> None:
    shown = run(program, cwd=program.parent).stdout
    assert shown.startswith("4 -1 this machine has no CUDA driver: libcuda.so.1: cannot open")


def test_an_old_driver_is_a_status(program: Path, tmp_path: Path) -> None:
    (tmp_path / "old.c").write_text("int cuInit(unsigned flags) { return (int)flags; }")
    run("cc", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "old.c", "-o", "libcuda.so.1", cwd=tmp_path)
    (tmp_path / "call.py").write_text(
        "import sys, ctypes, numpy as np\n"
        "from tests.embedding.test_build import Library\n"
        "library, x, n = Library(sys.argv[1]), np.zeros((2, 2)), ctypes.c_int64()\n"
        "print(library('scale', x, x, 1.0, ctypes.byref(n), None), library.error)\n"
    )
    library = program.parent / "libkernels.so"
    environment = {"LD_LIBRARY_PATH": str(tmp_path), "PYTHONPATH": str(ROOT)}
    shown = run(sys.executable, "call.py", library, cwd=tmp_path, **environment).stdout
    assert shown.startswith(
        "4 the CUDA driver of this machine is older than CUDA 11.2: it has no function cuGetErrorName"
    )


def test_the_header_and_the_object(folder: Path) -> None:
    header = (folder / "kernels.h").read_text()
    assert "compiled for sm_90 and x86-64" in header
    assert "Arrays are in memory of a GPU" in header
    assert header.count("void *stream") == 4
    assert "double stream,\n" in header
    if shutil.which("c++"):
        run("c++", "-Wall", "-Werror", "-fsyntax-only", "-include", "kernels.h", "-x", "c++", "/dev/null", cwd=folder)
    assert "void *stream_);" in header  # `heat` has a parameter of that name itself
    code = (folder / "libkernels.so").read_bytes()
    versions = 3 + 3 + 2 + 2  # for packed arrays, packed rows, and others; rows of one dimension are all of it
    assert code.count(b".target sm_90") == versions
    assert code.count(b"\x7fELF") - 1 == (versions if ptxas.find() else 0)
    defined = run("nm", "-D", "--defined-only", "libkernels.so", cwd=folder).stdout.split()
    assert {name for name in defined if len(name) > 1 and not name.isalnum()} == set()


def test_numbers_and_functions_are_those_of_the_driver() -> None:
    """As NVIDIA's own bindings have them."""
    driver = pytest.importorskip("cuda.bindings.driver")
    text = (resources.files("hpacml.embedding") / "gpu.c").read_text()
    numbers = {name: int(value) for name, value in re.findall(r"(\w+) = (\d+)[,\s]", text) if name.isupper()}
    errors = "INVALID_VALUE", "OUT_OF_MEMORY", "NO_DEVICE", "INVALID_CONTEXT", "NO_BINARY_FOR_GPU"
    attributes = "CONTEXT", "MEMORY_TYPE", "IS_MANAGED", "DEVICE_ORDINAL", "RANGE_START_ADDR", "RANGE_SIZE"
    wanted = {name: getattr(driver.CUresult, f"CUDA_ERROR_{name}") for name in errors}
    wanted |= {name: getattr(driver.CUpointer_attribute, f"CU_POINTER_ATTRIBUTE_{name}") for name in attributes}
    wanted |= {
        "CAPABILITY_MAJOR": driver.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
        "CAPABILITY_MINOR": driver.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
        "HAS_POOLS": driver.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED,
        "MEMORY_OF_GPU": driver.CUmemorytype.CU_MEMORYTYPE_DEVICE,
        "ERROR_LOG": driver.CUjit_option.CU_JIT_ERROR_LOG_BUFFER,
        "SIZE_OF_ERROR_LOG": driver.CUjit_option.CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
        "RELAXED": driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED,
        "GPUS": MOST_DEVICES,
    }
    assert numbers == {name: int(value) for name, value in wanted.items()}
    names = re.findall(r'\{"(cu\w+)", offsetof', text)
    assert len(names) == 20
    assert [name for name in names if not hasattr(driver, name.removesuffix("_v2"))] == []


FORTRAN = """
program main
  use, intrinsic :: iso_c_binding
  use hpacml_kernels
  implicit none
  interface
    integer(c_int) function cuInit(flags) bind(C, name="cuInit")
      import
      integer(c_int), value :: flags
    end function
    integer(c_int) function retain(context, device) bind(C, name="cuDevicePrimaryCtxRetain")
      import
      type(c_ptr), intent(out) :: context
      integer(c_int), value :: device
    end function
    integer(c_int) function push(context) bind(C, name="cuCtxPushCurrent_v2")
      import
      type(c_ptr), value :: context
    end function
    integer(c_int) function alloc(address, bytes) bind(C, name="cuMemAlloc_v2")
      import
      type(c_ptr), intent(out) :: address
      integer(c_size_t), value :: bytes
    end function
    type(c_ptr) function fake_stream(device) bind(C, name="fake_stream")
      import
      integer(c_int), value :: device
    end function
  end interface
  type :: odd
    sequence
    real(c_float) :: w(3)
    real(c_float) :: z(3)
  end type
  type(c_ptr) :: context, memory
  real(c_double), pointer :: t(:, :)
  real(c_double) :: here(4, 5)
  integer(c_int64_t) :: rows
  integer :: status
  status = cuInit(0) + retain(context, 0) + push(context) + alloc(memory, 8_c_size_t * 20)
  call c_f_pointer(memory, t, [4, 5])
  print *, scale(t(:, 2:5), t(4:1:-1, 1:4), 1.0_c_double, rows), rows
  print *, scale(t(:, 2:5), t(4:1:-1, 1:4), 1.0_c_double, result=rows, stream=fake_stream(0))
  print *, scale(here, t, 1.0_c_double, rows)
  print *, hpacml_error()
end program
"""


@needs_gfortran
def test_fortran(folder: Path, driver: Path) -> None:
    (folder / "main.f90").write_text(FORTRAN)
    flags = f"-Wl,-rpath,{folder}", "-L.", "-lkernels", f"-L{driver}", "-l:libcuda.so.1", *host_library.linker_flags()
    run("gfortran", "-Wall", "-Werror", "-Wno-intrinsic-shadow", "-Wno-unused-value", "kernels.f90", "main.f90", "-o",
        "main_f", *flags, cwd=folder)  # fmt: skip
    shown = run(folder / "main_f", cwd=folder, LD_LIBRARY_PATH=str(driver)).stdout.splitlines()
    told = [line.split() for line in shown if not line.startswith(("load", "launch"))]
    assert told[:3] == [["0", "4"], ["0"], ["2"]]
    assert " ".join(told[3]).startswith("argument 'x' of scale() lies in memory of the host")
    launches = [line for line in shown if line.startswith("launch")]
    assert {line.rpartition(" ")[2] for line in launches} == {"default", "given"}


HEAD = """
import numpy as np
from jaxtyping import Float64
import hpacml

@hpacml.kernel
"""
CORNER = "def corner(x: Float64[np.ndarray, 'N']) -> float:\n    return x[0]\n"
COPIED = "def copied(x: Float64[np.ndarray, 'N']) -> Float64[np.ndarray, 'N']:\n    return x.copy()\n"


def test_what_is_refused(tmp_path: Path) -> None:
    output = tmp_path / "refused.o"
    with pytest.raises(hpacml.HpacmlError, match="unknown chip 'sm_9': the chips are sm_70"):
        hpacml.build(gpu_kernels.refuse, output, target="sm_9")
    with pytest.raises(hpacml.HpacmlError, match="unknown chip 'gfx90a'"):
        hpacml.build(gpu_kernels.refuse, output, target="gfx90a")
    with pytest.raises(hpacml.CompileError, match="a network is compiled in for the host alone, and sm_90 is a GPU"):
        hpacml.build(gpu_kernels.refuse, output, target="sm_90", standalone="net.safetensors")
    with pytest.raises(hpacml.CompileError, match="plain code is for runtimes of others"):
        hpacml.build(gpu_kernels.refuse, output, target="sm_90", plain=True)
    for name, text, message in (
        ("corner", CORNER, "'x' on the host"),
        ("copied", COPIED, "copied() returns an array, which a C function cannot"),
    ):
        (tmp_path / f"{name}.py").write_text(HEAD + text)
        with pytest.raises(hpacml.CompileError, match=re.escape(message)):
            hpacml.build(tmp_path / f"{name}.py", output, target="sm_90")
    assert not output.exists()


MODULE = """
func.func @add(%x: memref<?xf64>, %y: memref<?xf64>) {
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  %n = memref.dim %x, %zero : memref<?xf64>
  "scf.parallel"(%zero, %n, %one) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
  ^bb0(%i: index):
    %a = memref.load %x[%i] : memref<?xf64>
    %b = arith.addf %a, %a : f64
    memref.store %b, %y[%i] : memref<?xf64>
    scf.reduce
  }) : (index, index, index) -> ()
  func.return
}
"""


def test_a_module_by_the_command(tmp_path: Path) -> None:
    (tmp_path / "add.mlir").write_text(MODULE)
    command = "__import__('hpacml.tools.cli').tools.cli.main()"
    options = "build", "add.mlir", "-o", "libadd.so", "--header", "add.h", "--target", "sm_90"
    run(sys.executable, "-c", command, *options, cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert "void *stream);" in (tmp_path / "add.h").read_text()
    library, x = Library(tmp_path / "libadd.so"), np.ones(3)
    assert library("add", x, x, ctypes.c_void_p(None)) in (2, 4)
    assert "memory of the host" in library.error or "no CUDA driver" in library.error


def test_a_ptxas_that_does_not_know_the_chip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is found where CUDA is said to be; the driver is left to compile, which the log tells."""
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "ptxas"
    script.write_text("#!/bin/sh\necho \"ptxas fatal: Value 'sm_121' is not defined\" >&2\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", "/none")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    assert ptxas.find() == str(script)
    assert ptxas.assemble("no PTX", "sm_121") is None
    assert "makes no machine code for sm_121, so that the driver will (ptxas fatal: Value 'sm_121'" in caplog.text


@pytest.mark.skipif(ptxas.find() is None, reason="ptxas, of CUDA, is not here")
def test_without_ptxas_there_is_ptx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ptxas, "find", lambda: None)
    hpacml.build(gpu_kernels.refuse, tmp_path / "refuse.o", target="sm_90")
    code = (tmp_path / "refuse.o").read_bytes()
    assert b".target sm_90" in code
    assert b"\x7fELF" not in code[4:]
