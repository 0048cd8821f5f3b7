// Memory for all threads is allocated before any iteration is known.

// RUN: not hpacml-opt %s -p convert-hpacml-to-gpu 2>&1 | filecheck %s

func.func @refused(%a: memref<?xf32>, %sizes: memref<?xindex>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  "scf.parallel"(%c0, %n, %c1) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
  ^bb0(%i: index):
    %size = memref.load %sizes[%i] : memref<?xindex>
    %local = memref.alloc(%size) : memref<?xf32>
    %v = memref.load %local[%c0] : memref<?xf32>
    memref.store %v, %a[%i] : memref<?xf32>
    memref.dealloc %local : memref<?xf32>
    scf.reduce
  }) : (index, index, index) -> ()
  func.return
}

// CHECK: hpacml-opt: {{.*}}convert-hpacml-to-gpu-refuses.mlir:11:5: a parallel loop (prange) of '{{.*}}' cannot run on a GPU: it has a local array 'local' whose size is not known before the loop: have all iterations make the largest, with a size computed of numbers and shapes
