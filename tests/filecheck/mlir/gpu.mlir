// Kernels: upstream MLIR takes them, and outlines and lowers them to NVVM and ROCDL.

// RUN: hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-gpu --print-op-generic | mlir-opt --verify-each --allow-unregistered-dialect | filecheck %s --check-prefix LAUNCH
// RUN: hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-gpu,convert-hpacml-to-loops,convert-hpacml-to-runtime --print-op-generic | mlir-opt --verify-each --gpu-kernel-outlining | filecheck %s --check-prefix OUTLINED
// RUN: hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-gpu,convert-hpacml-to-loops,convert-hpacml-to-runtime --print-op-generic | %mlir_nvvm | filecheck %s --check-prefix NVVM
// RUN: hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices,convert-hpacml-to-gpu,convert-hpacml-to-loops,convert-hpacml-to-runtime --print-op-generic | %mlir_nvvm | filecheck %s --check-prefix NVVM
// RUN: hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-gpu,convert-hpacml-to-loops,convert-hpacml-to-runtime --print-op-generic | %mlir_rocdl | filecheck %s --check-prefix ROCDL
// RUN: hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-gpu,hpacml-gpu-to-loops,convert-hpacml-to-loops,convert-hpacml-to-runtime --print-op-generic | %mlir_lower | filecheck %s --check-prefix LLVM

hpacml.functor @stencil : [i, j, 0:5] = ([i - 1, j], [i + 1, j], [i, j - 1 : j + 2])
hpacml.functor @pair : [i, j, 0:2] = ([i, j], [i, j])
hpacml.functor @block(m) : [i, 0:m] = ([i * m : i * m + m])
hpacml.functor @channels : [0:2, i] = ([i], [i + 1])
hpacml.functor @rows : [i, 0:3] = ([i, 0:3])

func.func @regions(%t: memref<?x?xf32, strided<[?, ?], offset: ?>>, %u: memref<?x?xf64>, %v: memref<?x?xf32>, %n: index, %m: index, %c: i1) {
  %in = hpacml.map to @stencil(%t[1 : %n, 1 : %m]) : memref<?x?xf32, strided<[?, ?], offset: ?>> -> !hpacml.mapping<?x?x5xf32>
  %out = hpacml.map from @pair(%u[1 : %n, 1 : %m], %v[1 : %n, 1 : %m]) : memref<?x?xf64>, memref<?x?xf32> -> !hpacml.mapping<?x?x2xf64>
  hpacml.ml predicated(%c) in(%in : !hpacml.mapping<?x?x5xf32>) out(%out : !hpacml.mapping<?x?x2xf64>) label "r" model "m.pt2" database @base {
    %c1 = arith.constant 1 : index
    "scf.parallel"(%c1, %n, %c1) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
    ^bb0(%i: index):
      %x = memref.load %v[%i, %c1] : memref<?x?xf32>
      %y = math.sqrt %x : f32
      memref.store %y, %v[%i, %c1] : memref<?x?xf32>
      scf.reduce
    }) : (index, index, index) -> ()
  }
  func.return
}

// LAUNCH-LABEL: func.func @regions
// LAUNCH:         gpu.launch
// LAUNCH:           gpu.barrier
// LAUNCH:         hpacml.infer
// LAUNCH:         hpacml.body
// LAUNCH:           gpu.launch
// OUTLINED-LABEL: func.func @regions
// OUTLINED:         gpu.launch_func  @regions_gather_0::@regions_gather_0
// OUTLINED:         call @hpacml_infer
// OUTLINED:       gpu.module @regions_gather_0
// OUTLINED:         gpu.barrier
// OUTLINED:         memref.global "private" @hpacml_tile_
// OUTLINED:       func.func @shapes
// OUTLINED:         gpu.launch_func  @shapes_gather_0::@shapes_gather_0
// OUTLINED:       gpu.module @shapes_gather_0
// OUTLINED:       func.func private @r_body
// OUTLINED:         gpu.launch_func  @regions_loop_0::@regions_loop_0
// NVVM:           gpu.module @regions_gather_0
// NVVM:             llvm.func @regions_gather_0
// NVVM:               nvvm.barrier
// NVVM:           gpu.module @shapes_
// NVVM:           gpu.module @regions_loop_0
// NVVM-NOT:         unrealized_conversion_cast
// ROCDL:          gpu.module @regions_gather_0
// ROCDL:            llvm.func @regions_gather_0
// ROCDL:              rocdl.barrier
// ROCDL:          gpu.module @shapes_
// ROCDL:          gpu.module @regions_loop_0
// LLVM-LABEL:     llvm.func @regions

func.func @shapes(%a: memref<?xf32>, %h: memref<?xf16>, %b: memref<?xbf16>, %u: memref<?xi8>, %pos: memref<?x3xf32>, %idx: memref<?xi32>, %n: index, %k: index, %x: memref<?x?xf64>, %y: memref<2x?xf16>, %z: memref<?x3xbf16>) {
  %blocks = hpacml.map to @block(%a[0 : %n]) params(%k) : memref<?xf32> -> !hpacml.mapping<?x?xf64>
  hpacml.gather %blocks into %x : !hpacml.mapping<?x?xf64>, memref<?x?xf64>
  %channels = hpacml.map inout @channels(%u[0 : %n], %b[0 : %n]) : memref<?xi8>, memref<?xbf16> -> !hpacml.mapping<2x?xf16>
  hpacml.gather %channels into %y : !hpacml.mapping<2x?xf16>, memref<2x?xf16>
  hpacml.scatter %y into %channels : memref<2x?xf16>, !hpacml.mapping<2x?xf16>
  %rows = hpacml.map inout @rows(%pos[*%idx[0 : %n], 0 : 3]) : memref<?x3xf32>, memref<?xi32> -> !hpacml.mapping<?x3xbf16>
  hpacml.gather %rows into %z : !hpacml.mapping<?x3xbf16>, memref<?x3xbf16>
  hpacml.scatter %z into %rows : memref<?x3xbf16>, !hpacml.mapping<?x3xbf16>
  func.return
}

// LAUNCH-LABEL: func.func @shapes
// LAUNCH-COUNT-5: gpu.launch
// LLVM-LABEL:     llvm.func @shapes
