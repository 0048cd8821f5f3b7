// Arrays are told apart by what they are, not by what they are called.

// RUN: hpacml-opt %s -p hpacml-resolve-slices --split-input-file | filecheck %s

hpacml.functor @pair : [i, 0:2] = ([i], [i])

// One array without a name, written in windows that overlap.

func.func @unnamed(%0: memref<10xf32>) {
  %1 = hpacml.map from @pair(%0[0 : 5], %0[3 : 8]) : memref<10xf32>, memref<10xf32> -> !hpacml.mapping<5x2xf32>
  %y = hpacml.tensor %1 : !hpacml.mapping<5x2xf32> -> memref<5x2xf32>
  hpacml.scatter %y into %1 : memref<5x2xf32>, !hpacml.mapping<5x2xf32>
  func.return
}

// CHECK-LABEL: func.func @unnamed
// CHECK:         hpacml.check_map

// Two arrays of nearly the same name, which share nothing.

func.func @alike(%x_1: memref<10xf32>, %x_2: memref<10xf32>) {
  %1 = hpacml.map from @pair(%x_1[0 : 5], %x_2[0 : 5]) : memref<10xf32>, memref<10xf32> -> !hpacml.mapping<5x2xf32>
  %y = hpacml.tensor %1 : !hpacml.mapping<5x2xf32> -> memref<5x2xf32>
  hpacml.scatter %y into %1 : memref<5x2xf32>, !hpacml.mapping<5x2xf32>
  func.return
}

// CHECK-LABEL: func.func @alike
// CHECK-NOT:     hpacml.check_map
// CHECK:         hpacml.unpack

// ... and differ in rank.

hpacml.functor @ranks : [i, 0:2] = ([i, 0], [i])

func.func @ranks_(%x_1: memref<10x2xf32>, %x_2: memref<10xf32>) {
  %1 = hpacml.map from @ranks(%x_1[0 : 5, 0 : 2], %x_2[0 : 5]) : memref<10x2xf32>, memref<10xf32> -> !hpacml.mapping<5x2xf32>
  %y = hpacml.tensor %1 : !hpacml.mapping<5x2xf32> -> memref<5x2xf32>
  hpacml.scatter %y into %1 : memref<5x2xf32>, !hpacml.mapping<5x2xf32>
  func.return
}

// CHECK-LABEL: func.func @ranks_
// CHECK-NOT:     hpacml.check_map
// CHECK:         hpacml.unpack
