// RUN: hpacml-opt %s -p hpacml-version-in-place | filecheck %s

// A loop that writes what it reads in one of the calls gets a version where it does.

// CHECK-LABEL: func.func @scale(%n: index, %a: memref<?xf64>, %b: memref<?xf64>)
// CHECK-DAG:     "memref.extract_aligned_pointer_as_index"(%a)
// CHECK-DAG:     "memref.extract_aligned_pointer_as_index"(%b)
// CHECK:         [[SAME:%.+]] = arith.cmpi eq
// CHECK:         scf.if [[SAME]] {
// CHECK-NEXT:      scf.for
// CHECK-NEXT:        memref.load %b[
// CHECK-NEXT:        arith.addf
// CHECK-NEXT:        memref.store {{.*}} %b[
// CHECK:         } else {
// CHECK-NEXT:      scf.for
// CHECK-NEXT:        memref.load %a[
// CHECK-NEXT:        arith.addf
// CHECK-NEXT:        memref.store {{.*}} %b[
func.func @scale(%n: index, %a: memref<?xf64>, %b: memref<?xf64>) {
  %0 = arith.constant 0 : index
  %1 = arith.constant 1 : index
  scf.for %i = %0 to %n step %1 {
    %x = memref.load %a[%i] : memref<?xf64>
    %y = arith.addf %x, %x : f64
    memref.store %y, %b[%i] : memref<?xf64>
  }
  func.return
}
func.func @scales(%n: index, %a: memref<?xf64>, %b: memref<?xf64>) {
  func.call @scale(%n, %a, %b) : (index, memref<?xf64>, memref<?xf64>) -> ()
  func.call @scale(%n, %a, %a) : (index, memref<?xf64>, memref<?xf64>) -> ()
  func.return
}

// Views are the same if their offsets and strides are, too. Indices are the same if they are computed alike.

// CHECK-LABEL: func.func @views
// CHECK:         memref.extract_strided_metadata
// CHECK:         memref.extract_strided_metadata
// CHECK:         scf.if
// CHECK-NEXT:      scf.parallel
// CHECK:         } else {
// CHECK-NEXT:      scf.parallel
func.func @views(%n: index, %a: memref<?xf32, strided<[?], offset: ?>>, %b: memref<?xf32, strided<[?], offset: ?>>) {
  %0 = arith.constant 0 : index
  %1 = arith.constant 1 : index
  "scf.parallel"(%0, %n, %1) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
  ^bb0(%i: index):
    %j = arith.addi %i, %1 : index
    %x = memref.load %a[%j] : memref<?xf32, strided<[?], offset: ?>>
    %y = arith.addf %x, %x : f32
    %k = arith.addi %i, %1 : index
    memref.store %y, %b[%k] : memref<?xf32, strided<[?], offset: ?>>
    scf.reduce
  }) : (index, index, index) -> ()
  func.return
}
func.func @parts(%n: index, %a: memref<?xf32>) {
  %0 = memref.subview %a[0] [%n] [1] : memref<?xf32> to memref<?xf32, strided<[1]>>
  %b = "memref.cast"(%0) : (memref<?xf32, strided<[1]>>) -> memref<?xf32, strided<[?], offset: ?>>
  %c = memref.subview %a[%n] [%n] [1] : memref<?xf32> to memref<?xf32, strided<[1], offset: ?>>
  %d = "memref.cast"(%c) : (memref<?xf32, strided<[1], offset: ?>>) -> memref<?xf32, strided<[?], offset: ?>>
  func.call @views(%n, %b, %d) : (index, memref<?xf32, strided<[?], offset: ?>>, memref<?xf32, strided<[?], offset: ?>>) -> ()
  func.return
}

// Others cannot become vectors where they write what they read, or call functions, or are given no array twice.

// CHECK-LABEL: func.func @others
// CHECK-NOT:     scf.if
// CHECK:         func.return
func.func @others(%n: index, %a: memref<?xf64>, %b: memref<?xf64>, %c: memref<?xf64>) {
  %0 = arith.constant 0 : index
  %1 = arith.constant 1 : index
  scf.for %i = %0 to %n step %1 {
    %j = arith.addi %i, %1 : index
    %x = memref.load %a[%j] : memref<?xf64>
    memref.store %x, %b[%i] : memref<?xf64>
  }
  scf.for %i = %0 to %n step %1 {
    %x = memref.load %a[%i] : memref<?xf64>
    %y = func.call @pow(%x, %x) : (f64, f64) -> f64
    memref.store %y, %b[%i] : memref<?xf64>
  }
  scf.for %i = %0 to %n step %1 {
    %x = memref.load %a[%i] : memref<?xf64>
    memref.store %x, %c[%i] : memref<?xf64>
  }
  func.return
}
func.func private @pow(f64, f64) -> f64
func.func @more(%n: index, %a: memref<?xf64>, %c: memref<?xf64>) {
  func.call @others(%n, %a, %a, %c) : (index, memref<?xf64>, memref<?xf64>, memref<?xf64>) -> ()
  func.return
}
