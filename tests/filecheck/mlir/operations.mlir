// Upstream MLIR takes the generic form of every operation, and what it prints is read again: names of values are lost.

// RUN: hpacml-opt %S/../dialects/hpacml/ops.mlir --print-op-generic | mlir-opt --allow-unregistered-dialect --mlir-print-op-generic --mlir-print-local-scope | hpacml-opt | filecheck %s

// RUN: hpacml-opt %S/../dialects/hpacml_rt/ops.mlir --print-op-generic | mlir-opt --allow-unregistered-dialect --mlir-print-op-generic --mlir-print-local-scope | hpacml-opt | filecheck %s --check-prefix RT

// CHECK:       hpacml.functor @stencil : [i, j, 0:5] = ([i - 1, j], [i + 1, j], [i, j - 1 : j + 2])
// CHECK-LABEL: func.func @regions
// CHECK:         hpacml.ml predicated({{%arg[0-9]+}}) if({{%arg[0-9]+}}) in({{%[0-9]+, %[0-9]+}} : !hpacml.mapping<?x?x1xf32>, !hpacml.mapping<?x?x1xf32>) out({{.*}}) inout({{.*}}) label "most" model "m.pt2" batch 4096 on_error "raise" database "d.h5" sample <fraction: 1.0e-05, seed: 42, most: 1000> units <t: "\C2\B0C", "gr\C3\B6\C3\9Fe": "m/s \22"> attributes {note = "kept"} {
// CHECK-NEXT:      hpacml.ml infer if({{%arg[0-9]+}}) in({{.*}}) out({{.*}}) label "inner" model @net batch 0 on_error "accurate" database @base {
// CHECK-LABEL: func.func @texts
// CHECK:         hpacml.ml collect inout({{.*}}) label "W\C3\A4rme" model "gr\C3\B6\C3\9Fe/\E6\A8\A1\E5\9E\8B.pt2" database "\C3\A9.h5" units <"gr\C3\B6\C3\9Fe": "\C2\B0C"> {
// CHECK:         hpacml.infer "W\C3\A4rme" model "gr\C3\B6\C3\9Fe/\E6\A8\A1\E5\9E\8B.pt2" maps ["gr\C3\B6\C3\9Fe(t)", "f(t)"]

// RT-LABEL: func.func @checks
// RT:         hpacml_rt.check_map {{%arg[0-9]+}} from "f: [i] = ([i])" names ["x", "idx"] targets [#hpacml.target<[*[0 : ?]]>]
// RT-LABEL: func.func @texts
// RT:         hpacml_rt.record "W\C3\A4rme" "body" ["body"]
