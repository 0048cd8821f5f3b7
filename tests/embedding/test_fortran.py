"""Fortran modules of built libraries, compiled with gfortran: sections of arrays, kinds, texts, names."""

from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import Bool, Float32, Float64, Int8, UInt16

import hpacml
from hpacml.embedding import host_library
from hpacml.frontend.kernels_of_file import kernels_of_file
from tests.compilers import needs_gfortran, run


@hpacml.kernel
def weigh(a: Float64[np.ndarray, "N M"], b: Float64[np.ndarray, "N M"], w: float) -> float:
    total = 0.0
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            b[i, j] = w * a[i, j] + (100 * i + j)
            total += b[i, j]
    return total


@hpacml.kernel
def kinds(
    x: Float32[np.ndarray, "N"],
    X: Int8[np.ndarray, "N"],
    size: UInt16[np.ndarray, "N"],
    on: Bool[np.ndarray, "N"],
    status: np.int16,
    _k: bool,
) -> tuple[np.float32, bool, int]:
    for i in range(x.shape[0]):
        if on[i] == _k:
            X[i] = 7
            size[i] = size[i] + status
        on[i] = not on[i]
    return x[0], not _k, x.shape[0]


@hpacml.kernel
def cube(a: Float64[np.ndarray, "N M 2"], path: str):
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            a[i, j, 0] = 100 * i + 10 * j + a[i, j, 1]


PROGRAM = """
program main
  use, intrinsic :: iso_c_binding
  use hpacml_kernels
  implicit none
  type :: point
    real(c_double) :: x, y, z
  end type
  type :: odd
    sequence
    real(c_float) :: w(3)
  end type
  real(c_double) :: a(6, 7), b(6, 7), large(12, 21), total, c(3, 2, 2)
  type(point) :: points(6, 7)
  real(c_float) :: x(3), first
  integer(c_int8_t) :: signs(3)
  integer(c_int16_t) :: sizes(3)
  logical(c_bool) :: on(3)
  logical :: off
  integer(c_int64_t) :: n
  integer :: i, j
  do j = 1, 7
    do i = 1, 6
      a(i, j) = i + 10 * j
    end do
  end do
  points%x = a
  b = 0
  large = 0
  call show(weigh(a, b, 0.5d0, total), b)
  call show(weigh(a(6:1:-1, 7:1:-1), large(2:12:2, 21:1:-3), 0.5d0, total), large(2:12:2, 21:1:-3))
  call show(weigh(points%x, points%y, 0.5d0, total), points%y)
  call show(weigh(a(:, 7:6), b(:, 7:6), 0.5d0, total), b(1:1, 1:1))
  print '(i0, 1x, a)', weigh(a, b(1:5, :), 0.5d0, total), hpacml_error()
  x = [1.5, 2.5, 3.5]
  signs = 0_c_int8_t
  sizes = [10_c_int16_t, 20_c_int16_t, 30_c_int16_t]
  on = [.true._c_bool, .false._c_bool, .true._c_bool]
  print '(i0)', kinds(x, signs, sizes, on, 5_c_int16_t, .true., first, off, n)
  print '(f4.1, l2, i2, 3i2, 3i3, 3l2)', first, off, n, signs, sizes, on
  c = 1
  print '(i0)', cube(c, "somewhere")
  print '(12f6.1)', c
contains
  subroutine show(status, field)
    integer(c_int32_t), intent(in) :: status
    real(c_double), intent(in) :: field(:, :)
    print '(i0, f10.2, 42f8.2)', status, total, field
  end subroutine
end program
"""


@needs_gfortran
def test_sections_kinds_and_texts(tmp_path: Path) -> None:
    hpacml.build([weigh, kinds, cube], tmp_path / "kernels.o", fortran=tmp_path / "kernels.f90")
    (tmp_path / "main.f90").write_text(PROGRAM)
    checks = "-std=f2018", "-Wall", "-Wextra", "-Werror", "-fcheck=all", "-O1"
    files = "kernels.f90", "main.f90", "kernels.o"
    run("gfortran", *checks, *files, "-o", "main", *host_library.linker_flags(), cwd=tmp_path)
    lines = run("./main", cwd=tmp_path).stdout.splitlines()
    i, j = np.mgrid[1:7, 1:8]
    a = i + 10.0 * j
    for line, given in zip(lines, [a, a[::-1, ::-1], a], strict=False):
        b = np.zeros((6, 7))
        total = weigh.py_func(given, b, 0.5)
        status, *numbers = line.split()
        assert status == "0"
        np.testing.assert_array_equal([float(each) for each in numbers], [total, *b.ravel(order="F")])
    assert lines[3].split()[:2] == ["0", "0.00"]
    assert lines[4] == "2 'N' is 6 in dimension 0 of argument 'a' of weigh(), but 5 in dimension 0 of 'b'"
    assert lines[5:] == [
        "0",
        " 1.5 F 3 7 0 7 15 20 35 F T F",
        "0",
        "   1.0 101.0 201.0  11.0 111.0 211.0   1.0   1.0   1.0   1.0   1.0   1.0",
    ]


ODD = """
program main
  use, intrinsic :: iso_c_binding
  use hpacml_kernels
  implicit none
  type :: odd
    sequence
    real(c_double) :: x
    real(c_float) :: y
  end type
  type(odd) :: all(6, 7)
  type(odd) :: written(6, 7)
  real(c_double) :: total
  all%x = 1
  print '(i0, 2f10.2, 1x, a)', weigh(all%x, written%x, 0.5d0, total), total, sum(written%x), hpacml_error()
end program
"""


@needs_gfortran
def test_elements_between_parts_of_others(tmp_path: Path) -> None:
    """They are 12 bytes apart, which no stride tells: they are copied, there and back."""
    hpacml.build(weigh, tmp_path / "kernels.o", fortran=tmp_path / "kernels.f90")
    (tmp_path / "main.f90").write_text(ODD)
    flags = "-fpack-derived", "-w", *host_library.linker_flags()
    run("gfortran", "kernels.f90", "main.f90", "kernels.o", "-o", "main", *flags, cwd=tmp_path)
    told = run("./main", cwd=tmp_path).stdout
    total = weigh.py_func(np.ones((6, 7)), np.zeros((6, 7)), 0.5)
    assert told == f"0{total:10.2f}{total:10.2f} \n"


def test_names_that_fortran_does_not_tell_apart(tmp_path: Path) -> None:
    @hpacml.kernel
    def Weigh(x: float) -> float:
        return x

    @hpacml.kernel
    def _hidden(x: float) -> float:
        return x

    with pytest.raises(hpacml.CompileError, match=r"'Weigh' is the same name as that of weigh in Fortran"):
        hpacml.build([weigh, Weigh], tmp_path / "k.o", fortran=tmp_path / "k.f90")
    with pytest.raises(hpacml.CompileError, match=r"'_hidden' is no name that a function can have"):
        hpacml.build(_hidden, tmp_path / "k.o", fortran=tmp_path / "k.f90")
    with pytest.raises(hpacml.CompileError, match=r"'hpacml_a-b' is no name of a Fortran module"):
        hpacml.build(weigh, tmp_path / "k.o", fortran=tmp_path / "a-b.f90")
    assert not list(tmp_path.iterdir())


REGION = """
import numpy as np
from jaxtyping import Float32
import hpacml
from hpacml import approx

@hpacml.kernel
def relax(t: Float32[np.ndarray, "N M"], new: Float32[np.ndarray, "N M"], use_model: bool):
    N, M = t.shape
    approx("tensor functor(around: [i, j, 0:4] = ([i-1, j], [i+1, j], [i, j-1], [i, j+1]))")
    approx("tensor functor(point: [i, j, 0:1] = ([i, j]))")
    approx("tensor map(to: around(t[1:N-1, 1:M-1]))")
    approx("tensor map(from: point(new[1:N-1, 1:M-1]))")
    with approx("ml(predicated: use_model) in(t) out(new) model('net.safetensors') database('relax.h5')"):
        for i in range(1, N - 1):
            for j in range(1, M - 1):
                new[i, j] = 0.25 * (t[i - 1, j] + t[i + 1, j] + t[i, j - 1] + t[i, j + 1])
"""

ALONE = """
program main
  use, intrinsic :: iso_c_binding
  use hpacml_region
  implicit none
  real(c_float) :: t(9, 8), new(9, 8)
  integer :: i
  t = reshape([(real(mod(i * 7, 13), c_float), i = 1, 72)], [9, 8])
  new = 0
  print '(i0, a)', relax(t, new, .true.), hpacml_error()
  print '(72es16.8)', new
end program
"""


@needs_gfortran
def test_regions_in_the_order_of_fortran_stand_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The code itself tells that no two elements of an array in that order are the same: no judge is there."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 1)).eval()
    hpacml.save_model(network, "net.safetensors", example=torch.zeros(3, 4))
    (tmp_path / "region.py").write_text(REGION)
    (tmp_path / "main.f90").write_text(ALONE)
    hpacml.build("region.py", "region.o", fortran="region.f90", standalone="net.safetensors")
    run("gfortran", "region.f90", "main.f90", "region.o", "-o", "main", "-lm", cwd=tmp_path)
    status, numbers = run("./main", cwd=tmp_path).stdout.splitlines()
    assert status == "0"
    t = ((np.arange(1, 73) * 7) % 13).astype(np.float32).reshape(9, 8, order="F")
    (relax,) = kernels_of_file(tmp_path / "region.py").values()
    expected = np.zeros((9, 8), np.float32, order="F")
    relax(t, expected, True)
    found = np.array(numbers.split(), np.float32).reshape(9, 8, order="F")
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
    assert abs(expected[1:-1, 1:-1]).min() > 0
