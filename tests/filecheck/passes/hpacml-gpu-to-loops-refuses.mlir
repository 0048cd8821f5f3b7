// What a thread has read is lost at a barrier.

// RUN: not hpacml-opt %s -p hpacml-gpu-to-loops 2>&1 | filecheck %s

func.func @refused(%a: memref<?xf32>, %n: index) {
  %c1 = arith.constant 1 : index
  "gpu.launch"(%n, %c1, %c1, %n, %c1, %c1) <{operandSegmentSizes = array<i32: 0, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0>}> ({
  ^bb0(%bx: index, %by: index, %bz: index, %tx: index, %ty: index, %tz: index, %gx: index, %gy: index, %gz: index, %sx: index, %sy: index, %sz: index):
    %v = memref.load %a[%tx] : memref<?xf32>
    "gpu.barrier"() : () -> ()
    memref.store %v, %a[%bx] : memref<?xf32>
    "gpu.terminator"() : () -> ()
  }) : (index, index, index, index, index, index) -> ()
  func.return
}

// CHECK: hpacml-opt: {{.*}}hpacml-gpu-to-loops-refuses.mlir:7:3: a barrier stands between threads and a value that each has for itself: keep it in shared memory
