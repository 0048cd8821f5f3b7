// Threads would add to an element in any order.

// RUN: not hpacml-opt %s -p convert-hpacml-to-gpu 2>&1 | filecheck %s

func.func @refused(%a: memref<?xf32>, %x: memref<?x1xf32>) {
  %c0 = arith.constant 0 : index
  hpacml.fused_scatter add %a from %x at %c0 features [1] : memref<?xf32> -> memref<?x1xf32>
  func.return
}

// CHECK: hpacml.fused_scatter with add cannot run on a GPU: its points may meet in an element, where the threads of a GPU would add in any order
