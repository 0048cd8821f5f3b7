// RUN: hpacml-opt %s -p hpacml-infer-maps --split-input-file | filecheck %s

// What is read at a point, in the order of the offsets, and what is written.

func.func @smooth(%t: memref<?xf64>, %new: memref<?xf64>, %n: index) {
  %one = arith.constant 1 : index
  %end = arith.subi %n, %one : index
  hpacml.ml collect label "smooth" {
    affine.for %i = 1 to %end {
      %a = affine.load %t[%i - 1] : memref<?xf64>
      %b = affine.load %t[%i + 1] : memref<?xf64>
      %c = affine.load %t[%i] : memref<?xf64>
      %ab = arith.addf %a, %b : f64
      %abc = arith.addf %ab, %c : f64
      affine.store %abc, %new[%i] : memref<?xf64>
    }
  }
  func.return
}

// CHECK-DAG:     hpacml.functor @smooth_in : [i, 0:3] = ([i - 1], [i], [i + 1])
// CHECK-DAG:     hpacml.functor @smooth_out : [i, 0:1] = ([i])
// CHECK:         %in = hpacml.map to @smooth_in(%t[1 : %[[END:[0-9]+]]]) : memref<?xf64> -> !hpacml.mapping<?x3xf64>
// CHECK-NEXT:    %out = hpacml.map from @smooth_out(%new[1 : %[[END]]]) : memref<?xf64> -> !hpacml.mapping<?x1xf64>
// CHECK-NEXT:    hpacml.ml collect in(%in : !hpacml.mapping<?x3xf64>) out(%out : !hpacml.mapping<?x1xf64>) label "smooth" {
// CHECK-NEXT:      affine.for %i = 1 to %end {

// -----

// Arrays of one sweep are one map, and a number on which the result depends is a feature; an inner loop of constant
// bounds is a range.

func.func @windows(%x: memref<?xf32>, %w: memref<3xf32>, %y: memref<?xf32>, %n: index, %scale: f64) {
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  %three = arith.constant 3 : index
  %start = arith.constant 0.0 : f32
  hpacml.ml collect label "windows" {
    scf.for %i = %zero to %n step %one {
      %sum = scf.for %k = %zero to %three step %one iter_args(%s = %start) -> (f32) {
        %at = arith.addi %i, %k : index
        %a = memref.load %x[%at] : memref<?xf32>
        %b = memref.load %w[%k] : memref<3xf32>
        %ab = arith.mulf %a, %b : f32
        %next = arith.addf %s, %ab : f32
        scf.yield %next : f32
      }
      %narrow = arith.truncf %scale : f64 to f32
      %scaled = arith.mulf %sum, %narrow : f32
      memref.store %scaled, %y[%i] : memref<?xf32>
    }
  }
  func.return
}

// CHECK-DAG:     hpacml.functor @windows_in : [i, 0:7] = ([i : i + 3], [0:3], [i])
// CHECK-DAG:     hpacml.functor @windows_out : [i, 0:1] = ([i])
// CHECK:         %scale_1 = arith.truncf %scale : f64 to f32
// CHECK:         %scale_2 = memref.alloc() : memref<1xf32>
// CHECK:         "scf.parallel"
// CHECK:           memref.store %scale_1, %scale_2
// CHECK:         %in = hpacml.map to @windows_in(%x[0 : %n], %w[0 : 3], %scale_2[0 : 1])
// CHECK:         hpacml.ml collect
// CHECK:         memref.dealloc %scale_2

// -----

// What is written before it is read is no input, and what is read first and then written, at the same points, is both.

func.func @in_place(%x: memref<?xf64>, %tmp: memref<?xf64>, %n: index, %steps: index) {
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  hpacml.ml collect label "steps" {
    scf.for %s = %zero to %steps step %one {
      scf.for %i = %zero to %n step %one {
        %a = memref.load %x[%i] : memref<?xf64>
        memref.store %a, %tmp[%i] : memref<?xf64>
      }
      scf.for %i = %zero to %n step %one {
        %a = memref.load %tmp[%i] : memref<?xf64>
        memref.store %a, %x[%i] : memref<?xf64>
      }
    }
  }
  func.return
}

// CHECK-DAG:     hpacml.functor @steps_in : [i, 0:1] = ([i])
// CHECK-DAG:     hpacml.functor @steps_out : [i, 0:2] = ([i], [i])
// CHECK:         %[[RUNS:[0-9]+]] = arith.cmpi sgt, %steps, %[[ZERO:[0-9]+]] : index
// CHECK-NEXT:    %[[END:[0-9]+]] = arith.select %[[RUNS]], %n, %[[ZERO]] : index
// CHECK-NEXT:    %in = hpacml.map to @steps_in(%x[0 : %[[END]]])
// CHECK:         %out = hpacml.map from @steps_out(%x[0 : %{{[0-9]+}}], %tmp[0 : %{{[0-9]+}}])

// -----

func.func @both(%x: memref<4x?xf64>, %n: index) {
  hpacml.ml collect label "both" {
    affine.for %v = 0 to 4 {
      affine.for %i = 0 to %n {
        %a = affine.load %x[%v, %i] : memref<4x?xf64>
        %b = arith.addf %a, %a : f64
        affine.store %b, %x[%v, %i] : memref<4x?xf64>
      }
    }
  }
  func.return
}

// CHECK:         hpacml.functor @both_inout : [v, i, 0:1] = ([v, i])
// CHECK:         %inout = hpacml.map inout @both_inout(%x[0 : 4, 0 : %n])
// CHECK-NEXT:    hpacml.ml collect inout(%inout : !hpacml.mapping<4x?x1xf64>) label "both" {

// -----

// A sum of what is before: the first element alone is read before it is written.

func.func @sums(%s: memref<?xf64>, %x: memref<?xf64>, %n: index) {
  hpacml.ml collect label "sums" {
    affine.for %i = 1 to %n {
      %a = affine.load %s[%i - 1] : memref<?xf64>
      %b = affine.load %x[%i] : memref<?xf64>
      %c = arith.addf %a, %b : f64
      affine.store %c, %s[%i] : memref<?xf64>
    }
  }
  func.return
}

// CHECK-DAG:     hpacml.functor @sums_in : [i, 0:1] = ([i])
// CHECK:         %[[END:[0-9]+]] = arith.minsi
// CHECK-NEXT:    %in = hpacml.map to @sums_in(%s[0 : %[[END]]])
// CHECK-NEXT:    %in_1 = hpacml.map to @sums_in(%x[1 : %n])
// CHECK-NEXT:    %out = hpacml.map from @sums_out(%s[1 : %n])

// -----

// Regions that have maps, and modules without regions, stay as they are.

hpacml.functor @f : [i, 0:1] = ([i])
func.func @given(%x: memref<?xf64>, %n: index) {
  %x_1 = hpacml.map inout @f(%x[0 : %n]) : memref<?xf64> -> !hpacml.mapping<?x1xf64>
  hpacml.ml collect inout(%x_1 : !hpacml.mapping<?x1xf64>) label "given" {
    "test.op"(%x) : (memref<?xf64>) -> ()
  }
  func.return
}

// CHECK:         hpacml.functor @f : [i, 0:1] = ([i])
// CHECK-NEXT:    func.func @given
// CHECK-NEXT:      %x_1 = hpacml.map inout @f(%x[0 : %n])
// CHECK-NEXT:      hpacml.ml collect inout(%x_1 : !hpacml.mapping<?x1xf64>) label "given" {
// CHECK-NEXT:        "test.op"(%x)
