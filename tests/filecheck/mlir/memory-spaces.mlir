// Arrays in other memory spaces: views keep theirs, and the runtime gets addresses that it can use.

// RUN: hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices,hpacml-fuse-gather-concat | filecheck %s
// RUN: hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices --print-op-generic | mlir-opt --verify-each --allow-unregistered-dialect | filecheck %s --check-prefix VIEWS
// RUN: hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices,hpacml-fuse-gather-concat --print-op-generic | mlir-opt --verify-each --allow-unregistered-dialect | filecheck %s --check-prefix VIEWS
// RUN: hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-loops --print-op-generic | mlir-opt --verify-each --allow-unregistered-dialect | filecheck %s --check-prefix VIEWS
// RUN: hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-loops,convert-hpacml-to-runtime --print-op-generic | %mlir_lower | filecheck %s --check-prefix LLVM
// RUN: hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices,convert-hpacml-to-loops,convert-hpacml-to-runtime --print-op-generic | %mlir_lower | filecheck %s --check-prefix LLVM
// RUN: hpacml-opt %s -p hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-gpu --print-op-generic | mlir-opt --verify-each --allow-unregistered-dialect | filecheck %s --check-prefix GPU

hpacml.functor @sides : [i, 0:2] = ([i - 1], [i + 1])
hpacml.functor @point : [i, 0:1] = ([i])
hpacml.functor @rows : [i] = ([i])

func.func @region(%t: memref<64xf64, 1>, %u: memref<64xf64, 1>, %idx: memref<64xi32, 1>, %n: index, %c: i1) {
  %a = hpacml.map to @sides(%t[1 : %n]) : memref<64xf64, 1> -> !hpacml.mapping<?x2xf64>
  %b = hpacml.map from @point(%u[1 : %n]) : memref<64xf64, 1> -> !hpacml.mapping<?x1xf64>
  %d = hpacml.map from @rows(%u[*%idx[1 : %n]]) : memref<64xf64, 1>, memref<64xi32, 1> -> !hpacml.mapping<?xf64>
  hpacml.ml predicated(%c) in(%a : !hpacml.mapping<?x2xf64>) out(%b, %d : !hpacml.mapping<?x1xf64>, !hpacml.mapping<?xf64>) label "r" model "m.pt2" database "d.h5" {
    %v = memref.load %t[%n] : memref<64xf64, 1>
    memref.store %v, %u[%n] : memref<64xf64, 1>
  }
  func.return
}

// The output is packed, but not where the model's result may be: it is scattered.

// CHECK-LABEL: func.func @region
// CHECK:         %t_1 = memref.reinterpret_cast %t {{.*}} to memref<?xf64, strided<[1]>, 1 : i64>
// CHECK:         %u_1 = memref.reinterpret_cast %u {{.*}} to memref<?xf64, strided<[1], offset: 1>, 1 : i64>
// CHECK:         scf.if %c {
// CHECK:           %y = memref.alloc
// CHECK:           scf.if %done {
// CHECK-NEXT:        hpacml.fused_scatter %u_1 from %y
// VIEWS-LABEL: func.func @region
// VIEWS:         strided<[1]>, 1>
// LLVM-LABEL:  llvm.func @region
// LLVM:          llvm.addrspacecast {{.*}} : !llvm.ptr<1> to !llvm.ptr

func.func @tensors(%u: memref<?xf64, 1>, %x: memref<?x1xf64, 1>, %n: index) {
  %b = hpacml.map inout @point(%u[1 : %n]) : memref<?xf64, 1> -> !hpacml.mapping<?x1xf64>
  hpacml.gather %b into %x : !hpacml.mapping<?x1xf64>, memref<?x1xf64, 1>
  hpacml.scatter %x into %b : memref<?x1xf64, 1>, !hpacml.mapping<?x1xf64>
  func.return
}

// LLVM-LABEL:  llvm.func @tensors
// GPU-LABEL:   func.func @tensors
// GPU:           gpu.launch
// GPU:             memref.load {{.*}} : memref<?xf64, strided<[1], offset: 1>, 1>

