"""Several kernels of one file, with functors and labels of the same names, through whole pipelines and upstream MLIR."""

# RUN: hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-loops,convert-hpacml-to-runtime --print-op-generic | %mlir_lower | filecheck %s
# RUN: hpacml-opt %s -p hpacml-expand-ml{report=true},hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-loops,convert-hpacml-to-runtime --print-op-generic | mlir-opt --verify-each | filecheck %s --check-prefix REPORT
# RUN: hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-gpu,hpacml-refuse-host-accesses,convert-hpacml-to-loops,convert-hpacml-to-runtime --print-op-generic | mlir-opt --verify-each | filecheck %s --check-prefix GPU
# RUN: not hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-gpu,hpacml-refuse-host-accesses,convert-hpacml-to-loops,convert-hpacml-to-runtime -t ptx 2>&1 | filecheck %s --check-prefix PTX

# CHECK:       module @first {
# CHECK:         llvm.mlir.global private constant @hpacml_site_0(
# CHECK:         llvm.func @first(
# CHECK:         llvm.func internal @r_body(
# CHECK:       module @second {
# CHECK:         llvm.func @second(
# CHECK:       module @again {
# CHECK:         llvm.mlir.global private constant @hpacml_site_0(
# CHECK:         llvm.func @second(
# CHECK:         llvm.func internal @r_body(
# REPORT:      module @again {
# REPORT:        @hpacml_counters_6
# GPU:         module @first {
# GPU:           gpu.launch {{.*}} module(@first_gather_0) function(@first_gather_0)
# GPU:         module @again {
# GPU:           gpu.launch {{.*}} module(@second_gather_0) function(@second_gather_0)
# PTX:         assembly is made of one module, and this one holds others ("first", "second", "again")

from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int32

import hpacml
from hpacml import approx


@hpacml.kernel
def first(t: Float32[np.ndarray, "n"], new: Float32[np.ndarray, "n"], use_model: bool):
    n = t.shape[0]
    approx("tensor functor(f: [i, 0:2] = ([i - 1], [i + 1]))")
    approx("tensor functor(g: [i] = ([i]))")
    with approx(
        "ml(predicated: use_model) in(f(t[1 : n - 1])) out(g(new[1 : n - 1])) label('r') model('m.pt2') database('d.h5')"
    ):
        for i in hpacml.prange(1, n - 1):
            new[i] = t[i - 1] + t[i + 1]


@hpacml.kernel
def second(t: Float64[np.ndarray, "n"], idx: Int32[np.ndarray, "n"], net: Any):
    approx("tensor functor(f: [i] = ([i]))")
    with approx("ml(infer) inout(f(t[idx[0:4]])) label('r') model(net)"):
        t[0] = 0.0


alias, again = first, second


@hpacml.kernel
def second(t: Float64[np.ndarray, "n"]):
    for i in hpacml.prange(t.shape[0]):
        t[i] = 2.0
