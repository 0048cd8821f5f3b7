"""Lowered modules as objects of one program, against another runtime: what a module defines for itself is its own."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from llvmlite import binding
from xdsl.parser import Parser

from hpacml.backend import llvm, mlir
from hpacml.pipelines import generic_text, make_context, run_passes
from hpacml.runtime.arrays.protocols import array_view
from hpacml.runtime.arrays.views import descriptor

MODULE = """
hpacml.functor @point : [i] = ([i])

func.func @{name}(%t: memref<?xf64>, %n: index, %c: i1) attributes {{llvm.emit_c_interface}} {{
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %a = hpacml.map inout @point(%t[0 : %n]) : memref<?xf64> -> !hpacml.mapping<?xf64>
  hpacml.ml predicated(%c) inout(%a : !hpacml.mapping<?xf64>) label "r" model "m.pt2" database "d.h5" {{
    scf.for %i = %c0 to %n step %c1 {{
      %v = memref.load %t[%i] : memref<?xf64>
      %step = arith.constant {step} : f64
      %w = arith.addf %v, %step : f64
      memref.store %w, %t[%i] : memref<?xf64>
    }}
  }}
  func.return
}}
"""

RUNTIME = """
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
char said[4][4096]; int calls;
static void say(const char *site) { strcpy(said[calls++ & 3], site); }
void *_mlir_memref_to_llvm_alloc(int64_t bytes) { return malloc(bytes ? bytes : 1); }
void _mlir_memref_to_llvm_free(void *p) { free(p); }
void hpacml_check_map(const char *site, int64_t *numbers, void **arrays) { abort(); }
int32_t hpacml_infer_on_views(const char *site, const char *views, void **memory) { return 0; }
int32_t hpacml_infer(const char *site, void **tensors) { say(site); return 0; }
void hpacml_collect(const char *site, void **tensors, double ms) { say(site); }
double hpacml_time_ms(void) { return 0.0; }
int64_t hpacml_time_ns(void) { return 0; }
void hpacml_record(const char *site, void *word, int64_t n, int64_t *times, int64_t *bytes) { ++*(int64_t *)word; }
"""


def object_of(text: str, report: bool) -> bytes:
    """Object code, in which nothing is hidden but what the module hides itself."""
    module = run_passes(Parser(make_context(), text).parse_module(), report=report)
    llvm.host()
    machine = llvm._target_machine()
    return machine.emit_object(binding.parse_assembly(mlir.lower(generic_text(module))))


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
@pytest.mark.parametrize("report", [False, True])
def test_modules_with_one_label_link_into_one_program(tmp_path: Path, report: bool) -> None:
    steps = {"one": 1.0, "two": 2.0, "r_body_": 4.0}
    objects = [tmp_path / f"{name}.o" for name in steps]
    for file, (name, step) in zip(objects, steps.items(), strict=True):
        file.write_bytes(object_of(MODULE.format(name=name, step=step), report))
    runtime = tmp_path / "runtime.c"
    runtime.write_text(RUNTIME)
    program = tmp_path / "program.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", program, *objects, runtime, "-lm"], check=True)
    library = ctypes.CDLL(str(program))
    said = ((ctypes.c_char * 4096) * 4).in_dll(library, "said")
    for name, step in steps.items():
        for inferring in (True, False):
            t = np.arange(5.0)
            view = descriptor(array_view(t, "t"))
            ctypes.c_int.in_dll(library, "calls").value = 0
            library[f"_mlir_ciface_{name}"](ctypes.byref(view), ctypes.c_int64(5), ctypes.c_bool(inferring))
            np.testing.assert_array_equal(t, np.arange(5.0) + step)
            assert b'"infer"' in said[0].value if inferring else b'"collect"' in said[0].value
