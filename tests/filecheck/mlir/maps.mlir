// All kinds of maps and regions: each stage's IR is accepted by upstream MLIR, and the last one becomes LLVM's.

// RUN: hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices --print-op-generic | mlir-opt --verify-each --allow-unregistered-dialect | filecheck %s --check-prefix VIEWS
// RUN: hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices,hpacml-fuse-gather-concat --print-op-generic | mlir-opt --verify-each --allow-unregistered-dialect | filecheck %s --check-prefix FUSED
// RUN: hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-loops --print-op-generic | mlir-opt --verify-each --allow-unregistered-dialect | filecheck %s --check-prefix LOOPS
// RUN: hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-loops,convert-hpacml-to-runtime --print-op-generic | mlir-opt --verify-each | filecheck %s --check-prefix CALLS
// RUN: hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-loops,convert-hpacml-to-runtime --print-op-generic | %mlir_lower | filecheck %s --check-prefix LLVM
// RUN: hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices,convert-hpacml-to-loops,convert-hpacml-to-runtime --print-op-generic | %mlir_lower | filecheck %s --check-prefix LLVM

// With a report, too.

// RUN: hpacml-opt %s -p 'hpacml-expand-ml{report=true},hpacml-resolve-slices' --print-op-generic | mlir-opt --verify-each --allow-unregistered-dialect | filecheck %s --check-prefix VIEWS
// RUN: hpacml-opt %s -p 'hpacml-expand-ml{report=true},hpacml-resolve-slices,hpacml-fuse-gather-concat' --print-op-generic | mlir-opt --verify-each --allow-unregistered-dialect | filecheck %s --check-prefix FUSED
// RUN: hpacml-opt %s -p 'hpacml-expand-ml{report=true},hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-loops' --print-op-generic | mlir-opt --verify-each --allow-unregistered-dialect | filecheck %s --check-prefix LOOPS
// RUN: hpacml-opt %s -p 'hpacml-expand-ml{report=true},hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-loops,convert-hpacml-to-runtime' --print-op-generic | mlir-opt --verify-each | filecheck %s --check-prefix CALLS
// RUN: hpacml-opt %s -p 'hpacml-expand-ml{report=true},hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-loops,convert-hpacml-to-runtime' --print-op-generic | %mlir_lower | filecheck %s --check-prefix LLVM

hpacml.functor @stencil : [i, j, 0:5] = ([i - 1, j], [i + 1, j], [i, j - 1 : j + 2])
hpacml.functor @point : [i, j] = ([i, j])
hpacml.functor @block(m) : [i, 0:m] = ([i * m : i * m + m])
hpacml.functor @channels : [0:2, i, f] = ([i, 0:3], [i + 1, 0:3])
hpacml.functor @mixed : [i, 0:4] = ([i], [i], [i], [0])
hpacml.functor @reversed : [i, 0:3] = ([3 * i + 2 : 3 * i - 1 : -1])
hpacml.functor @scalar : [0:1] = ([])

func.func @regions(%t: memref<?x?xf32, strided<[?, ?], offset: ?>>, %u: memref<?x?xf32>, %n: index, %m: index, %c: i1, %d: i1) {
  %in = hpacml.map to @stencil(%t[1 : %n, 1 : %m]) : memref<?x?xf32, strided<[?, ?], offset: ?>> -> !hpacml.mapping<?x?x5xf32>
  %out = hpacml.map from @point(%u[1 : %n, 1 : %m]) : memref<?x?xf32> -> !hpacml.mapping<?x?xf32>
  %io = hpacml.map inout @point(%u[%n : 0 : -1, 3]) : memref<?x?xf32> -> !hpacml.mapping<?x1xf32>
  hpacml.ml predicated(%c) if(%d) in(%in : !hpacml.mapping<?x?x5xf32>) out(%out : !hpacml.mapping<?x?xf32>) inout(%io : !hpacml.mapping<?x1xf32>) label "r" model "m.pt2" batch 64 database @base {
    %zero = arith.constant 0.0 : f32
    memref.store %zero, %u[%n, %m] : memref<?x?xf32>
  }
  func.return
}

// VIEWS-LABEL: func.func @regions
// VIEWS:         scf.if
// VIEWS:           hpacml.pack
// VIEWS:           hpacml.infer
// VIEWS:           hpacml.collect
// VIEWS:           hpacml.body
// FUSED-LABEL: func.func @regions
// FUSED:         hpacml.fused_gather
// FUSED:         hpacml.infer
// LOOPS-LABEL: func.func @regions
// LOOPS:         scf.parallel
// LOOPS-NOT:     hpacml.pack
// LOOPS-NOT:     hpacml.fused
// CALLS-LABEL: func.func @regions
// CALLS:         call @hpacml_check_map
// CALLS:         call @hpacml_infer
// CALLS:         call @hpacml_collect
// LLVM-LABEL:  llvm.func @regions
// LLVM:          llvm.call @hpacml_check_map
// LLVM:          llvm.call @hpacml_infer
// LLVM:          llvm.call @hpacml_collect

func.func @shapes(%a: memref<?xf32>, %b: memref<8x3xf64>, %h: memref<?xf16>, %g: memref<?xbf16>, %u: memref<?xi8>, %z: memref<f64>, %n: index, %k: index) {
  %blocks = hpacml.map inout @block(%a[0 : %n]) params(%k) : memref<?xf32> -> !hpacml.mapping<?x?xf32>
  %channels = hpacml.map to @channels(%b[0 : 7, 0 : 3]) : memref<8x3xf64> -> !hpacml.mapping<2x7x3xf64>
  %mixed = hpacml.map to @mixed(%h[0 : %n], %g[0 : %n : 2], %u[2 : 3], %a[0]) : memref<?xf16>, memref<?xbf16>, memref<?xi8>, memref<?xf32> -> !hpacml.mapping<?x4xf32>
  %reversed = hpacml.map to @reversed(%u[0 : 5]) : memref<?xi8> -> !hpacml.mapping<5x3xi8>
  %scalar = hpacml.map inout @scalar(%z[]) : memref<f64> -> !hpacml.mapping<1xf64>
  hpacml.ml collect in(%channels, %mixed, %reversed : !hpacml.mapping<2x7x3xf64>, !hpacml.mapping<?x4xf32>, !hpacml.mapping<5x3xi8>) inout(%blocks, %scalar : !hpacml.mapping<?x?xf32>, !hpacml.mapping<1xf64>) label "shapes" sample <every: 10, fraction: 1.0e-05, seed: 1> units <a: "K"> {
    %one = arith.constant 1 : index
    %v = memref.load %a[%one] : memref<?xf32>
    memref.store %v, %a[%n] : memref<?xf32>
  }
  hpacml.ml infer in(%channels, %mixed, %reversed : !hpacml.mapping<2x7x3xf64>, !hpacml.mapping<?x4xf32>, !hpacml.mapping<5x3xi8>) inout(%blocks, %scalar : !hpacml.mapping<?x?xf32>, !hpacml.mapping<1xf64>) label "shapes" model @net {
    %unused = arith.constant 1 : index
  }
  func.return
}

// VIEWS-LABEL: func.func @shapes
// FUSED-LABEL: func.func @shapes
// FUSED:         hpacml.fused_gather
// LOOPS-LABEL: func.func @shapes
// LOOPS:         arith.extf {{.*}} : f16 to f32
// LOOPS:         arith.extf {{.*}} : bf16 to f32
// LOOPS:         arith.uitofp {{.*}} : i8 to f32
// CALLS-LABEL: func.func @shapes
// CALLS:         call @hpacml_sample
// CALLS:         call @shapes_body
// LLVM-LABEL:  llvm.func @shapes
// LLVM:          llvm.call @hpacml_sample

// A DSL compiler's use: no region, only tensors.

func.func @tensors(%t: memref<?x?xf32>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.for %k = %c0 to %n step %c1 {
    %m = hpacml.map inout @point(%t[0 : %n, %k]) : memref<?x?xf32> -> !hpacml.mapping<?x1xf32>
    %x = hpacml.tensor fresh %m : !hpacml.mapping<?x1xf32> -> memref<?x1xf32>
    hpacml.gather %m into %x : !hpacml.mapping<?x1xf32>, memref<?x1xf32>
    %v = memref.load %x[%c0, %c0] : memref<?x1xf32>
    memref.store %v, %x[%c1, %c0] : memref<?x1xf32>
    hpacml.scatter %x into %m : memref<?x1xf32>, !hpacml.mapping<?x1xf32>
  }
  func.return
}

// VIEWS-LABEL: func.func @tensors
// FUSED-LABEL: func.func @tensors
// LOOPS-LABEL: func.func @tensors
// LOOPS:         scf.for
// LOOPS:           scf.parallel
// LOOPS:           memref.store
// LOOPS:           scf.parallel
// CALLS-LABEL: func.func @tensors
// CALLS-NOT:   {{hpacml(_rt)?\.}}
// LLVM-LABEL:  llvm.func @tensors
// LLVM-NOT:    memref.
// LLVM-NOT:    unrealized_conversion_cast
