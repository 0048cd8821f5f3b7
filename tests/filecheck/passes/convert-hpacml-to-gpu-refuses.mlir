// A local array is memory that a thread cannot get.

// RUN: not hpacml-opt %s -p convert-hpacml-to-gpu 2>&1 | filecheck %s

func.func @refused(%a: memref<?xf32>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  "scf.parallel"(%c0, %n, %c1) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
  ^bb0(%i: index):
    %local = memref.alloc() : memref<2xf32>
    %v = memref.load %local[%c0] : memref<2xf32>
    memref.store %v, %a[%i] : memref<?xf32>
    memref.dealloc %local : memref<2xf32>
    scf.reduce
  }) : (index, index, index) -> ()
  func.return
}

// CHECK: hpacml-opt: a parallel loop (prange) that cannot run on a GPU has a local array: make it before the loop, with a part for each iteration
