// The whole lowering of one region, with and without fusing, by our tool and by plain xdsl-opt.

// RUN: hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-loops,convert-hpacml-to-runtime,hpacml-outline-parallel-loops,hpacml-keep-branches,hpacml-version-in-place,hpacml-mask-divisions,hpacml-expand-functions,hpacml-roll-remainders | filecheck %s
// RUN: xdsl-opt %s -p hpacml-expand-ml,hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-loops,convert-hpacml-to-runtime,hpacml-outline-parallel-loops,hpacml-keep-branches,hpacml-version-in-place,hpacml-mask-divisions,hpacml-expand-functions,hpacml-roll-remainders | filecheck %s
// RUN: hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices,convert-hpacml-to-loops,convert-hpacml-to-runtime,hpacml-outline-parallel-loops,hpacml-keep-branches,hpacml-version-in-place,hpacml-mask-divisions,hpacml-expand-functions,hpacml-roll-remainders | filecheck %s --check-prefix UNFUSED
// RUN: hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-loops,convert-hpacml-to-runtime,hpacml-outline-parallel-loops,hpacml-keep-branches,hpacml-version-in-place,hpacml-mask-divisions,hpacml-expand-functions,hpacml-roll-remainders --print-op-generic | mlir-opt --verify-each | filecheck %s --check-prefix UPSTREAM

hpacml.functor @sides : [i, 0:2] = ([i - 1], [i + 1])
hpacml.functor @point : [i] = ([i])
func.func @smooth(%t: memref<?xf32>, %new: memref<?xf32>, %n: index, %c: i1) {
  %in = hpacml.map to @sides(%t[1 : %n]) : memref<?xf32> -> !hpacml.mapping<?x2xf32>
  %out = hpacml.map from @point(%new[1 : %n]) : memref<?xf32> -> !hpacml.mapping<?xf32>
  hpacml.ml predicated(%c) in(%in : !hpacml.mapping<?x2xf32>) out(%out : !hpacml.mapping<?xf32>) label "smooth" model "m.pt2" database "d.h5" {
    %zero = arith.constant 0.0 : f32
    memref.store %zero, %new[%n] : memref<?xf32>
  }
  func.return
}

// CHECK-DAG:   llvm.mlir.global private constant @hpacml_site_0
// CHECK:       func.func @smooth
// CHECK:       func.call @hpacml_check_map
// CHECK:       scf.if %c
// One nest reads both slices and fills the tensor in order.
// CHECK:         "scf.parallel"
// CHECK:           memref.load %t_1
// CHECK:           memref.load %t_2
// The output is packed memory: the model writes into it, and nothing is scattered.
// CHECK-NOT:     memref.alloc
// CHECK:         func.call @hpacml_infer
// CHECK:       } else {
// CHECK:         func.call @hpacml_time_ms
// CHECK-NEXT:    func.call @smooth_body
// CHECK-NEXT:    func.call @hpacml_time_ms
// CHECK:         func.call @hpacml_collect
// CHECK:       func.func private @smooth_body
// CHECK-NOT:   {{hpacml(_rt)?\.}}

// A nest for each slice, and one that scatters.
// UNFUSED:     scf.if %c
// UNFUSED:       memref.load %t_1
// UNFUSED:       "scf.parallel"
// UNFUSED:       memref.load %t_2
// UNFUSED:       func.call @hpacml_infer
// UNFUSED:       memref.store {{.*}}, %new_1

// UPSTREAM:    call @hpacml_infer
