// Indirect targets of all kinds: each stage's IR is accepted by upstream MLIR, and the last one becomes LLVM's.

// RUN: hpacml-opt %s -p hpacml-expand-ml --print-op-generic | mlir-opt --verify-each --allow-unregistered-dialect | filecheck %s --check-prefix MAPS
// RUN: hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices --print-op-generic | mlir-opt --verify-each --allow-unregistered-dialect | filecheck %s --check-prefix VIEWS
// RUN: hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices,hpacml-fuse-gather-concat --print-op-generic | mlir-opt --verify-each --allow-unregistered-dialect | filecheck %s --check-prefix FUSED
// RUN: hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices,convert-hpacml-to-loops --print-op-generic | mlir-opt --verify-each --allow-unregistered-dialect | filecheck %s --check-prefix LOOPS
// RUN: hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-loops --print-op-generic | mlir-opt --verify-each --allow-unregistered-dialect | filecheck %s --check-prefix LOOPS
// RUN: hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices,convert-hpacml-to-loops,convert-hpacml-to-runtime --print-op-generic | mlir-opt --verify-each --canonicalize --cse | filecheck %s --check-prefix CALLS
// RUN: hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-loops,convert-hpacml-to-runtime --print-op-generic | mlir-opt --verify-each --canonicalize --cse | filecheck %s --check-prefix CALLS
// RUN: hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices,convert-hpacml-to-loops,convert-hpacml-to-runtime --print-op-generic | %mlir_lower | filecheck %s --check-prefix LLVM
// RUN: hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-loops,convert-hpacml-to-runtime --print-op-generic | %mlir_lower | filecheck %s --check-prefix LLVM
// RUN: hpacml-opt %s -p 'hpacml-expand-ml{report=true},hpacml-resolve-slices,convert-hpacml-to-loops,convert-hpacml-to-runtime' --print-op-generic | %mlir_lower | filecheck %s --check-prefix LLVM

hpacml.functor @rows : [i, 0:3] = ([i, 0:3])
hpacml.functor @point : [i] = ([i])
hpacml.functor @table : [i, j] = ([i, j])
hpacml.functor @diagonal : [i] = ([i, i])
hpacml.functor @mixed : [i, 0:4] = ([i], [i], [i], [i])
hpacml.functor @block(m) : [i, 0:m] = ([i * m : i * m + m])

// One region with rows, nested indices and two outputs of which one is indirect.

func.func @region(%pos: memref<?x3xf32, strided<[?, ?], offset: ?>>, %force: memref<?x3xf32>, %energy: memref<?xf32>, %data: memref<?xf64>,
                  %idx: memref<?xi32>, %jdx: memref<?xi64, strided<[?], offset: ?>>, %kdx: memref<20xi8>, %n: index, %c: i1) {
  %in = hpacml.map to @rows(%pos[*%idx[0 : %n], 0 : 3]) : memref<?x3xf32, strided<[?, ?], offset: ?>>, memref<?xi32> -> !hpacml.mapping<?x3xf32>
  %nested = hpacml.map to @point(%data[*%jdx[*%kdx[0 : 20 : 2]]]) : memref<?xf64>, memref<?xi64, strided<[?], offset: ?>>, memref<20xi8> -> !hpacml.mapping<10xf64>
  %out = hpacml.map from @rows(%force[*%idx[0 : %n], 0 : 3]) : memref<?x3xf32>, memref<?xi32> -> !hpacml.mapping<?x3xf32>
  %sum = hpacml.map from @point(%energy[0 : %n]) : memref<?xf32> -> !hpacml.mapping<?xf32>
  hpacml.ml predicated(%c) in(%in, %nested : !hpacml.mapping<?x3xf32>, !hpacml.mapping<10xf64>) out(%sum, %out : !hpacml.mapping<?xf32>, !hpacml.mapping<?x3xf32>) label "region" model "m.pt2" database "d.h5" {
    %zero = arith.constant 0.0 : f32
    memref.store %zero, %energy[%n] : memref<?xf32>
  }
  func.return
}

// MAPS-LABEL:  func.func @region
// MAPS:          hpacml_rt.check_indices
// MAPS:          hpacml.infer
// VIEWS-LABEL: func.func @region
// VIEWS:         hpacml_rt.in_bounds
// VIEWS:         hpacml_rt.distinct
// VIEWS:         hpacml.infer
// FUSED-LABEL: func.func @region
// FUSED:         hpacml.indirect
// FUSED:         hpacml.fused_gather
// LOOPS-LABEL: func.func @region
// LOOPS-NOT:     hpacml.indirect
// LOOPS-NOT:     hpacml_rt.in_bounds
// LOOPS-NOT:     hpacml_rt.distinct
// LOOPS:         memref.extract_aligned_pointer_as_index
// CALLS-LABEL: func.func @region
// CALLS:         arith.cmpi ult
// CALLS:         call @hpacml_check_map
// CALLS:         call @hpacml_infer
// CALLS:         call @hpacml_collect
// LLVM-LABEL:  llvm.func @region
// LLVM:          llvm.icmp "ult"
// LLVM:          llvm.call @hpacml_check_map({{.*}}) : (!llvm.ptr, !llvm.ptr, !llvm.ptr) -> ()
// LLVM:          llvm.call @hpacml_infer
// LLVM:          llvm.call @hpacml_collect

// Several index arrays, tables of indices, direct and indirect slices of one array, other types, parameters, an array
// indexed by itself, and indices that are trusted.

func.func @shapes(%t: memref<8x9xf64>, %a: memref<?xf32>, %h: memref<?xf16>, %g: memref<?xbf16>, %u: memref<?xi8>, %i: memref<?xi32>, %s: memref<?xi32>, %l: memref<4x5xi64>,
                  %n: index, %k: index) {
  %two = hpacml.map inout @diagonal(%t[*%i[0 : 5], *%u[0 : 5]]) : memref<8x9xf64>, memref<?xi32>, memref<?xi8> -> !hpacml.mapping<5xf64>
  %all = hpacml.map to @table(%t[*%i[0 : %n], *%u[0 : %k]]) : memref<8x9xf64>, memref<?xi32>, memref<?xi8> -> !hpacml.mapping<?x?xf64>
  %of = hpacml.map inout @table(%a[*%l[0 : 4, 0 : 5]]) : memref<?xf32>, memref<4x5xi64> -> !hpacml.mapping<4x5xf32>
  %mixed = hpacml.map inout @mixed(%h[*%i[0 : %n]], %g[0 : %n : 2], %a[*%u[0 : %n]], %a[%k : %n]) : memref<?xf16>, memref<?xi32>, memref<?xbf16>, memref<?xf32>, memref<?xi8>, memref<?xf32> -> !hpacml.mapping<?x4xf32>
  %blocks = hpacml.map inout @block(%a[*%i[0 : %n]]) params(%k) : memref<?xf32>, memref<?xi32> -> !hpacml.mapping<?x?xf32>
  %itself = hpacml.map inout @point(%s[*%s[0 : %n]]) : memref<?xi32>, memref<?xi32> -> !hpacml.mapping<?xi32>
  %trusted = hpacml.map inout @point(%a[*%i[0 : %n]]) unchecked : memref<?xf32>, memref<?xi32> -> !hpacml.mapping<?xf32>
  hpacml.ml infer in(%all : !hpacml.mapping<?x?xf64>) inout(%two, %of, %mixed, %blocks, %itself, %trusted : !hpacml.mapping<5xf64>, !hpacml.mapping<4x5xf32>, !hpacml.mapping<?x4xf32>, !hpacml.mapping<?x?xf32>, !hpacml.mapping<?xi32>, !hpacml.mapping<?xf32>) label "shapes" {
    %unused = arith.constant 1 : index
  }
  func.return
}

// MAPS-LABEL:  func.func @shapes
// VIEWS-LABEL: func.func @shapes
// FUSED-LABEL: func.func @shapes
// FUSED:         hpacml.fused_gather
// FUSED:         hpacml.fused_scatter
// LOOPS-LABEL: func.func @shapes
// LOOPS:         arith.extui {{.*}} : i8 to i64
// LOOPS:         scf.parallel
// LOOPS-NOT:     hpacml.indirect
// CALLS-LABEL: func.func @shapes
// CALLS:         call @hpacml_check_map
// CALLS:         call @hpacml_infer
// LLVM-LABEL:  llvm.func @shapes

// A DSL compiler's use: no region, only tensors, in a loop.

func.func @tensors(%t: memref<?x?xf32>, %i: memref<?xi64>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.for %k = %c0 to %n step %c1 {
    %m = hpacml.map inout @table(%t[*%i[0 : %n], %k]) : memref<?x?xf32>, memref<?xi64> -> !hpacml.mapping<?x1xf32>
    %x = hpacml.tensor fresh %m : !hpacml.mapping<?x1xf32> -> memref<?x1xf32>
    hpacml.gather %m into %x : !hpacml.mapping<?x1xf32>, memref<?x1xf32>
    %v = memref.load %x[%c0, %c0] : memref<?x1xf32>
    memref.store %v, %x[%c1, %c0] : memref<?x1xf32>
    hpacml_rt.check_indices %m : !hpacml.mapping<?x1xf32>
    hpacml.scatter %x into %m : memref<?x1xf32>, !hpacml.mapping<?x1xf32>
  }
  func.return
}

// MAPS-LABEL:  func.func @tensors
// VIEWS-LABEL: func.func @tensors
// FUSED-LABEL: func.func @tensors
// LOOPS-LABEL: func.func @tensors
// LOOPS:         scf.for
// LOOPS:           scf.parallel
// LOOPS:           scf.parallel
// CALLS-LABEL: func.func @tensors
// CALLS-NOT:   {{hpacml(_rt)?\.}}
// LLVM-LABEL:  llvm.func @tensors
// LLVM-NOT:    memref.
// LLVM-NOT:    unrealized_conversion_cast
