// RUN: hpacml-opt %s -p hpacml-outline-parallel-loops | filecheck %s
// RUN: hpacml-opt %s -p hpacml-outline-parallel-loops --print-op-generic | mlir-opt --verify-each | filecheck %s --check-prefix UPSTREAM

// UPSTREAM: func.func @scaled

func.func private @hpacml_print(!llvm.ptr)
llvm.mlir.global private constant @text("{}\00") : !llvm.array<3 x i8>

// A loop becomes a function of what it uses and of a range, behind one with the C interface of threads. Constants are
// no arguments. The work is that of an iteration, here of an inner loop whose bounds are known outside, times their number.

// CHECK-LABEL: func.func @scaled
// CHECK:         %[[ROOM:.*]] = llvm.alloca
// CHECK:         arith.divf
// CHECK:         arith.addf
// CHECK:         %[[WORK:.*]] = arith.mulf
// CHECK:         %[[TRIPS:.*]] = arith.ceildivsi
// CHECK:         %[[COUNT:.*]] = arith.index_cast %[[TRIPS]] : index to i64
// CHECK:         builtin.unrealized_conversion_cast %x : memref<?xf64> to !llvm.struct
// CHECK:         %[[F:.*]] = llvm.mlir.addressof @hpacml_share : !llvm.ptr
// CHECK-NEXT:    func.call @hpacml_parallel(%[[F]], %[[ROOM]], %[[COUNT]], %[[WORK]]) : (!llvm.ptr, !llvm.ptr, i64, f64) -> ()
// CHECK-NEXT:    func.return
func.func @scaled(%x: memref<?xf64>, %n: index, %m: index, %lower: index, %c: i1) {
  %1 = arith.constant 1 : index
  %0 = arith.constant 0 : index
  %two = arith.constant 2.0 : f64
  "scf.parallel"(%lower, %n, %1) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
  ^bb0(%i: index):
    scf.for %j = %0 to %m step %1 {
      %a = memref.load %x[%i] : memref<?xf64>
      %b = arith.mulf %a, %two : f64
      memref.store %b, %x[%i] : memref<?xf64>
    }
    scf.reduce
  }) {hpacml_threads} : (index, index, index) -> ()
  func.return
}

// What calls what only one thread may, what shares what is on the stack, and what is not marked stays.

// CHECK-LABEL: func.func @kept
// CHECK:         "scf.parallel"
// CHECK:           func.call @hpacml_print
// CHECK:         "scf.parallel"
// CHECK:           memref.store %{{.*}}, %own
// CHECK:         "scf.parallel"
// CHECK-NOT:     hpacml_parallel
// CHECK:         func.return
func.func @kept(%x: memref<?xf64>, %n: index, %a: f64) {
  %0 = arith.constant 0 : index
  %1 = arith.constant 1 : index
  "scf.parallel"(%0, %n, %1) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
  ^bb0(%i: index):
    %site = llvm.mlir.addressof @text : !llvm.ptr
    func.call @hpacml_print(%site) : (!llvm.ptr) -> ()
    scf.reduce
  }) {hpacml_threads} : (index, index, index) -> ()
  %own = memref.alloca() : memref<1xf64>
  "scf.parallel"(%0, %n, %1) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
  ^bb0(%i: index):
    memref.store %a, %own[%0] : memref<1xf64>
    scf.reduce
  }) {hpacml_threads} : (index, index, index) -> ()
  "scf.parallel"(%0, %n, %1) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
  ^bb0(%i: index):
    memref.store %a, %x[%i] : memref<?xf64>
    scf.reduce
  }) : (index, index, index) -> ()
  func.return
}

// A loop that carries sums becomes one over blocks, 256 or 1, whose sums are added in order.

// CHECK-LABEL: func.func @sum
// CHECK:         %[[PARTIAL:.*]] = memref.alloca() {{.*}} : memref<256xindex>
// CHECK:         %[[LARGE:.*]] = arith.cmpf oge
// CHECK:         %[[BLOCKS:.*]] = arith.select %[[LARGE]]
// CHECK:         func.call @hpacml_parallel
// CHECK:         %[[SUM:.*]] = scf.for %[[B:.*]] = %{{.*}} to %[[BLOCKS]] step %{{.*}} iter_args(%[[S:.*]] = %first) -> (index)
// CHECK-NEXT:      %[[PART:.*]] = memref.load %[[PARTIAL]][%[[B]]]
// CHECK-NEXT:      arith.addi %[[S]], %[[PART]] : index
// CHECK:         func.return %[[SUM]]
func.func @sum(%x: memref<?xindex>, %n: index, %first: index) -> index {
  %0 = arith.constant 0 : index
  %1 = arith.constant 1 : index
  %sum = scf.for %i = %0 to %n step %1 iter_args(%s = %first) -> (index) {
    %a = memref.load %x[%i] : memref<?xindex>
    %t = arith.addi %s, %a : index
    scf.yield %t : index
  } {hpacml_threads = ["add"]}
  func.return %sum : index
}

// Each block begins with what is neutral. Python keeps the first of equal numbers, NumPy the last.

// CHECK-LABEL: func.func @extrema
// CHECK:         func.call @hpacml_parallel
// CHECK:         scf.for {{.*}} iter_args(%[[A:.*]] = %a, %[[B:.*]] = %b, %[[C:.*]] = %c)
// CHECK-NEXT:      %[[X:.*]] = memref.load
// CHECK-NEXT:      %[[MORE:.*]] = arith.cmpf ogt, %[[X]], %[[A]]
// CHECK-NEXT:      arith.select %[[MORE]], %[[X]], %[[A]]
// CHECK-NEXT:      %[[Y:.*]] = memref.load
// CHECK-NEXT:      %[[LESS:.*]] = arith.cmpf olt, %[[B]], %[[Y]]
// CHECK-NEXT:      %[[NAN:.*]] = arith.cmpf uno, %[[B]], %[[B]]
// CHECK-NEXT:      %[[STAYS:.*]] = arith.ori %[[LESS]], %[[NAN]]
// CHECK-NEXT:      arith.select %[[STAYS]], %[[B]], %[[Y]]
// CHECK-NEXT:      %[[Z:.*]] = memref.load
// CHECK-NEXT:      arith.minui %[[C]], %[[Z]] : i8
func.func @extrema(%x: memref<?xf64>, %u: memref<?xi8>, %n: index, %a: f64, %b: f64, %c: i8) -> (f64, f64, i8) {
  %0 = arith.constant 0 : index
  %1 = arith.constant 1 : index
  %r:3 = scf.for %i = %0 to %n step %1 iter_args(%p = %a, %q = %b, %r = %c) -> (f64, f64, i8) {
    %s = memref.load %x[%i] : memref<?xf64>
    %more = arith.cmpf ogt, %s, %p : f64
    %t = arith.select %more, %s, %p : f64
    %less = arith.cmpf olt, %q, %s : f64
    %nan = arith.cmpf uno, %q, %q : f64
    %stays = arith.ori %less, %nan : i1
    %v = arith.select %stays, %q, %s : f64
    %k = memref.load %u[%i] : memref<?xi8>
    %w = arith.minui %r, %k : i8
    scf.yield %t, %v, %w : f64, f64, i8
  } {hpacml_threads = ["python_max", "numpy_minimum", "minu"]}
  func.return %r#0, %r#1, %r#2 : f64, f64, i8
}

// CHECK-LABEL: func.func private @scaled_iterations
// CHECK-SAME:    (%m: index, %x: memref<?xf64>, %lower: index, %[[BEGIN:.*]]: index, %[[END:.*]]: index)
// CHECK:         scf.for %[[I:.*]] = %[[BEGIN]] to %[[END]]
// CHECK:           arith.addi %lower
// CHECK:           scf.for
// CHECK-LABEL: llvm.func internal @hpacml_share(%{{.*}}: !llvm.ptr, %{{.*}}: i64, %{{.*}}: i64)
// CHECK:         func.call @scaled_iterations
// CHECK-NEXT:    llvm.return

// CHECK-LABEL: func.func private @extrema_iterations
// CHECK:         %[[LEAST:.*]] = arith.constant 0xfff0000000000000 : f64
// CHECK-NEXT:    %[[MOST:.*]] = arith.constant 0x7ff0000000000000 : f64
// CHECK-NEXT:    %[[ONES:.*]] = arith.constant -1 : i8
// CHECK:         scf.for {{.*}} iter_args(%{{.*}} = %[[LEAST]], %{{.*}} = %[[MOST]], %{{.*}} = %[[ONES]])
