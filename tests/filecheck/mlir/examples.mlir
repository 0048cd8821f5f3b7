// Every stage of the examples' IR is IR that upstream MLIR accepts.

// DEFINE: %{verify} = mlir-opt --verify-each --allow-unregistered-dialect

// RUN: hpacml-opt %S/../../../examples/heat2d/heat.py > %t.mlir
// RUN: hpacml-opt %t.mlir --print-op-generic | %{verify} | filecheck %s --check-prefix REGION
// RUN: hpacml-opt %t.mlir -p hpacml-expand-ml --print-op-generic | %{verify} | filecheck %s --check-prefix TENSORS
// RUN: hpacml-opt %t.mlir -p hpacml-expand-ml,hpacml-resolve-slices --print-op-generic | %{verify} | filecheck %s --check-prefix VIEWS
// RUN: hpacml-opt %t.mlir -p hpacml-expand-ml,hpacml-resolve-slices,hpacml-fuse-gather-concat --print-op-generic | %{verify} | filecheck %s --check-prefix VIEWS
// RUN: hpacml-opt %t.mlir -p hpacml-expand-ml,hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-loops --print-op-generic | %{verify} | filecheck %s --check-prefix VIEWS
// RUN: hpacml-opt %t.mlir -p hpacml-expand-ml,hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-loops,convert-hpacml-to-runtime --print-op-generic | mlir-opt --verify-each --canonicalize --cse | filecheck %s --check-prefix CALLS
// RUN: hpacml-opt %t.mlir -p hpacml-expand-ml,hpacml-resolve-slices,convert-hpacml-to-loops,convert-hpacml-to-runtime --print-op-generic | mlir-opt --verify-each --canonicalize --cse | filecheck %s --check-prefix CALLS

// RUN: hpacml-opt %S/../../../examples/binomial_options/app.py > %t.mlir
// RUN: hpacml-opt %t.mlir --print-op-generic | %{verify} | filecheck %s --check-prefix REGION
// RUN: hpacml-opt %t.mlir -p hpacml-expand-ml --print-op-generic | %{verify} | filecheck %s --check-prefix TENSORS
// RUN: hpacml-opt %t.mlir -p hpacml-expand-ml,hpacml-resolve-slices --print-op-generic | %{verify} | filecheck %s --check-prefix VIEWS
// RUN: hpacml-opt %t.mlir -p hpacml-expand-ml,hpacml-resolve-slices,hpacml-fuse-gather-concat --print-op-generic | %{verify} | filecheck %s --check-prefix VIEWS
// RUN: hpacml-opt %t.mlir -p hpacml-expand-ml,hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-loops --print-op-generic | %{verify} | filecheck %s --check-prefix VIEWS
// RUN: hpacml-opt %t.mlir -p hpacml-expand-ml,hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-loops,convert-hpacml-to-runtime --print-op-generic | mlir-opt --verify-each --canonicalize --cse | filecheck %s --check-prefix CALLS
// RUN: hpacml-opt %t.mlir -p hpacml-expand-ml,hpacml-resolve-slices,convert-hpacml-to-loops,convert-hpacml-to-runtime --print-op-generic | mlir-opt --verify-each --canonicalize --cse | filecheck %s --check-prefix CALLS

// REGION:    "hpacml.map"
// REGION:    "hpacml.ml"
// REGION:    scf.parallel

// TENSORS:   hpacml.map
// TENSORS:   scf.if
// TENSORS:   hpacml.gather
// TENSORS:   hpacml.infer
// TENSORS:   hpacml.collect

// VIEWS:     memref.reinterpret_cast
// VIEWS:     hpacml.infer
// VIEWS:     hpacml.collect

// CALLS-DAG: llvm.mlir.global private constant @hpacml_site_0
// CALLS-DAG: call @hpacml_infer
// CALLS-DAG: call @hpacml_collect
// CALLS-NOT: {{hpacml(_rt)?\.}}
