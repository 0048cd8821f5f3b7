// RUN: hpacml-opt %s -p convert-hpacml-to-gpu --split-input-file | filecheck %s

// The local arrays of all threads are one buffer, made if there are iterations and once the sizes are checked.

func.func private @hpacml_refuse_size(index, index)

func.func @sized(%a: memref<?xf32>, %n: index, %m: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  "scf.parallel"(%c0, %n, %c1) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
  ^bb0(%i: index):
    %size = arith.addi %m, %c1 : index
    %wrong = arith.cmpi slt, %size, %c0 : index
    scf.if %wrong {
      func.call @hpacml_refuse_size(%size, %c0) : (index, index) -> ()
    }
    %local = memref.alloc(%size) : memref<?x100xf32>
    %v = memref.load %local[%i, %c0] : memref<?x100xf32>
    memref.store %v, %a[%i] : memref<?xf32>
    memref.dealloc %local : memref<?x100xf32>
    scf.reduce
  }) : (index, index, index) -> ()
  func.return
}

// CHECK-LABEL: func.func @sized
// CHECK:         %size = arith.addi %m, %c1
// CHECK-NEXT:    %wrong = arith.cmpi slt, %size
// CHECK:         [[RUNS:%\d+]] = arith.cmpi ult, {{.*}}, [[TOTAL:%\d+]]
// CHECK-NEXT:    scf.if [[RUNS]] {
// CHECK-NEXT:      scf.if %wrong {
// CHECK-NEXT:        func.call @hpacml_refuse_size(%size, %c0)
// CHECK-NEXT:      }
// CHECK:           [[MOST:%\d+]] = arith.constant 1024
// CHECK-NEXT:      [[BLOCKS:%\d+]] = arith.minui {{.*}}, [[MOST]]
// CHECK:           [[THREADS:%\d+]] = arith.muli [[BLOCKS]]
// CHECK:           [[ELEMENTS:%\d+]] = arith.muli %size
// CHECK:           [[ALL:%\d+]] = arith.muli [[THREADS]]
// CHECK-NEXT:      %local = memref.alloc([[ALL]]) : memref<?xf32>
// CHECK:           [[ROW:%\d+]] = arith.muli [[THREADS]]
// CHECK-NEXT:      "gpu.launch"([[BLOCKS]]
// CHECK:             [[FIRST:%\d+]] = arith.muli %block
// CHECK-NEXT:        [[NUMBER:%\d+]] = arith.addi %thread, [[FIRST]]
// CHECK-NEXT:        [[PART:%local_\d+]] = memref.reinterpret_cast %local to offset: [[[NUMBER]]], sizes: [%size, 100], strides: [[[ROW]], [[THREADS]]]
// CHECK-NEXT:        scf.for
// CHECK-NOT:           memref.alloc
// CHECK:               memref.load [[PART]]
// CHECK-NOT:           memref.dealloc
// CHECK:             "gpu.terminator"
// CHECK:           memref.dealloc %local : memref<?xf32>
// CHECK-NEXT:    }

// -----

// A thread has a small array to itself, also one of a function that it calls, and one of which only the cast is known.

func.func private @first(%b: memref<?xf32>) -> f32 {
  %c0 = arith.constant 0 : index
  %copy = memref.alloc() : memref<2x3xf32>
  %n = memref.dim %b, %c0 : memref<?xf32>
  %v = memref.load %b[%n] : memref<?xf32>
  memref.store %v, %copy[%c0, %c0] : memref<2x3xf32>
  memref.dealloc %copy : memref<2x3xf32>
  func.return %v : f32
}

func.func @small(%a: memref<?xf32>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  "scf.parallel"(%c0, %n, %c1) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
  ^bb0(%i: index):
    %local = memref.alloc() : memref<5xf32>
    %cast = "memref.cast"(%local) : (memref<5xf32>) -> memref<?xf32>
    %v = func.call @first(%cast) : (memref<?xf32>) -> f32
    memref.store %v, %a[%i] : memref<?xf32>
    memref.dealloc %local : memref<5xf32>
    scf.reduce
  }) : (index, index, index) -> ()
  func.return
}

// CHECK-NOT:   @first
// CHECK-LABEL: func.func @small
// CHECK-NOT:     memref.alloc(
// CHECK:         [[SIZE:%\w+]] = arith.constant 5
// CHECK:         "gpu.launch"
// CHECK:           %local = memref.alloca() : memref<5xf32, 5 : i64>
// CHECK-NEXT:      %copy = memref.alloca() : memref<2x3xf32, 5 : i64>
// CHECK:           scf.for
// CHECK:             %v = memref.load %local[[[SIZE]]]
// CHECK-NEXT:        memref.store %v, %copy
// CHECK-NEXT:        memref.store %v, %a[%i]

// -----

// Where views are made of an array, each thread has its elements side by side, or in memory that looks like any other. The
// sizes of views are those that they are made with.

func.func @viewed(%a: memref<?x?xf64>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %n = memref.dim %a, %c0 : memref<?x?xf64>
  "scf.parallel"(%c0, %n, %c1) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
  ^bb0(%i: index):
    %m = memref.dim %a, %c1 : memref<?x?xf64>
    %row = memref.subview %a[%i, 0] [1, %m] [1, 1] : memref<?x?xf64> to memref<?xf64, strided<[1], offset: ?>>
    %size = memref.dim %row, %c0 : memref<?xf64, strided<[1], offset: ?>>
    %local = memref.alloc(%size) : memref<?xf64>
    %tail = memref.subview %local[%c2] [2] [1] : memref<?xf64> to memref<2xf64, strided<[1], offset: ?>>
    %few = memref.alloc() : memref<4xf64>
    %half = memref.subview %few[%c2] [2] [1] : memref<4xf64> to memref<2xf64, strided<[1], offset: ?>>
    %v = memref.load %tail[%c0] : memref<2xf64, strided<[1], offset: ?>>
    memref.store %v, %half[%c0] : memref<2xf64, strided<[1], offset: ?>>
    memref.dealloc %few : memref<4xf64>
    memref.dealloc %local : memref<?xf64>
    scf.reduce
  }) : (index, index, index) -> ()
  func.return
}

// CHECK-LABEL: func.func @viewed
// CHECK:         %m = memref.dim %a
// CHECK:         [[BYTES:%\d+]] = arith.muli %m, {{.*}}
// CHECK:         %local = memref.alloc({{.*}}) : memref<?xi8>
// CHECK:         "gpu.launch"
// CHECK:           [[NUMBER:%\d+]] = arith.addi %thread, {{.*}}
// CHECK:           [[START:%\d+]] = arith.muli [[NUMBER]], [[BYTES]]
// CHECK-NEXT:      [[PART:%local_\d+]] = memref.view %local[[[START]]][%m] : memref<?xi8> to memref<?xf64>
// CHECK-NEXT:      [[OWN:%\d+]] = memref.alloca() : memref<4xf64, 5 : i64>
// CHECK-NEXT:      %few = "memref.memory_space_cast"([[OWN]]) : (memref<4xf64, 5 : i64>) -> memref<4xf64>
// CHECK:             memref.subview [[PART]][%c2] [2] [1]
// CHECK:             memref.subview %few[%c2] [2] [1]
// CHECK-NOT:         memref.dealloc
// CHECK:             "gpu.terminator"
// CHECK:         memref.dealloc %local : memref<?xi8>

// -----

// Where sizes differ between iterations, memory is taken for the most that they can be, and checked that it can be had.

func.func private @hpacml_refuse_size(index, index)

func.func @growing(%a: memref<?xf32>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %max = memref.dim %a, %c0 : memref<?xf32>
  "scf.parallel"(%c0, %n, %c1) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
  ^bb0(%i: index):
    %least = arith.minsi %i, %max : index
    %size = arith.addi %least, %c1 : index
    %wrong = arith.cmpi ugt, %size, %max : index
    scf.if %wrong {
      func.call @hpacml_refuse_size(%size, %c0) : (index, index) -> ()
    }
    %local = memref.alloc(%size) : memref<?xf32>
    %v = memref.load %local[%c0] : memref<?xf32>
    memref.store %v, %a[%i] : memref<?xf32>
    memref.dealloc %local : memref<?xf32>
    scf.reduce
  }) : (index, index, index) -> ()
  func.return
}

// CHECK-LABEL: func.func @growing
// CHECK:         [[LEAST:%\d+]] = arith.minsi %n, %max
// CHECK-NEXT:    [[MOST:%\d+]] = arith.addi [[LEAST]], %c1
// CHECK-NOT:     @hpacml_refuse_size
// CHECK:         [[TAKEN:%\d+]] = arith.select {{.*}}, [[MOST]], {{.*}}
// CHECK-NEXT:    [[ALL:%\d+]] = arith.muli {{.*}}, [[TAKEN]]
// CHECK-NEXT:    memref.alloc([[ALL]])
