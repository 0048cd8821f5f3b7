// RUN: hpacml-opt %s -p hpacml-keep-branches | filecheck %s
// RUN: hpacml-opt %s -p hpacml-keep-branches --print-op-generic | mlir-opt --verify-each | filecheck %s

// A sum of floats is taken in its order, so that its loop does not become one of vectors.

// CHECK-LABEL: func.func @sum
// CHECK:         scf.if
// CHECK-NEXT:      llvm.call_intrinsic "llvm.sideeffect"() : () -> ()
// CHECK-NEXT:      arith.divf
// CHECK:         } else {
// CHECK-NEXT:      scf.yield
func.func @sum(%n: index, %a: f64, %c: i1) -> f64 {
  %0 = arith.constant 0 : index
  %1 = arith.constant 1 : index
  %r = scf.for %i = %0 to %n step %1 iter_args(%s = %a) -> (f64) {
    %t = scf.if %c -> (f64) {
      %q = arith.divf %a, %s : f64
      scf.yield %q : f64
    } else {
      scf.yield %s : f64
    }
    scf.yield %t : f64
  }
  func.return %r : f64
}

// Neither do loops that end by a condition, and loops around loops.

// CHECK-LABEL: func.func @others
// CHECK-COUNT-2: llvm.call_intrinsic "llvm.sideeffect"
// CHECK-NOT:     llvm.call_intrinsic
func.func @others(%n: index, %a: memref<?xf64>, %x: f64, %c: i1) {
  %0 = arith.constant 0 : index
  %1 = arith.constant 1 : index
  %last = scf.while (%k = %n) : (index) -> index {
    scf.condition(%c) %k : index
  } do {
  ^bb0(%k: index):
    scf.if %c {
      %q = math.sqrt %x : f64
      memref.store %q, %a[%0] : memref<?xf64>
    }
    scf.yield %k : index
  }
  scf.for %i = %0 to %n step %1 {
    scf.if %c {
      %q = arith.divf %x, %x : f64
      memref.store %q, %a[%i] : memref<?xf64>
    }
    scf.for %j = %0 to %n step %1 {
      scf.yield
    }
  }
  func.return
}

// What may become vectors keeps its branches as they are, and so does what is no loop or has nothing slow.

// CHECK-LABEL: func.func @vectors
// CHECK-NOT:     llvm.call_intrinsic
func.func @vectors(%n: index, %a: memref<?xf64>, %x: f64, %c: i1) -> f64 {
  %0 = arith.constant 0 : index
  %1 = arith.constant 1 : index
  scf.for %i = %0 to %n step %1 {
    scf.if %c {
      %q = arith.divf %x, %x : f64
      memref.store %q, %a[%i] : memref<?xf64>
    }
  }
  %r = scf.for %i = %0 to %n step %1 iter_args(%s = %x) -> (f64) {
    %t = scf.if %c -> (f64) {
      %q = arith.divf %s, %x fastmath<reassoc> : f64
      scf.yield %q : f64
    } else {
      %q = arith.addf %s, %x : f64
      scf.yield %q : f64
    }
    %u = arith.divf %t, %x : f64
    scf.yield %u : f64
  }
  scf.if %c {
    %q = arith.divf %x, %x : f64
    memref.store %q, %a[%0] : memref<?xf64>
  }
  func.return %r : f64
}
