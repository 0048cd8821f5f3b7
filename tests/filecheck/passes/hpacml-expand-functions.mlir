// RUN: hpacml-opt %s -p hpacml-expand-functions | filecheck %s
// RUN: hpacml-opt %s -p hpacml-expand-functions --print-op-generic | mlir-opt --verify-each | filecheck %s

// Only what has flags of fast math is changed, and not where there are few iterations.

// CHECK-LABEL: func.func @fast
// CHECK:         [[LENGTH:%.*]] = arith.subi %{{.*}}, %{{.*}} : index
// CHECK:         [[LONG:%.*]] = arith.cmpi sge, [[LENGTH]], %{{.*}} : index
// CHECK-NEXT:    scf.if [[LONG]]
// CHECK-NEXT:      scf.for
// CHECK-NOT:     math.
// CHECK:         arith.mulf %{{.*}}, %{{.*}} fastmath<contract> : f64
// CHECK:         arith.shli %{{.*}}, %{{.*}} : i64
// CHECK:         [[STRICT:%.*]] = math.exp %{{.*}} : f64
// CHECK-NEXT:    memref.store [[STRICT]]
// CHECK:         arith.shrui %{{.*}}, %{{.*}} : i32
// CHECK-NOT:     math.
// CHECK:         memref.store %{{.*}} : memref<?xf32>
// CHECK:         else
// CHECK-NEXT:      scf.for
// CHECK:             math.exp
// CHECK:             math.exp
// CHECK:             math.log
func.func @fast(%n: index, %a: memref<?xf64>, %b: memref<?xf32>) {
  %0 = arith.constant 0 : index
  %1 = arith.constant 1 : index
  scf.for %i = %0 to %n step %1 {
    %x = memref.load %a[%i] : memref<?xf64>
    %e = math.exp %x fastmath<reassoc> : f64
    %s = math.exp %e : f64
    memref.store %s, %a[%i] : memref<?xf64>
    %y = memref.load %b[%i] : memref<?xf32>
    %l = math.log %y fastmath<reassoc> : f32
    memref.store %l, %b[%i] : memref<?xf32>
  }
  func.return
}

// Loops that do not become loops of vectors keep functions: around loops, until a condition, and around calls of C.

func.func private @c(f64) -> f64

// CHECK-LABEL: func.func @slow
// CHECK-COUNT-3: math.exp
func.func @slow(%n: index, %a: memref<?xf64>, %c: i1) {
  %0 = arith.constant 0 : index
  %1 = arith.constant 1 : index
  scf.for %i = %0 to %n step %1 {
    %x = memref.load %a[%i] : memref<?xf64>
    %e = math.exp %x fastmath<reassoc> : f64
    memref.store %e, %a[%i] : memref<?xf64>
    scf.for %j = %0 to %n step %1 {
      scf.yield
    }
  }
  %last = scf.while (%k = %n) : (index) -> index {
    scf.condition(%c) %k : index
  } do {
  ^bb0(%k: index):
    %x = memref.load %a[%k] : memref<?xf64>
    %e = math.exp %x fastmath<reassoc> : f64
    memref.store %e, %a[%k] : memref<?xf64>
    scf.yield %k : index
  }
  scf.for %i = %0 to %n step %1 {
    %x = memref.load %a[%i] : memref<?xf64>
    %y = func.call @c(%x) : (f64) -> f64
    %e = math.exp %y fastmath<reassoc> : f64
    memref.store %e, %a[%i] : memref<?xf64>
  }
  func.return
}

// What has no loops may be called in one.

func.func private @uncalled(%x: f64, %y: f64) -> f64 {
  %p = math.powf %x, %y fastmath<reassoc> : f64
  func.return %p : f64
}

// CHECK-LABEL: func.func private @uncalled
// CHECK:         math.powf

// CHECK-LABEL: func.func private @called
// CHECK-NOT:     math.powf
// CHECK:         arith.bitcast
func.func private @called(%x: f64, %y: f64) -> f64 {
  %p = math.powf %x, %y fastmath<reassoc> : f64
  func.return %p : f64
}

// CHECK-LABEL: func.func @calls
// CHECK:         copysign
// CHECK:         else
// CHECK:         math.tanh
func.func @calls(%n: index, %a: memref<?xf64>) {
  %0 = arith.constant 0 : index
  %1 = arith.constant 1 : index
  scf.for %i = %0 to %n step %1 {
    %x = memref.load %a[%i] : memref<?xf64>
    %y = func.call @called(%x, %x) : (f64, f64) -> f64
    %e = math.tanh %y fastmath<reassoc> : f64
    memref.store %e, %a[%i] : memref<?xf64>
  }
  func.return
}

// The last dimension of a parallel loop becomes a loop whose last vector is masked.

// CHECK-LABEL: func.func @sweep
// CHECK:         scf.parallel
// CHECK:           scf.for
// CHECK:             arith.shli
// CHECK:           loop_annotation
// CHECK:         else
// CHECK:         scf.parallel
// CHECK-NOT:     scf.for
// CHECK:         math.exp
func.func @sweep(%n: index, %a: memref<?x?xf64>) {
  %0 = arith.constant 0 : index
  %1 = arith.constant 1 : index
  "scf.parallel"(%0, %0, %n, %n, %1, %1) <{operandSegmentSizes = array<i32: 2, 2, 2, 0>}> ({
  ^bb0(%i: index, %j: index):
    %x = memref.load %a[%i, %j] : memref<?x?xf64>
    %e = math.exp %x fastmath<reassoc> : f64
    memref.store %e, %a[%i, %j] : memref<?x?xf64>
    scf.reduce
  }) : (index, index, index, index, index, index) -> ()
  func.return
}
