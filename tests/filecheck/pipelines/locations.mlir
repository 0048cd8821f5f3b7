// What is made of an operation comes from where the operation comes from; so does an error about it. Python's lines are
// the places of what kernels become.

// RUN: hpacml-opt %s --split-input-file --print-debuginfo -p hpacml-expand-ml,hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-loops,convert-hpacml-to-runtime,hpacml-outline-parallel-loops,hpacml-keep-branches,hpacml-version-in-place,hpacml-mask-divisions,hpacml-expand-functions,hpacml-roll-remainders --verify-diagnostics | filecheck %s
// RUN: hpacml-opt %s --split-input-file --print-debuginfo | hpacml-opt --split-input-file --print-debuginfo | filecheck %s --check-prefix AGAIN
// RUN: hpacml-opt %S/../../../docs/smooth.py --print-debuginfo | filecheck %s --check-prefix PYTHON

hpacml.functor @f : [i] = ([i])
func.func @gather(%t: memref<9xf32>, %x: memref<9xf32>) {
  %in = hpacml.map to @f(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32> loc("heat.py":3:4)
  hpacml.gather %in into %x : !hpacml.mapping<9xf32>, memref<9xf32> loc("heat.py":5:6)
  func.return
}

// CHECK-LABEL: func.func @gather
// CHECK:         scf.for
// CHECK:           %[[v:.*]] = memref.load %{{.*}}[%{{.*}}] : {{.*}} loc("heat.py":5:6)
// CHECK-NEXT:      memref.store %[[v]], %x[%{{.*}}] : memref<9xf32> loc("heat.py":5:6)
// CHECK-NEXT:    } {loop_annotation = {{.*}}} loc("heat.py":5:6)

// AGAIN:       hpacml.map to @f(%t[0 : 9]) {{.*}} loc("heat.py":3:4)
// PYTHON:      hpacml.map {{.*}} loc("{{.*}}smooth.py":{{[0-9]+}}:{{[0-9]+}})

// -----

hpacml.functor @f : [i] = ([i])
func.func @region(%t: memref<9xf32>) {
  %in = hpacml.map inout @f(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  hpacml.ml infer inout(%in : !hpacml.mapping<9xf32>) label "r" on_error "raise" {
    "test.op"() : () -> () loc("heat.py":8:9)
  } loc("heat.py":7:8)
  func.return
}

// CHECK-LABEL: func.func @region
// CHECK:         llvm.mlir.addressof @hpacml_site_0 : !llvm.ptr loc("heat.py":7:8)
// CHECK-NEXT:    func.call @hpacml_infer(%{{.*}}, %{{.*}}) : (!llvm.ptr, !llvm.ptr) -> i32 loc("heat.py":7:8)

// -----

func.func @argument(%a: !hpacml.mapping<9xf32>, %x: memref<9xf32>) {
  hpacml.gather %a into %x : !hpacml.mapping<9xf32>, memref<9xf32> loc("heat.py":11:12)
  func.return
}

// CHECK:       heat.py:11:12: hpacml.gather takes a mapping that is an argument of a block or function
