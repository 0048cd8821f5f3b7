"""Parallel loops in processes that fork, that never import Torch, or that have OpenMP of their own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests import faults


def test_the_number_of_threads_is_that_of_torch_else_of_openmp(tmp_path: Path) -> None:
    source = """
    from tests.frontend.orbits import threads_of_a_run
    assert threads_of_a_run() == 3
    assert "torch" not in sys.modules
    assert sum("libgomp" in line for line in open("/proc/self/maps")) > 0
    import torch
    torch.set_num_threads(2)
    found = []
    thread = threading.Thread(target=lambda: found.append(threads_of_a_run()))
    thread.start()
    thread.join()
    assert found == [1], found
    """
    faults.succeed(source, tmp_path, OMP_NUM_THREADS="4")


def test_forked_processes_run_on_one_thread(tmp_path: Path) -> None:
    source = """
    import multiprocessing
    from tests.frontend.orbits import run, threads_of_a_run
    early = multiprocessing.get_context("fork").Pool(2)  # its processes load the kernel themselves
    run()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(threads_of_a_run, range(4)) == [0] * 4
    with early as pool:
        assert pool.map(threads_of_a_run, range(4)) == [0] * 4
    run()
    """
    faults.succeed(source, tmp_path, OMP_NUM_THREADS="3")


def test_a_program_with_openmp_of_its_own_around_python(tmp_path: Path) -> None:
    """Its threads run as before, and loops of kernels run on the library that it has loaded."""
    library = sysconfig.get_config_var("LIBDIR"), f"python{sysconfig.get_config_var('VERSION')}"
    include = Path(sysconfig.get_path("include"))
    if shutil.which("gcc") is None or not (include / "Python.h").exists():
        pytest.skip("needs gcc and the headers of Python")
    source, program = tmp_path / "host.c", tmp_path / "host"
    source.write_text(HOST)
    command = ["gcc", "-fopenmp", f"-I{include}", source, "-o", program, f"-L{library[0]}", f"-l{library[1]}"]
    built = subprocess.run([*command, f"-Wl,-rpath,{library[0]}"], capture_output=True, text=True)
    if built.returncode:
        pytest.skip(f"gcc makes no program with OpenMP and Python: {built.stderr.splitlines()[-1]}")
    environment = {"PYTHONPATH": ":".join(sys.path), "OMP_NUM_THREADS": "3", "PATH": "/usr/bin:/bin"}
    ended = subprocess.run([program], capture_output=True, text=True, env=environment, cwd=faults.REPOSITORY)
    assert (ended.returncode, ended.stdout) == (0, "3 0 3 3 done\n"), ended.stderr


HOST = r"""
#include <Python.h>
#include <omp.h>

static int sum(void) {
  int found = 0;
#pragma omp parallel reduction(+ : found)
  found += 1;
  return found;
}

int main(void) {
  Py_Initialize();
  printf("%d ", sum());
  fflush(stdout);
  if (PyRun_SimpleString("from tests.frontend.orbits import run, threads_of_a_run\n"
                         "print(threads_of_a_run(), end=' ', flush=True)"))
    return 1;
  printf("%d ", sum());
  int inside = 0;
#pragma omp parallel
#pragma omp single
  inside = omp_get_num_threads();
  printf("%d ", inside);
  fflush(stdout);
  if (PyRun_SimpleString("import torch; run(); print('done', flush=True)"))
    return 1;
  return Py_FinalizeEx();
}
"""
