// A view that reaches beyond its memory goes where nothing that is accessed through it does.

// RUN: hpacml-opt %s -p hpacml-fold-subviews | filecheck %s
// RUN: hpacml-opt %s -p hpacml-fold-subviews --print-op-generic | hpacml-opt -p hpacml-fold-subviews | filecheck %s

func.func @moved(%a: memref<66x10xf64>, %b: memref<66x10xf64>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c8 = arith.constant 8 : index
  %c64 = arith.constant 64 : index
  %back = arith.constant -1 : index
  %v = memref.subview %a[1, 1] [66, 10] [1, 1] : memref<66x10xf64> to memref<66x10xf64, strided<[10, 1], offset: 11>>
  %w = memref.subview %b[1, 0] [66, 10] [1, 1] : memref<66x10xf64> to memref<66x10xf64, strided<[10, 1], offset: 10>>
  "scf.parallel"(%c0, %c0, %c64, %c8, %c1, %c1) <{operandSegmentSizes = array<i32: 2, 2, 2, 0>}> ({
  ^bb0(%i: index, %j: index):
    %before = arith.addi %i, %back : index
    %x = memref.load %v[%before, %j] : memref<66x10xf64, strided<[10, 1], offset: 11>>
    memref.store %x, %w[%i, %j] : memref<66x10xf64, strided<[10, 1], offset: 10>>
    scf.reduce
  }) : (index, index, index, index, index, index) -> ()
  func.return
}

// CHECK-LABEL: func.func @moved
// CHECK-NOT:     memref.subview
// CHECK:         %before = arith.addi %i, %back : index
// CHECK-NEXT:    [[one:%.*]] = arith.constant 1 : index
// CHECK-NEXT:    [[row:%.*]] = arith.addi %before, [[one]] : index
// CHECK-NEXT:    [[one:%.*]] = arith.constant 1 : index
// CHECK-NEXT:    [[column:%.*]] = arith.addi %j, [[one]] : index
// CHECK-NEXT:    %x = memref.load %a[[[row]], [[column]]] : memref<66x10xf64>
// CHECK:         [[row:%.*]] = arith.addi %i, %{{.*}} : index
// CHECK-NEXT:    memref.store %x, %b[[[row]], %j] : memref<66x10xf64>

func.func @strided(%a: memref<9xf64>, %x: f64) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %v = memref.subview %a[1] [5] [2] : memref<9xf64> to memref<5xf64, strided<[2], offset: 1>>
  scf.for %i = %c0 to %c4 step %c1 {
    memref.store %x, %v[%i] : memref<5xf64, strided<[2], offset: 1>>
  }
  func.return
}

// CHECK-LABEL: func.func @strided
// CHECK:         [[two:%.*]] = arith.constant 2 : index
// CHECK-NEXT:    [[twice:%.*]] = arith.muli %i, [[two]] : index
// CHECK:         [[odd:%.*]] = arith.addi [[twice]]
// CHECK-NEXT:    memref.store %x, %a[[[odd]]] : memref<9xf64>

// Views inside of their memory stay, and so do those of which not all accesses are known, or one leads outside.

func.func @others(%a: memref<66xf64>, %n: index, %x: f64) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c66 = arith.constant 66 : index
  %fits = memref.subview %a[1] [65] [1] : memref<66xf64> to memref<65xf64, strided<[1], offset: 1>>
  memref.store %x, %fits[%c0] : memref<65xf64, strided<[1], offset: 1>>
  %unknown = memref.subview %a[1] [66] [1] : memref<66xf64> to memref<66xf64, strided<[1], offset: 1>>
  memref.store %x, %unknown[%n] : memref<66xf64, strided<[1], offset: 1>>
  %outside = memref.subview %a[1] [66] [1] : memref<66xf64> to memref<66xf64, strided<[1], offset: 1>>
  scf.for %i = %c0 to %c66 step %c1 {
    memref.store %x, %outside[%i] : memref<66xf64, strided<[1], offset: 1>>
  }
  %passed = memref.subview %a[1] [66] [1] : memref<66xf64> to memref<66xf64, strided<[1], offset: 1>>
  "test.op"(%passed) : (memref<66xf64, strided<[1], offset: 1>>) -> ()
  func.return
}

// CHECK-LABEL: func.func @others
// CHECK:         %fits = memref.subview %a[1] [65] [1]
// CHECK:         %unknown = memref.subview %a[1] [66] [1]
// CHECK:         %outside = memref.subview %a[1] [66] [1]
// CHECK:         %passed = memref.subview %a[1] [66] [1]
