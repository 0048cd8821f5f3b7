// RUN: hpacml-opt %s -p hpacml-mask-divisions,hpacml-roll-remainders | filecheck %s

// What is left over behind vectors is not unrolled. Other annotations stay.

// CHECK-LABEL: func.func @rows
// CHECK:         loop_annotation = #llvm.loop_annotation<unroll = <runtimeDisable = true>>
// CHECK:         scf.parallel
// CHECK:           scf.for
// CHECK:           loop_annotation = #llvm.loop_annotation<unroll = <runtimeDisable = true>>
// CHECK:         loop_annotation = #llvm.loop_annotation<vectorize = <predicateEnable = true>, unroll = <runtimeDisable = true>>
func.func @rows(%n: index, %a: memref<?xf64>, %b: memref<?x?xf32>) {
  %0 = arith.constant 0 : index
  %1 = arith.constant 1 : index
  %x = arith.constant 1.0 : f64
  %y = arith.constant 1.0 : f32
  scf.for %i = %0 to %n step %1 {
    %j = arith.addi %n, %i : index
    memref.store %x, %a[%j] : memref<?xf64>
  }
  "scf.parallel"(%0, %0, %n, %n, %1, %1) <{operandSegmentSizes = array<i32: 2, 2, 2, 0>}> ({
  ^bb0(%i: index, %j: index):
    memref.store %y, %b[%i, %j] : memref<?x?xf32>
    scf.reduce
  }) : (index, index, index, index, index, index) -> ()
  scf.for %i = %0 to %n step %1 {
    %z = memref.load %a[%i] : memref<?xf64>
    %q = arith.divf %x, %z : f64
    memref.store %q, %a[%i] : memref<?xf64>
  }
  func.return
}

// Loops that carry sums, access others than neighbours, or call functions become no vectors: they are unrolled.

// CHECK-LABEL: func.func @others
// CHECK-NOT:     loop_annotation
// CHECK:         func.return
func.func @others(%n: index, %a: memref<?xf64>) -> f64 {
  %0 = arith.constant 0 : index
  %1 = arith.constant 1 : index
  %x = arith.constant 1.0 : f64
  %sum = scf.for %i = %0 to %n step %1 iter_args(%s = %x) -> (f64) {
    %y = memref.load %a[%i] : memref<?xf64>
    %t = arith.addf %s, %y : f64
    scf.yield %t : f64
  }
  scf.for %i = %0 to %n step %1 {
    %j = arith.remsi %i, %n : index
    memref.store %x, %a[%j] : memref<?xf64>
  }
  scf.for %i = %0 to %n step %1 {
    memref.store %x, %a[%0] : memref<?xf64>
  }
  scf.for %i = %0 to %n step %1 {
    %y = func.call @pow(%x, %x) : (f64, f64) -> f64
    memref.store %y, %a[%i] : memref<?xf64>
  }
  func.return %sum : f64
}
func.func private @pow(f64, f64) -> f64
