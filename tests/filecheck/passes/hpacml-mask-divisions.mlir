// RUN: hpacml-opt %s -p hpacml-mask-divisions | filecheck %s

// A loop that divides at each iteration is masked, and so is one that takes roots.

// CHECK-LABEL: func.func @slow
// CHECK:         arith.divf
// CHECK:         loop_annotation = #llvm.loop_annotation<vectorize = <predicateEnable = true>>
// CHECK:         math.sqrt
// CHECK:         loop_annotation = #llvm.loop_annotation<vectorize = <predicateEnable = true>>
func.func @slow(%n: index, %a: memref<?xf64>, %by: f64) {
  %0 = arith.constant 0 : index
  %1 = arith.constant 1 : index
  scf.for %i = %0 to %n step %1 {
    %x = memref.load %a[%i] : memref<?xf64>
    %q = arith.divf %x, %by : f64
    memref.store %q, %a[%i] : memref<?xf64>
  }
  scf.for %i = %0 to %n step %1 {
    %x = memref.load %a[%i] : memref<?xf64>
    %q = math.sqrt %x : f64
    memref.store %q, %a[%i] : memref<?xf64>
  }
  func.return
}

// The last dimension of a parallel loop becomes a loop that can be.

// CHECK-LABEL: func.func @sweep
// CHECK:         scf.parallel
// CHECK:           scf.for
// CHECK:             arith.divf
// CHECK:           loop_annotation
func.func @sweep(%n: index, %a: memref<?x?xf32>) {
  %0 = arith.constant 0 : index
  %1 = arith.constant 1 : index
  %c = arith.constant 1.000000e+01 : f32
  "scf.parallel"(%0, %0, %n, %n, %1, %1) <{operandSegmentSizes = array<i32: 2, 2, 2, 0>}> ({
  ^bb0(%i: index, %j: index):
    %x = memref.load %a[%i, %j] : memref<?x?xf32>
    %q = arith.divf %x, %c : f32
    memref.store %q, %a[%i, %j] : memref<?x?xf32>
    scf.reduce
  }) : (index, index, index, index, index, index) -> ()
  func.return
}

// Others divide once, by powers of two or in fast math by one number, which become multiplications, or call functions.

// CHECK-LABEL: func.func @others
// CHECK-NOT:     loop_annotation
// CHECK:         func.return
func.func @others(%n: index, %a: memref<?xf64>, %by: f64) {
  %0 = arith.constant 0 : index
  %1 = arith.constant 1 : index
  scf.for %i = %0 to %n step %1 {
    %c = arith.constant 3.000000e+00 : f64
    %s = arith.addf %by, %c : f64
    %q = arith.divf %c, %s : f64
    memref.store %q, %a[%i] : memref<?xf64>
  }
  scf.for %i = %0 to %n step %1 {
    %c = arith.constant -4.000000e+00 : f64
    %x = memref.load %a[%i] : memref<?xf64>
    %q = arith.divf %x, %c : f64
    memref.store %q, %a[%i] : memref<?xf64>
  }
  scf.for %i = %0 to %n step %1 {
    %x = memref.load %a[%i] : memref<?xf64>
    %q = arith.divf %x, %by fastmath<arcp> : f64
    memref.store %q, %a[%i] : memref<?xf64>
  }
  scf.for %i = %0 to %n step %1 {
    %x = memref.load %a[%i] : memref<?xf64>
    %p = func.call @pow(%x, %x) : (f64, f64) -> f64
    %q = arith.divf %p, %x : f64
    memref.store %q, %a[%i] : memref<?xf64>
  }
  func.return
}
func.func private @pow(f64, f64) -> f64

// So do loops that access others than neighbours, of which LLVM would gather each.

// CHECK-LABEL: func.func @apart
// CHECK-NOT:     loop_annotation
// CHECK:         func.return
func.func @apart(%n: index, %a: memref<?x3xf64>, %b: memref<?xf64, strided<[?], offset: ?>>, %c: memref<?xf64>) {
  %0 = arith.constant 0 : index
  %1 = arith.constant 1 : index
  %2 = arith.constant 2 : index
  scf.for %i = %0 to %n step %1 {
    %x = memref.load %a[%i, %1] : memref<?x3xf64>
    %q = math.sqrt %x : f64
    memref.store %q, %c[%i] : memref<?xf64>
  }
  scf.for %i = %0 to %n step %1 {
    %x = memref.load %b[%i] : memref<?xf64, strided<[?], offset: ?>>
    %q = math.sqrt %x : f64
    memref.store %q, %c[%i] : memref<?xf64>
  }
  scf.for %i = %0 to %n step %2 {
    %x = memref.load %c[%i] : memref<?xf64>
    %q = math.sqrt %x : f64
    memref.store %q, %c[%i] : memref<?xf64>
  }
  scf.for %i = %0 to %n step %1 {
    %j = arith.muli %i, %2 : index
    %x = memref.load %c[%j] : memref<?xf64>
    %q = math.sqrt %x : f64
    memref.store %q, %c[%i] : memref<?xf64>
  }
  func.return
}
