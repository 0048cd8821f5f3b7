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
// CHECK:         [[RUNS:%\d+]] = arith.cmpi ult, {{.*}}, [[TOTAL:%\d+]]
// CHECK-NEXT:    scf.if [[RUNS]] {
// CHECK-NEXT:      %size = arith.addi %m, %c1
// CHECK-NEXT:      %wrong = arith.cmpi slt, %size
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
// CHECK-NEXT:        [[NUMBER:%\d+]] = arith.addi [[FIRST]], %thread
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
// CHECK:         "gpu.launch"
// CHECK:           %local = memref.alloca() : memref<5xf32, 5 : i64>
// CHECK-NEXT:      %copy = memref.alloca() : memref<2x3xf32, 5 : i64>
// CHECK:           scf.for
// CHECK:             [[SIZE:%n_\d+]] = arith.constant 5
// CHECK-NEXT:        %v = memref.load %local[[[SIZE]]]
// CHECK-NEXT:        memref.store %v, %copy
// CHECK-NEXT:        memref.store %v, %a[%i]
